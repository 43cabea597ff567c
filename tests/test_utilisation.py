"""Utilisation: what a case is held against, beside what models really hold."""

from __future__ import annotations

import pytest
import torch

from fixtures.device import detect_cpu
from fixtures.measurement.phases import decode, prefill
from fixtures.measurement.storage import tensor_bytes
from fixtures.models.registry import MODELS
from fixtures.models.weights import resolve_weights
from fixtures.techniques.registry import find_technique
from fixtures.utilisation import expect_cache_bytes
from fixtures.variants import Variant, build_variant
from fixtures.workloads import Workload


def count_cache_bytes(cache):
    """Of a cache's tensors; an encoder-decoder's has two halves."""
    names = ("self_attention_cache", "cross_attention_cache")
    halves = [getattr(cache, name) for name in names if hasattr(cache, name)]
    layers = [layer for half in halves or [cache] for layer in half.layers]
    return tensor_bytes(tensor for layer in layers for tensor in (layer.keys, layer.values))


@pytest.mark.parametrize("technique", ["fp32", "bf16"])
@pytest.mark.parametrize("model", MODELS)
def test_cache_takes_what_the_shape_says(model, technique):
    device, workload = detect_cpu(), Workload(2, 12, 5)
    spec = MODELS[model]
    weights = resolve_weights(spec, "tiny", "auto", device)
    built = build_variant(Variant(spec, find_technique(technique), "tiny", "auto"), device, weights)
    filled = prefill(built.model, torch.arange(24).reshape(2, 12))
    decode(built.model, filled, workload.decode_steps)
    assert expect_cache_bytes(built, workload) == count_cache_bytes(filled.cache)
