from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, GPT2Config

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


def test_math_is_no_attention_written_out() -> None:
    with sdpa_kernel(SDPBackend.MATH):
        counts = count_kernels(lambda: _attend(2))
    assert counts["aten::_scaled_dot_product_attention_math"] == 2
    assert "aten::_softmax" not in counts


def test_other_work_is_not_counted() -> None:
    assert not count_kernels(lambda: torch.ones(4, 4) @ torch.ones(4, 4))


@torch.library.custom_op("flash_attn::_flash_attn_forward", mutates_args=())
def _stand_in(query: torch.Tensor) -> torch.Tensor:
    return query.clone()


def test_operators_of_flash_attn_are_counted() -> None:
    # flash-attn registers its kernels by these names; it needs a GPU, so one stands in.
    counts = count_kernels(lambda: _stand_in(torch.ones(2)))
    assert counts == {"flash_attn::_flash_attn_forward": 1}


class OnlyLinear(torch.Tensor):
    """Weights [4, 3] that know one operator, as semi-structured ones on a GPU know a few."""

    @staticmethod
    def __new__(cls) -> OnlyLinear:
        return torch.Tensor._make_wrapper_subclass(cls, (4, 3), dtype=torch.float32)

    @classmethod
    def __torch_dispatch__(
        cls, operator: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> torch.Tensor:
        if operator is not torch.ops.aten.linear.default:
            raise NotImplementedError(f"no {operator}")
        return arguments[0] @ torch.ones(3, 4)


def test_what_a_tensor_of_its_own_kind_knows_is_not_taken_apart() -> None:
    linear = torch.nn.functional.linear

    def run() -> None:
        with torch.inference_mode():
            linear(torch.ones(2, 3), OnlyLinear())
        _attend(2)

    assert count_kernels(run)["aten::scaled_dot_product_attention"] == 2


def test_no_profiler_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    real = torch.autograd.profiler.profile.__init__

    def watch(self: object, *arguments: object, **options: object) -> None:
        started.append(self)
        real(self, *arguments, **options)

    monkeypatch.setattr(torch.autograd.profiler.profile, "__init__", watch)
    counts = count_kernels(lambda: _attend(1))
    assert counts["aten::scaled_dot_product_attention"] == 1
    assert started == []
    with profile(activities=[ProfilerActivity.CPU]):
        _attend(1)
    assert len(started) == 1  # one that is asked is seen


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_model_in_inference_mode_is_seen_as_the_profiler_sees_it(implementation: str) -> None:
    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=64)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=implementation).eval()

    def run() -> None:
        with torch.inference_mode():
            model(input_ids=torch.arange(12)[None])

    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run()
    seen = {event.key: event.count for event in profiled.key_averages()}
    counts = count_kernels(run)
    assert counts and counts == {name: seen[name] for name in counts}
    missed = {name for name in seen if "scaled_dot_product" in name or name == "aten::_softmax"}
    assert missed <= counts.keys()
