from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.device import Device
from fixtures.parallelism import workers
from fixtures.parallelism.workers import (
    ROOT,
    WorkersError,
    explain_failure,
    find_shortage,
    run_workers,
)

STAND_IN = "tests.parallelism.stand_in"
LOOPBACK = "0100007F"  # 127.0.0.1 as /proc/net/tcp writes it

CPU = Device("cpu", "Example CPU", 2**34, threads=2)
GPU = Device("cuda", "H200", 2**37, index=0, uuid="GPU-0")


@pytest.fixture
def folder(tmp_path):
    """What workers are given; afterwards no process is left that was."""
    yield tmp_path
    assert find_processes(tmp_path) == []


def find_processes(folder):
    """Processes whose command line names a folder, zombies not among them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:  # it has ended
                continue
            if os.fsencode(folder) in line:
                found.append(int(entry.name))
    return found


def run(folder, task, count=2, timeout_s=120.0):
    (folder / "task.txt").write_text(task)
    run_workers(STAND_IN, folder, count, timeout_s)


def test_workers_meet_and_listen_on_the_loopback_address_alone(folder):
    run(folder, "add_up")
    found = [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(2)]
    assert [each["total"] for each in found] == [3, 3]
    assert {address for each in found for address in each["listens_on"]} == {LOOPBACK}


def test_a_worker_that_fails_ends_all_with_its_own_traceback(folder):
    with pytest.raises(
        WorkersError, match=r"^worker 1 of 2 failed: ZeroDivisionError: division by zero$"
    ) as caught:
        run(folder, "divide_by_zero")
    assert "in take_a_bad_step\n    print(1 / 0)" in caught.value.trace
    assert find_processes(folder) == []


def test_a_worker_that_is_killed_ends_all_and_is_named(folder):
    with pytest.raises(WorkersError, match=r"^worker 1 of 2 was killed by SIGKILL$"):
        run(folder, "die")
    assert find_processes(folder) == []


def test_workers_are_stopped_when_their_time_is_over(folder):
    with pytest.raises(WorkersError, match=r"^2 workers were stopped after 0\.5 s$"):
        run(folder, "hang", timeout_s=0.5)
    assert find_processes(folder) == []


def test_workers_end_when_the_process_that_asked_for_them_is_killed(folder):
    (folder / "task.txt").write_text("hang")
    ask = (
        "import sys; from pathlib import Path; from fixtures.parallelism.workers import *; "
        f"run_workers({STAND_IN!r}, Path(sys.argv[1]), 2, 60.0)"
    )
    with subprocess.Popen([sys.executable, "-c", ask, str(folder)], cwd=ROOT) as asking:
        assert comes_true(lambda: len([*folder.glob("worker-*.pid")]) == 2)
        assert len(find_processes(folder)) == 4  # the one that asked, the launcher, two workers
        asking.send_signal(signal.SIGKILL)
    assert comes_true(lambda: not find_processes(folder))


def comes_true(holds, within_s=60):
    end = time.monotonic() + within_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


# As torch.distributed.run of PyTorch 2.13 prints it; times and names of hosts left out.
SUMMARY = """
train FAILED
Failures:
[1]:
  rank      : 0 (local_rank: 0)
  exitcode  : {first} (pid: 11)
Root Cause (first observed failure):
[0]:
  rank      : 1 (local_rank: 1)
  exitcode  : {second} (pid: 12)
"""


def leave_trace(folder, rank, at, line):
    (folder / f"worker-{rank}.trace").write_text(f"Traceback\n{line}\n")
    (folder / f"worker-{rank}.time").write_text(repr(at))


def test_a_killed_worker_is_named_before_those_that_lost_it(tmp_path):
    leave_trace(tmp_path, 0, 5.0, "RuntimeError: Connection closed by peer")
    error = explain_failure(tmp_path, 2, SUMMARY.format(first=1, second=-9))
    assert str(error) == "worker 1 of 2 was killed by SIGKILL"


def test_the_first_failure_is_told_and_not_the_ones_that_follow(tmp_path):
    leave_trace(tmp_path, 0, 5.002, "RuntimeError: Connection closed by peer")
    leave_trace(tmp_path, 1, 5.001, "KeyError: 'x'")
    error = explain_failure(tmp_path, 2, SUMMARY.format(first=-15, second=1))
    assert str(error) == "worker 1 of 2 failed: KeyError: 'x'"
    assert error.trace == "Traceback\nKeyError: 'x'"


def test_workers_that_never_started_show_all_that_was_printed(tmp_path):
    error = explain_failure(tmp_path, 2, "No module named x")
    assert (str(error), error.trace) == ("the workers could not be started", "No module named x")


def test_no_worker_is_refused():
    with pytest.raises(ValueError, match=r"^0 workers cannot train; 1 or more can$"):
        find_shortage(0, CPU)


@pytest.mark.parametrize(
    ("count", "there", "shortage"),
    [
        (1, 1, None),
        (2, 2, None),
        (4, 2, "4 workers need 4 cores, and this host has 2 cores"),
        (2, 1, "2 workers need 2 cores, and this host has 1 core"),
    ],
)
def test_more_workers_than_cores_are_told(count, there, shortage, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(there)))
    assert find_shortage(count, CPU) == shortage


def test_more_workers_than_gpus_are_told(monkeypatch):
    monkeypatch.setattr(workers, "count_devices", lambda device: 1)
    assert find_shortage(2, GPU) == "2 workers need 2 GPUs, and this host has 1 GPU"
