from __future__ import annotations

import pytest
import torch

from fixtures.models.registry import MODELS
from fixtures.models.seeded import build_random_model
from fixtures.models.students import WIDTHS, choose_neurons, cut_student, student_spec


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("key", MODELS)
def test_student_has_two_thirds_of_the_parameters_and_every_layer(key):
    spec = MODELS[key]
    teacher, student = (build_random_model(each, "tiny") for each in (spec, student_spec(spec)))
    assert 0.60 <= count(student) / count(teacher) <= 0.72
    assert student.state_dict().keys() == teacher.state_dict().keys()


def test_students_are_known_of_every_model():
    assert WIDTHS.keys() == MODELS.keys()


@pytest.mark.parametrize("key", ["gpt2", "t5-small", "gemma-2b"])
def test_student_starts_as_its_teacher_but_for_narrower_layers(key):
    teacher = build_random_model(MODELS[key], "tiny")
    before, after = teacher.state_dict(), cut_student(MODELS[key], teacher).state_dict()
    narrow = {name for name in before if before[name].shape != after[name].shape}
    assert all(torch.equal(before[name], after[name]) for name in before.keys() - narrow)
    assert narrow and all("mlp" in name or "DenseReluDense" in name for name in narrow)


def test_largest_neurons_stay_in_their_order_in_every_tensor_that_holds_them():
    # Four neurons of squared weights 1 + 1 + 0, 9 + 0 + 1, 0 + 0 + 4 and 4 + 4 + 16: the second
    # and the fourth are the two largest.
    teacher = {
        "mlp.fc.weight": torch.tensor([[1.0, 3.0, 0.0, 2.0], [1.0, 0.0, 0.0, 2.0]]),
        "mlp.fc.bias": torch.tensor([0.0, 1.0, 2.0, 4.0]),
        "mlp.norm.weight": torch.tensor([5.0]),
    }
    shapes = {
        "mlp.fc.weight": torch.empty(2, 2),
        "mlp.fc.bias": torch.empty(2),
        "mlp.norm.weight": torch.empty(1),
    }
    kept = dict(choose_neurons(teacher, shapes))
    assert kept["mlp.fc.weight"].tolist() == [[3.0, 2.0], [0.0, 2.0]]
    assert kept["mlp.fc.bias"].tolist() == [1.0, 4.0]
    assert kept["mlp.norm.weight"].tolist() == [5.0]


def test_neurons_are_chosen_layer_by_layer():
    teacher = {"a.fc.weight": torch.tensor([1.0, 2.0]), "b.fc.weight": torch.tensor([4.0, 3.0])}
    shapes = dict.fromkeys(teacher, torch.empty(1))
    kept = {name: tensor.item() for name, tensor in choose_neurons(teacher, shapes)}
    assert kept == {"a.fc.weight": 2.0, "b.fc.weight": 4.0}


def test_student_that_is_narrower_in_two_ways_is_refused():
    with pytest.raises(ValueError, match=r"^a.fc.weight is \[1, 1\] in the student, narrower in"):
        list(choose_neurons({"a.fc.weight": torch.ones(2, 2)}, {"a.fc.weight": torch.ones(1, 1)}))
