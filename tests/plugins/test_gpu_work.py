"""The GPU's own work: what is kept of its passes, and what is judged of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from fixtures.device import Device
from fixtures.plugins import gpu_work
from fixtures.plugins.gpu_work import GpuWork, judge_gpu_work
from fixtures.regression.gate import Gate
from fixtures.regression.run import parse_run
from fixtures.regression.verdict import Status

SAVED = Path(__file__).parents[1] / "data/saved_run.json"
GPU = Device("cuda", "Example GPU", 2**37, index=0, uuid="GPU-1")


@pytest.fixture
def judge_passes(monkeypatch):
    """Judge passes of so many seconds each, of a case that takes 2 ms; the device may be held."""

    def judge(passes, reasons=(), at_power_limit=False, baseline=None):
        monkeypatch.setattr(gpu_work, "read_conditions", lambda device: {})
        monkeypatch.setattr(
            gpu_work, "compare_conditions", lambda before, after: {"throttled": bool(reasons)}
        )
        rounds = SimpleNamespace(
            pause=lambda seconds: pytest.fail("nothing was suspected"),
            device=GPU,
            metric="tpot_s",
            samples=[0.002] * 10,
            at_power_limit=at_power_limit,
            take_gpu_work=lambda count: list(passes[:count]),
        )
        case = None if baseline is None else baseline.records[0].case
        return judge_gpu_work(Gate("a-gpu", baseline), case, rounds, {"after": {}})

    return judge


@pytest.fixture
def baseline():
    """A run of the GPU that tells of its own work in a case."""
    document = json.loads(SAVED.read_text())
    document["machine_info"]["device_key"] = "a-gpu"
    extra = document["benchmarks"][0]["extra_info"]
    extra["timed"] = {"metric": "tpot_s", "gpu_work_s": [0.0005] * 10}
    extra["metrics"]["gpu_work:tpot_s"] = 0.0005
    return parse_run(document, Path("0001_run.json"))


def test_nothing_is_known_without_rounds_or_passes(judge_passes):
    assert judge_gpu_work(Gate("a-gpu"), None, None, {}) == GpuWork()
    assert judge_passes([]) == GpuWork()


def test_passes_too_few_to_judge_say_how_busy_the_gpu_was(judge_passes):
    found = judge_passes([0.0005] * 9)
    assert found == GpuWork(busy=0.25, metrics={"gpu_busy:tpot_s": 0.25})


def test_ten_passes_are_kept_and_judged(judge_passes):
    found = judge_passes([0.0004, *[0.0005] * 8, 0.003])
    assert found.samples == (0.0004, *[0.0005] * 8, 0.003)
    assert found.metrics == {"gpu_work:tpot_s": 0.0005, "gpu_busy:tpot_s": 0.25}
    (verdict,) = found.verdicts
    assert (verdict.metric, verdict.status) == ("gpu_work:tpot_s", Status.NO_BASELINE)


def test_no_share_is_above_the_whole(judge_passes):
    assert judge_passes([0.003] * 10).busy == 1.0


def test_work_of_a_device_that_was_held_back_is_tainted(judge_passes):
    (verdict,) = judge_passes([0.0005] * 10, reasons=["thermal"]).verdicts
    assert verdict.status is Status.TAINTED


@pytest.mark.parametrize("count", [9, 0])
def test_work_that_the_baseline_tells_of_does_not_go_without_a_word(judge_passes, baseline, count):
    found = judge_passes([0.001] * count, baseline=baseline)
    (verdict,) = found.verdicts
    assert (verdict.metric, verdict.status) == ("gpu_work:tpot_s", Status.MISSING)
    assert verdict.reason == f"in the baseline, and told by {count} passes now, where 10 are needed"
    assert found.samples == ()


def test_passes_of_a_gpu_at_its_power_limit_are_not_judged(judge_passes, baseline):
    passes = [0.0005, 0.0004, *[0.0005] * 8]
    found = judge_passes(passes, at_power_limit=True, baseline=baseline)
    assert found == GpuWork(busy=0.25, metrics={"gpu_busy:tpot_s": 0.25})
