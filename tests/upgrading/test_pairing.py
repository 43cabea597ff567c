"""The order of rounds, and how long they last."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.upgrading.cases import Case
from fixtures.upgrading.pairing import choose_repeats, order_pairs, take_pairs
from fixtures.workloads import Workload

CASE = Case("x", "x", Workload(1, 4, 11))


class Sides:
    """Both sides as one list of times each; remembers what was asked."""

    def __init__(self, **seconds):
        self.seconds = seconds
        self.asked = []

    def ask(self, label, do, **arguments):
        self.asked.append((label, arguments["repeats"]))
        return {"seconds": [self.seconds[label]] * arguments["repeats"]}


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers())
def test_either_side_goes_first_as_often(count, seed):
    orders = Counter(order_pairs(count, random.Random(seed)))
    assert orders.total() == count
    assert set(orders) <= {("A", "B"), ("B", "A")}
    assert abs(orders["A", "B"] - orders["B", "A"]) == count % 2


def test_order_is_random_and_a_seed_repeats_it():
    chance = random.Random(3)
    drawn = {tuple(order_pairs(4, chance)) for _ in range(200)}
    assert len(drawn) == 6  # four pairs, two of them each way: 4! / (2! 2!)
    assert order_pairs(8, random.Random(5)) == order_pairs(8, random.Random(5))


def test_steady_drift_favours_no_side():
    # Round k takes 1 + k / 100 seconds on either side: forward pairs have B slower, others A.
    moves = [1 if order == ("A", "B") else -1 for order in order_pairs(20, random.Random(1))]
    assert sum(moves) == 0


def test_pair_holds_the_median_round_of_each_side():
    sides = Sides(A=0.02, B=0.03)
    pairs = take_pairs(sides, CASE, "decode", 5, 4, random.Random(0))
    assert pairs == [(0.02, 0.03)] * 4
    assert all({a[0], b[0]} == {"A", "B"} for a, b in list(pairwise(sides.asked))[::2])


@pytest.mark.parametrize(
    ("phase", "seconds", "repeats"),
    [
        ("prefill", 0.002, 5),  # 10 ms / 2 ms
        ("decode", 0.0005, 5),  # four steps are 2 ms
        ("prefill", 0.9, 1),  # longer than a window
    ],
)
def test_round_fills_its_window_or_holds_one_repeat(phase, seconds, repeats):
    found, pair_s = choose_repeats(Sides(A=seconds, B=seconds / 2), CASE, phase)
    assert found == repeats
    once = seconds * (4 if phase == "decode" else 1)
    assert pair_s == pytest.approx((repeats + 1) * once * 1.5)


def test_faster_side_decides_no_round():
    slow, _ = choose_repeats(Sides(A=0.005, B=0.001), CASE, "prefill")
    fast, _ = choose_repeats(Sides(A=0.001, B=0.005), CASE, "prefill")
    assert slow == fast == 2
