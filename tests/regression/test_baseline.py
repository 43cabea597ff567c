from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from fixtures.regression.accepted import Accepted
from fixtures.regression.baseline import BaselineRefused, BaselineStore
from fixtures.regression.history import list_medians
from fixtures.regression.run import RunFileError, parse_run
from fixtures.regression.timing import judge_time
from fixtures.regression.verdict import Status

KEY = "example-cpu-2-threads"


@pytest.fixture
def store(tmp_path):
    return BaselineStore(tmp_path / "baselines")


def save(store, run, number):
    folder = store.folder / "Linux-CPython-3.11-64bit"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:04}_abc_2026.json"
    path.write_text(json.dumps(run.document), encoding="utf-8")
    return path


def test_device_without_a_baseline_has_none(store):
    assert store.find_accepted(KEY) is None


def test_accepted_run_is_found_again_with_its_reason(store, build_run):
    changes = store.accept(build_run(1.0), "first on this machine")
    assert list(map(str, changes)) == ["gpt2-fp32-b1-p8-n5 tpot_s: n/a -> 999.8 ms (n/a)"]
    found = store.find_accepted(KEY)
    assert found.reason == "first on this machine"
    key = found.run.cases()[0].key
    assert found.run.median(key, "tpot_s") == pytest.approx(0.99975)
    assert found.margin(key, "tpot_s").reason == "margin not learnt yet (1 of 5 runs)"


def test_accepting_again_lists_what_changes(store, build_run):
    store.accept(build_run(1.0), "first")
    faster = build_run(0.9, when="2026-02-01T00:00:00+00:00")
    changes = store.accept(faster, "the new kernel")
    assert list(map(str, changes)) == ["gpt2-fp32-b1-p8-n5 tpot_s: 999.8 ms -> 899.8 ms (-10.0 %)"]


def test_case_that_disappears_is_listed(store, build_run):
    store.accept(build_run(1.0), "first")
    changes = store.accept(build_run(1.0, case={"technique": "nf4"}), "nf4 takes its place")
    assert list(map(str, changes)) == [
        "gpt2-nf4-b1-p8-n5 tpot_s: n/a -> 999.8 ms (n/a)",
        "gpt2-fp32-b1-p8-n5 tpot_s: 999.8 ms -> n/a (n/a)",
    ]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"dirty": True}, "uncommitted changes; commit them and run again"),
        ({"partial": True}, "only part of the matrix; run again without a selection"),
        ({"failed": ("a", "b", "c", "d")}, r"4 tests failed \(a, b, c\)"),
        ({"verdict": "regressed"}, r"1 figures were not sound \(gpt2-fp32-b1-p8-n5 tpot_s regre"),
        ({"verdict": "tainted"}, r"tpot_s tainted\); run again, or .* --without-tainted$"),
        ({"verdict": "measuring-error"}, r"tpot_s measuring-error\)$"),
    ],
)
def test_unsound_run_never_becomes_the_baseline(store, build_run, changed, sentence):
    store.accept(build_run(1.0), "first")
    with pytest.raises(BaselineRefused, match=sentence):
        store.accept(build_run(2.0, **changed), "please")
    assert store.find_accepted(KEY).reason == "first"


def test_acceptance_needs_a_reason(store, build_run):
    with pytest.raises(BaselineRefused, match="it needs a reason"):
        store.accept(build_run(), "  ")


def test_intended_regression_is_accepted_by_name(store, build_run):
    slower = build_run(1.2, verdict="regressed")
    store.accept(slower, "fixes the mask", intended=["gpt2-fp32-b1-p8-n5"])
    assert store.find_accepted(KEY).reason == "fixes the mask"


def test_margin_is_learnt_from_saved_runs_that_did_not_move(store, build_run):
    for number, seconds in enumerate((1.00, 1.01, 0.99, 1.02), start=1):
        save(store, build_run(seconds, when=f"2026-01-0{number}T00"), number)
    save(store, build_run(1.5, when="2026-01-05T00", verdict="regressed"), 5)
    save(store, build_run(9.0, when="2026-01-06T00", device_key="other"), 6)
    store.accept(build_run(1.0, when="2026-01-07T00"), "five quiet runs")
    accepted = store.find_accepted(KEY)
    margin = accepted.margin(accepted.run.cases()[0].key, "tpot_s")
    assert margin.runs == 5
    # sd of ln(1, 1.01, 0.99, 1.02, 1) is 0.01138; 4.105 of them.
    assert margin.share == pytest.approx(0.0478, abs=2e-4)


@pytest.mark.parametrize("name", ["paired:tpot_s", "yardstick:tpot_s"])
def test_margin_of_a_time_is_at_least_that_of_its_ratio(build_run, name):
    run = build_run(1.0)
    key = run.cases()[0].key
    sessions = {"tpot_s": [1.0] * 5, name: [1.0, 1.01, 0.99, 1.02, 1.0]}
    accepted = Accepted(run, {key: sessions})
    assert accepted.margin(key, "tpot_s").share == pytest.approx(0.0478, abs=2e-4)
    assert Accepted(run, {key: {"tpot_s": [1.0] * 5}}).margin(key, "tpot_s").share == 0.03


def test_accepted_step_does_not_widen_the_margin(store, build_run):
    for number, seconds in enumerate((1.000, 1.001, 0.999, 1.002), start=1):
        save(store, build_run(seconds, when=f"2026-01-0{number}T00"), number)
    store.accept(build_run(1.0, when="2026-01-07T00"), "quiet")
    store.accept(build_run(0.5, when="2026-01-08T00"), "twice as fast")
    accepted = store.find_accepted(KEY)
    margin = accepted.margin(accepted.run.cases()[0].key, "tpot_s")
    assert margin.runs == 6
    assert margin.share == 0.03
    assert margin.level == pytest.approx(0.5, rel=0.01)


def test_damaged_baseline_is_an_error_and_no_absence(store, build_run):
    store.accept(build_run(1.0), "first")
    path = store.accepted_path(KEY)
    path.write_text(path.read_text(encoding="utf-8")[:500], encoding="utf-8")
    with pytest.raises(RunFileError, match="truncated or damaged at line"):
        store.find_accepted(KEY)
    with pytest.raises(RunFileError, match="truncated or damaged at line"):
        store.accept(build_run(1.0), "second")


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (None, "no reason in its accepted section"),
        ({"reason": "x"}, "no sessions in its accepted section"),
        ({"reason": "x", "sessions": {"k": {"tpot_s": [0.0]}}}, "its sessions hold no medians"),
        ({"reason": "x", "sessions": {"k": 3}}, "its sessions hold no medians"),
    ],
)
def test_damaged_acceptance_is_an_error(store, build_run, section, sentence):
    store.accept(build_run(1.0), "first")
    path = store.accepted_path(KEY)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["accepted"] = section
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(RunFileError, match=f"{sentence}.*; restore it"):
        store.find_accepted(KEY)


def test_baseline_renamed_to_another_device_is_an_error(store, build_run):
    store.accept(build_run(1.0), "first")
    store.accepted_path(KEY).rename(store.accepted_path("other"))
    with pytest.raises(RunFileError, match=f"holds a run of {KEY}; rename it"):
        store.find_accepted("other")


def test_device_key_that_is_no_file_name_is_refused(store):
    with pytest.raises(ValueError, match=r"device key '\.\./x' is no file name"):
        store.accepted_path("../x")


def test_other_devices_are_found_for_portable_figures(store, build_run):
    store.accept(build_run(1.0), "first")
    store.accept(build_run(1.0, device_key="nvidia-h100"), "second")
    assert [other.run.device_key for other in store.find_others(KEY)] == ["nvidia-h100"]


def test_saved_run_is_found_by_number_and_by_path(store, build_run):
    path = save(store, build_run(1.0), 1)
    save(store, build_run(2.0), 2)
    assert store.find_named("0001").path == path
    assert store.find_named(str(path)).path == path
    assert store.find_named(f"Linux-CPython-3.11-64bit/{path.name}").path == path


def test_name_that_matches_none_or_several_is_an_error(store, build_run):
    save(store, build_run(1.0), 1)
    save(store, build_run(1.0), 2)
    with pytest.raises(RunFileError, match="no saved run matches 'perf_tests'; name one file"):
        store.find_named("perf_tests")
    with pytest.raises(RunFileError, match=r"2 saved runs match \(.*0001_.*0002_.*\) '000'"):
        store.find_named("000")


def test_damaged_file_in_the_history_is_reported_and_the_rest_used(store, build_run):
    save(store, build_run(2.0, when="2026-01-02T00"), 1)
    save(store, build_run(1.0, when="2026-01-01T00"), 2)
    save(store, build_run(1.0), 3).write_text("{", encoding="utf-8")
    history = store.history(KEY)
    assert [run.when for run in history.runs] == ["2026-01-01T00", "2026-01-02T00"]
    key = history.runs[0].cases()[0].key
    assert list_medians(key, "tpot_s", history.runs, None) == pytest.approx((0.99975, 1.9995))
    assert len(history.problems) == 1
    assert "0003_abc_2026.json: truncated or damaged" in history.problems[0]


def accept_often(folder, document, name, started):
    run = parse_run(document, Path("run.json"))
    started.set()
    for number in range(1000):
        BaselineStore(folder).accept(run, f"{name} {number}")


def test_two_writers_and_a_kill_leave_a_whole_file(store, build_run):
    store.accept(build_run(1.0), "first")
    context = multiprocessing.get_context("spawn")
    workers = []
    for name in ("one", "two"):
        started = context.Event()
        document = dict(build_run(1.0).document)
        worker = context.Process(
            target=accept_often, args=(store.folder, document, name, started), daemon=True
        )
        worker.start()
        workers.append((worker, started))
    for _, started in workers:
        assert started.wait(30)
    deadline = time.monotonic() + 30
    while store.find_accepted(KEY).reason == "first" and time.monotonic() < deadline:
        time.sleep(0.05)
    end = time.monotonic() + 0.3
    reads = 0
    while time.monotonic() < end:
        assert store.find_accepted(KEY) is not None
        reads += 1
    for worker, _ in workers:
        os.kill(worker.pid, signal.SIGKILL)
        worker.join(10)
    assert reads > 3
    assert store.find_accepted(KEY).reason != "first"
    # The dead hold no lock, and what they left is in no glob.
    store.accept(build_run(1.0), "after the kill")
    assert store.find_accepted(KEY).reason == "after the kill"
    assert [path.name for path in store.folder.glob("*.json")] == [f"accepted-{KEY}.json"]


def test_every_accepted_run_judges_its_own_repeat_unchanged(store, build_run):
    store.accept(build_run(1.0), "first")
    accepted = store.find_accepted(KEY)
    key = accepted.run.cases()[0].key
    samples = accepted.run.find(key, "tpot_s").samples
    verdict = judge_time("tpot_s", samples, samples, accepted.margin(key, "tpot_s"))
    assert verdict.status is Status.UNCHANGED


def test_planted_run_never_becomes_the_baseline(store, document):
    document["suite"]["planted"] = ["tpot_s:+5%@*"]
    with pytest.raises(BaselineRefused, match=r"tpot_s:\+5%@\* was planted in it"):
        store.accept(parse_run(document, Path("run.json")), "please")


def test_case_that_is_intended_must_be_in_the_run(store, build_run):
    sentence = r"it has no case 'gpt2-fp32-b1' \(nearest: gpt2-fp32-b1-p8-n5\)"
    with pytest.raises(BaselineRefused, match=sentence):
        store.accept(build_run(1.0), "please", intended=["gpt2-fp32-b1"])


def test_history_keeps_planted_runs_out_and_finds_the_last_sound_one(store, build_run, document):
    save(store, build_run(1.0, when="2026-01-01"), 1)
    save(store, build_run(1.1, when="2026-01-02", verdict="regressed"), 2)
    save(store, build_run(1.2, when="2026-01-03", partial=True), 3)
    document["suite"]["planted"] = ["tpot_s:+5%@*"]
    save(store, parse_run(document, Path("run.json")), 4)
    history = store.history(KEY)
    assert [run.when for run in history.runs] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert history.last_sound().when == "2026-01-01"
    assert history.describe_faults() is None


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        ({"partial": True}, "ran only part of the matrix"),
        ({"verdict": "regressed"}, "has 1 verdicts that are not sound"),
    ],
)
def test_runs_of_which_none_can_be_compared_with_are_explained(store, build_run, made, fault):
    assert store.history(KEY).describe_faults() is None
    save(store, build_run(1.0, when="2026-01-01", **made), 1)
    (run,) = store.history(KEY).runs
    assert store.history(KEY).describe_faults() == (
        f"none of 1 saved runs can be compared with: the last, {run.path.name}, {fault}"
    )
