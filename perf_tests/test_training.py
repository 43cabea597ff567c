"""Training: a step of full fine-tuning, or of an adapter on a frozen base."""

from __future__ import annotations

import pytest


@pytest.mark.timing
def test_training_holds_step_time(training_cell, timed_training, judge_cell):
    judge_cell(timed_training())


@pytest.mark.footprint
def test_training_holds_peak_and_loss(training_cell, training_footprint, once, judge_cell):
    judge_cell(once(training_footprint))
