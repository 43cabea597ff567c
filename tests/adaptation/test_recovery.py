from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.accuracy.scores import Scores
from fixtures.adaptation.recovery import TextLosses, compare_gains

BASE = TextLosses((10, 20), (50.0, 100.0))
FULL = TextLosses((10, 20), (10.0, 20.0))


def test_share_is_of_the_gain_summed_over_the_tokens():
    # Of 120 nats that can be gained, 30 + 60 are.
    found = compare_gains(BASE, TextLosses((10, 20), (20.0, 40.0)), FULL)
    assert found.share == pytest.approx(0.75)
    # Both texts recover the same share, so there is no doubt about it.
    assert tuple(found.interval) == pytest.approx((0.75, 0.75))


def test_base_recovers_nothing_and_full_fine_tuning_all_of_it():
    assert compare_gains(BASE, BASE, FULL).share == 0
    assert compare_gains(BASE, FULL, FULL).share == 1


def test_adapter_worse_than_its_base_has_a_share_below_zero():
    assert compare_gains(BASE, TextLosses((10, 20), (62.0, 100.0)), FULL).share == -0.1


def test_interval_is_that_of_the_texts():
    # One text recovers all, the other nothing: a draw of two has either, or both alike.
    base, full = TextLosses((5, 5), (20.0, 20.0)), TextLosses((5, 5), (10.0, 10.0))
    found = compare_gains(base, TextLosses((5, 5), (10.0, 20.0)), full)
    assert found.share == 0.5
    assert tuple(found.interval) == (0, 1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=6), st.floats(0, 1))
def test_every_text_recovering_the_same_share_is_that_share(gains, share):
    gains = [gain + 1 for gain in gains]
    tokens = (7,) * len(gains)
    base = TextLosses(tokens, tuple(gain + 3 for gain in gains))
    full = TextLosses(tokens, (3.0,) * len(gains))
    adapted = TextLosses(tokens, tuple(3 + gain * (1 - share) for gain in gains))
    assert compare_gains(base, adapted, full).share == pytest.approx(share, abs=1e-9)


def test_other_texts_are_refused():
    with pytest.raises(ValueError, match=r": as many as 2 of 30, 2 of 31, 2 of 30 tokens$"):
        compare_gains(BASE, TextLosses((11, 20), (1.0, 1.0)), FULL)


def test_full_fine_tuning_that_gained_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^full fine-tuning gained nothing over its base"):
        compare_gains(FULL, FULL, BASE)


@pytest.mark.parametrize(
    ("tokens", "nats"), [((1, 2), (1.0,)), ((3,), (1.0,)), ((0, 4), (1.0, 1.0))]
)
def test_losses_of_no_texts_are_refused(tokens, nats):
    with pytest.raises(ValueError, match="two texts or more, each with a token or more"):
        TextLosses(tokens, nats)


def test_losses_are_summed_by_text_whatever_the_order_of_the_tokens():
    count = 5
    scores = Scores(
        nll=np.array([1.0, 2.0, 4.0, 8.0, 16.0]),
        label=np.zeros(count, dtype=np.int64),
        cluster=np.array([4, 9, 4, 9, 9]),
        top1=np.zeros(count, dtype=np.int64),
        margin=np.zeros(count),
    )
    losses = TextLosses.from_scores(scores)
    assert losses == TextLosses((2, 3), (5.0, 26.0))
    assert losses.mean_nats == 31 / 5


def test_losses_come_back_from_json_to_a_millionth_of_a_nat():
    losses = TextLosses((3, 4), (math.pi, math.e))
    again = TextLosses.from_json(json.loads(json.dumps(losses.to_json())))
    assert again.tokens == losses.tokens
    assert again.nats == pytest.approx(losses.nats, abs=1e-6)


@pytest.mark.parametrize("saved", [{}, {"tokens": [1, 2]}, {"tokens": 3, "nats": 4}])
def test_json_that_holds_something_else_is_refused(saved):
    with pytest.raises(ValueError, match=r"^these are no losses by text: "):
        TextLosses.from_json(saved)
