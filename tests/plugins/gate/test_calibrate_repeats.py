"""Repeats in processes of their own, and what they print."""

from __future__ import annotations


def test_repeats_print_each_timed_case_and_save_nothing(judged_stage):
    before = sorted(judged_stage.baselines.rglob("*"))
    run = judged_stage.run("--calibrate=2", "-k", "nf4 and (decode or memory)")
    assert run.status == 0, run.text
    assert run.lines[0] == "2 unchanged repeats, each in a fresh process"
    assert [line.partition(":")[0] for line in run.said("repeat ")] == [
        "repeat 1 of 2",
        "repeat 2 of 2",
    ]
    (row,) = run.said("tiny gpt2-")
    # Two scripted repeats are the same: the margin is the floor, and below +50 % all is left open.
    assert row.split()[:4] == ["tiny", "gpt2-nf4-b1-p64-n16", "tpot_s", "2.000"]
    assert "0.00 %  +3.0 % (floor)  +50.0 %" in row
    assert sorted(judged_stage.baselines.rglob("*")) == before


def test_selection_without_a_timed_case_shows_what_pytest_says(judged_stage):
    run = judged_stage.run("--calibrate=2", "-k", "memory")
    assert run.status == 5
    assert "10 deselected" in run.text
