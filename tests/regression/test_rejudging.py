from __future__ import annotations

import pytest

from fixtures.regression.baseline import BaselineStore
from fixtures.regression.gate import Gate
from fixtures.regression.rejudging import judge_again

KEY = "example-cpu-2-threads"


@pytest.fixture
def gate(tmp_path, build_run):
    """A baseline of one second."""
    store = BaselineStore(tmp_path)
    store.accept(build_run(1.0), "first")
    accepted = store.find_accepted(KEY)
    return Gate(KEY, accepted.run, accepted)


def statuses(run):
    return {each.metric: str(each.status) for record in run.records for each in record.verdicts}


@pytest.mark.parametrize(
    ("seconds", "status"),
    [(1.0, "unchanged"), (1.2, "undecided"), (1.6, "regressed"), (0.6, "improved")],
)
def test_saved_rounds_are_judged_as_measured_ones(build_run, gate, seconds, status):
    saved = build_run(seconds, verdict="no-baseline")
    assert statuses(judge_again(saved, gate)) == {"tpot_s": status}


@pytest.mark.parametrize("witnessed", ["tainted", "measuring-error"])
def test_what_was_seen_while_measuring_stays(build_run, gate, witnessed):
    assert statuses(judge_again(build_run(1.0, verdict=witnessed), gate)) == {"tpot_s": witnessed}


@pytest.mark.parametrize(
    ("gpu_busy", "status"), [(None, "undecided"), (0.5, "undecided"), (0.99, "regressed")]
)
def test_what_a_gpu_may_have_waited_for_is_left_open_afterwards_too(
    build_run, gate, gpu_busy, status
):
    saved = build_run(1.6, verdict="no-baseline", gpu_busy=gpu_busy)
    saved.document["machine_info"]["device"]["kind"] = "cuda"
    assert statuses(judge_again(saved, gate)) == {"tpot_s": status}


def test_verdict_against_the_reference_stays(build_run, gate):
    saved = build_run(1.0, verdict="no-baseline")
    extra = saved.document["benchmarks"][0]["extra_info"]
    extra["verdicts"].append(
        {"metric": "ppl_ratio", "verdict": "regressed", "reason": "bound 1.02 passed"}
    )
    rejudged = judge_again(saved, gate)
    assert statuses(rejudged) == {"tpot_s": "unchanged", "ppl_ratio": "regressed"}


def test_run_without_a_baseline_loses_its_old_verdict(build_run):
    saved = build_run(1.2, verdict="regressed")
    assert statuses(judge_again(saved, Gate(KEY))) == {"tpot_s": "no-baseline"}


def test_saved_document_holds_the_new_verdicts_and_the_run_itself_is_unchanged(build_run, gate):
    saved = build_run(1.6, verdict="no-baseline")
    rejudged = judge_again(saved, gate)
    (verdict,) = rejudged.document["benchmarks"][0]["extra_info"]["verdicts"]
    assert verdict["verdict"] == "regressed"
    assert verdict["ratio"] == pytest.approx(1.6)
    assert statuses(saved) == {"tpot_s": "no-baseline"}
