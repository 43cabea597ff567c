"""What a session as a whole says: common moves, what else differs, the canary, the creep."""

from __future__ import annotations

import pytest

EIGHT = ["fp32", "fp16", "bf16", "int8", "nf4", "fp4", "sdpa", "pruned-30"]


@pytest.fixture(scope="module")
def wide_stage(new_stage):
    """A stage with a baseline of eight techniques."""
    stage = new_stage()
    stage.accept(1.001, 1.002, 1.003, 1.004, techniques=EIGHT)
    return stage


def test_common_move_is_named_once_with_what_differs(wide_stage):
    run = wide_stage.run(
        "-k",
        "decode",
        techniques=EIGHT,
        seconds={"default": 0.00213},
        packages={"python": "3.11.7", "torch": "2.14.0"},
        canaries=[{"copy_s": 0.03}, {"copy_s": 0.03}],
        clock_mhz=2400,
    )
    assert run.status == 1
    (move,) = run.said("common move: ")
    # The baseline's level is the median of its sessions: 2 ms x 1.002.
    assert move == (
        "common move: 8 of 8 tpot_s cases are 6.3 % slower: machine, driver or a shared library"
        " (torch: 2.13.0 -> 2.14.0; clock_mhz_max: 3000 -> 2400; canary copy_s +50.0 %)"
    )
    differs = "torch: 2.13.0 -> 2.14.0; clock_mhz_max: 3000 -> 2400; canary copy_s +50.0 %"
    assert run.said("differs from the baseline: ") == [f"differs from the baseline: {differs}"]


def test_common_move_judges_nothing_away(wide_stage):
    run = wide_stage.run("-k", "decode", techniques=EIGHT, seconds={"default": 0.0022})
    assert run.said("common move: 8 of 8 tpot_s cases are 9.8 % slower")
    assert "verdicts: 8 regressed" in run.lines


def test_new_package_is_listed_and_refuses_nothing(judged_stage):
    run = judged_stage.run(packages={"python": "3.12.1", "torch": "2.13.0", "peft": "0.21.2"})
    assert run.status == 0
    assert "verdicts: 10 unchanged" in run.lines
    assert run.said("differs from the baseline: ") == [
        "differs from the baseline: python: 3.11.7 -> 3.12.1; peft: (absent) -> 0.21.2"
    ]


def test_machine_that_slowed_down_during_the_run_is_named(judged_stage):
    run = judged_stage.run(canaries=[{"copy_s": 0.02}, {"copy_s": 0.022}])
    assert "the machine changed from start to end: canary copy_s +10.0 %" in run.lines
    steady = judged_stage.run(canaries=[{"copy_s": 0.02}, {"copy_s": 0.0208}])
    assert not steady.said("the machine changed")


@pytest.fixture(scope="module")
def crept_stage(new_stage):
    """Ten runs at 2 ms and two at 2.08 ms: each within 5 % of the baseline, together a creep."""
    stage = new_stage()
    assert stage.run("--benchmark-autosave").status == 0
    (first,) = stage.saved()
    for number in range(2, 12):
        stage.add_run(number, 1.0, first)
    for number in (12, 13):
        stage.add_run(number, 1.04, first)
    first.unlink()
    return stage


def test_creep_is_named_and_fails_under_strict_alone(crept_stage):
    # Each run lies within the margin of the one before, so no verdict of its own says it.
    arguments = ("-k", "decode and nf4", "--benchmark-compare=0013")
    slow = {"default": 0.00208}
    run = crept_stage.run(*arguments, seconds=slow)
    assert run.status == 0, run.text
    assert run.said("history: 13 runs of this device; 1 cases moved over the last 3")
    assert run.said(
        "over its history, regressed: tiny gpt2-nf4-b1-p64-n16 tpot_s +4.0 %: 3 of the last 3 runs"
    )
    strict = crept_stage.run(*arguments, "--strict-baseline", seconds=slow)
    assert "1 passed" in strict.text
    assert strict.status == 1


def test_partial_runs_that_were_saved_are_said_to_be_no_baseline(new_stage):
    stage = new_stage()
    assert stage.run("-k", "decode", "--benchmark-autosave").status == 0
    (saved,) = stage.saved()
    run = stage.run("-k", "decode", "--benchmark-compare", "--benchmark-autosave")
    assert run.status == 0
    assert run.said(
        f"none of 1 saved runs can be compared with: the last, {saved.name}, ran only part of"
        " the matrix"
    )


def test_planted_run_is_no_history(judged_stage):
    judged_stage.add_run(7, 1.5, suite={"schema": 1, "planted": ["tpot_s:+50%@*"]})
    run = judged_stage.run()
    assert run.said("history: 6 runs of this device")
