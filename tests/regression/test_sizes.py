from __future__ import annotations

import math

import pytest

from fixtures.regression.limits import BYTES_LIMITS
from fixtures.regression.sizes import judge_bytes, judge_energy, judge_share
from fixtures.regression.verdict import Status
from fixtures.units import GIB, MIB


@pytest.mark.parametrize("metric", ["peak_allocated_bytes", "weights_bytes", "storage_bytes"])
def test_two_per_cent_more_is_caught_however_small_the_model(metric):
    verdict = judge_bytes(metric, 5_000_000, 5_100_000)
    assert verdict.status is Status.REGRESSED
    assert verdict.reason == "97.66 KiB more; allowed +0.1 %"


# What a GPU's allocator makes of tensors, and the driver of that: their own bytes are beside it.
SEGMENTED = ("peak_reserved_bytes", "nvml_process_bytes", "nvml_device_bytes")


@pytest.mark.parametrize("metric", [name for name in BYTES_LIMITS if name not in SEGMENTED])
def test_two_per_cent_of_two_gibibytes_is_always_caught(metric):
    assert judge_bytes(metric, 2 * GIB, 2.04 * GIB).status is Status.REGRESSED


def test_a_resident_set_may_grow_by_pages():
    assert judge_bytes("rss_peak_bytes", GIB, GIB + 20 * MIB).status is Status.UNCHANGED
    # 1 % of 1 GiB is 10.24 MiB, and 16 MiB of slack: 26.24 MiB.
    assert judge_bytes("rss_peak_bytes", GIB, GIB + 27 * MIB).status is Status.REGRESSED


@pytest.mark.parametrize("metric", SEGMENTED)
def test_what_a_gpu_reserves_may_grow_by_segments(metric):
    # 10 % of 1 GiB is 102.4 MiB, and 64 MiB of slack: 166.4 MiB.
    assert judge_bytes(metric, GIB, GIB + 166 * MIB).status is Status.UNCHANGED
    assert judge_bytes(metric, GIB, GIB + 167 * MIB).status is Status.REGRESSED


def test_fewer_bytes_are_improved():
    verdict = judge_bytes("weights_bytes", 2000, 1000)
    assert (verdict.status, verdict.ratio) == (Status.IMPROVED, 0.5)


def test_absent_figures_are_named_and_never_compared():
    assert judge_bytes("weights_bytes", 1000, None).status is Status.MISSING
    assert judge_bytes("weights_bytes", None, 1000).status is Status.NEW
    assert judge_bytes("nvml_process_bytes", None, None).status is Status.UNCHANGED


@pytest.mark.parametrize("bad", [math.nan, -1])
def test_impossible_bytes_are_a_measuring_error(bad):
    verdict = judge_bytes("weights_bytes", 1000, bad)
    assert verdict.status is Status.MEASURING_ERROR
    assert verdict.reason == f"this run holds {bad}"


def test_metric_without_a_limit_is_refused():
    with pytest.raises(ValueError, match=r"ttft_s has no byte limit; known: peak_allocated_bytes"):
        judge_bytes("ttft_s", 1, 1)
    with pytest.raises(ValueError, match="ttft_s has no share limit; known: energy_j_per_token"):
        judge_share("ttft_s", 1, 1)


def test_more_energy_is_worse_and_more_speed_is_better():
    assert judge_share("energy_j_per_token", 1.0, 1.2).status is Status.REGRESSED
    assert judge_share("energy_j_per_token", 1.2, 1.0).status is Status.IMPROVED
    assert judge_share("speed_up", 2.0, 1.0).status is Status.REGRESSED
    assert judge_share("speed_up", 1.0, 2.0).status is Status.IMPROVED
    assert judge_share("speed_up", 2.0, 1.9).status is Status.UNCHANGED


def test_adapter_that_appears_from_nothing_is_regressed():
    assert judge_bytes("adapter_bytes", 0, 4096).status is Status.REGRESSED
    assert judge_share("trainable_share", 0.0, 0.0).status is Status.UNCHANGED
    assert judge_share("trainable_share", 0.0, 0.1).reason.startswith("change from zero")


# 2 J in 20 ms a token is 100 W.
@pytest.mark.parametrize(
    ("new", "new_s", "status"),
    [
        (3.0, 0.030, Status.UNDECIDED),  # 100 W for half as long again
        (3.4, 0.030, Status.REGRESSED),  # 113 W: beyond 10 % of 3 J
        (2.3, 0.010, Status.REGRESSED),  # a faster step excuses nothing
        (2.1, 0.030, Status.UNCHANGED),
        (2.3, None, Status.REGRESSED),
    ],
)
def test_energy_that_the_time_accounts_for_is_for_the_time_to_tell(new, new_s, status):
    assert judge_energy(2.0, new, 0.020, new_s).status is status


def test_energy_left_open_says_how_much_longer_a_token_took():
    verdict = judge_energy(2.0, 3.0, 0.020, 0.030)
    assert verdict.reason == (
        "change +50.0 %; limit +10.0 %; a token took +50.0 % longer in its window"
    )
