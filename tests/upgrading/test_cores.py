"""Where both sides take turns: the idlest core, and each in its turn where they are alike."""

from __future__ import annotations

import os

import psutil
import pytest

from fixtures.matrix import Selection
from fixtures.upgrading.bench import Bench
from fixtures.upgrading.cores import find_idlest, stay_on

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
    used(2.0, 90.0, 0.0, 7.0)
    assert [find_idlest([0, 1, 2, 3], turn) for turn in range(4)] == [0, 2, 3, 0]


def test_core_that_is_not_ours_is_not_taken(used):
    used(0.0, 50.0, 70.0)
    assert find_idlest([1, 2], 1) == 1


def test_no_core_is_none(used):
    used(0.0)
    assert find_idlest([], 0) is None
    assert find_idlest([7], 0) is None  # the system tells of one alone


def test_real_use_is_read():
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    assert find_idlest(cpus, 0, watch_s=0.01) in cpus


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
@pytest.mark.parametrize("scale", ["tiny", "published"])
def test_variant_of_one_thread_stays_on_its_core_and_the_next_is_built_on_all(scale, monkeypatch):
    before = os.sched_getaffinity(0)
    selection = Selection.parse("gpt2", "fp32", scale, "seeded", (), ()).to_json()
    bench = Bench(selection, "cpu", 2, [], cpus=sorted(before))
    name = "tiny-gpt2-fp32" if scale == "tiny" else "gpt2-fp32"
    built_on = []
    monkeypatch.setattr(
        "fixtures.upgrading.bench.build_variant",
        lambda cell, device: built_on.append(os.sched_getaffinity(0)),
    )
    monkeypatch.setattr(bench, "drop", lambda: {})
    try:
        for _ in range(2):
            bench.build(name, weigh=False, core=max(before))
        one = scale == "tiny" or bench._device.threads == 1
        assert os.sched_getaffinity(0) == ({max(before)} if one else before)
        bench.build(name, weigh=False)
        assert os.sched_getaffinity(0) == before
    finally:
        os.sched_setaffinity(0, before)
    assert built_on == [before] * 3
