from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.corpus.prose import generate_paragraph, generate_prose


def list_sentences(split: str, paragraphs: int) -> list[str]:
    return [s for index in range(paragraphs) for s in generate_paragraph(split, index)]


def test_no_heldout_sentence_occurs_in_train():
    train, heldout = list_sentences("train", 10_000), list_sentences("heldout", 1000)
    assert set(train).isdisjoint(heldout)
    assert len(set(train)) > 0.8 * len(train)


def test_sentences_stay_apart_when_a_reader_splits_the_text():
    def read(split, characters):
        return set(re.split(r"(?<=\.) |\n\n", generate_prose(split, characters))[:-1])

    assert read("train", 1_000_000).isdisjoint(read("heldout", 65_536))


@settings(max_examples=30, deadline=None)
@given(
    split=st.sampled_from(["train", "heldout"]), few=st.integers(0, 4000), more=st.integers(0, 4000)
)
def test_prose_has_the_wanted_length_and_a_longer_one_only_adds(split, few, more):
    text = generate_prose(split, few + more)
    assert len(text) == few + more
    assert text[:few] == generate_prose(split, few)


def test_prose_is_printable_ascii_and_line_breaks():
    text = generate_prose("train", 500_000)
    assert set(text) <= {"\n", *map(chr, range(32, 127))}
    assert "  " not in text
    assert "{" not in text


def test_prose_never_says_a_before_a_vowel():
    assert re.search(r"\b[Aa] [aeiou]", generate_prose("train", 500_000)) is None


def test_paragraph_uses_no_template_twice_and_keeps_its_people():
    for index in range(200):
        sentences = generate_paragraph("train", index)
        assert 4 <= len(sentences) == len(set(sentences)) <= 7
        assert all(
            re.match(r'["A-Z]', sentence) and sentence.endswith(".") for sentence in sentences
        )


def test_bigram_model_does_poorly():
    # 27 equally likely letters would be 27; English under a bigram model is about 10 to 12.
    train, heldout = generate_prose("train", 1_000_000), generate_prose("heldout", 65_536)
    pairs, firsts = Counter(pairwise(train)), Counter(train[:-1])
    nll = [-math.log((pairs[pair] + 1) / (firsts[pair[0]] + 96)) for pair in pairwise(heldout)]
    assert math.exp(sum(nll) / len(nll)) > 8


def test_prose_is_the_one_that_the_committed_checkpoint_was_scored_on():
    # Changes only on purpose, together with the checkpoint and its provenance file.
    content = generate_prose("heldout", 65_536).encode()
    assert hashlib.sha256(content).hexdigest()[:16] == "0c191d234a63018c"


def test_unknown_split_and_negative_length_are_refused():
    with pytest.raises(ValueError, match="split 'test' is neither train nor heldout"):
        generate_prose("test", 1)
    with pytest.raises(ValueError, match="cannot generate -1 characters"):
        generate_prose("train", -1)
