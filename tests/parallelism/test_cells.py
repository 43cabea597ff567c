from __future__ import annotations

import pytest

from fixtures.device import Device
from fixtures.matrix import Selection
from fixtures.parallelism import cells as parallel_cells
from fixtures.parallelism import split_cells
from fixtures.parallelism.cells import build_parallel_cells, is_compared
from fixtures.parallelism.split_cells import build_split_cells
from fixtures.shards import Shard

CPU = Device("cpu", "Example CPU", 2**34, threads=2)
GPU = Device("cuda", "H200", 2**37, index=0, uuid="GPU-0")


def select(models=None, techniques=None, scale=None, shard=None):
    return Selection.parse(models, techniques, scale, "auto", (), (), shard)


def ids(cells):
    return [cell.id for cell in cells]


def test_small_gpt_is_trained_by_one_two_and_four_workers_on_one_batch():
    assert ids(build_parallel_cells(select(), "cpu")) == [
        f"tiny-small-gpt-data-parallel-train-b8-t64-w{count}" for count in (1, 2, 4)
    ]
    assert ids(build_parallel_cells(select(), "gpu")) == [
        f"small-gpt-data-parallel-train-b512-t512-w{count}" for count in (1, 2, 4)
    ]


def test_large_models_are_split_over_two_gpus_in_both_ways():
    assert ids(build_split_cells(select(), "gpu")) == [
        f"{key}-{way}-b1-p512-n64"
        for key in ("gpt-neo-1.3b", "gemma-2b")
        for way in ("device-map", "tensor-parallel")
    ]
    assert ids(build_split_cells(select(), "cpu")) == [
        f"tiny-{key}-tensor-parallel-b1-p64-n16" for key in ("gpt-neo-1.3b", "gemma-2b")
    ]


@pytest.mark.parametrize("build", [build_parallel_cells, build_split_cells])
@pytest.mark.parametrize(
    "options",
    [{"models": "gpt2"}, {"techniques": "nf4"}, {"scale": "published"}, {"shard": Shard(2, 2)}],
)
def test_cells_that_were_not_asked_for_are_left_out(build, options):
    assert build(select(**options), "cpu") == []


def test_number_of_workers_is_part_of_the_experiment():
    (cell,) = build_parallel_cells(select(), "gpu", (2,))
    settings = cell.settings(GPU)
    assert (settings["workers"], settings["backend"]) == (2, "nccl")
    assert settings["autocast"] == "bfloat16"
    assert cell.settings(CPU)["backend"] == "gloo"
    assert cell.plan(GPU).workload == cell.dealt


@pytest.mark.parametrize("count", [0, 3])
def test_workers_that_cannot_share_the_batch_are_refused(count):
    with pytest.raises(ValueError, match=rf"\b{count} workers"):
        build_parallel_cells(select(), "cpu", (count,))


def test_too_few_devices_are_one_sentence(monkeypatch):
    def find_shortage(workers, device):
        return None if workers == 1 else f"{workers} workers need {workers} GPUs"

    for module in (parallel_cells, split_cells):
        monkeypatch.setattr(module, "find_shortage", find_shortage)
    one, two = build_parallel_cells(select(), "gpu", (1, 2))
    assert one.unsupported(GPU) is None
    assert two.unsupported(GPU) == f"{two.id}: 2 workers need 2 GPUs"
    split = build_split_cells(select(), "gpu")[0]
    assert split.unsupported(GPU) == f"{split.id}: 2 workers need 2 GPUs"


@pytest.mark.parametrize(("there", "compared"), [(1, [False, True, True]), (2, [True, True, True])])
def test_one_worker_is_compared_where_more_can_run(monkeypatch, there, compared):
    def find_shortage(workers, device):
        return None if workers <= there else "too few"

    monkeypatch.setattr(parallel_cells, "find_shortage", find_shortage)
    cells = build_parallel_cells(select(), "gpu", (1, 2, 4))
    assert [is_compared(cell, cells, GPU) for cell in cells] == compared
