"""Load: from a checkpoint on disk to a model ready to answer."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timing


def test_load_holds_time(variant, timed_load, judge):
    judge(timed_load())
