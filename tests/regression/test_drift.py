from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.regression.differences import ArticleDifferences, DifferencesError
from fixtures.regression.drift import (
    judge_drift,
    judge_kl_drift,
    judge_reference_drift,
    judge_rouge_drift,
)
from fixtures.regression.verdict import Status
from fixtures.stats import clustered_standard_error

CLUSTERS = np.repeat(np.arange(400), 73)


def draw(mean: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.03, CLUSTERS.size)


@given(
    pairs=st.lists(
        st.tuples(st.integers(1, 5000), st.floats(-1e3, 1e3, width=32)), min_size=2, max_size=40
    )
)
@settings(max_examples=40, deadline=None)
def test_encoding_keeps_every_article(pairs):
    tokens, sums = zip(*pairs, strict=True)
    saved = ArticleDifferences(tokens, sums)
    assert ArticleDifferences.decode(json.loads(json.dumps(saved.encode()))) == saved


def test_four_hundred_articles_fit_five_kilobytes():
    assert len(json.dumps(ArticleDifferences.from_tokens(draw(0), CLUSTERS).encode())) < 5000


def test_sums_keep_the_mean_and_its_clustered_error():
    old, new = draw(0.001), draw(0.001, seed=1)
    verdict = judge_drift(
        ArticleDifferences.from_tokens(old, CLUSTERS), ArticleDifferences.from_tokens(new, CLUSTERS)
    )
    assert verdict.old == pytest.approx(old.mean(), rel=1e-4)
    reach = (verdict.interval.high - verdict.interval.low) / 2
    assert reach == pytest.approx(3 * clustered_standard_error(new - old, CLUSTERS), rel=1e-4)


def test_unchanged_repeat_is_unchanged():
    same = ArticleDifferences.from_tokens(draw(0.001), CLUSTERS)
    assert judge_drift(same, same).status is Status.UNCHANGED


def test_small_common_shift_is_caught_though_far_within_any_tolerance():
    old = draw(0.0008)
    move = judge_drift(
        ArticleDifferences.from_tokens(old, CLUSTERS),
        ArticleDifferences.from_tokens(old + 0.0001, CLUSTERS),
    )
    assert move.status is Status.REGRESSED
    assert move.reason.startswith("moved by 1.00e-04 nats from")
    assert move.reason.endswith("limit 1.00e-05")


def test_shift_the_other_way_is_improved():
    old = draw(0.0008)
    move = judge_drift(
        ArticleDifferences.from_tokens(old, CLUSTERS),
        ArticleDifferences.from_tokens(old - 0.0001, CLUSTERS),
    )
    assert move.status is Status.IMPROVED


def test_other_tokens_are_refused():
    old = ArticleDifferences((3, 4), (0.0, 0.0))
    new = ArticleDifferences((3, 5), (0.0, 0.0))
    with pytest.raises(DifferencesError, match="2 articles with 7 tokens, then 2 with 8"):
        judge_drift(old, new)


@pytest.mark.parametrize(
    "saved", [{}, {"tokens": "AAAA", "sums": "AAAA"}, {"tokens": "!", "sums": ""}, {"tokens": 3}]
)
def test_damaged_differences_are_refused(saved):
    with pytest.raises(DifferencesError, match="saved differences cannot be read"):
        ArticleDifferences.decode(saved)


@pytest.mark.parametrize(
    ("tokens", "sums"), [((1,), (0.0,)), ((1, 0), (0.0, 0.0)), ((1, 1), (0.0, math.nan))]
)
def test_impossible_differences_are_refused(tokens, sums):
    with pytest.raises(DifferencesError, match="differences need"):
        ArticleDifferences(tokens, sums)


def test_kl_drift_needs_a_quarter_and_two_standard_errors():
    # NF4 6.26e-4 +- 0.25e-4; with a planted LayerNorm eps the KL doubles.
    assert judge_kl_drift(6.26e-4, 2.5e-5, 7.0e-4, 2.5e-5).status is Status.UNCHANGED
    assert judge_kl_drift(6.26e-4, 2.5e-5, 1.2e-3, 4e-5).status is Status.REGRESSED
    assert judge_kl_drift(1.2e-3, 4e-5, 6.26e-4, 2.5e-5).status is Status.IMPROVED
    assert judge_kl_drift(6.26e-4, 1e-3, 1.2e-3, 1e-3).status is Status.UNCHANGED


def test_rounding_of_logits_is_no_drift():
    assert judge_kl_drift(0.0, 0.0, 1e-8, 0.0).status is Status.UNCHANGED
    assert judge_kl_drift(0.0, 0.0, 6e-4, 0.0).status is Status.REGRESSED


def test_negative_kl_is_a_measuring_error():
    assert judge_kl_drift(1e-4, 1e-5, -1e-3, 1e-5).status is Status.MEASURING_ERROR


def test_reference_whose_articles_moved_apart_drifts_though_its_mean_stays():
    old = ArticleDifferences((10, 10), (20.0, 20.0))
    # +-1e-3 nats over 10 tokens: each article moves by 1e-4 a token, the mean by nothing.
    new = ArticleDifferences((10, 10), (20.001, 19.999))
    assert judge_drift(old, new).status is Status.UNCHANGED
    verdict = judge_reference_drift(old, new)
    assert verdict.status is Status.REGRESSED
    assert verdict.reason == (
        "the reference's articles moved by 1.00e-04 nats a token (rms); limit 1.00e-05"
    )


def test_reference_that_repeats_to_its_rounding_is_unchanged():
    old = ArticleDifferences((10, 10), (20.0, 20.0))
    new = ArticleDifferences((10, 10), (20.00005, 20.0))
    assert judge_reference_drift(old, old).status is Status.UNCHANGED
    assert judge_reference_drift(old, new).status is Status.UNCHANGED


def test_reference_over_other_tokens_is_refused():
    old = ArticleDifferences((3, 4), (0.0, 0.0))
    with pytest.raises(DifferencesError, match="2 articles with 7 tokens, then 2 with 8"):
        judge_reference_drift(old, ArticleDifferences((3, 5), (0.0, 0.0)))


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (0.96, 0.96, Status.UNCHANGED),
        (0.96, 0.94, Status.UNCHANGED),  # 2.1 %
        (0.96, 0.93, Status.REGRESSED),  # 3.1 %
        (0.96, 0.09, Status.REGRESSED),
        (0.09, 0.96, Status.IMPROVED),
        (0.0, 0.5, Status.UNDECIDED),
        (0.96, None, Status.MISSING),
    ],
)
def test_reference_must_write_as_well_as_it_wrote(old, new, status):
    verdict = judge_rouge_drift(old, new)
    assert (verdict.metric, verdict.status) == ("rougeL_drift", status)
