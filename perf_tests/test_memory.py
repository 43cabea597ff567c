"""Memory: bytes at the peak of prefill and decode."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.footprint


def test_memory_holds_peak(variant, workload, footprint, once, judge):
    judge(once(footprint))
