from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.regression.pairs import compare_pairs, find_paired, name_paired

SECONDS = st.floats(1e-6, 1e3)


def test_pair_says_how_many_times_as_long_as_the_reference_it_took():
    assert compare_pairs([2.0, 4.0], [3.0, 5.0]) == [1.5, 1.25]


@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1), SECONDS)
def test_what_slows_both_sides_of_a_pair_alike_does_not_show(pairs, factor):
    reference, own = zip(*pairs, strict=True)
    slowed = compare_pairs([each * factor for each in reference], [each * factor for each in own])
    assert slowed == pytest.approx(compare_pairs(reference, own))


@pytest.mark.parametrize(
    ("reference", "own", "reason"),
    [
        ([1.0], [1.0, 2.0], "pairs need two sides: 1 rounds and 2"),
        ([0.0], [1.0], "above zero seconds"),
        ([1.0], [float("nan")], "above zero seconds"),
    ],
)
def test_what_makes_no_pair_is_refused(reference, own, reason):
    with pytest.raises(ValueError, match=reason):
        compare_pairs(reference, own)


def test_name_of_a_ratio_leads_back_to_its_metric():
    assert name_paired("tpot_s") == "paired:tpot_s"
    assert find_paired("paired:tpot_s") == "tpot_s"
    assert find_paired("tpot_s") is None
