from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from fixtures.device import Device
from fixtures.techniques.layers import linear_layers
from fixtures.techniques.pruned import TECHNIQUES
from fixtures.techniques.registry import find_technique


@pytest.mark.parametrize("key", ["gpt2", "t5-small", "gpt-neo-1.3b"])
@pytest.mark.parametrize(("name", "share"), [("pruned-30", 0.3), ("pruned-50", 0.5)])
def test_every_layer_has_its_share_of_zeros(
    name: str, share: float, key: str, build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique(name)
    model = build(technique, key)
    evidence = technique.evidence(model, run_of(model))
    assert evidence.problems == ()
    for layer in linear_layers(model).values():
        zeros = int((layer.weight == 0).sum())
        assert zeros == round(share * layer.weight.numel())
    assert evidence.facts[name]["least_sparsity"] == pytest.approx(share, abs=1e-3)


def test_the_smallest_weights_go_and_the_rest_stay(build: Callable[..., Any]) -> None:
    before = build(find_technique("fp32")).transformer.h[0].mlp.c_fc.weight
    after = build(find_technique("pruned-30")).transformer.h[0].mlp.c_fc.weight
    kept = after != 0
    assert torch.equal(after[kept], before[kept])
    assert before[~kept].abs().max() <= before[kept].abs().min()


def test_embeddings_head_and_norms_are_left_alone(build: Callable[..., Any]) -> None:
    before, after = build(find_technique("fp32")), build(find_technique("pruned-50"))
    touched = {f"{name}.weight" for name in linear_layers(before)}
    state = after.state_dict()
    assert len(touched) == 8
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, state[name]) == (name not in touched)


def test_seeded_weights_are_not_written_to(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    before = run_of(build(find_technique("fp32")))()
    build(find_technique("pruned-50"))
    assert torch.equal(run_of(build(find_technique("fp32")))(), before)


def test_one_percent_too_little_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = replace(TECHNIQUES[0], share=0.29).apply(build(find_technique("fp32")))
    problems = find_technique("pruned-30").evidence(model, run_of(model)).problems
    assert problems == (
        "pruned-30: 8 of 8 layers do not have 30.0% zeros;"
        " the first, transformer.h.0.attn.c_attn, has 29.0%",
    )


def test_one_dense_layer_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("pruned-50"))
    torch.nn.init.normal_(model.transformer.h[1].mlp.c_proj.weight)
    problems = find_technique("pruned-50").evidence(model, run_of(model)).problems
    assert problems == (
        "pruned-50: 1 of 8 layers do not have 50.0% zeros;"
        " the first, transformer.h.1.mlp.c_proj, has 0.0%",
    )


def test_share_is_recorded(cpu: Device) -> None:
    assert find_technique("pruned-30").settings(cpu)["sparsity"] == 0.3
