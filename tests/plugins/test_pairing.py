from __future__ import annotations

from types import SimpleNamespace

import pytest

from fixtures.device import Device
from fixtures.models.registry import MODELS
from fixtures.plugins import pairing
from fixtures.plugins.pairing import Paired, Partners, count_pairs, judge_pairs
from fixtures.plugins.rounds import Turns
from fixtures.regression.gate import Gate
from fixtures.techniques.registry import find_technique
from fixtures.variants import Variant

CPU = Device("cpu", "a CPU", 2**33, threads=2)
GPU = Device("cuda", "a GPU", 2**36, index=0, uuid="GPU-0")


@pytest.fixture
def built(monkeypatch):
    """A variant of which nothing is built, and a list of the references that were."""
    made = []

    def build(variant, device, weights):
        made.append(variant.id)
        return SimpleNamespace(model=object())

    def built(key, technique, device=CPU):
        variant = Variant(MODELS[key], find_technique(technique), "tiny", "auto")
        return SimpleNamespace(variant=variant, device=device, weights=None)

    monkeypatch.setattr(pairing, "build_variant", build)
    return built, made


def test_cpu_keeps_the_reference_for_the_other_variants_of_its_model(built):
    variant, made = built
    models = Partners()
    first = models.find_reference(variant("gpt2", "nf4"))
    assert models.find_reference(variant("gpt2", "int8")) is first
    models.find_reference(variant("t5-small", "int8"))
    assert models.find_reference(variant("gpt2", "int8")) is not first
    assert made == ["tiny-gpt2-fp32", "tiny-t5-small-fp32", "tiny-gpt2-fp32"]


def test_gpu_builds_the_reference_each_time(built):
    variant, made = built
    models = Partners()
    models.find_reference(variant("gpt2", "nf4", GPU))
    models.find_reference(variant("gpt2", "nf4", GPU))
    assert made == ["tiny-gpt2-fp32"] * 2


@pytest.mark.parametrize("beside", [None, lambda: pytest.fail("a reference was built")])
def test_nothing_is_paired_without_a_reference_or_unasked_on_a_gpu(beside):
    rounds = SimpleNamespace(samples=[1.0], beside=beside, device=GPU)
    config = SimpleNamespace(getoption={"--portable": False}.get)
    assert judge_pairs(config, Gate("a-gpu"), None, rounds) == Paired()


@pytest.mark.parametrize(
    ("step_s", "by_yardstick", "pairs"),
    [
        (1e-3, False, 120),  # three seconds would hold 750 of 4 ms
        (0.01, False, 75),
        (1.0, False, 10),  # what a judgement needs
        (1e-3, True, 600),
        (0.01, True, 100),
        (1.0, True, 10),
    ],
)
def test_pairs_fill_their_window_and_a_reference_is_given_four_times_as_long(
    step_s, by_yardstick, pairs
):
    turns = Turns(tuple, tuple, steps=2, by_yardstick=by_yardstick)
    assert count_pairs(SimpleNamespace(samples=[step_s] * 10), turns) == pairs
