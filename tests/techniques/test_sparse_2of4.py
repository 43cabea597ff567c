from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.device import Device
from fixtures.models.spec import ModelSpec
from fixtures.techniques.registry import IncompatibleTechniques, find_technique
from fixtures.techniques.sparse_2of4 import count_crowded, eligible_layers, prune_groups


def test_the_two_largest_of_four_are_kept() -> None:
    weight = torch.tensor([[1.0, -4.0, 2.0, 3.0, 0.5, 0.1, -0.2, 0.4]])
    kept = torch.tensor([[0.0, -4.0, 0.0, 3.0, 0.5, 0.0, 0.0, 0.4]])
    assert torch.equal(prune_groups(weight), kept)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_half_of_every_group_is_zero(rows: int, groups: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pruned = prune_groups(torch.randn(rows, 4 * groups, generator=generator))
    assert torch.equal(pruned.unflatten(-1, (-1, 4)).ne(0).sum(-1), torch.full((rows, groups), 2))
    assert count_crowded(pruned) == 0


def test_equal_weights_still_leave_two() -> None:
    assert prune_groups(torch.ones(3, 8)).sum(-1).tolist() == [4.0, 4.0, 4.0]


def test_crowded_groups_are_counted() -> None:
    assert count_crowded(torch.tensor([[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])) == 1


def test_layers_in_16_bits_that_divide_into_tiles_are_eligible(build: Callable[..., Any]) -> None:
    from fixtures.techniques.int8_dynamic import convert_conv1d

    half = build(find_technique("bf16"))
    convert_conv1d(half)
    # c_attn, c_proj and the two of the MLP, in each of two blocks of width 128; not the head.
    assert len(eligible_layers(half)) == 8
    assert eligible_layers(build(find_technique("fp32"), "gemma-2b")) == {}


def test_dense_weights_are_a_problem(build: Callable[..., Any], run_of: Callable[..., Any]) -> None:
    model = build(find_technique("bf16"), "gemma-2b")
    technique = find_technique("pruned-2of4+bf16")
    problems = technique.evidence(model, run_of(model)).problems
    # q, k, v, o, gate, up and down in two layers.
    assert problems == (
        "pruned-2of4: 14 of 14 layers fail;"
        " the first, model.layers.0.self_attn.q_proj is Parameter",
    )


def test_it_prefers_bf16_on_a_gpu(h100: Device, gpt2: ModelSpec) -> None:
    technique = find_technique("pruned-2of4")
    assert technique.settings(h100)["dtype"] == "bfloat16"
    assert technique.unsupported(gpt2, h100) is None
    assert find_technique("pruned-2of4+fp16").unsupported(gpt2, h100) is None


def test_what_it_needs_is_said(gpt2: ModelSpec, cpu: Device, t4: Device, h100: Device) -> None:
    technique = find_technique("pruned-2of4+fp16")
    reason = technique.unsupported(gpt2, cpu)
    assert reason == "pruned-2of4 needs a GPU's semi-structured kernels, and this is a CPU"
    reason = technique.unsupported(gpt2, t4)
    assert reason == "pruned-2of4 needs compute capability 8.0, and T4 has 7.5"
    reason = find_technique("pruned-2of4+fp32").unsupported(gpt2, h100)
    assert reason is not None and "needs 16-bit floats, as in pruned-2of4+bf16" in reason


def test_it_cannot_be_composed_with_packed_weights() -> None:
    with pytest.raises(IncompatibleTechniques, match="cannot be on at once"):
        find_technique("pruned-2of4+nf4")
