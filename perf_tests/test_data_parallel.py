"""Data parallelism: the same training step dealt to several workers, each with its device."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timing


def test_workers_hold_step_time_and_learn_the_same(parallel_cell, timed_data_parallel, judge_cell):
    judge_cell(timed_data_parallel())
