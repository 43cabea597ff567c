"""Applied: the technique that a cell is named after is really on."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.footprint


def test_technique_is_applied(variant, applied, once, judge):
    judge(once(applied))
