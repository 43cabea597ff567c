from __future__ import annotations

import math

import pytest

from fixtures.regression.adaptation import (
    RECOVERED_SHARES,
    find_plain_tolerance,
    find_recovered_share,
    find_share_of_plain,
    judge_gain,
    judge_recovery,
)
from fixtures.regression.verdict import Status
from fixtures.stats import Interval
from fixtures.techniques.registry import TECHNIQUES


def test_every_adapter_has_a_least_share():
    adapters = {name for name, found in TECHNIQUES.items() if found.part_on("adapter")}
    assert adapters == RECOVERED_SHARES.keys()


@pytest.mark.parametrize(
    ("technique", "share"),
    [("lora", 0.9), ("ia3", 0.6), ("qlora-nf4", 0.9), ("lora+fp16", 0.9), ("fp16+ia3", 0.6)],
)
def test_share_is_that_of_the_adapter_among_the_parts(technique, share):
    assert find_recovered_share(technique) == share


def test_technique_without_an_adapter_has_no_share():
    with pytest.raises(ValueError, match=r"^nf4 has no adapter, so no gain to recover$"):
        find_recovered_share("nf4")


def test_share_above_the_least_passes_and_one_wholly_below_fails():
    def judge(share, reach=0.01):
        interval = Interval(share - reach, share + reach)
        return judge_recovery("recovered_share", share, interval, 0.9, 100).status

    assert judge(0.91) is Status.UNCHANGED
    assert judge(1.2) is Status.UNCHANGED
    assert judge(0.895) is Status.UNDECIDED
    assert judge(0.85) is Status.REGRESSED
    assert judge(-0.3) is Status.REGRESSED


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_share_that_is_no_number_is_a_measuring_error(bad):
    verdict = judge_recovery("recovered_share", bad, Interval(0.9, 1.0), 0.9, 100)
    assert verdict.status is Status.MEASURING_ERROR


def test_summaries_worse_than_the_base_fail_and_equal_ones_pass():
    assert judge_gain("target_rouge1", 0.0, Interval(0, 0), 50).status is Status.UNCHANGED
    assert judge_gain("target_rouge1", 0.4, Interval(0.3, 0.5), 50).status is Status.UNCHANGED
    verdict = judge_gain("target_rouge1", -0.2, Interval(-0.3, -0.1), 50)
    assert verdict.status is Status.REGRESSED
    assert verdict.reason == "-0.2000 [-0.3000, -0.1000], floor 0.0000"


@pytest.mark.parametrize("technique", ["lora", "lora-heavy", "ia3", "ia3+sdpa", "bf16+lora-heavy"])
def test_adapters_of_their_own_shape_are_not_held_to_plain_lora(technique):
    assert find_plain_tolerance(technique, "summary", None) is None
    assert find_share_of_plain(technique) is None


@pytest.mark.parametrize(
    ("technique", "ratio"),
    [
        # Merging is the same arithmetic; fp16 and nf4 cost an adapted model what they cost any.
        ("lora-merged", 1.00001),
        ("lora+fp16", 1.0005),
        ("lora+nf4", 1.05),
    ],
)
def test_the_same_adapter_may_cost_what_its_precision_costs(technique, ratio):
    tolerance = find_plain_tolerance(technique, "summary", None)
    assert tolerance.ppl_ratio == pytest.approx(ratio)
    assert find_share_of_plain(technique) is None


def test_merging_into_packed_weights_is_held_to_its_share_alone():
    # Nobody has published what rounding merged weights to 4 bits again costs.
    tolerance = find_plain_tolerance("qlora-nf4-merged", "summary", None)
    assert tolerance.ppl_ratio is None
    assert tolerance.rouge_ratio is None
    assert find_recovered_share("qlora-nf4-merged") == 0.9


@pytest.mark.parametrize("technique", ["qlora-nf4", "qlora-int8", "qlora-nf4+fp16"])
def test_qlora_recovers_within_a_percent_of_what_plain_lora_does(technique):
    assert find_share_of_plain(technique) == 0.99
    tolerance = find_plain_tolerance(technique, "summary", None)
    assert tolerance.ppl_ratio is None
    assert tolerance.rouge_ratio == pytest.approx(0.98 if "+" in technique else 0.99)
