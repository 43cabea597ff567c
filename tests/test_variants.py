from __future__ import annotations

import gc
import pickle
import weakref

import pytest

from fixtures.device import Device
from fixtures.models.registry import MODELS
from fixtures.models.weights import CheckpointError, Weights, resolve_weights
from fixtures.techniques.registry import find_technique
from fixtures.variants import Variant, build_variant

CPU = Device(kind="cpu", name="a CPU", memory_bytes=2**33, threads=2)


def variant(technique="nf4", scale="tiny", key="gpt2"):
    return Variant(MODELS[key], find_technique(technique), scale, "auto")


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (variant(), "tiny-gpt2-nf4"),
        (variant("nf4+flash"), "tiny-gpt2-nf4+flash"),
        (variant(scale="published", key="gpt-neo-1.3b"), "gpt-neo-1.3b-nf4"),
    ],
)
def test_id_is_lower_case_and_tells_tiny_from_published(cell, name):
    assert cell.id == name
    assert cell.id == cell.id.lower()


def test_variants_of_one_model_and_scale_share_a_model_id():
    assert variant("int8-t0").model_id == variant("nf4").model_id == "tiny-gpt2"
    assert variant(scale="published").model_id == "gpt2"


def test_reference_is_fp32_of_the_same_model_and_weights():
    reference = variant().reference()
    assert reference == variant("fp32")
    assert reference.is_reference
    assert not variant().is_reference


def test_variant_reaches_a_child_process():
    for cell in (variant("nf4+flash"), variant("fp32", "published", "small-gpt")):
        assert pickle.loads(pickle.dumps(cell)).id == cell.id


def test_cell_that_cannot_run_says_which_and_why():
    turing = Device(
        kind="cuda", name="T4", memory_bytes=2**34, index=0, uuid="u", compute_capability=(7, 5)
    )
    assert variant("bf16").unsupported(CPU) is None
    assert variant("bf16").unsupported(turing).startswith("tiny-gpt2-bf16: ")


def test_built_variant_is_ready_to_answer_and_says_how_it_was_made():
    built = build_variant(variant("bf16"), CPU)
    assert not built.model.training
    assert str(built.model.dtype) == "torch.bfloat16"
    assert built.weights.kind == "shipped"
    assert built.settings()["dtype"] == "bfloat16"
    assert built.tokenizer.encode("council")


def test_resolved_weights_are_taken_as_they_are():
    seeded = Weights(MODELS["gpt2"], "tiny", "seeded", None, "a test")
    assert build_variant(variant("fp32"), CPU, seeded).weights is seeded


def test_released_variant_holds_no_model():
    built = build_variant(variant("nf4"), CPU)
    gone = weakref.ref(built.model)
    built.release()
    gc.collect()
    assert (built.model, gone()) == (None, None)


def test_missing_checkpoint_is_an_error_of_the_build(tmp_path):
    shipped = resolve_weights(MODELS["gpt2"], "tiny", "shipped", CPU)
    gone = Weights(shipped.spec, "tiny", "shipped", tmp_path / "gone", "a test")
    with pytest.raises(CheckpointError, match=r"gone is missing; .*fixtures\.models\.train gpt2"):
        build_variant(variant("fp32"), CPU, gone)


def test_tiny_model_gets_one_thread_and_a_real_shape_them_all():
    two = Device(kind="cpu", name="a CPU", memory_bytes=2**34, threads=2)
    for scale, threads in (("tiny", 1), ("published", 2)):
        cell = Variant(MODELS["gpt2"], find_technique("fp32"), scale, "auto")
        assert cell.threads(two) == threads
