from __future__ import annotations

import pytest

from fixtures.regression.calibration import calibrate


def repeats(*medians, spread=0.0005):
    return [[middle * (1 + spread * step) for step in range(-6, 7)] for middle in medians]


def test_noise_is_that_between_repeats():
    # ln 1.01 - ln 1 over two repeats: sd = difference / sqrt 2.
    found = calibrate(repeats(1.0, 1.01))
    assert found.noise == pytest.approx(0.00995033 / 2**0.5, rel=1e-5)
    assert found.level == pytest.approx(1.005)


def test_quiet_case_shows_little_more_than_its_margin():
    found = calibrate(repeats(1.0, 1.0, 1.0, 1.0, 1.0))
    assert found.margin.share == pytest.approx(0.03)
    assert 0.03 < found.smallest < 0.04


def test_differing_sessions_widen_what_can_be_shown():
    quiet = calibrate(repeats(1.0, 1.001, 1.002, 1.001, 1.0))
    loud = calibrate(repeats(1.0, 1.01, 1.02, 1.01, 1.0))
    assert loud.margin.share > quiet.margin.share
    assert loud.smallest > quiet.smallest


def test_case_too_noisy_to_gate_shows_nothing():
    assert calibrate(repeats(1.0, 1.1, 1.2, 1.1, 1.0)).smallest is None


def test_one_repeat_is_refused():
    with pytest.raises(ValueError, match="two or more values"):
        calibrate(repeats(1.0))


def test_repeats_too_few_to_learn_from_promise_no_more_than_the_gate_holds():
    assert calibrate(repeats(1.0, 1.001, 1.0, 1.001)).smallest == 0.5
    assert calibrate(repeats(1.0, 1.001, 1.0, 1.001, 1.0)).smallest < 0.05
