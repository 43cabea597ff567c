"""A round: what is timed in it, and what is not."""

from __future__ import annotations

import gc

import pytest

from fixtures.device import detect
from fixtures.upgrading import rounds
from fixtures.upgrading.rounds import _run_slowed, time_round


def test_first_repeat_of_a_round_is_not_counted():
    taken = iter([9.0, 1.0, 2.0, 3.0])
    assert time_round(lambda: next(taken), 3) == [1.0, 2.0, 3.0]


def test_collector_is_off_in_a_round_and_on_behind_it():
    states = []

    def repeat():
        states.append(gc.isenabled())
        return 1.0

    time_round(repeat, 2)
    assert states == [False] * 3
    assert gc.isenabled()


def test_collector_is_on_again_behind_a_round_that_breaks():
    def repeat():
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        time_round(repeat, 2)
    assert gc.isenabled()


@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
def test_planted_slowdown_takes_a_share_of_the_time_itself(share, monkeypatch):
    now = [0.0]

    def tick():
        now[0] += 0.001
        return now[0]

    def act():
        now[0] += 1.0

    monkeypatch.setattr(rounds.time, "perf_counter", tick)
    _run_slowed(act, share, detect("cpu"))
    assert now[0] == pytest.approx(1.0 + share, abs=0.01)
