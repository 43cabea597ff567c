"""What .ci/run starts, with programs that only note how they were called."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BROWSER = ("chromium", "node", "npm")
LEFT_OUT = "browser tests are left out: they need Chromium, node and npm"


@pytest.fixture
def machine(tmp_path):
    """Runs a copy of the script on a machine that has some programs and no others."""
    programs, noted = tmp_path / "programs", tmp_path / "noted"
    programs.mkdir()
    (tmp_path / "checkout/.ci").mkdir(parents=True)
    script = Path(shutil.copy(ROOT / ".ci/run", tmp_path / "checkout/.ci/run"))
    for name in ("dirname", "chmod"):
        (programs / name).symlink_to(shutil.which(name))
    # Installing puts the browser's programs where the script finds them.
    copies = "\n".join(f"cat {programs}/python > {programs}/{name}" for name in BROWSER)
    marks = f"chmod +x {' '.join(f'{programs}/{name}' for name in BROWSER)}"
    install = f'case "$*" in *install*) {{ {copies}\n{marks}\n}} ;; esac'

    def run(*present, user="0", failing=""):
        for name in ("python3", "python", "tox", *present):
            lines = ["#!/bin/bash", f'echo "${{0##*/}} $*" >> {noted}']
            lines += [install] if name == "apt-get" else []
            lines += [f'[ "${{0##*/}} $1 $2" != "{failing}" ]']
            (programs / name).write_text("\n".join(lines) + "\n")
            (programs / name).chmod(0o755)
        (programs / "cat").symlink_to(shutil.which("cat"))
        (programs / "id").write_text(f"#!/bin/bash\necho {user}\n")
        (programs / "id").chmod(0o755)
        done = subprocess.run(
            ["/bin/bash", script], env={"PATH": str(programs)}, capture_output=True, text=True
        )
        return done.returncode, noted.read_text().splitlines(), done.stdout + done.stderr

    return run


def test_browser_tools_that_are_there_get_their_modules(machine):
    status, started, said = machine(*BROWSER, "apt-get")
    assert status == 0, said
    assert not [line for line in started if line.startswith("apt-get")]
    assert [line for line in started if line.startswith("npm ci --prefix tests/browser")]
    assert LEFT_OUT not in said


def test_root_on_debian_installs_the_browser_first(machine):
    status, started, said = machine("apt-get")
    assert status == 0, said
    names = [line.split()[0] for line in started]
    assert names.index("apt-get") < names.index("npm") < names.index("tox")
    (install,) = [line for line in started if line.startswith("apt-get") and " install " in line]
    assert install.endswith("chromium nodejs npm")


def test_only_what_is_missing_is_installed(machine):
    # Debian's npm clashes with a node from elsewhere.
    status, started, said = machine("apt-get", "node", "npm")
    assert status == 0, said
    (install,) = [line for line in started if line.startswith("apt-get") and " install " in line]
    assert install.endswith("recommends chromium")
    assert LEFT_OUT not in said


@pytest.mark.parametrize("present", [("apt-get",), ("chromium",)], ids=["no root", "no node"])
def test_machine_that_cannot_have_a_browser_says_so_and_goes_on(machine, present):
    status, started, said = machine(*present, user="1000")
    assert status == 0, said
    assert said.splitlines() == [LEFT_OUT]
    assert not [line for line in started if line.startswith(("npm", "apt-get"))]
    assert [line for line in started if line.startswith("tox -e unit")]


def test_checks_run_cheapest_first_and_the_first_failure_ends_it(machine):
    status, started, _ = machine(*BROWSER, failing="tox -e lint,types")
    assert status != 0
    assert [line for line in started if line.startswith("tox")] == ["tox -e lint,types"]
