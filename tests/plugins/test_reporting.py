"""The report, the recommendation and the live progress of runs in processes of their own."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.plugins.reporting import _OF_A_RUN

SAVED = Path(__file__).parents[1] / "data" / "saved_run.json"
FILES = ["report.html", "report.md", "results.csv", "results.json"]
SMALL = ("perf_tests", "-m", "cpu", "--models", "gpt2", "--scale", "tiny", "-k", "storage")


@pytest.fixture
def store(checkout):
    """A checkout with one saved run, 0001."""
    folder = checkout.root / "baselines" / "Linux-CPython-3.11-64bit"
    folder.mkdir()
    shutil.copy(SAVED, folder / "0001_recorded.json")
    return checkout


def test_saved_run_is_reported_without_running_a_test(store):
    finished = store.run("--report=out/tonight", "--from=0001")
    assert finished.status == 0, finished.text
    assert finished.lines[-1].endswith(
        "out/tonight/report.html, beside it report.md, results.csv, results.json"
    )
    folder = store.root / "out" / "tonight"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    rows = list(csv.DictReader((folder / "results.csv").open()))
    found = {row["technique"]: row["value"] for row in rows if row["metric"] == "tpot_s"}
    assert found == {"fp32": "0.001", "int8": "0.0015"}
    assert (
        json.loads((folder / "results.json").read_text())["device_key"] == "example-cpu-2-threads"
    )


def test_saved_run_is_asked_what_to_choose(store):
    finished = store.run("--recommend=memory<=6MB, perplexity<8", "--from=0001")
    assert finished.status == 0, finished.text
    assert finished.lines == [
        "recommended for memory<=6MB, perplexity<8:",
        "  gpt2, tiny, b1-p8-n5: fp32, TPOT 1.000 ms, 1.00x of fp32's speed,"
        " memory 4.768 MiB, perplexity 7.2500",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--recommend=memory<=6"], "--recommend: 'memory<=6': memory takes B, KiB, .*"),
        (
            ["--recommend=speed_of_light>1"],
            "--recommend: unknown metric 'speed_of_light'.*; known: .*",
        ),
        (["--from=0001"], "--from goes with --report or --recommend"),
        (["--from=0002", "--report=out"], ".*no saved run matches '0002'; name one file in it"),
        (["--report=conftest.py"], "--report conftest.py: File exists"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(store, arguments, sentence):
    finished = store.run(*arguments)
    assert finished.status == 4
    assert re.fullmatch(sentence, finished.error)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--accept-baseline=0001", "--reason=x"], ["--merge=a.json"], ["--calibrate=2"]),
        *(["-k", "fp32"], ["-m", "cpu"], ["--strict-baseline"], ["--plant=tpot_s:+5%@*"]),
        *(["--profile"], ["--models=gpt2"], ["--weights=seeded"], ["--rounds=12"], ["-n", "2"]),
        *(["--workers=1"], ["--intended=gpt2"], ["--benchmark-autosave"]),
        ["--benchmark-json=run.json"],
    ],
    ids=" ".join,
)
def test_option_that_a_saved_run_would_ignore_is_refused(store, arguments):
    before = [path.read_bytes() for path in store.saved()]
    finished = store.run("--from=0001", "--report=out", *arguments)
    assert finished.status == 4
    name = arguments[0].partition("=")[0]
    assert finished.error == f"--from takes a saved run as it is; {name} goes without --from"
    assert [path.read_bytes() for path in store.saved()] == before
    assert not list((store.root / "baselines").glob("accepted-*"))


def test_saved_run_is_reported_beside_the_one_that_is_named(store):
    finished = store.run("--from=0001", "--report=out", "--benchmark-compare=0001", "-q")
    assert finished.status == 0, finished.text


def test_options_that_are_refused_exist(shared_checkout):
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", shared_checkout.run("--help").text))
    assert set(_OF_A_RUN) <= known


def test_damaged_run_is_named_and_not_reported(store):
    path = store.root / "cut.json"
    path.write_text(SAVED.read_text()[:500])
    finished = store.run("--report=out", f"--from={path}")
    assert finished.status == 4
    assert "cut.json: truncated or damaged" in finished.error


@pytest.fixture(scope="module")
def measured(new_checkout):
    """A run of three cells, of which one cannot run here, reported and asked."""
    checkout = new_checkout()
    summary = checkout.root / "job-summary.md"
    summary.write_text("before\n")
    finished = checkout.run(
        *(*SMALL, "--techniques", "fp32,nf4,pruned-2of4", "--report=out"),
        "--recommend=disk<=1MiB",
        env={"GITHUB_STEP_SUMMARY": str(summary)},
    )
    return checkout, finished


@pytest.mark.parametrize(
    "run", [["--from=0001"], [*SMALL, "--techniques=fp32"]], ids=["saved", "measured"]
)
def test_summary_that_cannot_be_written_hides_neither_report_nor_answer(store, run):
    folder = str(store.root)
    finished = store.run(
        *(*run, "--report=out", "--recommend=disk<=1MiB"), env={"GITHUB_STEP_SUMMARY": folder}
    )
    assert finished.status == 1, finished.text
    assert "no report was written" not in finished.text
    assert any(line.startswith("report: out/report.html, ") for line in finished.lines)
    assert any(line.startswith("recommended for disk<=1MiB:") for line in finished.lines)
    said = f"the job's summary could not be written: [Errno 21] Is a directory: '{folder}'"
    assert said in finished.lines
    assert sorted(path.name for path in (store.root / "out").iterdir()) == FILES


def test_each_variant_leaves_a_line_and_pytest_no_dots(measured):
    _, finished = measured
    progress = [line for line in finished.lines if re.match(r"\[\d/\d\] ", line)]
    assert [line.split()[1] for line in progress] == [
        "tiny-gpt2-fp32",
        "tiny-gpt2-nf4",
        "tiny-gpt2-pruned-2of4",
    ]
    assert "1 passed  about" in progress[0]
    assert "1 skipped" in progress[2]
    assert not any(line.startswith("perf_tests/test_storage.py") for line in finished.lines)
    assert "2 passed, 1 skipped" in finished.lines[-1]


def test_report_of_a_selection_is_marked_partial_and_names_what_was_skipped(measured):
    checkout, finished = measured
    assert finished.status == 0, finished.text
    page = (checkout.root / "out" / "report.html").read_text()
    assert "Partial run: " in page
    assert "--models was given" in page
    assert "<h3>Skipped: 1</h3>" in page


def test_report_shows_the_sizes_that_the_terminal_shows(measured):
    checkout, finished = measured
    (line,) = (line for line in finished.lines if line.startswith("nf4 "))
    size = re.search(r"[\d.]+ KiB", line).group()
    assert f">{size}<" in (checkout.root / "out" / "report.html").read_text()
    assert f" {size} " in (checkout.root / "out" / "report.md").read_text()


def test_job_summary_is_appended_to(measured):
    checkout, _ = measured
    text = (checkout.root / "job-summary.md").read_text()
    assert text == "before\n" + (checkout.root / "out" / "report.md").read_text()


def test_recommendation_without_a_timed_decode_says_so(measured):
    _, finished = measured
    assert "recommended for disk<=1MiB: nothing, since no decode was timed" in finished.lines


def test_libraries_warnings_are_counted_and_not_listed(measured):
    _, finished = measured
    assert "warnings summary" not in finished.text
    assert "site-packages" not in finished.text


def test_quiet_run_keeps_pytests_own_dots(shared_checkout):
    finished = shared_checkout.run(*SMALL, "--techniques", "fp32", "-q")
    assert finished.status == 0
    assert re.fullmatch(r"\.+ +\[100%\]", finished.lines[0]), finished.text
    assert not any(line.startswith("[1/1]") for line in finished.lines)


def test_terminal_shows_the_case_and_its_phase_while_it_runs(shared_checkout):
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *SMALL, "--techniques", "fp32"],
        cwd=shared_checkout.root,
        env={name: value for name, value in environment.items() if not name.startswith("PYTEST_")},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = ""
    try:
        while chunk := os.read(ours, 4096).decode():
            said += chunk
    except OSError:  # how the other end of a terminal closes
        pass
    finally:
        process.wait(60)
        os.close(ours)
    assert "\r0/1  tiny-gpt2-fp32: storage " in said
    assert "\r[1/1]  tiny-gpt2-fp32 " in said
    assert "\x1b[3" not in said  # no colour


@pytest.fixture(scope="module")
def stopped(new_checkout):
    """A run with ``-v`` that got Ctrl-C after its first test, and what it printed."""
    checkout = new_checkout()
    process = checkout.start(
        *("perf_tests", "-m", "cpu", "--models", "gpt2", "--scale", "tiny", "-v"),
        *("--techniques", "fp32", "-k", "storage or load or rouge", "--report=out"),
    )
    with process:
        said = ""
        while "PASSED" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        os.killpg(process.pid, signal.SIGINT)
        said += process.stdout.read()
    return checkout, said


def test_run_stopped_half_way_still_gives_a_report_of_what_was_measured(stopped):
    checkout, _ = stopped
    page = (checkout.root / "out" / "report.html").read_text()
    assert "Partial run: " in page and "stopped after 1 of 3 tests" in page
    rows = list(csv.DictReader((checkout.root / "out" / "results.csv").open()))
    assert {row["metric"] for row in rows} == {
        "weights_bytes",
        "linear_weight_bytes",
        "storage_bytes",
    }


def test_verbose_run_keeps_pytests_own_lines(stopped):
    _, said = stopped
    assert re.search(r"test_storage\.py::.*\[tiny-gpt2-fp32\] PASSED +\[ 33%\]", said)
    assert "[1/1]" not in said
