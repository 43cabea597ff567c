"""Cores: the idlest is found, each in its turn where they are alike, and kept to."""

from __future__ import annotations

import os

import psutil
import pytest

from fixtures.device import detect
from fixtures.measurement.cores import find_idlest, list_own, stay_on, staying_on
from fixtures.plugins.rounds import Rounds, Turns

PINS = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux alone tells it")


@pytest.fixture
def used(monkeypatch):
    """Sets how busy each processor is, in per cent."""

    def set_use(*percent):
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: list(percent))

    return set_use


def test_busy_core_is_left_to_whom_it_serves(used):
    used(100.0, 3.0)
    assert {find_idlest([0, 1], turn) for turn in range(6)} == {1}


def test_cores_that_are_idle_alike_come_in_turn(used):
    used(2.0, 90.0, 0.0, 17.0)
    assert [find_idlest([0, 1, 2, 3], turn) for turn in range(4)] == [0, 2, 3, 0]


def test_core_that_is_not_ours_is_not_taken(used):
    used(0.0, 50.0, 90.0)
    assert find_idlest([1, 2], 1) == 1


def test_no_core_is_none(used):
    used(0.0)
    assert find_idlest([], 0) is None
    assert find_idlest([7], 0) is None  # the system tells of one alone


def test_real_use_is_read():
    cpus = list_own() or [0]
    assert find_idlest(cpus) in cpus


@PINS
def test_worker_stays_on_the_processors_given():
    before = os.sched_getaffinity(0)
    try:
        stay_on([min(before)])
        assert os.sched_getaffinity(0) == {min(before)}
        stay_on([])  # none given: as it was
        assert os.sched_getaffinity(0) == {min(before)}
    finally:
        os.sched_setaffinity(0, before)


@PINS
def test_block_stays_on_its_core_and_then_roams_as_before():
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), staying_on(max(before)):
        assert os.sched_getaffinity(0) == {max(before)}
        raise KeyError
    assert os.sched_getaffinity(0) == before
    with staying_on(None):
        assert os.sched_getaffinity(0) == before


@PINS
def test_rounds_and_their_partners_stay_on_the_core_given(benchmark):
    before, seen = os.sched_getaffinity(0), []

    def target():
        seen.append(os.sched_getaffinity(0))

    rounds = Rounds(benchmark, detect("cpu"), "tpot_s", target, tuple, core=min(before))
    rounds.take(3)
    rounds.interleave(Turns(tuple, tuple), 2)
    assert set(map(frozenset, seen)) == {frozenset([min(before)])}
    assert os.sched_getaffinity(0) == before
