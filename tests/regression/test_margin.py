from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.regression.margin import Margin, floor_margin, learn_margin, widen_by_pairs


def test_four_runs_are_too_few_to_learn_from():
    margin = learn_margin([1.0, 1.5, 2.0, 2.5])
    assert margin.share == 0.03
    assert margin.level is None
    assert margin.reason == "margin not learnt yet (4 of 5 runs)"


def test_quiet_runs_have_the_floor():
    margin = learn_margin([1.000, 1.001, 0.999, 1.002, 1.000])
    assert margin.share == 0.03
    assert margin.level == 1.0
    assert margin.reach < 0.006


def test_ten_runs_give_three_standard_deviations():
    # Logarithms -0.02 and +0.02, five each: sd = 0.02 * sqrt(10 / 9).
    medians = [math.exp(0.02), math.exp(-0.02)] * 5
    assert learn_margin(medians).share == pytest.approx(math.expm1(3 * 0.02 * math.sqrt(10 / 9)))


def test_five_runs_are_widened_by_the_prediction_factor():
    # t(0.99, 4) = 3.747 in any table; times sqrt(6 / 5) is 4.105.
    medians = [math.exp(x) for x in (-0.02, -0.01, 0.0, 0.01, 0.02)]
    spread = math.sqrt(0.001 / 4)
    assert math.log1p(learn_margin(medians).share) == pytest.approx(4.105 * spread, rel=1e-3)


def test_one_disturbed_session_of_six_does_not_widen_the_margin():
    calm = [1.00, 1.01, 0.99, 1.01, 0.99]
    margin = learn_margin([*calm, 1.6])
    assert margin.share == pytest.approx(learn_margin(calm).share)
    assert margin.reason.endswith("1 disturbed left out")


def test_two_disturbed_sessions_of_six_are_how_the_case_is():
    assert learn_margin([1.00, 1.01, 0.99, 1.01, 1.6, 1.7]).share > 0.5


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_impossible_median_is_refused(bad):
    with pytest.raises(ValueError, match="finite and above zero"):
        learn_margin([1.0, bad])


def test_margin_without_a_share_is_refused():
    with pytest.raises(ValueError, match="is no share"):
        Margin(0.0, 0.0, None, 0, "")


def test_unlearnt_margin_counts_its_runs():
    assert floor_margin(runs=3).reason == "margin not learnt yet (3 of 5 runs)"


def test_time_is_no_steadier_than_its_ratio_to_a_partners():
    own = learn_margin([2.25, 2.26, 2.24, 2.25, 2.25])
    # t(0.99, 4) x sqrt(6 / 5) as above, of sd 0.02.
    ratios = learn_margin([math.exp(x) for x in (-0.02, 0.02, 0.02, -0.02, 0.0)])
    margin = widen_by_pairs(own, ratios)
    assert margin.share == pytest.approx(math.expm1(4.105 * 0.02), rel=1e-3)
    assert margin.level == 2.25  # the ratios' own, 1.0, is no time
    assert margin.reason == "margin +8.6 %: 5 runs differ by +2.0 % (sd), beside its partner"


@given(*[st.lists(st.floats(0.5, 2.0), max_size=12)] * 2)
def test_ratios_only_ever_widen_a_margin(times, ratios):
    own = learn_margin(times)
    margin = widen_by_pairs(own, learn_margin(ratios))
    assert margin.share >= own.share
    assert margin.level == own.level
    assert own is margin or margin.share > own.share
