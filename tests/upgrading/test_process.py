"""The near end of a worker: every way in which the far end can go wrong, named and cleaned up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.upgrading import process as processes
from fixtures.upgrading.process import SideFailure, count_memory_kills
from fixtures.upgrading.sides import ROOT, Couple, Side


@pytest.fixture
def couple(scripted, tmp_path):
    """Both sides at work; B as the script says."""

    def start(timeout_s=20.0, **script):
        return Couple((scripted("A"), scripted("B", **script)), 0, tmp_path, [], timeout_s)

    return start


def is_running(pid):
    """A zombie whose parent has not reaped it yet has ended too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def are_gone(pids, within_s=10):
    end = time.monotonic() + within_s
    while any(map(is_running, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(is_running, pids))


def wait_for_text(file):
    deadline = time.monotonic() + 20
    while not file.exists() or not file.read_text().endswith("\n"):
        assert time.monotonic() < deadline, f"{file} was not written"
        time.sleep(0.02)
    return file.read_text()


def test_both_sides_answer_and_end(couple):
    with couple() as both:
        pids = [process.pid for process in both._processes.values()]
        assert both.ask_both("build", variant="x", weigh=True) == {
            "A": {"unsupported": None},
            "B": {"unsupported": None},
        }
        assert both.packages == {"A": {"transformers": "1.0"}, "B": {"transformers": "1.0"}}
        assert all(map(is_running, pids))
    assert not any(map(is_running, pids))


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        ("die", r"^B was killed by SIGKILL during build"),
        ("exit", r"^B ended during build with exit status 1: ModuleNotFoundError: .*'httpx'$"),
        ("babble", r"^B gave 'loading weights: 100 %', which is no JSON object$"),
        ("hang", r"^B gave no answer to build within 0.5 s$"),
        ({"failed": "out of memory: x"}, r"^B failed to build: out of memory: x$"),
        ({"told": [1]}, r"^B gave an answer to build without a result$"),
    ],
)
def test_failure_names_side_command_and_cause(couple, act, cause):
    with couple(acts={"build": act}) as both:
        both._timeout_s = 0.5 if act == "hang" else 20.0
        with pytest.raises(SideFailure, match=cause) as caught:
            both.ask("B", "build", variant="x", weigh=True)
    assert caught.value.side == "B"


def test_worker_that_stops_listening_is_named(couple, monkeypatch):
    monkeypatch.setattr(processes, "_GRACE_S", 0.2)
    with (
        couple(acts={"build": "close"}) as both,
        pytest.raises(SideFailure, match=r"^B stopped listening during build$"),
    ):
        both.ask("B", "build", variant="x", weigh=True)


def test_kill_by_a_system_short_of_memory_is_told_from_others(couple, monkeypatch):
    counts = iter([3, 3, 4])  # as A starts, as B starts, and when B is found dead
    monkeypatch.setattr(processes, "count_memory_kills", lambda: next(counts))
    with (
        couple(acts={"build": "die"}) as both,
        pytest.raises(
            SideFailure, match=r"SIGKILL during build, when the system ran out of memory"
        ),
    ):
        both.ask("B", "build", variant="x", weigh=True)


def test_kills_for_memory_are_counted_as_the_kernel_tells_them(tmp_path):
    file = tmp_path / "vmstat"
    file.write_text("nr_free_pages 1\noom_kill 12\noom_kill_other 5\n")
    assert count_memory_kills(file) == 12
    assert count_memory_kills(tmp_path / "absent") == 0


def test_other_side_is_ready_after_one_failed(couple):
    with couple(acts={"build x": "die"}) as both:
        with pytest.raises(SideFailure) as caught:
            both.ask_both("build", variant="x", weigh=True)
        assert caught.value.sides == {"B"}
        both.recover(caught.value.sides)
        answers = both.ask_both("build", variant="y", weigh=True)
        assert answers == {label: {"unsupported": None} for label in "AB"}


def test_late_answer_is_never_taken_for_that_of_the_next_command(scripted, tmp_path):
    # Both refuse x, and say so when nobody waits for it any more.
    script = {"acts": {"build x": "dawdle"}, "unsupported": ["x"]}
    with Couple((scripted("A", **script), scripted("B", **script)), 0, tmp_path, []) as both:
        both._timeout_s = 0.2
        with pytest.raises(
            SideFailure, match=r"^A gave no answer to build within 0.2 s$"
        ) as caught:
            both.ask_both("build", variant="x", weigh=True)
        both._timeout_s = 20.0
        both.recover(caught.value.sides)
        answers = both.ask_both("build", variant="y", weigh=True)
        assert answers == {label: {"unsupported": None} for label in "AB"}


def test_worker_in_the_middle_of_something_ends_with_its_own_children(couple, tmp_path):
    with couple(acts={"build x": "hang"}) as both:
        both._processes["B"].send("build", variant="x", weigh=True)
        line = wait_for_text(tmp_path / "B.json.pids")
    assert are_gone(list(map(int, line.split())))


def test_worker_that_cannot_start_leaves_no_other(couple, monkeypatch):
    with (
        pytest.raises(SideFailure, match=r"^B failed to start: ImportError: no torch$"),
        couple(acts={"start": {"failed": "ImportError: no torch"}}),
    ):
        pass
    assert not list(processes._ALIVE)


def test_interpreter_that_is_not_there_is_named(scripted, tmp_path):
    sides = (scripted("A"), Side("B", (str(tmp_path / "python"),)))
    with (
        pytest.raises(SideFailure, match=r"^B cannot be started: .*No such file"),
        Couple(sides, 0, tmp_path, []),
    ):
        pass


def test_both_sides_have_one_hash_seed_and_one_set_of_processors(scripted, tmp_path):
    sides = (scripted("A", tell_start=True), scripted("B", tell_start=True))
    with Couple(sides, 7, tmp_path, [0, 3]) as both:
        told = {"hash seed": "7", "processors": "[0, 3]"}
        assert both.packages == {"A": told, "B": told}


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_worker_dies_with_a_gate_that_is_killed(tmp_path):
    worker = (
        "import fixtures.upgrading.worker as worker, os, time;"
        "worker._die_with_parent();"
        "print(os.getpid(), file=open('pid', 'w'), flush=True); time.sleep(1000)"
    )
    gate = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    parent = subprocess.Popen(
        [sys.executable, "-c", gate], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        pid = int(wait_for_text(tmp_path / "pid"))
        assert is_running(pid)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert are_gone([pid])
