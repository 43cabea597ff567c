from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.regression.machine import (
    estimate_move,
    taint_by_machine,
    taint_by_partner,
    taint_by_waiting,
    taint_by_yardstick,
)
from fixtures.regression.verdict import Status, Verdict

CALM = {"matmul_s": 0.01, "copy_s": 0.02, "dispatch_s": 0.001}
SLOWER = Verdict("tpot_s", Status.REGRESSED, "slower", ratio=1.2, limit=0.03)


@pytest.fixture
def canary():
    def canary(**factors):
        return {name: seconds * factors.get(name, 1.0) for name, seconds in CALM.items()}

    return canary


def test_regression_on_the_machine_of_the_baseline_stands(canary):
    # 4 % is within what repeats of the canary differ by.
    assert taint_by_machine(SLOWER, CALM, canary(copy_s=1.04)) is SLOWER


def test_slowdown_that_the_machine_shares_is_tainted(canary):
    verdict = taint_by_machine(SLOWER, CALM, canary(copy_s=1.30, matmul_s=1.06))
    assert verdict.status is Status.TAINTED
    assert verdict.reason == (
        "slower by +20.0 %, and so is the machine: canary copy_s +30.0 % against the baseline's"
    )
    assert verdict.ratio == SLOWER.ratio


def test_slowdown_beyond_margin_and_machine_together_stands(canary):
    # 1.03 x 1.10 = 1.133, and the case is 1.2 times slower.
    assert taint_by_machine(SLOWER, CALM, canary(dispatch_s=1.10)) is SLOWER


def test_what_repeats_of_a_load_differ_by_excuses_nothing(canary):
    # As seen of GPT-Neo's steps on an H200, +5 % planted: 1.03 x 1.02 would have allowed 1.0506.
    slower = replace(SLOWER, ratio=1.0502)
    host = canary(matmul_s=1.02, dispatch_s=1.106)
    assert taint_by_machine(slower, CALM, host, gpu_busy=1.0) is slower


def test_faster_machine_excuses_nothing(canary):
    assert taint_by_machine(SLOWER, CALM, canary(matmul_s=0.5, copy_s=0.5)) is SLOWER


@pytest.mark.parametrize("before", [{}, {"gone_s": 0.1}])
def test_baseline_without_the_same_loads_excuses_nothing(before, canary):
    assert taint_by_machine(SLOWER, before, canary(copy_s=9.0)) is SLOWER


@given(st.sampled_from(sorted(set(Status) - {Status.REGRESSED})), st.floats(1.1, 10))
def test_other_verdicts_are_left_alone(status, factor):
    verdict = Verdict("tpot_s", status, "", ratio=1.2, limit=0.03)
    assert (
        taint_by_machine(verdict, CALM, {name: s * factor for name, s in CALM.items()}) is verdict
    )


# Partners that became slower by 22, 20, 17 and 9 %; 1.03 x 1.09 x 1.09 = 1.226.
@pytest.mark.parametrize("beside", [0.98, 1.0, 1.03, 1.1])
def test_slowdown_that_the_reference_shares_is_tainted(beside):
    paired = Verdict("paired:tpot_s", Status.UNDECIDED, "", ratio=beside)
    verdict = taint_by_partner(SLOWER, paired)
    assert verdict.status is Status.TAINTED
    assert verdict.reason.startswith("slower by +20.0 %, and so is its reference, by +")
    assert verdict.reason.endswith(f"{100 * (1.2 / beside - 1):.1f} % in the same minutes")


# Partners that became slower by 6 %, by nothing, and faster; 1.03 x 1.06 x 1.06 = 1.162.
@pytest.mark.parametrize("beside", [1.13, 1.2, 1.3, None])
def test_slowdown_beside_the_reference_stands(beside):
    paired = Verdict("paired:tpot_s", Status.REGRESSED, "", ratio=beside)
    assert taint_by_partner(SLOWER, paired) is SLOWER


def test_slowdown_that_the_yardstick_shares_is_tainted():
    # 1.03 x 1.1 x 1.1 = 1.246
    verdict = taint_by_yardstick(SLOWER, own=1.24, yardstick=1.1)
    assert verdict.status is Status.TAINTED
    assert verdict.reason == (
        "slower by +20.0 %, and so is the yardstick, by +10.0 % in the same minutes"
    )


def test_burst_that_was_over_beside_the_yardstick_is_undecided():
    verdict = taint_by_yardstick(SLOWER, own=1.02, yardstick=1.0)
    assert verdict.status is Status.UNDECIDED
    assert verdict.reason == ("slower by +20.0 % when timed alone, by +2.0 % beside the yardstick")


@pytest.mark.parametrize("yardstick", [0.9, 1.0, 1.07])
def test_slowdown_beyond_margin_and_yardstick_together_stands(yardstick):
    # 1.03 x 1.07 x 1.07 = 1.179
    verdict = taint_by_yardstick(SLOWER, own=1.2, yardstick=yardstick)
    assert verdict.status is Status.REGRESSED
    moved = f"{100 * (yardstick - 1):+.1f} % in the same minutes"
    assert verdict.reason == f"slower; the yardstick by {moved}"


@given(st.sampled_from(sorted(set(Status) - {Status.REGRESSED})), st.floats(0.5, 10))
def test_yardstick_leaves_other_verdicts_alone(status, factor):
    verdict = Verdict("load_s", status, "", ratio=1.2, limit=0.03)
    assert taint_by_yardstick(verdict, factor, factor) is verdict


# What waits for a fourteenth takes 14 / 13 as long: 1.03 x (14 / 13) squared = 1.195, and for a
# thirteenth 1.03 x (13 / 12) squared = 1.209. The other three beside a baseline's own wait.
@pytest.mark.parametrize(
    ("before", "now", "status"),
    [
        (0.0, 1 / 14, Status.REGRESSED),
        (0.0, 1 / 13, Status.TAINTED),
        (0.0, 0.99, Status.TAINTED),
        (0.5, 0.5, Status.REGRESSED),
        (0.5, 1 - 0.5 * 12 / 13, Status.TAINTED),
        (0.5, 0.0, Status.REGRESSED),
    ],
)
def test_slowdown_that_waiting_for_a_core_accounts_for_is_tainted(before, now, status):
    assert taint_by_waiting(SLOWER, before, now).status is status


def test_waiting_is_named():
    verdict = taint_by_waiting(SLOWER, 0.01, 0.4)
    assert verdict.reason == (
        "slower by +20.0 %, and its threads waited for a core for 40.0% of the time, 1.0% when the"
        " baseline was recorded"
    )
    assert verdict.ratio == SLOWER.ratio


@given(st.sampled_from(sorted(set(Status) - {Status.REGRESSED})), st.floats(0, 0.99))
def test_waiting_leaves_other_verdicts_alone(status, share):
    verdict = Verdict("load_s", status, "", ratio=1.2, limit=0.03)
    assert taint_by_waiting(verdict, 0.0, share) is verdict


# As a planted +5 % looked on an H200 whose host dispatched 27 % slower than for the baseline.
PLANTED = Verdict("ttft_s", Status.REGRESSED, "slower", ratio=1.053, limit=0.03)


def test_a_slow_host_excuses_what_waits_for_it_and_no_replayed_graph(canary):
    slow_host = canary(dispatch_s=1.273)
    # 1.03 / (0.95 + 0.05 / 1.273) = 1.041, which 1.053 is beyond; 1.154 with a half each.
    assert taint_by_machine(PLANTED, CALM, slow_host, 0.95) is PLANTED
    verdict = taint_by_machine(PLANTED, CALM, slow_host, 0.5)
    assert verdict.status is Status.TAINTED
    assert verdict.reason == (
        "slower by +5.3 %, and so is the machine: canary dispatch_s +27.3 % against the baseline's,"
        " beside a GPU that had work for 50% of the time"
    )
    # Where nothing tells, the slowest load counts, as on a CPU.
    assert taint_by_machine(PLANTED, CALM, slow_host).status is Status.TAINTED


def test_a_slow_gpu_excuses_what_it_bounds_and_no_waiting_for_the_host(canary):
    slow_gpu = canary(copy_s=1.1, matmul_s=1.1)
    assert taint_by_machine(PLANTED, CALM, slow_gpu, 1.0).status is Status.TAINTED
    assert taint_by_machine(PLANTED, CALM, slow_gpu, 0.0) is PLANTED


loads = st.fixed_dictionaries({name: st.floats(0.2, 5) for name in CALM})


@given(loads, st.floats(0, 1))
def test_a_move_lies_between_none_and_the_slowest_loads(ratios, busy):
    move = estimate_move(ratios, busy)
    assert move * (1 + 1e-12) >= 1
    assert move <= max(1.0, *ratios.values()) * (1 + 1e-12)
    assert estimate_move(ratios, 0.0) == pytest.approx(max(1.0, ratios["dispatch_s"]))
