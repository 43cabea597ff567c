from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.adapters import cache, finding
from fixtures.adapters.finding import find_adapter, is_trainable
from fixtures.adapters.shipped import SHIPPED
from fixtures.device import Device
from fixtures.models.registry import MODELS
from fixtures.models.weights import CHECKPOINTS, Weights

CPU = Device(kind="cpu", name="a CPU", memory_bytes=2**33, threads=2)
GPU = Device(kind="cuda", name="H100", memory_bytes=2**36, index=0, uuid="GPU-0")


def weights(kind, scale="published", folder=None):
    return Weights(MODELS["gpt2"], scale, kind, folder, "for a test")


def test_shipped_weights_have_shipped_adapters():
    source = find_adapter(weights("shipped", "tiny", CHECKPOINTS / "gpt2"), CPU, list, "ia3")
    assert source.kind == "trained"
    assert source.folder == SHIPPED / "gpt2" / "ia3"
    assert source.load_base is list


@pytest.mark.parametrize(
    ("kind", "device"),
    [("seeded", CPU), ("seeded", GPU), ("given", GPU), ("derived", CPU), ("hub", CPU)],
)
def test_other_weights_have_random_adapters_where_training_is_no_use_or_too_slow(kind, device):
    source = find_adapter(weights(kind), device, list, "lora")
    assert (source.kind, source.folder) == ("seeded", None)


@pytest.mark.parametrize("kind", ["hub", "fitted"])
def test_published_weights_that_know_a_language_have_adapters_trained_on_a_gpu(kind, monkeypatch):
    asked = []

    def ensure(read, method, device):
        asked.append((read.kind, method, device))
        return Path("cached")

    monkeypatch.setattr(finding, "ensure_adapter", ensure)
    source = find_adapter(weights(kind), GPU, list, "qlora-nf4")
    assert (source.kind, source.folder) == ("trained", Path("cached"))
    assert asked == [(kind, "qlora-nf4", GPU)]
    assert is_trainable(weights(kind), GPU)
    assert not is_trainable(weights(kind), CPU)


def test_what_is_cached_is_named_by_all_that_makes_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fits = iter("aaab")
    monkeypatch.setattr(cache, "ensure_fitted", lambda *_: None)
    monkeypatch.setattr(cache, "identify_fit", lambda folder: next(fits))
    names = {
        cache.cached_folder(weights(kind), method, GPU).name
        for kind in ("hub", "fitted")
        for method in ("lora", "lora-heavy", "full")
    }
    assert len(names) == 6
    # Fitted anew, by the same recipe: a base that the cached adapter was not trained on.
    assert cache.cached_folder(weights("fitted"), "lora", GPU).name not in names
    before = cache.cached_folder(weights("hub"), "lora", GPU)
    assert before == cache.cached_folder(weights("hub"), "lora", GPU)
    assert before.is_relative_to(tmp_path)
    monkeypatch.setattr(cache, "version", lambda name: "another")
    assert cache.cached_folder(weights("hub"), "lora", GPU) != before


def test_folder_that_is_there_is_not_made_again_and_a_failed_one_is_not_there(tmp_path):
    folder, made = tmp_path / "adapter", []

    def fail(place):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        cache.ensure_folder(folder, fail)
    assert not folder.exists()
    for _ in range(2):
        assert cache.ensure_folder(folder, made.append) == folder
    assert len(made) == 1
