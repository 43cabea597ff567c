"""Child processes: results and failures come back as one sentence, and nothing stays behind."""

from __future__ import annotations

import functools
import operator
import os
import signal
import sys
import threading
import time

import pytest

from fixtures.measurement import child
from fixtures.measurement.child import ChildError, run_in_child


@pytest.fixture(autouse=True, scope="module")
def light_server():
    """A fork server without the heavy libraries, whose loading these tests do not need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "_HEAVY_MODULES", ())
        patch.setattr(child, "_CPU_ONLY_MODULES", ())
        child._server_context.cache_clear()
        yield
    child._server_context.cache_clear()


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_result_comes_from_another_process():
    assert run_in_child(os.getpid) != os.getpid()
    assert run_in_child(operator.truediv, 1, 4) == 0.25


def test_child_has_ended_when_its_result_is_here():
    assert not is_running(run_in_child(os.getpid))


def test_environment_set_after_the_server_started_reaches_the_child(monkeypatch):
    run_in_child(os.getpid)
    monkeypatch.setenv("A_SETTING", "as here")
    assert run_in_child(os.getenv, "A_SETTING") == "as here"
    monkeypatch.delenv("A_SETTING")
    assert run_in_child(os.getenv, "A_SETTING") is None


def test_exception_is_one_sentence_with_the_childs_traceback():
    with pytest.raises(ChildError, match=r"^truediv failed in its child process: ZeroDiv.* zero\n"):
        run_in_child(operator.truediv, 1, 0)
    try:
        run_in_child(operator.truediv, 1, 0)
    except ChildError as error:
        assert "Traceback (most recent call last)" in error.__notes__[0]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_crash_names_the_signal(name):
    with pytest.raises(ChildError, match=f"child process of raise_signal was killed by {name}"):
        run_in_child(signal.raise_signal, getattr(signal, name))


def test_silent_exit_names_its_status():
    with pytest.raises(ChildError, match="child process of _exit ended with exit status 3 and no"):
        run_in_child(os._exit, 3)


def test_exit_of_the_interpreter_is_a_failure_of_the_function():
    with pytest.raises(ChildError, match="exit failed in its child process: SystemExit: 5"):
        run_in_child(sys.exit, 5)


def test_timeout_kills_the_child_at_once():
    start = time.perf_counter()
    with pytest.raises(ChildError, match=r"^sleep was stopped after 0\.2 s in its child process$"):
        run_in_child(time.sleep, 60, timeout_s=0.2)
    assert time.perf_counter() - start < 10


def test_timeout_kills_what_the_child_started(tmp_path):
    started = tmp_path / "pid"
    with pytest.raises(ChildError, match=r"stopped after 2 s"):
        run_in_child(os.system, f"sleep 60 & echo $! > {started}; wait", timeout_s=2)
    pid = int(started.read_text())
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)


def test_result_that_does_not_pickle_is_named():
    with pytest.raises(ChildError, match=r"its result of type lock cannot be sent back: .*pickle"):
        run_in_child(threading.Lock)


def test_function_that_cannot_be_imported_is_named():
    with pytest.raises(ChildError, match=r"<lambda> cannot be sent to a child process: .*pickle"):
        run_in_child(lambda: 0)


def test_large_result_arrives_whole():
    assert run_in_child(operator.mul, b"ab", 3_000_000) == b"ab" * 3_000_000


def test_a_function_may_be_given_in_part():
    assert run_in_child(functools.partial(int, base=2), "101") == 5
