from __future__ import annotations

import json
import shutil

import pytest
import torch

from fixtures.models.hub import find_obstacle
from fixtures.models.registry import MODELS, spec_for_path
from fixtures.models.seeded import build_random_model
from fixtures.models.weights import (
    CheckpointError,
    Weights,
    load_model,
    load_tokenizer,
    resolve_weights,
    write_checkpoint,
)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty Hugging Face cache, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    find_obstacle.cache_clear()
    yield tmp_path
    find_obstacle.cache_clear()


@pytest.fixture
def fill_cache(cache, write_seeded):
    """Lay out a tiny checkpoint as the hub's client does: blobs, and a snapshot of links."""

    def fill(key, hub_id, revision, branch=None):
        home = cache / f"models--{hub_id.replace('/', '--')}"
        blobs, snapshot = home / "blobs", home / "snapshots" / revision
        for folder in (blobs, snapshot, home / "refs"):
            folder.mkdir(parents=True)
        for number, file in enumerate(sorted(write_seeded(key).iterdir())):
            shutil.copy(file, blobs / f"{number:040x}")
            (snapshot / file.name).symlink_to(f"../../blobs/{number:040x}")
        if branch is not None:
            (home / "refs" / branch).write_text(revision)
        return snapshot

    return fill


@pytest.mark.parametrize("key", ["gpt2", "t5-small", "gemma-2b"])
def test_cached_checkpoint_is_loaded_by_id_at_the_pinned_revision(key, cpu, fill_cache):
    spec = MODELS[key]
    snapshot = fill_cache(key, spec.hub_id, spec.revision)
    weights = resolve_weights(spec, "published", "auto", cpu)
    assert (weights.kind, weights.reason) == ("hub", f"{spec.hub_id} can be had")
    model = load_model(weights, cpu, {})
    expected = build_random_model(spec, "tiny").state_dict()
    state = model.state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert load_tokenizer(weights).eos_token == "<eos>"
    assert write_checkpoint(weights, snapshot / "elsewhere").resolve() == snapshot.resolve()


def test_another_revision_in_the_cache_does_not_count(cpu, fill_cache):
    spec = MODELS["gpt2"]
    fill_cache("gpt2", spec.hub_id, "0" * 40, branch="main")
    assert resolve_weights(spec, "published", "auto", cpu).kind == "seeded"


def test_half_fetched_checkpoint_does_not_count(cpu, fill_cache):
    spec = MODELS["gpt2"]
    snapshot = fill_cache("gpt2", spec.hub_id, spec.revision)
    (snapshot / "model.safetensors").unlink()
    assert resolve_weights(spec, "published", "auto", cpu).kind == "seeded"
    find_obstacle.cache_clear()
    index = '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    (snapshot / "model.safetensors.index.json").write_text(index)
    (snapshot / "model-1.safetensors").write_bytes(b"")
    assert resolve_weights(spec, "published", "auto", cpu).kind == "seeded"
    find_obstacle.cache_clear()
    (snapshot / "model-2.safetensors").write_bytes(b"")
    assert resolve_weights(spec, "published", "auto", cpu).kind == "hub"


def test_hub_id_of_the_user_is_pinned_to_the_commit_it_stands_for(cpu, fill_cache):
    fill_cache("gpt2", "someone/tiny", "ab" * 20, branch="main")
    spec = spec_for_path("someone/tiny")
    assert (spec.key, spec.kind, spec.revision) == ("tiny", "causal", "ab" * 20)
    weights = resolve_weights(spec, "given", "auto", cpu)
    assert weights.folder is None
    assert load_model(weights, cpu, {}).config.n_embd == 128
    assert load_tokenizer(weights).pad_token == "<pad>"


def test_tokenizer_without_padding_pads_with_its_end_token(cpu, fill_cache):
    spec = MODELS["gpt2"]
    snapshot = fill_cache("gpt2", spec.hub_id, spec.revision)
    settings = json.loads((snapshot / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (snapshot / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(resolve_weights(spec, "published", "auto", cpu))
    assert tokenizer.pad_token == tokenizer.eos_token == "<eos>"


def test_hub_out_of_reach_is_found_out_and_remembered(monkeypatch, cache, cpu):
    asked = []

    def refuse(url, **_):
        asked.append(url)
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    for _ in range(2):
        weights = resolve_weights(MODELS["gemma-2b"], "published", "auto", cpu)
        assert weights.kind == "seeded"
        assert weights.reason == (
            "google/gemma-2b is not in the local cache and the hub refuses it (ConnectionError),"
            " and fitting needs a GPU"
        )
    assert len(asked) == 1
    assert MODELS["gemma-2b"].revision in asked[0]
    with pytest.raises(CheckpointError, match="gemma-2b has no hub weights here: google/gemma-2b"):
        resolve_weights(MODELS["gemma-2b"], "published", "hub", cpu)


def test_checkpoint_is_fetched_without_the_copies_for_other_frameworks(monkeypatch, cache, cpu):
    asked = {}

    def download(hub_id, **arguments):
        asked.update(arguments, hub_id=hub_id)
        return str(cache / "fetched")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    spec = MODELS["gpt2"]
    weights = Weights(spec, "published", "hub", None, "a test")
    assert write_checkpoint(weights, cache / "elsewhere") == cache / "fetched"
    assert (asked["hub_id"], asked["revision"]) == (spec.hub_id, spec.revision)
    assert not {"*", "*.bin", "*.h5", "*.onnx", "*.msgpack"} & set(asked["allow_patterns"])


def test_truncated_file_in_the_cache_names_it_and_what_fetches_it_anew(cpu, fill_cache):
    spec = MODELS["gpt2"]
    snapshot = fill_cache("gpt2", spec.hub_id, spec.revision)
    blob = (snapshot / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:5000])
    weights = resolve_weights(spec, "published", "hub", cpu)
    remedy = f"`hf download {spec.hub_id} --revision {spec.revision} --force-download`$"
    with pytest.raises(CheckpointError, match=rf"model\.safetensors is damaged .* with {remedy}"):
        load_model(weights, cpu, {})
