from __future__ import annotations

from fixtures.regression.case import Case, Difference
from fixtures.regression.common_move import find_common_moves
from fixtures.regression.verdict import Status, Verdict


def judged(ratios, metric="tpot_s", model="gpt2"):
    case = Case(model, "nf4", "tiny", "shipped", "b1-p64-n16", "none", {})
    return [(case, Verdict(metric, Status.REGRESSED, "", ratio=ratio)) for ratio in ratios]


def test_move_of_most_cases_is_named_with_what_else_differs():
    (move,) = find_common_moves(
        judged([1.06] * 31 + [1.0] * 3), [Difference("torch", "2.9.1", "2.11.0")]
    )
    assert str(move) == (
        "31 of 34 tpot_s cases are 6.0 % slower: machine, driver or a shared library "
        "(torch: 2.9.1 -> 2.11.0)"
    )


def test_faster_move_is_named_too():
    (move,) = find_common_moves(judged([1 / 1.06] * 8))
    assert str(move).startswith("8 of 8 tpot_s cases are 6.0 % faster")
    assert str(move).endswith("(no package or clock differs)")


def test_bytes_are_more_and_not_slower_and_speed_ups_are_left_out():
    (move,) = find_common_moves(judged([1.05] * 8, "peak_allocated_bytes"))
    assert str(move).startswith("8 of 8 peak_allocated_bytes cases are 5.0 % more: ")
    assert find_common_moves(judged([1.2] * 8, "speed_up:tpot_s")) == ()


def test_seven_cases_are_too_few():
    assert find_common_moves(judged([1.06] * 7)) == ()


def test_two_per_cent_is_no_move():
    assert find_common_moves(judged([1.02] * 20)) == ()


def test_one_slow_technique_is_no_common_move():
    assert find_common_moves(judged([1.5] * 4 + [1.0] * 16)) == ()


def test_metrics_are_kept_apart():
    found = find_common_moves(
        [*judged([1.06] * 8), *judged([1.0] * 8, "ttft_s"), *judged([None] * 8, "x")]
    )
    assert [move.metric for move in found] == ["tpot_s"]


def test_reference_that_became_slower_is_named_by_what_its_variants_do_beside_it():
    calm, quicker = judged([1.0] * 9, "paired:tpot_s", "t5-small"), [0.9] * 11 + [1.0]
    (move,) = find_common_moves([*calm, *judged(quicker, "paired:tpot_s")])
    assert str(move) == (
        "11 of 12 variants of tiny gpt2 take less beside their fp32 reference: its own tpot_s is"
        " 11.1 % slower, or theirs all moved"
    )


def test_variants_that_all_became_slower_beside_their_reference_are_named_too():
    (move,) = find_common_moves(judged([1.25] * 8, "paired:ttft_s"))
    assert "8 of 8 variants of tiny gpt2 take more beside" in str(move)
    assert "its own ttft_s is 25.0 % faster, or theirs all moved" in str(move)


def test_ratios_of_two_models_are_no_common_move():
    few = (judged([0.9] * 7, "paired:tpot_s", model) for model in ("gpt2", "t5-small"))
    assert find_common_moves([pair for model in few for pair in model]) == ()
