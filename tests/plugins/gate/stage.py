"""Plugin of a checkout, by which its tests run on a script: no model, no noise.

``script.json`` beside it says what is measured: ``techniques`` of gpt2; ``seconds`` and ``bytes``
by variant and metric, or ``default``; ``settings``, ``device``, ``throttled``; ``canaries`` of the
start and the end, and ``suspect_canary`` for what was found slower;
``gpu``, whether there seems to be one; ``beside``, whether a case has its partner beside it, and
``yardstick``, the seconds of the reference's, none for 0; ``waited``, the share of the time for
which a thread had no core; ``gpu_work``, seconds of each pass of a GPU's own, none for null;
``kind`` of the device, and ``flags`` of a CPU.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from fixtures.device import Device
from fixtures.measurement.run_queue import Waiting
from fixtures.models.registry import find_model
from fixtures.plugins import (
    covering,
    gpu_work,
    hardware,
    judging,
    losing,
    options,
    pairing,
    recording,
    rounds,
    settling,
    variants,
)
from fixtures.plugins.reading import Reading
from fixtures.techniques.registry import find_technique
from fixtures.variants import Variant

SCRIPT = json.loads((Path(__file__).with_name("script.json")).read_text())
# Rounds differ by half a per mille, evenly, so that every median is the scripted figure.
JITTER = itertools.cycle(1 + 0.0005 * step for step in (-2, -1, 0, 1, 2))


class Clock:
    """Seconds that pass only where the script says so."""

    __name__ = "scripted"
    now = 1000.0
    broken = False

    def __call__(self) -> float:
        broken, self.broken = self.broken, False
        return math.nan if broken else self.now

    def advance(self, seconds: float) -> None:
        """Let time pass, as a round; what is no time stops the clock for that round alone."""
        self.broken = math.isnan(seconds)
        self.now += 0.0 if self.broken else seconds * next(JITTER)


CLOCK = Clock()


def figure(kind: str, variant: Variant, metric: str) -> float:
    """A figure of the script."""
    figures = SCRIPT[kind]
    return float(figures.get(f"{variant.id} {metric}", figures.get(metric, figures["default"])))


def build_matrix(selection: object, tier: object) -> list[Variant]:
    """The script's techniques of one tiny model."""
    gpt2 = find_model("gpt2")
    return [Variant(gpt2, find_technique(name), "tiny", "auto") for name in SCRIPT["techniques"]]


def read_conditions(device: Device) -> dict[str, object]:
    """The script's reasons for lower clocks, one element a reading; the last one stays."""
    reasons = SCRIPT["throttled"]
    held = reasons.pop(0) if len(reasons) > 1 else reasons[0]
    clock = SCRIPT["clock_mhz"]
    return {"throttle_reasons": held, "throttle_counters": {}, "clock_mhz_max": clock}


def take_gpu_work(rounds: rounds.Rounds, count: int) -> list[float]:
    """The script's seconds of each pass."""
    seconds = SCRIPT["gpu_work"]
    return [] if seconds is None else [seconds * next(JITTER) for _ in range(count)]


class Yardstick:
    """Takes the script's seconds for each step."""

    def prefill(self, ids: object) -> None:
        """Takes no time."""

    def decode(self, token: object, held: object, steps: int) -> None:
        """Let so many steps pass."""
        CLOCK.advance(SCRIPT["yardstick"] * steps)


variants.build_matrix = covering.build_matrix = build_matrix
_IS_GPU = SCRIPT["kind"] == "cuda"
variants.detect = lambda tier: (
    Device("cuda", SCRIPT["device"], 2**37, index=0, uuid="GPU-1")
    if _IS_GPU
    else Device("cpu", SCRIPT["device"], 2**34, threads=2, flags=frozenset(SCRIPT["flags"]))
)
rounds.choose_clock = lambda device: CLOCK
rounds.synchronise = lambda device: None
rounds.read_power_capped = lambda device: 0.0
hardware.check_seen_by_torch = lambda device: None
losing.find_loss = lambda device: None
judging.read_conditions = settling.read_conditions = read_conditions
gpu_work.read_conditions = read_conditions
settling._PAUSES_S = (0.0, 0.0)
rounds.watching_run_queue = lambda: contextlib.nullcontext(Waiting(SCRIPT["waited"]))
rounds.Rounds.take_gpu_work = take_gpu_work
pairing.Partners.find_yardstick = lambda *_: Yardstick() if SCRIPT["yardstick"] else None
if SCRIPT["gpu"]:  # a command line for GPUs can then be read, and its tests collected
    options.devices.detect = lambda tier: Device(
        "cuda", "Example GPU", 2**37, index=0, uuid="GPU-1"
    )
# One at the start, one at the end.
CANARIES = iter(SCRIPT["canaries"])
recording.time_canary = lambda device: next(CANARIES)
settling.time_canary = gpu_work.time_canary = lambda device: SCRIPT["suspect_canary"]
recording.describe_packages = lambda: SCRIPT["packages"]


def pytest_benchmark_generate_machine_info() -> dict[str, object]:
    """Less than pytest-benchmark's own, which asks the CPU for a second."""
    return {"system": "Linux", "cpu": {}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have pytest-benchmark read the scripted clock."""
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=CLOCK))


@pytest.fixture(scope="session")
def runnable(variant):
    """Any variant: whether a real one could run is asked of transformers, which takes seconds."""
    if variant.technique.name in SCRIPT["unsupported"]:
        pytest.skip(f"{variant.id}: this device lacks what it needs")
    return variant


@pytest.fixture(scope="session")
def built(runnable, device):
    """A variant of which nothing is built."""
    weights = SimpleNamespace(kind="shipped", reason="scripted", folder=None)
    return SimpleNamespace(
        variant=runnable, device=device, weights=weights, settings=lambda: SCRIPT["settings"]
    )


def scripted(metric: str, steps: int = 1, timed: bool = True):
    """A fixture that takes the rounds of one metric from the script."""

    @pytest.fixture
    def instrument(built, timer, request):
        def measure() -> Reading:
            workload = str(request.node.callspec.params.get("workload", "load"))
            seconds = figure("seconds", built.variant, metric) * steps
            beside = None
            if SCRIPT["beside"] and metric != "load_s":
                by_yardstick = built.variant.is_reference
                reference = built.variant.reference()
                one = SCRIPT["yardstick"] if by_yardstick else figure("seconds", reference, metric)
                beside = partial(
                    rounds.Turns,
                    lambda: (one * steps,),
                    lambda: (seconds,),
                    steps,
                    target=CLOCK.advance,
                    by_yardstick=by_yardstick,
                )
            taken = timer(metric, CLOCK.advance, lambda: (seconds,), steps=steps, beside=beside)
            return Reading(workload, "none", rounds=taken)

        return measure

    return instrument


timed_decode = scripted("tpot_s", steps=4)
timed_prefill = scripted("ttft_s")
timed_load = scripted("load_s")


@pytest.fixture
def footprint(built, request):
    """Peak bytes from the script."""
    workload = str(request.node.callspec.params["workload"])
    count = figure("bytes", built.variant, "peak_allocated_bytes")
    return lambda: Reading(workload, "none", {"peak_allocated_bytes": count})


@pytest.fixture
def stored(built):
    """Bytes on disk from the script."""
    count = figure("bytes", built.variant, "storage_bytes")
    return lambda: Reading("stored", "none", {"storage_bytes": count})
