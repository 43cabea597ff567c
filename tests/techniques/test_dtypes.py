from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from fixtures.device import Device
from fixtures.models.spec import ModelSpec
from fixtures.techniques.dtypes import read_fp32_matmul
from fixtures.techniques.registry import find_technique

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@pytest.mark.parametrize(("name", "dtype"), DTYPES.items())
def test_every_floating_parameter_has_the_dtype(
    name: str, dtype: str, build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique(name)
    model = build(technique)
    evidence = technique.evidence(model, run_of(model))
    assert evidence.applied
    # 12 parameters in each of 2 blocks, 2 embeddings, the last norm's 2; the head is tied.
    assert evidence.facts[name]["parameters"] == {dtype: 28}


def test_one_parameter_in_another_dtype_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("fp32"))
    bias = model.transformer.h[1].ln_1.bias
    bias.data = bias.data.double()
    problems = find_technique("fp32").parts[0].evidence(model, run_of(model)).problems
    assert problems == (
        "1 parameters are not float32; the first, transformer.h.1.ln_1.bias is float64",
    )


def test_fp16_asked_and_fp32_built_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("fp32"))
    problems = find_technique("fp16").evidence(model, run_of(model)).problems
    assert problems[0].startswith("fp16: 28 parameters are not float16")


def test_layers_that_t5_keeps_in_fp32_are_recorded(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique("fp16")
    model = build(technique, "t5-small")
    evidence = technique.evidence(model, run_of(model))
    assert evidence.applied
    kept = evidence.facts["fp16"]["kept_in_fp32"]
    assert len(kept) == 4 and all(name.endswith(".wo.weight") for name in kept)


@pytest.fixture
def fp32_matmul() -> Iterator[Any]:
    before = torch.backends.mkldnn.matmul.fp32_precision
    yield torch.backends.mkldnn.matmul
    torch.backends.mkldnn.matmul.fp32_precision = before


def test_rounding_of_fp32_products_is_recorded(fp32_matmul: Any, cpu: Device) -> None:
    assert find_technique("fp32").settings(cpu)["fp32_matmul"] == "ieee"
    fp32_matmul.fp32_precision = "bf16"
    assert find_technique("fp32").settings(cpu)["fp32_matmul"] == "bf16"


def test_tf32_is_read_under_its_newer_setting_too() -> None:
    before = torch.backends.cuda.matmul.fp32_precision
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert read_fp32_matmul("cuda") == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
    assert read_fp32_matmul("cuda") == "ieee"


def test_bf16_needs_an_ampere_gpu(gpt2: ModelSpec, t4: Device, h100: Device, cpu: Device) -> None:
    bf16 = find_technique("bf16")
    assert bf16.unsupported(gpt2, t4) == "bf16 needs compute capability 8.0, and T4 has 7.5"
    assert bf16.unsupported(gpt2, h100) is None
    assert bf16.unsupported(gpt2, cpu) is None
    assert find_technique("fp16").unsupported(gpt2, t4) is None
