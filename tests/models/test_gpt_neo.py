from __future__ import annotations

import pytest

from fixtures.models.gpt_neo import shrink_queries
from fixtures.models.registry import MODELS
from fixtures.models.seeded import build_random_model


def test_shrunk_queries_give_scores_of_the_size_that_scaled_attention_has():
    import torch

    model = build_random_model(MODELS["gpt-neo-1.3b"], "tiny")
    layers = [module for module in model.modules() if hasattr(module, "q_proj")]
    before = [layer.q_proj.weight.clone() for layer in layers]
    shrink_queries(model)
    # Width 128 over 4 heads: the scores of a head of 32 are otherwise divided by the root of 32.
    for layer, weight in zip(layers, before, strict=True):
        assert torch.allclose(layer.q_proj.weight * 32**0.5, weight)
    assert len(layers) == 2


def test_only_the_published_shape_starts_so():
    assert MODELS["gpt-neo-1.3b"].start_published is shrink_queries
    assert all(
        spec.start_published is None for key, spec in MODELS.items() if key != "gpt-neo-1.3b"
    )


def test_sixteen_bits_do_not_scatter_deep_random_gpt_neo():
    import torch
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    config = GPTNeoConfig(
        num_layers=12,
        attention_types=[[["global", "local"], 6]],
        hidden_size=256,
        num_heads=2,
        initializer_range=0.06,  # scores as far apart as width 2048 has them with 0.02
        vocab_size=100,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    ids = torch.arange(48)[None] % 100
    moved = []
    for start in (lambda model: None, shrink_queries):
        torch.manual_seed(0)
        model = GPTNeoForCausalLM(config).eval()
        start(model)
        with torch.inference_mode():
            exact = model(ids).logits[:, -1]
            rounded = model.bfloat16()(ids).logits[:, -1].float()
        moved.append(float((rounded - exact).norm() / exact.norm()))
    assert moved[0] > 0.1
    assert moved[1] == pytest.approx(0.0, abs=0.03)
