"""Run queue: what threads wait for a core is read as Linux counts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.device import detect
from fixtures.measurement.cores import staying_on
from fixtures.measurement.run_queue import find_longest, read_waits, watching_run_queue
from fixtures.plugins.rounds import Rounds, Turns

COUNTED = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this kernel does not count it"
)
SPIN_S = 0.5


def spin():
    end = time.perf_counter() + SPIN_S
    while time.perf_counter() < end:
        pass


@pytest.fixture
def tasks(tmp_path):
    def write(**texts):
        for name, text in texts.items():
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "schedstat").write_text(text)
        return tmp_path

    return write


@pytest.fixture
def shared_core():
    """A core on which another process is busy."""
    core = min(os.sched_getaffinity(0))
    busy = f"import os; os.sched_setaffinity(0, [{core}]); print(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield core
    process.kill()
    process.wait()
    process.stdout.close()


def test_second_figure_is_nanoseconds_waited(tasks):
    # 3 s on a core, 1.5 s waiting, 12 turns: the order of the kernel's sched-stats.rst.
    folder = tasks(**{"41": "3000000000 1500000000 12\n", "42": "0 0 0\n"})
    assert read_waits(folder) == {"41": 1.5, "42": 0.0}


def test_what_cannot_be_read_is_left_out(tasks, tmp_path):
    folder = tasks(**{"1": "", "2": "many few", "3": "1 1000000000 1"})
    (tmp_path / "4").mkdir()
    assert read_waits(folder) == {"3": 1.0}
    assert read_waits(tmp_path / "absent") == {}


def test_thread_that_waited_longest_counts():
    before = {"1": 5.0, "2": 1.0, "gone": 9.0}
    assert find_longest(before, {"1": 5.1, "2": 1.4, "made": 0.3}) == pytest.approx(0.4)
    assert find_longest(before, {}) == 0.0


def test_share_is_of_the_block(tasks):
    folder = tasks(**{"7": "0 0 0"})
    start = time.perf_counter()
    with watching_run_queue(folder) as waiting:
        time.sleep(0.2)
        tasks(**{"7": "0 100000000 1"})
    most = time.perf_counter() - start
    assert 0.1 / most <= waiting.share <= 0.1 / 0.2


def test_block_that_waited_longer_than_it_took_has_an_end(tasks):
    folder = tasks(**{"7": "0 0 0"})
    with watching_run_queue(folder) as waiting:
        tasks(**{"7": "0 9000000000 1"})
    assert waiting.share == 0.99


@COUNTED
def test_wait_is_what_a_spinning_thread_did_not_run(shared_core):
    with staying_on(shared_core), watching_run_queue() as waiting:
        wall, ran = time.perf_counter(), time.thread_time()
        spin()
        ran, wall = time.thread_time() - ran, time.perf_counter() - wall
    assert waiting.share > 0.25  # of two that are alike each has half, less beside a third
    assert waiting.share == pytest.approx(1 - ran / wall, abs=0.05)


@COUNTED
def test_rounds_and_pairs_tell_what_they_waited(benchmark, shared_core):
    rounds = Rounds(benchmark, detect("cpu"), "tpot_s", spin, tuple, core=shared_core)
    assert rounds.waited == 0.0
    rounds.take(2)
    assert rounds.waited > 0.25
    rounds.waited = 0.0
    rounds.interleave(Turns(tuple, tuple), 1)
    assert rounds.waited > 0.25
