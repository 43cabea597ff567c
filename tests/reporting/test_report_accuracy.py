from __future__ import annotations

import pytest

from fixtures.regression.accuracy import judge_loss
from fixtures.regression.verdict import Status
from fixtures.reporting.report import reopen
from fixtures.reporting.sections.accuracy import build_accuracy


def score(world, technique, loss, error, verdict):
    """A run of gpt2 in which one technique has this divergence."""
    document = world.document(models=["gpt2"])
    scored = world.find(document, "gpt2", technique, "kl_nats")["extra_info"]
    scored["metrics"] |= {"kl_nats": loss, "kl_se_nats": error}
    scored["verdicts"] = [verdict.to_json()] if verdict else []
    return reopen(world.parse(document))


def find_dot(report, technique):
    block = next(each for each in build_accuracy(report).blocks if "KL divergence" in each.title)
    (dot,) = (each for each in block.draw.args[0] if each.label == technique)
    return dot


@pytest.mark.parametrize("judged", [True, False])
def test_interval_of_a_divergence_is_the_one_it_was_judged_by(world, judged):
    verdict = judge_loss("kl_nats", 0.01, 0.001, 0.02, 40) if judged else None
    dot = find_dot(score(world, "nf4", 0.01, 0.001, verdict), "nf4")
    # A one-sided bound of 95 % is 1.645 standard errors from the mean.
    assert (dot.low, dot.high) == pytest.approx((0.008355, 0.011645))


@pytest.mark.parametrize(
    ("error", "status"), [(0.0033, Status.REGRESSED), (0.0034, Status.UNDECIDED)]
)
def test_divergence_above_its_bound_fails_as_the_page_says(world, error, status):
    # 0.011 above a bound of 0.010, which lies within the interval: a third of it decides.
    verdict = judge_loss("kl_nats", 0.011, error, 0.01, 40)
    assert verdict.status is status
    assert verdict.interval.low < 0.01 < verdict.interval.high
    report = score(world, "nf4", 0.011, error, verdict)
    assert find_dot(report, "nf4").bad is (status is Status.REGRESSED)
    assert "or where one standard error is at most 33% of the bound" in build_accuracy(report).lead
