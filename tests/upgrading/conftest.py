from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fixtures.upgrading import process as processes
from fixtures.upgrading.cases import Case
from fixtures.upgrading.gate import Gate
from fixtures.upgrading.schedule import Schedule
from fixtures.upgrading.sides import Side
from fixtures.workloads import Workload

SCRIPTED = Path(__file__).with_name("scripted_worker.py")
# Ten pairs are the fewest that can tell one case from four: 4 / 2**10 is below 0.01.
BRIEF = Schedule(pairs=10, restarts=2, most_restarts=2, timeout_s=20.0)


@pytest.fixture
def scripted(tmp_path):
    """Makes a side whose worker follows a script; its file is where it was called for."""

    def make(label, **script):
        file = tmp_path / f"{label}.json"
        file.write_text(json.dumps(script))
        return Side(label, (sys.executable, str(SCRIPTED), str(file)))

    return make


@pytest.fixture
def compare(scripted):
    """Runs the gate on two scripts: ``compare(names, a={...}, b={...})``."""

    def run(names, a=None, b=None, schedule=BRIEF, **options):
        cases = [Case(name, name, Workload(1, 4, 3)) for name in names]
        sides = (scripted("A", **(a or {})), scripted("B", **(b or {})))
        return Gate(sides, cases, schedule, **options).run()

    return run


@pytest.fixture(autouse=True)
def no_job_summary(monkeypatch):
    """In CI the summary is that of the job that runs these tests: no place for made-up reports."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture(autouse=True)
def no_process_left():
    """Every worker that a test started has ended by its end."""
    yield
    assert not list(processes._ALIVE)
