from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.device import detect_cpu
from fixtures.models.derived import DERIVED, publish, write_weights
from fixtures.models.provenance import digest_weights, read_provenance
from fixtures.models.registry import MODELS
from fixtures.models.seeded import build_random_model
from fixtures.models.students import cut_student, student_spec
from fixtures.models.weights import Weights, load_model, resolve_weights
from fixtures.plants.plant import parse_plant
from fixtures.plants.technique import plant_variant
from fixtures.techniques.composed import IncompatibleTechniques
from fixtures.techniques.registry import find_technique
from fixtures.variants import Variant, build_variant

CPU = detect_cpu()
GPT2 = MODELS["gpt2"]


@pytest.fixture(scope="module")
def teacher() -> Any:
    return load_model(resolve_weights(GPT2, "tiny", "shipped", CPU), CPU, {})


@pytest.fixture
def inspect(tmp_path: Path, run_of: Callable[..., Any]) -> Callable[..., tuple[str, ...]]:
    """Problems that are seen in a model which is passed off as the student of gpt2."""

    def inspect(model: Any, **recipe: Any) -> tuple[str, ...]:
        folder = tmp_path / "gpt2"
        unfinished = write_weights(model, folder)
        shipped = read_provenance(DERIVED / "distilled/gpt2")
        changed = {**shipped.recipe, **recipe}
        provenance = replace(shipped, weights_sha256=digest_weights(unfinished), recipe=changed)
        publish(unfinished, folder, provenance)
        loaded = load_model(Weights(GPT2, "tiny", "derived", folder, "a test"), CPU, {})
        return find_technique("distilled").parts[0].evidence(loaded, run_of(loaded)).problems

    return inspect


def cell(technique: str, key: str = "gpt2", scale: Any = "tiny") -> Variant:
    return Variant(MODELS[key], find_technique(technique), scale, "auto")


@pytest.mark.parametrize("key", MODELS)
@pytest.mark.parametrize("technique", ["distilled", "distilled+nf4"])
def test_every_tiny_model_has_a_student_of_two_thirds_its_size(
    technique: str, key: str, run_of: Callable[..., Any]
) -> None:
    built = build_variant(cell(technique, key), CPU)
    evidence = built.evidence(run_of(built.model))
    assert evidence.problems == ()
    facts = evidence.facts["distilled"]
    assert facts["teacher"] == key
    assert 0.60 <= facts["parameter_share"] <= 0.72


def test_students_weights_are_not_the_references() -> None:
    built = build_variant(cell("distilled"), CPU)
    assert built.weights.kind == "shipped"  # what the reference is built from
    assert build_variant(built.variant.reference(), CPU, built.weights).model.config.n_inner is None
    assert built.model.config.n_inner == 192


def test_teacher_in_the_students_place_is_seen(
    teacher: Any, inspect: Callable[..., tuple[str, ...]]
) -> None:
    assert inspect(load_model(resolve_weights(GPT2, "tiny", "shipped", CPU), CPU, {})) == (
        "its weights lie 0.02% from those of gpt2: it was never trained",
        "it has 100% of the parameters of gpt2, not two thirds",
    )


def test_student_cut_from_its_teacher_and_never_trained_is_seen(
    teacher: Any, inspect: Callable[..., tuple[str, ...]]
) -> None:
    (problem,) = inspect(cut_student(GPT2, teacher))
    assert problem.endswith("from those of gpt2: it was never trained")


@pytest.mark.parametrize("key", ["gpt2", "t5-small"])
def test_random_weights_are_seen(key: str, run_of: Callable[..., Any]) -> None:
    model = build_random_model(student_spec(MODELS[key]), "tiny", seed=7).eval()
    problems = find_technique("distilled").parts[0].evidence(model, run_of(model)).problems
    assert any("as unsure of what comes next as random weights are" in each for each in problems)


def test_student_of_another_teacher_is_seen(inspect: Callable[..., tuple[str, ...]]) -> None:
    student = build_variant(cell("distilled"), CPU).model
    assert inspect(student, teacher_sha256="0" * 64) == (
        "it learnt from another gpt2 than the one that is shipped; make it anew with"
        " `python -m fixtures.models.distil gpt2`",
    )


def test_technique_that_is_off_is_seen(run_of: Callable[..., Any]) -> None:
    off = plant_variant(cell("distilled"), [parse_plant("technique:off@tiny-gpt2-distilled")])
    built = build_variant(off, CPU)
    assert built.evidence(run_of(built.model)).problems == (
        "distilled: its weights name no model that they were made from",
    )


def test_published_shape_has_no_student_and_says_so() -> None:
    assert cell("distilled", scale="published").unsupported(CPU) == (
        "gpt2-distilled: distilled needs weights made for it, and published gpt2 has none"
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("distilled+lora", "distilled and lora cannot be on at once"),
        ("distilled+pruned-50-tuned", "distilled and pruned-50-tuned both bring all the weights"),
    ],
)
def test_weights_of_two_makers_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(IncompatibleTechniques, match=sentence):
        find_technique(name)
