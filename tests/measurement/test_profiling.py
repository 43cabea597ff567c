from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.device import detect_cpu
from fixtures.measurement.profiling import (
    MOST_OPERATORS,
    OTHERS,
    Operator,
    _find_launches,
    find_least,
    keep_operators,
    profile_round,
)
from fixtures.reporting import why


def multiply_thrice():
    square = torch.ones(8, 8)
    for _ in range(3):
        square = torch.mm(square, square)


@pytest.fixture(scope="module")
def profile():
    """Rounds of three products, each prepared by a sine; and how often one was prepared."""
    prepared = []

    def ready():
        torch.sin(torch.ones(4))
        prepared.append(1)
        return multiply_thrice

    found = profile_round(ready, detect_cpu())
    return found, len(prepared)


def test_operators_of_one_round_are_counted_and_timed(profile):
    operators = {each.name: each for each in profile[0].operators}
    assert operators["aten::mm"].calls == 3
    assert 0 < operators["aten::mm"].time_s < 1


def test_every_round_is_prepared_and_no_preparation_is_watched(profile):
    found, prepared = profile
    assert prepared == 4  # three under PyTorch's profiler, one under cProfile
    assert "aten::sin" not in {each.name for each in found.operators}


def test_functions_of_python_are_listed_with_their_calls(profile):
    functions = {name: row[0] for (_, _, name), row in profile[0].functions.stats.items()}
    assert functions["multiply_thrice"] == 1
    assert next(calls for name, calls in functions.items() if "torch.mm" in name) == 3


def test_wait_for_a_core_in_one_round_is_no_operators_time():
    rounds = [
        [Operator("aten::mm", 12e-3, 3), Operator("aten::add", 1e-4, 1)],
        [Operator("aten::mm", 2e-4, 3), Operator("aten::add", 11e-3, 1)],
    ]
    assert find_least(rounds) == (Operator("aten::mm", 2e-4, 3), Operator("aten::add", 1e-4, 1))


def test_few_operators_are_kept_by_the_step():
    kept = keep_operators([Operator("aten::mm", 0.03, 30), Operator("aten::add", 0.015, 15)], 15)
    assert kept == {
        "aten::mm": {"time_s": pytest.approx(0.002), "calls": 2},
        "aten::add": {"time_s": pytest.approx(0.001), "calls": 1},
    }


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 500)), max_size=40), st.integers(1, 64))
@settings(deadline=None, max_examples=50)
def test_what_is_kept_is_small_and_loses_no_time_and_no_call(figures, steps):
    operators = sorted(
        (Operator(f"aten::op{place}", *figure) for place, figure in enumerate(figures)),
        key=lambda each: -each.time_s,
    )
    kept = keep_operators(operators, steps)
    assert len(kept) <= MOST_OPERATORS == 12
    for name, place in (("time_s", 0), ("calls", 1)):
        whole = sum(figure[place] for figure in figures)
        assert steps * sum(each[name] for each in kept.values()) == pytest.approx(whole)
    named = [each["time_s"] for name, each in kept.items() if name != OTHERS]
    assert named == sorted(named, reverse=True)


def test_what_is_kept_is_what_a_regression_is_explained_by():
    assert OTHERS == why.OTHER_OPERATORS


CPU, CUDA = SimpleNamespace(name="CPU"), SimpleNamespace(name="CUDA")


def on_host(name, *kernels):
    launched = [SimpleNamespace(name=kernel, duration=time_us) for kernel, time_us in kernels]
    return SimpleNamespace(name=name, device_type=CPU, kernels=launched)


def on_gpu(name, time_us):
    return SimpleNamespace(name=name, device_type=CUDA, self_device_time_total=time_us)


def test_kernels_count_for_the_operator_that_launched_them():
    gemm = "void gemv2T_kernel<float, 128>(float const*)"
    events = [
        on_host("aten::mm", (gemm, 30.0)),
        on_host("aten::mm", (gemm, 34.0)),
        on_host("aten::view"),
        on_host("cudaLaunchKernel"),
        on_gpu(gemm, 30.0),
        on_gpu(gemm, 34.0),
    ]
    (found,) = _find_launches(events)
    assert (found.name, found.calls) == ("aten::mm", 2)
    assert found.time_s == pytest.approx(64e-6)


def test_kernels_of_a_replayed_graph_stand_for_themselves():
    gemm = "void gemv2T_kernel<float, 128>(float const*)"
    events = [
        on_host("aten::copy_", ("Memcpy HtoD (Pageable -> Device)", 2.0)),
        on_gpu("Memcpy HtoD (Pageable -> Device)", 2.0),
        on_host("cudaGraphLaunch"),
        on_gpu(gemm, 30.0),
        on_gpu(gemm, 32.0),
    ]
    found = {each.name: (each.calls, each.time_s) for each in _find_launches(events)}
    assert found == {
        "aten::copy_": (1, pytest.approx(2e-6)),
        "gemv2T_kernel": (2, pytest.approx(62e-6)),
    }
