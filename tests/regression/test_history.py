from __future__ import annotations

import math

import pytest

from fixtures.regression.history import judge_history, list_medians
from fixtures.regression.verdict import Status

CALM = [1.000, 1.002, 0.998, 1.001, 0.999, 1.003, 0.997, 1.000, 1.001, 0.999]


def test_two_of_three_high_runs_are_a_regression():
    verdict = judge_history("tpot_s", [*CALM, 1.05, 1.00, 1.05])
    assert verdict.status is Status.REGRESSED
    assert verdict.reason == (
        "2 of the last 3 runs lie above the median of the 10 before by more than +3.0 %"
    )
    assert verdict.ratio == pytest.approx(1.05)


def test_one_spike_is_no_alarm():
    assert judge_history("tpot_s", [*CALM, 1.00, 1.30, 1.00]).status is Status.UNCHANGED


def test_two_low_runs_are_an_improvement():
    verdict = judge_history("tpot_s", [*CALM, 0.9, 0.9, 1.0])
    assert verdict.status is Status.IMPROVED
    assert "2 of the last 3 runs lie below" in verdict.reason


def test_creep_that_no_single_night_shows_is_seen():
    creep = [1.01**night for night in range(1, 11)]
    seen = [judge_history("tpot_s", CALM * 3 + creep[:night]).status for night in range(1, 11)]
    assert Status.REGRESSED in seen


def test_noisy_case_has_a_wider_margin():
    noisy = [1.0, 1.08, 0.92, 1.05, 0.95, 1.1, 0.9, 1.0, 1.04, 0.96]
    assert judge_history("tpot_s", [*noisy, 1.1, 1.1, 1.1]).status is Status.UNCHANGED


def test_short_history_is_undecided():
    verdict = judge_history("tpot_s", CALM[:7])
    assert verdict.status is Status.UNDECIDED
    assert verdict.reason == "not enough history (7 of 13 runs)"


def test_impossible_median_is_a_measuring_error():
    verdict = judge_history("tpot_s", [*CALM, math.nan])
    assert verdict.status is Status.MEASURING_ERROR
    assert verdict.reason == "a saved median is nan s"


def test_a_step_that_was_accepted_is_no_creep(build_run):
    # Twelve quiet nights, a step of a tenth that was meant, and one night behind it.
    day = "2026-01-{:02}T00:00:00+00:00".format
    before = [build_run(1.0, when=day(number)) for number in range(1, 13)]
    step, after = build_run(1.1, when=day(13)), build_run(1.1, when=day(14))
    runs, key = [*before, step, after], step.records[0].case.key
    steep = [*list_medians(key, "tpot_s", runs, None), 1.1]
    assert judge_history("tpot_s", steep).status is Status.REGRESSED
    step.document["accepted"] = {"reason": "meant", "sessions": {key: {"tpot_s": [1.1] * 13}}}
    level = [*list_medians(key, "tpot_s", runs, step), 1.1]
    assert level == pytest.approx([1.1] * 15, rel=0.001)
    assert judge_history("tpot_s", level).status is Status.UNCHANGED
    assert list_medians(key, "load_s", runs, step) == []
