from __future__ import annotations

import copy
from pathlib import Path

import pytest

from docs.session_power import format_power, hold_to_others
from fixtures.regression.run import parse_run

CASE = {
    "model": "gpt2",
    "technique": "compiled+bf16",
    "scale": "published",
    "weights": "seeded",
    "workload": "b1-p512-n64",
    "prompt_hash": "0",
    "settings": {},
}


def build(seconds, work=None, number=1, device="nvidia-h200"):
    """A session of one timed case: its rounds, and passes of the GPU's own work."""

    def spread(middle):
        return [middle * (1 + 0.0002 * step) for step in range(-6, 6)]

    timed, metrics = {"metric": "tpot_s", "steps": 1}, {"tpot_s": seconds}
    if work is not None:
        timed["gpu_work_s"] = spread(work)
        metrics["gpu_work:tpot_s"] = work
    extra = {"schema": 1, "case": CASE, "timed": timed, "metrics": metrics}
    bench = {"fullname": "test_decode", "extra_info": extra, "stats": {"data": spread(seconds)}}
    document = {
        "machine_info": {"device_key": device, "packages": {}},
        "commit_info": {"id": "abc", "dirty": False},
        "datetime": f"2026-01-{number:02}T00:00:00+00:00",
        "suite": {"schema": 1},
        "benchmarks": [bench],
    }
    return parse_run(copy.deepcopy(document), Path(f"{number}.json"))


def sessions(levels, works=None):
    works = works or [None] * len(levels)
    pairs = enumerate(zip(levels, works, strict=True), start=1)
    return [build(level, work, number) for number, (level, work) in pairs]


def count(runs, slowdown):
    return sum(each.regressed for each in hold_to_others(runs, slowdown))


# Of six sessions that agree the margin is its floor, 3 %.
STEADY = (1.0, 1.001, 0.999, 1.0, 1.001, 0.999)


def test_steady_sessions_show_five_per_cent_and_no_alarm():
    runs = sessions(STEADY)
    assert len(list(hold_to_others(runs))) == 6
    assert (count(runs, 0.0), count(runs, 0.02), count(runs, 0.05)) == (0, 0, 6)


def test_sessions_two_per_cent_apart_hide_it():
    # The 99 % prediction factor of five sessions is 4.1: beyond 8 % at such a spread.
    assert count(sessions((1.0, 1.02, 0.98, 1.02, 0.98, 1.0)), 0.05) == 0


def test_a_session_that_is_unlike_the_others_is_an_alarm():
    runs = sessions((1.0, 1.001, 0.999, 1.0, 1.001, 1.06))
    assert [each.regressed for each in hold_to_others(runs)] == [False] * 5 + [True]


def test_the_gpus_own_work_counts_where_the_time_wanders():
    wandering = (1.0, 1.02, 0.98, 1.02, 0.98, 1.0)
    assert count(sessions(wandering, works=STEADY), 0.05) == 6


def test_table_has_a_line_for_each_case_and_one_for_all():
    lines = format_power(sessions(STEADY), 0.05).splitlines()
    assert lines[2:] == [
        "| gpt2-compiled+bf16-b1-p512-n64 | tpot_s | 6 | 0 | 6 |",
        "",
        "6 tries: 0 regressed as they are, 6 at +5.0 %.",
    ]


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        (
            sessions(STEADY[:5]),
            "5 sessions: a margin is learnt from 5 others, so give 6 or more",
        ),
        (
            [*sessions(STEADY[:5]), build(1.0, number=6, device="cpu")],
            "these are sessions of more than one device",
        ),
    ],
)
def test_what_says_nothing_is_refused(runs, sentence):
    with pytest.raises(ValueError, match=sentence):
        list(hold_to_others(runs))
