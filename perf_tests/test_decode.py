"""Decode: every token after the first, one step at a time."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timing


def test_decode_holds_tpot(variant, workload, timed_decode, judge):
    judge(timed_decode())
