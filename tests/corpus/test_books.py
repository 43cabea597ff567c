from __future__ import annotations

import pytest

from fixtures.corpus.books import embedded_book, read_book
from fixtures.corpus.prose import generate_prose
from fixtures.corpus.sources import CorpusError


def write(folder, text):
    file = folder / "my book.txt"
    file.write_text(text, encoding="utf-8")
    return file


def test_last_tenth_is_held_out_and_nothing_is_lost(tmp_path):
    text = generate_prose("train", 5000).strip()
    book = read_book(write(tmp_path, f"\n{text}\n\n"), context=512)
    assert book.training + book.held_out == text
    assert len(book.held_out) == len(text) // 10
    assert book.name == "my book.txt"


def test_a_text_of_one_context_and_an_opening_is_enough(tmp_path):
    book = read_book(write(tmp_path, "a" * (512 + 1 + 64)), context=512)
    assert (len(book.training), len(book.held_out)) == (513, 64)


def test_a_text_shorter_than_one_context_is_refused(tmp_path):
    with pytest.raises(
        CorpusError, match=r"my book\.txt holds 576 characters, less than one context: 512, one"
    ):
        read_book(write(tmp_path, "a" * 576), context=512)


def test_a_missing_text_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.txt cannot be read: No such file"):
        read_book(tmp_path / "none.txt", context=512)


def test_digest_changes_with_the_text_and_with_where_it_is_cut(tmp_path):
    short = embedded_book(600)
    assert short.digest == embedded_book(600).digest != embedded_book(601).digest
