from __future__ import annotations

from fixtures.regression.case import Difference
from fixtures.regression.common_move import find_common_moves
from fixtures.regression.verdict import Status, Verdict


def verdicts(ratios, metric="tpot_s"):
    return [Verdict(metric, Status.REGRESSED, "", ratio=ratio) for ratio in ratios]


def test_move_of_most_cases_is_named_with_what_else_differs():
    (move,) = find_common_moves(
        verdicts([1.06] * 31 + [1.0] * 3), [Difference("torch", "2.9.1", "2.11.0")]
    )
    assert str(move) == (
        "31 of 34 tpot_s cases are 6.0 % slower: machine, driver or a shared library "
        "(torch: 2.9.1 -> 2.11.0)"
    )


def test_faster_move_is_named_too():
    (move,) = find_common_moves(verdicts([1 / 1.06] * 8))
    assert str(move).startswith("8 of 8 tpot_s cases are 6.0 % faster")
    assert str(move).endswith("(no package or clock differs)")


def test_seven_cases_are_too_few():
    assert find_common_moves(verdicts([1.06] * 7)) == ()


def test_two_per_cent_is_no_move():
    assert find_common_moves(verdicts([1.02] * 20)) == ()


def test_one_slow_technique_is_no_common_move():
    assert find_common_moves(verdicts([1.5] * 4 + [1.0] * 16)) == ()


def test_metrics_are_kept_apart():
    found = find_common_moves(
        [*verdicts([1.06] * 8), *verdicts([1.0] * 8, "ttft_s"), Verdict("x", Status.NEW, "")]
    )
    assert [move.metric for move in found] == ["tpot_s"]
