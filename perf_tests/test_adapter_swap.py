"""Adapters: loading one from disk onto a base that is ready, and switching between two."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timing


def test_adapter_load_holds_time(variant, timed_adapter_load, judge):
    judge(timed_adapter_load())


def test_adapter_swap_holds_time(variant, timed_adapter_swap, judge):
    judge(timed_adapter_swap())
