from __future__ import annotations

import dataclasses

import pytest
import torch

from fixtures.regression.sizes import judge_share
from fixtures.regression.verdict import Status
from fixtures.training import trainee as trainees
from fixtures.training.cells import TrainingCell
from fixtures.training.trainee import FIXED_STEPS, build_trainee, time_parts

LOSS = "train_loss_nats"


@pytest.fixture(scope="module")
def losses_of(cpu, find_cell):
    """Losses of the fixed steps of tiny gpt2, by method; with a fault, those of the faulty."""
    kept = {}

    def find(method):
        if method not in kept:
            kept[method] = build_trainee(find_cell("gpt2", method), cpu).fixed_losses_nats
        return kept[method]

    return find


@pytest.mark.parametrize("method", ["full", "lora", "ia3", "qlora-int8", "qlora-nf4"])
def test_every_method_learns_its_batch(losses_of, method):
    losses = losses_of(method)
    assert len(losses) == FIXED_STEPS + 1
    assert losses[-1] < losses[0] - 0.2


def test_encoder_and_decoder_share_the_tokens_of_a_row(cpu, find_cell):
    trainee = build_trainee(find_cell("t5-small", "full"), cpu)
    assert {name: list(ids.shape) for name, ids in trainee.batch.items()} == {
        "input_ids": [2, 32],
        "labels": [2, 32],
    }
    assert trainee.fixed_losses_nats[-1] < trainee.fixed_losses_nats[0]


@pytest.mark.parametrize("key", ["gpt2", "t5-small"])
def test_frozen_base_stays_as_it_is_and_every_adapter_moves(cpu, find_cell, key):
    trainee = build_trainee(find_cell(key, "lora"), cpu)
    before = {name: part.clone() for name, part in trainee.model.state_dict().items()}
    trainee.step()
    moved = {
        name
        for name, part in trainee.model.state_dict().items()
        if not torch.equal(part, before[name])
    }
    adapters = {name for name in before if ".lora_" in name}
    assert adapters
    assert moved == adapters


def test_the_same_cell_leads_to_the_same_losses_bit_for_bit(cpu, find_cell, losses_of):
    torch.rand(7)  # what another test would have drawn
    again = build_trainee(find_cell("gpt2", "lora"), cpu).fixed_losses_nats
    assert again == losses_of("lora")


def test_gradient_checkpointing_leads_to_the_same_loss(cpu, find_cell, losses_of, monkeypatch):
    monkeypatch.setattr(TrainingCell, "checkpointing", True)
    forwards = []
    block = "transformers.models.gpt2.modeling_gpt2.GPT2MLP.forward"
    from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

    forward = GPT2MLP.forward
    monkeypatch.setattr(block, lambda self, x: forwards.append(1) or forward(self, x))
    losses = build_trainee(find_cell("gpt2", "lora"), cpu).fixed_losses_nats
    assert losses == pytest.approx(losses_of("lora"), abs=1e-5)
    # Two blocks, twice a step: in the forward pass, and again in the backward pass.
    assert len(forwards) == 2 * 2 * FIXED_STEPS + 2


def judge_fault(losses_of, losses):
    return judge_share(LOSS, losses_of("lora")[-1], losses[-1]).status


def test_unchanged_training_is_unchanged(losses_of):
    assert judge_fault(losses_of, losses_of("lora")) is Status.UNCHANGED


def test_learning_rate_off_by_two_percent_is_caught(cpu, find_cell, losses_of):
    cell = find_cell("gpt2", "lora")
    slower = dataclasses.replace(cell.method, learning_rate=0.98 * cell.method.learning_rate)
    losses = build_trainee(dataclasses.replace(cell, method=slower), cpu).fixed_losses_nats
    assert judge_fault(losses_of, losses) is Status.REGRESSED


def test_optimiser_that_leaves_an_adapter_out_is_caught(cpu, find_cell, losses_of, monkeypatch):
    build = trainees.build_optimiser

    def leave_out_one(model, learning_rate):
        next(part for part in model.parameters() if part.requires_grad).requires_grad_(False)
        return build(model, learning_rate)

    monkeypatch.setattr(trainees, "build_optimiser", leave_out_one)
    losses = build_trainee(find_cell("gpt2", "lora"), cpu).fixed_losses_nats
    assert judge_fault(losses_of, losses) is Status.REGRESSED


def test_adapter_that_is_not_attached_is_caught(cpu, find_cell, losses_of, monkeypatch):
    monkeypatch.setattr(trainees, "attach_adapter", lambda model, spec, adapter, seed: model)
    losses = build_trainee(find_cell("gpt2", "lora"), cpu).fixed_losses_nats
    # All of the model is trained instead, and at an adapter's rate.
    assert judge_fault(losses_of, losses) is not Status.UNCHANGED


def test_parts_of_a_step_are_timed_apart(cpu, find_cell):
    trainee = build_trainee(find_cell("gpt2", "full"), cpu)
    taken = []
    for name in ("forward", "update"):
        step = getattr(trainee, name)
        setattr(trainee, name, lambda step=step, name=name: (taken.append(name), step())[1])
    parts = time_parts(trainee, rounds=3)
    assert parts.keys() == {"forward_s", "backward_s", "optimiser_s"}
    assert all(seconds > 0 for seconds in parts.values())
    assert taken == ["forward", "update"] * 3
