from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.stats import (
    clustered_standard_error,
    draw_shares,
    log_sd,
    percentile_interval,
    ratio_of_medians_interval,
)


def test_log_sd_is_relative():
    assert log_sd([1, math.e, math.e**2]) == pytest.approx(1)
    assert log_sd([10, 10 * math.e, 10 * math.e**2]) == pytest.approx(1)


@pytest.mark.parametrize("values", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, math.nan]])
def test_log_sd_refuses_what_has_no_logarithm(values):
    with pytest.raises(ValueError, match="two or more values above zero"):
        log_sd(values)


def test_clustered_error_equals_the_sum_by_hand():
    # Mean 4, sums by cluster -4 and 4: sqrt((16 + 16) * 2 / 1) / 4
    assert clustered_standard_error([1, 3, 5, 7], [0, 0, 1, 1]) == pytest.approx(2)


def test_clusters_of_one_give_the_plain_error():
    # Deviations -3, -1, 1, 3 with n - 1: sqrt(20 / 3) / 2
    assert clustered_standard_error([1, 3, 5, 7], [4, 9, 2, 0]) == pytest.approx(
        (20 / 3) ** 0.5 / 2
    )


def test_order_and_names_of_clusters_do_not_matter():
    assert clustered_standard_error([7, 1, 5, 3], [80, 3, 80, 3]) == pytest.approx(2)


def test_repeating_each_token_adds_no_information():
    values, clusters = np.array([1.0, 3, 6, 7]), np.array([0, 0, 1, 1])
    once = clustered_standard_error(values, clusters)
    assert clustered_standard_error(values.repeat(9), clusters.repeat(9)) == pytest.approx(once)


@pytest.mark.parametrize(("values", "clusters"), [([], []), ([1.0, 2.0], [3, 3])])
def test_one_cluster_has_no_error(values, clusters):
    with pytest.raises(ValueError, match="two or more clusters"):
        clustered_standard_error(values, clusters)


tokens = st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 5)), min_size=2, max_size=30)


@settings(max_examples=50, deadline=None)
@given(tokens)
def test_clustered_error_is_the_double_sum_over_pairs_in_a_cluster(pairs):
    clusters = [cluster for _, cluster in pairs]
    groups = len(set(clusters))
    if groups < 2:
        pairs, clusters, groups = [(1.0, 0), (2.0, 1)], [0, 1], 2
    mean = sum(value for value, _ in pairs) / len(pairs)
    total = sum(
        (a - mean) * (b - mean) for a, first in pairs for b, second in pairs if first == second
    )
    expected = math.sqrt(max(total, 0) * groups / (groups - 1)) / len(pairs)
    values = [value for value, _ in pairs]
    assert clustered_standard_error(values, clusters) == pytest.approx(expected, abs=1e-6)


def bootstrap_mean(values, confidence=0.95, resamples=2000):
    return percentile_interval(draw_shares(len(values), resamples) @ values, confidence)


def test_shares_are_of_as_many_values_as_there_are():
    shares = draw_shares(4, resamples=500)
    assert shares.shape == (500, 4)
    assert np.array_equal(shares.sum(axis=1), np.ones(500))
    assert set(np.unique(shares)) == {0, 0.25, 0.5, 0.75, 1}  # 1 in one resample of 64
    assert shares.mean(axis=0) == pytest.approx([0.25] * 4, abs=0.05)


def test_bootstrap_of_two_values_reaches_both():
    # The mean of two draws is 0 or 1 in a quarter of the cases each, far above 2.5 %.
    assert bootstrap_mean([0.0, 1.0]) == (0.0, 1.0)


def test_bootstrap_interval_is_the_normal_one_for_many_values():
    values = np.random.default_rng(1).normal(10, 2, 2000)
    low, high = bootstrap_mean(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 10)


def test_more_confidence_is_wider():
    values = np.random.default_rng(1).normal(0, 1, 30)
    narrow, wide = (bootstrap_mean(values, confidence) for confidence in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_draws_repeat_themselves():
    first = draw_shares(3, resamples=50).copy()
    draw_shares.cache_clear()
    assert np.array_equal(draw_shares(3, resamples=50), first)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=15))
def test_bootstrap_interval_contains_the_mean(values):
    low, high = bootstrap_mean(values, resamples=1000)
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert min(values) - slack <= low <= np.mean(values) + slack
    assert np.mean(values) - slack <= high <= max(values) + slack


def test_ratio_of_medians_is_new_over_old():
    interval = ratio_of_medians_interval([2.0] * 10, [3.0] * 10)
    assert interval == (1.5, 1.5)


def test_ratio_interval_contains_the_ratio_and_scales_with_it():
    random = np.random.default_rng(2)
    old, new = random.lognormal(0, 0.05, 40), random.lognormal(0.1, 0.05, 40)
    low, high = ratio_of_medians_interval(old, new)
    assert low < np.median(new) / np.median(old) < high
    assert high - low < 0.1
    assert ratio_of_medians_interval(old, new * 3) == pytest.approx((low * 3, high * 3))


def test_ratio_interval_agrees_with_scipy():
    from scipy.stats import bootstrap

    random = np.random.default_rng(3)
    old, new = random.lognormal(0, 0.1, 30), random.lognormal(0, 0.1, 25)
    expected = bootstrap(
        (old, new),
        lambda a, b, axis: np.median(b, axis=axis) / np.median(a, axis=axis),
        confidence_level=0.98,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(4),
    ).confidence_interval
    found = ratio_of_medians_interval(old, new, resamples=4000)
    assert found == pytest.approx((expected.low, expected.high), abs=0.02)


@pytest.mark.parametrize(("old", "new"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], [])])
def test_interval_of_too_few_samples_is_refused(old, new):
    with pytest.raises(ValueError, match="two or more samples on each side"):
        ratio_of_medians_interval(old, new)


def test_bootstrap_of_one_value_is_refused():
    with pytest.raises(ValueError, match="two or more values"):
        draw_shares(1)
