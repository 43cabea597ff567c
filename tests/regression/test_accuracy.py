from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.regression.accuracy import judge_loss, judge_rouge, judge_rouge_unscaled, judge_top1
from fixtures.regression.verdict import Status
from fixtures.stats import Interval

NF4 = math.log(1.05)


def test_significant_but_tolerable_loss_passes():
    # NF4 on a tiny GPT-2: 0.807e-3 +- 0.166e-3 nats, z = 4.9.
    assert judge_loss("ppl_ratio", 0.807e-3, 0.166e-3, NF4, 400).status is Status.UNCHANGED


def test_loss_beyond_the_tolerance_fails_with_effect_interval_and_threshold():
    verdict = judge_loss("kl_nats", 1.048e-3, 0.038e-3, 1e-6, 400)
    assert verdict.status is Status.REGRESSED
    assert verdict.reason == "1.05e-03 nats [9.85e-04, 1.11e-03], tolerance 1.00e-06"


def test_loss_that_cannot_be_told_states_the_articles_needed():
    # The error must shrink from 0.02 to 0.01 / 3: six times, so 36 times 10 articles.
    verdict = judge_loss("ppl_ratio", 0.011, 0.02, 0.01, 10)
    assert verdict.status is Status.UNDECIDED
    assert "about 360 articles would settle it, not 10" in verdict.reason
    # To 0.005 / 1.645, or the upper bound would not come under 0.01: 6.58 squared is 43.29.
    verdict = judge_loss("ppl_ratio", 0.005, 0.02, 0.01, 10)
    assert "about 433 articles would settle it, not 10" in verdict.reason


def test_loss_below_zero_needs_no_more_than_its_bound():
    # 1.645 x 0.0123 is 0.0202, and from -0.01 to 0.01 there is room for 0.02.
    verdict = judge_loss("ppl_ratio", -0.01, 0.0123, 0.01, 100)
    assert verdict.status is Status.UNDECIDED
    assert "about 103 articles would settle it, not 100" in verdict.reason


def test_loss_within_its_tolerance_is_never_called_regressed():
    # T5-small in bf16 on an H200: 200 articles, and a bound on the far side of the tolerance.
    verdict = judge_loss("kl_nats", 7.95e-5, 2.39e-5, 1e-4, 200)
    assert verdict.status is Status.UNDECIDED
    assert judge_loss("kl_nats", 1.05e-4, 2.39e-5, 1e-4, 200).status is Status.REGRESSED


def test_loss_far_beyond_a_wide_interval_fails_all_the_same():
    assert judge_loss("ppl_ratio", 1.0, 0.02, 0.01, 10).status is Status.REGRESSED


def test_adapter_no_better_than_its_base_is_undecided_or_fails():
    assert judge_loss("ppl_ratio", -0.2, 0.01, 0.0, 400).status is Status.UNCHANGED
    assert judge_loss("ppl_ratio", 0.2, 0.01, 0.0, 400).status is Status.REGRESSED
    verdict = judge_loss("ppl_ratio", 0.0, 0.01, 0.0, 400)
    assert "no count of articles settles a tolerance of zero" in verdict.reason


@given(loss=st.floats(-0.01, 0.01), error=st.floats(0, 0.01), worse=st.floats(0, 0.01))
@settings(max_examples=60, deadline=None)
def test_a_larger_loss_never_turns_a_failure_into_a_pass(loss, error, worse):
    order = [Status.UNCHANGED, Status.UNDECIDED, Status.REGRESSED]
    here, there = (
        order.index(judge_loss("kl_nats", nats, error, 0.002, 50).status)
        for nats in (loss, loss + worse)
    )
    assert there >= here


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_loss_that_is_no_number_is_a_measuring_error(bad):
    assert judge_loss("kl_nats", bad, 0.1, 0.1, 9).status is Status.MEASURING_ERROR
    assert judge_loss("kl_nats", 0.1, -0.1, 0.1, 9).status is Status.MEASURING_ERROR


def test_top1_fails_only_when_its_whole_interval_is_below_the_floor():
    assert judge_top1(0.9637, 0.96, 29_292).status is Status.UNCHANGED
    # sd = sqrt(0.95 * 0.05 / 99) = 0.0219: 0.95 + 1.645 sd = 0.986.
    verdict = judge_top1(0.95, 0.96, 100)
    assert verdict.status is Status.UNDECIDED
    assert "0.9500 [0.9140, 0.9860], floor 0.9600" in verdict.reason
    assert judge_top1(0.95, 0.96, 29_292).status is Status.REGRESSED
    assert judge_top1(1.2, 0.96, 100).status is Status.MEASURING_ERROR


def test_rouge_is_held_to_a_share_of_the_reference():
    assert judge_rouge("rouge2", 0.995, Interval(0.98, 1.01), 0.99, 200).status is Status.UNCHANGED
    assert judge_rouge("rouge2", 0.985, Interval(0.97, 1.0), 0.99, 200).status is Status.UNDECIDED
    assert judge_rouge("rouge2", 0.97, Interval(0.95, 0.98), 0.99, 200).status is Status.REGRESSED
    broken = judge_rouge("rouge2", math.nan, Interval(0.95, 0.98), 0.99, 200)
    assert broken.status is Status.MEASURING_ERROR


@pytest.mark.parametrize(
    ("difference", "interval", "reference", "status"),
    [
        (-0.2, Interval(-0.3, -0.1), 0.2, Status.REGRESSED),  # all that there was
        (-0.02, Interval(-0.06, 0.0), 0.02, Status.UNDECIDED),  # of one article in ten
        (0.0, Interval(0.0, 0.0), 0.02, Status.UNCHANGED),
        (0.0, Interval(0.0, 0.0), 0.0, Status.UNDECIDED),  # neither says anything
    ],
)
def test_rouge_without_a_ratio_is_judged_by_the_difference(difference, interval, reference, status):
    verdict = judge_rouge_unscaled("rouge2", difference, interval, reference, 0.99, 10)
    assert verdict.status is status
