from __future__ import annotations

from types import SimpleNamespace

import pytest

from fixtures.corpus.grammar import generate_articles
from fixtures.corpus.tokenizers import build_word_tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return build_word_tokenizer()


@pytest.fixture(scope="session")
def articles():
    return generate_articles("heldout", 12)


@pytest.fixture(scope="session")
def tiny_model(tokenizer):
    """Builds one of four architectures, two layers of 64, with random weights, once each."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
    from transformers.models.gemma import GemmaConfig
    from transformers.models.gpt2 import GPT2Config
    from transformers.models.gpt_neo import GPTNeoConfig
    from transformers.models.t5 import T5Config

    common = {
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    configs = {
        "gpt2": GPT2Config(n_positions=160, n_embd=64, n_layer=2, n_head=4, **common),
        "gpt-neo": GPTNeoConfig(
            max_position_embeddings=160,
            hidden_size=64,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            window_size=16,
            **common,
        ),
        "gemma": GemmaConfig(
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=16,
            intermediate_size=128,
            **common,
        ),
        "t5": T5Config(
            d_model=64,
            d_kv=16,
            num_layers=2,
            num_heads=4,
            d_ff=128,
            decoder_start_token_id=0,
            **common,
        ),
    }
    models = {}

    def build(name):
        if name not in models:
            torch.manual_seed(0)
            kind = AutoModelForSeq2SeqLM if name == "t5" else AutoModelForCausalLM
            model = kind.from_config(configs[name]).eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    # Away from uniform, so that a shifted position shows. T5, which does not
                    # scale its attention, would get so steep that rounding shows too.
                    parameter.mul_(1.5 if name == "t5" else 3)
            models[name] = model
        return models[name]

    return build


@pytest.fixture(scope="session")
def table_model():
    """Builds a model whose logits after token t are row t of a table, whatever came before."""
    import torch

    class TableModel(torch.nn.Module):
        def __init__(self, rows, dtype):
            super().__init__()
            self.rows = torch.nn.Parameter(torch.as_tensor(rows).to(dtype))
            self.config = SimpleNamespace(is_encoder_decoder=False)

        def forward(self, input_ids, attention_mask=None):
            return SimpleNamespace(logits=self.rows[input_ids])

    return lambda rows, dtype=torch.float32: TableModel(rows, dtype).eval()
