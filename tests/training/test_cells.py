from __future__ import annotations

import dataclasses
from itertools import chain

import pytest

from fixtures.device import Device
from fixtures.matrix import Selection
from fixtures.models.registry import MODELS
from fixtures.shards import Shard
from fixtures.training import cells
from fixtures.training.cells import build_training_cells
from fixtures.training.scratch import build_scratch_cells

GPU = Device(
    kind="cuda",
    name="H200",
    memory_bytes=150_754_820_096,
    index=0,
    uuid="GPU-0",
    compute_capability=(9, 0),
)
L4 = dataclasses.replace(GPU, name="L4", memory_bytes=24 * 2**30, compute_capability=(8, 9))


def select(tier, shard=None, models=None, techniques=None, scale=None, given=()):
    selection = Selection.parse(models, techniques, scale, "auto", given, (), shard)
    return build_training_cells(selection, tier)


def ids(*arguments, **options):
    return [cell.id for cell in select(*arguments, **options)]


def test_cpu_tier_trains_every_tiny_model_by_every_method():
    methods = ("full", "lora", "ia3", "qlora-int8", "qlora-nf4")
    assert ids("cpu") == [
        f"tiny-{key}-{method}-train-b2-t64" for key in MODELS for method in methods
    ]


def test_gpu_tier_trains_large_models_with_adapters_on_16_bits_or_less():
    methods = ("full", "lora+bf16", "ia3+bf16", "qlora-int8", "qlora-nf4")
    assert ids("gpu") == [
        f"{key}-{method}-train-b1-t512"
        for key in ("gpt2", "gpt-neo-1.3b", "gemma-2b")
        for method in methods
    ]


def test_methods_are_those_among_the_techniques_that_are_asked_for(monkeypatch):
    selection = Selection.parse("gpt2", "nf4", None, "auto", (), ())
    assert build_training_cells(selection, "cpu") == []
    asked = dataclasses.replace(selection, techniques=("nf4", "qlora-nf4", "lora+bf16"))
    found = build_training_cells(asked, "gpu")
    assert [cell.technique for cell in found] == ["qlora-nf4", "lora+bf16"]


def test_published_shape_is_not_trained_on_a_cpu():
    assert ids("cpu", scale="published") == []
    assert all(name.startswith("tiny-") for name in ids("cpu", scale="all"))
    assert {cell.scale for cell in select("gpu", scale="all")} == {"tiny", "published"}


def test_every_cell_is_in_one_shard():
    dealt = [ids("cpu", Shard(number, 3)) for number in (1, 2, 3)]
    assert sorted(chain.from_iterable(dealt)) == sorted(ids("cpu"))


def test_cells_that_stand_alone_are_in_the_first_shard():
    def count(shard):
        return len(
            build_scratch_cells(Selection.parse(None, None, None, "auto", (), (), shard), "cpu")
        )

    assert [count(Shard(number, 2)) for number in (1, 2)] == [1, 0]


def test_training_that_a_gpu_has_no_room_for_says_how_much_it_takes():
    (full,) = [cell for cell in select("gpu", models="gemma-2b") if cell.technique == "full"]
    # 2,506 M parameters of 16 bytes are 37.3 GiB, and 512 x 256,000 logits of 16 bytes 1.95.
    assert full.unsupported(L4) == (
        "gemma-2b-full-train-b1-t512: its training takes 39.30 GiB, and L4 has 24.00 GiB"
    )
    assert full.unsupported(GPU) is None


def test_an_adapter_trains_where_all_parameters_do_not(monkeypatch):
    adapters = [cell for cell in select("gpu", models="gemma-2b") if cell.method.adapter]
    assert len(adapters) == 4
    assert [cell.unsupported(L4) for cell in adapters] == [None] * 4


def test_missing_peft_is_told(monkeypatch):
    find_spec = cells.importlib.util.find_spec
    monkeypatch.setattr(
        cells.importlib.util,
        "find_spec",
        lambda name: None if name == "peft" else find_spec(name),
    )
    full, lora = select("cpu", models="gpt2")[:2]
    cpu = Device("cpu", "Example CPU", 2**34, threads=2)
    assert full.unsupported(cpu) is None
    assert lora.unsupported(cpu) == (
        "tiny-gpt2-lora-train-b2-t64: lora needs peft, which is not installed"
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("full", {"dtype": "float32", "autocast": "bfloat16", "adapter": None, "rank": None}),
        ("lora+bf16", {"dtype": "bfloat16", "autocast": None, "adapter": "lora", "rank": 4}),
        ("ia3+bf16", {"dtype": "bfloat16", "autocast": None, "adapter": "ia3", "rank": None}),
        ("qlora-nf4", {"quantisation": "nf4", "double_quant": True, "autocast": None}),
        ("qlora-int8", {"quantisation": "llm-int8", "autocast": None, "adapter": "lora"}),
    ],
)
def test_settings_name_the_base_and_what_is_trained(method, expected):
    (cell,) = [cell for cell in select("gpu", models="gpt2") if cell.technique == method]
    settings = cell.settings(GPU)
    assert expected.items() <= settings.items()
    assert settings["gradient_checkpointing"] and settings["threads"] is None
