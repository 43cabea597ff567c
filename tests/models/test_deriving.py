"""The commands that make derived checkpoints, on a handful of texts and steps."""

from __future__ import annotations

import pytest

from fixtures.models import deriving, distil, examination, prune
from fixtures.models.provenance import digest_weights, read_provenance
from fixtures.models.registry import MODELS
from fixtures.models.weights import Weights, load_model
from fixtures.techniques.layers import linear_layers

ROUGE = {"rouge1", "rouge2", "rougeL", "rougeLsum"}


@pytest.fixture
def few_texts(monkeypatch):
    monkeypatch.setattr(examination, "SCORED_ARTICLES", 4)
    monkeypatch.setattr(examination, "SUMMARISED_ARTICLES", 1)
    monkeypatch.setattr(examination, "SUMMARY_TOKENS", 2)
    monkeypatch.setattr(deriving, "TRAINING_ARTICLES", 16)


def load(folder, cpu):
    weights = Weights(MODELS["gpt2"], "tiny", "derived", folder, "a test")
    return load_model(weights, cpu, {})


def test_student_is_written_beside_how_it_compares(few_texts, tmp_path, cpu):
    for root in ("first", "again"):
        distil.main(["gpt2", "--steps", "2", "--out", str(tmp_path / root)])
    first, again = (tmp_path / root / "distilled/gpt2" for root in ("first", "again"))
    assert digest_weights(first) == digest_weights(again)
    provenance = read_provenance(first)
    assert provenance.scores.keys() == {
        "perplexity",
        *ROUGE,
        "teacher_perplexity",
        *(
            f"{name}_{figure}"
            for name in ("untaught", "scratch")
            for figure in ("perplexity", *ROUGE)
        ),
        "z_over_untaught",
        "z_over_scratch",
    }
    # Two steps take random weights nowhere, and spoil little of what was cut from a teacher.
    assert provenance.scores["z_over_scratch"] > 3
    assert provenance.recipe["temperature"] == 2
    assert provenance.parameters == load(first, cpu).num_parameters()
    assert not list((tmp_path / "first/distilled").glob("*.unfinished"))


def test_tuned_model_keeps_the_masks_that_it_was_trained_under(few_texts, tmp_path, cpu):
    prune.main(["gpt2", "--steps", "2", "--out", str(tmp_path)])
    folder = tmp_path / "pruned-50-tuned/gpt2"
    scores = read_provenance(folder).scores
    assert {"perplexity", "untuned_perplexity", "teacher_perplexity", "z_over_untuned"} <= set(
        scores
    )
    for layer in linear_layers(load(folder, cpu)).values():
        assert int((layer.weight == 0).sum()) == layer.weight.numel() // 2
