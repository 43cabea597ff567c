from __future__ import annotations

import dataclasses

import pytest
import torch

from fixtures.models.registry import MODELS, spec_for_path
from fixtures.models.seeded import build_random_model, seeded_state
from fixtures.models.weights import (
    CHECKPOINTS,
    CheckpointError,
    Weights,
    load_model,
    load_tokenizer,
    resolve_weights,
    write_checkpoint,
)


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    from fixtures.models.hub import find_obstacle

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    find_obstacle.cache_clear()
    yield
    find_obstacle.cache_clear()


def seeded(key):
    return Weights(MODELS[key], "tiny", "seeded", None, "a test")


def test_tiny_models_take_the_shipped_checkpoint(cpu):
    weights = resolve_weights(MODELS["gemma-2b"], "tiny", "auto", cpu)
    assert (weights.kind, weights.folder) == ("shipped", CHECKPOINTS / "gemma-2b")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("gpt2", "openai-community/gpt2 is not in the local cache and HF_HUB_OFFLINE is set"),
        ("small-gpt", "nobody publishes a checkpoint of it"),
    ],
)
def test_published_shape_without_a_hub_is_seeded_and_says_why(no_hub, cpu, key, reason):
    weights = resolve_weights(MODELS[key], "published", "auto", cpu)
    assert (weights.kind, weights.folder) == ("seeded", None)
    assert weights.reason == f"{reason}, and fitting needs a GPU"


def test_hub_that_cannot_be_had_is_an_error_when_asked_for(no_hub, cpu):
    with pytest.raises(CheckpointError, match=r"^gpt2 has no hub weights here: openai-"):
        resolve_weights(MODELS["gpt2"], "published", "hub", cpu)


@pytest.mark.parametrize(
    ("scale", "wanted", "known"),
    [
        ("tiny", "hub", "shipped, seeded"),
        ("published", "shipped", "hub, fitted, seeded"),
        ("given", "hub", "given"),
    ],
)
def test_weights_that_a_scale_does_not_have_are_refused(cpu, scale, wanted, known):
    with pytest.raises(ValueError, match=f"gpt2 has no {wanted} weights at {scale} .*: {known}$"):
        resolve_weights(MODELS["gpt2"], scale, wanted, cpu)


@pytest.mark.parametrize("key", MODELS)
def test_seeded_weights_are_the_same_each_time(key):
    first, second = (build_random_model(MODELS[key], "tiny").state_dict() for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(tensor.isfinite().all() for tensor in first.values())


def test_another_seed_gives_other_weights():
    first, second = (build_random_model(MODELS["gpt2"], "tiny", seed) for seed in (1, 2))
    assert not torch.equal(first.lm_head.weight, second.lm_head.weight)


def test_seeding_leaves_the_random_state_as_it_was():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build_random_model(MODELS["small-gpt"], "tiny")
    assert torch.equal(torch.rand(3), expected)


def test_seeded_state_is_made_once():
    first = seeded_state(MODELS["gpt2"], "tiny")
    assert seeded_state(MODELS["gpt2"], "tiny") is first


@pytest.mark.parametrize("key", MODELS)
def test_seeded_model_holds_the_seeded_state_in_memory_and_on_disk(key, cpu, tmp_path):
    weights = seeded(key)
    expected = build_random_model(weights.spec, "tiny").state_dict()
    folder = write_checkpoint(weights, tmp_path / key)
    for source in (weights, dataclasses.replace(weights, folder=folder)):
        model = load_model(source, cpu, {})
        assert not model.training
        state = model.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in state)


def test_variant_changed_in_place_leaves_the_next_one_as_it_was(cpu):
    first = load_model(seeded("small-gpt"), cpu, {})
    expected = first.lm_head.weight.clone()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert torch.equal(load_model(seeded("small-gpt"), cpu, {}).lm_head.weight, expected)


@pytest.mark.parametrize("key", MODELS)
def test_loading_arguments_reach_from_pretrained(key, cpu):
    arguments = {"dtype": torch.bfloat16, "attn_implementation": "eager"}
    model = load_model(seeded(key), cpu, arguments)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.config._attn_implementation == "eager"


def test_checkpoint_in_half_precision_loads_in_fp32_unless_told_otherwise(cpu, tmp_path):
    half = load_model(seeded("gpt2"), cpu, {"dtype": torch.float16})
    half.save_pretrained(tmp_path)
    given = Weights(MODELS["gpt2"], "given", "given", tmp_path, "a test")
    assert load_model(given, cpu, {}).dtype is torch.float32


@pytest.mark.parametrize("key", MODELS)
def test_seeded_model_is_quantised_by_bitsandbytes(key, cpu):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    quantisation = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = load_model(seeded(key), cpu, {"quantization_config": quantisation})
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(bitsandbytes.nn.Linear4bit) > 0
    # The head; and transformers keeps the second matrix of T5's four MLPs, which overflows fp16.
    assert kinds.count(torch.nn.Linear) == (5 if key == "t5-small" else 1)


@pytest.mark.parametrize("key", MODELS)
def test_tokenizer_ids_fit_the_model(key):
    spec = MODELS[key]
    tokenizer = load_tokenizer(seeded(key))
    for scale in ("tiny", "published"):
        config = spec.build_config(scale)
        assert len(tokenizer) <= config.vocab_size
        assert config.pad_token_id == tokenizer.pad_token_id
        assert config.eos_token_id == tokenizer.eos_token_id


def test_folder_of_the_user_loads_with_its_own_tokenizer(cpu, write_seeded):
    folder = write_seeded("small-gpt")
    weights = resolve_weights(spec_for_path(str(folder)), "given", "auto", cpu)
    assert (weights.kind, weights.folder, weights.reason) == ("given", folder, "brought by --model")
    assert load_model(weights, cpu, {}).config.model_type == "small_gpt"
    assert load_tokenizer(weights).decode([5]) == load_tokenizer(seeded("small-gpt")).decode([5])
    assert write_checkpoint(weights, folder / "elsewhere") == folder


def test_folder_of_the_user_without_a_tokenizer_is_one_sentence(cpu, write_seeded):
    folder = write_seeded("gpt2")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    weights = resolve_weights(spec_for_path(str(folder)), "given", "auto", cpu)
    with pytest.raises(CheckpointError, match="has no tokenizer; write model and tokenizer again"):
        load_tokenizer(weights)


@pytest.mark.parametrize("content", ["", "{"])
def test_damaged_tokenizer_is_one_sentence(cpu, write_seeded, content):
    folder = write_seeded("gpt2")
    (folder / "tokenizer.json").write_text(content)
    weights = resolve_weights(spec_for_path(str(folder)), "given", "auto", cpu)
    with pytest.raises(CheckpointError, match=r"^the tokenizer of .*gpt2 cannot be") as caught:
        load_tokenizer(weights)
    assert "\n" not in str(caught.value)
