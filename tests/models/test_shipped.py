from __future__ import annotations

import pytest

from fixtures.models.provenance import read_provenance
from fixtures.models.registry import MODELS
from fixtures.models.train import RECIPES, score_checkpoint
from fixtures.models.weights import CHECKPOINTS, resolve_weights

SUMMARY_MODELS = [key for key, spec in MODELS.items() if spec.task == "summary"]


@pytest.mark.parametrize("key", MODELS)
def test_shipped_checkpoint_is_small(key):
    files = (CHECKPOINTS / key).iterdir()
    assert sum(file.stat().st_size for file in files) <= 4 * 2**20


@pytest.mark.parametrize("key", SUMMARY_MODELS)
def test_shipped_summaries_meet_the_quality_bar(key):
    scores = read_provenance(CHECKPOINTS / key).scores
    assert scores["rouge1"] >= 0.90
    assert scores["rougeL"] >= 0.88


def test_shipped_small_gpt_halves_the_perplexity_of_a_bigram_model():
    scores = read_provenance(CHECKPOINTS / "small-gpt").scores
    assert scores["perplexity"] <= scores["bigram_perplexity"] / 2


@pytest.mark.parametrize("key", MODELS)
def test_shipped_checkpoint_was_made_by_the_recipe_that_is_written_down(key):
    recipe = read_provenance(CHECKPOINTS / key).recipe
    assert recipe["steps"] == RECIPES[key].steps
    assert recipe["batch"] == RECIPES[key].batch


@pytest.mark.parametrize("key", MODELS)
def test_shipped_checkpoint_scores_what_its_provenance_says(key, cpu):
    expected = read_provenance(CHECKPOINTS / key)
    scores, digest = score_checkpoint(resolve_weights(MODELS[key], "tiny", "shipped", cpu))
    assert digest == expected.corpus_digest
    assert scores.keys() == expected.scores.keys()
    for name, value in expected.scores.items():
        tolerance = 1e-5 if "perplexity" in name else 0
        assert scores[name] == pytest.approx(value, rel=tolerance, abs=0), name
