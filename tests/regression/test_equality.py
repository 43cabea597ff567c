from __future__ import annotations

import math

import pytest

from fixtures.regression.equality import judge_equal_logits, judge_equal_losses, judge_split
from fixtures.regression.verdict import Status


@pytest.mark.parametrize(
    ("gap", "status"),
    [(0.0, Status.UNCHANGED), (9e-6, Status.UNCHANGED), (1.1e-5, Status.REGRESSED)],
)
def test_losses_may_differ_by_a_hundred_thousandth_of_a_nat(gap, status):
    verdict = judge_equal_losses([3.0, 2.0, 1.0], [3.0, 2.0 - gap, 1.0])
    assert verdict.status is status
    assert verdict.new == pytest.approx(gap, rel=1e-6, abs=1e-15)
    assert verdict.reason.startswith("3 losses differ from one worker's by up to ")


def test_a_loss_that_is_no_number_is_a_measuring_error():
    verdict = judge_equal_losses([3.0, 2.0], [3.0, math.nan])
    assert verdict.status is Status.MEASURING_ERROR


@pytest.mark.parametrize(("alone", "together"), [([], []), ([1.0], [1.0, 2.0])])
def test_losses_that_do_not_pair_are_refused(alone, together):
    with pytest.raises(ValueError, match="losses cannot be compared with"):
        judge_equal_losses(alone, together)


@pytest.mark.parametrize(
    ("gap", "status"),
    [
        (0.0, Status.UNCHANGED),
        (9e-5, Status.UNCHANGED),
        (2e-4, Status.REGRESSED),
        (math.inf, Status.MEASURING_ERROR),
    ],
)
def test_logits_may_differ_by_a_ten_thousandth_of_the_largest(gap, status):
    assert judge_equal_logits(gap).status is status


@pytest.mark.parametrize(
    ("share", "status"), [(0.5, Status.UNCHANGED), (1.0, Status.MEASURING_ERROR)]
)
def test_a_model_that_one_device_holds_whole_is_not_split(share, status):
    verdict = judge_split(share)
    assert verdict.status is status
    assert verdict.reason == f"one device holds {100 * share:.0f}% of the parameters; limit 80%"
