"""Energy: joules a token, from the GPU's own counter."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.footprint


def test_energy_holds_joules_per_token(variant, workload, energy, once, judge):
    judge(once(energy))
