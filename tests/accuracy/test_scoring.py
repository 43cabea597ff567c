from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fixtures.accuracy.examples import (
    NOT_SCORED,
    Example,
    causal_examples,
    seq2seq_examples,
)
from fixtures.accuracy.perplexity import perplexity
from fixtures.accuracy.scoring import UnusableLogits, kl_divergence, score
from fixtures.device import detect_gpu

LN2 = math.log(2)
HALVES = [math.log(0.5), math.log(0.25), math.log(0.25)]
SWAPPED = [math.log(0.25), math.log(0.25), math.log(0.5)]
CAUSAL = ["gpt2", "gpt-neo", "gemma"]


def causal(*ids, cluster=0):
    return Example(ids, (NOT_SCORED, *ids[1:]), cluster)


def test_perplexity_of_uniform_logits_is_the_vocabulary_size(table_model):
    scores = score(table_model(np.zeros((450, 450))), [causal(*range(0, 450, 7))])
    assert perplexity(scores.nll) == pytest.approx(450, rel=1e-6)


def test_nll_is_that_of_the_next_token_given_this_one(table_model):
    # Row t is what follows token t: after 0 the odds are 2:1:1, after 1 they are 1:1:2.
    model = table_model([HALVES, SWAPPED, [0.0, 0.0, 0.0]])
    scores = score(model, [causal(0, 1, 2, 0)])
    assert scores.nll == pytest.approx([2 * LN2, LN2, math.log(3)], rel=1e-6)
    assert scores.label.tolist() == [1, 2, 0]
    assert scores.top1.tolist()[:2] == [0, 2]
    assert scores.margin == pytest.approx([0.25, 0.25, 0.0], abs=1e-6)


def test_kl_of_three_tokens_equals_the_sum_by_hand(table_model):
    examples = [causal(0, 1), causal(1, 2, cluster=1)]
    reference = score(table_model([HALVES] * 3), examples, keep_log_probs=True)
    variant = score(table_model([SWAPPED] * 3), examples, reference=reference)
    # 1/2 ln(2) + 1/4 ln(1) + 1/4 ln(1/2)
    assert variant.kl == pytest.approx([0.25 * LN2] * 2, rel=1e-5)
    assert reference.kl is None and variant.log_probs is None


def test_labels_that_are_not_scored_do_not_count(table_model):
    masked = Example((0, 1, 2, 0), (NOT_SCORED, NOT_SCORED, 2, NOT_SCORED), 3)
    scores = score(table_model([HALVES] * 3), [masked])
    assert scores.nll == pytest.approx([2 * LN2], rel=1e-6)
    assert scores.cluster.tolist() == [3]


def test_softmax_is_fp32_whatever_the_model_computes_in(table_model):
    examples = [causal(5, 6)]
    scores = score(table_model(np.zeros((1000, 1000)), torch.bfloat16), examples)
    assert scores.nll == pytest.approx([math.log(1000)], rel=1e-6)  # bf16 would give 6.90625


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("side", ["left", "right"])
def test_causal_figures_do_not_change_with_batch_size_or_padding_side(
    name, side, tiny_model, tokenizer, articles
):
    model, examples = tiny_model(name), causal_examples(tokenizer, articles)
    alone = score(model, examples, batch_size=1)
    assert len({len(example.input_ids) for example in examples}) > 2  # so there is padding
    for batch_size in (1, 8, 32):
        batched = score(model, examples, batch_size, side)
        assert batched.nll == pytest.approx(alone.nll, rel=1e-5)
        assert perplexity(batched.nll) == pytest.approx(perplexity(alone.nll), rel=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_seq2seq_figures_do_not_change_with_batch_size_or_padding_side(
    side, tiny_model, tokenizer, articles
):
    model, examples = tiny_model("t5"), seq2seq_examples(tokenizer, articles)
    alone = score(model, examples, batch_size=1)
    for batch_size in (8, 32):
        assert score(model, examples, batch_size, side).nll == pytest.approx(alone.nll, rel=1e-5)


def test_seq2seq_nll_equals_the_loss_of_transformers(tiny_model, tokenizer, articles):
    model, examples = tiny_model("t5"), seq2seq_examples(tokenizer, articles[:3])
    scores = score(model, examples, batch_size=3)
    for example in examples:
        loss = model(
            input_ids=torch.tensor([example.input_ids]), labels=torch.tensor([example.labels])
        ).loss
        ours = scores.nll[scores.cluster == example.cluster].mean()
        assert ours == pytest.approx(float(loss.detach()), rel=1e-5)


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_nll_equals_the_loss_of_transformers(name, tiny_model, tokenizer, articles):
    model, (example,) = tiny_model(name), causal_examples(tokenizer, articles[:1])
    ids = torch.tensor([example.input_ids])
    loss = model(input_ids=ids, labels=ids).loss
    assert score(model, [example]).nll.mean() == pytest.approx(float(loss.detach()), rel=1e-5)


def test_pads_that_are_scored_would_move_the_perplexity_with_the_batch_size(
    tiny_model, tokenizer, articles
):
    model, examples = tiny_model("gpt2"), causal_examples(tokenizer, articles)

    def perplexity_with_pads(batch_size):
        sums, count = 0.0, 0
        for first in range(0, len(examples), batch_size):
            batch = examples[first : first + batch_size]
            width = max(len(example.input_ids) for example in batch)
            ids = torch.tensor([e.input_ids + (0,) * (width - len(e.input_ids)) for e in batch])
            with torch.no_grad():
                loss = model(input_ids=ids, labels=ids).loss  # as in many a script
            sums, count = sums + float(loss) * len(batch), count + len(batch)
        return math.exp(sums / count)

    assert perplexity_with_pads(12) / perplexity_with_pads(1) > 1.01
    ours = [perplexity(score(model, examples, batch_size).nll) for batch_size in (1, 12)]
    assert ours[0] == pytest.approx(ours[1], rel=1e-5)


def test_left_padding_reaches_the_positions_of_a_wrapped_model(tiny_model, tokenizer, articles):
    from copy import deepcopy

    from peft import LoraConfig, get_peft_model

    config = LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True)
    wrapped = get_peft_model(deepcopy(tiny_model("gpt2")), config).eval()
    examples = causal_examples(tokenizer, articles)
    right, left = (score(wrapped, examples, 8, side) for side in ("right", "left"))
    assert left.nll == pytest.approx(right.nll, rel=1e-5)


@pytest.mark.parametrize("name", [*CAUSAL, "t5"])
def test_repeat_has_no_divergence_at_all(name, tiny_model, tokenizer, articles):
    build = seq2seq_examples if name == "t5" else causal_examples
    model, examples = tiny_model(name), build(tokenizer, articles)
    reference = score(model, examples, keep_log_probs=True)
    again = score(model, examples, reference=reference)
    assert again.kl.tolist() == [0.0] * len(reference.nll)
    assert again.nll.tolist() == reference.nll.tolist()


def test_reference_keeps_log_probabilities_by_example(tiny_model, tokenizer, articles):
    examples = causal_examples(tokenizer, articles)
    kept = score(tiny_model("gpt2"), examples, keep_log_probs=True).log_probs
    shapes = [(len(example.labels) - 1, len(tokenizer)) for example in examples]
    assert [tuple(part.shape) for part in kept] == shapes
    assert all(part.dtype == torch.float32 and part.device.type == "cpu" for part in kept)


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float32, (2, 6), elements=st.floats(-300, 300, width=32)),
)
def test_kl_is_the_textbook_sum_and_never_negative(logits):
    reference, variant = torch.tensor(logits).log_softmax(-1)[:, None]
    p, q = (torch.tensor(row).double().log_softmax(-1) for row in logits)
    expected = float((p.exp() * (p - q)).sum())
    found = float(kl_divergence(reference, variant))
    assert found >= 0
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_kl_of_a_tiny_change_is_not_lost_in_rounding():
    random = np.random.default_rng(0)
    logits = torch.tensor(random.normal(0, 3, (64, 5000)))
    moved = logits + torch.tensor(random.normal(0, 1e-4, logits.shape))
    p, q = logits.log_softmax(-1), moved.log_softmax(-1)
    expected = (p.exp() * (p - q)).sum(-1).numpy()  # in fp64; about 5e-9 nats
    p32, q32 = logits.float().log_softmax(-1), moved.float().log_softmax(-1)
    assert kl_divergence(p32, q32).numpy() == pytest.approx(expected, rel=0.02)
    textbook = (p32.exp() * (p32 - q32)).sum(-1).numpy()
    assert np.abs(textbook / expected - 1).max() > 1  # what the plain sum makes of it in fp32


@pytest.mark.parametrize(("value", "kind"), [(math.nan, "NaN"), (math.inf, "infinity")])
def test_logits_that_are_not_finite_are_refused(value, kind, table_model):
    model = table_model([[0.0, 0.0, value], [0.0] * 3, [0.0] * 3])
    with pytest.raises(UnusableLogits, match=f"logits contain {kind} at 1 of 2 scored tokens"):
        score(model, [causal(0, 1, 2)])


def test_logits_behind_the_last_token_are_not_read(table_model):
    model = table_model([[math.nan] * 3, [0.0] * 3, [0.0] * 3])
    scores = score(model, [causal(1, 2, 1, 0), causal(2, 0, cluster=1)], batch_size=2)
    assert scores.nll == pytest.approx([math.log(3)] * 4, rel=1e-6)


def test_logits_of_padding_are_not_read(table_model, monkeypatch):
    model = table_model([HALVES] * 3)
    forward = model.forward

    def forward_as_kernels_do(input_ids, attention_mask):
        output = forward(input_ids)
        output.logits = output.logits.masked_fill(attention_mask[..., None] == 0, math.nan)
        return output

    monkeypatch.setattr(model, "forward", forward_as_kernels_do)
    scores = score(model, [causal(0, 0, 0, 1), causal(2, 1, cluster=1)], 2, "left")
    assert scores.nll == pytest.approx([LN2, LN2, 2 * LN2, 2 * LN2], rel=1e-6)


def test_model_in_training_mode_is_refused(table_model):
    with pytest.raises(ValueError, match=r"call model\.eval\(\) first"):
        score(table_model([HALVES] * 3).train(), [causal(0, 1)])


@pytest.mark.parametrize(("count", "batch_size"), [(0, 1), (1, 0)])
def test_nothing_to_score_is_refused(count, batch_size, table_model):
    with pytest.raises(ValueError, match="at least one example and a batch size above 0"):
        score(table_model([HALVES] * 3), [causal(0, 1)] * count, batch_size)


def test_reference_of_other_tokens_is_refused(table_model):
    model = table_model([HALVES] * 3)
    reference = score(model, [causal(0, 1)], keep_log_probs=True)
    with pytest.raises(ValueError, match="scored other tokens: the labels differ"):
        score(model, [causal(0, 2)], reference=reference)
    with pytest.raises(ValueError, match="scored other tokens: the clusters differ"):
        score(model, [causal(0, 1, cluster=1)], reference=reference)


def test_reference_of_another_vocabulary_is_refused(table_model):
    reference = score(table_model([HALVES] * 3), [causal(0, 1)], keep_log_probs=True)
    with pytest.raises(ValueError, match="vocabulary: sizes are 3 and 4"):
        score(table_model(np.zeros((4, 4))), [causal(0, 1)], reference=reference)


def test_reference_without_log_probabilities_is_refused(table_model):
    model = table_model([HALVES] * 3)
    with pytest.raises(ValueError, match="scored without keep_log_probs=True"):
        score(model, [causal(0, 1)], reference=score(model, [causal(0, 1)]))


def test_log_probabilities_beyond_the_memory_limit_are_refused(table_model):
    # 2 tokens x 3 entries x 4 bytes = 24 bytes
    model, examples = table_model([HALVES] * 3), [causal(0, 1, 2)]
    score(model, examples, keep_log_probs=True, log_probs_limit_bytes=24)
    with pytest.raises(ValueError, match=r"2 tokens over 3 need 24 B.*score 50% of the examples"):
        score(model, examples, keep_log_probs=True, log_probs_limit_bytes=12)


def test_causal_example_that_scores_its_first_token_is_refused(table_model):
    with pytest.raises(ValueError, match="a label for each token but the first"):
        score(table_model([HALVES] * 3), [Example((0, 1), (0, 1), 0)])


def test_seq2seq_example_with_an_unscored_label_is_refused(tiny_model):
    with pytest.raises(ValueError, match="scores each of its labels"):
        score(tiny_model("t5"), [Example((5, 6), (NOT_SCORED, 6), 0)])


@pytest.mark.skipif(detect_gpu() is None, reason="needs a GPU, and none is usable")
def test_a_gpu_scores_as_a_cpu_does(tiny_model, tokenizer, articles):
    model, examples = tiny_model("gpt2"), causal_examples(tokenizer, articles, 160)
    there = score(model, examples, keep_log_probs=True)
    try:
        here = score(model.cuda(), examples, keep_log_probs=True)
        again = score(model, examples, reference=here)
    finally:
        model.cpu()
    assert here.nll == pytest.approx(there.nll, abs=1e-4)
    assert all(part.is_pinned() for part in here.log_probs)
    assert again.kl == pytest.approx(0, abs=1e-9)
