"""What the workflows promise; their steps' scripts are run here as a runner would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fixtures.upgrading.options import read_options

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github/actions").glob("*/action.yml"))


def load(path):
    return yaml.safe_load(path.read_text())


def steps_of(path):
    """Every step of a workflow's jobs, or of a composite action."""
    whole = load(path)
    parts = whole["jobs"].values() if "jobs" in whole else [whole["runs"]]
    return [step for part in parts for step in part["steps"]]


def find_script(job, key, workflow="nightly"):
    """The script of the one step of a job that has it, by name or by id."""
    steps = load(ROOT / f".github/workflows/{workflow}.yml")["jobs"][job]["steps"]
    (script,) = [step["run"] for step in steps if key in (step.get("id"), step.get("name"))]
    return script


@pytest.fixture
def runner(tmp_path):
    """Runs a script as GitHub's runner does; ``pytest`` and ``python`` only note their words."""
    noted = tmp_path / "arguments"
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in ("pytest", "python"):
        fake = bin_folder / name
        fake.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > {noted}\necho tables\nexit "$fake_status"\n'
        )
        fake.chmod(0o755)
    script = tmp_path / "script"
    output = tmp_path / "output"

    def run(text, status=0, **environment):
        script.write_text(text)
        finished = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=tmp_path,
            env={
                "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
                "GITHUB_OUTPUT": str(output),
                "fake_status": str(status),
                **environment,
            },
            capture_output=True,
            text=True,
        )
        return finished.returncode, noted.read_text().split("\n")[:-1] if noted.exists() else []

    run.folder = tmp_path
    run.output = output
    return run


def test_workflows_are_there():
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "nightly.yml", "upgrade.yml"]


@pytest.mark.parametrize(
    ("schema", "paths"),
    [("github-workflows", WORKFLOWS), ("github-actions", ACTIONS)],
    ids=["workflows", "actions"],
)
def test_files_fit_githubs_schema(schema, paths):
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    finished = subprocess.run([*check, *paths], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout


@pytest.mark.parametrize("path", WORKFLOWS + ACTIONS, ids=lambda path: path.stem)
def test_actions_of_others_are_pinned_and_own_ones_exist(path):
    for used in filter(None, (step.get("uses") for step in steps_of(path))):
        if used.startswith("./"):
            assert (ROOT / used / "action.yml").is_file(), used
        else:
            assert re.fullmatch(r"[\w-]+/[\w/-]+@(v\d+|[0-9a-f]{40})", used), used


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_token_can_only_read_and_every_job_ends(path):
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 90


@pytest.mark.parametrize("path", WORKFLOWS + ACTIONS, ids=lambda path: path.stem)
def test_no_expression_is_pasted_into_a_script(path):
    # What a person types into a form would then be run as a command.
    assert not [step for step in steps_of(path) if "${{" in step.get("run", "")]


@pytest.mark.parametrize(("count", "numbers"), [("1", "[1]"), ("4", "[1,2,3,4]")])
def test_plan_numbers_the_shards_from_one(runner, count, numbers):
    status, _ = runner(find_script("plan", "deal"), count=count)
    assert status == 0
    assert runner.output.read_text() == f"shards={numbers}\n"


MEASURE = "Measure shard ${{ matrix.shard }} of ${{ strategy.job-total }}"


# Exit statuses of pytest: 1 tests failed, 2 interrupted, 3 internal, 4 usage, 5 no tests.
@pytest.mark.parametrize(
    ("status", "step"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (5, 1), (137, 1)]
)
def test_measuring_fails_only_where_nothing_could_be_measured(runner, status, step):
    ended, words = runner(find_script("measure", MEASURE), status, shard="2/4", selection="")
    assert ended == step
    assert words == [
        *("perf_tests", "-m", "gpu", "--shard=2/4"),
        "--benchmark-json=report/shard-2.json",
    ]


def test_selection_of_a_dispatch_reaches_pytest_as_words_and_as_no_command(runner):
    selection = "--models gpt2 ; touch harm"
    _, words = runner(find_script("measure", MEASURE), shard="1/1", selection=selection)
    assert words[4:9] == ["--models", "gpt2", ";", "touch", "harm"]
    assert not (runner.folder / "harm").exists()


@pytest.mark.parametrize("status", [0, 1, 4])
@pytest.mark.parametrize("strict", ["", "--strict-baseline"])
def test_judging_merges_every_shard_and_ends_as_pytest_does(runner, status, strict):
    shards = runner.folder / "shards"
    shards.mkdir()
    for number in (1, 2):
        (shards / f"shard-{number}.json").touch()
    ended, words = runner(find_script("judge", "Merge and judge"), status, strict=strict)
    assert ended == status
    assert words[:2] == ["--merge=shards/shard-1.json", "--merge=shards/shard-2.json"]
    assert ("--strict-baseline" in words) == bool(strict)
    assert (runner.folder / "report/terminal.txt").read_text() == "tables\n"


def test_history_keeps_the_newest_sixty_runs(runner):
    folder = runner.folder / "baselines/Linux-CPython-3.12-64bit"
    folder.mkdir(parents=True)
    accepted = folder.parent / "accepted-example.json"
    accepted.touch()
    for number in range(1, 64):
        (folder / f"{number:04}_run.json").touch()
    status, _ = runner(find_script("judge", "Keep the newest 60 runs of the history"))
    assert status == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{number:04}_run.json" for number in range(4, 64)
    ]
    assert accepted.exists()


# Exit statuses of the gate: 5 nothing differs, 7 a side failed, 8 undecided.
@pytest.mark.parametrize(
    ("status", "step"), [(0, 0), (1, 1), (3, 3), (4, 4), (5, 0), (7, 7), (8, 8)]
)
@pytest.mark.parametrize(
    ("pins", "b"),
    [("", ["-r", "requirements.txt"]), ("torch==2.14 peft==0.22", ["torch==2.14", "peft==0.22"])],
)
def test_upgrade_is_red_unless_it_is_safe_or_changes_nothing(runner, pins, b, status, step):
    script = find_script("compare", "Compare", "upgrade")
    ended, words = runner(script, status, pins=pins)
    assert ended == step
    assert words[: 2 + len(b)] == ["-m", "fixtures.upgrading", *b]
    read_options(words[2:])  # it raises for what the gate would refuse


def test_options_in_the_workflows_are_pytests():
    texts = [step.get("run", "") for path in WORKFLOWS for step in steps_of(path)]
    texts = [text for text in texts if "pytest" in text]
    asked = {option for text in texts for option in re.findall(r"--[a-z][a-z-]+", text)}
    helped = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {"--shard", "--merge", "--benchmark-json"} <= asked
    assert asked <= set(re.findall(r"--[a-z][a-z-]+", helped))
