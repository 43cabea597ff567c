from __future__ import annotations

import math

import pytest
import torch

from fixtures.corpus.grammar import generate_articles
from fixtures.models.distillation import TaughtLessons, distillation_loss
from fixtures.models.lessons import Prediction, build_causal_lessons
from fixtures.models.registry import MODELS
from fixtures.models.seeded import build_random_model
from fixtures.models.students import student_spec
from fixtures.models.training import Recipe, train
from fixtures.models.vocabulary import build_tokenizer


def predict(*rows, weights=None):
    """What a model says of one text, from odds over two tokens."""
    logits = torch.tensor(rows).log()[None]
    return Prediction(
        logits,
        torch.zeros(1, len(rows), dtype=torch.long),
        torch.tensor([weights or [1.0] * len(rows)]),
    )


def test_loss_is_the_kl_divergence_of_the_student_from_the_teacher():
    # KL((1/4, 3/4) || (1/2, 1/2)) = 1/4 ln(1/2) + 3/4 ln(3/2).
    loss = distillation_loss(predict([1.0, 1.0]), predict([1.0, 3.0]).logits, 1.0)
    assert loss.item() == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))


def test_temperature_softens_both_and_keeps_the_size_of_gradients():
    # At temperature 2 odds of 1 to 9 become 1 to 3, and the loss counts 2 x 2 times.
    loss = distillation_loss(predict([1.0, 1.0]), predict([1.0, 9.0]).logits, 2.0)
    assert loss.item() == pytest.approx(4 * (0.25 * math.log(0.5) + 0.75 * math.log(1.5)))


def test_padding_teaches_nothing():
    student = predict([1.0, 1.0], [5.0, 1.0], weights=[2.0, 0.0])
    loss = distillation_loss(student, predict([1.0, 3.0], [1.0, 7.0]).logits, 1.0)
    assert loss.item() == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))


@pytest.fixture(scope="module")
def lessons():
    return build_causal_lessons(
        build_tokenizer(MODELS["gpt2"]), generate_articles("train", 16), "cpu"
    )


@pytest.fixture(scope="module")
def teacher():
    """Random, and ten times as sure of itself as random weights are."""
    model = build_random_model(MODELS["gpt2"], "tiny", seed=1).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(10)
    return model


def test_teacher_has_nothing_to_learn_from_itself(lessons, teacher):
    taught = TaughtLessons(lessons, teacher, 2.0)
    assert taught.loss(teacher, torch.tensor([0, 3])).item() == pytest.approx(0, abs=1e-6)


def test_student_comes_nearer_and_the_teacher_stays_as_it_is(lessons, teacher):
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    student, losses = build_random_model(student_spec(MODELS["gpt2"]), "tiny"), []
    taught = TaughtLessons(lessons, teacher, 1.0)
    train(student, taught, Recipe(20, 8, warmup_steps=5), lambda _, nats: losses.append(nats))
    assert losses[-1] < losses[0] / 2
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(before[name], each) for name, each in teacher.state_dict().items())


def test_rows_count_and_weigh_as_in_the_lessons(lessons, teacher):
    taught = TaughtLessons(lessons, teacher, 2.0)
    assert len(taught) == len(lessons) == 16
    assert taught.row_tokens == lessons.row_tokens
    picks = torch.tensor([1, 2])
    assert taught.weight(picks) == lessons.weight(picks)
