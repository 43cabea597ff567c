from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixtures.techniques.row_products import (
    add_multiply_row,
    find_tile,
    hold_rows,
    multiply_row,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_product_of_one_row_is_the_matrix_product(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    row, matrix, bias = (torch.randn(shape, dtype=dtype) for shape in ((1, 64), (64, 48), (48,)))
    torch.testing.assert_close(multiply_row(row, matrix), row @ matrix)
    torch.testing.assert_close(add_multiply_row(bias, row, matrix), torch.addmm(bias, row, matrix))


def test_other_products_are_left_to_inductor() -> None:
    rows, matrix, bias = torch.ones(2, 4), torch.ones(4, 3), torch.ones(3)
    assert multiply_row(rows, matrix) is NotImplemented
    assert multiply_row(torch.ones(1, 4, dtype=torch.long), matrix.long()) is NotImplemented
    assert add_multiply_row(bias, rows[:1], matrix, beta=0.5) is NotImplemented


def trace(rows: int) -> torch.fx.GraphModule:
    """Two products of one activation, as dynamo hands them to a backend."""

    class Gated(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = torch.nn.Parameter(torch.randn(5, 8))
            self.up = torch.nn.Parameter(torch.randn(5, 8))

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            inner = torch.relu(hidden)
            linear = torch.nn.functional.linear
            return linear(inner, self.gate) * linear(inner, self.up)

    graph = torch.fx.symbolic_trace(Gated())
    for node in graph.graph.nodes:
        node.meta["example_value"] = torch.empty(1, rows, 8)
    return graph


def test_a_row_that_is_multiplied_twice_is_stored_once() -> None:
    graph, hidden = trace(1), torch.randn(1, 1, 8)
    before = graph(hidden)
    hold_rows(graph)
    stored = [node for node in graph.graph.nodes if node.target == "as_strided"]
    assert len(stored) == 1 and len(stored[0].users) == 2
    assert torch.equal(graph(hidden), before)


def test_more_rows_are_not_stored_apart() -> None:
    graph = trace(2)
    hold_rows(graph)
    assert not [node for node in graph.graph.nodes if node.target == "as_strided"]


@given(length=st.integers(1, 8192), count=st.integers(128, 300_000))
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


def test_norms_and_sums_too_long_are_left_to_inductor() -> None:
    assert find_tile(2048, 1) is None
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
