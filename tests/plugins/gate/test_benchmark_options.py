"""pytest-benchmark's own options and commands do here what its documentation says."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest


def run_command(stage, *arguments):
    """pytest-benchmark's command line, started where its user would."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "--storage=file://./baselines", *arguments],
        cwd=stage.root,
        env={**environment, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def saved_stage(new_stage):
    """A stage with two saved runs, the second 10 % slower."""
    stage = new_stage()
    assert stage.run("--benchmark-autosave").status == 0
    stage.add_run(2, 1.1)
    return stage


def test_list_names_every_saved_run(saved_stage):
    done = run_command(saved_stage, "list")
    assert done.returncode == 0, done.stderr
    for path in saved_stage.saved():
        assert path.name in done.stdout


def test_compare_shows_both_runs_of_a_test(saved_stage):
    names = [str(path) for path in saved_stage.saved()]
    done = run_command(saved_stage, "compare", *names, "--columns=median,rounds")
    assert done.returncode == 0, done.stderr
    assert "test_decode_holds_tpot[tiny-gpt2-nf4-b1-p64-n16] (0001" in done.stdout
    assert "test_decode_holds_tpot[tiny-gpt2-nf4-b1-p64-n16] (0002" in done.stdout


def test_compare_takes_a_number_and_judges_by_that_run(saved_stage):
    run = saved_stage.run("--benchmark-compare=0002", "--benchmark-columns=median")
    assert run.said("judged against: 0002_made.json")
    # Both the table's rows of upstream's own comparison and our verdicts.
    assert "test_decode_holds_tpot[tiny-gpt2-fp32-b1-p64-n16] (0002_mad" in run.text
    assert run.said("undecided: tiny gpt2-nf4-b1-p64-n16 tpot_s: faster by more than the margin")
    assert "; until it is, sessions may differ by +50.0 %" in run.text
    assert run.status == 0


def test_compare_fail_ends_in_upstreams_own_error(saved_stage):
    slow = {"default": 0.004}
    run = saved_stage.run(
        "--benchmark-compare=0001", "--benchmark-compare-fail=median:50%", seconds=slow
    )
    assert run.status == 1
    assert "Performance has regressed" in run.text


def test_save_takes_a_name(saved_stage, new_stage):
    stage = new_stage()
    run = stage.run("--benchmark-save=before")
    assert run.status == 0
    assert [path.name for path in stage.saved()] == ["0001_before.json"]


def test_json_is_written_where_it_was_asked_for(saved_stage, tmp_path):
    target = tmp_path / "run.json"
    run = saved_stage.run(f"--benchmark-json={target}", "-k", "fp32")
    assert run.status == 0
    document = json.loads(target.read_text())
    assert len(document["benchmarks"]) == 5
    assert all(
        len(bench["stats"]["data"]) == bench["stats"]["rounds"] for bench in document["benchmarks"]
    )
    assert len(saved_stage.saved()) == 2


def test_disabled_benchmarks_run_once_and_take_no_figure(saved_stage):
    run = saved_stage.run("--benchmark-disable", "--strict-baseline", "-k", "decode")
    assert run.status == 0, run.text
    assert "2 passed" in run.text
    assert not run.said("verdicts: ")


def test_only_benchmarks_run_under_only(saved_stage, new_stage):
    stage = new_stage()
    (stage.root / "perf_tests" / "test_plain.py").write_text("def test_plain(): pass\n")
    run = stage.run("--benchmark-only")
    assert run.status == 0
    assert "10 passed, 1 skipped" in run.text


def test_skipped_benchmarks_measure_nothing(saved_stage):
    run = saved_stage.run("--benchmark-skip")
    assert run.status == 0
    assert "10 skipped" in run.text


def test_histogram_is_drawn_where_its_package_is(saved_stage, tmp_path):
    run = saved_stage.run(f"--benchmark-histogram={tmp_path}/box", "-k", "decode")
    if importlib.util.find_spec("pygal") is None:
        assert "Please install pygal and pygaljs or pytest-benchmark[histogram]" in run.text
        assert not list(tmp_path.glob("*.svg"))
    else:
        assert run.status == 0, run.text
        assert list(tmp_path.glob("box*.svg"))
