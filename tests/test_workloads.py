from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workloads import TrainingWorkload, Workload


def test_id_names_batch_prompt_and_new_tokens():
    assert str(Workload(8, 512, 64)) == "b8-p512-n64"


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(2, 10**6))
def test_id_is_read_back(batch, prompt_tokens, new_tokens):
    workload = Workload(batch, prompt_tokens, new_tokens)
    assert Workload.parse(str(workload)) == workload


@pytest.mark.parametrize(
    "text", ["", "b1-p8", "b1-p8-n4 ", "8x8", "b1-p8-n-4", "B1-P8-N4", "b1.5-p8-n4", "load"]
)
def test_other_forms_are_refused_with_the_text(text):
    with pytest.raises(ValueError, match=f"^workload '{text}' is not of the form b1-p128-n32$"):
        Workload.parse(text)


@pytest.mark.parametrize("counts", [(0, 8, 4), (1, 0, 4), (1, 8, 1)])
def test_workload_that_cannot_be_measured_is_refused(counts):
    with pytest.raises(ValueError, match="needs at least 1 row, 1 prompt token and 2 new tokens"):
        Workload(*counts)


def test_first_new_token_belongs_to_prefill():
    workload = Workload(1, 128, 32)
    assert workload.decode_steps == 31
    assert workload.total_tokens == 160


def test_training_id_names_rows_tokens_and_workers():
    assert str(TrainingWorkload(4, 128)) == "train-b4-t128"
    assert str(TrainingWorkload(64, 512, 2)) == "train-b64-t512-w2"
    assert TrainingWorkload(64, 512, 2).step_tokens == 32768


@given(st.integers(1, 10**4), st.integers(2, 10**4), st.none() | st.integers(1, 100))
def test_training_id_is_read_back(rows, tokens, workers):
    workload = TrainingWorkload(rows * (workers or 1), tokens, workers)
    assert TrainingWorkload.parse(str(workload)) == workload


@pytest.mark.parametrize("text", ["b1-p8-n4", "train-b1-t8-w", "train-b1", "train-b1-t8-w0x"])
def test_other_forms_of_training_are_refused_with_the_text(text):
    with pytest.raises(ValueError, match=f"^workload '{text}' is not of the form train-b4-t128$"):
        TrainingWorkload.parse(text)


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ((0, 8), "workload train-b0-t8 needs at least 1 row and 2 tokens"),
        ((1, 1), "workload train-b1-t1 needs at least 1 row and 2 tokens"),
        ((8, 8, 0), "0 workers cannot train; 1 or more can"),
        ((8, 8, 3), "a batch of 8 rows cannot be dealt evenly to 3 workers"),
    ],
)
def test_training_that_cannot_be_is_refused(counts, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        TrainingWorkload(*counts)


@given(
    prompt=st.integers(1, 600), new=st.integers(2, 100), positions=st.none() | st.integers(1, 700)
)
def test_a_shortened_workload_fits_and_keeps_what_it_generates(prompt, new, positions):
    asked = Workload(2, prompt, new)
    short = asked.shorten(positions)
    assert (short.batch, short.new_tokens) == (2, new)
    if positions is None or asked.total_tokens <= positions or positions <= new:
        assert short == asked
    else:
        assert short.total_tokens == positions
