"""NVML memory: peaks seen from another process, and what stands in where ids do not match."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.device import Device, NvmlUnavailable
from fixtures.measurement.nvml import sample_nvml
from fixtures.measurement.occupancy import (
    family_of,
    list_foreign_processes,
    read_device_bytes,
)

LONG_ENOUGH_S = 0.3  # for some samples of a state, on a busy machine


def test_peaks_of_this_process_its_children_and_the_device(set_nvml, gpu):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me, stranger = os.getpid(), 1
    try:
        with sample_nvml(gpu) as sampler, sampler.watch() as watch:
            set_nvml(used_bytes=9_000, processes={me: 3_000, child.pid: 500, stranger: 4_000})
            time.sleep(LONG_ENOUGH_S)
            set_nvml(used_bytes=1_200, processes={me: 100})
            time.sleep(LONG_ENOUGH_S)
    finally:
        child.communicate(b"\n")
    reading = watch.reading
    assert reading.process_bytes == 3_500
    assert reading.device_bytes == 9_000
    assert reading.device_delta_bytes == 8_000
    assert reading.note == "other processes used the GPU meanwhile: 1"


def test_process_that_nvml_does_not_show_is_unknown_and_not_zero(set_nvml, gpu):
    set_nvml(processes={999_999_999: 7_000})  # this process under the host's id
    with sample_nvml(gpu) as sampler, sampler.watch(unused_bytes=400) as watch:
        set_nvml(used_bytes=8_000)
        time.sleep(LONG_ENOUGH_S)
    assert watch.reading.process_bytes is None
    assert watch.reading.device_delta_bytes == 7_600
    assert "does not show this process by its id" in watch.reading.note


def test_process_whose_bytes_the_driver_hides_is_unknown(set_nvml, gpu):
    set_nvml(processes={os.getpid(): None})
    with sample_nvml(gpu) as sampler, sampler.watch() as watch:
        time.sleep(LONG_ENOUGH_S)
    assert watch.reading.process_bytes is None


def test_sampler_without_nvml_is_one_sentence(set_nvml, gpu):
    set_nvml(refused=["nvmlInit"])
    sentence = r"^the NVML sampler did not start: NVML does not answer: Not Supported$"
    with pytest.raises(NvmlUnavailable, match=sentence), sample_nvml(gpu):
        pass


def test_sampler_goes_on_when_the_watched_code_fails_and_ends_with_its_block(set_nvml, gpu):
    with sample_nvml(gpu) as sampler:
        with pytest.raises(ZeroDivisionError), sampler.watch():
            _ = 1 / 0
        with sampler.watch() as watch:
            set_nvml(used_bytes=5_000)
            time.sleep(LONG_ENOUGH_S)
    assert watch.reading.device_bytes == 5_000
    assert samplers_running() == []


def test_peaks_of_one_watch_are_not_those_of_the_next(set_nvml, gpu):
    with sample_nvml(gpu) as sampler:
        with sampler.watch() as first:
            set_nvml(used_bytes=9_000)
            time.sleep(LONG_ENOUGH_S)
        set_nvml(used_bytes=2_000)
        with sampler.watch() as second:
            time.sleep(LONG_ENOUGH_S)
    assert (first.reading.device_bytes, second.reading.device_bytes) == (9_000, 2_000)
    assert second.reading.device_delta_bytes == 0


def test_sampler_that_dies_is_one_sentence(set_nvml, gpu):
    with (
        pytest.raises(NvmlUnavailable, match=r"^the NVML sampler failed: it said nothing$"),
        sample_nvml(gpu) as sampler,
        sampler.watch(),
    ):
        (pid,) = samplers_running()
        os.kill(pid, signal.SIGKILL)


def test_a_sampler_that_died_is_started_for_the_next_watch(set_nvml, gpu):
    with sample_nvml(gpu) as sampler:
        with pytest.raises(NvmlUnavailable), sampler.watch():
            os.kill(samplers_running()[0], signal.SIGKILL)
        set_nvml(used_bytes=5_000, processes={os.getpid(): 700})
        with sampler.watch() as watch:
            time.sleep(LONG_ENOUGH_S)
    assert (watch.reading.device_bytes, watch.reading.process_bytes) == (5_000, 700)
    assert watch.reading.note is None
    assert samplers_running() == []


def samplers_running():
    children = family_of(os.getpid()) - {os.getpid()}
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, command in commands.items() if b"fixtures.measurement.nvml" in command]


def test_sampler_runs_beside_the_watched_code_and_not_after(set_nvml, gpu):
    with sample_nvml(gpu):
        assert len(samplers_running()) == 1
    assert samplers_running() == []


def test_device_bytes_leave_out_the_drivers_own_where_it_can_tell(set_nvml, gpu):
    assert read_device_bytes(gpu) == 1_000
    set_nvml(refused=["nvmlDeviceGetMemoryInfo_v2"])
    assert read_device_bytes(gpu) == 1_500


def test_foreign_processes_are_listed_largest_first(set_nvml, gpu):
    set_nvml(processes={os.getpid(): 10, 1: 20, 999_999_999: 30, 999_999_998: None})
    assert [each.pid for each in list_foreign_processes(gpu)] == [999_999_999, 1, 999_999_998]


def test_unknown_gpu_is_one_sentence(set_nvml):
    other = Device(kind="cuda", name="NVIDIA L4", memory_bytes=1, index=0, uuid="GPU-2")
    with pytest.raises(NvmlUnavailable, match=r"^NVML fails: Not Found$"):
        read_device_bytes(other)
