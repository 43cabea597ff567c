from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import StaticCache

from fixtures.models.modeling_small_gpt import SmallGPTConfig, SmallGPTForCausalLM

PAD, VOCABULARY = 0, 31


def build_model(attention="eager", **changes):
    config = SmallGPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=48,
        initializer_range=0.3,  # peaked logits: a wrong position changes the argmax
        pad_token_id=PAD,
        eos_token_id=1,
        **changes,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SmallGPTForCausalLM._from_config(config, attn_implementation=attention).eval()


def draw_ids(rows, length, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(2, VOCABULARY, (rows, length), generator=random)


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def model(request):
    return build_model(request.param)


@torch.no_grad()
@settings(max_examples=12, deadline=None)
@given(prompt=st.integers(1, 20), new=st.integers(1, 12), seed=st.integers(0, 99))
def test_decoding_with_the_cache_equals_the_full_forward(model, prompt, new, seed):
    ids = draw_ids(2, prompt + new, seed)
    full = model(ids, use_cache=False).logits
    step = model(ids[:, :prompt], use_cache=True)
    torch.testing.assert_close(step.logits, full[:, :prompt], rtol=1e-4, atol=1e-4)
    for position in range(prompt, prompt + new):
        step = model(ids[:, position : position + 1], past_key_values=step.past_key_values)
        torch.testing.assert_close(step.logits[:, 0], full[:, position], rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("new_tokens", [1, 9])
def test_greedy_generation_equals_the_argmax_of_full_forwards(model, new_tokens):
    ids = draw_ids(3, 7)
    expected = ids
    for _ in range(new_tokens):
        best = model(expected, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)
        expected = torch.cat([expected, best], dim=1)
    got = model.generate(ids, max_new_tokens=new_tokens, eos_token_id=None, do_sample=False)
    assert got.tolist() == expected.tolist()


@torch.no_grad()
def test_static_cache_gives_the_tokens_of_the_dynamic_one(model):
    ids = draw_ids(2, 5)
    arguments = {"max_new_tokens": 8, "eos_token_id": None, "do_sample": False}
    static = model.generate(ids, cache_implementation="static", **arguments)
    assert static.tolist() == model.generate(ids, **arguments).tolist()
    cache = StaticCache(config=model.config, max_cache_len=16)
    logits = model(ids, past_key_values=cache, use_cache=True).logits
    torch.testing.assert_close(logits, model(ids).logits, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@settings(max_examples=10, deadline=None)
@given(padding=st.integers(1, 12), side=st.sampled_from(["left", "right"]))
def test_padding_does_not_change_logits(model, padding, side):
    ids = draw_ids(2, 9)
    pads = torch.full((2, padding), PAD)
    padded = torch.cat([pads, ids] if side == "left" else [ids, pads], dim=1)
    mask = (padded != PAD).long()
    logits = model(
        padded, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)
    ).logits
    kept = logits[:, padding:] if side == "left" else logits[:, :9]
    torch.testing.assert_close(kept, model(ids).logits, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_left_padding_does_not_change_generated_tokens(model):
    ids = draw_ids(2, 6)
    padded = torch.cat([torch.full((2, 4), PAD), ids], dim=1)
    arguments = {"max_new_tokens": 6, "eos_token_id": None, "do_sample": False}
    plain = model.generate(ids, attention_mask=torch.ones_like(ids), **arguments)
    left = model.generate(padded, attention_mask=(padded != PAD).long(), **arguments)
    assert left[:, 10:].tolist() == plain[:, 6:].tolist()


@torch.no_grad()
def test_eager_and_sdpa_agree():
    ids = draw_ids(2, 17)
    eager, sdpa = (build_model(attention)(ids).logits for attention in ("eager", "sdpa"))
    torch.testing.assert_close(eager, sdpa, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_later_tokens_do_not_change_earlier_logits(model):
    ids = draw_ids(1, 12)
    other = ids.clone()
    other[0, 8:] = draw_ids(1, 4, seed=1)
    torch.testing.assert_close(model(other).logits[:, :8], model(ids).logits[:, :8])


@torch.no_grad()
def test_logits_to_keep_are_the_last_ones(model):
    ids = draw_ids(2, 7)
    full = model(ids).logits
    # Fewer rows may be another kernel's, whose sums are in another order.
    torch.testing.assert_close(model(ids, logits_to_keep=1).logits, full[:, -1:])
    assert model(ids, logits_to_keep=0).logits.shape == (2, 7, VOCABULARY)


@torch.no_grad()
def test_uniform_logits_have_the_vocabulary_as_perplexity():
    model = build_model()
    model.lm_head.weight.zero_()
    ids = draw_ids(2, 10)
    assert model(ids, labels=ids).loss.exp().item() == pytest.approx(VOCABULARY)


def test_gradient_checkpointing_gives_the_same_gradients():
    ids = draw_ids(2, 8)
    gradients = []
    for checkpointing in (False, True):
        model = build_model("sdpa").train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(ids, labels=ids).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(gradient is not None for gradient in gradients[0])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_no_buffer_is_kept_beside_the_weights():
    assert list(build_model().buffers()) == []


def test_ids_and_embeddings_together_are_refused():
    model = build_model()
    with pytest.raises(ValueError, match="takes either input_ids or inputs_embeds"):
        model(draw_ids(1, 2), inputs_embeds=torch.zeros(1, 2, 32))
    with pytest.raises(ValueError, match="takes either input_ids or inputs_embeds"):
        model()


def test_adapters_of_peft_attach_and_start_as_the_identity():
    peft = pytest.importorskip("peft")
    ids = draw_ids(1, 6)
    model = build_model()
    before = model(ids).logits
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    )
    assert torch.equal(adapted(ids).logits, before)
    # Two layers, two projections, and two matrices of 32 x 2 for each.
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert trainable == 2 * 2 * 2 * 32 * 2
