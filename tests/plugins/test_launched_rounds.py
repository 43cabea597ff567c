from __future__ import annotations

from types import SimpleNamespace

import pytest

from fixtures.device import Device
from fixtures.plugins.launched_rounds import LaunchedRounds

CPU = Device("cpu", "Example CPU", 2**34, threads=2)


class Benchmark:
    """As much of pytest-benchmark's fixture as rounds are kept in."""

    def __init__(self):
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=[]))
        self.stats.update = self.stats.stats.data.append

    def pedantic(self, target, rounds):
        assert rounds == 1
        target()
        self.stats.update(99.0)  # what the launch itself took


@pytest.fixture
def launched():
    """Rounds of two steps, 0.2 s each, of 512 tokens; and the counts that were asked for."""
    counts = []
    rounds = LaunchedRounds(
        Benchmark(),
        CPU,
        "train_step_s",
        lambda count: counts.append(count) or [0.2] * count,
        tuple,
        steps=2,
        tokens=512,
        rate="train_tokens_per_s",
    )
    return rounds, counts


def test_rounds_of_one_launch_stand_in_place_of_the_launch(launched):
    rounds, counts = launched
    rounds.take(3)
    assert counts == [3]
    assert rounds.benchmark.stats.stats.data == [0.2] * 3
    assert rounds.samples == [0.1] * 3
    assert rounds.metrics() == {"train_step_s": 0.1, "train_tokens_per_s": pytest.approx(5120)}


def test_more_rounds_are_launched_again_and_saved_with_the_first(launched):
    rounds, counts = launched
    rounds.take(3)
    assert rounds.take_more(2) == [0.1] * 2
    assert counts == [3, 2]
    assert len(rounds.benchmark.stats.stats.data) == len(rounds.samples) == 5


def test_disabled_benchmarks_keep_no_round(launched):
    rounds, _ = launched
    rounds.benchmark.stats = None
    rounds.benchmark.pedantic = lambda target, rounds: target()
    rounds.take(3)
    assert rounds.samples == []
