from __future__ import annotations

import pytest
import torch

from fixtures.techniques.row_products import add_multiply_row, hold_rows, multiply_row


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
