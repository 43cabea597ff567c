from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workloads import Workload


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
