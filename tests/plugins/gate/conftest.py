"""A stage for the gate: the suite's own tests and hooks on rounds that are written in a script."""

from __future__ import annotations

import copy
import json
import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

_STAGE = Path(__file__).parent / "stage.py"
# The tests that the stage has instruments for.
_TESTS = ("decode", "prefill", "load", "memory", "storage")
_SCRIPT: dict[str, Any] = {
    "techniques": ["fp32", "nf4"],
    "unsupported": [],
    "gpu": False,
    "beside": False,
    "yardstick": 0.001,
    "waited": 0.0,
    "gpu_work": None,
    "kind": "cpu",
    "device": "Example CPU",
    "flags": ["fpu", "avx2"],
    "settings": {"dtype": "float32"},
    "packages": {"python": "3.11.7", "torch": "2.13.0"},
    "seconds": {"default": 0.002},
    "bytes": {"default": 5_000_000},
    "canaries": [{"copy_s": 0.02}, {"copy_s": 0.02}],
    "suspect_canary": {"copy_s": 0.02},
    "throttled": [[]],
    "clock_mhz": 3000,
}
# A process for each run, as its user has, forked from one that has the libraries loaded: most of
# a scripted run is importing them.
_PRELOADED = ["pytest", "scipy.stats", "rich.table"]
_RUN = """
import os, sys
os.chdir(folder)
for name in [name for name in os.environ if name.startswith(("PYTEST_", "COV_", "GITHUB_"))]:
    del os.environ[name]
os.environ.update(OMP_WAIT_POLICY="PASSIVE", HF_HUB_OFFLINE="1", COLUMNS="160")
sys.path.insert(0, folder)
output = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(output, 1)
os.dup2(output, 2)
import pytest
status = pytest.main(["-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments])
sys.stdout.flush()
os._exit(int(status))
"""
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Run:
    """One run that came to its end: its exit status, and all that it printed."""

    status: int
    text: str

    @property
    def lines(self) -> list[str]:
        """What it printed, line by line."""
        return self.text.splitlines()

    def said(self, start: str) -> list[str]:
        """Lines that start so."""
        return [line for line in self.lines if line.startswith(start)]


@dataclass(frozen=True)
class Stage:
    """A checkout whose rounds are scripted."""

    checkout: Any
    server: ForkServerContext

    @property
    def root(self) -> Path:
        """The checkout's folder."""
        return self.checkout.root

    @property
    def baselines(self) -> Path:
        """Where it saves."""
        return self.root / "baselines"

    def run(self, *arguments: str, folder: Path | None = None, **script: Any) -> Run:
        """Run pytest there; keywords change the script for this run, ``folder`` where it starts."""
        self.write_script(**script)
        target = self.root / "output.txt"
        names = {
            "folder": str(folder or self.root),
            "target": str(target),
            "arguments": arguments,
        }
        process = self.server.Process(target=exec, args=(_RUN, names))
        process.start()
        process.join(_TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
        return Run(process.exitcode, target.read_text(errors="replace"))

    def write_script(self, **changes: Any) -> None:
        """Set the scene, for processes that are started by other means too."""
        whole = {**copy.deepcopy(_SCRIPT), **changes}
        (self.root / "script.json").write_text(json.dumps(whole))

    def saved(self) -> list[Path]:
        """Autosaved runs, oldest first."""
        return self.checkout.saved()

    @property
    def accepted(self) -> Path:
        """Its one accepted run."""
        (path,) = self.baselines.glob("accepted-*.json")
        return path

    def add_run(
        self, number: int, factor: float = 1.0, base: Path | None = None, **changed: Any
    ) -> Path:
        """Save a copy of a run as number ``number``, its rounds longer by a factor.

        Args:
            number: place in the history; also the minute at which it was recorded.
            factor: by which every round is multiplied.
            base: the run to copy; the first saved one where None.
            changed: keys of the document to replace.
        """
        source = base or self.saved()[0]
        document = json.loads(source.read_text())
        for benchmark in document["benchmarks"]:
            stats = benchmark["stats"]
            stats["data"] = [second * factor for second in stats["data"]]
            timed = benchmark["extra_info"]["timed"]
            if timed:
                benchmark["extra_info"]["metrics"][timed["metric"]] *= factor
            benchmark["extra_info"]["verdicts"] = []
        document["datetime"] = f"2026-01-01T00:{number:02}:00+00:00"
        document.update(changed)
        path = source.parent / f"{number:04}_made.json"
        path.write_text(json.dumps(document))
        return path

    def accept(self, *factors: float, **script: Any) -> None:
        """Save a run, put one before it for each factor, and accept it."""
        finished = self.run("--benchmark-autosave", **script)
        assert finished.status == 0, finished.text
        (first,) = self.saved()
        for number, factor in enumerate(factors, start=2):
            self.add_run(number, factor, first)
        finished = self.run("--accept-baseline=0001", "--reason=the first on this machine")
        assert finished.status == 0, finished.text


@pytest.fixture(scope="session")
def new_stage(new_checkout: Callable[..., Any]) -> Callable[..., Stage]:
    """Makes stages; ``new_stage(accepted=True)`` has a baseline with five quiet runs behind it."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(_PRELOADED)
    kept: list[Stage] = []

    def make(accepted: bool = False) -> Stage:
        stage = Stage(new_checkout(), server)
        tests = stage.root / "perf_tests"
        for path in tests.glob("test_*.py"):
            if path.stem.removeprefix("test_") not in _TESTS:
                path.unlink()
        shutil.copy(_STAGE, stage.root)
        with (stage.root / "conftest.py").open("a") as conftest:
            # Last, so that its fixtures take the place of the instruments.
            conftest.write('pytest_plugins.append("stage")\n')
        if not accepted:
            return stage
        if not kept:
            kept.append(make())
            kept[0].accept(1.002, 1.003, 1.004, 1.005)
        shutil.copytree(kept[0].baselines, stage.baselines, dirs_exist_ok=True)
        return stage

    return make


@pytest.fixture
def stage(new_stage: Callable[..., Stage]) -> Stage:
    """A stage without a saved run."""
    return new_stage()


@pytest.fixture
def judged_stage(new_stage: Callable[..., Stage]) -> Stage:
    """A stage with a baseline."""
    return new_stage(accepted=True)
