"""The far end: commands in, answers out, and everything that goes wrong told."""

from __future__ import annotations

import io
import json

import pytest

from fixtures.upgrading import worker
from fixtures.upgrading.worker import describe_error, serve


class Bench:
    """Does what it is told, in a word or two."""

    def __init__(self, **options):
        self.options = options

    def build(self, variant, weigh):
        if variant == "broken":
            raise ValueError("checkpoint is damaged\nand a second line")
        return {"unsupported": None, "variant": variant}


@pytest.fixture
def talk(monkeypatch):
    """Gives a worker commands and returns its answers."""
    monkeypatch.setattr(worker, "_start", lambda **options: (Bench(**options), {"packages": {}}))

    def exchange(*commands):
        answers = io.BytesIO()
        lines = b"".join(json.dumps(each).encode() + b"\n" for each in commands)
        serve(io.BytesIO(lines), answers)
        return [json.loads(line) for line in answers.getvalue().splitlines()]

    return exchange


def test_each_command_has_one_answer(talk):
    answers = talk({"do": "start"}, {"do": "build", "variant": "x", "weigh": True})
    assert answers == [{"told": {"packages": {}}}, {"told": {"unsupported": None, "variant": "x"}}]


def test_failure_is_told_in_one_line_and_the_next_command_is_done(talk, capsys):
    broken = {"do": "build", "variant": "broken", "weigh": False}
    answers = talk({"do": "start"}, broken, {**broken, "variant": "y"})
    assert answers[1] == {"failed": "ValueError: checkpoint is damaged"}
    assert answers[2]["told"]["variant"] == "y"
    assert "Traceback" in capsys.readouterr().err  # it goes to the log


def test_command_that_does_not_exist_is_a_failure(talk):
    assert talk({"do": "start"}, {"do": "dance"})[1]["failed"].startswith("AttributeError")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
        ),
        OSError("[Errno 12] Cannot allocate memory"),
    ],
)
def test_memory_that_ran_out_is_called_that(error):
    assert describe_error(error).startswith(f"out of memory: {type(error).__name__}")


def test_other_errors_are_told_by_type_and_first_line():
    assert describe_error(KeyError("x")) == "KeyError: 'x'"
    assert describe_error(RuntimeError()) == "RuntimeError: no message"
