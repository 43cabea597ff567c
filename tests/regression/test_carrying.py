from __future__ import annotations

import copy
from pathlib import Path

import pytest

from fixtures.regression.accepted import gather_sessions
from fixtures.regression.baseline import BaselineStore
from fixtures.regression.record import RecordError, read_record
from fixtures.regression.run import SavedRun, parse_run

FIRST, SECOND, THIRD = (f"2026-0{month}-01T00:00:00+00:00" for month in (1, 2, 3))
STEADY = {"start": {"dispatch_s": 0.006}, "end": {"dispatch_s": 0.006}}
SLOW_HOST = {"start": {"dispatch_s": 0.007}, "end": {"dispatch_s": 0.011}}


@pytest.fixture
def build(document):
    """A run of two cases: seconds of what a GPU bounds, and of what its host does."""

    def build(gpu_s: float, host_s: float, when: str, commit: str, canaries=STEADY) -> SavedRun:
        whole = copy.deepcopy(document)
        whole["benchmarks"] = whole["benchmarks"][:2]
        for bench, seconds, busy in zip(
            whole["benchmarks"], (gpu_s, host_s), (0.99, 0.1), strict=True
        ):
            bench["stats"]["data"] = [seconds] * 12
            bench["extra_info"] |= {
                "timed": {"metric": "tpot_s"},
                "metrics": {"tpot_s": seconds, "gpu_busy:tpot_s": busy},
                "verdicts": [],
            }
        whole["datetime"] = when
        whole["commit_info"] |= {"id": commit, "dirty": False}
        whole["suite"] |= {"canaries": canaries, "partial": False}
        return parse_run(whole, Path("run.json"))

    return build


@pytest.fixture
def store(tmp_path):
    return BaselineStore(tmp_path / "baselines")


def accept(store: BaselineStore, run: SavedRun) -> SavedRun:
    store.accept(run, "a night", tainted=False)
    accepted = store.find_accepted(run.device_key)
    assert accepted is not None
    return accepted.run


def test_what_is_left_out_stays_as_it_was_accepted_before(store, build):
    accept(store, build(1.0, 2.0, FIRST, "aaa"))
    kept = accept(store, build(0.9, 3.0, SECOND, "bbb", SLOW_HOST))
    own, carried = kept.records
    assert (own.samples[0], own.origin) == (0.9, None)
    assert carried.samples == (2.0,) * 12
    assert (carried.origin.when, carried.origin.commit) == (FIRST, "aaa")
    assert carried.origin.canary == {"dispatch_s": 0.006}


def test_what_is_left_out_stays_under_another_test_in_another_file(store, build):
    first = build(1.0, 2.0, FIRST, "aaa")
    for bench in first.document["benchmarks"]:
        bench["fullname"] = f"perf_tests/test_before.py::test_before[{bench['fullname']}]"
    accept(store, parse_run(first.document, Path("run.json")))
    kept = accept(store, build(1.0, 3.0, SECOND, "bbb", SLOW_HOST))
    assert [record.origin and record.origin.commit for record in kept.records] == [None, "aaa"]


def test_margins_of_what_is_carried_over_count_no_run_twice(store, build):
    accept(store, build(1.0, 2.0, FIRST, "aaa"))
    run = build(0.9, 3.0, SECOND, "bbb", SLOW_HOST)
    accept(store, run)
    found = store.find_accepted(run.device_key)
    own, carried = (found.sessions[record.case.key]["tpot_s"] for record in found.run.records)
    assert own == [1.0, 0.9]
    assert carried == [2.0]


def learn(store: BaselineStore, build, *medians: float) -> list[float]:
    """What is behind the margin of a case that was accepted with each of these medians."""
    for day, seconds in enumerate(medians, 1):
        run = build(seconds, 2.0, f"2026-01-{day:02}T00:00:00+00:00", f"{day}")
        accept(store, run)
    found = store.find_accepted(run.device_key)
    return found.sessions[run.records[0].case.key]["tpot_s"]


def test_noise_is_learnt_though_each_night_is_accepted(store, build):
    noise = (1.0, 1.1, 0.93, 1.07, 0.96)
    assert learn(store, build, *noise) == [*noise]


def test_a_step_beyond_the_noise_is_no_part_of_it(store, build):
    # Sessions that differ by 1.6 % (sd) let one more move by 6.7; older ones follow it beyond that.
    steady = (1.0, 1.02, 0.98, 1.01, 0.99)
    followed = learn(store, build, *steady, 0.8)
    assert followed == pytest.approx([0.8, 0.816, 0.784, 0.808, 0.792, 0.8])


def test_a_run_that_is_accepted_again_is_counted_once(store, build):
    learn(store, build, 1.0, 1.02, 0.98)
    last = build(0.98, 2.0, "2026-01-03T00:00:00+00:00", "3")
    older = build(1.02, 2.0, "2026-01-02T00:00:00+00:00", "2")
    for run in (last, last, older):
        accept(store, run)
        found = store.find_accepted(run.device_key)
        assert found.sessions[run.records[0].case.key]["tpot_s"] == [1.0, 1.02, 0.98]


def test_the_oldest_origin_is_kept_until_the_case_is_measured_again(store, build):
    accept(store, build(1.0, 2.0, FIRST, "aaa"))
    accept(store, build(1.0, 3.0, SECOND, "bbb", SLOW_HOST))
    again = accept(store, build(1.0, 3.0, THIRD, "ccc", SLOW_HOST))
    assert again.records[1].origin.commit == "aaa"
    measured = accept(store, build(1.0, 2.1, THIRD, "ddd"))
    assert [record.origin for record in measured.records] == [None, None]
    assert measured.records[1].samples == (2.1,) * 12


def test_times_of_other_packages_are_not_carried_over(store, build):
    first = build(1.0, 2.0, FIRST, "aaa")
    first.document["machine_info"]["packages"] = {"torch": "1.0"}
    accept(store, parse_run(first.document, Path("run.json")))
    kept = accept(store, build(1.0, 3.0, SECOND, "bbb", SLOW_HOST))
    assert len(kept.records) == 1


def test_a_case_that_is_measured_no_more_is_not_carried_over(store, build):
    accept(store, build(1.0, 2.0, FIRST, "aaa"))
    run = build(1.0, 3.0, SECOND, "bbb", SLOW_HOST)
    run.document["benchmarks"][1]["extra_info"]["case"]["technique"] = "another"
    kept = accept(store, parse_run(run.document, Path("run.json")))
    assert len(kept.records) == 1


def test_nothing_is_carried_over_where_nothing_is_left_out(store, build):
    accept(store, build(1.0, 2.0, FIRST, "aaa"))
    run = build(0.9, 3.0, SECOND, "bbb")
    assert accept(store, run).records == run.records
    assert gather_sessions(None, run, ())[run.records[1].case.key]["tpot_s"] == [3.0]


@pytest.mark.parametrize(
    "damage", [{"canary": {"copy_s": "long"}}, {"canary": 3}, {"when": None}, {"commit": 7}]
)
def test_a_damaged_origin_is_refused(document, damage):
    bench = document["benchmarks"][0]
    origin = {"when": FIRST, "commit": "aaa", "canary": {"copy_s": 2.0}}
    bench["extra_info"]["origin"] = origin
    assert read_record(bench).origin.to_json() == origin
    for damaged in ("x", {}, origin | damage):
        bench["extra_info"]["origin"] = damaged
        with pytest.raises(RecordError):
            read_record(bench)
