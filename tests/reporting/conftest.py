"""Runs made up from rules, so that every expected figure can be worked out by hand."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from fixtures.regression.accepted import Accepted
from fixtures.regression.case import Case
from fixtures.regression.gate import Gate
from fixtures.regression.run import SavedRun, parse_run
from fixtures.reporting.report import Report, reopen

DEVICE = "example-cpu-2-threads"
WORKLOAD = "b1-p64-n16"
STEPS = 15
# Time, peak and size of each technique over those of fp32, and its KL divergence.
TECHNIQUES: Mapping[str, tuple[float, float, float, float]] = {
    "fp32": (1.0, 1.0, 1.0, 0.0),
    "bf16": (1.25, 0.5, 0.5, 2e-5),
    "int8": (2.0, 0.6, 0.4, 4e-4),
    "nf4": (1.6, 0.4, 0.25, 5e-3),
}
TTFT_S, TPOT_S, PEAK, DISK = 0.004, 0.002, 4 * 2**20, 3 * 2**20

Change = Callable[[dict[str, Any]], None]


@dataclass
class World:
    """Makes runs of one device."""

    techniques: Mapping[str, tuple[float, float, float, float]] = field(
        default_factory=lambda: TECHNIQUES
    )

    def document(
        self, models: Iterable[str] = ("gpt2", "t5-small"), day: int = 1, noise: float = 0.0
    ) -> dict[str, Any]:
        """A whole, faultless run; ``noise`` moves every time by that share."""
        benchmarks = [
            bench
            for model in models
            for technique in self.techniques
            for bench in self._measure(model, technique, 1 + noise)
        ]
        return {
            "machine_info": {
                "device_key": DEVICE,
                "device": {"name": "Example CPU", "kind": "cpu", "threads": 2, "driver": None},
                "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
                "settings": {"cores": 2, "environment": {"OMP_WAIT_POLICY": "PASSIVE"}},
            },
            "commit_info": {"id": "4f2c9e1d", "dirty": False},
            "datetime": f"2026-11-{day:02d}T01:30:00+00:00",
            "suite": {
                "schema": 1,
                "partial": False,
                "left_out": [],
                "scale": None,
                "failed": [],
                "skipped": [],
                "canaries": {"start": {"copy_s": 0.01}, "end": {"copy_s": 0.0101}},
                "command": ["perf_tests", "-m", "cpu"],
            },
            "benchmarks": benchmarks,
        }

    def _measure(self, model: str, technique: str, pace: float) -> Iterable[dict[str, Any]]:
        time, peak, disk, loss = self.techniques[technique]
        yield self._time(model, technique, "ttft_s", TTFT_S * time * pace, 1)
        yield self._time(model, technique, "tpot_s", TPOT_S * time * pace, STEPS)
        generate_s = TPOT_S * time * pace * 16
        rate = {"tokens_per_s": 16 / generate_s}
        yield self._time(model, technique, "generate_s", generate_s, 1, rate)
        figures = {
            "peak_allocated_bytes": int(PEAK * peak),
            "peak_reserved_bytes": None,
            "kv_cache_bytes": 65536,
        }
        yield self._read(model, technique, WORKLOAD, figures)
        stored = {"weights_bytes": int(DISK * disk), "storage_bytes": int(DISK * disk) + 4096}
        yield self._read(model, technique, "stored", stored)
        scored = {
            "kl_nats": loss,
            "kl_se_nats": loss / 20,
            "top1_agreement_decided": 1 - loss,
            "rouge1": 0.9,
            "rouge2": 0.8,
            "rougeL": 0.9 - loss,
            "rougeLsum": 0.9,
            "fact_accuracy": 0.7,
        }
        bounds = [
            {
                "metric": "kl_nats",
                "verdict": "unchanged",
                "reason": "within",
                "interval": [loss * 0.9, loss * 1.1],
                "new": loss,
                "limit": 0.05,
            },
            {
                "metric": "rougeL",
                "verdict": "unchanged",
                "reason": "within",
                "interval": [0.98, 1.01],
                "new": (0.9 - loss) / 0.9,
                "limit": 0.97,
            },
        ]
        yield self._read(model, technique, "heldout-200", scored, bounds)

    def _time(
        self,
        model: str,
        technique: str,
        metric: str,
        seconds: float,
        steps: int,
        more: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        bench = self._read(model, technique, WORKLOAD, {metric: seconds, **(more or {})})
        bench["extra_info"]["timed"] = {"metric": metric, "steps": steps}
        # Thirteen rounds, so that the median is the middle one to the last digit.
        data = [seconds * steps * (1 + 0.002 * place) for place in range(-6, 7)]
        bench["stats"]["data"] = data
        bench["fullname"] = f"perf_tests/test_{metric}.py::test[{model}-{technique}]"
        return bench

    def _read(
        self,
        model: str,
        technique: str,
        workload: str,
        metrics: Mapping[str, float | None],
        verdicts: Iterable[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        case = Case(model, technique, "tiny", "shipped", workload, "none", {"dtype": technique})
        return {
            "fullname": f"perf_tests/test_{workload}.py::test[{model}-{technique}]",
            "extra_info": {
                "schema": 1,
                "case": case.to_json(),
                "timed": {},
                "metrics": dict(metrics),
                "verdicts": list(verdicts),
                "conditions": {
                    "throttled": False,
                    "after": {"clock_mhz_max": 2600.0, "load_average": [0.5, 0.5, 0.5]},
                },
                "details": {},
            },
            "stats": {},
        }

    def find(
        self, document: Mapping[str, Any], model: str, technique: str, metric: str
    ) -> dict[str, Any]:
        """The benchmark of a document that holds a metric of a variant."""
        return next(
            bench
            for bench in document["benchmarks"]
            if (info := bench["extra_info"])["case"]["model"] == model
            and info["case"]["technique"] == technique
            and metric in info["metrics"]
        )

    def slow_down(
        self, document: dict[str, Any], model: str, technique: str, metric: str, factor: float
    ) -> None:
        """Make every round of a timed case take so many times as long."""
        bench = self.find(document, model, technique, metric)
        bench["stats"]["data"] = [second * factor for second in bench["stats"]["data"]]
        bench["extra_info"]["metrics"][metric] *= factor

    def parse(self, document: Mapping[str, Any], name: str = "0002_run.json") -> SavedRun:
        """A document as it would be read from a file."""
        return parse_run(json.loads(json.dumps(document)), Path(name))

    def judge(self, document: dict[str, Any], baseline: SavedRun) -> SavedRun:
        """A run with the verdicts that the gate gives it."""
        # Five sessions that agree: margins are learnt, and are the floor.
        sessions: dict[str, dict[str, list[float]]] = {}
        for record in baseline.records:
            agreed = {name: [median(each)] * 5 for name, each in record.series.items()}
            sessions.setdefault(record.case.key, {}).update(agreed)
        gate = Gate(baseline.device_key, baseline, Accepted(baseline, sessions))
        judged = copy.deepcopy(document)
        for bench in judged["benchmarks"]:
            info = bench["extra_info"]
            case, timed = Case.from_json(info["case"]), info["timed"]
            found = list(gate.judge_figures(case, info["metrics"], info["details"]))
            if timed:
                samples = [second / timed["steps"] for second in bench["stats"]["data"]]
                found.append(gate.judge_rounds(case, timed["metric"], samples, timed["steps"]))
            info["verdicts"] += [verdict.to_json() for verdict in found]
        return self.parse(judged)


@pytest.fixture
def world() -> World:
    """Makes runs of one device."""
    return World()


@pytest.fixture(scope="session")
def report() -> Report:
    """A night on which decode of gpt2 nf4 became 12 % slower, beside three calm ones."""
    return build_night(World(), lambda document, pace: None)


@pytest.fixture(scope="session")
def full_report() -> Report:
    """The same night, with profiles, a text that was written, and training on two workers."""
    world = World()

    def add_more(document: dict[str, Any], pace: float) -> None:
        decode = world.find(document, "gpt2", "nf4", "tpot_s")["extra_info"]["details"]
        decode["operators"] = {
            "aten::_scaled_dot_product_flash_attention_for_cpu": {"time_s": 1e-3, "calls": 2},
            "bitsandbytes::gemv_4bit": {"time_s": 1e-3 * pace, "calls": 8},
        }
        scored = world.find(document, "t5-small", "fp32", "kl_nats")["extra_info"]["details"]
        scored["sample"] = {"opening": "It was late when ", "continuation": "the bell rang. " * 30}
        stored = world.find(document, "gpt2", "fp32", "storage_bytes")
        for workers in (1, 2):
            bench = copy.deepcopy(stored)
            bench["extra_info"]["case"] |= {
                "model": "small-gpt",
                "technique": "data-parallel",
                "workload": f"train-b8-t64-w{workers}",
                "settings": {"workers": workers},
            }
            bench["extra_info"]["metrics"] = {"train_tokens_per_s": 1000.0 * workers**0.9}
            document["benchmarks"].append(bench)

    return build_night(world, add_more)


def build_night(world: World, change: Callable[[dict[str, Any], float], None]) -> Report:
    """The night of ``report``; ``change`` is handed every run's document, and its slowdown."""

    def make(day: int, noise: float = 0.0, pace: float = 1.0) -> dict[str, Any]:
        document = world.document(day=day, noise=noise)
        change(document, pace)
        return document

    baseline = world.parse(make(1), "accepted-example.json")
    history = [world.judge(make(day, 0.001 * day), baseline) for day in (2, 3, 4)]
    tonight = make(5, pace=1.24)
    world.slow_down(tonight, "gpt2", "nf4", "tpot_s", 1.12)
    tonight["machine_info"]["packages"]["transformers"] = "5.24.0"
    return reopen(world.judge(tonight, baseline), baseline, history)
