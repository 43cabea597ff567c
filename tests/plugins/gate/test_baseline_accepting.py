"""How a run becomes the baseline, and how it does not."""

from __future__ import annotations

import json

import pytest

SLOW = {"default": 0.002, "tiny-gpt2-nf4 tpot_s": 0.0024}
REASON = "--reason=the new kernel"
CASE = "gpt2-nf4-b1-p64-n16"


def refusal(run):
    (line,) = [line for line in run.lines if "cannot become the baseline: " in line]
    return line.partition("cannot become the baseline: ")[2]


def test_run_is_accepted_with_its_reason_and_what_changes(judged_stage):
    before = judged_stage.accepted.read_text()
    fast = {"default": 0.002, "tiny-gpt2-nf4 tpot_s": 0.0016}
    run = judged_stage.run("--accept-baseline", REASON, seconds=fast)
    assert run.status == 0, run.text
    assert run.said("accepted 0006_accepted.json as baselines/accepted-example-cpu-2-threads.json")
    assert f"{CASE} tpot_s: 2.000 ms -> 1.600 ms (-20.0 %)" in run.lines
    assert "6 of 6 timed cases have 5 saved runs behind their margin" in run.lines
    now = json.loads(judged_stage.accepted.read_text())
    assert now["accepted"]["reason"] == "the new kernel"
    assert judged_stage.accepted.read_text() != before
    again = judged_stage.run(seconds=fast)
    assert "verdicts: 10 unchanged" in again.lines


def test_margins_that_too_few_runs_stand_behind_are_named(stage):
    run = stage.run("--accept-baseline", REASON)
    assert run.status == 0, run.text
    (line,) = run.said("0 of 6 timed cases have 5 saved runs behind their margin; of the others")
    assert line.endswith("save unchanged runs with --benchmark-autosave, then accept the last")


def test_autosave_leaves_the_accepted_run_alone(judged_stage):
    before = judged_stage.accepted.read_bytes()
    assert judged_stage.run("--benchmark-autosave", seconds=SLOW).status == 1
    assert judged_stage.accepted.read_bytes() == before


def test_regressed_run_is_refused_unless_its_case_is_intended(judged_stage):
    before = judged_stage.accepted.read_bytes()
    run = judged_stage.run("--accept-baseline", REASON, seconds=SLOW)
    assert run.status == 1
    assert refusal(run) == f"1 figures were not sound ({CASE} tpot_s regressed)"
    assert judged_stage.accepted.read_bytes() == before
    run = judged_stage.run("--accept-baseline=0006", REASON, f"--intended={CASE}")
    assert run.status == 0, run.text
    assert judged_stage.run(seconds=SLOW).status == 0


def test_intended_run_is_accepted_while_its_test_fails(judged_stage):
    run = judged_stage.run("--accept-baseline", REASON, f"--intended={CASE}", seconds=SLOW)
    # The test that measured the regression still says so; the baseline has moved all the same.
    assert run.status == 1
    assert run.said("accepted 0006_accepted.json as ")


def test_first_run_accepted_without_its_times_judges_none(stage):
    assert stage.run("--benchmark-autosave").status == 0
    run = stage.run("--accept-baseline=0001", REASON, "--without-times")
    assert run.status == 0, run.text
    assert run.said("it holds no times: they stay new until a run is accepted with them")
    slow = stage.run(seconds=SLOW)
    assert slow.status == 0, slow.text
    assert slow.said(f"new: tiny {CASE} tpot_s: tpot_s of {CASE} is not in accepted-")


def test_later_run_accepted_without_its_times_keeps_those_of_before(judged_stage):
    assert judged_stage.run("--benchmark-autosave", seconds=SLOW).status == 1
    run = judged_stage.run(
        "--accept-baseline=0006", REASON, f"--intended={CASE}", "--without-times"
    )
    assert run.status == 0, run.text
    assert run.said("of what is left out 6 stay as measured at ")
    assert run.said("6 of 6 timed cases have 5 saved runs behind their margin")
    assert judged_stage.run(seconds=SLOW).status == 1


def test_figure_of_a_device_held_back_is_named_and_left_as_it_was(judged_stage):
    hot = {"throttled": [["thermal_s +0.25"]]}
    run = judged_stage.run("--accept-baseline", REASON, seconds=SLOW, **hot)
    assert "; run again, or accept the rest by --without-tainted" in refusal(run)
    run = judged_stage.run("--accept-baseline=0006", REASON, "--without-tainted")
    assert run.status == 0, run.text
    assert run.said(
        f"left out: {CASE} tpot_s: the device was held back in both of two measurements"
    )
    assert f"{CASE} tpot_s: 2.000 ms -> 2.000 ms (+0.0 %)" in run.lines
    assert judged_stage.run(seconds=SLOW).status == 1


def test_intended_case_that_is_not_in_the_run_is_refused_with_the_nearest(judged_stage):
    run = judged_stage.run("--accept-baseline=0001", REASON, "--intended=gpt2-nf4-b1-p64-n1")
    assert run.status == 1
    assert refusal(run) == f"it has no case 'gpt2-nf4-b1-p64-n1' (nearest: {CASE})"


def test_partial_run_is_refused(judged_stage):
    run = judged_stage.run("--accept-baseline", REASON, "-k", "fp32")
    assert run.status == 1
    assert refusal(run) == "it ran only part of the matrix; run again without a selection"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--accept-baseline"], '--accept-baseline needs --reason "why the baseline changes"'),
        (
            ["--accept-baseline=0001", "--reason= "],
            '--accept-baseline needs --reason "why the baseline changes"',
        ),
        (["--intended=x"], "--intended goes with --accept-baseline"),
        (["--without-times"], "--without-times goes with --accept-baseline"),
        (["--without-tainted"], "--without-tainted goes with --accept-baseline"),
        (
            ["--accept-baseline", REASON, "--plant=tpot_s:+5%@*"],
            "a planted run never becomes the baseline; drop one of the two",
        ),
        (
            ["--calibrate=5", "--accept-baseline", REASON],
            "--calibrate neither accepts a baseline nor plants a regression",
        ),
        (["--calibrate=1"], "--calibrate 1 shows no spread; repeat 2 or more"),
    ],
)
def test_command_that_contradicts_itself_is_a_usage_error(judged_stage, arguments, sentence):
    run = judged_stage.run(*arguments)
    assert run.status == 4
    assert run.said("ERROR: ") == [f"ERROR: {sentence}"]


def test_two_runs_accepted_at_once_leave_one_whole_baseline(judged_stage):
    judged_stage.write_script()
    names = ["0001", "0002", "0003", "0004"]
    runs = [judged_stage.checkout.start(f"--accept-baseline={name}", REASON) for name in names]
    assert [process.wait(60) for process in runs] == [0] * 4
    for process in runs:
        process.stdout.close()
    assert judged_stage.run().status == 0
    assert [path.name for path in judged_stage.baselines.glob("*.json")] == [
        "accepted-example-cpu-2-threads.json"
    ]
