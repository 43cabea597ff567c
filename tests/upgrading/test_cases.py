"""Which cases are compared: selections and the expression of ``-k``."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.matrix import Selection
from fixtures.upgrading.cases import count_steps, list_cases
from fixtures.upgrading.keywords import parse_keywords
from fixtures.workloads import Workload

SELECTION = Selection.parse("gpt2,t5-small", "fp32,nf4,int8", "tiny", "auto", (), ())


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("gpt2", {"gpt2-nf4", "gpt2-fp32"}),
        ("GPT2 and nf4", {"gpt2-nf4"}),
        ("gpt2 and not nf4", {"gpt2-fp32"}),
        ("nf4 or fp32 and gpt2", {"gpt2-nf4", "gpt2-fp32", "t5-nf4"}),
        ("(nf4 or fp32) and gpt2", {"gpt2-nf4", "gpt2-fp32"}),
        ("not (gpt2 or nf4)", {"t5-fp32"}),
        ("not not t5", {"t5-nf4", "t5-fp32"}),
    ],
)
def test_expression_chooses_as_pytest_does(text, matching):
    names = ["gpt2-nf4", "gpt2-fp32", "t5-nf4", "t5-fp32"]
    assert set(filter(parse_keywords(text), names)) == matching


@pytest.mark.parametrize(
    "text", ["", "and", "gpt2 and", "(gpt2", "gpt2)", "gpt2 nf4", "or x", "()"]
)
def test_expression_that_cannot_be_read_is_refused(text):
    with pytest.raises(
        ValueError, match=r"^-k '.*' cannot be read at .*; write 'gpt2 and not nf4'"
    ):
        parse_keywords(text)


@settings(deadline=None, max_examples=60)
@given(st.text("abno rtd()", max_size=20), st.text("abnot", max_size=5))
def test_expression_means_what_python_means_by_it(text, name):
    try:
        matches = parse_keywords(text)
    except ValueError:
        return
    words = text.replace("(", " ( ").replace(")", " ) ").split()
    python = [
        word if word in ("and", "or", "not", "(", ")") else str(word in name) for word in words
    ]
    assert matches(name) == eval(" ".join(python))


def test_models_take_turns_their_reference_first():
    assert [case.id for case in list_cases(SELECTION, "cpu")] == [
        "tiny-gpt2-fp32-b1-p64-n16",
        "tiny-t5-small-fp32-b1-p64-n16",
        "tiny-gpt2-nf4-b1-p64-n16",
        "tiny-t5-small-nf4-b1-p64-n16",
        "tiny-gpt2-int8-b1-p64-n16",
        "tiny-t5-small-int8-b1-p64-n16",
    ]


def test_phase_is_part_of_what_is_selected():
    cases = list_cases(SELECTION, "cpu", "nf4 and decode and not t5")
    assert [(case.id, case.phases) for case in cases] == [("tiny-gpt2-nf4-b1-p64-n16", ("decode",))]
    assert list_cases(SELECTION, "cpu", "no-such-model") == []


def test_steps_of_a_repeat():
    (case, *_) = list_cases(SELECTION, "cpu")
    assert case.workload.new_tokens == 16
    assert (case.steps("prefill"), case.steps("decode")) == (1, 4)


def test_repeat_of_a_short_workload_takes_the_steps_that_it_has():
    assert count_steps("decode", Workload(1, 8, 3)) == 2  # three tokens, one of them by prefill
