from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.units import (
    format_bytes,
    format_number,
    format_percent,
    format_ratio,
    format_seconds,
    format_share,
    format_small,
)

FORMATS = (
    format_bytes,
    format_number,
    format_percent,
    format_ratio,
    format_seconds,
    format_share,
    format_small,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (13.2, "13.20 s"),
        (1.0, "1.000 s"),
        (0.9996, "999.6 ms"),
        (0.01142, "11.42 ms"),
        (0.001, "1.000 ms"),
        (1.136e-3, "1.136 ms"),
        (6.65e-4, "665.0 us"),
        (4e-8, "0.040 us"),
        (0.0, "0.000 us"),
        (-0.0025, "-2.500 ms"),
    ],
)
def test_seconds_take_the_largest_unit_that_they_fill(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.000 KiB"),
        (16 * 2**20, "16.00 MiB"),
        (102_240_000, "97.50 MiB"),  # 102.24e6 / 1048576 = 97.504
        (2**30, "1.000 GiB"),
        (139 * 2**30, "139.0 GiB"),
        (-3 * 2**20, "-3.000 MiB"),
    ],
)
def test_bytes_are_counted_in_powers_of_1024(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.104, "+10.4 %"), (-0.0305, "-3.0 %"), (0.0, "+0.0 %")]
)
def test_change_always_has_a_sign(share, text):
    assert format_percent(share) == text


def test_speed_up_and_plain_figures_have_fixed_decimals():
    assert format_ratio(1.4649) == "1.46x"
    assert format_number(1.00049, 5) == "1.00049"
    assert format_number(778.6, 0) == "779"


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100 %"), (0.0031, "0.31 %"), (0.234567, "23.5 %"), (0.0, "0 %")]
)
def test_share_has_three_digits_and_no_sign(share, text):
    assert format_share(share) == text


@pytest.mark.parametrize(("value", "text"), [(5.7e-5, "5.70e-05"), (0, "0"), (0.0, "0")])
def test_figure_that_spans_decades_keeps_three_digits(value, text):
    assert format_small(value) == text


@pytest.mark.parametrize("format_figure", FORMATS)
def test_missing_figure_is_not_available_and_never_0(format_figure):
    assert format_figure(None) == "n/a"


@given(st.floats(1e-9, 1e5))
@settings(max_examples=200, deadline=None)
def test_text_of_seconds_is_within_half_of_its_last_digit(seconds):
    number, unit = format_seconds(seconds).split()
    size = {"s": 1.0, "ms": 1e-3, "us": 1e-6}[unit]
    decimals = len(number.partition(".")[2])
    assert abs(float(number) * size - seconds) <= 0.5001 * 10**-decimals * size


@given(st.integers(0, 2**45), st.integers(3, 6))
@settings(max_examples=200, deadline=None)
def test_text_of_bytes_has_the_digits_asked_for(count, digits):
    number, unit = format_bytes(count, digits).split()
    if unit != "B":
        # 1023.99 KiB rounds to 1024, and more than a thousand GiB has no larger unit.
        assert len(re.sub(r"\D", "", number)) in (digits, digits + 1) or float(number) > 999
