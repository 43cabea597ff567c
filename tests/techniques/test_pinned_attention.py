from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations import sdpa_attention
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sliding_window_causal_mask_function

from fixtures.techniques.pinned_attention import attend, build_mask
from fixtures.techniques.registry import find_technique

CAUSAL = SimpleNamespace(is_causal=True, num_key_value_groups=1)


def _padding(*rows: str) -> torch.Tensor:
    return torch.tensor([[mark == "x" for mark in row] for row in rows])


@pytest.mark.parametrize(
    "padding", [_padding("xxxxx", "xxx.."), _padding("..xxx", "xxxxx"), _padding("xxxx.", ".xxxx")]
)
@pytest.mark.parametrize("groups", [1, 4])
def test_rows_without_their_padding_give_what_the_mask_gives(
    padding: torch.Tensor, groups: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 5, 8, generator=generator)
    key, value = torch.randn(2, 2, 4 // groups, 5, 8, generator=generator)
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    mask = causal & padding[:, None, None, :] | torch.eye(5, dtype=torch.bool)
    expected = scaled_dot_product_attention(query, key, value, mask, enable_gqa=groups > 1)
    module = SimpleNamespace(is_causal=True, num_key_value_groups=groups)
    mixed, _ = attend(module, query, key, value, padding)
    torch.testing.assert_close(mixed[padding], expected.transpose(1, 2)[padding])


def test_a_decode_step_sees_all_keys_but_the_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 1, 8, generator=generator)
    key, value = torch.randn(2, 2, 4, 6, 8, generator=generator)
    padding = _padding("..xxxx", "xxxxxx")
    expected = scaled_dot_product_attention(query, key, value, padding[:, None, None, :])
    mixed, _ = attend(CAUSAL, query, key, value, padding)
    torch.testing.assert_close(mixed, expected.transpose(1, 2))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.booleans())
def test_rows_padded_alike_go_together_and_give_what_each_gives_alone(
    lengths: list[int], step: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    count, rows = 1 if step else 6, len(lengths)
    query = torch.randn(rows, 2, count, 8, generator=generator)
    key, value = torch.randn(2, rows, 2, 6, 8, generator=generator)
    padding = _padding(*("." * (6 - length) + "x" * length for length in lengths))
    calls: list[int] = []

    def note(module: Any, query: torch.Tensor, *others: Any, **settings: Any) -> Any:
        calls.append(len(query))
        return sdpa_attention_forward(module, query, *others, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sdpa_attention, "sdpa_attention_forward", note)
        mixed, _ = attend(CAUSAL, query, key, value, padding)
    assert calls == [len(list(alike)) for _, alike in groupby(lengths)]
    for row, length in enumerate(lengths):
        here, kept = slice(row, row + 1), slice(-min(length, count), None)
        alone, _ = sdpa_attention_forward(
            CAUSAL,
            query[here, :, kept],
            key[here, :, -length:],
            value[here, :, -length:],
            None,
        )
        torch.testing.assert_close(mixed[here, kept], alone)


def test_padding_inside_a_row_is_refused() -> None:
    tokens = torch.ones(1, 1, 4, 8)
    with pytest.raises(ValueError, match="padding at the ends of a row, not inside it"):
        attend(CAUSAL, tokens, tokens, tokens, _padding("xx.x"))


def _mask(device: str, padding: torch.Tensor | None, **changes: Any) -> torch.Tensor | None:
    arguments: dict[str, Any] = {
        "batch_size": 2,
        "q_length": 5,
        "kv_length": 5,
        "q_offset": 0,
        "kv_offset": 0,
        "mask_function": causal_mask_function,
        "attention_mask": padding,
        "allow_is_causal_skip": True,
        "device": device,
    }
    return build_mask(**(arguments | changes))


def test_no_padding_needs_no_mask_anywhere() -> None:
    assert _mask("cpu", None) is None
    assert _mask("meta", None) is None
    assert _mask("cpu", _padding("xxxxx", "xxxxx")) is None


def test_padding_is_a_full_mask_on_a_cpu_and_itself_elsewhere() -> None:
    padding = _padding("xxxxx", "xxx..")
    full = _mask("cpu", padding)
    assert full is not None and full.shape == (2, 1, 5, 5)
    # No GPU is needed to decide: any device that is not the CPU is treated as one.
    assert _mask("meta", padding) is padding


@pytest.mark.parametrize(
    "changes",
    [
        {"mask_function": sliding_window_causal_mask_function(2), "local_size": 2},
        {"q_length": 2, "q_offset": 3},
    ],
)
def test_more_than_padding_stays_a_full_mask(changes: dict[str, Any]) -> None:
    mask = _mask("meta", _padding("xxxxx", "xxx..").to("meta"), **changes)
    assert mask is not None and mask.ndim == 4


def _backends() -> tuple[bool, ...]:
    enabled = torch.backends.cuda
    return (enabled.flash_sdp_enabled(), enabled.math_sdp_enabled())


def test_the_pin_holds_in_a_forward_pass_and_no_longer(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    before = _backends()
    model = build(find_technique("flash"))
    seen: list[tuple[bool, ...]] = []
    model.transformer.h[0].attn.register_forward_hook(lambda *_: seen.append(_backends()))
    run_of(model)()
    assert before == (True, True)
    assert seen == [(True, False)]
    assert _backends() == before


def test_the_pin_is_lifted_when_a_forward_pass_fails(build: Callable[..., Any]) -> None:
    model = build(find_technique("flash"))
    with pytest.raises(IndexError):
        model(torch.tensor([[10**6]]))
    assert _backends() == (True, True)


def test_an_encoder_called_alone_is_pinned(build: Callable[..., Any]) -> None:
    model = build(find_technique("flash"), "t5-small")
    seen: list[tuple[bool, ...]] = []
    model.encoder.block[0].register_forward_hook(lambda *_: seen.append(_backends()))
    with torch.no_grad():
        model.get_encoder()(torch.arange(3, 19).reshape(1, 16))
    assert seen == [(True, False)]


@pytest.mark.filterwarnings("ignore:Flash attention kernel not used", "ignore:Both fused kernels")
def test_where_flash_cannot_run_it_raises(build: Callable[..., Any]) -> None:
    model = build(find_technique("flash"))
    # torch's CPU flash kernel has no dropout.
    model.transformer.h[0].attn.attn_dropout.p = 0.5
    model.train()
    with pytest.raises(RuntimeError, match="No available kernel"):
        model(torch.arange(3, 19).reshape(1, 16))


def test_padded_rows_agree_with_attention_written_out(
    build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    eager, model = build(find_technique("eager")), build(find_technique("flash"))
    # As on a GPU: the attention is given the padding alone.
    monkeypatch.setattr(
        "transformers.masking_utils.AttentionMaskInterface._global_mapping",
        {"pinned_sdpa": lambda **arguments: arguments["attention_mask"]},
    )
    ids = torch.arange(3, 35).reshape(2, 16)
    padding = torch.ones_like(ids)
    padding[0, 12:] = 0
    with torch.no_grad():
        flash = model(ids, attention_mask=padding).logits
        monkeypatch.undo()
        expected = eager(ids, attention_mask=padding).logits
    real = padding.bool()
    torch.testing.assert_close(flash[real], expected[real], atol=2e-5, rtol=0)
