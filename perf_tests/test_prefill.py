"""Prefill: the prompt in, the first token out."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timing


def test_prefill_holds_ttft(variant, workload, timed_prefill, judge):
    judge(timed_prefill())
