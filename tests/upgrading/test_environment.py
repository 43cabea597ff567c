"""Environment B: A's packages, and in front of them those that change; with real pip and wheels."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy
import pytest

from fixtures.upgrading import environment as environments
from fixtures.upgrading import packages
from fixtures.upgrading.environment import build_environment, describe_environment
from fixtures.upgrading.packages import (
    Distribution,
    PipError,
    list_complaints,
    list_packages,
    list_versions,
    resolve,
)

PYTHON = Path(sys.executable)


# In the sources themselves: any other would have to come from an index.
BACKEND = """
import shutil

def build_wheel(folder, config_settings=None, metadata_directory=None):
    shutil.copy("gatedemo-3.0-py3-none-any.whl", folder)
    return "gatedemo-3.0-py3-none-any.whl"
"""


def write_wheel(folder, name, version, requires=(), says=None):
    """A wheel of one module that says its version, or something else."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {says or version!r}\n")
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Wheels that pip finds, and nothing else."""
    folder = tmp_path_factory.mktemp("index")
    for version in ("1.0", "1.1", "2.0"):
        needs = ["gatehelper"] if version == "2.0" else []
        write_wheel(folder, "gatedemo", version, needs)
    write_wheel(folder, "gatehelper", "0.3")
    write_wheel(folder, "gateuser", "1.0", ["gatedemo<2"])
    write_wheel(folder, "numpy", "0.0.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(folder))
        yield folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("environments")


@pytest.fixture(scope="module")
def base(index, cache):
    """A: this interpreter with gatedemo 1.0 and what needs it."""
    changes = resolve(PYTHON, ["gatedemo==1.0", "gateuser==1.0"])
    return build_environment(describe_environment(PYTHON), changes, cache)


@pytest.fixture(scope="module")
def built(base, cache):
    """B: gatedemo 2.0 in front of A."""
    return build_environment(base, resolve(base.python, ["gatedemo==2.0"]), cache)


def say(python, expression):
    program = f"import gatedemo, numpy; print({expression})"
    return subprocess.run([python, "-c", program], capture_output=True, text=True).stdout.strip()


def test_pip_tells_what_would_change_dependencies_included(base):
    found = resolve(base.python, ["gatedemo==2.0"])
    assert [(each.name, each.version) for each in found] == [
        ("gatedemo", "2.0"),
        ("gatehelper", "0.3"),
    ]
    assert found[0].url.startswith("file://")


def test_what_is_there_already_changes_nothing(base):
    assert resolve(base.python, ["gatedemo==1.0"]) == []


def test_changed_package_is_found_first_and_others_are_the_bases_own(base, built):
    assert say(base.python, "gatedemo.VERSION") == "1.0"
    assert say(built.python, "gatedemo.VERSION") == "2.0"
    assert say(built.python, "numpy.__file__") == numpy.__file__
    changed = dict(built.packages.items() - base.packages.items())
    assert changed == {"gatedemo": "2.0", "gatehelper": "0.3"}


def test_packages_are_those_that_the_interpreter_sees(built):
    assert dict(built.packages) == list_packages(built.python)


def test_requirement_that_b_breaks_is_told_and_old_ones_are_not(base, built):
    (complaint,) = [line for line in built.complaints if "gateuser" in line]
    assert "gatedemo" in complaint
    assert not set(built.complaints) & set(list_complaints(base.python, base.python))


def test_environment_is_built_once(base, built, cache, monkeypatch):
    monkeypatch.setattr(environments, "install", lambda *_: pytest.fail("installed again"))
    again = build_environment(base, resolve(base.python, ["gatedemo==2.0"]), cache)
    assert again == built


def test_wheel_built_anew_at_its_place_is_installed_anew(base, tmp_path):
    wheel = tmp_path / "gatedemo-3.0-py3-none-any.whl"
    for says in ("first", "second"):
        write_wheel(tmp_path, "gatedemo", "3.0", says=says)
        found = build_environment(base, resolve(base.python, [str(wheel)]), tmp_path / "cache")
        assert say(found.python, "gatedemo.VERSION") == says


def test_folder_of_sources_is_installed_anew_each_time(base, tmp_path):
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "backend.py").write_text(BACKEND)
    (sources / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    for says in ("first", "second"):
        write_wheel(sources, "gatedemo", "3.0", says=says)
        found = build_environment(base, resolve(base.python, [str(sources)]), tmp_path / "cache")
        assert say(found.python, "gatedemo.VERSION") == says


def test_half_built_environment_is_built_anew_and_by_pip_where_there_is_no_uv(
    base, tmp_path, monkeypatch
):
    changes = resolve(base.python, ["gatedemo==1.1"])
    first = build_environment(base, changes, tmp_path)
    (note,) = tmp_path.glob("*/environment.json")
    note.unlink()
    (note.parent / "leftover").touch()
    monkeypatch.setattr(packages, "_succeeds", lambda command: False)
    assert build_environment(base, changes, tmp_path) == first
    assert not (note.parent / "leftover").exists()
    assert say(first.python, "gatedemo.VERSION") == "1.1"


def test_shadowed_package_is_the_one_in_front(base, tmp_path):
    (fake,) = resolve(base.python, ["numpy==0.0.1"])
    found = build_environment(base, [fake], tmp_path)
    assert found.packages["numpy"] == "0.0.1"
    assert say(found.python, "numpy.VERSION") == "0.0.1"


def test_pythonpath_in_front_of_b_is_refused(base, tmp_path, monkeypatch):
    (changed,) = resolve(base.python, ["gatedemo==1.1"])
    shadow = tmp_path / "shadow" / "gatedemo-0.1.dist-info"
    shadow.mkdir(parents=True)
    (shadow / "METADATA").write_text("Metadata-Version: 2.1\nName: gatedemo\nVersion: 0.1\n")
    monkeypatch.setenv("PYTHONPATH", str(shadow.parent))
    with pytest.raises(PipError, match=r"B finds gatedemo 0.1 where 1.1 was .*; unset PYTHONPATH"):
        build_environment(base, [changed], tmp_path / "cache")


def test_version_that_nobody_has_is_one_sentence(index):
    with pytest.raises(PipError, match=r"pip cannot resolve gatedemo==9: No matching dist"):
        resolve(PYTHON, ["gatedemo==9"])


def test_versions_are_listed_oldest_first(index):
    assert list_versions(PYTHON, "gatedemo") == ["1.0", "1.1", "2.0"]
    with pytest.raises(PipError, match="pip cannot list versions of no-such-package: No matching"):
        list_versions(PYTHON, "no-such-package")


def test_what_is_no_python_is_told(tmp_path):
    with pytest.raises(PipError, match="is no Python that runs"):
        describe_environment(tmp_path / "python")


def test_package_asked_for_by_its_place_is_installed_from_there():
    wheel = Distribution("x", "1", "file:///x.whl", direct=True)
    assert wheel.requirement == "x @ file:///x.whl"
    assert Distribution("My.Pkg_x", "1", "").key == "my-pkg-x"
