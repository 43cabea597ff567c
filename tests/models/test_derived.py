from __future__ import annotations

import pytest

from fixtures.models.derived import DERIVED, find_derived, read_ancestry
from fixtures.models.distil import RECIPES as STUDENTS
from fixtures.models.examination import examine
from fixtures.models.provenance import read_provenance
from fixtures.models.prune import RECIPES as PRUNED
from fixtures.models.registry import MODELS
from fixtures.models.weights import (
    CHECKPOINTS,
    CheckpointError,
    Weights,
    derive_weights,
    load_model,
    resolve_weights,
)

SHIPPED = [("distilled", key) for key in STUDENTS] + [("pruned-50-tuned", key) for key in PRUNED]


def test_what_is_shipped_is_what_there_are_recipes_for():
    found = {(folder.parent.name, folder.name) for folder in DERIVED.glob("*/*")}
    assert found == set(SHIPPED)


@pytest.mark.parametrize(("technique", "key"), SHIPPED)
def test_derived_checkpoint_is_small(technique, key):
    files = (DERIVED / technique / key).iterdir()
    assert sum(file.stat().st_size for file in files) <= 3 * 2**20


@pytest.mark.parametrize(("technique", "key"), SHIPPED)
def test_derived_checkpoint_comes_from_the_model_that_is_shipped(technique, key):
    ancestry = read_ancestry(DERIVED / technique / key)
    assert (ancestry.teacher, ancestry.is_current) == (key, True)
    assert ancestry.teacher_parameters == read_provenance(CHECKPOINTS / key).parameters


@pytest.mark.parametrize("key", STUDENTS)
def test_student_beats_the_same_student_from_scratch(key):
    scores = read_provenance(DERIVED / "distilled" / key).scores
    assert scores["z_over_scratch"] > 3
    assert scores["perplexity"] < scores["scratch_perplexity"]
    # And the same start without a teacher: it is the teacher that makes the difference.
    assert scores["z_over_untaught"] > 3


@pytest.mark.parametrize("key", PRUNED)
def test_tuned_model_beats_the_pruned_one(key):
    scores = read_provenance(DERIVED / "pruned-50-tuned" / key).scores
    assert scores["z_over_untuned"] > 3
    assert scores["perplexity"] < scores["untuned_perplexity"]


@pytest.mark.parametrize(("technique", "key"), SHIPPED)
def test_derived_checkpoint_was_made_by_the_recipe_that_is_written_down(technique, key):
    provenance = read_provenance(DERIVED / technique / key)
    recipe = (STUDENTS if technique == "distilled" else PRUNED)[key]
    kept = {name: provenance.recipe[name] for name in ("steps", "batch", "learning_rate", "seed")}
    assert kept == {name: getattr(recipe, name) for name in kept}
    module = "distil" if technique == "distilled" else "prune"
    assert provenance.command == f"python -m fixtures.models.{module} {key} --steps {recipe.steps}"


@pytest.mark.parametrize(("technique", "key"), [("distilled", "gpt2"), ("pruned-50-tuned", "gpt2")])
def test_derived_checkpoint_scores_what_its_provenance_says(technique, key, cpu):
    weights = resolve_weights(MODELS[key], "tiny", "shipped", cpu)
    found = examine(MODELS[key], load_model(derive_weights(weights, technique), cpu, {}))
    expected = read_provenance(DERIVED / technique / key)
    assert found.corpus_digest == expected.corpus_digest
    for name, value in found.figures.items():
        tolerance = 1e-5 if name == "perplexity" else 0
        assert value == pytest.approx(expected.scores[name], rel=tolerance, abs=0), name


def test_checkpoint_without_a_teacher_has_no_ancestry(tmp_path):
    assert read_ancestry(CHECKPOINTS / "gpt2") is None
    assert read_ancestry(tmp_path) is None


def test_published_and_given_models_have_nothing_derived():
    assert find_derived("distilled", MODELS["gpt2"], "tiny") == DERIVED / "distilled/gpt2"
    assert find_derived("distilled", MODELS["gpt2"], "published") is None
    assert find_derived("distilled", MODELS["gpt2"], "given") is None


def test_weights_that_nobody_made_are_refused(cpu):
    weights = resolve_weights(MODELS["gpt2"], "tiny", "shipped", cpu)
    with pytest.raises(CheckpointError, match=r"^halved has no weights made from gpt2$"):
        derive_weights(weights, "halved")


def test_damaged_student_is_refused_with_what_mends_it(tmp_path, cpu):
    for file in (DERIVED / "distilled/gpt2").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    weights = Weights(MODELS["gpt2"], "tiny", "derived", tmp_path, "a test")
    with pytest.raises(CheckpointError, match=r"restore it with `git checkout .* make it anew"):
        load_model(weights, cpu, {})
