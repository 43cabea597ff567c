from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixtures.techniques.fixed_attention import Span, attend_prompt, attend_step, join_shares


def sdpa(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scale):
    groups = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(groups, dim=1) for part in (key, value))
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale
    )


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 1), (4, 2), (4, 4)])
def test_step_is_sdpa_over_the_filled_slots(heads: int, kv_heads: int, window: int | None) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, heads, 1, 16)
    key, value = torch.randn(2, 2, kv_heads, 32, 16).unbind()
    # Row 0 holds slots 0 to 19, row 1 slots 3 to 19; a window of 5 leaves 15 to 19 of both.
    mask = torch.zeros(2, 1, 1, 32, dtype=torch.bool)
    mask[0, ..., :20] = mask[1, ..., 3:20] = True
    if window:
        mask[..., :15] = False
    span = Span(position=torch.tensor([19]), starts=torch.tensor([0, 3]))
    found, _ = attend_step(
        span, torch.nn.Module(), query, key, value, None, scaling=0.3, sliding_window=window
    )
    torch.testing.assert_close(found, sdpa(query, key, value, mask, 0.3).transpose(1, 2))


@pytest.mark.parametrize("window", [None, 4])
def test_prompt_is_causal_and_keeps_to_its_window(window: int | None) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, 4, 10, 16)
    key, value = torch.randn(2, 2, 2, 10, 16).unbind()
    mask = torch.ones(10, 10, dtype=torch.bool).tril()
    if window:
        mask &= torch.ones(10, 10, dtype=torch.bool).triu(1 - window)
    found, _ = attend_prompt(
        torch.nn.Module(), query, key, value, None, scaling=0.3, sliding_window=window
    )
    torch.testing.assert_close(found, sdpa(query, key, value, mask, 0.3).transpose(1, 2))


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(any),
    st.floats(0, 60),
    st.integers(0, 2**32 - 1),
)
def test_shares_are_joined_to_attention_over_all_slots(
    sizes: list[int], spread: float, seed: int
) -> None:
    """Shares of any sizes, none among them, of scores of any spread."""
    random = torch.Generator().manual_seed(seed)
    scores = spread * torch.randn(2, 3, sum(sizes), generator=random)
    values = torch.randn(2, 3, sum(sizes), 8, generator=random)
    mixed, peaks, sums = [], [], []
    for part, held in zip(scores.split(sizes, -1), values.split(sizes, -2), strict=True):
        empty = part.shape[-1] == 0
        peak = torch.full((2, 3), float("-inf")) if empty else part.amax(-1)
        weights = (part - peak[..., None]).exp()
        mixed.append(torch.einsum("bhs,bhsd->bhd", weights, held))
        peaks.append(peak)
        sums.append(weights.sum(-1))
    found = join_shares(torch.stack(mixed, 2), torch.stack(peaks, -1), torch.stack(sums, -1))
    torch.testing.assert_close(found, torch.einsum("bhs,bhsd->bhd", scores.softmax(-1), values))
