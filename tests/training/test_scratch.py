from __future__ import annotations

import pytest

from fixtures.matrix import Selection
from fixtures.models.training import Recipe
from fixtures.training import scratch
from fixtures.training.scratch import build_scratch_cells, learn_from_scratch


@pytest.fixture
def cell(monkeypatch):
    monkeypatch.setitem(scratch._RECIPES, "tiny", Recipe(steps=4, batch=2, warmup_steps=1))
    monkeypatch.setattr(scratch, "_CHARACTERS", 3000)
    monkeypatch.setattr("fixtures.models.sample_text._TOKENS", 12)
    (cell,) = build_scratch_cells(Selection.parse(None, None, None, "auto", (), ()), "cpu")
    return cell


def test_small_gpt_learns_and_writes_the_same_each_time(cell, cpu):
    learnt, again = (learn_from_scratch(cell, cpu) for _ in range(2))
    assert len(learnt.losses_nats) == 4
    assert learnt.losses_nats[-1] < learnt.losses_nats[0]
    assert learnt.tokens_per_s > 0
    assert len(learnt.sample.continuation) == 12
    assert (again.losses_nats, again.sample) == (learnt.losses_nats, learnt.sample)


def test_cell_is_named_by_what_it_does(cell, cpu):
    assert cell.id == "tiny-small-gpt-scratch-train-b2-t64"
    assert cell.settings(cpu)["steps"] == 4


@pytest.mark.parametrize(
    ("options", "tier", "scales"),
    [
        ({}, "cpu", ["tiny"]),
        ({}, "gpu", ["published"]),
        ({"models": "gpt2"}, "cpu", []),
        ({"techniques": "nf4"}, "cpu", []),
        ({"scale": "published"}, "cpu", []),
    ],
)
def test_cells_follow_the_command_line(options, tier, scales):
    asked = {"models": None, "techniques": None, "scale": None} | options
    selection = Selection.parse(*asked.values(), "auto", (), ())
    assert [cell.scale for cell in build_scratch_cells(selection, tier)] == scales
