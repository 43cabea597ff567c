from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest


def members(session):
    """Ids of the processes of a session, from /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:  # it ended while it was read
            continue
        state, in_session = fields[0], int(fields[3])
        if in_session == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def comes_true(holds, within_s=60):
    end = time.monotonic() + within_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


@pytest.fixture(scope="module")
def interrupted(new_checkout):
    """A run that got Ctrl-C in its second test, while a child process was weighing memory."""
    checkout = new_checkout()
    process = checkout.start(
        *("--models", "gpt2", "--scale", "tiny", "--techniques", "fp32", "-v"),
        *("-k", "storage or memory", "--benchmark-autosave"),
    )
    with process:
        said = ""
        while "PASSED" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        assert comes_true(lambda: len(members(process.pid)) > 1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said += process.stdout.read()
    return checkout, process, said


def test_what_was_measured_before_ctrl_c_is_saved_and_marked_partial(interrupted):
    checkout, _, _ = interrupted
    saved = checkout.read_saved()
    assert saved["suite"]["partial"] is True
    assert "stopped after 1 of 2 tests" in saved["suite"]["left_out"]
    (bench,) = saved["benchmarks"]
    assert bench["extra_info"]["metrics"]["storage_bytes"] > 1_000_000


def test_what_was_measured_before_ctrl_c_is_shown(interrupted):
    checkout, process, said = interrupted
    assert process.returncode == 2
    table = said.partition(" results ")[2]
    assert "gpt2, tiny" in table
    assert "MiB" in table  # the size on disk
    (path,) = checkout.saved()
    assert f"saved: {path.relative_to(checkout.root)}" in said
    assert json.loads(path.read_text())


def test_ctrl_c_leaves_no_process_behind(interrupted):
    _, process, _ = interrupted
    assert comes_true(lambda: not members(process.pid))
