"""Runs as pytest-benchmark 5.3.1 saved them, to be changed one field at a time."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.regression.record import GPU_BUSY
from fixtures.regression.run import SavedRun, parse_run

RECORDED = Path(__file__).parents[1] / "data" / "saved_run.json"


@pytest.fixture
def document() -> dict[str, Any]:
    """A recorded run of two cases (sleeps of 4 and 6 ms, four steps a round) and a stranger."""
    return json.loads(RECORDED.read_text(encoding="utf-8"))


@pytest.fixture
def build_run(document: dict[str, Any]) -> Callable[..., SavedRun]:
    """Build a run of one case whose twelve rounds lie around ``seconds``."""

    def build(
        seconds: float = 1.0,
        *,
        when: str = "2026-01-01T00:00:00+00:00",
        device_key: str = "example-cpu-2-threads",
        verdict: str | None = None,
        metric: str = "tpot_s",
        partial: bool = False,
        failed: tuple[str, ...] = (),
        dirty: bool = False,
        case: dict[str, Any] | None = None,
        canaries: dict[str, dict[str, float]] | None = None,
        gpu_busy: float | None = None,
    ) -> SavedRun:
        whole = copy.deepcopy(document)
        bench = whole["benchmarks"][0]
        bench["extra_info"]["timed"] = {"metric": metric}
        bench["extra_info"]["case"].update(case or {})
        bench["stats"]["data"] = [seconds * (1 + 0.0005 * step) for step in range(-6, 6)]
        saved = {"metric": metric, "verdict": verdict, "reason": "planted"}
        bench["extra_info"]["verdicts"] = [saved] if verdict else []
        if gpu_busy is not None:
            bench["extra_info"]["metrics"][f"{GPU_BUSY}{metric}"] = gpu_busy
        whole["benchmarks"] = [bench]
        whole["datetime"] = when
        whole["machine_info"]["device_key"] = device_key
        whole["commit_info"]["dirty"] = dirty
        whole["suite"].update(partial=partial, failed=list(failed))
        if canaries is not None:
            whole["suite"]["canaries"] = canaries
        return parse_run(whole, Path("run.json"))

    return build
