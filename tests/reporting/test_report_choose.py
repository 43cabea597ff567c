from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.reporting.choose import choose, format_choices
from fixtures.reporting.constraints import ConstraintError, parse_constraints
from fixtures.reporting.pareto import find_front
from fixtures.reporting.report import reopen


@pytest.fixture
def ask(world):
    """Ask a question of a run of gpt2 whose figures ``conftest`` states."""

    def answer(text, change=lambda document: None):
        document = world.document(models=["gpt2"])
        change(document)
        (choice,) = choose(reopen(world.parse(document)).rows, parse_constraints(text))
        return choice

    return answer


def test_fastest_variant_that_satisfies_all_is_named_with_its_figures(ask):
    # Of 4, 2, 2.4 and 1.6 MiB the last three fit; bf16 takes 1.25 of fp32's time.
    choice = ask("memory<=3MiB, rougeL>=0.89")
    assert str(choice) == (
        "gpt2, tiny, b1-p64-n16: bf16, TPOT 2.500 ms, 0.80x of fp32's speed, "
        "memory 2.000 MiB, rougeL 0.9000"
    )


@pytest.mark.parametrize(
    ("text", "technique"),
    [
        ("memory<=100GiB", "fp32"),
        ("memory<=1.7MiB", "nf4"),
        ("size<=0.45, kl<=0.001", "int8"),
        ("disk<0.8MiB", "nf4"),
        ("tpot<=3.3ms, memory_ratio<=0.45", "nf4"),
        ("ttft<4500us", "fp32"),
        ("memory<2.2MB", "bf16"),
        ("top1>=99.99%", "fp32"),
    ],
)
def test_limits_are_read_in_their_units(ask, text, technique):
    assert ask(text).row.technique == technique


def test_where_none_fits_the_nearest_is_named(ask):
    choice = ask("memory<=1MiB, speed>=0.5")
    assert choice.row is None
    assert choice.why == "4 of 4 miss memory<=1MiB (best: nf4, memory 1.600 MiB)"


def test_figure_that_was_not_measured_satisfies_nothing(ask):
    assert ask("mbu>=10%").why == "mbu>=10% was measured for none"


def test_variant_whose_time_is_tainted_is_never_chosen(ask, world):
    def taint(document):
        bench = world.find(document, "gpt2", "fp32", "tpot_s")
        verdict = {"metric": "tpot_s", "verdict": "tainted", "reason": "held back"}
        bench["extra_info"]["verdicts"] = [verdict]

    assert ask("memory<=1GiB", taint).row.technique == "bf16"


def test_regressed_figure_of_the_chosen_is_not_hidden(ask, world):
    def regress(document):
        bench = world.find(document, "gpt2", "fp32", "tpot_s")
        verdict = {"metric": "tpot_s", "verdict": "regressed", "reason": "slower"}
        bench["extra_info"]["verdicts"] = [verdict]

    assert ask("memory<=1GiB", regress).why.endswith(", but tpot_s regressed")


def test_run_without_decode_recommends_nothing():
    assert format_choices([], "memory<=1GiB") == [
        "recommended for memory<=1GiB: nothing, since no decode was timed"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no condition is given"),
        ("memory", "'memory' is no condition"),
        ("memory=6GiB", "'memory=6GiB' is no condition"),
        ("memory<=6", "memory takes B, KiB, MiB, GiB, kB, MB, GB, not a bare number"),
        ("memory<=6ms", "not ms"),
        ("tpot<=6", "tpot takes us, ms, s, not a bare number"),
        ("rougeL>=0.9GiB", "not GiB"),
        ("memory<=1..5GiB", "'1..5' is no number"),
        ("memroy<=1GiB", r"unknown metric 'memroy' \(nearest: memory\); known: memory, reserved"),
    ],
)
def test_condition_that_cannot_be_read_says_what_can(text, said):
    with pytest.raises(ConstraintError, match=said):
        parse_constraints(text)


def test_front_is_what_nothing_beats():
    # (memory, speed): the third is beaten by the first, the fourth by the second.
    assert find_front([(1, 5), (2, 9), (2, 4), (3, 9)]) == [True, True, False, False]


def test_equal_points_share_the_front():
    assert find_front([(1, 5), (1, 5)]) == [True, True]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_front_holds_the_smallest_and_the_fastest(points):
    front = [point for point, best in zip(points, find_front(points), strict=True) if best]
    assert min(cost for cost, _ in points) in {cost for cost, _ in front}
    assert max(gain for _, gain in points) in {gain for _, gain in front}
