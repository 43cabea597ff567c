"""--profile: apart from timing, readable, kept with the run, and what explains a regression."""

from __future__ import annotations

import copy
import errno
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fixtures.device import detect_cpu
from fixtures.plugins import profiling
from fixtures.plugins.launched_rounds import LaunchedRounds
from fixtures.plugins.rounds import Rounds
from fixtures.regression.case import Case
from fixtures.regression.run import parse_run
from fixtures.regression.verdict import Status, Verdict
from fixtures.reporting.markdown import format_markdown
from fixtures.reporting.report import reopen

CASE = Case("gpt2", "fp32", "tiny", "shipped", "b1-p64-n16", "none", {})


class Samples:
    def __init__(self):
        self.stats = SimpleNamespace(data=[])

    def update(self, seconds):
        self.stats.data.append(seconds)


@pytest.fixture
def rounds():
    """Four timed rounds of a product, and how often one was done."""
    done = []

    def multiply(matrix):
        done.append(time.perf_counter())
        torch.mm(matrix, matrix)

    benchmark = SimpleNamespace(stats=Samples(), extra_info={})
    made = Rounds(benchmark, detect_cpu(), "tpot_s", multiply, lambda: (torch.ones(8, 8),), steps=2)
    made.take_more(4)
    return made, done


@pytest.fixture
def config(tmp_path):
    """As much of pytest's config as profiling a case asks for."""
    stash = pytest.Stash()
    stash[profiling._FOLDER] = tmp_path / "profiles"
    stash[profiling._WRITTEN], stash[profiling._UNWRITTEN] = [], []
    return SimpleNamespace(stash=stash, rootpath=tmp_path)


def test_profiled_rounds_change_no_timed_one(config, rounds):
    made, done = rounds
    samples, saved = list(made.samples), list(made.benchmark.stats.stats.data)
    details = profiling.profile_case(config, CASE, made, detect_cpu())
    assert len(done) == 4 + 4  # it did look at rounds of its own
    assert made.samples == samples
    assert made.benchmark.stats.stats.data == saved
    assert details["operators"]["aten::mm"]["calls"] == 1 / 2


def test_nothing_is_profiled_unless_it_is_asked_for(rounds):
    made, done = rounds
    plain = SimpleNamespace(stash=pytest.Stash())
    assert profiling.profile_case(plain, CASE, made, detect_cpu()) == {}
    assert len(done) == 4


def test_reading_without_rounds_is_not_profiled(config):
    assert profiling.profile_case(config, CASE, None, detect_cpu()) == {}


def test_rounds_of_other_processes_are_not_profiled_here(config):
    made = LaunchedRounds(None, detect_cpu(), "train_step_s", lambda count: [], tuple)
    made.samples.append(0.1)
    assert profiling.profile_case(config, CASE, made, detect_cpu()) == {}


class Terminal:
    def __init__(self):
        self.lines = []

    def write_line(self, line):
        self.lines.append(line)


def finish(config):
    """The session's status and what it says at its end."""
    terminal, session = Terminal(), SimpleNamespace(config=config, exitstatus=pytest.ExitCode.OK)
    profiling.pytest_sessionfinish(session)
    profiling.pytest_terminal_summary(terminal, config)
    return session.exitstatus, terminal.lines


def test_full_disk_is_one_sentence_and_a_failure_and_the_operators_are_kept(
    config, rounds, monkeypatch
):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", fail)
    for _ in range(2):
        details = profiling.profile_case(config, CASE, rounds[0], detect_cpu())
        assert "aten::mm" in details["operators"]
    assert finish(config) == (
        pytest.ExitCode.TESTS_FAILED,
        [
            "no profile was written in profiles of tiny-gpt2-fp32-b1-p64-n16-tpot_s:"
            " No space left on device, and 1 more"
        ],
    )


def test_written_profiles_are_counted_and_no_failure(config, rounds):
    profiling.profile_case(config, CASE, rounds[0], detect_cpu())
    assert finish(config) == (pytest.ExitCode.OK, ["profiles: 3 files in profiles"])


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (
            "--profile=conftest.py/profiles",
            "--profile {root}/conftest.py/profiles: Not a directory",
        ),
        (
            "perf_tests",
            "--profile took 'perf_tests' for its folder; write --profile=DIR, or put it last",
        ),
    ],
    ids=["not-a-folder", "swallowed-path"],
)
def test_folder_that_cannot_be_is_refused_before_anything_runs(shared_checkout, option, sentence):
    words = [option] if option.startswith("--") else ["--profile", option]
    finished = shared_checkout.run(*words)
    assert finished.status == 4
    assert finished.error == sentence.format(root=shared_checkout.root)


@pytest.fixture(scope="module")
def profiled(new_checkout):
    """A real run of two cases, profiled into the default folder."""
    checkout = new_checkout()
    finished = checkout.run(
        *("--models=gpt2", "--techniques=fp32", "--scale=tiny", "-m", "cpu", "-k"),
        *("prefill or decode", "--rounds=10", "--benchmark-autosave", "--profile"),
    )
    assert finished.status == 0, finished.text
    return checkout, finished


def test_profiles_of_the_chosen_cases_lie_in_the_checkout(profiled):
    checkout, finished = profiled
    found = sorted(path.name for path in (checkout.root / "profiles").iterdir())
    assert found == [
        f"tiny-gpt2-fp32-b1-p64-n16-{metric}.{ending}"
        for metric in ("tpot_s", "ttft_s")
        for ending in ("functions.txt", "operators.txt", "trace.json")
    ]
    assert "profiles: 6 files in profiles" in finished.lines
    for trace in (checkout.root / "profiles").glob("*.json"):
        events = json.loads(trace.read_text())["traceEvents"]
        assert any(event.get("name") == "aten::addmm" for event in events)


def find(document, metric):
    return next(
        bench
        for bench in document["benchmarks"]
        if bench["extra_info"]["timed"]["metric"] == metric
    )


def test_saved_run_keeps_the_operators_of_a_step(profiled):
    saved = profiled[0].read_saved()
    decode, prefill = (
        find(saved, metric)["extra_info"]["details"]["operators"] for metric in ("tpot_s", "ttft_s")
    )
    # Two layers of four products each, in a step as in a prompt.
    assert decode["aten::addmm"]["calls"] == prefill["aten::addmm"]["calls"] == 8
    assert len(decode) <= 12 and len(prefill) <= 12
    tpot_s = find(saved, "tpot_s")["extra_info"]["metrics"]["tpot_s"]
    assert 0 < sum(each["time_s"] for each in decode.values()) < 10 * tpot_s


def test_regressed_case_is_explained_by_its_operators(profiled):
    before = profiled[0].read_saved()
    before["datetime"], after = "2026-01-01T00:00:00+00:00", copy.deepcopy(before)
    for metric, step_s in (("tpot_s", 0.0009), ("ttft_s", 0.5)):
        operators = find(after, metric)["extra_info"]["details"]["operators"]
        operators["aten::addmm"]["time_s"] += step_s
        operators["aten::addmm"]["calls"] += 41
    regressed = Verdict("tpot_s", Status.REGRESSED, "slower by the 0.9 ms of 41 products")
    find(after, "tpot_s")["extra_info"]["verdicts"] = [regressed.to_json()]
    baseline, run = (
        parse_run(document, Path(name)) for document, name in ((before, "old"), (after, "new"))
    )
    page = format_markdown(reopen(run, baseline, []))
    assert "aten::addmm +900.0 us a token" in page
    assert "41 more operator calls a token" in page
