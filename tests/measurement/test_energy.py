"""Energy: a counter of known power gives known joules a token."""

from __future__ import annotations

import time

import pytest

from fixtures.measurement import energy
from fixtures.measurement.energy import EnergyReading, measure_energy


@pytest.fixture(autouse=True)
def no_gpu_to_wait_for(monkeypatch):
    monkeypatch.setattr(energy, "synchronise", lambda device: None)


def test_known_power_over_a_window_gives_its_joules(set_nvml, gpu):
    # The fake card draws 400 W all the time, and says so when asked for its power.
    set_nvml(power_mw=400_000)
    reading = measure_energy(gpu, lambda: time.sleep(0.02), tokens_per_run=8, minimum_s=1.0)
    assert reading.window_s >= 1.0
    assert reading.joules == pytest.approx(400 * reading.window_s, rel=0.05)
    assert reading.tokens % 8 == 0
    assert reading.joules_per_token == pytest.approx(reading.joules / reading.tokens)
    assert reading.idle_power_w == 400.0


def test_joules_per_token_is_energy_over_tokens():
    assert EnergyReading(600.0, 1.5, 300, 75.0).joules_per_token == 2.0


def test_device_without_a_counter_has_no_figure(set_nvml, gpu, cpu):
    set_nvml(refused=["nvmlDeviceGetTotalEnergyConsumption"])
    assert measure_energy(gpu, lambda: None, 1) is None
    assert measure_energy(cpu, lambda: None, 1) is None


def test_window_under_a_second_is_refused(gpu):
    with pytest.raises(ValueError, match="needs at least 1 s and a run of at least 1 token"):
        measure_energy(gpu, lambda: None, 1, minimum_s=0.5)


def test_counter_that_sticks_ends_the_wait(set_nvml, gpu, monkeypatch):
    set_nvml(energy_start_s=time.time() + 3600)
    monkeypatch.setattr(energy, "_LONGEST_TICK_S", 0.05)
    monkeypatch.setattr(energy, "_read_joules", lambda nvml, handle: 7.0)
    reading = measure_energy(gpu, lambda: time.sleep(0.5), 1, minimum_s=1.0)
    assert reading.joules <= 0
