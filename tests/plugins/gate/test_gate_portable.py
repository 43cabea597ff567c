"""A device without a baseline is still judged by what carries over from another's."""

from __future__ import annotations

import pytest

OTHER = {"device": "Other CPU", "beside": True}
# An accepted run in which nf4 is as fast as its reference.
SPEED_UP = "speed_up:tpot_s"


def test_sizes_and_speed_ups_are_held_to_another_devices_baseline(judged_stage):
    # Twice as slow altogether, as another device may be.
    run = judged_stage.run(**OTHER, seconds={"default": 0.004})
    assert run.status == 0
    # ttft and tpot of nf4 over fp32, and storage of both; times and pairs have no baseline.
    assert "verdicts: 12 no-baseline, 4 unchanged" in run.lines
    (line,) = run.said("no run was accepted on other-cpu-2-threads")
    assert ": sizes and speed-ups are held to accepted-example-cpu-2-threads.json; record" in line


def test_a_cpu_with_other_vector_units_is_held_to_nothing(judged_stage):
    slower = {"default": 0.004, "tiny-gpt2-nf4 tpot_s": 0.008}
    run = judged_stage.run(**OTHER, flags=["fpu", "avx2", "avx512_bf16"], seconds=slower)
    assert run.status == 0
    assert "sizes and speed-ups are held to" not in run.text
    assert judged_stage.run(**OTHER, flags=["avx2"], seconds=slower).status == 1


def test_lost_speed_up_fails_on_another_device(judged_stage):
    run = judged_stage.run(**OTHER, seconds={"default": 0.004, "tiny-gpt2-nf4 tpot_s": 0.008})
    assert run.status == 1
    assert f"tiny gpt2-nf4-b1-p64-n16 on Other CPU: {SPEED_UP} regressed" in run.lines
    assert "0.50x the reference's speed here, 1.00x on the other device; limit +30.0 %" in run.text


def test_grown_checkpoint_fails_on_another_device(judged_stage):
    run = judged_stage.run(**OTHER, bytes={"default": 5_000_000, "storage_bytes": 5_100_000})
    assert run.status == 1
    assert run.said("regressed: tiny gpt2-nf4-stored storage_bytes +2.0 %: ")
    assert "as on another device" in run.text


def test_strict_run_on_a_device_without_a_baseline_fails(judged_stage):
    assert judged_stage.run("--strict-baseline", "-k", "fp32", **OTHER).status == 1


@pytest.mark.parametrize("arguments", [(), ("--portable",)], ids=["own", "portable"])
def test_speed_up_is_judged_on_a_device_of_its_own_baseline_where_asked(judged_stage, arguments):
    run = judged_stage.run("-k", "decode and nf4", *arguments, beside=True)
    assert run.status == 0
    assert run.said(f"verdicts: 1 new, {2 if arguments else 1} unchanged")
