from __future__ import annotations

import hashlib

import pytest

from fixtures.models.provenance import (
    Provenance,
    digest_weights,
    read_provenance,
    write_provenance,
)

EXAMPLE = Provenance(
    command="python -m fixtures.models.train gpt2 --steps 5",
    recipe={"steps": 5, "seed": 0, "learning_rate": 3e-3},
    device="a CPU",
    versions={"torch": "2.13.0"},
    parameters=487_168,
    weights_sha256="ab" * 32,
    corpus_digest="a46003765544",
    scores={"perplexity": 1.5884512345678901, "rouge1": 0.966},
)


def test_provenance_comes_back_from_disk_digit_by_digit(tmp_path):
    write_provenance(tmp_path, EXAMPLE)
    assert read_provenance(tmp_path) == EXAMPLE


def test_file_with_another_field_is_refused(tmp_path):
    (tmp_path / "provenance.json").write_text('{"author": "someone"}')
    with pytest.raises(ValueError, match=r"provenance\.json is no provenance file: .*author"):
        read_provenance(tmp_path)


def test_missing_file_stays_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_provenance(tmp_path)


def test_digest_is_the_sha256_of_the_weights(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert digest_weights(tmp_path) == hashlib.sha256(b"weights").hexdigest()
