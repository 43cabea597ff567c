"""Decode rounds: how much of a workload one holds."""

from __future__ import annotations

import pytest

from fixtures.decode_rounds import count_decode_steps
from fixtures.models.registry import MODELS
from fixtures.techniques.registry import find_technique
from fixtures.variants import Variant
from fixtures.workloads import Workload


# Of 64 new tokens prefill makes the first.
@pytest.mark.parametrize(
    ("technique", "kind", "new_tokens", "steps"),
    [
        ("fp32", "cpu", 64, 16),
        ("bf16", "cuda", 64, 2),
        ("nf4", "cuda", 2, 1),
        ("compiled+bf16", "cuda", 64, 63),
        ("nf4+compiled", "cuda", 8, 7),
        ("pruned-2of4", "cuda", 64, 1),
    ],
)
def test_round_holds_few_steps_unless_they_are_replayed(technique, kind, new_tokens, steps):
    variant = Variant(MODELS["gpt2"], find_technique(technique), "published", "auto")
    assert count_decode_steps(variant, kind, Workload(1, 512, new_tokens)) == steps
