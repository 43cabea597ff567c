from __future__ import annotations

import math

import pytest

from fixtures.regression.accuracy import judge_floor, judge_loss
from fixtures.regression.differences import ArticleDifferences
from fixtures.regression.drift import judge_drift, judge_kl_drift, judge_reference_drift
from fixtures.regression.equality import judge_equal_logits
from fixtures.regression.sizes import judge_bytes
from fixtures.regression.verdict import Status, Verdict
from fixtures.reporting.metrics import METRICS
from fixtures.reporting.report import reopen
from fixtures.reporting.results import list_results
from fixtures.reporting.sections.cards import describe_change, make_card
from fixtures.stats import Interval


@pytest.fixture
def show(world):
    """Makes the card of a verdict on gpt2 nf4."""
    report = reopen(world.parse(world.document(models=["gpt2"])))
    case = next(record.case for record in report.run.records if record.case.technique == "nf4")
    return lambda verdict: make_card(report, case, verdict)


def figures_of(card):
    return [(row[0].text, row[1].text) for row in card.table.rows]


def test_reference_that_moved_shows_how_far_and_from_where(show):
    # Two articles of 10 tokens, each 5e-3 nats up: 5e-4 a token, and their mean with them.
    old = ArticleDifferences((10, 10), (31.5, 31.5))
    new = ArticleDifferences((10, 10), (31.505, 31.505))
    card = show(judge_reference_drift(old, new))
    assert card.what == METRICS["reference_drift"].label
    assert card.change == "5.00e-04 nats"
    assert card.figures == "3.150000 nats -> 3.150500 nats"
    assert card.detail == "limit 1.00e-05 nats"
    assert card.reason == (
        "the reference's articles moved by 5.00e-04 nats a token (rms); limit 1.00e-05"
    )


def test_reference_whose_mean_stays_shows_what_its_articles_moved_by(show):
    old = ArticleDifferences((10, 10), (20.0, 20.0))
    card = show(judge_reference_drift(old, ArticleDifferences((10, 10), (20.001, 19.999))))
    assert card.change == "1.00e-04 nats"
    assert card.figures == "2.00 nats -> 2.00 nats"
    assert figures_of(card)[0] == ("this run", "1.00e-04 nats")


def test_move_saved_without_its_interval_is_not_held_to_a_limit_of_something_else():
    saved = Verdict("reference_drift", Status.REGRESSED, "moved", old=3.15, new=3.1505, limit=1e-5)
    assert describe_change(saved) == ("5.00e-04 nats", "")
    assert describe_change(judge_bytes("storage_bytes", 0, 2**20)) == ("1.000 MiB", "")


def test_perplexity_that_moved_shows_the_move_within_its_interval(show):
    old = ArticleDifferences((10, 10), (0.02, 0.02))
    new = ArticleDifferences((10, 10), (0.12, 0.13))
    verdict = judge_drift(old, new)
    card = show(verdict)
    # 0.21 nats more over 20 tokens.
    assert card.change == "0.0105 nats"
    assert card.figures == "0.00200 nats -> 0.0125 nats"
    assert card.reason == verdict.reason
    shown = dict(figures_of(card))
    low, high = verdict.interval
    assert low < 0.0105 < high
    assert shown["lower end"] == f"{low:#.3g} nats"
    assert "moved by, nats a token" in card.draw()


def test_divergence_that_moved_shows_the_move(show):
    card = show(judge_kl_drift(1e-3, 1e-5, 3e-3, 1e-5))
    assert (card.change, card.figures) == ("0.00200 nats", "0.00100 nats -> 0.00300 nats")
    assert "+200.0 %" in card.reason


@pytest.mark.parametrize("metric", ["ppl_ratio", "target_ppl_ratio", "lora_ppl_ratio"])
def test_ratio_of_perplexities_is_shown_as_a_change(show, metric):
    # Judged by its logarithm: ln 1.2.
    card = show(judge_loss(metric, math.log(1.2), 1e-6, math.log(1.1), 40))
    assert card.change == "+20.0 %"
    assert card.detail == "interval +20.0 % to +20.0 %, limit +10.0 %"
    assert card.reason == ""
    assert "ln of the ratio, nats" in card.draw()


def test_small_loss_is_told_from_its_small_bound(show):
    # exp(3e-5) is 1.00003.
    card = show(judge_loss("ppl_ratio", 3e-5, 1e-7, 1e-5, 40))
    assert (card.change, card.detail.partition("limit ")[2]) == ("+0.003 %", "+0.001 %")


@pytest.mark.parametrize(
    ("metric", "axis"),
    [
        ("recovered_share", "share of full fine-tuning's gain"),
        ("share_of_lora", "share of plain LoRA's gain"),
        ("target_rougeL", "F1 less its base's"),
        ("lora_rougeL", "of plain LoRA's"),
        ("rougeL", "of fp32's"),
    ],
)
def test_chart_names_what_its_figure_is_of(show, metric, axis):
    draw = show(judge_floor(metric, 0.5, Interval(0.4, 0.6), 0.9, 40)).draw()
    assert f">{axis}<" in draw.replace("&#x27;", "'")


def test_loss_without_an_interval_shows_its_limit(show):
    card = show(judge_equal_logits(0.5))
    assert card.change == "0.5000" and card.detail.startswith("limit ")


def test_row_of_a_drift_holds_levels_and_the_interval_of_their_move(world):
    document = world.document(models=["gpt2"])
    verdict = judge_kl_drift(1e-3, 1e-5, 3e-3, 1e-5)
    world.find(document, "gpt2", "nf4", "kl_nats")["extra_info"]["verdicts"] = [verdict.to_json()]
    (row,) = (
        row
        for row in list_results(reopen(world.parse(document)))
        if (row.technique, row.metric) == ("nf4", "kl_drift")
    )
    assert (row.baseline, row.value, row.ratio) == (1e-3, 3e-3, None)
    assert row.interval_low < row.value - row.baseline < row.interval_high
