"""Ceilings and canary: rates of work that is known, and settings left as they were."""

from __future__ import annotations

from itertools import chain, repeat

import pytest
import torch

from fixtures.measurement import canary, ceilings
from fixtures.measurement.canary import time_canary
from fixtures.measurement.ceilings import cache_bytes, measure_ceilings
from fixtures.measurement.clock import time_repeated


@pytest.fixture
def instant(monkeypatch):
    """Every round takes a tenth of a second by the script, whatever the machine does."""

    def scripted(device, action, rounds):
        action()
        return [0.1] * rounds

    monkeypatch.setattr(ceilings, "time_repeated", scripted)
    monkeypatch.setattr(canary, "time_repeated", scripted)


def test_rates_are_work_over_time(instant, cpu):
    # Memory of 1 GiB allows buffers of 64 MiB.
    found = measure_ceilings(cpu)
    assert found.bytes_per_s == 2 * 64 * 2**20 / 0.1
    assert found.flops_per_s == {name: 2 * 2048**3 / 0.1 for name in ("float32", "bfloat16")}


def test_measuring_leaves_the_fp32_precision_as_it_was(instant, cpu):
    before = torch.backends.cuda.matmul.fp32_precision
    measure_ceilings(cpu)
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_cache_is_the_largest_level(cpu, tmp_path):
    for index, size in enumerate(["48K", "2048K", "32M"]):
        file = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{index}/size"
        file.parent.mkdir(parents=True)
        file.write_text(f"{size}\n")
    assert cache_bytes(cpu, tmp_path) == 32 * 2**20
    assert cache_bytes(cpu, tmp_path / "elsewhere") == 0


def test_rounds_are_timed_one_by_one_after_a_warm_up(cpu, script_time):
    time, takes_s = script_time("fixtures.measurement.clock"), iter([9.0, 0.02, 0.03, 0.01])
    times_s = time_repeated(cpu, lambda: time.sleep(next(takes_s)), 3)
    assert times_s == pytest.approx([0.02, 0.03, 0.01], rel=0.001)


def test_canary_times_each_load(instant, cpu):
    loads = ("matmul_s", "copy_s", "dispatch_s", "cache_s", "python_s")
    assert time_canary(cpu) == dict.fromkeys(loads, 0.1)


def test_canary_behind_other_work_is_that_of_its_second_pass(instant, cpu, monkeypatch):
    slow_first = chain(repeat(0.4, 3), repeat(0.3))
    monkeypatch.setattr(canary, "time_repeated", lambda *_: [next(slow_first)] * 3)
    assert set(time_canary(cpu).values()) == {0.3}
