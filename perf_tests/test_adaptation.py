"""Adaptation: what a trained adapter gains on its own domain, and what it forgets of the other."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.accuracy, pytest.mark.adapted]


def test_adapter_recovers_the_gain_of_full_fine_tuning(variant, adaptation, once, judge):
    judge(once(adaptation))


@pytest.mark.task("summary")
def test_summaries_of_the_target_domain_are_not_worse(variant, target_summaries, once, judge):
    judge(once(target_summaries))
