from __future__ import annotations

import gc
from typing import Any

import pytest
import torch

from fixtures.device import detect_gpu
from fixtures.models.registry import MODELS
from fixtures.models.weights import Weights, load_model
from fixtures.techniques.registry import find_technique

DEVICE = detect_gpu()

if DEVICE is None:
    pytest.skip("these need a GPU, and none is usable", allow_module_level=True)


def _build(name: str, key: str) -> Any:
    technique = find_technique(name)
    reason = technique.unsupported(MODELS[key], DEVICE)
    if reason:
        pytest.skip(f"{key}-{name}: {reason}")
    weights = Weights(MODELS[key], "tiny", "seeded", None, "for a test")
    gc.collect()
    return technique.apply(load_model(weights, DEVICE, technique.loading(DEVICE))).eval()


def _logits(model: Any, padded: bool) -> torch.Tensor:
    ids = torch.arange(3, 35, device=model.device).reshape(2, 16)
    mask = torch.ones_like(ids)
    if padded:
        mask[0, 12:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :5]
    with torch.no_grad():
        logits = model(**inputs).logits.float()
    return logits if model.config.is_encoder_decoder else logits[mask.bool()]


@pytest.mark.parametrize("key", [*MODELS])
@pytest.mark.parametrize(
    "name",
    ["fp32", "fp16", "bf16", "int8", "int8-t0", "nf4", "nf4-dq", "fp4", "sdpa", "sdpa+bf16"],
)
def test_evidence_holds_on_a_gpu(name: str, key: str) -> None:
    model = _build(name, key)
    evidence = find_technique(name).evidence(model, lambda: _logits(model, padded=False))
    assert evidence.problems == ()


@pytest.mark.parametrize("key", ["gpt2", "gemma-2b", "small-gpt"])
@pytest.mark.parametrize(
    "name", ["flash+bf16", "flash+fp16", "nf4+flash", "nf4+fp16", "pruned-50+flash+bf16"]
)
def test_evidence_of_compositions_holds_on_a_gpu(name: str, key: str) -> None:
    model = _build(name, key)
    evidence = find_technique(name).evidence(model, lambda: _logits(model, padded=False))
    assert evidence.problems == ()


@pytest.mark.parametrize("key", ["gpt2", "gemma-2b", "small-gpt"])
def test_flash_takes_padded_rows(key: str) -> None:
    flash, eager = _build("flash+bf16", key), _build("bf16", key)
    torch.testing.assert_close(
        _logits(flash, padded=True), _logits(eager, padded=True), atol=0.05, rtol=0
    )
