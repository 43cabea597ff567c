from __future__ import annotations

import pytest

from fixtures.parallelism.plan import TrainingPlan, TrainingResult
from fixtures.workloads import TrainingWorkload

PLAN = TrainingPlan("tiny", "cpu", TrainingWorkload(8, 64, 2), rounds=7)


def test_workers_read_the_plan_that_was_written(tmp_path):
    PLAN.write(tmp_path)
    assert TrainingPlan.read(tmp_path) == PLAN
    assert PLAN.workers == 2


def test_the_report_of_the_workers_comes_back_digit_by_digit(tmp_path):
    result = TrainingResult((4.525362968444824, 3.3), (0.1, 0.30000000000000004))
    result.write(tmp_path)
    assert TrainingResult.read(tmp_path) == result


@pytest.mark.parametrize("change", [{"rounds": 0}, {"compared_steps": -1}, {"round_steps": 0}])
def test_plan_without_any_work_is_refused(change):
    with pytest.raises(ValueError, match="needs a worker, a step and a round"):
        TrainingPlan("tiny", "cpu", TrainingWorkload(8, 64, 2), **change)


def test_plan_without_workers_is_refused():
    with pytest.raises(ValueError, match="needs a worker, a step and a round"):
        TrainingPlan("tiny", "cpu", TrainingWorkload(8, 64))
