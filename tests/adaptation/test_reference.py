from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from fixtures.adaptation import reference
from fixtures.adaptation.recovery import TextLosses
from fixtures.adaptation.reference import LOSSES_NAME, find_full_losses, read_losses
from fixtures.adapters.fitting import FULL
from fixtures.adapters.provenance import read_provenance
from fixtures.adapters.shipped import SHIPPED
from fixtures.device import detect_cpu
from fixtures.models.checkpoint import CheckpointError
from fixtures.models.registry import MODELS
from fixtures.models.weights import Weights, resolve_weights

CPU = detect_cpu()


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The recorded figures of gpt2, in a folder that may be changed."""
    folder = tmp_path / "gpt2" / FULL
    shutil.copytree(SHIPPED / "gpt2" / FULL, folder)
    monkeypatch.setattr(reference, "SHIPPED", tmp_path)
    return folder


def shipped(key="gpt2"):
    return resolve_weights(MODELS[key], "tiny", "auto", CPU)


@pytest.mark.parametrize("key", MODELS)
def test_recorded_losses_are_those_that_the_recorded_perplexity_comes_from(key):
    losses = find_full_losses(shipped(key), CPU)
    expected = read_provenance(SHIPPED / key / FULL).scores["perplexity"]
    assert np.exp(losses.mean_nats) == pytest.approx(expected, rel=1e-6)


def test_losses_on_another_corpus_are_refused(copied):
    file = copied / "provenance.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"corpus_digest": "f00"}))
    with pytest.raises(CheckpointError, match=r"was scored on corpus f00, and it is \w{12}; resto"):
        find_full_losses(shipped(), CPU)


@pytest.mark.parametrize("text", ["", "[1]", '{"tokens": [1, 2]}'])
def test_damaged_losses_are_refused(copied, text):
    (copied / LOSSES_NAME).write_text(text)
    with pytest.raises(CheckpointError, match=r"heldout\.json is damaged: .*; restore it with"):
        find_full_losses(shipped(), CPU)


def test_published_shape_is_trained_once_and_its_losses_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def maker(weights, device):
        def make(folder):
            made.append(folder)
            reference.write_losses(folder, TextLosses((3, 4), (1.0, 2.0)))

        return make

    monkeypatch.setattr(reference, "_maker", maker)
    monkeypatch.setattr("fixtures.adapters.cache.ensure_fitted", lambda *_: None)
    weights = Weights(MODELS["gpt2"], "published", "fitted", None, "for a test")
    for _ in range(2):
        assert find_full_losses(weights, CPU) == TextLosses((3, 4), (1.0, 2.0))
    assert len(made) == 1
    assert len(list(tmp_path.rglob(LOSSES_NAME))) == 1


def test_losses_are_read_as_they_were_written(tmp_path):
    reference.write_losses(tmp_path, TextLosses((1, 2), (0.5, 0.25)))
    assert read_losses(tmp_path) == TextLosses((1, 2), (0.5, 0.25))
