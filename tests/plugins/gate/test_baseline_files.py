"""Damaged, foreign and newer files: an error that names the file and what mends it."""

from __future__ import annotations

import json

import pytest


def truncate(path):
    text = path.read_text()
    path.write_text(text[: len(text) // 2])


def change(path, **keys):
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def drop(path, *keys):
    document = json.loads(path.read_text())
    for key in keys:
        del document[key]
    path.write_text(json.dumps(document))


def edit_by_hand(path):
    path.write_text(path.read_text().replace('"tpot_s": 0.002', '"tpot_s": NaN', 1))


DAMAGES = {
    "truncated": (truncate, "truncated or damaged at line"),
    "no machine_info": (lambda path: drop(path, "machine_info"), "machine_info is no object"),
    "no benchmarks": (lambda path: drop(path, "benchmarks"), "benchmarks or suite.failed is no"),
    "newer schema": (
        lambda path: change(path, suite={"schema": 99}),
        "schema 99, and this checkout reads 1 to 1; update the checkout",
    ),
    "not a number": (edit_by_hand, "it holds NaN, which no measurement is"),
    "not a run": (lambda path: path.write_text("[]"), "the file is no object with fields"),
    "empty": (lambda path: path.write_text(""), "truncated or damaged at line 1"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_baseline_ends_the_run_before_it_starts(judged_stage, damage):
    harm, sentence = DAMAGES[damage]
    path = judged_stage.accepted
    harm(path)
    run = judged_stage.run()
    assert run.status == 4
    (error,) = run.said("ERROR: ")
    assert str(path) in error and sentence in error
    assert "passed" not in run.text


@pytest.mark.parametrize("damage", ["truncated", "no machine_info", "no benchmarks"])
def test_damaged_run_is_refused_by_name(judged_stage, damage):
    harm, sentence = DAMAGES[damage]
    path = judged_stage.saved()[2]
    harm(path)
    run = judged_stage.run("--benchmark-compare=0003")
    assert run.status == 4
    (error,) = run.said("ERROR: ")
    assert str(path) in error and sentence in error


@pytest.mark.parametrize("name", ["0009", "nosuch"])
def test_run_that_does_not_exist_is_refused(judged_stage, name):
    for arguments in ([f"--benchmark-compare={name}"], [f"--accept-baseline={name}", "--reason=x"]):
        run = judged_stage.run(*arguments)
        assert run.status == 4
        (error,) = run.said("ERROR: ")
        assert error.endswith(f"no saved run matches {name!r}; name one file in it")


def test_damaged_file_of_the_history_is_named_and_the_rest_used(judged_stage):
    truncate(judged_stage.saved()[1])
    run = judged_stage.run()
    assert run.status == 0
    assert run.said("history: 5 runs of this device")
    (line,) = run.said("unreadable: ")
    assert "0002_made.json: truncated or damaged" in line


def test_history_of_damaged_files_alone_is_no_absence_of_a_baseline(stage):
    assert stage.run("--benchmark-autosave").status == 0
    truncate(stage.saved()[0])
    run = stage.run("--benchmark-compare")
    assert run.status == 4
    assert "truncated or damaged" in run.said("ERROR: ")[0]


def test_run_of_plain_pytest_benchmark_is_refused(judged_stage):
    path = judged_stage.saved()[0]
    drop(path, "suite")
    run = judged_stage.run(f"--benchmark-compare={path}")
    assert run.status == 4
    assert "it was saved without this suite's plugins" in run.said("ERROR: ")[0]


def test_named_run_of_another_device_is_not_comparable(judged_stage):
    run = judged_stage.run("--benchmark-compare=0001", device="Other CPU")
    assert run.status == 0
    assert "verdicts: 10 not-comparable" in run.lines
    assert "device_key: example-cpu-2-threads -> other-cpu-2-threads" in run.text


def test_name_that_two_runs_have_is_refused_with_both(judged_stage):
    first = judged_stage.saved()[0]
    other = first.parent.with_name("Linux-CPython-3.10-64bit")
    other.mkdir()
    (other / first.name).write_text(first.read_text())
    run = judged_stage.run("--benchmark-compare=0001")
    assert run.status == 4
    assert "2 saved runs match" in run.said("ERROR: ")[0]
