"""A cold start is the first answer's: of a scripted model whose first passes take longer."""

from __future__ import annotations

import time
from types import SimpleNamespace

import torch

from fixtures.device import Device
from fixtures.plugins.starting import time_cold_start

FIRST_PROMPT_S, FIRST_STEP_S, LATER_S = 0.30, 0.15, 0.001
CPU = Device("cpu", "Example CPU", 2**34, threads=1)


class Cache:
    """Counts positions."""

    def __init__(self, length):
        self.length = length

    def get_seq_length(self):
        return self.length


class Compiling(torch.nn.Module):
    """Sleeps as if it compiled: once for prompts, and once for steps."""

    device = torch.device("cpu")
    config = SimpleNamespace(is_encoder_decoder=False)

    def __init__(self):
        super().__init__()
        self.waits_s = {"prompt": FIRST_PROMPT_S, "step": FIRST_STEP_S}

    def forward(self, input_ids, use_cache, past_key_values=None):
        cache = past_key_values or Cache(0)
        time.sleep(self.waits_s.pop("step" if cache.length else "prompt", LATER_S))
        cache.length += input_ids.shape[1]
        logits = torch.zeros(*input_ids.shape, 5)
        return SimpleNamespace(logits=logits, past_key_values=cache)


def test_first_prompt_and_first_step_are_told_apart_from_later_ones():
    model, ids = Compiling(), torch.arange(8)[None]
    cold, warm = (time_cold_start(model, ids, CPU) for _ in range(2))
    assert FIRST_PROMPT_S <= cold["cold_ttft_s"] < FIRST_PROMPT_S + FIRST_STEP_S
    assert FIRST_STEP_S <= cold["cold_tpot_s"] < FIRST_PROMPT_S
    assert max(warm.values()) < FIRST_STEP_S
