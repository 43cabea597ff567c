"""Settling: when no more is measured."""

from __future__ import annotations

from fixtures.plugins.settling import judge_samples
from fixtures.regression.verdict import Status, Verdict


def test_what_cannot_be_measured_any_more_is_left_undecided():
    asked = []

    def take_none(count):
        asked.append(count)
        return []

    undecided = Verdict("tpot_s", Status.UNDECIDED, "too few rounds", more_rounds_help=True)
    verdict = judge_samples(lambda samples: undecided, [1.0] * 9, take_none, asked.append)
    assert verdict is undecided
    assert asked == [9]
