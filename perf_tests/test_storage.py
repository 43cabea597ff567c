"""Storage: bytes of the weights as held, and of the checkpoint on disk."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.footprint


def test_storage_holds_size(variant, stored, once, judge):
    judge(once(stored))
