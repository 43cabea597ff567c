"""The GPU's own work: what is kept of its passes, and what is judged of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fixtures.device import Device
from fixtures.plugins import gpu_work
from fixtures.plugins.gpu_work import GpuWork, judge_gpu_work
from fixtures.regression.gate import Gate
from fixtures.regression.verdict import Status

GPU = Device("cuda", "Example GPU", 2**37, index=0, uuid="GPU-1")


@pytest.fixture
def judge_passes(monkeypatch):
    """Judge passes of so many seconds each, of a case that takes 2 ms; the device may be held."""

    def judge(passes, reasons=(), at_power_limit=False):
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
        return judge_gpu_work(Gate("a-gpu"), None, rounds, {"after": {}})

    return judge


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


def test_passes_of_a_gpu_at_its_power_limit_are_not_judged(judge_passes):
    found = judge_passes([0.0005, 0.0004, *[0.0005] * 8], at_power_limit=True)
    assert found == GpuWork(busy=0.25, metrics={"gpu_busy:tpot_s": 0.25})
