"""Divergence: how far the next-token distributions moved from the fp32 reference's."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.accuracy


def test_divergence_is_within_tolerance(variant, divergence, once, judge):
    judge(once(divergence))
