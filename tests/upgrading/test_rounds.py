"""A round: what is timed in it, and what is not."""

from __future__ import annotations

import gc

import pytest

from fixtures.upgrading.rounds import time_round


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
