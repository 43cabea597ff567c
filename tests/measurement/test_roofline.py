"""Roofline: counts that agree with published shapes by hand arithmetic, and the H200's floors."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from fixtures.measurement.roofline import (
    ModelShape,
    decode_bytes,
    decode_flops,
    describe_shape,
    find_impossibility,
    mbu,
    mfu,
    prefill_bytes,
    prefill_flops,
)

H200_BYTES_PER_S = 4.3e12  # measured copy
H200_FLOPS = {"float32": 60e12, "bfloat16": 790e12}


@cache
def shape_of(name):
    import transformers as tf

    configs = {
        "gpt2": (tf.GPT2LMHeadModel, tf.GPT2Config()),
        "t5-small": (
            tf.T5ForConditionalGeneration,
            tf.T5Config(d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8),
        ),
        "gpt-neo-1.3b": (tf.GPTNeoForCausalLM, tf.GPTNeoConfig()),
        "gemma-2b": (
            tf.GemmaForCausalLM,
            tf.GemmaConfig(
                vocab_size=256_000, hidden_size=2048, intermediate_size=16_384,
                num_hidden_layers=18, num_attention_heads=8, num_key_value_heads=1, head_dim=256,
            ),
        ),
    }  # fmt: skip
    build, config = configs[name]
    with torch.device("meta"):
        return describe_shape(build(config))


# A GPT of 8 layers of width 512: 12 x 512^2 weights a layer; the vocabulary of 500 is small.
SMALL_GPT = ModelShape(8 * 12 * 512**2, 8 * 12 * 512**2, 500 * 512, 0, 8, 512, 512, False)


def test_shapes_are_those_of_hand_arithmetic():
    # gpt2: qkv 3, output 1, feed-forward 8 times width squared, in 12 layers.
    assert shape_of("gpt2").step_weights == 12 * 12 * 768**2
    assert shape_of("gpt2").head_weights == 50_257 * 768
    # gemma: q 8 heads, k and v one head of 256, output; three matrices of the feed-forward.
    gemma = 18 * (2048 * 2048 * 2 + 2 * 2048 * 256 + 3 * 2048 * 16_384)
    assert shape_of("gemma-2b").step_weights == gemma
    assert shape_of("gemma-2b").kv_width == 256
    # t5 decoder: self 4, cross q and output 2 (its k and v are cached), feed-forward 8.
    t5 = shape_of("t5-small")
    assert t5.step_weights == 6 * (4 + 2 + 8) * 512**2
    # t5 prompt: encoder self 4 and feed-forward 8, and the cross-attention's k and v.
    assert t5.prompt_weights == 6 * (4 + 8 + 2) * 512**2


def test_quantised_weights_count_as_many_as_they_stand_for():
    import bitsandbytes as bnb
    import transformers as tf

    config = tf.GPT2Config(n_layer=1, n_embd=64, n_head=2, vocab_size=100)
    model = tf.GPT2LMHeadModel(config)
    plain = describe_shape(model)
    packed = bnb.nn.Linear4bit(64, 192, quant_type="nf4")
    model.transformer.h[0].attn.c_attn = packed.to("cpu")
    assert describe_shape(model).step_weights == plain.step_weights


@pytest.mark.parametrize(
    ("name", "bits", "megabytes"),
    [
        ("gpt2", (32, 32), 497.8), ("gpt2", (16, 16), 248.9), ("gpt2", (8, 16), 163.9),
        ("gpt2", (4.5, 16), 126.8),
        ("t5-small", (32, 32), 153.9), ("t5-small", (16, 16), 76.9), ("t5-small", (8, 16), 54.9),
        ("t5-small", (4.5, 16), 45.3),
        ("gpt-neo-1.3b", (32, 32), 5262.9), ("gpt-neo-1.3b", (16, 16), 2631.4),
        ("gpt-neo-1.3b", (8, 16), 1423.5), ("gpt-neo-1.3b", (4.5, 16), 895.0),
        ("gemma-2b", (32, 32), 10_025), ("gemma-2b", (16, 16), 5012.5),
        ("gemma-2b", (8, 16), 3030.7), ("gemma-2b", (4.5, 16), 2163.6),
    ],
)  # fmt: skip
def test_weight_bytes_of_a_step(name, bits, megabytes):
    # The published sums hold the table of positions too, of which a step reads one row: 1.3 %.
    expected = pytest.approx(megabytes * 1e6, rel=0.015)
    assert decode_bytes(shape_of(name), 1, 0, *bits) == expected


@pytest.mark.parametrize(
    ("name", "fp32", "bits16"),
    [
        ("gpt2", 73_728, 36_864),
        ("t5-small", 24_576, 12_288),
        ("gpt-neo-1.3b", 393_216, 196_608),
        ("gemma-2b", 36_864, 18_432),
    ],
)
def test_cache_bytes_of_a_token(name, fp32, bits16):
    shape = shape_of(name)
    assert (shape.kv_bytes_per_token(), shape.kv_bytes_per_token(16)) == (fp32, bits16)


@pytest.mark.parametrize(
    ("name", "batch", "bits", "microseconds"),
    [
        ("gpt2", 1, 16, 62.8), ("gpt2", 8, 16, 97.4), ("gpt2", 8, 32, 194.8),
        ("t5-small", 1, 16, 19.5), ("t5-small", 8, 16, 31.1),
        ("gpt-neo-1.3b", 1, 16, 638.3), ("gpt-neo-1.3b", 8, 32, 1645),
        ("gemma-2b", 1, 16, 1168.2), ("gemma-2b", 8, 16, 1185),
    ],
)  # fmt: skip
def test_decode_floors_of_an_h200(name, batch, bits, microseconds):
    moved = decode_bytes(shape_of(name), batch, 512 + 64, bits, bits)
    assert moved / H200_BYTES_PER_S == pytest.approx(microseconds * 1e-6, rel=0.01)


@pytest.mark.parametrize(
    ("name", "batch", "dtype", "microseconds"),
    [
        ("gpt2", 1, "bfloat16", 116), ("gpt2", 8, "bfloat16", 931), ("gpt2", 1, "float32", 1531),
        ("t5-small", 1, "bfloat16", 32.6), ("t5-small", 8, "bfloat16", 261),
        ("gpt-neo-1.3b", 1, "bfloat16", 1599), ("gpt-neo-1.3b", 8, "float32", 168_390),
        ("gemma-2b", 1, "bfloat16", 2595), ("gemma-2b", 8, "bfloat16", 20_757),
    ],
)  # fmt: skip
def test_prefill_floors_of_an_h200(name, batch, dtype, microseconds):
    flops = prefill_flops(shape_of(name), batch, 512)
    assert flops / H200_FLOPS[dtype] == pytest.approx(microseconds * 1e-6, rel=0.005)


@pytest.mark.parametrize(
    ("name", "microseconds"), [("gpt2", 62), ("gpt-neo-1.3b", 635), ("gemma-2b", 1168)]
)
def test_prefill_memory_floors_of_an_h200(name, microseconds):
    moved = prefill_bytes(shape_of(name), 1, 512, 16, 16)
    assert moved / H200_BYTES_PER_S == pytest.approx(microseconds * 1e-6, rel=0.01)


@pytest.mark.parametrize(
    ("batch", "bits", "microseconds"),
    [(1, 32, 28.1), (8, 32, 58.9), (1, 16, 14.1), (8, 16, 29.4)],
)
def test_decode_floors_of_a_gpt_written_from_scratch(batch, bits, microseconds):
    moved = decode_bytes(SMALL_GPT, batch, 576, bits, bits)
    assert moved / H200_BYTES_PER_S == pytest.approx(microseconds * 1e-6, rel=0.01)


def test_decode_does_two_operations_a_weight_and_row():
    assert decode_flops(SMALL_GPT, 3) == 2 * 3 * (8 * 12 * 512**2 + 500 * 512)


def test_utilisation_of_the_published_a100_figure():
    # gpt-fast: 104.9 tokens/s of Llama-2-7B in bf16 is 1397 GB/s, of 2039 by the datasheet.
    assert mbu(1397e9 / 104.9, 1 / 104.9, 2039e9) == pytest.approx(0.685, abs=0.001)
    assert mfu(395e12, 1.0, 790e12) == 0.5


def possible(seconds, **changes):
    known = {
        "moved_bytes": 5012.5e6, "bytes_per_s": H200_BYTES_PER_S, "flops": 5e9,
        "flops_per_s": 790e12, "cache_bytes": 50 * 2**20, **changes,
    }  # fmt: skip
    return find_impossibility(seconds, **known)


def test_time_above_the_floor_is_possible():
    assert possible(1166e-6) is None


def test_time_below_nine_tenths_of_the_memory_floor_is_impossible():
    assert possible(1050e-6) is None  # the floor is 1049 us
    sentence = possible(1040e-6)
    assert sentence == ("1.040 ms is too short to move 4.668 GiB, which takes at least 1.049 ms")


def test_time_below_eight_tenths_of_the_compute_floor_is_impossible():
    slow = {"flops": 2050e9, "moved_bytes": 1.0}
    assert possible(2100e-6, **slow) is None  # the floor is 2076 us
    sentence = possible(2000e-6, **slow)
    assert sentence == (
        "2.000 ms is too short for 2.05e+12 operations, which take at least 2.076 ms"
    )
    assert possible(2000e-6, **slow, flops_per_s=None) is None


def test_model_that_fits_the_cache_is_not_held_to_the_memory():
    assert possible(1e-6, moved_bytes=40 * 2**20, flops=1.0) is None
