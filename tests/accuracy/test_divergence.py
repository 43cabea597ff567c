from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.accuracy.divergence import summarise_divergence
from fixtures.accuracy.scores import Scores


def scores(top1, label=(0, 0, 0, 0), margin=(1, 1, 1, 1), p=(1, 1, 1, 1), kl=None):
    return Scores(
        nll=-np.log(p),
        label=np.array(label),
        cluster=np.arange(len(label)) // 2,
        top1=np.array(top1),
        margin=np.array(margin, dtype=float),
        kl=None if kl is None else np.array(kl, dtype=float),
    )


def test_kl_is_summed_up_over_tokens_and_articles():
    found = summarise_divergence(scores([0] * 4, kl=[1, 3, 5, 7]), scores([0] * 4))
    assert (found.kl_nats, found.median_nats, found.max_nats) == (4, 4, 7)
    # By article -4 and 4: sqrt((16 + 16) * 2) / 4 = 2
    assert found.standard_error == pytest.approx(2)
    assert found.upper_nats == pytest.approx(4 + 1.645 * 2)
    assert found.p99_nats == pytest.approx(5 + 0.97 * 2)  # rank 0.99 * 3 = 2.97 of 0 to 3


def test_agreement_leaves_out_near_ties_where_asked():
    variant = scores([1, 2, 3, 9], kl=[0] * 4)
    reference = scores([1, 2, 4, 5], margin=[0.9, 0.06, 0.04, 0.5])
    found = summarise_divergence(variant, reference)
    assert found.top1_agreement == 0.5
    assert found.top1_agreement_decided == pytest.approx(2 / 3)


def test_agreement_without_a_decided_token_is_unavailable():
    found = summarise_divergence(scores([1] * 4, kl=[0] * 4), scores([1] * 4, margin=[0] * 4))
    assert found.top1_agreement_decided is None


def test_flips_count_tokens_that_one_side_alone_gets_right():
    variant = scores([7, 1, 7, 7], label=[7, 7, 7, 7], kl=[0] * 4)
    reference = scores([1, 7, 1, 7], label=[7, 7, 7, 7])
    found = summarise_divergence(variant, reference)
    assert (found.flips_to_wrong, found.flips_to_right) == (0.25, 0.5)


def test_rms_delta_p_is_over_the_true_token():
    variant = scores([0] * 4, p=[0.5, 0.5, 0.5, 0.5], kl=[0] * 4)
    reference = scores([0] * 4, p=[0.8, 0.1, 0.5, 0.5])
    # sqrt((.3 ** 2 + .4 ** 2) / 4) = .25
    assert summarise_divergence(variant, reference).rms_delta_p == pytest.approx(0.25)


def test_variant_without_reference_is_refused():
    with pytest.raises(ValueError, match="was scored without its reference"):
        summarise_divergence(scores([0] * 4), scores([0] * 4))


def test_scores_of_other_tokens_are_refused():
    with pytest.raises(ValueError, match="the labels differ"):
        summarise_divergence(scores([0] * 4, kl=[0] * 4), scores([0] * 4, label=[0, 0, 0, 1]))


four = st.lists(st.integers(0, 3), min_size=4, max_size=4)
probabilities = st.lists(st.floats(1e-6, 1), min_size=4, max_size=4)


@settings(max_examples=50, deadline=None)
@given(four, four, four, probabilities, probabilities)
def test_shares_lie_between_zero_and_one(top1, reference_top1, label, p, reference_p):
    variant = scores(top1, label=label, p=p, kl=[0.0] * 4)
    found = summarise_divergence(variant, scores(reference_top1, label=label, p=reference_p))
    shares = (found.top1_agreement, found.flips_to_wrong, found.flips_to_right, found.rms_delta_p)
    assert all(0 <= share <= 1 for share in shares)
    # A token that the two sides rate differently is one on which they disagree.
    assert found.flips_to_wrong + found.flips_to_right <= 1 - found.top1_agreement + math.ulp(1)
