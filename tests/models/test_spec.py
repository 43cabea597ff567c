from __future__ import annotations

import dataclasses

import pytest

from fixtures.models.registry import MODELS


@pytest.mark.parametrize("key", ["GPT2", "gpt 2", "", "-gpt2", "gpt2/small"])
def test_key_that_is_no_slug_is_refused(key):
    with pytest.raises(ValueError, match="is not a lower-case slug"):
        dataclasses.replace(MODELS["gpt2"], key=key)


@pytest.mark.parametrize("revision", ["main", "v1.0", "607a30d"])
def test_movable_revision_is_refused(revision):
    with pytest.raises(ValueError, match="is no 40-digit commit"):
        dataclasses.replace(MODELS["gpt2"], revision=revision)
