from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.device import detect_gpu
from fixtures.measurement import phases
from fixtures.models.registry import MODELS
from fixtures.models.weights import Weights, load_model
from fixtures.techniques.fixed_attention import Span, join_shares, write_out
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
    [
        *("fp32", "tf32", "fp16", "bf16", "int8", "int8-t0", "nf4", "nf4-dq", "fp4"),
        *("sdpa", "sdpa+bf16", "pruned-2of4", "pruned-2of4+fp16"),
    ],
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


@pytest.mark.parametrize("key", ["gpt2", "gpt-neo-1.3b", "gemma-2b", "small-gpt"])
@pytest.mark.parametrize("name", ["compiled", "compiled+bf16"])
def test_compiled_steps_are_replays_with_the_same_logits(name: str, key: str) -> None:
    model = _build(name, key)
    evidence = find_technique(name).evidence(model, lambda: _logits(model, padded=False))
    assert evidence.problems == ()


@pytest.mark.parametrize("name", ["nf4+compiled", "int8-t0+compiled"])
def test_compiled_steps_take_quantised_layers(name: str) -> None:
    model = _build(name, "gpt2")
    evidence = find_technique(name).evidence(model, lambda: _logits(model, padded=False))
    assert evidence.problems == ()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("key", ["gpt-neo-1.3b", "gemma-2b"])
def test_compiled_decoding_gives_the_tokens_of_fp32(key: str, rows: int) -> None:
    # The prompt is longer than GPT-Neo's local window of 128.
    ids = torch.randint(3, 90, (rows, 150), generator=torch.Generator().manual_seed(0)).cuda()
    found, wanted = (
        phases.decode(model, phases.prefill(model, ids), 24)
        for model in (_build("compiled", key), _build("fp32", key))
    )
    assert torch.equal(found, wanted)


def test_the_packed_weights_are_saved_dense(tmp_path: Path) -> None:
    technique = find_technique("pruned-2of4")
    model = _build("pruned-2of4", "gpt2")
    technique.save(model, tmp_path)
    again = type(model).from_pretrained(tmp_path, dtype=torch.bfloat16).cuda().eval()
    torch.testing.assert_close(
        _logits(again, padded=False), _logits(model, padded=False), atol=0.05, rtol=0
    )


@pytest.mark.parametrize("window", [0, 100])
@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(8, 1, 256), (16, 16, 128), (12, 12, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attend_kernel_is_the_formula(
    heads: int, kv_heads: int, width: int, window: int, dtype: torch.dtype
) -> None:
    from fixtures.techniques.attend_kernel import attend_shares, join_by_query

    torch.manual_seed(0)
    query = torch.randn(2, heads, width, device="cuda", dtype=dtype)
    keys, values = torch.randn(2, 2, kv_heads, 1024, width, device="cuda", dtype=dtype).unbind()
    span = Span(torch.tensor([543], device="cuda"), torch.tensor([0, 7], device="cuda"))
    scale = width**-0.5
    shares = attend_shares(query, keys, values, span.position, span.starts, scale, window)
    wanted = write_out(span, query.double(), keys.double(), values.double(), scale, window)
    for found in (join_shares(*shares), join_by_query(query, *shares)):
        torch.testing.assert_close(
            found.double(), wanted, atol=1e-5 if dtype.itemsize == 4 else 5e-3, rtol=0
        )
