"""Storage: bytes of the weights as held, and of the checkpoint on disk."""

from __future__ import annotations

import pytest

# bitsandbytes repacks 4-bit weights in their first forward pass on some CPUs.
pytestmark = [pytest.mark.footprint, pytest.mark.as_built]


def test_storage_holds_size(variant, stored, once, judge):
    judge(once(stored))
