from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fixtures.device import Device
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
