"""Runs the suite as its user does: in a process of its own, from a checkout of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

_TIMEOUT_S = 240
# What belongs to the run that runs these tests, and to the terminal that it was started from.
_OUTER = ("PYTEST_", "COV_", "PY_COLORS", "FORCE_COLOR", "COLUMNS", "GITHUB_STEP_SUMMARY")


@dataclass(frozen=True)
class Finished:
    """One run that came to its end.

    Attributes:
        status: exit status.
        text: what it printed, errors included, in the order of printing.
    """

    status: int
    text: str

    @property
    def lines(self) -> list[str]:
        """What it printed, line by line."""
        return self.text.splitlines()

    @property
    def collected(self) -> list[str]:
        """Tests that ``--collect-only -q`` listed, as ``test_decode[tiny-gpt2-nf4-...]``."""
        return [
            line.partition("::")[2] for line in self.lines if line.startswith("perf_tests/test_")
        ]

    @property
    def error(self) -> str:
        """The one sentence of a run that was refused before a test ran.

        Raises:
            AssertionError: if it printed anything beside that sentence.
        """
        said = [line for line in self.lines if line.strip()]
        assert len(said) == 1 and said[0].startswith("ERROR: "), self.text
        return said[0].removeprefix("ERROR: ")


@dataclass(frozen=True)
class Checkout:
    """A folder with the suite in it and no saved run; ``fixtures/`` is a link to the real one."""

    root: Path

    def start(
        self, *arguments: str, confine: Callable[[], None] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start ``pytest`` in it, in a process group of its own; stdout and stderr are one pipe.

        Args:
            arguments: as on the command line.
            confine: called in the new process before ``pytest`` is, to set limits on it.
            options: for ``Popen``; ``env`` adds to the environment.
        """

        def prepare() -> None:
            # A background job of a shell ignores Ctrl-C, and so would all that it starts.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if confine is not None:
                confine()

        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=options.pop("cwd", self.root),
            env=_environment(options.pop("env", {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=prepare,
            **options,
        )

    def run(self, *arguments: str, **options: Any) -> Finished:
        """Run ``pytest`` in it to the end."""
        with self.start(*arguments, **options) as process:
            try:
                text, _ = process.communicate(timeout=_TIMEOUT_S)
            except BaseException:
                process.kill()
                raise
        return Finished(process.returncode, text)

    def collect(self, *arguments: str) -> list[str]:
        """Names of the tests that a command line selects, in the order of running."""
        finished = self.run("--collect-only", "-q", *arguments)
        assert finished.status == 0, finished.text
        return finished.collected

    def saved(self) -> list[Path]:
        """Autosaved runs, oldest first."""
        return sorted((self.root / "baselines").glob("*/*.json"))

    def read_saved(self) -> dict[str, Any]:
        """The document of its only autosaved run."""
        (path,) = self.saved()
        return json.loads(path.read_text())


def _environment(added: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OUTER)}
    # One thread: the workers that run these tests fill the cores.
    settings = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
    return {**kept, **settings, **added}


@pytest.fixture(scope="session")
def new_checkout(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Checkout]:
    """Makes checkouts; ``new_checkout(own_fixtures=True)`` has a copy of ``fixtures/`` to harm."""

    def make(own_fixtures: bool = False) -> Checkout:
        root = tmp_path_factory.mktemp("checkout")
        for name in ("conftest.py", "pytest.ini"):
            shutil.copy(ROOT / name, root)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "perf_tests", root / "perf_tests", ignore=ignored)
        if own_fixtures:
            shutil.copytree(ROOT / "fixtures", root / "fixtures", ignore=ignored)
        else:
            (root / "fixtures").symlink_to(ROOT / "fixtures")
        (root / "baselines").mkdir()
        return Checkout(root)

    return make


@pytest.fixture
def checkout(new_checkout: Callable[..., Checkout]) -> Checkout:
    """A checkout of one test's own."""
    return new_checkout()


@pytest.fixture(scope="session")
def shared_checkout(new_checkout: Callable[..., Checkout]) -> Checkout:
    """A checkout for runs that write nothing: collecting, and being refused."""
    return new_checkout()
