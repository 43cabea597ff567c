from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fixtures.device import Device
from fixtures.models.spec import ModelSpec
from fixtures.techniques.dtypes import read_fp32_matmul
from fixtures.techniques.registry import find_technique


def test_products_are_tf32_inside_the_model_and_nowhere_else(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique("tf32")
    model = build(technique)
    evidence = technique.evidence(model, run_of(model))
    assert evidence.problems == ()
    assert evidence.facts["tf32"]["fp32_matmul"] == ["tf32"]
    assert read_fp32_matmul("cuda") == "ieee"


def test_a_pass_that_fails_turns_the_switch_back(build: Callable[..., Any]) -> None:
    model = build(find_technique("tf32"))
    with pytest.raises(IndexError):
        model(input_ids=torch.tensor([[10**6]]))
    assert read_fp32_matmul("cuda") == "ieee"


def test_fp32_model_is_no_tf32(build: Callable[..., Any], run_of: Callable[..., Any]) -> None:
    model = build(find_technique("fp32"))
    problems = find_technique("tf32").evidence(model, run_of(model)).problems
    assert problems == ("tf32: products were ieee, not tf32",)


def test_a_switch_that_stays_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("fp32"))

    def turn(*_: object) -> None:
        torch.backends.cuda.matmul.fp32_precision = "tf32"

    model.register_forward_pre_hook(turn)
    try:
        problems = find_technique("tf32").evidence(model, run_of(model)).problems
        assert problems == ("tf32: products stay tf32 after the model has run",)
    finally:
        torch.backends.cuda.matmul.fp32_precision = "ieee"


def test_it_is_a_precision_of_its_own(h100: Device, gpt2: ModelSpec) -> None:
    technique = find_technique("tf32")
    assert technique.loading(h100)["dtype"] == torch.float32
    settings = technique.settings(h100)
    assert (settings["dtype"], settings["fp32_matmul"]) == ("float32", "tf32")
    assert technique != find_technique("fp32")
    assert technique.unsupported(gpt2, h100) is None


def test_what_a_device_lacks_is_said(gpt2: ModelSpec, cpu: Device, t4: Device) -> None:
    technique = find_technique("tf32")
    reason = technique.unsupported(gpt2, cpu)
    assert reason == "tf32 is a format of NVIDIA GPUs, and the device is a CPU"
    assert technique.unsupported(gpt2, t4) == "tf32 needs compute capability 8.0, and T4 has 7.5"
