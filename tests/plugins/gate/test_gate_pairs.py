"""Rounds in turn with a partner's show what the noise between sessions hides."""

from __future__ import annotations

import json
import re

import pytest

from fixtures.regression.limits import ROUNDS_NEEDED

# Sessions 15 % apart: no margin that gates anything can be learnt from them.
NOISY = (0.75, 0.9, 1.1, 1.3, 0.8, 1.2)


@pytest.fixture
def noisy_stage(new_stage):
    stage = new_stage()
    stage.accept(*NOISY, beside=True)
    return stage


@pytest.fixture
def calm_stage(new_stage):
    stage = new_stage()
    stage.accept(*(0.999, 1.001) * 3, beside=True)
    return stage


def test_slowdown_that_sessions_hide_is_seen_beside_the_reference(noisy_stage):
    slower = {"default": 0.002, "tiny-gpt2-nf4 tpot_s": 0.0022}
    run = noisy_stage.run("-k", "decode", beside=True, seconds=slower)
    assert run.status == 1
    assert "tiny gpt2-nf4-b1-p64-n16 on Example CPU: paired:tpot_s regressed" in run.lines
    assert re.search(r"  baseline  1.000x its reference's  n=\d+, recorded at unversi", run.text)
    assert "  change    +10.0 % [" in run.text
    assert "verdicts: 1 regressed, 1 unchanged, 2 undecided" in run.lines


def test_slower_reference_is_seen_beside_the_yardstick(noisy_stage):
    run = noisy_stage.run("-k", "decode", beside=True, seconds={"default": 0.0022})
    assert run.status == 1
    assert "tiny gpt2-fp32-b1-p64-n16 on Example CPU: yardstick:tpot_s regressed" in run.lines
    assert re.search(r"  baseline  2.00.x the yardstick's  n=\d+, recorded at unversi", run.text)
    assert "verdicts: 1 regressed, 1 unchanged, 2 undecided" in run.lines


def test_machine_half_as_fast_changes_nothing_beside_a_partner(noisy_stage):
    slower = {"seconds": {"default": 0.004}, "yardstick": 0.002}
    run = noisy_stage.run("-k", "decode", beside=True, **slower)
    assert run.status == 0
    assert "verdicts: 2 unchanged, 2 undecided" in run.lines


def test_each_case_is_saved_with_the_pairs_of_its_own_partner(noisy_stage):
    saved = json.loads(noisy_stage.accepted.read_text())
    pairs = {
        (bench["extra_info"]["case"]["technique"], timed["paired"]): timed["pairs"]
        for bench in saved["benchmarks"]
        if "pairs" in (timed := bench["extra_info"]["timed"])
    }
    assert pairs.keys() == {
        ("fp32", "yardstick:tpot_s"),
        ("fp32", "yardstick:ttft_s"),
        ("nf4", "paired:tpot_s"),
        ("nf4", "paired:ttft_s"),
    }
    assert all(len(taken) >= ROUNDS_NEEDED for taken in pairs.values())


def test_margin_of_the_pairs_is_learnt_from_their_own_sessions(noisy_stage):
    sessions = json.loads(noisy_stage.accepted.read_text())["accepted"]["sessions"]
    learnt = [metrics for metrics in sessions.values() if "paired:tpot_s" in metrics]
    assert [len(metrics["paired:tpot_s"]) for metrics in learnt] == [len(NOISY) + 1]


def test_baseline_without_pairs_calls_them_new(judged_stage):
    run = judged_stage.run("-k", "decode", beside=True)
    assert run.status == 0
    assert "verdicts: 2 new, 2 unchanged" in run.lines


def test_what_slows_all_alike_fails_the_reference_and_taints_the_others(calm_stage):
    run = calm_stage.run("-k", "decode", beside=True, seconds={"default": 0.0024})
    assert run.status == 1
    assert "tiny gpt2-fp32-b1-p64-n16 on Example CPU: tpot_s regressed" in run.lines
    assert "tiny gpt2-fp32-b1-p64-n16 on Example CPU: yardstick:tpot_s regressed" in run.lines
    assert "verdicts: 2 regressed, 1 tainted, 1 unchanged" in run.lines
    assert run.said("tainted: tiny gpt2-nf4-b1-p64-n16 tpot_s: slower by +20.0 %, and so is its")


def test_slower_machine_taints_the_reference_too(calm_stage):
    slower = {"seconds": {"default": 0.0024}, "yardstick": 0.0012}
    run = calm_stage.run("-k", "decode", beside=True, **slower)
    assert run.status == 0
    assert "verdicts: 2 tainted, 2 unchanged" in run.lines
    assert run.said("tainted: tiny gpt2-fp32-b1-p64-n16 tpot_s: slower by +20.0 %, and so is the y")


def test_slower_technique_fails_by_its_time_and_beside_its_reference(calm_stage):
    slower = {"default": 0.002, "tiny-gpt2-nf4 tpot_s": 0.0024}
    run = calm_stage.run("-k", "decode", beside=True, seconds=slower)
    assert run.status == 1
    assert "verdicts: 2 regressed, 2 unchanged" in run.lines


def test_partner_that_kept_its_pace_outweighs_a_canary_that_did_not(calm_stage):
    slower = {"default": 0.002, "tiny-gpt2-nf4 tpot_s": 0.0024}
    busy = {"copy_s": 0.03}
    run = calm_stage.run("-k", "decode", beside=True, seconds=slower, suspect_canary=busy)
    assert run.status == 1
    assert "verdicts: 2 regressed, 2 unchanged" in run.lines


LOAD = "tiny gpt2-nf4-load load_s"


@pytest.mark.parametrize("yardstick", [0.0013, 0.0025])
def test_slower_machine_taints_what_has_no_partner(calm_stage, yardstick):
    slower = {"seconds": {"default": 0.0032}, "yardstick": yardstick}
    run = calm_stage.run("-k", "load and nf4", beside=True, **slower)
    assert run.status == 0
    (line,) = run.said(f"tainted: {LOAD}: slower by +60.")
    pace = 100 * (yardstick / 0.001 - 1)
    assert f"and so is the yardstick, by +{pace:.1f} % in the same minutes" in line


@pytest.mark.parametrize("yardstick", [0.001, 0.0012])
def test_slowdown_beyond_the_yardsticks_outweighs_the_canary(calm_stage, yardstick):
    slower = {"seconds": {"default": 0.0032}, "yardstick": yardstick}
    busy = {"copy_s": 0.04}
    run = calm_stage.run("-k", "load and nf4", beside=True, suspect_canary=busy, **slower)
    assert run.status == 1
    assert run.said(f"regressed: {LOAD} +60.")


@pytest.mark.parametrize("name", ["load and nf4", "decode and nf4"])
def test_slowdown_of_what_waited_for_a_core_is_tainted(calm_stage, name):
    # 1 / (1 - 0.25) squared is 1.78: that no other ran slower beside it excuses nothing.
    slower = {"default": 0.002, "tiny-gpt2-nf4 tpot_s": 0.003, "tiny-gpt2-nf4 load_s": 0.003}
    run = calm_stage.run("-k", name, beside=True, seconds=slower, waited=0.25)
    assert run.status == 0
    assert {line.split()[3] for line in run.said("tainted: ")} == (
        {"load_s:"} if "load" in name else {"tpot_s:", "paired:tpot_s:"}
    )
    assert "slower by +50.0 %, and its threads waited for a core for 25.0% of the time" in run.text


@pytest.mark.parametrize(("waited", "status"), [(0.1, 1), (0.15, 0)])
def test_what_excuses_a_slowdown_is_held_to_what_sessions_may_differ_by(new_stage, waited, status):
    stage = new_stage()
    stage.accept(1.0, beside=True)  # no margin is learnt from one run: +50 % is let be
    slower = {"default": 0.002, "tiny-gpt2-nf4 load_s": 0.004}
    # 1.5 / (1 - 0.1) squared is 1.85, and 1.5 / (1 - 0.15) squared 2.08.
    run = stage.run("-k", "load and nf4", beside=True, seconds=slower, waited=waited)
    assert run.status == status
    assert run.said(f"{'tainted' if status == 0 else 'regressed'}: {LOAD}")


@pytest.mark.parametrize("name", ["load and nf4", "decode and nf4"])
def test_slowdown_beyond_the_wait_fails(calm_stage, name):
    slower = {"default": 0.002, "tiny-gpt2-nf4 tpot_s": 0.003, "tiny-gpt2-nf4 load_s": 0.003}
    run = calm_stage.run("-k", name, beside=True, seconds=slower, waited=0.1)
    assert run.status == 1


def test_baseline_that_waited_as_long_excuses_nothing(new_stage):
    stage = new_stage()
    stage.accept(*(0.999, 1.001) * 3, beside=True, waited=0.25)
    timed = [
        bench["extra_info"]["timed"]
        for bench in json.loads(stage.accepted.read_text())["benchmarks"]
    ]
    assert {each["waited"] for each in timed if each} == {0.25}
    slower = {"default": 0.002, "tiny-gpt2-nf4 load_s": 0.003}
    run = stage.run("-k", "load and nf4", beside=True, seconds=slower, waited=0.25)
    assert run.status == 1


@pytest.mark.parametrize("share", ["1.0", "-0.1", "true", '"half"'])
def test_wait_that_is_no_share_is_refused(calm_stage, share):
    text = calm_stage.accepted.read_text()
    edited = re.sub(r'"steps": (\d+)', rf'"steps": \1, "waited": {share}', text)
    assert edited != text
    calm_stage.accepted.write_text(edited)
    run = calm_stage.run("-k", "load and nf4", beside=True)
    assert run.status == 4
    assert "of its time; restore the file from version control" in run.text


def test_canary_tells_where_no_yardstick_can_be_drawn(calm_stage):
    slower = {"seconds": {"default": 0.0024}, "yardstick": 0.0}
    busy = {"copy_s": 0.03}
    run = calm_stage.run("-k", "load and nf4", beside=True, suspect_canary=busy, **slower)
    assert run.status == 0
    assert run.said(f"tainted: {LOAD}: slower by +20.0 %, and so is the machine: canary copy_s")


def test_pace_of_the_yardstick_is_saved_with_the_references_decode(calm_stage):
    saved = json.loads(calm_stage.accepted.read_text())
    paces = {
        (bench["extra_info"]["case"]["technique"], timed["metric"]): timed["yardstick_s"]
        for bench in saved["benchmarks"]
        if "yardstick_s" in (timed := bench["extra_info"]["timed"])
    }
    assert paces == {("fp32", "tpot_s"): pytest.approx(0.001, rel=0.002)}


def test_pace_that_is_no_time_is_refused(calm_stage):
    text = calm_stage.accepted.read_text()
    calm_stage.accepted.write_text(re.sub(r'"yardstick_s": [0-9.e-]+', '"yardstick_s": 0', text))
    run = calm_stage.run("-k", "load and nf4", beside=True)
    assert run.status == 4
    assert "holds a yardstick of 0 s; restore the file from version control" in run.text
