from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from fixtures.wrappers import unwrap

WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda model: model,
    "torch.compile": torch.compile,
    "peft": lambda model: get_peft_model(model, LoraConfig(r=1, fan_in_fan_out=True)),
    "torch.compile around peft": lambda model: torch.compile(WRAPPERS["peft"](model)),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_model_is_found_inside(wrapper: str) -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, n_positions=8, vocab_size=9))
    assert unwrap(WRAPPERS[wrapper](model)) is model
