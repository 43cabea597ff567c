"""What comes over the pipe is read with suspicion."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.upgrading.protocol import (
    Figures,
    ProtocolError,
    read_message,
    read_seconds,
    write_message,
)

FIGURES = Figures("ab", {"output": "X"}, [[1]], "cd", [0.1 + 0.2], {"storage_bytes": 3}, [])


def test_figures_come_back_as_they_were_to_the_last_digit():
    line = write_message(FIGURES.to_json())
    assert Figures.from_json(read_message(line)) == FIGURES
    assert line.count(b"\n") == 1


@pytest.mark.parametrize("name", FIGURES.to_json())
def test_absent_field_is_named(name):
    answer = FIGURES.to_json()
    del answer[name]
    with pytest.raises(ProtocolError, match=rf"^gave None as its {name}$"):
        Figures.from_json(answer)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nll", [float("nan")]),
        ("nll", [True]),
        ("tokens", [1]),
        ("sizes", {"storage_bytes": 1.5}),
        ("sizes", [1]),
        ("result", {"output": 1}),
        ("problems", "none"),
        ("prompt", 5),
    ],
)
def test_field_of_another_type_is_refused(name, value):
    with pytest.raises(ProtocolError, match=f"as its {name}$"):
        Figures.from_json({**FIGURES.to_json(), name: value})


def test_long_answer_is_cut_short_in_its_error():
    with pytest.raises(ProtocolError) as caught:
        Figures.from_json({**FIGURES.to_json(), "nll": ["x"] * 10_000})
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("line", [b"", b"[1]", b"3", b"{", b"\xff\xfe", b"null"])
def test_line_that_is_no_object_is_refused(line):
    with pytest.raises(ProtocolError, match="which is no JSON object"):
        read_message(line)


@settings(deadline=None, max_examples=40)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_seconds_are_times_above_zero_or_an_error(value):
    answer = json.loads(json.dumps({"seconds": value}))
    try:
        found = read_seconds(answer, 2)
    except ProtocolError:
        return
    assert len(found) == 2
    assert all(0 < second < float("inf") for second in found)


def test_number_of_seconds_must_be_what_was_asked_for():
    assert read_seconds({"seconds": [1, 0.5]}, 2) == [1.0, 0.5]
    with pytest.raises(ProtocolError, match=r"gave \[1.0\] where 2 times were expected"):
        read_seconds({"seconds": [1.0]}, 2)
