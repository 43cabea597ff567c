"""Two real processes, the real model, one interpreter twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fixtures.matrix import Selection
from fixtures.upgrading.cases import list_cases
from fixtures.upgrading.gate import Gate
from fixtures.upgrading.outcome import Status
from fixtures.upgrading.schedule import Schedule
from fixtures.upgrading.sides import Side


@pytest.fixture(scope="module")
def outcome():
    """Tiny GPT-2 against itself; in B a fault and a copy of the weights are planted in bf16."""
    selection = Selection.parse("gpt2", "fp32,bf16", "tiny", "auto", (), ())
    options = {"selection": selection.to_json(), "tier": "cpu", "articles": 4}
    planted = ["weights:prune-30%@tiny-gpt2-bf16", "copy:weights@tiny-gpt2-bf16"]
    sides = [
        Side.under("A", Path(sys.executable), {**options, "plants": []}),
        Side.under("B", Path(sys.executable), {**options, "plants": planted}),
    ]
    schedule = Schedule(pairs=8, restarts=2, most_restarts=2, articles=4, timeout_s=120)
    return Gate(sides, list_cases(selection, "cpu"), schedule).run()


def found(outcome, variant):
    return {
        verdict.metric: verdict
        for verdict in outcome.verdicts
        if verdict.case == f"{variant}-b1-p64-n16"
    }


def test_one_interpreter_twice_gives_equal_results_and_bytes(outcome):
    verdicts = found(outcome, "tiny-gpt2-fp32")
    assert verdicts["results"].status is Status.SAME
    assert verdicts["results"].reason.endswith("tokens equal to the bit")
    for metric in ("peak_allocated_bytes", "weights_bytes", "storage_bytes"):
        assert verdicts[metric].status is Status.SAME
        assert verdicts[metric].a == verdicts[metric].b > 0


def test_planted_fault_and_copy_are_a_change_and_more_bytes(outcome):
    verdicts = found(outcome, "tiny-gpt2-bf16")
    assert verdicts["results"].status is Status.CHANGED
    assert verdicts["peak_allocated_bytes"].status is Status.LARGER
    assert outcome.exit == 1


def test_both_phases_were_timed_in_pairs_on_both_sides(outcome):
    for variant in ("tiny-gpt2-fp32", "tiny-gpt2-bf16"):
        for metric in ("ttft_s", "tpot_s"):
            verdict = found(outcome, variant)[metric]
            assert (verdict.pairs, verdict.restarts) == (8, 2)
            assert verdict.status is not Status.FAILED
            samples = outcome.samples[f"{variant}-b1-p64-n16", metric]
            # A prefill of 64 tokens or one decode step, on any machine that runs tests.
            assert all(1e-5 < second < 1 for pairs in samples for pair in pairs for second in pair)


def test_versions_of_both_sides_are_known(outcome):
    assert outcome.packages["A"] == outcome.packages["B"]
    assert {"torch", "transformers", "python"} <= outcome.packages["A"].keys()
