from __future__ import annotations

import json
import re
import shutil

import pytest

from fixtures.adapters.fitting import FULL, RECIPES, describe_run, find_base
from fixtures.adapters.provenance import read_provenance
from fixtures.adapters.shipped import SHIPPED, check_adapter, check_base
from fixtures.corpus.sources import load_target_corpus
from fixtures.device import detect_cpu
from fixtures.models.checkpoint import CheckpointError
from fixtures.models.registry import MODELS
from fixtures.models.weights import CHECKPOINTS, resolve_weights
from fixtures.techniques.adapter_methods import ADAPTER_METHODS

ADAPTERS = [(key, method) for key in MODELS for method in ADAPTER_METHODS]


@pytest.fixture
def copied(tmp_path):
    """One shipped adapter and its base, in folders of the same names that may be changed."""
    adapter, base = tmp_path / "gpt2" / "lora", tmp_path / "base"
    shutil.copytree(SHIPPED / "gpt2" / "lora", adapter)
    base.mkdir()
    shutil.copy(CHECKPOINTS / "gpt2" / "provenance.json", base)
    return adapter, base


@pytest.mark.parametrize(("key", "method"), ADAPTERS)
def test_shipped_adapter_is_whole_and_made_for_its_base(key, method):
    check_adapter(SHIPPED / key / method, CHECKPOINTS / key)


def test_shipped_adapters_are_small():
    files = [file for file in SHIPPED.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 2_500_000
    assert max(file.stat().st_size for file in files) < 400_000


@pytest.mark.parametrize(("key", "method"), [*ADAPTERS, *((key, FULL) for key in MODELS)])
def test_shipped_adapter_was_made_by_the_recipe_that_is_written_down(key, method):
    weights = resolve_weights(MODELS[key], "tiny", "auto", detect_cpu())
    found = read_provenance(SHIPPED / key / method)
    assert found.recipe == describe_run(weights, method)
    assert found.base == find_base(method)
    assert found.corpus_digest == load_target_corpus().digest
    assert found.command == f"python -m fixtures.adaptation.train {key} {method}"
    assert method in RECIPES


@pytest.mark.parametrize("key", MODELS)
def test_no_adapter_says_where_its_base_lay(key):
    for file in (SHIPPED / key).rglob("*.json"):
        assert not re.search(r"/(work|home|root|tmp)\b", file.read_text())


def test_adapter_of_another_base_is_refused_in_one_sentence(copied):
    adapter, base = copied
    described = json.loads((base / "provenance.json").read_text())
    (base / "provenance.json").write_text(json.dumps(described | {"weights_sha256": "0" * 64}))
    wanted = read_provenance(adapter).base_sha256[:12]
    with pytest.raises(
        CheckpointError,
        match=rf"^{adapter} was made for a base with weights {wanted}, and those of {base} are"
        r" 000000000000; restore it with `git checkout -- fixtures/models/adapters/gpt2/lora` or"
        r" make it anew with `python -m fixtures\.adaptation\.train gpt2 lora`$",
    ):
        check_adapter(adapter, base)


def test_damaged_adapter_is_refused(copied):
    adapter, base = copied
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(CheckpointError, match=rf"^{file} is not the file that provenance.json"):
        check_adapter(adapter, base)


def test_adapter_that_is_not_there_is_refused(copied):
    adapter, base = copied
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors is missing; restore"):
        check_adapter(adapter, base)
    shutil.rmtree(adapter)
    with pytest.raises(CheckpointError, match=r"lora/provenance\.json is missing; restore it"):
        check_adapter(adapter, base)


def test_provenance_that_cannot_be_read_is_refused(copied):
    adapter, base = copied
    (adapter / "provenance.json").write_text('{"command": 1}')
    with pytest.raises(CheckpointError, match=r"is no provenance file: .*; restore"):
        check_base(adapter, base)
