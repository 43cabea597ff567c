"""Conditions: NVML's bit mask in words, and what counts as throttled."""

from __future__ import annotations

import json

import pytest

from fixtures.measurement.conditions import (
    compare_conditions,
    read_conditions,
    read_power_capped,
)

HEALTHY = {
    "sm_clock_mhz": 1980,
    "memory_clock_mhz": 3201,
    "power_w": 75.5,
    "temperature_c": 31,
    "memory_temperature_c": 44,
    "clock_reasons": ["GpuIdle"],
    "throttle_reasons": [],
    "power_capped_s": 2.0,
    "voltage_capped_s": 0.0,
    "throttle_counters": {"thermal_s": 0.0, "board_limit_s": 0.0},
}


def test_gpu_state_is_read_in_plain_units(set_nvml, gpu):
    assert read_conditions(gpu) == HEALTHY


@pytest.mark.parametrize(
    ("mask", "reasons", "throttle"),
    [
        (0x0, [], []),
        (0x4, ["SwPowerCap"], []),
        (0x24, ["SwPowerCap", "SwThermalSlowdown"], ["SwThermalSlowdown"]),
        (0x48, ["HwSlowdown", "HwThermalSlowdown"], ["HwSlowdown", "HwThermalSlowdown"]),
        (0x80, ["HwPowerBrakeSlowdown"], ["HwPowerBrakeSlowdown"]),
    ],
)
def test_reasons_are_decoded_and_the_power_limit_is_no_fault(
    set_nvml, gpu, mask, reasons, throttle
):
    set_nvml(reasons=mask)
    state = read_conditions(gpu)
    assert (state["clock_reasons"], state["throttle_reasons"]) == (reasons, throttle)


def test_older_driver_is_asked_by_the_older_name(set_nvml, gpu):
    set_nvml(reasons=8, refused=["nvmlDeviceGetCurrentClocksEventReasons"])
    assert read_conditions(gpu)["clock_reasons"] == ["HwSlowdown"]


def test_what_the_driver_does_not_give_is_none_and_throttles_nothing(set_nvml, gpu):
    queries = [
        "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons",
        "nvmlDeviceGetViolationStatus", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetTemperature", "nvmlDeviceGetFieldValues",
    ]  # fmt: skip
    set_nvml(refused=queries)
    state = read_conditions(gpu)
    names = ("power_w", "sm_clock_mhz", "clock_reasons", "temperature_c", "memory_temperature_c")
    assert {state[name] for name in names} == {None}
    assert compare_conditions(state, state)["throttled"] is False


def test_card_whose_memory_has_no_sensor_gives_none(set_nvml, gpu):
    set_nvml(memory_temperature_c=None)
    assert read_conditions(gpu)["memory_temperature_c"] is None


def test_seconds_at_the_power_limit_are_read_alone(set_nvml, gpu, cpu):
    assert read_power_capped(gpu) == 2.0
    set_nvml(refused=["nvmlDeviceGetViolationStatus"])
    assert read_power_capped(gpu) == read_power_capped(cpu) == 0.0


def test_healthy_case_is_not_throttled_and_is_json():
    compared = compare_conditions(HEALTHY, HEALTHY)
    assert json.loads(json.dumps(compared))["throttled"] is False


@pytest.mark.parametrize("end", ["before", "after"])
def test_reason_at_either_end_throttles_the_case(end):
    hot = {**HEALTHY, "throttle_reasons": ["HwThermalSlowdown"]}
    states = {"before": HEALTHY, "after": HEALTHY, end: hot}
    compared = compare_conditions(**states)
    assert compared["throttled"] is True
    assert compared["throttle_evidence"] == ["HwThermalSlowdown"]


def test_time_lost_in_between_throttles_the_case_though_both_ends_are_clean():
    after = {**HEALTHY, "throttle_counters": {**HEALTHY["throttle_counters"], "thermal_s": 0.25}}
    compared = compare_conditions(HEALTHY, after)
    assert compared["throttle_evidence"] == ["thermal_s +0.25"]
    assert compared["throttled"] is True


def test_limits_that_any_heavy_load_meets_are_no_fault():
    # An H200 under batched fp32 products: 2.7 s at its power limit, 3.1 s at its voltage limit.
    after = {**HEALTHY, "power_capped_s": 4.7, "voltage_capped_s": 3.1}
    assert compare_conditions(HEALTHY, after)["throttled"] is False


def test_cpu_state_is_read_from_the_system(cpu, tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("cpu MHz\t\t: 2600.5\ncpu MHz\t\t: 800.0\n")
    (tmp_path / "proc/stat").write_text("cpu  10 0 20 30 0 0 0 250 0 0\ncpu0 1 2 3\n")
    counter = tmp_path / "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    counter.parent.mkdir(parents=True)
    counter.write_text("7\n")
    state = read_conditions(cpu, tmp_path)
    assert (state["clock_mhz_min"], state["clock_mhz_max"]) == (800.0, 2600.5)
    assert state["stolen_s"] == 2.5  # 250 ticks of a hundredth of a second
    assert len(state["load_average"]) == 3
    counter.write_text("9\n")
    compared = compare_conditions(state, read_conditions(cpu, tmp_path))
    assert compared["throttle_evidence"] == ["core_throttle_count +2"]


def test_cpu_that_tells_nothing_has_no_figures(cpu, tmp_path):
    state = read_conditions(cpu, tmp_path)
    assert state["clock_mhz_min"] is state["stolen_s"] is None
    assert state["throttle_counters"] == {}
