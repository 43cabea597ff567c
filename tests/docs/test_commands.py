"""What every command under docs does with a file that it cannot read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", ["docs.results_table", "docs.session_power"])
def test_file_that_is_no_run_is_refused_in_one_sentence(tmp_path, command):
    file = tmp_path / "cut.json"
    file.write_text("{")
    done = subprocess.run(
        [sys.executable, "-m", command, file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "cut.json: truncated or damaged at line 1" in done.stderr
