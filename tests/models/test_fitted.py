from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from fixtures.device import Device
from fixtures.models import fitted
from fixtures.models.fitted import (
    FITS,
    Fit,
    FitError,
    ensure_fitted,
    find_shortage,
    fitted_folder,
    identify_fit,
)
from fixtures.models.registry import MODELS
from fixtures.models.training import Recipe
from fixtures.models.weights import (
    CheckpointError,
    Weights,
    load_model,
    load_tokenizer,
    resolve_weights,
    write_checkpoint,
)

GPU = Device(
    kind="cuda",
    name="H200",
    memory_bytes=150_754_820_096,
    index=0,
    uuid="GPU-0",
    compute_capability=(9, 0),
)
L4 = dataclasses.replace(GPU, name="L4", memory_bytes=24 * 2**30, compute_capability=(8, 9))


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Three steps on few texts, and a cache of the test's own."""
    short = Fit(Recipe(steps=3, batch=2, warmup_steps=1), most_nats=20.0)
    monkeypatch.setattr(fitted, "FITS", dict.fromkeys(MODELS, short))
    monkeypatch.setattr(fitted, "ARTICLES", 20)
    monkeypatch.setattr(fitted, "CHARACTERS", 5_000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "llm-technique-suite" / "fitted"


@pytest.fixture
def no_hub(monkeypatch):
    monkeypatch.setattr("fixtures.models.weights.find_obstacle", lambda spec: "no hub here")


@pytest.mark.parametrize("key", MODELS)
def test_fitted_weights_are_trained_once_and_then_read(quick, cpu, key, monkeypatch):
    folder = fitted_folder(MODELS[key], "tiny")
    assert folder.parent == quick
    weights = Weights(MODELS[key], "tiny", "fitted", folder, "a test")
    first = load_model(weights, cpu, {}).state_dict()
    monkeypatch.setattr(fitted, "train", lambda *_, **__: pytest.fail("trained again"))
    again = load_model(weights, cpu, {}).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(part, part.bfloat16().float()) for part in first.values())
    assert write_checkpoint(weights, quick / "elsewhere") == folder
    assert len(load_tokenizer(weights)) <= MODELS[key].build_config("tiny").vocab_size
    assert [path.name for path in quick.iterdir()] == [folder.name]


def test_one_training_is_told_from_another_of_the_same_recipe(tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    for folder, nats in ((first, "0.31"), (again, "0.32")):
        folder.mkdir()
        (folder / "fitted.json").write_text(f'{{"losses_nats": [{nats}]}}', encoding="utf-8")
    # From sha256sum.
    assert identify_fit(first) == "16132cf9fba8"
    assert identify_fit(again) == "8d8f74569171"
    assert identify_fit(tmp_path) is None


def test_the_note_says_how_it_was_made(quick, cpu):
    folder = ensure_fitted(MODELS["gpt2"], "tiny", cpu)
    note = json.loads((folder / "fitted.json").read_text())
    assert note["recipe"]["steps"] == 3 and len(note["losses_nats"]) == 3
    assert note["versions"]["torch"] == torch.__version__
    assert note["device"] == cpu.name


def test_all_that_decides_the_weights_decides_the_folder(quick, monkeypatch):
    spec = MODELS["gpt-neo-1.3b"]
    names = {fitted_folder(spec, "tiny").name}
    for name in ("PROSE_CONTEXT", "SUMMARY_WEIGHT"):
        with monkeypatch.context() as patch:
            patch.setattr(fitted, name, 7)
            names.add(fitted_folder(spec, "tiny").name)
    plain = dataclasses.replace(spec, start_published=None)
    assert len(names | {fitted_folder(plain, "tiny").name}) == 4


def test_another_recipe_or_another_scale_has_another_folder(quick, monkeypatch):
    spec = MODELS["gpt2"]
    first = fitted_folder(spec, "tiny")
    assert fitted_folder(spec, "tiny") == first
    assert fitted_folder(spec, "published") != first
    longer = Fit(Recipe(steps=4, batch=2, warmup_steps=1), most_nats=20.0)
    monkeypatch.setattr(fitted, "FITS", {"gpt2": longer})
    assert fitted_folder(spec, "tiny") != first


def test_weights_that_did_not_learn_are_not_kept(quick, cpu, monkeypatch):
    strict = {"gpt2": dataclasses.replace(fitted.FITS["gpt2"], most_nats=0.1)}
    monkeypatch.setattr(fitted, "FITS", strict)
    with pytest.raises(
        FitError, match=r"^gpt2 was fitted to a loss of \d\.\d\d nats, and from 0.1"
    ):
        ensure_fitted(MODELS["gpt2"], "tiny", cpu)
    assert not fitted_folder(MODELS["gpt2"], "tiny").exists()


def test_damaged_fitted_checkpoint_names_the_remedy(quick, cpu):
    weights = Weights(MODELS["gpt2"], "tiny", "fitted", fitted_folder(MODELS["gpt2"], "tiny"), "")
    load_model(weights, cpu, {})
    (weights.folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"delete .*gpt2-tiny-.*, and the next run fits it"):
        load_model(weights, cpu, {})


@pytest.mark.parametrize("key", MODELS)
def test_an_h200_fits_every_model(no_hub, key):
    weights = resolve_weights(MODELS[key], "published", "auto", GPU)
    assert (weights.kind, weights.reason) == ("fitted", "no hub here")
    assert weights.folder == fitted_folder(MODELS[key], "published")


def test_a_gpu_without_room_takes_seeded_weights_and_says_so(no_hub):
    # 2.5 billion parameters of 18 bytes are 42 GiB; the logits come on top.
    shortage = find_shortage(MODELS["gemma-2b"], L4)
    assert shortage is not None and shortage.endswith(", and L4 has 24.00 GiB")
    weights = resolve_weights(MODELS["gemma-2b"], "published", "auto", L4)
    assert (weights.kind, weights.reason) == ("seeded", f"no hub here, and {shortage}")
    assert resolve_weights(MODELS["gpt2"], "published", "auto", L4).kind == "fitted"


def test_fitted_weights_asked_for_where_they_cannot_be_made_are_an_error(cpu):
    with pytest.raises(CheckpointError, match=r"^gpt2 has no fitted weights here: fitting needs"):
        resolve_weights(MODELS["gpt2"], "published", "fitted", cpu)


def test_model_without_a_fit_takes_seeded_weights_and_says_so(no_hub):
    spec = dataclasses.replace(MODELS["gpt2"], key="opt-125m")
    weights = resolve_weights(spec, "published", "auto", GPU)
    assert weights.kind == "seeded"
    assert weights.reason == "no hub here, and no recipe is known to fit it"


def test_every_model_has_a_fit():
    assert {*FITS} == {*MODELS}
