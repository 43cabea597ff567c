from __future__ import annotations

import math

import pytest
import torch

from fixtures.corpus.articles import Article
from fixtures.corpus.grammar import generate_articles
from fixtures.models.bigram import bigram_perplexity
from fixtures.models.lessons import (
    build_causal_lessons,
    build_prose_lessons,
    build_seq2seq_lessons,
)
from fixtures.models.registry import MODELS
from fixtures.models.seeded import build_random_model
from fixtures.models.training import Recipe, train
from fixtures.models.vocabulary import build_tokenizer

PROSE = "He looked up. She looked down. Nobody said a word. " * 40


def build_lessons(key):
    spec = MODELS[key]
    tokenizer = build_tokenizer(spec)
    if spec.task == "prose":
        return build_prose_lessons(tokenizer, PROSE, 32, "cpu")
    build = build_seq2seq_lessons if spec.kind == "seq2seq" else build_causal_lessons
    return build(tokenizer, generate_articles("train", 32), "cpu")


@pytest.mark.parametrize("key", MODELS)
def test_twenty_steps_lower_the_loss_by_a_quarter_nat_or_more(key):
    losses = []
    model = build_random_model(MODELS[key], "tiny")
    recipe = Recipe(steps=20, batch=8, warmup_steps=5)
    train(model, build_lessons(key), recipe, lambda _, nats: losses.append(nats))
    assert len(losses) == 20
    assert losses[-1] < losses[0] - 0.25
    assert not model.training


def test_training_is_repeatable():
    def train_once():
        model = build_random_model(MODELS["gpt2"], "tiny")
        train(model, build_lessons("gpt2"), Recipe(3, 4), lambda *_: None)
        return model.state_dict()

    first, second = train_once(), train_once()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_learning_rate_rises_peaks_and_falls_to_nothing():
    recipe = Recipe(steps=150, batch=1, warmup_steps=50)
    assert recipe.rate_at(0) == pytest.approx(1 / 50)
    assert recipe.rate_at(49) == recipe.rate_at(50) == 1
    assert recipe.rate_at(100) == pytest.approx(0.5)  # half way down a half cosine
    assert recipe.rate_at(150) == pytest.approx(0)


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch": 0}, {"learning_rate": 0.0}])
def test_recipe_without_any_training_is_refused(change):
    with pytest.raises(ValueError, match="needs steps, rows, warm-up and a learning rate above"):
        Recipe(**{"steps": 1, "batch": 1} | change)


def test_summary_tokens_weigh_five_times_and_padding_nothing():
    tokenizer = build_tokenizer(MODELS["gpt2"])
    long, short = generate_articles("train", 2)
    short = Article(text=short.highlights, highlights="The", facts=())
    lessons = build_causal_lessons(tokenizer, [long, short], "cpu")
    prompt, row = len(tokenizer(short.text + " TL;DR:")["input_ids"]), lessons.weights[1].tolist()
    # "The" and the end token are the summary; the rest of the row pads it to the longer one.
    assert row == [1.0] * prompt + [5.0] * 2 + [0.0] * (len(row) - prompt - 2)
    assert lessons.lengths[1] == prompt + 2
    assert lessons.input_ids[1, prompt + 1] == tokenizer.eos_token_id


def test_causal_loss_is_the_weighted_mean_of_the_shifted_nll():
    model = build_random_model(MODELS["gpt2"], "tiny")
    torch.nn.init.zeros_(model.lm_head.weight)  # uniform over the vocabulary, whatever the weights
    loss = build_lessons("gpt2").loss(model, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(math.log(model.config.vocab_size), rel=1e-5)


def test_decoder_is_fed_the_summary_one_token_late():
    fed = {}

    class Recorder(torch.nn.Module):
        config = MODELS["t5-small"].build_config("tiny")

        def forward(self, **inputs):
            fed.update(inputs)
            shape = (*inputs["decoder_input_ids"].shape, self.config.vocab_size)
            return type("Output", (), {"logits": torch.zeros(shape)})

    lessons = build_lessons("t5-small")
    loss = lessons.loss(Recorder(), torch.tensor([2]))
    assert fed["decoder_input_ids"][0, 0] == Recorder.config.decoder_start_token_id
    assert fed["decoder_input_ids"][0, 1:].tolist() == lessons.labels[2, :-1].tolist()
    assert fed["attention_mask"].sum() == lessons.lengths[2]
    assert loss.item() == pytest.approx(math.log(Recorder.config.vocab_size), rel=1e-5)


def test_bigram_perplexity_by_hand():
    # "abab": a is followed by b twice, b by a once; alphabet {a, b}, so P(b|a) = (2+1)/(2+2) and
    # P(a|b) = (1+1)/(1+2). "aba" scores both: sqrt(4/3 * 3/2) = sqrt(2).
    assert bigram_perplexity("abab", "aba") == pytest.approx(math.sqrt(2))


def test_bigram_of_an_unseen_start_is_uniform_over_the_alphabet():
    # {a, b, c}: "c" never starts a pair in training, so each of the three is as likely.
    assert bigram_perplexity("ab", "ca") == pytest.approx(3)


def test_bigram_of_a_single_character_is_refused():
    with pytest.raises(ValueError, match="two characters or more"):
        bigram_perplexity("abc", "a")
