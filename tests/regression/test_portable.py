from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.regression.portable import (
    SpeedUp,
    judge_portable_bytes,
    judge_speed_up,
    measure_speed_up,
)
from fixtures.regression.verdict import Status
from fixtures.stats import Interval


def test_speed_up_is_reference_time_over_variant_time():
    found = measure_speed_up([2.0] * 10, [1.0] * 10)
    assert found == SpeedUp(2.0, Interval(2.0, 2.0))


def test_impossible_round_has_no_speed_up():
    with pytest.raises(ValueError, match="a speed-up needs rounds above zero"):
        measure_speed_up([1.0, 0.0], [1.0, 1.0])


@pytest.mark.parametrize(
    ("ratio", "spread", "status"),
    [
        (2.0, 0.01, Status.UNCHANGED),
        (1.7, 0.01, Status.UNCHANGED),
        (1.4, 0.01, Status.REGRESSED),
        (1.4, 0.5, Status.UNDECIDED),
        (2.9, 0.01, Status.IMPROVED),
    ],
)
def test_speed_up_may_differ_by_thirty_per_cent_between_devices(ratio, spread, status):
    old = SpeedUp(2.0, Interval(1.98, 2.02))
    new = SpeedUp(ratio, Interval(ratio - spread, ratio + spread))
    verdict = judge_speed_up("tpot_s", old, new)
    assert verdict.status is status
    assert verdict.metric == "speed_up:tpot_s"
    assert "2.00x on the other device; limit +30.0 %" in verdict.reason


def test_interval_is_of_the_ratio_between_the_devices():
    old, new = SpeedUp(2.0, Interval(1.9, 2.1)), SpeedUp(1.2, Interval(1.198, 1.205))
    verdict = judge_speed_up("tpot_s", old, new)
    # 1.2 / 2.0, and at most 1.198 / 2.1 to 1.205 / 1.9.
    assert verdict.ratio == pytest.approx(0.6)
    assert verdict.interval == pytest.approx((0.570476, 0.634211), rel=1e-5)


def test_only_sizes_that_carry_over_are_judged(build_run):
    record = build_run().records[0]
    old = replace(record, metrics={"weights_bytes": 1000, "rss_peak_bytes": 5, "tpot_s": 1.0})
    new = replace(record, metrics={"weights_bytes": 2000, "rss_peak_bytes": 9, "tpot_s": 9.0})
    (verdict,) = judge_portable_bytes(old, new)
    assert (verdict.metric, verdict.status) == ("weights_bytes", Status.REGRESSED)
