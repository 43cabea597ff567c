"""Generate: what a user calls, end to end."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timing


def test_generate_holds_throughput(variant, workload, timed_generate, judge):
    judge(timed_generate())
