from __future__ import annotations

import pytest

from fixtures.accuracy.facts import fact_accuracy


def test_facts_are_counted():
    summary = "Storm kills 12 in Alton. Mayor Ann Lee asks for help."
    facts = ("12", "Alton", "Ann Lee", "Bexley")
    assert fact_accuracy(summary, facts) == 0.75


def test_fact_is_found_in_any_case_and_punctuation():
    assert fact_accuracy("ANN-LEE , of Alton !", ("Ann Lee", "alton.")) == 1.0


@pytest.mark.parametrize(
    ("summary", "fact"),
    [
        ("120 people", "12"),
        ("it rose 3.5 points", "5"),
        ("12,000 people", "12"),
        ("Altonville", "Alton"),
        ("Lee, Ann", "Ann Lee"),
        ("", "Alton"),
    ],
)
def test_part_of_a_word_or_number_is_no_fact(summary, fact):
    assert fact_accuracy(summary, (fact,)) == 0.0


def test_number_before_a_full_stop_is_found():
    assert fact_accuracy("It rose by 3.5.", ("3.5",)) == 1.0


def test_unknown_facts_give_no_figure():
    assert fact_accuracy("Storm kills 12.", ()) is None


def test_fact_without_a_word_is_refused():
    with pytest.raises(ValueError, match="at least one word or number"):
        fact_accuracy("Storm kills 12.", ("...",))


def test_highlights_of_the_corpus_state_all_their_facts(articles):
    assert {fact_accuracy(article.highlights, article.facts) for article in articles} == {1.0}
