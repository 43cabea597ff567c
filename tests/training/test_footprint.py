from __future__ import annotations

import pytest

from fixtures.measurement.storage import weights_bytes
from fixtures.training.footprint import measure_training_footprint
from fixtures.training.trainee import build_trainee

# By hand: rank 4 on two blocks of width 128: queries, keys and values at once 128 -> 384, the
# attention's output 128 -> 128, the feed-forward layers 128 -> 512 and back.
LORA = 2 * 4 * ((128 + 384) + (128 + 128) + (128 + 512) + (512 + 128))
HEADER = 6000  # names, shapes and offsets of the tensors


@pytest.fixture(scope="module")
def footprint(cpu, find_cell):
    """What training tiny gpt2 takes, by method, and what the model holds."""
    kept = {}

    def find(method):
        if method not in kept:
            cell = find_cell("gpt2", method)
            trainee = build_trainee(cell, cpu)
            figures = measure_training_footprint(cell, cpu, trainee)
            kept[method] = figures, weights_bytes(trainee.model)
        return kept[method]

    return find


def test_all_parameters_take_gradients_and_two_moments_beside_them(footprint):
    figures, held = footprint("full")
    assert figures["peak_allocated_bytes"] > 4 * held


def test_peaks_are_in_the_order_of_what_is_held(footprint):
    methods = ("qlora-nf4", "qlora-int8", "lora", "full")
    peaks = [footprint(method)[0]["peak_allocated_bytes"] for method in methods]
    assert peaks == sorted(peaks)
    assert len(set(peaks)) == len(peaks)


def test_share_and_adapter_are_those_counted_by_hand(footprint):
    figures, held = footprint("lora")
    whole = held / 4  # fp32, the adapter's own among them
    assert figures["trainable_share"] == pytest.approx(LORA / whole)
    assert 4 * LORA < figures["adapter_bytes"] < 4 * LORA + HEADER


def test_packed_weights_count_as_what_they_stand_for(footprint):
    share = footprint("qlora-nf4")[0]["trainable_share"]
    assert share == pytest.approx(footprint("lora")[0]["trainable_share"])


def test_a_model_that_is_trained_whole_has_no_adapter(footprint):
    figures, _ = footprint("full")
    assert figures["adapter_bytes"] is None
    assert figures["trainable_share"] == 1
