from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fixtures.models.registry import MODELS
from fixtures.models.spec import ModelSpec
from fixtures.techniques import adapter_targets
from fixtures.techniques.adapter_layers import (
    adapter_parameters,
    expect_adapter_layers,
    find_adapter_layers,
)
from fixtures.techniques.adapter_methods import (
    ADAPTER_METHODS,
    AdapterMethod,
    attach_adapter,
    count_elements,
    trainable_share,
)
from fixtures.techniques.adapter_targets import TARGETS, Targets, UnknownTargetModules
from fixtures.techniques.layers import linear_layers
from fixtures.techniques.registry import find_technique

LORA, IA3 = ADAPTER_METHODS["lora"], ADAPTER_METHODS["ia3"]

# Inputs plus outputs of every linear layer of a block, times the blocks, by hand from the tiny
# configs: LoRA has as many parameters for each unit of rank.
WIDTHS = {
    "gpt2": 2 * (128 + 384 + 128 + 128 + 128 + 512 + 512 + 128),
    "gpt-neo-1.3b": 2 * (4 * (128 + 128) + 2 * (128 + 512)),
    # One head of width 32 for keys and values; gate, up and down.
    "gemma-2b": 2 * (2 * (128 + 128) + 2 * (128 + 32) + 3 * (128 + 512)),
    # An encoder block has one attention, a decoder block two.
    "t5-small": 2 * (4 * 256 + 2 * (128 + 384)) + 2 * (8 * 256 + 2 * (128 + 384)),
    "small-gpt": 4 * (4 * (128 + 128) + 2 * (128 + 512)),
}
# A scale for each output of keys and values, and each input of the last layer.
SCALES = {
    "gpt2": 2 * (384 + 512),
    "gpt-neo-1.3b": 2 * (128 + 128 + 512),
    "gemma-2b": 2 * (32 + 32 + 512),
    "t5-small": 2 * (2 * 128 + 384) + 2 * (4 * 128 + 384),
    "small-gpt": 4 * (128 + 128 + 512),
}


def attach(build: Callable[..., Any], key: str, method: AdapterMethod, seed: int = 0) -> Any:
    return attach_adapter(build(find_technique(method.base), key), MODELS[key], method, seed)


@pytest.mark.parametrize("key", MODELS)
def test_lora_goes_on_every_linear_layer_of_the_blocks(key: str, build: Callable[..., Any]) -> None:
    model = attach(build, key, LORA)
    assert set(find_adapter_layers(model)) == set(linear_layers(model))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert count_elements(trained) == LORA.rank * WIDTHS[key]
    assert count_elements(adapter_parameters(model).values()) == LORA.rank * WIDTHS[key]


@pytest.mark.parametrize("key", MODELS)
def test_ia3_scales_keys_values_and_the_feed_forward_branch(
    key: str, build: Callable[..., Any]
) -> None:
    model = attach(build, key, IA3)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert count_elements(trained) == SCALES[key]
    assert list(find_adapter_layers(model)) == expect_adapter_layers(model, IA3)


def test_encoder_and_decoder_of_t5_are_both_adapted(build: Callable[..., Any]) -> None:
    names = find_adapter_layers(attach(build, "t5-small", LORA))
    assert sum(name.startswith("encoder.") for name in names) == 2 * 6
    assert sum(name.startswith("decoder.") for name in names) == 2 * 10
    assert sum(".EncDecAttention." in name for name in names) == 2 * 4


def test_gated_t5_is_adapted_in_every_layer_too() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    shape: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    config = T5Config(vocab_size=40, feed_forward_proj="gated-gelu", **shape)
    model = attach_adapter(T5ForConditionalGeneration(config), MODELS["t5-small"], LORA, 0)
    names = find_adapter_layers(model)
    assert sum(name.startswith("encoder.") for name in names) == 2 * 7
    assert sum(name.startswith("decoder.") for name in names) == 2 * 11


@pytest.mark.parametrize("name", ["lora", "ia3"])
@pytest.mark.parametrize("key", ["gpt2", "t5-small", "small-gpt"])
def test_a_fresh_adapter_answers_as_its_base_to_the_bit(
    key: str, name: str, build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    before = run_of(build(find_technique("fp32"), key))()
    after = run_of(attach(build, key, ADAPTER_METHODS[name]).eval())()
    assert torch.equal(before, after)


@pytest.mark.parametrize("name", ADAPTER_METHODS)
def test_gradients_reach_the_adapter_and_nothing_else(name: str, build: Callable[..., Any]) -> None:
    model = attach(build, "gpt2", ADAPTER_METHODS[name]).train()
    model(input_ids=torch.arange(3, 35)[None]).logits.square().mean().backward()
    reached = {key for key, value in model.named_parameters() if value.grad is not None}
    assert reached == {key for key, value in model.named_parameters() if value.requires_grad}
    assert all("lora_" in key or "ia3_" in key for key in reached)


def test_seed_decides_the_first_matrix_and_leaves_the_process_alone(
    build: Callable[..., Any],
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (
        adapter_parameters(attach(build, "gpt2", LORA, seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[n], other[n]) for n in first if "lora_A" in n)


@pytest.mark.parametrize("name", ["lora", "qlora-nf4", "qlora-int8"])
def test_packed_weights_count_as_what_they_were_packed_from(
    name: str, build: Callable[..., Any]
) -> None:
    model = attach(build, "gpt2", ADAPTER_METHODS[name])
    plain = sum(value.numel() for value in build(find_technique("fp32")).parameters())
    own = 4 * WIDTHS["gpt2"]
    assert trainable_share(model) == own / (plain + own)
    # peft counts them too.
    assert model.get_nb_trainable_parameters() == (own, plain + own)


def test_a_quantised_base_stays_as_it_was_loaded_and_only_the_adapter_is_trained_in_fp32(
    build: Callable[..., Any],
) -> None:
    model = attach_adapter(
        build(find_technique("nf4-dq+bf16")), MODELS["gpt2"], ADAPTER_METHODS["qlora-nf4"], 0
    )
    trained = {each.dtype for each in model.parameters() if each.requires_grad}
    held = {each.dtype for each in model.parameters() if not each.requires_grad}
    assert trained == {torch.float32}
    assert held == {torch.uint8, torch.bfloat16}
    assert model.get_base_model().transformer.gradient_checkpointing is False


def test_architecture_that_is_not_known_is_refused_in_one_sentence(
    build: Callable[..., Any], gpt2: ModelSpec
) -> None:
    model = build(find_technique("fp32"))
    model.config.model_type = "mamba"
    known = ", ".join(TARGETS)
    with pytest.raises(
        UnknownTargetModules,
        match=rf"^gpt2 is of model type 'mamba', and adapters know the layers of {known} alone;"
        r" add its own to fixtures/techniques/adapter_targets\.py$",
    ):
        attach_adapter(model, gpt2, LORA, 0)


def test_layer_that_the_model_does_not_have_is_refused_in_one_sentence(
    build: Callable[..., Any], gpt2: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Targets(("attn.q_proj",), ("mlp.c_fc",), (), ())
    monkeypatch.setattr(adapter_targets, "TARGETS", {"gpt2": wrong})
    with pytest.raises(
        UnknownTargetModules,
        match=r"^gpt2 has no linear layer named 'attn\.q_proj'; it has c_attn, c_fc, c_proj$",
    ):
        attach_adapter(build(find_technique("fp32")), gpt2, LORA, 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kind": "ia3", "rank": 4}, "^mine: IA3 has no rank and no alpha$"),
        ({"kind": "lora", "rank": 4}, "^mine: LoRA needs a rank and an alpha above zero$"),
        ({"kind": "lora", "rank": 0, "alpha": 8}, "^mine: LoRA needs a rank and an alpha"),
    ],
)
def test_method_of_impossible_shape_is_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        AdapterMethod("mine", base="fp32", **arguments)


def test_four_bit_element_count_comes_from_the_shape_that_was_packed() -> None:
    # Half the bytes of an odd number are rounded up, so the bytes alone do not say it.
    packed = SimpleNamespace(shape=(23, 1), quant_state=SimpleNamespace(shape=(5, 9)))
    assert count_elements([packed, torch.zeros(2, 3)]) == 45 + 6
