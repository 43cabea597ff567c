from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fixtures.device import Device
from fixtures.models.registry import MODELS
from fixtures.models.spec import ModelSpec
from fixtures.models.weights import Weights, load_model
from fixtures.techniques.base import Technique

CPU = Device(kind="cpu", name="a CPU", memory_bytes=2**33, threads=2)
H100 = Device(
    kind="cuda",
    name="H100",
    memory_bytes=2**36,
    index=0,
    uuid="GPU-0",
    compute_capability=(9, 0),
)
T4 = Device(
    kind="cuda", name="T4", memory_bytes=2**34, index=0, uuid="GPU-1", compute_capability=(7, 5)
)


@pytest.fixture
def cpu() -> Device:
    return CPU


@pytest.fixture
def h100() -> Device:
    return H100


@pytest.fixture
def t4() -> Device:
    return T4


@pytest.fixture
def gpt2() -> ModelSpec:
    return MODELS["gpt2"]


@pytest.fixture
def t5() -> ModelSpec:
    return MODELS["t5-small"]


@pytest.fixture
def build() -> Callable[..., Any]:
    """A tiny model of seeded weights under a technique, loaded as the suite loads it."""

    def build(technique: Technique, key: str = "gpt2", **changes: Any) -> Any:
        weights = Weights(MODELS[key], "tiny", "seeded", None, "for a test")
        model = load_model(weights, CPU, technique.loading(CPU) | changes)
        return technique.apply(model).eval()

    return build


@pytest.fixture
def run_of() -> Callable[[Any], Callable[[], Any]]:
    """One forward pass of a model as a function that gives its logits in fp32."""
    import torch

    def run_of(model: Any) -> Callable[[], Any]:
        ids = torch.arange(3, 35).reshape(2, 16)
        inputs = {"input_ids": ids}
        if model.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = ids[:, :5]

        def run() -> Any:
            with torch.no_grad():
                return model(**inputs).logits.float()

        return run

    return run_of
