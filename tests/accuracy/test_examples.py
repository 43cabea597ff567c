from __future__ import annotations

import pytest

from fixtures.accuracy.examples import (
    NOT_SCORED,
    Example,
    causal_examples,
    prompt_ids,
    prose_examples,
    seq2seq_examples,
)
from fixtures.corpus.articles import SEPARATOR, Article


@pytest.fixture(scope="module")
def framing_tokenizer():
    """Words a to e, numbered from 3, between a start token 1 and an end token 2, as in Llama."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "<bos>", "<eos>", "a", "b", "c", "d", "e", SEPARATOR]
    backend = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, "<pad>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )


ARTICLE = Article("a b c", "d e", ())


def test_causal_example_is_prompt_then_highlights_then_end(framing_tokenizer):
    (example,) = causal_examples(framing_tokenizer, [ARTICLE])
    assert example.input_ids == (1, 3, 4, 5, 8, 6, 7, 2)  # no end token inside
    assert example.labels == (NOT_SCORED, 3, 4, 5, 8, 6, 7, 2)


def test_seq2seq_example_ends_both_texts_once(framing_tokenizer):
    (example,) = seq2seq_examples(framing_tokenizer, [ARTICLE])
    assert example.input_ids == (1, 3, 4, 5, 8, 2)
    assert example.labels == (1, 6, 7, 2)


def test_seq2seq_labels_end_although_the_tokenizer_adds_nothing(tokenizer, articles):
    for example in seq2seq_examples(tokenizer, articles):
        assert example.labels.index(tokenizer.eos_token_id) == len(example.labels) - 1


def test_cluster_is_the_article(tokenizer, articles):
    for build in (causal_examples, seq2seq_examples):
        assert [example.cluster for example in build(tokenizer, articles)] == list(range(12))


def test_summary_tokens_are_those_behind_the_prompt(tokenizer, articles):
    for example, article in zip(causal_examples(tokenizer, articles), articles, strict=True):
        prompt = prompt_ids(tokenizer, article.text, None, end_of_text=False)
        assert tokenizer.decode(example.labels[len(prompt) : -1]) == article.highlights
        assert example.labels[-1] == tokenizer.eos_token_id


def test_long_article_loses_its_end_and_keeps_cue_and_highlights(framing_tokenizer):
    (example,) = causal_examples(framing_tokenizer, [ARTICLE], context=7)
    assert example.input_ids == (1, 3, 4, 8, 6, 7, 2)
    (example,) = seq2seq_examples(framing_tokenizer, [ARTICLE], context=5)
    assert example.input_ids == (1, 3, 4, 8, 2)


def test_article_that_just_fits_is_whole(framing_tokenizer):
    assert causal_examples(framing_tokenizer, [ARTICLE], context=8) == causal_examples(
        framing_tokenizer, [ARTICLE]
    )


def test_highlights_beyond_the_context_are_refused(framing_tokenizer):
    with pytest.raises(ValueError, match="a room of 1 tokens is too small for a summary prompt"):
        causal_examples(framing_tokenizer, [ARTICLE], context=4)
    with pytest.raises(ValueError, match="highlights of 4 tokens do not fit in 3"):
        seq2seq_examples(framing_tokenizer, [Article("a", "d e", ())], context=3)


def test_prompt_of_an_encoder_keeps_its_end_token(framing_tokenizer):
    assert prompt_ids(framing_tokenizer, "a", None, end_of_text=True) == [1, 3, 8, 2]
    assert prompt_ids(framing_tokenizer, "a", None, end_of_text=False) == [1, 3, 8]


def test_prose_windows_score_each_token_once_after_a_start_token(framing_tokenizer):
    windows = prose_examples(framing_tokenizer, "a b c d e", context=3)
    assert [window.input_ids for window in windows] == [(1, 3, 4), (1, 5, 6), (1, 7)]
    assert [window.labels[1:] for window in windows] == [(3, 4), (5, 6), (7,)]
    assert [window.cluster for window in windows] == [0, 1, 2]


def test_prose_windows_without_a_start_token_leave_only_the_first_token_unscored(tokenizer):
    ids = tokenizer("a a a a a a a a")["input_ids"]
    windows = prose_examples(tokenizer, "a a a a a a a a", context=4)
    assert sum(len(window.labels) - 1 for window in windows) == len(ids) - 1
    assert max(len(window.input_ids) for window in windows) == 4


def test_prose_too_short_to_score_is_refused(tokenizer):
    with pytest.raises(ValueError, match="at least two tokens"):
        prose_examples(tokenizer, "a", context=8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((1, 2), (NOT_SCORED, NOT_SCORED), 0), "at least one input token and one scored label"),
        (((), (), 0), "at least one input token and one scored label"),
        (((1, 2), (NOT_SCORED, 2), -1), "must not be negative"),
    ],
)
def test_example_that_scores_nothing_or_counts_below_zero_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Example(*arguments)
