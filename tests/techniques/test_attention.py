from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from fixtures.device import Device
from fixtures.models.registry import MODELS
from fixtures.models.spec import ModelSpec
from fixtures.techniques.registry import find_technique

WITH_SDPA = ["gpt2", "t5-small", "gemma-2b", "small-gpt"]
FLASH_ON_CPU = "aten::_scaled_dot_product_flash_attention_for_cpu"


@pytest.mark.parametrize("key", WITH_SDPA)
@pytest.mark.parametrize("name", ["sdpa", "flash"])
def test_kernels_agree_with_attention_written_out(
    name: str, key: str, build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique(name)
    model = build(technique, key)
    evidence = technique.evidence(model, run_of(model))
    assert evidence.problems == ()
    assert evidence.facts[name]["kernels"]["aten::scaled_dot_product_attention"] > 0
    torch.testing.assert_close(
        run_of(model)(), run_of(build(find_technique("eager"), key))(), atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_flash_runs_in_16_bits(
    dtype: str, build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique(f"flash+{dtype}")
    model = build(technique, "gemma-2b")
    evidence = technique.evidence(model, run_of(model))
    assert evidence.problems == ()
    assert evidence.facts["flash"]["kernels"][FLASH_ON_CPU] == 2


def test_written_out_attention_is_no_flash(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("eager"))
    problems = find_technique("flash").evidence(model, run_of(model)).problems
    assert problems == (
        "flash: eager attention where pinned_sdpa was asked",
        "flash: aten::_softmax ran beside the flash kernel",
        "flash: no flash kernel ran",
    )


def test_written_out_attention_is_no_sdpa(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("eager"))
    problems = find_technique("sdpa").evidence(model, run_of(model)).problems
    assert problems == (
        "sdpa: eager attention where sdpa was asked",
        "sdpa: scaled_dot_product_attention did not run",
        "sdpa: 2 softmax ran outside of it",
    )


def test_a_fused_kernel_is_not_attention_written_out(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("sdpa"))
    problems = find_technique("fp32").evidence(model, run_of(model)).problems
    assert problems == (
        "eager: sdpa attention where eager was asked",
        f"eager: {FLASH_ON_CPU} ran where attention is to be written out",
        "eager: no softmax ran",
    )


def test_one_layer_falling_back_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique("flash")
    model = build(technique)
    run = run_of(model)
    attention = model.transformer.h[1].attn
    forward = attention.forward

    def fall_back(*args: Any, **kwargs: Any) -> Any:
        with sdpa_kernel(SDPBackend.MATH):
            return forward(*args, **kwargs)

    attention.forward = fall_back
    problems = technique.evidence(model, run).problems
    assert problems == (
        "flash: aten::_scaled_dot_product_attention_math ran beside the flash kernel",
    )


def test_the_math_backend_is_still_sdpa(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique("sdpa")
    model = build(technique)
    with sdpa_kernel(SDPBackend.MATH):
        assert technique.evidence(model, run_of(model)).problems == ()


@pytest.mark.parametrize("name", ["sdpa", "flash"])
def test_a_class_without_sdpa_says_so(name: str, cpu: Device) -> None:
    reason = find_technique(name).unsupported(MODELS["gpt-neo-1.3b"], cpu)
    assert reason == f"{name} needs SDPA attention, which GPTNeoForCausalLM does not have"
    assert find_technique("eager").unsupported(MODELS["gpt-neo-1.3b"], cpu) is None


@pytest.mark.parametrize("key", WITH_SDPA)
def test_models_with_sdpa_run_flash_on_a_cpu(key: str, cpu: Device) -> None:
    assert find_technique("flash").unsupported(MODELS[key], cpu) is None


def test_flash_on_a_gpu_needs_16_bits(gpt2: ModelSpec, h100: Device) -> None:
    reason = find_technique("flash").unsupported(gpt2, h100)
    assert reason == "flash on a GPU needs 16-bit floats, as in flash+bf16, and this is float32"
    assert find_technique("flash+bf16").unsupported(gpt2, h100) is None
    assert find_technique("nf4+flash").unsupported(gpt2, h100) is None


def test_flash_on_a_gpu_needs_scores_without_bias(t5: ModelSpec, h100: Device) -> None:
    reason = find_technique("flash+bf16").unsupported(t5, h100)
    assert reason == "T5ForConditionalGeneration does not support flash attention"


def test_flash_that_is_pinned_on_a_gpu_is_asked_for_by_name(h100: Device) -> None:
    def build_config(scale: str) -> Any:
        from transformers import FalconConfig

        return FalconConfig(num_hidden_layers=1)

    spec = replace(MODELS["gpt2"], key="falcon", build_config=build_config)
    reason = find_technique("flash+bf16").unsupported(spec, h100)
    assert reason == "FalconForCausalLM does not ask for attention by name"
    reason = find_technique("flash+bf16").unsupported(MODELS["gpt-neo-1.3b"], h100)
    assert reason == "flash needs SDPA attention, which GPTNeoForCausalLM does not have"


def test_flash_needs_an_ampere_gpu(gpt2: ModelSpec, t4: Device) -> None:
    reason = find_technique("flash+fp16").unsupported(gpt2, t4)
    assert reason == "flash needs compute capability 8.0, and T4 has 7.5"


def test_flash_attn_is_taken_where_it_is_installed(
    gpt2: ModelSpec, h100: Device, cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.utils.import_utils.is_flash_attn_2_available", lambda: True)
    technique = find_technique("flash+bf16")
    assert technique.loading(h100)["attn_implementation"] == "flash_attention_2"
    assert technique.unsupported(MODELS["gpt-neo-1.3b"], h100) is None
    assert technique.loading(cpu)["attn_implementation"] == "pinned_sdpa"


def test_kernels_of_flash_attn_count_as_flash() -> None:
    flash = find_technique("flash").parts[0]
    assert flash.find_faults({"flash_fwd_splitkv_kernel": 12, "flash_attn": 12}) == []
    assert flash.find_faults({"flash_attn": 12, "aten::_softmax": 1})
