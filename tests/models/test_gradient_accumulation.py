from __future__ import annotations

import pytest
import torch

from fixtures.corpus.articles import Article
from fixtures.corpus.grammar import generate_articles
from fixtures.models import training
from fixtures.models.lessons import (
    build_causal_lessons,
    build_prose_lessons,
    build_seq2seq_lessons,
)
from fixtures.models.registry import MODELS
from fixtures.models.seeded import build_random_model
from fixtures.models.training import Recipe, accumulate_gradients, train
from fixtures.models.vocabulary import build_tokenizer

ROWS = torch.arange(6)


def build(key):
    """A random tiny model and six lessons whose rows differ much in length."""
    spec = MODELS[key]
    tokenizer = build_tokenizer(spec)
    if spec.task == "prose":
        text = "He looked up. She looked down. Nobody said a word. " * 4
        return build_random_model(spec, "tiny"), build_prose_lessons(tokenizer, text, 32, "cpu")
    articles = [
        Article(" ".join(article.text.split()[: 4 + 9 * number]), article.highlights, ())
        for number, article in enumerate(generate_articles("train", len(ROWS)))
    ]
    write = build_seq2seq_lessons if spec.kind == "seq2seq" else build_causal_lessons
    return build_random_model(spec, "tiny"), write(tokenizer, articles, "cpu")


def gradient(model, lessons, accumulate, micro_batches):
    model.zero_grad()
    loss = accumulate(model, lessons, ROWS, micro_batches)
    found = [parameter.grad.flatten() for parameter in model.parameters()]
    return loss, torch.cat(found)


def assert_parts_add_up(key, accumulate):
    """Micro-batches give the loss and the gradient that the whole batch gives at once."""
    model, lessons = build(key)
    whole_loss, whole = gradient(model, lessons, accumulate_gradients, 1)
    for micro_batches in (2, 3, 4, 6):  # four parts of six rows are of unequal size
        loss, parts = gradient(model, lessons, accumulate, micro_batches)
        assert loss.item() == pytest.approx(whole_loss.item(), rel=1e-5)
        # Rounding of fp32 sums over another order: a few parts in a million.
        assert (parts - whole).norm() < 1e-5 * whole.norm()


@pytest.mark.parametrize("key", ["gpt2", "t5-small", "small-gpt"])
def test_micro_batches_give_the_gradient_of_the_whole_batch(key):
    assert_parts_add_up(key, accumulate_gradients)


def leave_out_the_last(model, lessons, picks, micro_batches=1):
    parts = picks.tensor_split(micro_batches)[: max(1, micro_batches - 1)]
    return accumulate_gradients(model, lessons, torch.cat(parts), len(parts))


def divide_by_one_more(model, lessons, picks, micro_batches=1):
    total = torch.zeros(())
    for part in picks.tensor_split(micro_batches):
        loss = lessons.loss(model, part) / (micro_batches + 1)
        loss.backward()
        total = total + loss.detach()
    return total


def take_a_plain_mean(model, lessons, picks, micro_batches=1):
    total = torch.zeros(())
    for part in picks.tensor_split(micro_batches):
        loss = lessons.loss(model, part) / micro_batches
        loss.backward()
        total = total + loss.detach()
    return total


@pytest.mark.parametrize("fault", [leave_out_the_last, divide_by_one_more, take_a_plain_mean])
def test_accumulation_that_is_off_is_caught(fault):
    with pytest.raises(AssertionError):
        assert_parts_add_up("gpt2", fault)


def test_training_in_micro_batches_ends_where_whole_batches_do():
    def train_with(**options):
        model, lessons = build("gpt2")
        losses = []
        recipe = Recipe(steps=4, batch=6, learning_rate=1e-3, warmup_steps=1)
        train(model, lessons, recipe, lambda _, nats: losses.append(nats), **options)
        return losses

    assert train_with(micro_batches=3) == pytest.approx(train_with(), abs=1e-4)


def test_every_micro_batch_is_given_to_the_model_once(monkeypatch):
    model, lessons = build("small-gpt")
    sizes = []
    forward = type(lessons).loss

    def note(self, model, picks):
        sizes.append(len(picks))
        return forward(self, model, picks)

    monkeypatch.setattr(type(lessons), "loss", note)
    training.accumulate_gradients(model, lessons, ROWS, 4)
    assert sizes == [2, 2, 1, 1]


@pytest.mark.parametrize("micro_batches", [0, 5])
def test_batch_that_cannot_be_taken_in_so_many_parts_is_refused(micro_batches):
    model, lessons = build("small-gpt")
    with pytest.raises(ValueError, match=rf"^a batch of 4 rows cannot be taken in {micro_batches}"):
        train(model, lessons, Recipe(1, 4), lambda *_: None, micro_batches=micro_batches)
