from __future__ import annotations

import pytest
import torch

from fixtures.models.registry import MODELS
from fixtures.models.sample_text import SampleText, generate_sample
from fixtures.models.weights import load_model, load_tokenizer, resolve_weights

TOKENS = 96
TEXT = "The ferry was late, and Nora sat on her case by the rail without a word to anyone. " * 3


@pytest.fixture(scope="module")
def shipped():
    from fixtures.device import detect_cpu

    cpu = detect_cpu()
    weights = resolve_weights(MODELS["small-gpt"], "tiny", "auto", cpu)
    return load_model(weights, cpu, {"attn_implementation": "sdpa"}), load_tokenizer(weights)


@pytest.fixture(scope="module", autouse=True)
def fewer_tokens():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fixtures.models.sample_text._TOKENS", TOKENS)
        yield


@pytest.fixture(scope="module")
def sample(shipped):
    return generate_sample(*shipped, TEXT)


def test_sample_goes_on_with_the_first_64_characters(sample):
    assert sample.opening == TEXT[:64]
    assert len(sample.continuation) == TOKENS
    assert "<" not in sample.continuation  # a special token would be written with one


def test_a_trained_model_writes_words(sample):
    # The book's words are short: a random string of 99 characters has few of its letters.
    letters = sum(character.isalpha() or character == " " for character in sample.continuation)
    assert letters > 0.9 * len(sample.continuation)


def test_sample_is_the_same_each_time_and_draws_nothing_from_the_process(shipped, sample):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert generate_sample(*shipped, TEXT) == sample
    assert torch.equal(torch.get_rng_state(), before)


def test_empty_text_has_no_opening(shipped):
    with pytest.raises(ValueError, match="a sample needs an opening of one character or more"):
        generate_sample(*shipped, "")


def test_sample_is_written_as_text(tmp_path):
    SampleText("Once ", "more.").write(tmp_path)
    assert (tmp_path / "sample.txt").read_text() == "Once more.\n"
