"""The table of exit codes in docs/verdicts.md, row by row."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[3] / "docs" / "verdicts.md"


def read_table():
    """Exit status and commands of each row under the heading."""
    section = DOCUMENT.read_text(encoding="utf-8").partition("## Exit status")[2]
    rows = re.findall(r"^\| (\d) \| .* \| (.*)\|$", section, re.MULTILINE)
    return [(int(status), re.findall(r"`pytest ?([^`]*)`", commands)) for status, commands in rows]


EXAMPLES = [(status, command) for status, commands in read_table() for command in commands]


def test_table_lists_every_exit_status_of_pytest_once():
    assert [status for status, _ in read_table()] == [int(code) for code in pytest.ExitCode]


@pytest.mark.parametrize(("status", "command"), EXAMPLES, ids=[each for _, each in EXAMPLES])
def test_example_ends_with_the_exit_status_of_its_row(judged_stage, status, command):
    run = judged_stage.run(*shlex.split(command))
    assert run.status == status, run.text
    if status == 4:
        assert len(run.said("ERROR: ")) == 1
        assert "passed" not in run.text


def test_test_file_that_cannot_be_imported_is_no_success(judged_stage):
    (judged_stage.root / "perf_tests" / "test_broken.py").write_text("import nosuch\n")
    assert judged_stage.run().status == 2
