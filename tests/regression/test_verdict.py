from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.regression.verdict import Status, Verdict, VerdictError
from fixtures.stats import Interval

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    status=st.sampled_from(Status),
    reason=st.text(),
    ratio=st.none() | finite,
    ends=st.none() | st.tuples(finite, finite),
    count=st.integers(0, 1000),
    helps=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_json_keeps_every_field(status, reason, ratio, ends, count, helps):
    interval = Interval(*ends) if ends else None
    verdict = Verdict(
        "tpot_s",
        status,
        reason,
        ratio=ratio,
        interval=interval,
        old_count=count,
        more_rounds_help=helps,
    )
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


def test_only_regressed_and_measuring_error_fail_by_default():
    assert {status.value for status in Status if status.fails()} == {"regressed", "measuring-error"}


def test_strict_lets_only_unchanged_and_improved_pass():
    passing = {status.value for status in Status if not status.fails(strict=True)}
    assert passing == {"unchanged", "improved"}


@pytest.mark.parametrize("figure", [math.nan, math.inf])
def test_figure_that_is_not_finite_is_refused(figure):
    with pytest.raises(VerdictError, match=r"the verdict on tpot_s holds (nan|inf)"):
        Verdict("tpot_s", Status.REGRESSED, "", ratio=figure)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"verdict": "fine"}, "'fine' is no verdict; known: unchanged, improved"),
        ({"speed": 3}, "a verdict has no field 'speed'"),
        ({"ratio": "1.05"}, "field 'ratio' of a verdict holds '1.05'"),
        ({"interval": [1.0]}, "a verdict cannot be read"),
        ({"reason": 3}, "field 'reason' of a verdict holds 3"),
    ],
)
def test_damaged_verdict_is_refused(change, sentence):
    saved = {"metric": "tpot_s", "verdict": "regressed", "reason": "slower", **change}
    with pytest.raises(VerdictError, match=sentence):
        Verdict.from_json(saved)
