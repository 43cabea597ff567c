"""Energy: a counter of known power gives known joules a token."""

from __future__ import annotations

import math
import time

import pytest

from fixtures.measurement import energy
from fixtures.measurement.energy import EnergyReading, measure_energy


@pytest.fixture(autouse=True)
def no_gpu_to_wait_for(monkeypatch):
    monkeypatch.setattr(energy, "synchronise", lambda device: None)


def test_known_power_over_a_window_gives_its_joules(set_nvml, gpu):
    # The fake card draws 400 W all the time.
    reading = measure_energy(gpu, lambda: time.sleep(0.02), 8, 400.0, minimum_s=1.0)
    assert reading.window_s >= 1.0
    assert reading.joules == pytest.approx(400 * reading.window_s, rel=0.05)
    assert reading.tokens % 8 == 0
    assert reading.joules_per_token == pytest.approx(reading.joules / reading.tokens)
    assert reading.idle_power_w == 400.0


class Card:
    """Draws 120 W at rest and 650 W at work; its counter moves every tenth of a second."""

    def __init__(self):
        self.now_s = self.drawn_j = self.shown_j = 0.0

    def spend(self, seconds, watts):
        ticks = math.floor((self.now_s + seconds) * 10) - math.floor(self.now_s * 10)
        self.now_s += seconds
        self.drawn_j += watts * seconds
        if ticks:
            self.shown_j = self.drawn_j

    def sleep(self, seconds):
        self.spend(seconds, 120.0)

    def work(self):
        for _ in range(37):
            self.spend(0.001, 650.0)

    def perf_counter(self):
        return self.now_s


@pytest.fixture
def card(monkeypatch):
    card = Card()
    monkeypatch.setattr(energy, "time", card)
    monkeypatch.setattr(energy, "_read_joules", lambda nvml, handle: card.shown_j)
    return card


def test_what_a_card_draws_while_its_counter_is_awaited_is_left_out(set_nvml, gpu, card):
    reading = measure_energy(gpu, card.work, 8, 120.0, minimum_s=1.0)
    assert reading.window_s == pytest.approx(28 * 0.037)  # 1.036 s, as 27 runs are 0.999
    # The counter shows what was drawn up to a thousandth of a second before it is read.
    assert reading.joules == pytest.approx(650 * reading.window_s, rel=0.002)


def test_power_at_rest_is_read_behind_two_seconds_of_rest(set_nvml, gpu, cpu, monkeypatch):
    rested = []
    set_nvml(power_mw=127_600)
    monkeypatch.setattr(energy.time, "sleep", rested.append)
    assert energy.read_idle_power(gpu) == 127.6
    assert rested == [2.0]
    set_nvml(refused=["nvmlDeviceGetPowerUsage"])
    assert energy.read_idle_power(gpu) is None
    assert energy.read_idle_power(cpu) is None


def test_joules_per_token_is_energy_over_tokens():
    assert EnergyReading(600.0, 1.5, 300, 75.0).joules_per_token == 2.0


def test_device_without_a_counter_has_no_figure(set_nvml, gpu, cpu):
    set_nvml(refused=["nvmlDeviceGetTotalEnergyConsumption"])
    assert measure_energy(gpu, lambda: None, 1, 75.0) is None
    assert measure_energy(cpu, lambda: None, 1, 75.0) is None


def test_window_under_a_second_is_refused(gpu):
    with pytest.raises(ValueError, match="needs at least 1 s and a run of at least 1 token"):
        measure_energy(gpu, lambda: None, 1, 75.0, minimum_s=0.5)


def test_counter_that_sticks_ends_the_wait(set_nvml, gpu, monkeypatch):
    set_nvml(energy_start_s=time.time() + 3600)
    monkeypatch.setattr(energy, "_LONGEST_TICK_S", 0.05)
    monkeypatch.setattr(energy, "_read_joules", lambda nvml, handle: 7.0)
    reading = measure_energy(gpu, lambda: time.sleep(0.5), 1, None, minimum_s=1.0)
    assert reading.joules <= 0
