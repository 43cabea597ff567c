from __future__ import annotations

import pytest
import torch

from fixtures.models.lessons import build_prose_lessons
from fixtures.models.registry import MODELS
from fixtures.models.seeded import build_random_model
from fixtures.models.snapshots import SnapshotError, Snapshots
from fixtures.models.training import Recipe, train
from fixtures.models.vocabulary import build_tokenizer

RECIPE = Recipe(steps=6, batch=2, warmup_steps=2)
SPEC = MODELS["small-gpt"]
PROSE = "He looked up. She looked down. Nobody said a word. " * 4


class Stopped(Exception):
    """The process is killed."""


def build():
    lessons = build_prose_lessons(build_tokenizer(SPEC), PROSE, 16, "cpu")
    model = build_random_model(SPEC, "tiny")
    # Dropout draws from torch's own random state in every step: its place must be kept too.
    model.model.norm = torch.nn.Sequential(model.model.norm, torch.nn.Dropout(0.5))
    return model, lessons


def run(snapshots, stop_before=None):
    """Train from the start or from where it was kept; the state at the end, and the losses."""
    model, lessons = build()
    losses = {}

    def report(step, nats):
        losses[step] = nats
        if step == stop_before:
            raise Stopped

    torch.manual_seed(7)
    train(model, lessons, RECIPE, report, snapshots=snapshots)
    return model.state_dict(), losses


@pytest.fixture
def keeping(tmp_path):
    """Snapshots every second step in a file of the test's own."""

    def make(resume=False, every=2, **run):
        return Snapshots(tmp_path / "runs" / "a.pt", every, {"batch": 2, **run}, resume)

    return make


def test_resumed_run_ends_bit_for_bit_where_an_unbroken_one_does(keeping):
    whole, losses = run(None)
    with pytest.raises(Stopped):
        run(keeping(), stop_before=5)  # the last snapshot is of step 4: one step is lost
    torch.rand(100)  # what another process would have drawn
    resumed, later = run(keeping(resume=True))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert later == {step: losses[step] for step in (5, 6)}


@pytest.mark.parametrize("forgotten", ["random", "optimiser", "schedule"])
def test_forgetting_a_part_of_the_state_is_caught(keeping, forgotten, monkeypatch):
    whole, _ = run(None)
    with pytest.raises(Stopped):
        run(keeping(), stop_before=5)
    read = Snapshots._read

    def read_less(self):
        state, fresh = read(self), build()[0]
        if forgotten == "random":
            return {**state, "random": torch.Generator().manual_seed(1).get_state()}
        optimiser = torch.optim.AdamW(fresh.parameters(), lr=RECIPE.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, RECIPE.rate_at)
        blank = {"optimiser": optimiser, "schedule": schedule}[forgotten]
        return {**state, "parts": {**state["parts"], forgotten: blank.state_dict()}}

    monkeypatch.setattr(Snapshots, "_read", read_less)
    resumed, _ = run(keeping(resume=True))
    assert not all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_that_is_not_resumed_starts_anew(keeping):
    whole, _ = run(None)
    with pytest.raises(Stopped):
        run(keeping(), stop_before=5)
    again, losses = run(keeping())
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert len(losses) == RECIPE.steps


def test_steps_done_are_those_of_the_last_snapshot(keeping):
    with pytest.raises(Stopped):
        run(keeping(), stop_before=5)
    assert keeping(resume=True).count_done() == 4
    assert keeping().count_done() == 0


def test_snapshot_of_another_run_is_refused(keeping):
    with pytest.raises(Stopped):
        run(keeping(text="a.txt"), stop_before=3)
    with pytest.raises(
        SnapshotError, match=r"a\.pt is of a run with text a\.txt, and this one has"
    ):
        run(keeping(resume=True, text="b.txt"))


def test_missing_snapshot_is_refused(keeping):
    with pytest.raises(SnapshotError, match=r"a\.pt is missing, so there is no run to go on with"):
        run(keeping(resume=True))


def test_truncated_snapshot_is_refused(keeping):
    with pytest.raises(Stopped):
        run(keeping(), stop_before=3)
    file = keeping().file
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(
        SnapshotError, match=r"a\.pt is damaged \(.+\); start anew without --resume"
    ):
        run(keeping(resume=True))


def test_interruption_while_writing_leaves_the_snapshot_before(keeping, monkeypatch):
    with pytest.raises(Stopped):
        run(keeping(), stop_before=3)

    def break_off(state, file):
        file.write_bytes(b"half")
        raise Stopped

    monkeypatch.setattr(torch, "save", break_off)
    with pytest.raises(Stopped):
        run(keeping())
    assert keeping(resume=True).count_done() == 2


def test_keeping_a_run_every_no_steps_is_refused(keeping):
    with pytest.raises(ValueError, match="cannot be kept every 0 steps"):
        keeping(every=0)
