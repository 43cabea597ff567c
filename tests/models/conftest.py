from __future__ import annotations

import pytest

from fixtures.device import detect_cpu
from fixtures.models.registry import MODELS
from fixtures.models.weights import Weights, write_checkpoint


@pytest.fixture(scope="session")
def cpu():
    return detect_cpu()


@pytest.fixture
def write_seeded(tmp_path):
    """Write a model's seeded tiny checkpoint, tokenizer included, and return its folder."""

    def write(key, folder=None):
        weights = Weights(MODELS[key], "tiny", "seeded", None, "a test")
        return write_checkpoint(weights, folder or tmp_path / key)

    return write
