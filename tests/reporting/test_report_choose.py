from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.reporting.choose import choose, format_choices
from fixtures.reporting.constraints import ConstraintError, parse_constraints
from fixtures.reporting.pareto import find_front
from fixtures.reporting.report import reopen
from fixtures.reporting.sections.tradeoffs import build_tradeoffs


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


def spoil(world, technique, metric, status):
    """Gives a figure of a variant a verdict; a proof of ``applied`` is made for it."""

    def change(document):
        bench = world.find(
            document, "gpt2", technique, "kl_nats" if metric == "applied" else metric
        )
        verdict = {"metric": metric, "verdict": status, "reason": "so"}
        bench["extra_info"]["verdicts"] = [verdict]

    return change


@pytest.fixture
def answers(world):
    """The three answers of the page on a run of gpt2."""

    def read(change=lambda document: None):
        document = world.document(models=["gpt2"])
        change(document)
        blocks = build_tradeoffs(reopen(world.parse(document))).blocks
        (row,) = next(block for block in blocks if block.title == "Which to choose").table.rows
        return [cell.text.split(" ")[0] for cell in row[1:]]

    return read


@pytest.mark.parametrize(
    ("metric", "status"),
    [
        ("tpot_s", "measuring-error"),
        ("tpot_s", "tainted"),
        ("applied", "regressed"),
        ("applied", "measuring-error"),
    ],
)
def test_page_and_question_refuse_the_same_variants(ask, answers, world, metric, status):
    assert answers() == ["fp32", "nf4", "fp32"]
    change = spoil(world, "nf4", metric, status)
    assert "nf4" not in answers(change)
    choice = ask("memory<=1.7MiB", change)
    # Of 4, 2 and 2.4 MiB; nf4's 1.6 is not to be believed.
    assert choice.row is None
    assert choice.why == (
        "3 of 3 miss memory<=1.7MiB (best: bf16, memory 2.000 MiB);"
        f" not to be believed: nf4 ({metric} {status})"
    )


def test_where_no_variant_is_to_be_believed_each_is_named(ask, world):
    def taint(document):
        for technique in world.techniques:
            spoil(world, technique, "tpot_s", "tainted")(document)

    assert ask("memory<=1GiB", taint).why == (
        "not to be believed: fp32 (tpot_s tainted), bf16 (tpot_s tainted),"
        " int8 (tpot_s tainted), nf4 (tpot_s tainted)"
    )


def test_peak_that_is_not_to_be_believed_is_no_smallest(ask, answers, world):
    change = spoil(world, "nf4", "peak_allocated_bytes", "measuring-error")
    assert answers(change) == ["fp32", "bf16", "fp32"]
    assert ask("memory_ratio<=0.45", change).why == (
        "4 of 4 miss memory_ratio<=0.45 (best: bf16, memory_ratio 0.50x)"
    )


def test_ratio_to_a_peak_that_is_not_to_be_believed_satisfies_nothing(ask, world):
    change = spoil(world, "fp32", "peak_allocated_bytes", "tainted")
    assert ask("memory_ratio<=0.45", change).why == (
        "no figure of memory_ratio<=0.45 is to be believed"
    )
    assert ask("memory<=1.7MiB", change).row.technique == "nf4"


def test_none_is_as_fast_as_a_reference_whose_time_is_not_to_be_believed(answers, world):
    assert answers(spoil(world, "fp32", "tpot_s", "measuring-error")) == ["bf16", "nf4", "n/a"]


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
