"""What is left on a GPU when a trainee, or a compiled variant, has been let go of."""

from __future__ import annotations

import pytest
import torch

from fixtures.device import detect_gpu
from fixtures.footprint import measure_footprint
from fixtures.measurement import phases
from fixtures.measurement.memory import release_memory, release_workspaces
from fixtures.models.registry import MODELS
from fixtures.models.weights import Weights
from fixtures.techniques.registry import find_technique
from fixtures.training.cells import TrainingCell
from fixtures.training.methods import METHODS
from fixtures.training.trainee import build_trainee
from fixtures.units import MIB
from fixtures.variants import BuiltVariant, Variant, build_variant
from fixtures.workloads import TrainingWorkload, Workload

DEVICE = detect_gpu()

if DEVICE is None:
    pytest.skip("these need a GPU, and none is usable", allow_module_level=True)

# The libraries' own workspaces are taken by the first use.
SLACK = MIB
# The compiler's cache goes on holding a step that was let go of, and that its token and position.
_STEP = MIB // 64


@pytest.fixture(params=["gpt2", "gemma-2b"])
def weights(request):
    return Weights(MODELS[request.param], "tiny", "seeded", None, "for a test")


def _held() -> int:
    release_memory(DEVICE)
    return torch.cuda.memory_allocated()


def _replay(built: BuiltVariant, rows: torch.Tensor) -> None:
    for _ in range(3):  # compiled, captured, replayed
        phases.decode(built.model, phases.prefill(built.model, rows), 2)


@pytest.mark.parametrize("method", ["full", "lora+bf16", "ia3+bf16", "qlora-int8", "qlora-nf4"])
def test_nothing_of_a_trainee_stays(weights, method):
    cell = TrainingCell(weights.spec, "tiny", "seeded", METHODS[method], TrainingWorkload(2, 64))

    def train() -> None:
        trainee = build_trainee(cell, DEVICE, weights)
        trainee.step()
        trainee.model = trainee.optimiser = trainee.batch = None

    train()
    before = _held()
    train()
    assert _held() <= before + SLACK


@pytest.mark.parametrize("technique", ["bf16", "compiled+bf16", "nf4+compiled", "int8"])
def test_nothing_of_a_variant_stays(weights, technique):
    variant = Variant(weights.spec, find_technique(technique), "tiny", "seeded")
    ids = torch.arange(3, 35, device=DEVICE.torch_device).reshape(2, 16)

    def answer() -> None:
        built = build_variant(variant, DEVICE, weights)
        for rows in (ids[:1], ids):
            _replay(built, rows)
        built.release()

    answer()
    before = _held()
    answer()
    assert _held() <= before + SLACK


@pytest.mark.parametrize("technique", ["bf16", "compiled+bf16"])
def test_what_is_kept_of_other_shapes_is_let_go(weights, technique):
    variant = Variant(weights.spec, find_technique(technique), "tiny", "seeded")
    ids = torch.arange(3, 35, device=DEVICE.torch_device).reshape(2, 16)
    built = build_variant(variant, DEVICE, weights)

    def answer(rows: torch.Tensor) -> int:
        _replay(built, rows)
        return _held()

    before = answer(ids)
    both = answer(ids[:1])
    built.keep_shape(2, 16)
    assert _held() <= before + _STEP
    assert (both > before + _STEP) == (technique == "compiled+bf16")


@pytest.mark.parametrize("technique", ["bf16", "compiled+bf16", "nf4+compiled"])
def test_a_peak_is_the_same_whatever_ran_before(weights, technique):
    variant = Variant(weights.spec, find_technique(technique), "tiny", "seeded")
    workload = Workload(2, 16, 8)
    ids = torch.arange(3, 35, device=DEVICE.torch_device).reshape(2, 16)

    def weigh(*before: torch.Tensor) -> float:
        built = build_variant(variant, DEVICE, weights)
        for rows in before:
            _replay(built, rows)
        built.keep_shape(2, 16)
        peaks = measure_footprint(variant, DEVICE, ids.tolist(), workload, built)
        built.release()
        release_memory(DEVICE)
        return peaks["peak_allocated_bytes"]

    weigh(ids)  # takes the libraries' workspaces
    alone = weigh()
    assert weigh(ids[:1], ids[:, :12], ids) == pytest.approx(alone, abs=2 * _STEP)


def test_workspaces_of_a_backward_pass_are_given_back():
    release_workspaces(DEVICE)
    before = _held()
    weight = torch.randn(256, 256, device=DEVICE.torch_device, requires_grad=True)
    (weight @ weight).sum().backward()  # in a thread, and so by a handle, of its own
    del weight
    assert _held() >= before + 16 * MIB
    release_workspaces(DEVICE)
    assert _held() <= before
