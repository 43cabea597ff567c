"""From scratch: small-gpt learns the embedded book from random weights, and goes on with a text."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.footprint


def test_small_gpt_learns_as_before(scratch_cell, learning_from_scratch, once, judge_cell):
    judge_cell(once(learning_from_scratch))
