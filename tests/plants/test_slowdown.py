"""A planted slowdown: how long it takes, and what a GPU is kept at meanwhile."""

from __future__ import annotations

import time

import pytest

from fixtures.device import Device
from fixtures.plants import slowdown
from fixtures.plants.slowdown import run_slowed

CPU = Device("cpu", "Example CPU", 2**34, threads=1)
GPU = Device("cuda", "Example GPU", 2**37, index=0, uuid="GPU-1")


@pytest.fixture
def tick(monkeypatch):
    """A clock that goes on by a tenth of a millisecond when it is read, or by what it is given."""
    now = [0.0]

    def advance(seconds=1e-4):
        now[0] += seconds
        return now[0]

    monkeypatch.setattr(slowdown.time, "perf_counter", advance)
    return advance


@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
def test_a_share_of_the_time_itself_goes_by(tick, share):
    assert run_slowed(lambda: tick(1.0) and "answer", share, CPU) == "answer"
    assert tick(0.0) == pytest.approx(1 + share, abs=0.01)


@pytest.mark.parametrize(
    ("share", "works"),
    [
        (0.0, []),
        (0.05, [pytest.approx(1.05, abs=1e-3)]),
        (2e-4, []),  # of a second: over before the work has begun
    ],
)
def test_a_gpu_works_nearly_until_the_end(tick, monkeypatch, share, works):
    ends = []
    monkeypatch.setattr(slowdown, "synchronise", lambda device: None)
    monkeypatch.setattr(slowdown, "_work_until", lambda end_s, place: ends.append(end_s))
    run_slowed(lambda: tick(1.0), share, GPU)
    assert ends == works
    assert all(end < tick(0.0) for end in ends)


def test_what_fails_is_not_waited_for():
    def fail():
        raise RuntimeError("broken")

    start = time.monotonic()
    with pytest.raises(RuntimeError, match="broken"):
        run_slowed(fail, 1e6, CPU)
    assert time.monotonic() - start < 60
