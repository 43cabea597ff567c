from __future__ import annotations

import operator
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.utils
from hypothesis import given
from hypothesis import strategies as st
from torch._dynamo.utils import counters
from torch.nn import functional as F

from fixtures.techniques import row_products
from fixtures.techniques.row_products import (
    compile_with_row_products,
    find_tile,
    multiply_row,
    take_rows_apart,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_product_of_one_row_is_the_matrix_product(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    row, matrix = torch.randn(1, 64, dtype=dtype), torch.randn(64, 48, dtype=dtype)
    torch.testing.assert_close(multiply_row(row, matrix), row @ matrix)


# By torch's own documents: linear is x W^T + b with W [N, K], addmm b + x M with M [K, N].
FORMS: dict[str, Callable[..., Any]] = {
    "linear": lambda row, matrix, bias: F.linear(row, matrix.T) + bias,
    "linear with a bias": lambda row, matrix, bias: F.linear(row, matrix.T, bias),
    "addmm": lambda row, matrix, bias: torch.addmm(bias, row[0], matrix)[None],
    "matmul": lambda row, matrix, bias: torch.matmul(row, matrix) + bias,
    "@": lambda row, matrix, bias: row @ matrix + bias,
}
PRODUCTS = (F.linear, torch._C._nn.linear, torch.addmm, torch.matmul, operator.matmul)


def trace(
    call: Callable[..., Any], *inputs: torch.Tensor
) -> tuple[torch.fx.GraphModule, list[torch.Tensor]]:
    """A call as dynamo hands it to a backend, and its inputs in the order that they have there."""
    given: list[Any] = []

    def keep(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        given.extend((graph, inputs))
        return graph.forward

    torch._dynamo.reset()
    torch.compile(call, backend=keep, fullgraph=True, dynamic=False)(*inputs)
    return given[0], given[1]


def count(graph: torch.fx.GraphModule, *targets: Any) -> int:
    return sum(node.target in targets for node in graph.graph.nodes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_product_is_taken_apart(form: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    row, matrix, bias = (torch.randn(*shape, dtype=dtype) for shape in ((1, 1, 8), (8, 5), (5,)))
    graph, inputs = trace(FORMS[form], row, matrix, bias)
    assert count(graph, *PRODUCTS) == 1
    take_rows_apart(graph)
    assert count(graph, *PRODUCTS) == 0
    wanted = torch.einsum("brk,kn->brn", row, matrix) + bias
    torch.testing.assert_close(graph(*inputs)[0], wanted)


def gate(hidden: torch.Tensor, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Two products of one activation."""
    inner = torch.relu(hidden)
    return F.linear(inner, gate) * F.linear(inner, up)


def test_a_row_that_is_multiplied_twice_is_stored_once() -> None:
    inputs = torch.randn(1, 1, 8), torch.randn(5, 8), torch.randn(5, 8)
    graph, taken = trace(gate, *inputs)
    take_rows_apart(graph)
    (stored,) = (node for node in graph.graph.nodes if node.target is torch.as_strided)
    assert len(stored.users) == 2
    torch.testing.assert_close(graph(*taken)[0], gate(*inputs))


def test_a_product_of_a_product_is_taken_apart_too() -> None:
    inputs = torch.randn(1, 1, 8), torch.randn(3, 8), torch.randn(5, 3)
    graph, taken = trace(lambda row, down, up: F.linear(F.linear(row, down), up), *inputs)
    take_rows_apart(graph)
    assert count(graph, torch.as_strided) == 2
    torch.testing.assert_close(graph(*taken)[0], inputs[0] @ inputs[1].T @ inputs[2].T)


LEFT_ALONE: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "more rows": (F.linear, (torch.ones(1, 2, 8), torch.ones(5, 8))),
    "whole numbers": (
        torch.matmul,
        (torch.ones(1, 8, dtype=torch.long), torch.ones(8, 5, dtype=torch.long)),
    ),
    "a factor of the bias": (
        lambda b, row, w: torch.addmm(b, row, w, beta=0.5),
        (torch.ones(5), torch.ones(1, 8), torch.ones(8, 5)),
    ),
    "a matrix of each head": (torch.matmul, (torch.ones(1, 1, 8), torch.ones(3, 8, 5))),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_other_products_are_left_to_inductor(case: str) -> None:
    call, inputs = LEFT_ALONE[case]
    graph, _ = trace(call, *inputs)
    before = graph.code
    take_rows_apart(graph)
    assert graph.code == before


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler on a CPU")
def test_compiled_code_is_found_again_until_this_suite_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    inputs = torch.randn(1, 1, 8), torch.randn(5, 8), torch.randn(5, 8)

    def compile_anew() -> tuple[int, int]:
        """How often the code was found, and how often it was not."""
        torch._dynamo.reset()
        counters.clear()
        compiled = torch.compile(gate, backend=compile_with_row_products, fullgraph=True)
        torch.testing.assert_close(compiled(*inputs), gate(*inputs))
        seen = counters["aot_autograd"]
        return seen["autograd_cache_hit"], seen["autograd_cache_miss"]

    with torch._inductor.utils.fresh_inductor_cache():
        assert compile_anew() == (0, 1)
        assert compile_anew() == (1, 0)
        with torch.compiler.config.patch(cache_key_tag="the user's own"):  # type: ignore[attr-defined]
            assert compile_anew() == (0, 1)
        changed = tmp_path / "row_products.py"
        changed.write_text("# another version")
        monkeypatch.setattr(row_products, "__file__", str(changed))
        assert compile_anew() == (0, 1)


@given(length=st.integers(64, 8192), count=st.integers(128, 300_000))
def test_tiles_are_what_triton_takes(length: int, count: int) -> None:
    tile = find_tile(length, count)
    assert tile is not None
    rows, warps = tile["XBLOCK"], tile["num_warps"]
    assert rows & (rows - 1) == warps & (warps - 1) == 0
    assert 1 <= warps <= 32
    assert rows * length <= 32 * 32 * warps


# Of GPT-Neo-1.3B: a projection, and what its MLP narrows by; GPT-2's head.
@pytest.mark.parametrize(
    ("length", "count", "rows", "warps"),
    [(2048, 2048, 2, 4), (8192, 2048, 1, 8), (768, 50257, 4, 4)],
)
def test_tiles_are_the_fastest_that_were_seen(
    length: int, count: int, rows: int, warps: int
) -> None:
    tile = {"XBLOCK": rows, "num_warps": warps, "num_stages": 1}
    assert find_tile(length, count) == tile


def test_norms_attention_and_sums_too_long_are_left_to_inductor() -> None:
    assert find_tile(2048, 1) is None
    assert find_tile(32, 2048) is None
    assert find_tile(16384, 2048) is None


def test_a_multiplied_matrix_is_read_before_its_row() -> None:
    read: list[str] = []

    class Noted(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func is torch.Tensor.mul:
                read.extend(str(tuple(each.shape)) for each in args)
            return super().__torch_function__(func, types, args, kwargs or {})

    row, matrix = torch.ones(1, 4).as_subclass(Noted), torch.ones(4, 128).as_subclass(Noted)
    multiply_row(row, matrix)
    assert read == ["(1, 4, 128)", "(1, 4, 1)"]
    read.clear()
    multiply_row(torch.ones(1, 8193).as_subclass(Noted), torch.ones(8193, 2).as_subclass(Noted))
    assert read == ["(1, 8193, 1)", "(1, 8193, 2)"]
