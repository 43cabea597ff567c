"""Phases: the right tokens, the right count, and times that agree with a scripted model."""

from __future__ import annotations

import time
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.measurement.phases import (
    PhaseError,
    build_prompt,
    decode,
    generate,
    hash_prompt,
    prefill,
    rewind,
)
from fixtures.workloads import Workload

VOCABULARY = 61


@cache
def build_tiny(kind):
    """A random model of two layers, with weights large enough that tokens vary."""
    import transformers as tf

    torch.manual_seed(5)
    plain = {"vocab_size": VOCABULARY, "eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0}
    if kind == "gpt2":
        config = tf.GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=64, **plain)
        model = tf.GPT2LMHeadModel(config)
    elif kind == "gpt-neo":  # its second layer attends to a window of 4
        config = tf.GPTNeoConfig(
            hidden_size=16, num_layers=2, num_heads=2, max_position_embeddings=64,
            attention_types=[[["global", "local"], 1]], window_size=4, **plain,
        )  # fmt: skip
        model = tf.GPTNeoForCausalLM(config)
    elif kind == "gemma":
        config = tf.GemmaConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            head_dim=8, intermediate_size=32, max_position_embeddings=64, **plain,
        )  # fmt: skip
        model = tf.GemmaForCausalLM(config)
    elif kind == "sliding":
        config = tf.MistralConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            intermediate_size=32, sliding_window=6, max_position_embeddings=64, **plain,
        )  # fmt: skip
        model = tf.MistralForCausalLM(config)
    else:
        config = tf.T5Config(
            d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0,
            **plain,
        )  # fmt: skip
        model = tf.T5ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def greedy_without_cache(model, input_ids, count):
    """The definition: the whole forward again for every token."""
    tokens = []
    rows = input_ids
    if model.config.is_encoder_decoder:
        rows = torch.zeros(len(input_ids), 1, dtype=torch.long)
    for _ in range(count):
        with torch.no_grad():
            if model.config.is_encoder_decoder:
                logits = model(input_ids=input_ids, decoder_input_ids=rows, use_cache=False).logits
            else:
                logits = model(input_ids=rows, use_cache=False).logits
        rows = torch.cat([rows, logits[:, -1:].argmax(-1)], 1)
        tokens.append(rows[:, -1:])
    return torch.cat(tokens, 1)


def random_rows(batch, length, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (batch, length), generator=generator)


KINDS = ["gpt2", "gpt-neo", "gemma", "sliding", "t5"]
shapes = given(
    batch=st.integers(1, 4), length=st.integers(1, 12), steps=st.integers(1, 8),
    seed=st.integers(0, 10_000),
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@shapes
def test_cached_decoding_equals_the_full_forward(kind, batch, length, steps, seed):
    model, input_ids = build_tiny(kind), random_rows(batch, length, seed)
    expected = greedy_without_cache(model, input_ids, steps + 1)
    prefilled = prefill(model, input_ids)
    assert torch.equal(prefilled.first_token_on_host, expected[:, :1])
    assert torch.equal(decode(model, prefilled, steps), expected[:, 1:])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6, deadline=None)
@shapes
def test_rewound_rounds_give_the_same_tokens(kind, batch, length, steps, seed):
    model = build_tiny(kind)
    prefilled = prefill(model, random_rows(batch, length, seed))
    first = decode(model, prefilled, steps)
    for _ in range(3):
        prefilled = rewind(model, prefilled)
        assert torch.equal(decode(model, prefilled, steps), first)


@pytest.mark.parametrize("kind", ["gpt2", "gpt-neo", "gemma", "t5"])
def test_rewind_keeps_the_prompt_instead_of_computing_it_again(kind):
    model = build_tiny(kind)
    prefilled = prefill(model, random_rows(2, 5, 0))
    decode(model, prefilled, 3)
    assert rewind(model, prefilled) is prefilled


def test_rewind_computes_afresh_what_a_sliding_cache_forgot():
    model = build_tiny("sliding")
    prefilled = prefill(model, random_rows(2, 9, 0))
    decode(model, prefilled, 3)
    assert rewind(model, prefilled) is not prefilled


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5, deadline=None)
@shapes
def test_generate_equals_prefill_and_decode_with_eos_off(kind, batch, length, steps, seed):
    model, input_ids = build_tiny(kind), random_rows(batch, length, seed)
    prefilled = prefill(model, input_ids)
    expected = torch.cat([prefilled.first_token_on_host, decode(model, prefilled, steps)], 1)
    before = model.generation_config
    assert torch.equal(generate(model, input_ids, steps + 1), expected)
    assert model.generation_config is before


def test_generate_does_not_stop_at_the_end_token(caplog):
    model, input_ids = build_tiny("gpt2"), random_rows(1, 4, 1)
    usual = prefill(model, input_ids).first_token_on_host.item()
    kept = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = usual
    try:
        assert generate(model, input_ids, 6).shape == (1, 6)
    finally:
        model.generation_config.eos_token_id = kept
    assert caplog.records == []


def test_generate_leaves_a_peft_model_as_it_was():
    from peft import LoraConfig, get_peft_model

    build_tiny.cache_clear()
    inner = build_tiny("gpt2")
    config = inner.generation_config
    adapted = get_peft_model(inner, LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True))
    input_ids = random_rows(2, 4, 2)
    prefilled = prefill(adapted, input_ids)
    tokens = decode(adapted, prefilled, 3)
    assert torch.equal(generate(adapted, input_ids, 4)[:, 1:], tokens)
    assert inner.generation_config is config
    build_tiny.cache_clear()


class ScriptedCache:
    def __init__(self, length):
        self.length = length

    def get_seq_length(self):
        return self.length

    def crop(self, surplus):
        self.length += surplus


class ScriptedModel(torch.nn.Module):
    """Sleeps a set time per forward, and counts what it really took; yields token 7."""

    config = SimpleNamespace(is_encoder_decoder=False)
    prefill_s, step_s, grows = 0.06, 0.03, True
    spent_s = 0.0

    def forward(self, input_ids, past_key_values=None, use_cache=True, logits_to_keep=0):
        started = time.perf_counter()
        past = past_key_values or ScriptedCache(0)
        seconds = self.step_s if past_key_values else self.prefill_s
        past.length += input_ids.shape[1] if self.grows or past_key_values is None else 0
        logits = torch.zeros(len(input_ids), 1, 9)
        logits[..., 7] = 1
        time.sleep(max(0.0, seconds - 0.003))
        while time.perf_counter() - started < seconds:
            pass  # a sleep alone overshoots by what the scheduler likes
        self.spent_s += time.perf_counter() - started
        return SimpleNamespace(logits=logits, past_key_values=past)


def least_excess(model, action, prepare=lambda: None, rounds=5):
    """Seconds of a round / seconds that the model itself took of it, where that is least."""
    ratios = []
    for _ in range(rounds):
        prepare()
        model.spent_s, start = 0.0, time.perf_counter()
        action()
        ratios.append((time.perf_counter() - start) / model.spent_s)
    return min(ratios)


def test_time_to_first_token_of_a_scripted_model_is_read_within_2_percent():
    model, input_ids = ScriptedModel(), random_rows(2, 5, 0)
    prefill(model, input_ids)
    assert least_excess(model, lambda: prefill(model, input_ids)) == pytest.approx(1, rel=0.02)
    assert model.spent_s >= model.prefill_s


def test_time_per_output_token_of_a_scripted_model_is_read_within_2_percent():
    model = ScriptedModel()
    prefilled = prefill(model, random_rows(2, 5, 0))
    steps = 5
    excess = least_excess(
        model, lambda: decode(model, prefilled, steps), lambda: rewind(model, prefilled)
    )
    assert excess == pytest.approx(1, rel=0.02)
    assert model.spent_s >= steps * model.step_s


def test_decode_from_a_grown_cache_is_refused():
    model = build_tiny("gpt2")
    prefilled = prefill(model, random_rows(1, 4, 0))
    decode(model, prefilled, 2)
    with pytest.raises(PhaseError, match="needs a cache of 4 positions but it holds 6: rewind it"):
        decode(model, prefilled, 2)


def test_a_cache_that_does_not_grow_is_an_error():
    model = ScriptedModel()
    model.grows, model.step_s = False, 0.0
    prefilled = prefill(model, random_rows(1, 4, 0))
    with pytest.raises(PhaseError, match=r"decode of 3 steps gave tokens \[1, 3\] and 0 new"):
        decode(model, prefilled, 3)


@settings(max_examples=40, deadline=None)
@given(batch=st.integers(1, 8), length=st.integers(1, 40))
def test_prompt_rows_differ_and_have_the_workloads_shape(batch, length):
    rows = build_prompt(range(1000), Workload(batch, length, 2))
    assert rows.shape == (batch, length)
    assert len({tuple(row) for row in rows.tolist()}) == batch


def test_prompt_rows_are_spaced_evenly_and_wrap():
    rows = build_prompt([0, 1, 2, 3, 4, 5], Workload(2, 4, 2))
    assert rows.tolist() == [[0, 1, 2, 3], [3, 4, 5, 0]]


def test_equal_prompt_rows_are_refused():
    with pytest.raises(ValueError, match="b4-p8-n2 needs rows that differ; 2 tokens are too few"):
        build_prompt([5, 6], Workload(4, 8, 2))


def test_empty_prompt_text_is_refused():
    with pytest.raises(ValueError, match="b1-p8-n2 needs a text, but it has no token"):
        build_prompt([], Workload(1, 8, 2))


def test_prompt_hash_changes_with_a_token_and_with_the_shape():
    rows = torch.arange(8).reshape(2, 4)
    changed = rows.clone()
    changed[1, 3] = 60
    assert len({hash_prompt(rows), hash_prompt(changed), hash_prompt(rows.reshape(1, 8))}) == 3
    assert hash_prompt(rows) == hash_prompt(rows.clone())


def test_no_module_is_asked_within_a_round_for_what_it_lacks(monkeypatch):
    model = build_tiny("gpt2")
    found = torch.nn.Module.__getattr__
    missed = []

    def look_up(self, name):
        try:
            return found(self, name)
        except AttributeError:
            missed.append(name)
            raise

    ids = torch.arange(6)[None]
    with torch.inference_mode():
        monkeypatch.setattr(torch.nn.Module, "__getattr__", look_up)
        model(input_ids=ids, use_cache=True, logits_to_keep=1)
        own = missed.copy()
        missed.clear()
        prefill(model, ids)
    assert missed == own  # the library's, and none beside them


def test_a_model_that_keeps_a_state_and_no_cache_is_named():
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, state_size=2)
    with pytest.raises(PhaseError, match=r"^MambaForCausalLM gave no cache of keys and values"):
        prefill(MambaForCausalLM(config).eval(), torch.tensor([[3, 4, 5]]))
