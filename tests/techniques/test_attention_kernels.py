from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from fixtures.techniques.attention_kernels import count_kernels


def _attend(times: int) -> None:
    query = torch.ones(1, 2, 4, 8)
    for _ in range(times):
        torch.nn.functional.scaled_dot_product_attention(query, query, query)


def test_each_call_is_counted() -> None:
    assert count_kernels(lambda: _attend(3)) == {
        "aten::scaled_dot_product_attention": 3,
        "aten::_scaled_dot_product_flash_attention_for_cpu": 3,
    }


def test_math_shows_its_softmax() -> None:
    with sdpa_kernel(SDPBackend.MATH):
        counts = count_kernels(lambda: _attend(2))
    assert counts["aten::_scaled_dot_product_attention_math"] == 2
    assert counts["aten::_softmax"] == 2


def test_other_work_is_not_counted() -> None:
    assert not count_kernels(lambda: torch.ones(4, 4) @ torch.ones(4, 4))


@torch.library.custom_op("flash_attn::_flash_attn_forward", mutates_args=())
def _stand_in(query: torch.Tensor) -> torch.Tensor:
    return query.clone()


def test_operators_of_flash_attn_are_counted() -> None:
    # flash-attn registers its kernels by these names; it needs a GPU, so one stands in.
    counts = count_kernels(lambda: _stand_in(torch.ones(2)))
    assert counts == {"flash_attn::_flash_attn_forward": 1}


def test_activities_of_the_gpu_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    real = torch.profiler.profile

    def watch(*, activities: list[object]) -> object:
        asked.extend(activities)
        return real(activities=activities)

    monkeypatch.setattr(torch.profiler, "profile", watch)
    count_kernels(lambda: _attend(1))
    assert asked == [torch.profiler.ProfilerActivity.CPU]
