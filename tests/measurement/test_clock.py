"""Clocks: what they read on a scripted stream, and how pytest-benchmark sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fixtures.measurement.clock import CudaEventClock, choose_clock, host_clock, synchronise


class ScriptedEvent:
    """A CUDA event on a stream whose time the test advances, in milliseconds.

    A mark takes a stream with it by ``mark_ms``.
    """

    now_ms = 0.0
    mark_ms = 0.0
    synchronised = 0

    def __init__(self, enable_timing: bool = False) -> None:
        assert enable_timing, "an event without timing cannot be subtracted"

    def record(self) -> None:
        self.at_ms = ScriptedEvent.now_ms
        ScriptedEvent.now_ms += ScriptedEvent.mark_ms

    def synchronize(self) -> None:
        ScriptedEvent.synchronised += 1

    def elapsed_time(self, end: ScriptedEvent) -> float:
        return end.at_ms - self.at_ms


@pytest.fixture
def fake_torch(monkeypatch):
    waited = []
    cuda = SimpleNamespace(Event=ScriptedEvent, synchronize=waited.append)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(ScriptedEvent, "now_ms", 0.0)
    monkeypatch.setattr(ScriptedEvent, "mark_ms", 0.0)
    monkeypatch.setattr(ScriptedEvent, "synchronised", 0)
    return waited


def test_host_clock_reads_a_known_sleep():
    most = time.monotonic()
    start = host_clock()
    time.sleep(0.05)
    slept = host_clock() - start
    assert 0.05 <= slept <= time.monotonic() - most


def test_event_difference_is_stream_time_in_seconds(fake_torch):
    clock = CudaEventClock()
    start = clock()
    ScriptedEvent.now_ms += 12.5
    assert clock() - start == 0.0125


def test_events_of_a_round_are_made_before_it(fake_torch, monkeypatch):
    clock, made = CudaEventClock(), []
    _ = clock() - clock()
    plain = ScriptedEvent.__init__
    monkeypatch.setattr(ScriptedEvent, "__init__", lambda *a, **k: made.append(1) or plain(*a, **k))
    start = clock()
    ScriptedEvent.now_ms += 3.0
    end = clock()
    assert made == []
    assert end - start == 0.003
    assert len(made) == 2


def test_nothing_waits_for_the_gpu_inside_a_round(fake_torch):
    clock = CudaEventClock()
    start, end = clock(), clock()
    assert ScriptedEvent.synchronised == 0
    _ = end.since(start)
    assert ScriptedEvent.synchronised == 1


def test_what_marks_take_themselves_is_no_part_of_a_round(fake_torch):
    ScriptedEvent.mark_ms = 0.01
    clock = CudaEventClock()
    for _ in range(2):
        start = clock()
        ScriptedEvent.now_ms += 0.8
        assert clock() - start == pytest.approx(0.0008, rel=1e-9)
        assert len(clock.take_wall_times()) == 1  # of the round, and of no empty one
    taken = ScriptedEvent.synchronised
    _ = clock() - clock()
    assert ScriptedEvent.synchronised == taken + 1  # empty ones are taken once


def test_wall_time_is_kept_beside_stream_time_and_taken_once(fake_torch):
    clock = CudaEventClock()
    most = time.monotonic()
    start = clock()
    time.sleep(0.02)
    _ = clock() - start
    (wall_s,) = clock.take_wall_times()
    assert 0.02 <= wall_s <= time.monotonic() - most
    assert clock.take_wall_times() == []


BENCHMARK = """
import sys
from types import SimpleNamespace

import pytest

from fixtures.measurement.clock import CudaEventClock

clock, stream = CudaEventClock(), SimpleNamespace(now_ms=0.0)


class Event:
    def __init__(self, enable_timing):
        pass

    def record(self):
        self.at_ms = stream.now_ms

    def synchronize(self):
        pass

    def elapsed_time(self, end):
        return end.at_ms - self.at_ms


sys.modules["torch"] = SimpleNamespace(cuda=SimpleNamespace(Event=Event))


@pytest.mark.benchmark(timer=clock)
def test_it(benchmark):
    steps = iter([100.0, 1.0, 2.0, 4.0])  # the first is the warm-up's

    def work():
        stream.now_ms += next(steps)

    benchmark.pedantic(work, rounds=3, warmup_rounds=1)
    assert len(clock.take_wall_times()) == 4
"""


def test_pytest_benchmark_saves_stream_times_under_the_clocks_name(tmp_path):
    root = Path(__file__).parents[2]
    (tmp_path / "test_inner.py").write_text(BENCHMARK)
    saved = tmp_path / "saved.json"
    command = [
        sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path),
        "-p", "no:cacheprovider", "-p", "no:xdist", "--benchmark-json", str(saved), str(tmp_path),
    ]  # fmt: skip
    # Benchmarks are off in a process that takes itself for an xdist worker.
    inherited = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    environment = {**inherited, "PYTHONPATH": str(root)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    (benchmark,) = json.loads(saved.read_text())["benchmarks"]
    assert benchmark["options"]["timer"] == "cuda_event"
    assert benchmark["stats"]["data"] == [0.001, 0.002, 0.004]


def test_each_device_gets_its_clock(cpu, gpu):
    assert choose_clock(cpu) is host_clock
    assert choose_clock(gpu).__name__ == "cuda_event"


def test_synchronise_waits_for_this_gpu_alone(fake_torch, cpu, gpu):
    synchronise(cpu)
    assert fake_torch == []
    synchronise(gpu)
    assert fake_torch == ["cuda:0"]
