"""Memory: planted bytes show exactly, in the counters that should see them."""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
from types import SimpleNamespace

import pytest
import torch

from fixtures.measurement import memory
from fixtures.measurement.memory import (
    measure_allocator_rise,
    measure_phase_memory,
    measure_rss_peak,
    release_memory,
    release_workspaces,
)

MIB = 2**20
PLANTED = 64 * MIB


def multiply():
    """A few operations with temporaries of known size."""
    a = torch.ones(256, 256)  # 256 KiB each
    b = a @ a
    del a
    return (b + 1).sum()


def test_planted_64_mib_show_exactly():
    assert measure_allocator_rise(lambda: torch.ones(PLANTED, dtype=torch.uint8)) == PLANTED


def test_tensors_alive_together_add_up_and_freed_ones_do_not():
    def together():
        first = torch.empty(MIB, dtype=torch.uint8)
        second = torch.empty(2 * MIB, dtype=torch.uint8)
        del first, second
        torch.empty(2 * MIB, dtype=torch.uint8)

    assert measure_allocator_rise(together) == 3 * MIB


def test_allocator_rise_repeats_byte_for_byte():
    assert len({measure_allocator_rise(multiply) for _ in range(4)}) == 1


def test_planted_bytes_add_exactly_to_a_real_phase():
    def planted():
        kept = torch.empty(PLANTED, dtype=torch.uint8)
        multiply()
        del kept

    assert measure_allocator_rise(planted) - measure_allocator_rise(multiply) == PLANTED


def test_release_of_memory_taken_before_the_phase_does_not_lower_its_rise():
    kept = [torch.empty(PLANTED, dtype=torch.uint8)]

    def run():
        kept.clear()
        torch.empty(MIB, dtype=torch.uint8)

    assert measure_allocator_rise(run) == MIB


def test_phase_that_allocates_nothing_rises_by_nothing():
    assert measure_allocator_rise(lambda: None) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_resident_set_sees_memory_that_torch_did_not_allocate():
    def take(count):
        block = ctypes.create_string_buffer(count)
        ctypes.memset(block, 1, count)

    quiet = measure_rss_peak(lambda: None)
    assert measure_rss_peak(lambda: take(PLANTED)) - quiet == pytest.approx(PLANTED, abs=4 * MIB)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_pages_of_a_file_are_no_memory_of_the_model(tmp_path):
    path = tmp_path / "library"
    path.write_bytes(bytes(PLANTED))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        quiet = measure_rss_peak(lambda: None)
        seen = measure_rss_peak(lambda: sum(pages[::4096]))
    assert seen - quiet == pytest.approx(0, abs=PLANTED // 8)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_resident_peak_of_an_earlier_phase_is_forgotten():
    high = measure_rss_peak(lambda: torch.ones(PLANTED, dtype=torch.uint8))
    assert measure_rss_peak(lambda: None) < high - PLANTED // 2


def test_unreadable_resident_set_is_not_a_number(monkeypatch):
    monkeypatch.setattr(memory, "_reset_high_water_mark", lambda: False)
    assert measure_rss_peak(lambda: None) is None


def test_what_preparing_leaves_counts_and_its_own_peak_does_not():
    kept = []

    def prepare():
        torch.empty(PLANTED, dtype=torch.uint8)
        kept[:] = [torch.empty(3 * MIB, dtype=torch.uint8)]

    run = functools.partial(torch.empty, MIB, dtype=torch.uint8)
    assert measure_allocator_rise(run, prepare) == 4 * MIB


def test_cpu_phase_adds_the_models_bytes_and_prepares_every_run(cpu):
    model, calls = torch.nn.Linear(100, 10, bias=False), []
    model.register_buffer("mask", torch.zeros(25), persistent=False)
    reading = measure_phase_memory(
        cpu,
        model,
        lambda: (calls.append("run"), torch.empty(MIB, dtype=torch.uint8)),
        prepare=lambda: calls.append("prepare"),
    )
    assert reading["peak_allocated_bytes"] == MIB + 4 * (1000 + 25)
    assert reading["peak_reserved_bytes"] is None
    assert calls == ["prepare", "run"] * 3


# PyTorch's allocator tells of what was asked for beside what it gave out; CUDA's own does not.
@pytest.mark.parametrize(
    ("stats", "allocated"),
    [({"requested_bytes.all.peak": 650, "requested_bytes.all.current": 10}, 650), ({}, 700)],
)
def test_gpu_phase_resets_the_peaks_after_the_warm_up_and_reads_them_after_the_wait(
    monkeypatch, gpu, stats, allocated
):
    calls = []
    cuda = SimpleNamespace(
        synchronize=lambda device: calls.append("wait"),
        empty_cache=lambda: calls.append("empty"),
        reset_peak_memory_stats=lambda device: calls.append("reset"),
        max_memory_allocated=lambda device: calls.append("read") or 700,
        max_memory_reserved=lambda device: 900,
        memory_stats=lambda device: stats,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    reading = measure_phase_memory(gpu, None, lambda: calls.append("run"))
    assert calls == ["run", "wait", "empty", "reset", "run", "wait", "read"]
    assert reading == {
        "peak_allocated_bytes": allocated,
        "peak_reserved_bytes": 900,
        "rss_peak_bytes": None,
    }


def test_workspaces_are_a_gpus_alone_and_their_blocks_go_back(monkeypatch, gpu, cpu):
    calls = []
    cuda = SimpleNamespace(
        synchronize=lambda device: None, empty_cache=lambda: calls.append("empty")
    )
    clear = SimpleNamespace(_cuda_clearCublasWorkspaces=lambda: calls.append("clear"))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, _C=clear))
    release_workspaces(cpu)
    assert calls == []
    release_workspaces(gpu)
    assert calls == ["clear", "empty"]


def test_released_heap_leaves_the_resident_set(cpu):
    blocks = [bytearray(100_000) for _ in range(600)]  # below malloc's mmap threshold
    before = memory._read_status_bytes("VmRSS")
    blocks.clear()
    release_memory(cpu)
    assert memory._read_status_bytes("VmRSS") < before - 30 * MIB
