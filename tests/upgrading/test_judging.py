"""Results and bytes of two sides: what counts as a change, and how it is told."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fixtures.upgrading.judging import judge_figures, judge_results
from fixtures.upgrading.outcome import Status
from fixtures.upgrading.protocol import Figures

A = Figures(
    prompt="aaaaaaaaaaaa",
    result={"output": "CausalLMOutput", "logits": "float32 [1, 1, 8]", "cache": "DynamicCache"},
    tokens=[[1, 2, 3], [4, 5, 6]],
    labels="bbbbbbbbbbbb",
    nll=[1.0, 2.0, 4.0, 0.5],
    sizes={"peak_allocated_bytes": 10_000_000, "storage_bytes": 1_000_000, "rss": None},
    problems=[],
)


def judge(**changed):
    return judge_results("x", A, replace(A, **changed))


def test_equal_results_say_that_they_are():
    verdict = judge()
    assert (verdict.status, verdict.reason) == (Status.SAME, "4 tokens equal to the bit")
    unscored = replace(A, nll=[], labels="")
    assert judge_results("x", unscored, unscored).reason == "greedy tokens are equal"


def test_rounding_is_the_same_and_its_size_is_told():
    verdict = judge(nll=[1.0, 2.0 + 3e-6, 4.0, 0.5])
    assert verdict.status is Status.SAME
    assert verdict.reason.startswith("token 2 of 4 moved most, by 3.00e-06 nats from 2.0000;")


def test_likelihood_that_moved_names_the_token_that_moved_most():
    verdict = judge(nll=[1.0, 2.1, 3.6, 0.5])
    assert verdict.status is Status.CHANGED
    # Moves 0, 0.1, -0.4 and 0: mean -0.075, root mean square sqrt(0.17 / 4).
    assert verdict.reason == (
        "token 3 of 4 moved most, by -4.00e-01 nats from 4.0000; their mean by -7.50e-02; "
        f"the root mean square of all is {math.sqrt(0.17 / 4):.2e}, the limit 1.00e-05"
    )


def test_moves_that_cancel_in_the_mean_are_a_change():
    assert judge(nll=[1.1, 1.9, 4.1, 0.4]).status is Status.CHANGED


def test_limit_is_the_callers():
    moved = replace(A, nll=[1.0, 2.001, 4.0, 0.5])
    assert judge_results("x", A, moved).status is Status.CHANGED
    assert judge_results("x", A, moved, nats=1e-3).status is Status.SAME


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"problems": ["0 of 8 layers are Linear4bit"]}, "B's technique is not on: 0 of 8 layers"),
        ({"result": {**A.result, "cache": "tuple"}}, "B's cache is tuple, A's DynamicCache"),
        ({"result": {"output": "CausalLMOutput"}}, "B's cache is nothing, A's DynamicCache"),
        (
            {"result": {**A.result, "logits": "bfloat16 [1, 1, 8]"}},
            "B's logits is bfloat16 [1, 1, 8], A's float32 [1, 1, 8]",
        ),
        ({"prompt": "cccccccccccc"}, "the same text gives other tokens in the prompt"),
        ({"labels": "dddddddddddd"}, "other tokens are scored: 4 on A, 4 on B"),
        ({"nll": [1.0]}, "other tokens are scored: 4 on A, 1 on B"),
        ({"tokens": [[1, 2, 3]]}, "2 rows are generated on A, 1 on B"),
        ({"tokens": [[1, 2, 3], [4, 5]]}, "row 2 has 3 new tokens on A, 2 on B"),
        ({"tokens": [[1, 9, 3], [4, 5, 6]]}, "greedy token 2 of row 1 is 9 on B, 2 on A"),
    ],
)
def test_each_kind_of_change_is_named(changed, reason):
    verdict = judge(**changed)
    assert verdict.status is Status.CHANGED
    assert verdict.reason.startswith(reason)


def test_technique_that_is_on_nowhere_is_no_change():
    off = replace(A, problems=["not on"])
    assert judge_results("x", off, off).status is Status.SAME


@pytest.mark.parametrize(
    ("bytes_on_b", "status"),
    [
        (10_000_000, Status.SAME),
        (10_009_000, Status.SAME),
        (10_020_000, Status.LARGER),
        (9_980_000, Status.SMALLER),
        (None, Status.UNDECIDED),
    ],
)
def test_bytes_may_grow_by_a_per_mille(bytes_on_b, status):
    b = replace(A, sizes={**A.sizes, "peak_allocated_bytes": bytes_on_b})
    found = {verdict.metric: verdict for verdict in judge_figures("x", A, b)}
    assert found["peak_allocated_bytes"].status is status
    assert found["storage_bytes"].status is Status.SAME
    assert "rss" not in found  # neither side has it
