from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.corpus.articles import SEPARATOR, summary_prompt
from fixtures.corpus.grammar import generate_articles
from fixtures.corpus.prose import generate_prose
from fixtures.corpus.tokenizers import build_character_tokenizer, build_word_tokenizer

BUILDERS = {"word": build_word_tokenizer, "character": build_character_tokenizer}


@pytest.fixture(scope="module")
def word():
    return build_word_tokenizer()


@pytest.fixture(scope="module")
def character():
    return build_character_tokenizer()


@settings(max_examples=40, deadline=None)
@given(split=st.sampled_from(["train", "heldout"]), index=st.integers(0, 400))
def test_no_word_of_an_article_is_unknown_and_decoding_gives_it_back(word, split, index):
    article = generate_articles(split, index + 1)[-1]
    prompt = summary_prompt(article.text)
    for text in (prompt, article.highlights, f"{prompt} {article.highlights}"):
        ids = word(text)["input_ids"]
        assert word.unk_token_id not in ids
        assert word.decode(ids) == text


def test_words_and_marks_are_tokens_and_case_is_kept(word):
    tokens = word.tokenize("Storm damages the pier.\nWinds reach 30 miles an hour. TL;DR:")
    assert " ".join(tokens) == ("Storm damages the pier . \n Winds reach 30 miles an hour . TL;DR:")


def test_word_vocabulary_has_the_size_that_a_tiny_model_learned(word):
    # The prototype's tokenizers had 416 to 618 types and 72 tokens for an article with highlights.
    assert 400 <= len(word) <= 620
    articles = generate_articles("heldout", 500)
    texts = [f"{summary_prompt(article.text)} {article.highlights}" for article in articles]
    mean = sum(map(len, word(texts)["input_ids"])) / 500
    assert 72 <= mean <= 88


def test_every_word_token_occurs_in_training_articles(word):
    articles = generate_articles("train", 3000)
    texts = [f"{summary_prompt(article.text)} {article.highlights}" for article in articles]
    used = {index for ids in word(texts)["input_ids"] for index in ids}
    unused = set(range(len(word))) - used
    assert unused == {word.pad_token_id, word.eos_token_id, word.unk_token_id}


def test_summary_cue_is_one_token(word):
    assert word.tokenize(f"It rained. {SEPARATOR}")[-1] == SEPARATOR


def test_unknown_word_is_one_unknown_token_and_shows_when_decoded(word):
    ids = word("Zanzibar beat Ashford.")["input_ids"]
    assert ids[0] == word.unk_token_id
    assert word.decode(ids) == "<unk> beat Ashford."


def test_character_tokenizer_has_a_token_for_each_of_95_printables_and_the_line_break(character):
    assert len(character) == 95 + 1 + len(character.all_special_tokens)


@settings(max_examples=50, deadline=None)
@given(text=st.text(alphabet=["\n", *map(chr, range(32, 127))], min_size=1, max_size=200))
def test_character_tokenizer_gives_any_ascii_text_back(character, text):
    # A special token written out in the text is that token, as in every tokenizer.
    if not any(special in text for special in character.all_special_tokens):
        ids = character(text)["input_ids"]
        assert len(ids) == len(text)
        assert character.unk_token_id not in ids
        assert character.decode(ids) == text


@settings(max_examples=50, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=100))
def test_either_tokenizer_takes_any_text(word, character, text):
    for tokenizer in (word, character):
        ids = tokenizer(text)["input_ids"]
        assert all(0 <= index < len(tokenizer) for index in ids)


@pytest.mark.parametrize("model_type", [None, "gpt2", "t5", "gpt_neo", "gemma"])
@pytest.mark.parametrize("kind", BUILDERS)
def test_saved_tokenizer_loads_as_it_was_beside_any_model(tmp_path, kind, model_type):
    from transformers import AutoTokenizer

    saved = BUILDERS[kind]()
    saved.save_pretrained(tmp_path)
    if model_type:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = generate_articles("heldout", 1)[0].highlights
    assert loaded.get_vocab() == saved.get_vocab()
    assert loaded(text)["input_ids"] == saved(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == text
    assert loaded.special_tokens_map == saved.special_tokens_map
    assert sorted(loaded(text)) == ["attention_mask", "input_ids"]


@pytest.mark.parametrize("kind", BUILDERS)
def test_two_builds_are_the_same_file(tmp_path, kind):
    for name in ("one", "two"):
        BUILDERS[kind]().save_pretrained(tmp_path / name)
    one, two = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("side, row", [("left", [0, 1]), ("right", [1, 0])])
def test_padding_side_can_be_set(side, row):
    tokenizer = build_word_tokenizer()
    tokenizer.padding_side = side
    batch = tokenizer(["Ashford", "Ashford beat"], padding=True)
    assert batch["attention_mask"] == [row, [1, 1]]
    assert batch["input_ids"][0][row.index(0)] == tokenizer.pad_token_id


def test_skipping_special_tokens_leaves_the_text(word):
    ids = word("Storm damages the pier.")["input_ids"]
    padded = [word.pad_token_id, *ids, word.eos_token_id]
    assert word.decode(padded, skip_special_tokens=True) == "Storm damages the pier."


def test_character_tokenizer_knows_all_of_the_prose(character):
    assert character.unk_token_id not in character(generate_prose("heldout", 65_536))["input_ids"]
