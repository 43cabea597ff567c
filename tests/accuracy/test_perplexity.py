from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.accuracy.perplexity import compare_perplexity, perplexity
from fixtures.accuracy.scores import Scores


def scores(nll, cluster, label=None):
    zeros = np.zeros(len(nll), dtype=np.int64)
    return Scores(
        nll=np.array(nll, dtype=float),
        label=zeros if label is None else np.array(label),
        cluster=np.array(cluster),
        top1=zeros,
        margin=zeros.astype(float),
    )


def test_perplexity_is_the_geometric_mean_of_one_over_p():
    # Probabilities 1/2, 1/4, 1/8: (2 * 4 * 8) ** (1/3) = 4
    assert perplexity(np.log([2, 4, 8])) == pytest.approx(4)


def test_every_token_weighs_the_same_whatever_its_article():
    # A mean of the articles' perplexities would be (2 + 8) / 2 = 5.
    assert perplexity(np.log([2, 2, 8])) == pytest.approx(32 ** (1 / 3))


def test_perplexity_beyond_floats_is_infinite():
    assert perplexity([1000.0]) == math.inf


def test_perplexity_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one token"):
        perplexity([])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 700), min_size=1, max_size=20))
def test_perplexity_is_at_least_one(nll):
    assert perplexity(nll) >= 1


def test_comparison_is_paired_and_clustered():
    reference = scores([1, 5, 2, 8], [0, 0, 1, 1])
    variant = scores([1.1, 5.3, 2.5, 8.7], [0, 0, 1, 1])
    found = compare_perplexity(variant, reference)
    # Differences .1 .3 .5 .7, mean .4; by article -.4 and .4: sqrt((.16 + .16) * 2) / 4 = .2
    assert found.log_ratio == pytest.approx(0.4)
    assert found.ratio == pytest.approx(math.exp(0.4))
    assert found.standard_error == pytest.approx(0.2)
    assert found.z == pytest.approx(2.0)
    assert found.upper_ratio == pytest.approx(math.exp(0.4 + 1.645 * 0.2))


def test_pairing_cancels_what_is_hard_for_both():
    hard = np.random.default_rng(0).exponential(5, 200)
    article = np.arange(200) // 10
    found = compare_perplexity(scores(hard + 0.001, article), scores(hard, article))
    assert found.log_ratio == pytest.approx(0.001)
    assert found.standard_error < 1e-9


def test_ratio_is_that_of_the_two_perplexities():
    a, b = [0.3, 2.0, 1.0], [0.5, 1.0, 4.0]
    found = compare_perplexity(scores(a, [0, 1, 2]), scores(b, [0, 1, 2]))
    assert found.ratio == pytest.approx(perplexity(a) / perplexity(b))
    assert found.z < 0


def test_repeat_has_ratio_one_and_z_zero():
    same = scores([0.3, 2.0], [0, 1])
    found = compare_perplexity(same, same)
    assert (found.ratio, found.z, found.upper_ratio) == (1.0, 0.0, 1.0)


def test_scores_of_other_tokens_are_not_compared():
    with pytest.raises(ValueError, match="scored other tokens: the labels differ"):
        compare_perplexity(scores([1, 2], [0, 1], [4, 5]), scores([1, 2], [0, 1], [4, 6]))
    with pytest.raises(ValueError, match="scored other tokens: the clusters differ"):
        compare_perplexity(scores([1, 2], [0, 1]), scores([1, 2], [0, 2]))


def test_scores_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="arrays of one length"):
        scores([1, 2, 3], [0, 1])
