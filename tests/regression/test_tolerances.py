from __future__ import annotations

import math

import pytest

from fixtures.regression.accuracy import judge_loss
from fixtures.regression.tolerances import TOLERANCES, UnknownTolerance, find_tolerance
from fixtures.regression.verdict import Status


@pytest.mark.parametrize("technique", TOLERANCES)
def test_every_tolerance_names_its_source(technique):
    assert len(find_tolerance(technique, "tiny").source) > 10


def test_large_models_lose_less_to_int8():
    # Dettmers 2022, table 1: 1.0070 at 125M, 1.0013 at 1.3B.
    assert find_tolerance("int8", "published", parameters=124_000_000).ppl_ratio == 1.007
    assert find_tolerance("int8", "published", parameters=1_300_000_000).ppl_ratio == 1.0015


def test_tiny_models_are_held_closer():
    assert find_tolerance("nf4", "tiny").kl_nats == 2e-3
    assert find_tolerance("nf4", "published").kl_nats == 0.05


def test_nats_of_composed_techniques_add():
    both = find_tolerance("nf4+flash", "published")
    assert both.log_ppl_nats == pytest.approx(math.log(1.05) + math.log(1.0005))
    assert both.kl_nats == pytest.approx(0.0501)
    assert both.top1 == pytest.approx(0.89)
    assert both.rouge_ratio == pytest.approx(0.96)


def test_bound_that_one_part_lacks_is_not_judged():
    both = find_tolerance("lora+nf4", "published")
    assert both.kl_nats is None
    assert both.ppl_ratio == pytest.approx(1.05)
    assert find_tolerance("pruned-50+nf4", "published").log_ppl_nats is None


def test_unknown_technique_is_refused_with_the_nearest():
    with pytest.raises(UnknownTolerance, match=r"'nf4x' \(near: nf4"):
        find_tolerance("nf4x", "tiny")


def test_bounds_measured_on_summarisers_do_not_bind_a_prose_model():
    assert find_tolerance("pruned-50", "tiny").kl_nats == 5e-2
    assert find_tolerance("pruned-50", "tiny", "prose").kl_nats is None


# Scored by fixtures.models.distil and .prune: perplexity over that of the model derived from.
SCRATCH_GPT2 = math.log(1.5528 / 1.3925)
UNTUNED_SMALL_GPT, TUNED_SMALL_GPT = math.log(1.4383 / 1.1592), math.log(1.1605 / 1.1592)


@pytest.mark.parametrize(
    ("technique", "task", "loss_nats", "status"),
    [
        ("distilled", "summary", SCRATCH_GPT2, Status.REGRESSED),
        ("pruned-50-tuned", "prose", UNTUNED_SMALL_GPT, Status.REGRESSED),
        ("pruned-50-tuned", "prose", TUNED_SMALL_GPT, Status.UNCHANGED),
    ],
)
def test_what_training_gained_is_more_than_is_tolerated(technique, task, loss_nats, status):
    tolerance = find_tolerance(technique, "tiny", task).log_ppl_nats
    assert judge_loss("ppl_ratio", loss_nats, 0.0005, tolerance, 400).status is status
