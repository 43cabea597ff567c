from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fixtures.device import Device
from fixtures.techniques.registry import find_technique


@pytest.mark.parametrize(("name", "threshold"), [("int8", 6.0), ("int8-t0", 0.0)])
def test_threshold_is_recorded(name: str, threshold: float, cpu: Device) -> None:
    settings = find_technique(name).settings(cpu)
    assert settings["int8_threshold"] == threshold
    assert settings["quantisation"] == "llm-int8"


def test_another_threshold_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("int8-t0"))
    problems = find_technique("int8").evidence(model, run_of(model)).problems
    assert problems == ("int8: transformer.h.0.attn.c_attn has threshold 0.0 where 6.0 was asked",)


def test_weights_stored_as_floats_are_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    from transformers import BitsAndBytesConfig

    unpacked = BitsAndBytesConfig(load_in_8bit=True, llm_int8_has_fp16_weight=True)
    model = build(find_technique("int8"), quantization_config=unpacked)
    problems = find_technique("int8").parts[0].evidence(model, run_of(model)).problems
    assert problems == ("transformer.h.0.attn.c_attn stores torch.float32 where int8 was asked",)


def test_a_weight_row_is_off_by_half_a_step_at_most(build: Callable[..., Any]) -> None:
    weight = build(find_technique("fp32")).transformer.h[0].mlp.c_fc.weight.t()
    packed = build(find_technique("int8")).transformer.h[0].mlp.c_fc.weight
    # Row-wise absmax: a step is the row's largest magnitude / 127 (LLM.int8, section 2).
    steps = weight.abs().amax(dim=1, keepdim=True) / 127
    # Weights, and so their scale, are first rounded to fp16: one part in 2**11 each.
    error = (packed.data * steps - weight).abs() / steps
    assert error.max() < 0.5 + 2 * 127 * 2**-11
    assert torch.equal(packed.data.abs().amax(dim=1), torch.full((512,), 127, dtype=torch.int8))
