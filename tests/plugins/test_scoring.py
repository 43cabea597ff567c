"""What a variant's outputs keep beside their scores, on the shipped tiny models."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fixtures.corpus.sources import load_corpus
from fixtures.device import detect_cpu
from fixtures.models.registry import find_model
from fixtures.plugins.scoring import Outputs
from fixtures.techniques.registry import find_technique
from fixtures.variants import Variant, build_variant


@pytest.fixture(scope="module")
def read_sample():
    """The sample of a tiny variant."""
    corpus, device = load_corpus(None, 2), detect_cpu()

    def read(model, technique):
        variant = Variant(find_model(model), find_technique(technique), "tiny", "auto")
        return Outputs(build_variant(variant, device), corpus).sample, corpus.prose

    return read


def test_reference_of_prose_keeps_what_it_writes(read_sample):
    sample, prose = read_sample("small-gpt", "fp32")
    wrote = sample["sample"]
    assert prose.startswith(wrote["opening"]) and len(wrote["opening"]) > 20
    words = wrote["continuation"].split()
    # Trained on such prose, it writes words; at random there would be a space in 60 characters.
    assert len(words) > 30 and max(map(len, words)) < 25
    assert wrote["continuation"] not in prose


@pytest.mark.parametrize(("model", "technique"), [("small-gpt", "bf16"), ("gpt2", "fp32")])
def test_other_variants_keep_none(read_sample, model, technique):
    assert read_sample(model, technique)[0] == {}


def _build_outputs(technique):
    variant = Variant(find_model("gpt2"), find_technique(technique), "published", "fitted")
    return Outputs(SimpleNamespace(variant=variant), load_corpus(None, 200))


@pytest.mark.parametrize(
    ("technique", "count"),
    [("bf16", 200), ("nf4", 200), ("compiled+bf16", 64), ("nf4+compiled", 64)],
)
def test_compiled_steps_summarise_the_first_articles(technique, count):
    outputs = _build_outputs(technique)
    assert list(outputs.articles) == list(outputs.corpus.articles[:count])


def test_rouge_of_some_articles_is_held_to_the_references_of_the_same():
    outputs = _build_outputs("compiled+bf16")
    # The reference's other articles would halve its mean.
    of_reference = np.r_[np.full(64, 0.8), np.zeros(136)]
    outputs.rouge_rows = {"rougeL": np.full(64, 0.6)}
    references = SimpleNamespace(rouge_rows=lambda built: {"rougeL": of_reference})
    found = outputs.compare_rouge(references)["rougeL"]
    assert found.reference_mean == pytest.approx(0.8)
    assert found.ratio == pytest.approx(0.75)
