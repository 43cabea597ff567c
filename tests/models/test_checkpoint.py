from __future__ import annotations

import json
import shutil

import pytest

from fixtures.models import weights as weights_module
from fixtures.models.checkpoint import CheckpointError
from fixtures.models.provenance import Provenance, digest_weights, write_provenance
from fixtures.models.registry import MODELS
from fixtures.models.weights import load_model, load_tokenizer, resolve_weights

REMEDY = (
    r"restore it with `git checkout -- fixtures/models/checkpoints/gpt2` "
    r"or make it anew with `python -m fixtures\.models\.train gpt2`$"
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    from fixtures.models.weights import Weights, write_checkpoint

    seeded = Weights(MODELS["gpt2"], "tiny", "seeded", None, "a test")
    folder = write_checkpoint(seeded, tmp_path_factory.mktemp("sound") / "gpt2")
    provenance = Provenance("", {}, "", {}, 0, digest_weights(folder), None, {})
    write_provenance(folder, provenance)
    return folder


@pytest.fixture
def folder(sound, tmp_path, monkeypatch):
    monkeypatch.setattr(weights_module, "CHECKPOINTS", tmp_path)
    return shutil.copytree(sound, tmp_path / "gpt2")


@pytest.fixture
def load(cpu):
    def load():
        return load_model(resolve_weights(MODELS["gpt2"], "tiny", "auto", cpu), cpu, {})

    return load


def test_sound_checkpoint_loads(folder, load):
    model = load()
    assert not model.training
    assert model.config.n_layer == 2


def test_missing_folder_names_the_command(folder, load):
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match=rf"gpt2 is missing; {REMEDY}"):
        load()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file_is_named(folder, load, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name} is missing; {REMEDY}"):
        load()


@pytest.mark.parametrize("kept_bytes", [0, 5, 3000, -1])
def test_truncated_weights_are_named(folder, load, kept_bytes):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept_bytes])
    with pytest.raises(CheckpointError, match=rf"model\.safetensors is damaged \(.*\); {REMEDY}"):
        load()


def test_flipped_bit_is_noticed(folder, load):
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"is not the file that provenance\.json .*{REMEDY}"):
        load()


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_damaged_config_is_named(folder, load, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=rf"config\.json is damaged \(.*\); {REMEDY}"):
        load()


@pytest.mark.parametrize("text", ["{", "[]", '{"scores": {}}'])
def test_damaged_provenance_is_named(folder, load, text):
    (folder / "provenance.json").write_text(text)
    with pytest.raises(CheckpointError, match=rf"provenance\.json is no provenance file.*{REMEDY}"):
        load()


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("n_layer", 1, r"asks for neither transformer\.h\.1\.\S+ nor 10 more tensors"),
        ("n_layer", 3, r"the weights lack transformer\.h\.2\.\S+ and 11 more tensors"),
        ("n_positions", 300, r"wpe\.weight is \[256, 128\] in the weights and \[300, 128\]"),
    ],
)
def test_config_of_another_shape_is_refused(folder, load, field, value, complaint):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {field: value}))
    with pytest.raises(CheckpointError, match=rf"{complaint}.*{REMEDY}"):
        load()


def test_missing_shard_is_named(folder, load):
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002\.safetensors is missing; "):
        load()


def test_folder_without_a_tokenizer_is_one_sentence(folder, cpu):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    weights = resolve_weights(MODELS["gpt2"], "tiny", "shipped", cpu)
    with pytest.raises(CheckpointError, match=rf"gpt2 has no tokenizer; {REMEDY}"):
        load_tokenizer(weights)
