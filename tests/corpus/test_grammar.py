from __future__ import annotations

import hashlib
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.corpus.grammar import generate_articles
from fixtures.corpus.topics import TOPICS, VALUES


@pytest.fixture(scope="module")
def heldout():
    return generate_articles("heldout", 2000)


def count_words(text: str) -> int:
    return len(re.findall(r"\w+", text))


def test_heldout_shares_no_text_and_no_highlights_with_train(heldout):
    train = generate_articles("train", 10_000)
    assert {a.text for a in train}.isdisjoint(a.text for a in heldout)
    assert {a.highlights for a in train}.isdisjoint(a.highlights for a in heldout)


def test_nearly_all_articles_differ(heldout):
    assert len({article.text for article in heldout}) >= 0.999 * len(heldout)


@settings(max_examples=20, deadline=None)
@given(split=st.sampled_from(["train", "heldout"]), few=st.integers(0, 20), more=st.integers(0, 20))
def test_a_larger_count_only_adds_articles(split, few, more):
    articles = generate_articles(split, few + more)
    assert len(articles) == few + more
    assert articles[:few] == generate_articles(split, few)


def test_articles_are_the_same_whatever_the_hash_seed():
    script = "from fixtures.corpus.grammar import *; print(generate_articles('heldout', 20))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_corpus_is_the_one_that_the_committed_checkpoints_were_scored_on(heldout):
    # Changes only on purpose, together with every checkpoint and its provenance file.
    content = "\n\n".join(f"{a.text}\n{a.highlights}" for a in heldout)
    assert hashlib.sha256(content.encode()).hexdigest()[:16] == "cfd05ffec7dd4bd9"


def test_lengths_are_those_that_a_tiny_model_learned_from(heldout):
    # Prototype of the corpus: 49 words, 22 words, 5.8 facts; 10 % either way.
    assert statistics.mean(count_words(a.text) for a in heldout) == pytest.approx(49, rel=0.1)
    assert statistics.mean(count_words(a.highlights) for a in heldout) == pytest.approx(22, rel=0.1)
    assert statistics.mean(len(a.facts) for a in heldout) == pytest.approx(5.8, rel=0.1)


def test_highlights_state_every_fact_in_order_and_the_article_holds_it(heldout):
    known = {value for values in VALUES.values() for value in values}
    for article in heldout:
        words = re.findall(r"\w+", article.highlights)
        assert tuple(word for word in words if word in known) == article.facts
        assert set(article.facts) <= set(re.findall(r"\w+", article.text))


def test_highlights_follow_the_order_of_the_article(heldout):
    def position(article, sentence):
        facts = [word for word in re.findall(r"\w+", sentence) if word in article.facts]
        return min(re.search(rf"\b{fact}\b", article.text).start() for fact in facts)

    for article in heldout:
        starts = [position(article, sentence) for sentence in article.highlights.split("\n")]
        assert starts == sorted(starts)


def test_every_sentence_starts_with_a_capital_or_number_and_ends_with_a_full_stop(heldout):
    for article in heldout:
        for sentence in (*article.text.split(". "), *article.highlights.split("\n")):
            assert re.fullmatch(r"[A-Z0-9][A-Za-z0-9, ]+\.?", sentence), sentence
        assert article.text.endswith(".")
        assert all(line.endswith(".") for line in article.highlights.split("\n"))
        assert len(article.text.split(". ")) == 4
        assert len(article.highlights.split("\n")) == 3


def test_no_two_slot_kinds_share_a_value():
    values = [value for kind in VALUES.values() for value in kind]
    assert len(values) == len(set(values))


def test_topics_are_drawn_evenly_and_each_article_has_one_filler(heldout):
    text = "\n".join(article.text for article in heldout)
    counts = [sum(text.count(filler) for filler in topic.fillers) for topic in TOPICS.values()]
    assert sum(counts) == 2000
    # Six topics: 2000 / 6 = 333, with a binomial standard deviation of 16.7; four of them.
    assert all(abs(count - 333) < 67 for count in counts)


def test_unknown_split_and_negative_count_are_refused():
    with pytest.raises(ValueError, match="split 'test' is neither train nor heldout"):
        generate_articles("test", 1)
    with pytest.raises(ValueError, match="cannot generate -1 articles"):
        generate_articles("train", -1)
