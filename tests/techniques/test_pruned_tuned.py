from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.device import detect_cpu
from fixtures.models.derived import DERIVED, publish, write_weights
from fixtures.models.provenance import digest_weights, read_provenance
from fixtures.models.prune import RECIPES
from fixtures.models.registry import MODELS
from fixtures.models.weights import Weights, load_model
from fixtures.techniques.layers import linear_layers
from fixtures.techniques.registry import find_technique
from fixtures.variants import Variant, build_variant

CPU = detect_cpu()


def build(technique: str, key: str) -> Any:
    return build_variant(Variant(MODELS[key], find_technique(technique), "tiny", "auto"), CPU)


@pytest.fixture
def inspect(tmp_path: Path, run_of: Callable[..., Any]) -> Callable[..., tuple[str, ...]]:
    """Problems that are seen in a model which is passed off as gpt2 pruned and tuned."""

    def inspect(model: Any) -> tuple[str, ...]:
        folder = tmp_path / "gpt2"
        unfinished = write_weights(model, folder)
        shipped = read_provenance(DERIVED / "pruned-50-tuned/gpt2")
        publish(unfinished, folder, replace(shipped, weights_sha256=digest_weights(unfinished)))
        weights = Weights(MODELS["gpt2"], "tiny", "derived", folder, "a test")
        loaded = load_model(weights, CPU, {})
        return find_technique("pruned-50-tuned").parts[0].evidence(loaded, run_of(loaded)).problems

    return inspect


@pytest.mark.parametrize("key", RECIPES)
def test_half_of_every_layer_is_zero_behind_training(key: str, run_of: Callable[..., Any]) -> None:
    built = build("pruned-50-tuned", key)
    evidence = built.evidence(run_of(built.model))
    assert evidence.problems == ()
    facts = evidence.facts["pruned-50-tuned"]
    assert facts["least_sparsity"] == pytest.approx(0.5, abs=1e-3)
    assert facts["most_sparsity"] == pytest.approx(0.5, abs=1e-3)
    assert facts["teacher"] == key


@pytest.mark.parametrize("key", RECIPES)
def test_masks_are_those_of_magnitude_pruning(key: str) -> None:
    tuned, pruned = (
        linear_layers(build(name, key).model) for name in ("pruned-50-tuned", "pruned-50")
    )
    for name, layer in pruned.items():
        assert ((layer.weight == 0) <= (tuned[name].weight == 0)).all(), name


def test_pruned_model_that_was_never_tuned_is_seen(inspect: Callable[..., tuple[str, ...]]) -> None:
    (problem,) = inspect(build("pruned-50", "gpt2").model)
    assert problem.endswith("from those of gpt2: it was never trained")


def test_training_that_lost_its_masks_is_seen(inspect: Callable[..., tuple[str, ...]]) -> None:
    model = build("pruned-50-tuned", "gpt2").model
    for layer in linear_layers(model).values():
        layer.weight.data.add_(1e-3)
    (problem,) = inspect(model)
    assert problem.startswith("8 of 8 layers do not have 50.0% zeros")


def test_model_that_pruning_costs_next_to_nothing_has_none_and_says_so() -> None:
    variant = Variant(MODELS["gemma-2b"], find_technique("pruned-50-tuned"), "tiny", "auto")
    assert variant.unsupported(CPU) == (
        "tiny-gemma-2b-pruned-50-tuned: pruned-50-tuned needs weights made for it, and tiny"
        " gemma-2b has none"
    )
