from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.regression.machine import taint_by_yardstick
from fixtures.regression.margin import Margin, floor_margin, learn_margin
from fixtures.regression.timing import confirm, doubt_unlearnt, judge_time, slower_p_value
from fixtures.regression.verdict import Status

FLOOR = floor_margin()
ROUNDS = [0.990, 0.992, 0.994, 0.996, 0.998, 1.000, 1.002, 1.004, 1.006, 1.008, 1.010, 1.012]

rounds = st.lists(st.floats(0.5, 2.0), min_size=10, max_size=20)
mirrored = {Status.REGRESSED: Status.IMPROVED, Status.IMPROVED: Status.REGRESSED}


def scale(samples, factor):
    return [value * factor for value in samples]


def test_five_per_cent_slower_is_regressed():
    verdict = judge_time("tpot_s", ROUNDS, scale(ROUNDS, 1.05), FLOOR)
    assert verdict.status is Status.REGRESSED
    assert verdict.ratio == pytest.approx(1.05)
    assert verdict.interval.low > 1.03
    assert verdict.limit == 0.03
    assert verdict.reason.startswith("slower by more than the margin")


def test_five_per_cent_faster_is_improved():
    verdict = judge_time("tpot_s", ROUNDS, scale(ROUNDS, 1 / 1.05), FLOOR)
    assert verdict.status is Status.IMPROVED
    assert verdict.reason.startswith("faster by more than the margin")


def test_p_value_is_the_textbook_one():
    # Every new round above every old one: U = 144, its mean 72, sd sqrt(12 * 12 * 25 / 12)
    # = 17.3205; z = (144 - 72 - 0.5) / 17.3205 = 4.1281; one-sided p = 1.83e-5.
    p = slower_p_value(ROUNDS, scale(ROUNDS, 1.5), 0.03)
    assert float(p) == pytest.approx(1.83e-5, rel=5e-3)


def test_scattered_rounds_are_undecided_and_say_what_they_could_show():
    new = [value * factor for value, factor in zip(ROUNDS, [0.9, 1.1] * 6, strict=True)]
    verdict = judge_time("tpot_s", ROUNDS, new, FLOOR)
    assert verdict.status is Status.UNDECIDED
    assert verdict.more_rounds_help
    assert re.match(r"a slowdown below \+\d+\.\d % would be lost in the scatter", verdict.reason)
    assert "margin not learnt yet (0 of 5 runs)" in verdict.reason


@given(old=rounds, new=rounds)
@settings(max_examples=40, deadline=None)
def test_smallest_change_shows_as_regressed(old, new):
    smallest = judge_time("tpot_s", old, new, FLOOR).smallest_change
    centred = np.asarray(new) * (np.median(old) / np.median(new))
    assert slower_p_value(old, centred * (1 + smallest) * (1 + 1e-9), 0.03) < 0.01


def test_less_than_the_smallest_change_does_not_show():
    # Ties make the test a hair sharper than the inversion takes it for, so there are none here.
    old, new = np.exp(np.random.default_rng(5).normal(0, 0.02, (2, 20)))
    smallest = judge_time("tpot_s", old, new, FLOOR).smallest_change
    centred = new * (np.median(old) / np.median(new))
    assert slower_p_value(old, centred * (1 + smallest) * (1 - 1e-9), 0.03) >= 0.01


@given(old=rounds, new=rounds)
@settings(max_examples=60, deadline=None)
def test_swapping_the_runs_mirrors_the_verdict(old, new):
    here = judge_time("tpot_s", old, new, FLOOR).status
    there = judge_time("tpot_s", new, old, FLOOR).status
    if here in mirrored or there in mirrored:
        assert mirrored[here] is there


@given(old=rounds, new=rounds, power=st.integers(-20, 20))
@settings(max_examples=40, deadline=None)
def test_the_unit_does_not_matter(old, new, power):
    plain = judge_time("tpot_s", old, new, FLOOR)
    scaled = judge_time("tpot_s", scale(old, 2.0**power), scale(new, 2.0**power), FLOOR)
    assert (plain.status, plain.ratio, plain.interval) == (
        scaled.status,
        scaled.ratio,
        scaled.interval,
    )


@given(samples=rounds)
@settings(max_examples=40, deadline=None)
def test_identical_samples_never_regress(samples):
    status = judge_time("tpot_s", samples, samples, FLOOR).status
    assert status in (Status.UNCHANGED, Status.UNDECIDED)


@given(old=rounds, new=rounds, repeats=st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_more_of_the_same_rounds_never_flip_the_verdict(old, new, repeats):
    few = judge_time("tpot_s", old, new, FLOOR).status
    many = judge_time("tpot_s", old, new * repeats, FLOOR).status
    assert {few, many} != {Status.REGRESSED, Status.IMPROVED}
    if few in mirrored:
        assert many is few


def test_constant_rounds_are_judged_without_an_error():
    assert judge_time("tpot_s", [1.0] * 10, [1.0] * 10, FLOOR).status is Status.UNCHANGED
    assert judge_time("tpot_s", [1.0] * 10, [1.04] * 10, FLOOR).status is Status.REGRESSED


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_impossible_round_is_a_measuring_error(bad):
    new = judge_time("tpot_s", ROUNDS, [*ROUNDS, bad], FLOOR)
    old = judge_time("tpot_s", [*ROUNDS, bad], ROUNDS, FLOOR)
    assert new.status is old.status is Status.MEASURING_ERROR
    assert "this run holds a round of" in new.reason
    assert "the baseline holds a round of" in old.reason


def test_nine_rounds_are_undecided():
    verdict = judge_time("tpot_s", ROUNDS, scale(ROUNDS[:9], 2), FLOOR)
    assert verdict.status is Status.UNDECIDED
    assert verdict.reason == "12 rounds against 9; each side needs 10"
    assert verdict.more_rounds_help
    assert not judge_time("tpot_s", ROUNDS[:9], ROUNDS, FLOOR).more_rounds_help


def test_margin_above_fifteen_per_cent_refuses_to_gate():
    margin = learn_margin([1.0, 1.1, 1.2, 0.9, 0.8])
    verdict = judge_time("tpot_s", ROUNDS, scale(ROUNDS, 2), margin)
    assert verdict.status is Status.UNDECIDED
    assert verdict.reason.startswith("too noisy to gate: margin +")


def test_baseline_is_judged_by_the_level_of_its_sessions():
    # The accepted run happened to be 4 % faster than its sessions agree on.
    margin = Margin(0.03, 0.01, 1.04, 9, "planted")
    assert judge_time("tpot_s", ROUNDS, scale(ROUNDS, 1.05), FLOOR).status is Status.REGRESSED
    verdict = judge_time("tpot_s", ROUNDS, scale(ROUNDS, 1.05), margin)
    assert verdict.status is Status.UNCHANGED
    assert verdict.old == pytest.approx(1.04)
    assert verdict.ratio == pytest.approx(1.05 * 1.001 / 1.04)


def test_steady_rounds_of_wandering_sessions_are_not_called_unchanged():
    margin = Margin(0.06, 0.06, 1.0, 9, "planted")
    steady = [1 + 0.0001 * step for step in range(-5, 6)]
    verdict = judge_time("tpot_s", steady, steady, margin)
    assert verdict.status is Status.UNDECIDED
    assert "would be lost in what its sessions differ by" in verdict.reason
    assert not verdict.more_rounds_help


def test_what_is_not_learnt_yet_is_not_said_to_be_known():
    steady = [1 + 0.0001 * step for step in range(-5, 6)]
    verdict = judge_time("tpot_s", steady, scale(steady, 1.025), FLOOR)
    assert verdict.status is Status.UNDECIDED
    assert "would be lost in what its sessions may differ by; margin not learnt" in verdict.reason


def test_suspect_that_repeats_stays_regressed():
    slow = judge_time("tpot_s", ROUNDS, scale(ROUNDS, 1.1), FLOOR)
    again = confirm(slow, slow)
    assert again.status is Status.REGRESSED
    assert again.reason.endswith("measured again after a pause")


def test_suspect_that_does_not_repeat_is_undecided():
    slow = judge_time("tpot_s", ROUNDS, scale(ROUNDS, 1.1), FLOOR)
    calm = judge_time("tpot_s", ROUNDS, ROUNDS, FLOOR)
    verdict = confirm(slow, calm)
    assert verdict.status is Status.UNDECIDED
    assert verdict.reason == (
        "regressed at +10.0 % when first measured, unchanged at +0.0 % when measured again"
    )


def test_measuring_error_on_the_second_try_is_kept():
    slow = judge_time("tpot_s", ROUNDS, scale(ROUNDS, 1.1), FLOOR)
    broken = judge_time("tpot_s", ROUNDS, [math.nan] * 12, FLOOR)
    assert confirm(slow, broken).status is Status.MEASURING_ERROR


def test_unchanged_quiet_code_never_alarms_and_five_per_cent_always_does():
    random = np.random.default_rng(3)
    old, new = np.exp(random.normal(0, 0.005, (2, 20_000, 20)))
    assert (slower_p_value(old, new, 0.03) < 0.01).mean() <= 0.001
    assert (slower_p_value(old, new * 1.05, 0.03) < 0.01).mean() >= 0.95


@pytest.mark.parametrize(
    ("metric", "factor", "status"),
    [
        ("tpot_s", 1.4, Status.UNDECIDED),
        ("tpot_s", 1.6, Status.REGRESSED),
        ("paired:tpot_s", 0.7, Status.UNDECIDED),  # 1 / 1.43
        ("paired:tpot_s", 0.6, Status.IMPROVED),
        ("gpu_work:tpot_s", 1.12, Status.UNDECIDED),
        ("gpu_work:tpot_s", 1.2, Status.REGRESSED),
        ("tpot_s", 1.0, Status.UNCHANGED),
    ],
)
def test_move_within_reach_of_sessions_is_left_open_while_no_margin_is_learnt(
    metric, factor, status
):
    verdict = judge_time(metric, ROUNDS, scale(ROUNDS, factor), FLOOR)
    assert doubt_unlearnt(verdict, FLOOR).status is status
    learnt = learn_margin([1.0] * 5)
    judged = judge_time(metric, ROUNDS, scale(ROUNDS, factor), learnt)
    assert doubt_unlearnt(judged, learnt) is judged


@pytest.mark.parametrize(("metric", "limit"), [("load_s", 0.5), ("gpu_work:tpot_s", 0.15)])
def test_what_stands_without_a_margin_is_held_to_what_sessions_may_differ_by(metric, limit):
    slower = doubt_unlearnt(judge_time(metric, ROUNDS, scale(ROUNDS, 3.3), FLOOR), FLOOR)
    assert slower.status is Status.REGRESSED
    assert slower.limit == limit


@pytest.mark.parametrize(("own", "status"), [(1.06, Status.UNDECIDED), (1.6, Status.REGRESSED)])
def test_burst_that_was_over_beside_the_yardstick_is_no_regression_without_a_margin(own, status):
    slower = doubt_unlearnt(judge_time("load_s", ROUNDS, scale(ROUNDS, 3.3), FLOOR), FLOOR)
    assert taint_by_yardstick(slower, own=own, yardstick=1.01).status is status
