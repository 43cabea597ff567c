"""Cold start: the first answer of a variant, with all that is made for it on the way."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.timing, pytest.mark.first_pass]


def test_cold_start_is_kept(variant, workload, cold_start, once, judge):
    judge(once(cold_start))
