from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from fixtures.techniques.attention_kernels import _ATTENTION, count_kernels


def _attend(times: int) -> None:
    query = torch.ones(1, 2, 4, 8)
    for _ in range(times):
        torch.nn.functional.scaled_dot_product_attention(query, query, query)


def test_each_call_is_counted() -> None:
    assert count_kernels(lambda: _attend(3), "cpu") == {
        "aten::scaled_dot_product_attention": 3,
        "aten::_scaled_dot_product_flash_attention_for_cpu": 3,
    }


def test_math_shows_its_softmax() -> None:
    with sdpa_kernel(SDPBackend.MATH):
        counts = count_kernels(lambda: _attend(2), "cpu")
    assert counts["aten::_scaled_dot_product_attention_math"] == 2
    assert counts["aten::_softmax"] == 2


def test_other_work_is_not_counted() -> None:
    assert not count_kernels(lambda: torch.ones(4, 4) @ torch.ones(4, 4), "cpu")


def test_names_of_gpu_kernels_are_cut_from_their_signatures() -> None:
    # As nsys prints flash-attn 2's kernel, and torch's copy of it.
    signature = "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128> >(params)"
    found = _ATTENTION.search(signature)
    assert found is not None and found.group() == "flash_fwd_kernel"
