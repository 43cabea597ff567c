"""ROUGE: greedy summaries of held-out articles, against those of the fp32 reference."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.accuracy, pytest.mark.task("summary")]


def test_summaries_are_not_inferior(variant, summaries, once, judge):
    judge(once(summaries))
