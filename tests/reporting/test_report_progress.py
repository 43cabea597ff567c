from __future__ import annotations

import pytest

from fixtures.reporting.progress import Pace, format_finished, format_left, format_status

DECODE, LOAD = ("tiny", "decode", "gpt2"), ("tiny", "load", "gpt2")


def test_nothing_is_promised_before_the_first_test_has_ended():
    assert Pace().estimate([DECODE]) is None


def test_time_left_is_the_mean_of_each_kind():
    pace = Pace()
    for seconds in (2.0, 4.0):
        pace.note(DECODE, seconds)
    pace.note(LOAD, 0.5)
    assert pace.estimate([DECODE, DECODE, LOAD]) == pytest.approx(3 + 3 + 0.5)


def test_kind_not_met_yet_is_taken_for_what_resembles_it_most():
    pace = Pace()
    pace.note(DECODE, 2.0)
    pace.note(LOAD, 1.0)
    assert pace.estimate([("tiny", "decode", "t5-small")]) == pytest.approx(2.0)
    assert pace.estimate([("tiny", "rouge", "gpt2")]) == pytest.approx(1.5)
    assert pace.estimate([("published", "decode", "gpt2")]) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0.2, "about 1 s left"),
        (7.4, "about 7 s left"),
        (44.0, "about 40 s left"),
        (600.0, "about 10 min left"),
    ],
)
def test_time_left_is_rounded_to_what_is_known(seconds, said):
    assert format_left(seconds) == said


def test_status_says_which_case_phase_and_how_far():
    line = format_status("tiny-gpt2-nf4", "decode", 43, 742, 360.0, 100)
    assert line == "43/742  tiny-gpt2-nf4: decode  about 6 min left"


def test_status_never_wraps():
    assert len(format_status("x" * 200, "decode", 1, 2, 9.0, 80)) == 79


def test_finished_variant_leaves_one_line():
    outcomes = {"passed": 9, "failed": 1, "skipped": 0}
    line = format_finished("tiny-gpt2-nf4", 3, 78, outcomes, 12.34, 300.0)
    assert " ".join(line.split()) == (
        "[ 3/78] tiny-gpt2-nf4 12.3 s 9 passed, 1 failed about 5 min left"
    )
