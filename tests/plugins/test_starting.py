"""A cold start is the first answer's: of a scripted model whose first passes take longer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from fixtures.device import Device
from fixtures.plugins.starting import time_cold_start

FIRST_PROMPT_S, FIRST_STEP_S, LATER_S = 0.30, 0.15, 0.01
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

    def __init__(self, sleep):
        super().__init__()
        self.sleep = sleep
        self.waits_s = {"prompt": FIRST_PROMPT_S, "step": FIRST_STEP_S}

    def forward(self, input_ids, use_cache, past_key_values=None):
        cache = past_key_values or Cache(0)
        self.sleep(self.waits_s.pop("step" if cache.length else "prompt", LATER_S))
        cache.length += input_ids.shape[1]
        logits = torch.zeros(*input_ids.shape, 5)
        return SimpleNamespace(logits=logits, past_key_values=cache)


def test_first_prompt_and_first_step_are_told_apart_from_later_ones(script_time):
    model, ids = Compiling(script_time("fixtures.plugins.starting").sleep), torch.arange(8)[None]
    cold, warm = (time_cold_start(model, ids, CPU) for _ in range(2))
    assert cold["cold_ttft_s"] == pytest.approx(FIRST_PROMPT_S, rel=0.001)
    assert cold["cold_tpot_s"] == pytest.approx(FIRST_STEP_S, rel=0.001)
    assert list(warm.values()) == pytest.approx([LATER_S] * 2, rel=0.001)
