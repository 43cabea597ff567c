from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.regression.case import Case
from fixtures.regression.matching import find_missing, match_case
from fixtures.regression.run import parse_run
from fixtures.regression.verdict import Status

KEY = "example-cpu-2-threads"


@pytest.fixture
def baseline(build_run):
    return build_run()


@pytest.fixture
def case(baseline):
    return baseline.cases()[0]


def other(case, **changed):
    return Case(**{**case.to_json(), **changed})


def test_same_case_is_matched(baseline, case):
    assert match_case(case, "tpot_s", baseline, KEY).record is baseline.records[0]


def test_missing_baseline_is_not_a_pass(case):
    verdict = match_case(case, "tpot_s", None, KEY).verdict("tpot_s")
    assert verdict.status is Status.NO_BASELINE
    assert verdict.reason == f"no run was accepted on {KEY}"


def test_other_device_is_not_comparable(baseline, case):
    match = match_case(case, "tpot_s", baseline, "nvidia-h100")
    assert match.status is Status.NOT_COMPARABLE
    assert match.reason == f"device_key: {KEY} -> nvidia-h100"


@pytest.mark.parametrize("field", ["weights", "prompt_hash"])
def test_differing_field_is_named(baseline, case, field):
    match = match_case(other(case, **{field: "other"}), "tpot_s", baseline, KEY)
    assert match.status is Status.NOT_COMPARABLE
    assert match.reason == f"{field}: {getattr(case, field)} -> other"


def test_differing_setting_is_named(baseline, case):
    match = match_case(other(case, settings={"tf32": True}), "tpot_s", baseline, KEY)
    assert match.reason == "settings.tf32: (absent) -> True"


def test_case_or_metric_that_the_baseline_lacks_is_new(baseline, case):
    match = match_case(other(case, technique="nf4"), "tpot_s", baseline, KEY)
    assert match.status is Status.NEW
    assert match.reason == "tpot_s of gpt2-nf4-b1-p8-n5 is not in run.json"
    assert match_case(case, "ttft_s", baseline, KEY).status is Status.NEW
    assert match_case(other(case, scale="other"), "tpot_s", baseline, KEY).status is Status.NEW


def test_matched_case_has_no_verdict_without_judging(baseline, case):
    with pytest.raises(ValueError, match="tpot_s has a record in the baseline; judge by it"):
        match_case(case, "tpot_s", baseline, KEY).verdict("tpot_s")


def test_case_that_was_covered_and_not_measured_is_missing(baseline, case):
    ((found, verdict),) = find_missing(baseline, measured=(), covered=lambda record: True)
    assert (found, verdict.metric, verdict.status) == (case, "tpot_s", Status.MISSING)
    assert verdict.reason == "in run.json, and not measured now"


def test_case_that_was_measured_or_not_covered_is_not_missing(baseline, case):
    assert find_missing(baseline, [(case, "tpot_s")], lambda record: True) == ()
    assert find_missing(baseline, [], lambda record: False) == ()


def test_case_with_other_settings_is_not_missing_too(baseline, case):
    changed = other(case, settings={"tf32": True})
    assert find_missing(baseline, [(changed, "tpot_s")], lambda record: True) == ()


def test_untimed_record_is_missing_under_its_first_metric(document):
    document["benchmarks"][0]["extra_info"]["timed"] = {}
    run = parse_run(document, Path("run.json"))
    missing = find_missing(run, (), lambda record: record.timed is None)
    assert [verdict.metric for _, verdict in missing] == ["tpot_s"]
