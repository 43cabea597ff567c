from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from fixtures.device import detect_cpu
from fixtures.models.registry import MODELS
from fixtures.models.weights import load_model, resolve_weights
from fixtures.parallelism.splitting import (
    CannotSplit,
    build_device_map,
    compare_logits,
    count_held_bytes,
    logits_of,
    split_layers,
)
from fixtures.regression.equality import judge_equal_logits
from fixtures.regression.verdict import Status

IDS = torch.arange(5, 37)[None]
SPLIT = ["gpt-neo-1.3b", "gemma-2b", "small-gpt"]


@pytest.fixture(scope="module")
def find_model():
    """The shipped tiny model of a key, read once; and how to read another copy of it."""
    cpu, kept = detect_cpu(), {}

    def find(key, **loading):
        weights = resolve_weights(MODELS[key], "tiny", "auto", cpu)
        if loading or key not in kept:
            made = load_model(weights, cpu, loading)
            return made if loading else kept.setdefault(key, made)
        return kept[key]

    return find


@pytest.mark.parametrize("key", SPLIT)
def test_every_parameter_has_one_place(find_model, key):
    model = find_model(key)
    placed = build_device_map(model, ("a", "b"))
    for name, _ in model.named_parameters():
        assert sum(name.startswith(f"{path}.") for path in placed) == 1, name


def test_blocks_are_dealt_in_order_and_a_tied_head_stays_with_the_embedding(find_model):
    assert build_device_map(find_model("gemma-2b"), ("a", "b")) == {
        "model.layers.0": "a",
        "model.layers.1": "b",
        "model.embed_tokens": "a",
        "model.norm": "b",
        "model.rotary_emb": "a",
        "lm_head": "a",
    }
    untied = build_device_map(find_model("small-gpt"), ("a", "b"))
    assert [untied[f"model.blocks.{number}"] for number in range(4)] == ["a", "a", "b", "b"]
    assert untied["lm_head"] == "b"


def test_more_devices_than_blocks_are_refused(find_model):
    with pytest.raises(
        CannotSplit, match=r"^GemmaForCausalLM has 2 blocks, too few for 3 devices$"
    ):
        build_device_map(find_model("gemma-2b"), ("a", "b", "c"))


@pytest.mark.parametrize("key", SPLIT)
def test_a_model_in_two_places_answers_as_in_one(find_model, key, tmp_path):
    # The disk stands in for a second GPU: accelerate moves what is needed there and back.
    model = find_model(key)
    placed = build_device_map(model, ("cpu", "disk"))
    split = find_model(key, device_map=placed, offload_folder=str(tmp_path))
    whole, held = sum(count_held_bytes(model).values()), count_held_bytes(split)
    assert 0.2 * whole < held["meta"] < 0.8 * whole  # in the other place
    gap = compare_logits(logits_of(model, IDS), logits_of(split, IDS))
    assert gap == 0
    assert judge_equal_logits(gap).status is Status.UNCHANGED


def test_a_block_left_out_is_caught(find_model):
    whole, broken = find_model("gemma-2b"), find_model("gemma-2b", attn_implementation="eager")
    broken.model.layers = broken.model.layers[:1]
    gap = compare_logits(logits_of(whole, IDS), logits_of(broken, IDS))
    assert judge_equal_logits(gap).status is Status.REGRESSED


def test_a_sum_over_workers_left_out_is_caught(find_model):
    # Each of two workers has half of the terms; without the sum one's half stands for both.
    whole, broken = find_model("gemma-2b"), find_model("gemma-2b", attn_implementation="eager")
    down = broken.model.layers[1].mlp.down_proj.weight
    with torch.no_grad():
        down[:, down.shape[1] // 2 :] = 0
    gap = compare_logits(logits_of(whole, IDS), logits_of(broken, IDS))
    assert judge_equal_logits(gap).status is Status.REGRESSED


def test_logits_that_are_no_number_are_infinitely_far():
    one = torch.ones(1, 2, 3)
    assert compare_logits(one, one * float("nan")) == float("inf")
    assert compare_logits(one * 4, one * 5) == pytest.approx(0.25)


def test_an_architecture_without_a_plan_is_refused(find_model):
    with pytest.raises(CannotSplit, match="no plan is known to split 'small_gpt' within its"):
        split_layers(find_model("small-gpt"), SimpleNamespace(size=lambda: 2))


def test_heads_that_cannot_be_dealt_evenly_are_refused(find_model):
    with pytest.raises(CannotSplit, match=r"^4 heads cannot be dealt evenly to 3 workers$"):
        split_layers(find_model("gpt-neo-1.3b"), SimpleNamespace(size=lambda: 3))
