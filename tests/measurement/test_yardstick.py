from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.measurement.yardstick import Dimensions, Yardstick
from fixtures.models.registry import MODELS

SMALL = Dimensions(vocabulary=50, width=24, heads=3, layers=2)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5), st.integers(0, 1000))
def test_steps_behind_a_prefill_end_where_one_pass_over_all_tokens_does(rows, length, steps, seed):
    yardstick = Yardstick(SMALL)
    ids = torch.randint(50, (rows, length), generator=torch.Generator().manual_seed(seed))
    held, token = yardstick.prefill(ids), ids[:, -1:]
    # Greedy by full passes: the prompt's last token again, then each new one.
    whole, tokens = ids, token
    for _ in range(steps):
        whole = torch.cat([whole, tokens], dim=1)
        logits, _ = yardstick._pass(whole, [None] * SMALL.layers)
        tokens = logits.argmax(-1)
    assert torch.equal(yardstick.decode(token, held, steps), tokens)
    assert held[0].shape == (2, rows, 3, length, 8)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # Sources: the models' cards and papers.
        ("gpt2", Dimensions(50257, 768, 12, 12)),
        ("t5-small", Dimensions(32128, 512, 8, 6)),
        ("gpt-neo-1.3b", Dimensions(50257, 2048, 16, 24)),
        ("gemma-2b", Dimensions(256000, 2048, 8, 18)),
    ],
)
def test_dimensions_are_those_of_the_published_shape(key, expected):
    assert Dimensions.of(MODELS[key].build_config("published")) == expected


def test_a_config_that_does_not_say_has_none():
    def get_text_config(decoder: bool) -> SimpleNamespace:
        return SimpleNamespace(vocab_size=10, hidden_size=24, num_attention_heads=5)

    assert Dimensions.of(SimpleNamespace(get_text_config=get_text_config)) is None


def test_heads_that_do_not_divide_the_width_make_none():
    own = SimpleNamespace(vocab_size=10, hidden_size=24, num_attention_heads=5, num_hidden_layers=1)
    assert Dimensions.of(SimpleNamespace(get_text_config=lambda decoder: own)) is None


def test_the_same_dimensions_give_the_same_tokens_each_time():
    ids = torch.arange(12).reshape(2, 6)
    first, second = (
        each.decode(ids[:, -1:], each.prefill(ids), 4)
        for each in (Yardstick(SMALL), Yardstick(SMALL))
    )
    assert torch.equal(first, second)
