"""Adapters as their user meets them: caught where one is not on, skipped where none is trained."""

from __future__ import annotations

import shutil

import pytest

from fixtures.models.weights import CHECKPOINTS


@pytest.fixture(scope="module")
def unattached(new_checkout):
    """A run in which the adapter of small-gpt silently was not attached."""
    return new_checkout().run(
        *("-q", "-m", "cpu and not timing", "-k", "tiny-small-gpt-lora and (applied or adapt)"),
        *("--techniques=fp32,lora", "--plant", "technique:off@*-lora"),
    )


def test_adapter_that_is_not_attached_fails_what_proves_it_and_what_scores_it(unattached):
    assert unattached.status == 1
    assert "lora: 0 of 24 layers have an adapter; the first without, model.blocks.0" in (
        unattached.text
    )
    assert "recovered_share regressed" in unattached.text
    failed = {line.partition(" - ")[0] for line in unattached.lines if line.startswith("FAILED")}
    assert len(failed) == 2


@pytest.fixture(scope="module")
def given(new_checkout, tmp_path_factory):
    """A run of lora on a model of the user's own, which no adapter was trained for."""
    folder = tmp_path_factory.mktemp("mine") / "mine"
    shutil.copytree(CHECKPOINTS / "gpt2", folder)
    return new_checkout().run(
        *("-q", "-rs", "-m", "cpu", "-k", "applied or adaptation or adapter_swap or storage"),
        *("--techniques=lora", f"--model={folder}", "--rounds=10"),
    )


def test_random_adapter_is_timed_and_weighed_and_never_scored(given):
    assert given.status == 0, given.text
    assert "4 passed, 2 skipped" in given.text
    sentence = (
        "mine-lora: its adapter is random, as no trained one is shipped for given weights and"
        " training one needs a GPU"
    )
    assert sentence in " ".join(given.text.split())
