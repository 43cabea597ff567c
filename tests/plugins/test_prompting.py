"""Prompts are cut from the same tokens, whichever case of a variant asks first."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fixtures.corpus.articles import Article
from fixtures.corpus.sources import Corpus
from fixtures.plugins.prompting import TokenStream
from fixtures.workloads import Workload

ARTICLES = tuple(Article(text, "An end.", ()) for text in ("a b c", "d e", "f g h i"))
CORPUS = Corpus("letters", ARTICLES, "p q r s t")


class Encoder:
    """A token a word; remembers what it was asked for."""

    def __init__(self):
        self.encoded = []

    def encode(self, text, add_special_tokens):
        assert not add_special_tokens
        self.encoded.append(text)
        return [ord(word) for word in text.split()]


@pytest.fixture
def encoder():
    return Encoder()


def make_stream(encoder, task="summarisation", symbols=128):
    variant = SimpleNamespace(spec=SimpleNamespace(task=task))
    text = SimpleNamespace(vocab_size=symbols)
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda decoder: text))
    return TokenStream(SimpleNamespace(tokenizer=encoder, variant=variant, model=model), CORPUS)


def take(stream, batch, tokens):
    return "".join(map(chr, stream.take(Workload(batch, tokens, 2))))


def test_texts_are_taken_whole_from_the_first_on(encoder):
    assert take(make_stream(encoder), 1, 3) == "abc"
    assert take(make_stream(encoder), 2, 2) == "abcde"


def test_a_larger_prompt_before_leaves_a_smaller_one_as_it_is(encoder):
    stream = make_stream(encoder)
    assert [take(stream, 2, 3), take(stream, 1, 2), take(stream, 4, 2)] == [
        "abcdefghi",
        "abc",
        "abcdefghi",
    ]


def test_a_text_is_encoded_once_and_only_when_it_is_needed(encoder):
    stream = make_stream(encoder)
    for _ in range(3):
        take(stream, 2, 2)
    assert encoder.encoded == ["a b c", "d e"]


def test_a_model_of_prose_reads_prose(encoder):
    assert take(make_stream(encoder, task="prose"), 1, 2) == "pqrst"


def test_tokenizer_of_another_model_is_named(encoder):
    # On a GPU a token too many fails an assertion in a kernel, and the device is lost.
    with pytest.raises(pytest.fail.Exception, match="gives token 99, and the model has 99: they"):
        take(make_stream(encoder, symbols=99), 1, 3)
