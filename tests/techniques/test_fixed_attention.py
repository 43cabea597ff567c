from __future__ import annotations

import pytest
import torch

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


def test_shares_are_joined_to_attention_over_all_slots() -> None:
    torch.manual_seed(0)
    scores, values = 9 * torch.randn(2, 3, 12), torch.randn(2, 3, 12, 8)
    wanted = torch.einsum("bhs,bhsd->bhd", scores.softmax(-1), values)
    # Three shares of four slots, and one that no slot is left for.
    parts = [
        (part.amax(-1), part, held)
        for part, held in zip(scores.split(4, -1), values.split(4, -2), strict=True)
    ]
    empty = torch.full((2, 3), float("-inf")), torch.zeros(2, 3), torch.zeros(2, 3, 8)
    peaks = torch.stack([*(peak for peak, _, _ in parts), empty[0]], -1)
    weights = [(part - peak[..., None]).exp() for peak, part, _ in parts]
    sums = torch.stack([*(weight.sum(-1) for weight in weights), empty[1]], -1)
    mixed = [
        torch.einsum("bhs,bhsd->bhd", weight, held)
        for weight, (_, _, held) in zip(weights, parts, strict=True)
    ]
    found = join_shares(torch.stack([*mixed, empty[2]], 2), peaks, sums)
    torch.testing.assert_close(found, wanted)
