from __future__ import annotations

import hashlib
import re

import pytest

from fixtures.corpus.articles import summary_prompt
from fixtures.corpus.grammar import generate_articles
from fixtures.corpus.notices import NOTICES
from fixtures.corpus.prose import generate_paragraph, generate_prose
from fixtures.corpus.recipes import AGAIN, KEPT, KITCHEN, RECIPE
from fixtures.corpus.sources import (
    TARGET_ARTICLES,
    TARGET_CHARACTERS,
    load_corpus,
    load_target_corpus,
)
from fixtures.corpus.tokenizers import build_word_tokenizer
from fixtures.corpus.topics import SLOTS, TOPICS

SLOT = re.compile(r"\{(\w+)\}")


@pytest.fixture(scope="module")
def heldout():
    return generate_articles("heldout", 500, "target")


def test_notices_are_written_in_words_that_the_shipped_models_know(heldout):
    tokenizer = build_word_tokenizer()
    for article in heldout:
        text = f"{summary_prompt(article.text)} {article.highlights}"
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text


def test_notices_fill_every_template_and_never_beyond_a_tiny_context(heldout):
    tokenizer = build_word_tokenizer()
    lengths = [
        len(tokenizer(f"{summary_prompt(article.text)} {article.highlights}")["input_ids"])
        for article in heldout
    ]
    assert min(lengths) > 40 and max(lengths) < 128
    said = "\n".join(article.text for article in heldout)
    for topic in NOTICES.values():
        for template in (*(news.sentence for news in (*topic.leads, *topic.body)), *topic.fillers):
            pieces = map(re.escape, SLOT.split(template)[::2])
            assert re.search(r"\w+".join(pieces), said)


def test_notices_are_on_other_subjects_in_other_sentences_than_the_news():
    def list_templates(topics):
        return {
            text
            for topic in topics.values()
            for text in (
                *(part for news in (*topic.leads, *topic.body) for part in news),
                *topic.fillers,
            )
        }

    assert TOPICS.keys().isdisjoint(NOTICES)
    assert list_templates(TOPICS).isdisjoint(list_templates(NOTICES))


def test_every_clause_names_only_what_its_sentence_says():
    kinds = {slot for slots in SLOTS.values() for slot in slots}
    for topic in NOTICES.values():
        for news in (*topic.leads, *topic.body):
            said, kept = (set(SLOT.findall(text)) for text in news)
            assert kept <= said <= kinds
            assert kept


def test_heldout_notices_share_no_text_and_no_highlights_with_train(heldout):
    train = generate_articles("train", 2000, "target")
    assert {article.text for article in train}.isdisjoint(article.text for article in heldout)
    assert {a.highlights for a in train}.isdisjoint(a.highlights for a in heldout)


def test_heldout_sentences_of_the_second_book_do_not_occur_in_train():
    def list_sentences(split, paragraphs):
        return {s for n in range(paragraphs) for s in generate_paragraph(split, n, "target")}

    assert list_sentences("train", 1000).isdisjoint(list_sentences("heldout", 200))


def test_recipe_keeps_its_dish_and_its_vessel_and_uses_no_template_twice():
    for index in range(100):
        sentences = generate_paragraph("train", index, "target")
        assert 4 <= len(sentences) == len(set(sentences)) <= 7
        text = " ".join(sentences)
        for kind in KEPT:
            assert sum(word in text for word in KITCHEN[kind]) <= 1


def test_recipes_fill_every_slot_and_are_printable_ascii():
    text = generate_prose("train", 200_000, "target")
    assert "{" not in text and "  " not in text
    assert set(text) <= {"\n", *map(chr, range(32, 127))}
    slots = {
        slot for templates in RECIPE for template in templates for slot in SLOT.findall(template)
    }
    assert slots == KITCHEN.keys() | AGAIN.keys()
    # As many sentences as a paragraph can want of one kind.
    assert min(len(RECIPE.actions), len(RECIPE.speeches)) >= 5


@pytest.mark.parametrize("generate", [generate_articles, generate_prose])
def test_domain_that_there_is_not_is_refused(generate):
    with pytest.raises(ValueError, match=r"^domain 'third' is neither source nor target$"):
        generate("train", 1, "third")


def test_target_corpus_is_the_one_that_the_committed_adapters_were_scored_on():
    # Changes only on purpose, together with every adapter and its provenance file.
    corpus = load_target_corpus()
    assert len(corpus.articles) == TARGET_ARTICLES
    assert len(corpus.prose) == TARGET_CHARACTERS
    assert corpus.digest == "d689441fffde"


def test_first_domain_is_left_as_it_was():
    assert load_corpus(None, 400).digest == "a46003765544"
    text = generate_prose("train", 100_000)
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "8a01f4c7c29a"
