from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from fixtures.accuracy.examples import NOT_SCORED
from fixtures.accuracy.perplexity import perplexity
from fixtures.accuracy.scoring import score
from fixtures.adaptation import answers as module
from fixtures.adaptation import scoring
from fixtures.adaptation.answers import Answers
from fixtures.adaptation.scoring import build_examples, score_domain, summarise_domain
from fixtures.corpus.sources import load_target_corpus
from fixtures.device import detect_cpu
from fixtures.models.registry import MODELS
from fixtures.techniques.registry import find_technique
from fixtures.variants import BuiltVariant, Variant, build_variant

FEW = 6


def build(technique, key="gpt2"):
    return build_variant(
        Variant(MODELS[key], find_technique(technique), "tiny", "auto"), detect_cpu()
    )


@pytest.fixture(scope="module")
def corpus():
    return load_target_corpus(FEW)


@pytest.fixture(scope="module")
def lora() -> Iterator[BuiltVariant]:
    return build("lora")


@pytest.fixture
def builds(monkeypatch):
    """The techniques that had to be built for an answer."""
    built = []

    def count(variant, device, weights):
        built.append(variant.technique.name)
        return build_variant(variant, device, weights)

    monkeypatch.setattr(module, "build_variant", count)
    return built


def test_what_stands_ready_is_asked_itself_and_each_other_built_once(lora, corpus, builds):
    answers = Answers(corpus)
    own = answers.scores(lora)
    assert answers.scores(lora) is own
    base = answers.scores(lora, "fp32")
    assert answers.scores(lora, "fp32") is base
    assert answers.scores(lora, "lora") is own
    assert builds == ["fp32"]
    assert perplexity(own.nll) < perplexity(base.nll)


def test_answers_of_another_model_are_not_kept(lora, corpus, builds):
    answers = Answers(corpus)
    answers.scores(lora, "fp32")
    answers.scores(build("fp32", "t5-small"))
    answers.scores(lora, "fp32")
    assert builds == ["fp32", "fp32"]


# --- planted: pads scored, prompt tokens scored ---------------------------------------------


def test_perplexity_of_an_adapted_model_does_not_change_with_its_padding(lora, corpus):
    examples = build_examples(lora.variant.spec, lora.tokenizer, corpus)
    assert len({len(example.input_ids) for example in examples}) > 1
    found = [
        perplexity(score(lora.model, examples, batch_size=batch, padding_side=side).nll)
        for batch, side in [(1, "right"), (FEW, "right"), (FEW, "left")]
    ]
    assert found == pytest.approx([found[0]] * 3, rel=1e-5)
    # Were each row's pads scored, it would.
    width = max(len(example.input_ids) for example in examples)
    padded = [
        type(example)(
            example.input_ids + (lora.tokenizer.pad_token_id,) * (width - len(example.input_ids)),
            example.labels + (lora.tokenizer.pad_token_id,) * (width - len(example.labels)),
            example.cluster,
        )
        for example in examples
    ]
    assert perplexity(score(lora.model, padded).nll) != pytest.approx(found[0], rel=1e-2)


def test_every_token_of_a_notice_is_scored_and_nothing_else(lora, corpus):
    scores = score_domain(lora.variant.spec, lora.model, lora.tokenizer, corpus)
    lengths = [
        len(lora.tokenizer(f"{article.text} TL;DR: {article.highlights}")["input_ids"])
        for article in corpus.articles
    ]
    # All but the first, and the end of text behind the last.
    assert np.bincount(scores.cluster).tolist() == lengths
    examples = build_examples(lora.variant.spec, lora.tokenizer, corpus)
    assert all(example.labels[0] == NOT_SCORED for example in examples)


def test_prompt_is_no_part_of_a_summary_and_would_show_in_its_rouge(lora, corpus, monkeypatch):
    rows = summarise_domain(lora.model, lora.tokenizer, corpus)
    monkeypatch.setattr(
        scoring,
        "generate_summaries",
        lambda model, tokenizer, articles, tokens, batch_size: [
            f"{article.text} TL;DR: {article.highlights}" for article in articles
        ],
    )
    # A perfect summary behind its prompt: the prompt alone costs more than half of the score.
    with_prompt = summarise_domain(lora.model, lora.tokenizer, corpus)
    assert with_prompt["rouge1"].max() < 0.75
    assert rows["rouge1"].mean() > with_prompt["rouge1"].max()


def test_prose_is_scored_in_windows_as_long_as_those_trained_on(corpus):
    built = build("fp32", "small-gpt")
    examples = build_examples(built.variant.spec, built.tokenizer, corpus)
    assert max(len(example.input_ids) for example in examples) == scoring.PROSE_CONTEXT
