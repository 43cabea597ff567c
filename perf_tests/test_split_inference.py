"""Split inference: a model over two devices answers as it does on one."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.footprint


def test_split_model_answers_as_one(split_cell, split_inference, once, judge_cell):
    judge_cell(once(split_inference))
