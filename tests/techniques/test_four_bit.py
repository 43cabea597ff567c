from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fixtures.device import Device
from fixtures.models.registry import MODELS
from fixtures.models.spec import ModelSpec, Scale
from fixtures.techniques.registry import find_technique


@pytest.mark.parametrize(
    ("asked", "built", "problem"),
    [
        ("nf4", "fp4", "has quant type fp4 where nf4 was asked"),
        ("fp4", "nf4", "has quant type nf4 where fp4 was asked"),
        ("nf4-dq", "nf4", "has double quantisation False where True was asked"),
        ("nf4", "nf4-dq", "has double quantisation True where False was asked"),
    ],
)
def test_another_kind_of_four_bits_is_a_problem(
    asked: str, built: str, problem: str, build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique(built))
    for _ in range(2):
        problems = find_technique(asked).evidence(model, run_of(model)).problems
        assert problems == (f"{asked}: transformer.h.0.attn.c_attn {problem}",)


def test_another_compute_dtype_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    # transformers' own default computes in fp32, whatever the weights are loaded in.
    default = find_technique("nf4").complete("cpu")[1].loading
    model = build(find_technique("nf4+fp16"), quantization_config=_config(default))
    problems = find_technique("nf4+fp16").evidence(model, run_of(model)).problems
    assert problems == (
        "nf4: transformer.h.0.attn.c_attn has compute dtype float32 where float16 was asked",
    )


def _config(loading: Callable[..., Any]) -> Any:
    device = Device(kind="cpu", name="a CPU", memory_bytes=1, threads=1)
    return loading(device)["quantization_config"]


def test_everything_that_defines_the_experiment_is_recorded(cpu: Device, h100: Device) -> None:
    assert find_technique("nf4-dq").settings(h100) == {
        "dtype": "bfloat16",
        "fp32_matmul": "ieee",
        "quantisation": "nf4",
        "double_quant": True,
        "compute_dtype": "bfloat16",
        "bf16_kernel": False,
        "skipped_modules": "transformers default",
        "attention": "eager",
    }
    newer = replace(cpu, flags=frozenset({"avx512_bf16"}))
    assert find_technique("nf4").settings(newer)["bf16_kernel"] is True


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        # QLoRA, appendix E: NF4 has 16 levels from -1 to 1, zero among them.
        ("nf4", 16),
        # FP4 (E2M1) has a positive and a negative zero.
        ("fp4", 15),
    ],
)
def test_a_block_holds_the_levels_of_its_type(
    name: str, levels: int, build: Callable[..., Any]
) -> None:
    from bitsandbytes.functional import dequantize_4bit

    weight = build(find_technique(name)).transformer.h[0].mlp.c_fc.weight
    blocks = dequantize_4bit(weight.data, weight.quant_state).float().reshape(-1, 64)
    scaled = blocks / blocks.abs().amax(dim=1, keepdim=True)
    assert scaled.mul(1e4).round().unique().numel() == levels


def _describe_llama(width: int, inner: int) -> ModelSpec:
    def build_config(scale: Scale) -> Any:
        from transformers import LlamaConfig

        return LlamaConfig(
            vocab_size=100,
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=1,
            num_attention_heads=4,
        )

    return replace(MODELS["gpt2"], key="mine", build_config=build_config)


@pytest.mark.parametrize(
    ("width", "inner", "odd"),
    [
        (128, 192, None),
        (128, 160, "model.layers.0.mlp.down_proj of mine has 160 and 128"),
        (64, 80, "model.layers.0.mlp.gate_proj of mine has 64 and 80"),
        (96, 192, "model.layers.0.self_attn.q_proj of mine has 96 and 96"),
    ],
)
def test_widths_that_a_cpus_kernel_does_not_take_are_named(
    width: int, inner: int, odd: str | None, cpu: Device
) -> None:
    newer = replace(cpu, flags=frozenset({"avx512_bf16"}))
    model, nf4 = _describe_llama(width, inner), find_technique("nf4")
    assert nf4.unsupported(model, cpu) is None
    reason = nf4.unsupported(model, newer)
    assert reason == odd or str(reason) == (
        "nf4 is multiplied in 64s of inputs and 32s of outputs on a CPU with AVX512-BF16, and "
        f"{odd}"
    )


@pytest.mark.parametrize("key", MODELS)
def test_registered_models_have_widths_that_every_cpu_takes(key: str, cpu: Device) -> None:
    newer = replace(cpu, flags=frozenset({"avx512_bf16"}))
    assert find_technique("nf4").unsupported(MODELS[key], newer) is None
