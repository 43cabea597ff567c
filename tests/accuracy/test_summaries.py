from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from fixtures.accuracy.examples import prompt_ids
from fixtures.accuracy.rouge import rouge_rows
from fixtures.accuracy.summaries import generate_summaries

CAUSAL = ["gpt2", "gpt-neo", "gemma"]


@pytest.fixture(scope="module")
def constant_model(tiny_model):
    """Builds a GPT-2 that always predicts one token, whatever it reads."""

    def build(token):
        model = deepcopy(tiny_model("gpt2"))
        with torch.no_grad():
            model.transformer.ln_f.weight.zero_()
            model.transformer.ln_f.bias.zero_()[0] = 1.0
            model.transformer.wte.weight[:, 0] = 0.0
            model.transformer.wte.weight[token, 0] = 1.0
        return model

    return build


def continue_by_hand(model, tokenizer, article, steps):
    """Argmax of a full forward for every token, without a cache, a batch or padding."""
    prompt = prompt_ids(tokenizer, article.text, None, end_of_text=False)
    ids = list(prompt)
    for _ in range(steps):
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        ids.append(token)
    return tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True).strip()


@pytest.mark.parametrize("name", CAUSAL)
def test_summary_is_the_argmax_of_each_full_forward(name, tiny_model, tokenizer, articles):
    model = tiny_model(name)
    expected = [continue_by_hand(model, tokenizer, article, 8) for article in articles]
    assert generate_summaries(model, tokenizer, articles, 8, batch_size=8) == expected


@pytest.mark.parametrize("name", [*CAUSAL, "t5"])
def test_summaries_do_not_change_with_the_batch(name, tiny_model, tokenizer, articles):
    model = tiny_model(name)
    alone = generate_summaries(model, tokenizer, articles, 6, batch_size=1)
    assert generate_summaries(model, tokenizer, articles, 6, batch_size=12) == alone


def test_checkpoint_settings_for_sampling_do_not_reach_the_summaries(
    tiny_model, tokenizer, articles
):
    greedy = generate_summaries(tiny_model("gpt2"), tokenizer, articles[:4], 8)
    model = deepcopy(tiny_model("gpt2"))
    model.generation_config.update(
        do_sample=True, num_beams=3, no_repeat_ngram_size=1, repetition_penalty=2.0
    )
    assert generate_summaries(model, tokenizer, articles[:4], 8) == greedy


def test_summary_stops_at_the_end_token(constant_model, tokenizer, articles):
    model = constant_model(tokenizer.eos_token_id)
    assert generate_summaries(model, tokenizer, articles[:3], 8) == [""] * 3


def test_summary_without_an_end_token_stops_at_the_limit(constant_model, tokenizer, articles):
    word = tokenizer.convert_tokens_to_ids("but")
    summaries = generate_summaries(constant_model(word), tokenizer, articles[:3], 5)
    assert summaries == ["but but but but but"] * 3


def test_prompt_left_in_the_summary_would_raise_rouge(constant_model, tokenizer, articles):
    model = constant_model(tokenizer.convert_tokens_to_ids("but"))
    highlights = [article.highlights for article in articles]
    ours = generate_summaries(model, tokenizer, articles, 5)
    with_prompt = [
        f"{article.text} {summary}" for article, summary in zip(articles, ours, strict=True)
    ]
    assert rouge_rows(with_prompt, highlights)["rouge1"].mean() > 0.4
    assert rouge_rows(ours, highlights)["rouge1"].mean() < 0.1


def test_long_article_is_cut_to_leave_room_for_the_summary(
    tiny_model, tokenizer, articles, monkeypatch
):
    model, widths = tiny_model("gpt2"), []
    generate = model.generate
    monkeypatch.setattr(
        model,
        "generate",
        lambda **inputs: widths.append(inputs["input_ids"].shape[1]) or generate(**inputs),
    )
    generate_summaries(model, tokenizer, articles, 8, context=40)
    assert max(widths) == 32


@pytest.mark.parametrize(("new_tokens", "batch_size"), [(0, 1), (1, 0)])
def test_nothing_to_generate_is_refused(new_tokens, batch_size, tiny_model, tokenizer, articles):
    with pytest.raises(ValueError, match="above 0"):
        generate_summaries(tiny_model("gpt2"), tokenizer, articles, new_tokens, batch_size)
