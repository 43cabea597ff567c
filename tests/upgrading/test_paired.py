"""The rule for pairs, on figures worked by hand and on noise of known sizes."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from fixtures.upgrading.paired import (
    PairStatus,
    _signed_rank_quantile,
    _wilcoxon_p,
    compare_pairs,
    decide,
)

SLOWER, FASTER, SAME, UNDECIDED = PairStatus


def draw(generator, effect, process, jitter, outliers=0.0, restarts=5, pairs=32):
    """Pairs of one case: sd of log time between processes and within, share of wild rounds."""
    found = []
    for _ in range(restarts):
        of_process = generator.normal(0, process / math.sqrt(2), 2)
        logs = of_process + generator.normal(0, jitter / math.sqrt(2), (pairs, 2))
        wild = generator.random((pairs, 2)) < outliers
        logs += wild * generator.exponential(0.15, (pairs, 2))
        found.append([(math.exp(a), (1 + effect) * math.exp(b)) for a, b in logs])
    return found


# The scenarios of the project's simulation: sd between processes, sd of pairs, wild rounds.
QUIET = (0.001, 0.007, 0.0)
JITTER = (0.003, 0.028, 0.03)
SHIFTED = (0.02, 0.007, 0.0)
SHARED = (0.03, 0.06, 0.10)
HOGGED = (0.10, 0.15, 0.10)


@pytest.mark.parametrize("noise", [QUIET, JITTER, SHIFTED, SHARED, HOGGED])
def test_unchanged_cases_are_not_called_slower(noise):
    generator = np.random.default_rng(7)
    alarms = Counter()
    for _ in range(10):  # ten runs of 40 cases
        alarms.update(decide([compare_pairs(draw(generator, 0.0, *noise)) for _ in range(40)]))
    assert alarms[SLOWER] == alarms[FASTER] == 0


def test_five_per_cent_in_one_case_of_forty_is_caught_on_a_quiet_machine():
    generator = np.random.default_rng(8)
    for _ in range(10):
        same = [compare_pairs(draw(generator, 0.0, *QUIET)) for _ in range(39)]
        slow = compare_pairs(draw(generator, 0.05, *QUIET, restarts=10))
        assert decide([slow, *same]) == [SLOWER] + 39 * [SAME]


@pytest.mark.parametrize("noise", [JITTER, SHIFTED, SHARED, HOGGED])
def test_five_per_cent_is_never_called_the_same(noise):
    generator = np.random.default_rng(9)
    cases = [compare_pairs(draw(generator, 0.05, *noise)) for _ in range(400)]
    assert not {SAME, FASTER} & set(decide(cases))


def test_restarts_that_disagree_outweigh_pairs_that_agree():
    # Each process of B is stuck at its own level: 20 pairs say +3 %, five restarts cannot.
    levels = (1.09, 0.99, 1.06, 0.98, 1.05)
    pairs = [[(1.0, level * (1 + 0.0001 * step)) for step in range(4)] for level in levels]
    found = compare_pairs(pairs)
    assert decide([found]) == [UNDECIDED]
    assert found.interval.low < 1.0 < 1.05 < found.interval.high


@pytest.mark.parametrize("count", [3, 7, 20, 40])
def test_signed_ranks_have_scipys_p(count):
    differences = np.random.default_rng(count).normal(0.3, 1, count)
    expected = scipy_stats.wilcoxon(differences, alternative="greater", method="exact").pvalue
    assert _wilcoxon_p(differences) == pytest.approx(expected)


def test_differences_of_one_size_share_their_ranks():
    # Ranks 2, 2, 2 and 4, of which 2 + 2 + 4 are above zero; of 16 sums of the ranks 1 to 4,
    # three reach 8: 8 itself, 9 and 10.
    assert _wilcoxon_p(np.array([1.0, 1.0, -1.0, 2.0])) == pytest.approx(3 / 16)
    assert _wilcoxon_p(np.zeros(4)) == 1.0


def test_signed_rank_quantile_is_that_of_the_tables():
    # Wilcoxon's table, one-sided 0.01: n and the largest sum of ranks that is significant.
    table = {7: 0, 10: 5, 20: 43, 30: 120}
    assert {count: _signed_rank_quantile(count, 0.01) for count in table} == table
    assert _signed_rank_quantile(6, 0.01) == -1


def test_interval_covers_what_five_restarts_say_of_themselves():
    # log ratios 0, 1, 2, 3 and 4 %, four equal pairs each: mean 2 %, error sd / sqrt(5) with
    # sd = sqrt(2.5) %, and Student's quantile at 99 % with 4 degrees of freedom is 3.747.
    pairs = [[(1.0, math.exp(step / 100))] * 4 for step in range(5)]
    reach = 3.747 * math.sqrt(2.5) / 100 / math.sqrt(5)
    low, high = compare_pairs(pairs).interval
    assert low == pytest.approx(math.exp(0.02 - reach), abs=1e-5)
    assert high == pytest.approx(math.exp(0.02 + reach), abs=1e-5)


def test_ratio_and_levels_are_read_off_the_pairs():
    found = compare_pairs([[(2.0, 3.0)] * 4, [(2.0, 3.0)] * 4])
    assert (found.a_s, found.b_s, found.pairs, found.restarts) == (2.0, 3.0, 8, 2)
    assert found.ratio == pytest.approx(1.5)
    assert found.interval == pytest.approx((1.5, 1.5))


def test_identical_rounds_are_the_same():
    assert decide([compare_pairs([[(1.0, 1.0)] * 32] * 5)]) == [SAME]


@pytest.mark.parametrize("restarts", [1, 2, 3, 4])
def test_fewer_restarts_or_pairs_than_planned_decide_nothing(restarts):
    assert decide([compare_pairs([[(1.0, 2.0)] * 160] * restarts)]) == [UNDECIDED]
    assert decide([compare_pairs([[(1.0, 2.0)] * 31] * 5)]) == [UNDECIDED]


def test_one_restart_has_no_interval():
    assert compare_pairs([[(1.0, 1.0)] * 20]).interval is None


@pytest.mark.parametrize("pairs", [[], [[]], [[(1.0, 0.0)]], [[(-1.0, 1.0)]], [[(1.0, math.nan)]]])
def test_what_is_no_time_is_refused(pairs):
    with pytest.raises(ValueError, match="pairs of times, all of them above zero"):
        compare_pairs(pairs)


def test_nothing_to_decide_gives_nothing():
    assert decide([]) == []


LOGS = st.lists(st.lists(st.floats(-0.2, 0.2), min_size=4, max_size=4), min_size=2, max_size=6)
SMALL = settings(deadline=None, max_examples=25)


def as_pairs(logs, swap=False, scale=1.0):
    rows = [[(scale, scale * math.exp(value)) for value in row] for row in logs]
    return [[(b, a) for a, b in row] for row in rows] if swap else rows


@SMALL
@given(LOGS)
def test_swapping_the_sides_mirrors_everything(logs):
    there, back = compare_pairs(as_pairs(logs)), compare_pairs(as_pairs(logs, swap=True))
    assert back.ratio == pytest.approx(1 / there.ratio)
    assert back.interval == pytest.approx((1 / there.interval.high, 1 / there.interval.low))
    assert (back.p_slower, back.p_faster) == pytest.approx((there.p_faster, there.p_slower))


@SMALL
@given(LOGS, st.floats(1e-6, 1e3))
def test_a_faster_machine_changes_no_verdict(logs, scale):
    one, other = compare_pairs(as_pairs(logs)), compare_pairs(as_pairs(logs, scale=scale))
    assert other.ratio == pytest.approx(one.ratio, rel=1e-6)
    assert other.interval == pytest.approx(one.interval, rel=1e-6)


@SMALL
@given(LOGS)
def test_interval_holds_the_ratio(logs):
    found = compare_pairs(as_pairs(logs))
    assert found.interval.low <= found.ratio * (1 + 1e-9)
    assert found.ratio <= found.interval.high * (1 + 1e-9)


@SMALL
@given(st.lists(LOGS, min_size=1, max_size=5), st.integers(0, 4), st.floats(0.01, 0.5))
def test_a_slower_case_makes_no_other_case_less_slow(cases, place, more):
    # Benjamini and Hochberg's rule: a smaller p can only add rejections.
    place %= len(cases)
    before = [compare_pairs(as_pairs(logs)) for logs in cases]
    slowed = [[value + more for value in row] for row in cases[place]]
    after = [*before[:place], compare_pairs(as_pairs(slowed)), *before[place + 1 :]]
    options = {"pairs": 8, "restarts": 2}
    for old, new in zip(decide(before, **options), decide(after, **options), strict=True):
        assert old is not SLOWER or new is SLOWER


@SMALL
@given(LOGS)
def test_same_and_slower_say_where_the_whole_interval_lies(logs):
    found = compare_pairs(as_pairs(logs))
    (status,) = decide([found], pairs=8, restarts=2)
    inside = found.interval.low > 1 / 1.02 and found.interval.high < 1.02
    assert (status is SAME) == inside
    if status is SLOWER:
        assert found.interval.low > 1.02
    if status is FASTER:
        assert found.interval.high < 1 / 1.02
