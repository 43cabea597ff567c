"""How much is measured, and what a budget leaves of it."""

from __future__ import annotations

import pytest

from fixtures.upgrading.schedule import Budget, Schedule, parse_budget


def test_default_is_160_pairs_over_five_restarts_and_once_more_for_the_undecided():
    schedule = Schedule()
    assert (schedule.pairs, schedule.restarts, schedule.pairs_a_restart) == (160, 5, 32)
    assert schedule.looks == (5, 10)
    assert schedule.alpha == pytest.approx(0.005)  # half of 0.01 a look


def test_one_look_has_all_of_alpha():
    assert Schedule(most_restarts=5).alpha == pytest.approx(0.01)


def test_pairs_are_rounded_up_to_whole_restarts():
    assert Schedule(pairs=21).pairs_a_restart == 5


@pytest.mark.parametrize(("pairs", "restarts"), [(6, 2), (20, 1), (8, 10)])
def test_numbers_that_decide_nothing_are_refused(pairs, restarts):
    with pytest.raises(ValueError, match="decide nothing; take 7 pairs and 2 restarts or more"):
        Schedule(pairs=pairs, restarts=restarts)


def test_most_restarts_cannot_be_fewer():
    with pytest.raises(ValueError, match=r"--most-restarts 3 lies below --restarts 5"):
        Schedule(most_restarts=3)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1.5h", 5400), (" 2m ", 120)]
)
def test_budget_is_read(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["15", "m", "-3m", "0s", "15 minutes", ""])
def test_budget_that_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"is no time such as 90s, 15m or 1\.5h"):
        parse_budget(text)


def test_budget_promises_no_more_than_it_has():
    now = [100.0]
    budget = Budget(100.0, lambda: now[0])
    assert budget.take_on(40)  # 46 s with the reserve of 15 %
    now[0] += 20
    assert not budget.take_on(40)  # 20 spent + 46 + 46
    assert budget.promised_s == pytest.approx(46)
    assert budget.take_on(20)
    assert not budget.is_full
    now[0] += 11
    assert budget.is_full
    assert not budget.is_spent
    now[0] += 69
    assert budget.is_spent


def test_without_a_limit_everything_fits():
    budget = Budget(None)
    assert budget.take_on(1e9)
    assert not budget.is_full
    assert not budget.is_spent
