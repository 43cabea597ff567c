"""What the gate does on this machine: unchanged repeats stay quiet, planted regressions are caught.

``python -m docs.gate_proof --repeats 20`` prints Markdown: false alarms over so many unchanged
runs, and for each plant in how many of so many tries the run failed for it. Each run is a pytest
session of its own, in a checkout of its own under a temporary folder, judged against a baseline
that was recorded there first, with other unchanged runs behind its margins.

On a GPU: ``--part times --scales published --timed-models gpt2,gpt-neo-1.3b,gemma-2b
--techniques compiled+bf16 --metrics tpot_s,ttft_s --slowdowns +5% --baseline-runs 5 --unchanged 5
--repeats 4 --pytest=-m "--pytest=gpu and timing" --pytest=--weights=seeded``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fixtures.regression.pairs import find_paired, name_paired
from fixtures.regression.record import GPU_WORK

ROOT = Path(__file__).parents[1]

_TESTS = {"tpot_s": "decode", "ttft_s": "prefill", "generate_s": "generate", "load_s": "load"}
_PAIRED = ("tpot_s", "ttft_s")
_SCORED = ("-m", "not timing", "-k", "applied or memory or perplexity or divergence")
# Tiny and published gpt2 under five techniques: 20 timed cases.
_TECHNIQUES = "fp32,bf16,int8,nf4,int8-dynamic"
_FAULT_TECHNIQUES = "--techniques=fp32,sdpa,int8"
_TINY_MODELS = ("gpt2", "t5-small", "gpt-neo-1.3b", "gemma-2b", "small-gpt")

_EXACT_PLANTS = (
    ("peak_allocated_bytes:+2%@tiny-{}-int8", "peak_allocated_bytes"),
    ("copy:weights@tiny-{}-sdpa", "peak_allocated_bytes"),
    ("technique:off@tiny-{}-int8", "applied"),
    ("weights:prune-30%@tiny-{}-fp32", "reference_drift"),
    ("weights:ln-eps-1e-3@tiny-{}-fp32", "reference_drift"),
    ("weights:prune-30%@tiny-{}-sdpa", "kl_drift"),
    ("weights:ln-eps-1e-3@tiny-{}-sdpa", "kl_drift"),
    ("weights:attention-scale-1.05@tiny-{}-sdpa", "kl_drift"),
)
_FAILING = ("regressed", "measuring-error")
# Products that fill a core's cache, for up to ten seconds, and then a pause of up to five.
_NEIGHBOUR = """
import random, time
import numpy
sides = numpy.ones((300, 300), dtype=numpy.float32)
while True:
    end = time.monotonic() + random.uniform(1, 10)
    while time.monotonic() < end:
        sides @ sides
    time.sleep(random.uniform(0.5, 5))
"""


@dataclass
class Tally:
    """Verdicts of some runs.

    Attributes:
        counts: how many of each, by what they are on: ``own`` figures, those ``beside`` a partner,
            and the ``gpu``'s own work.
        moved: changes of the cases called regressed.
        seconds: of wall time.
    """

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    moved: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Bench:
    """A checkout under a temporary folder, with its own saved runs.

    Args:
        folder: an empty one.
        kept: where every run is copied to as it ends, by number and name; None for nowhere.
    """

    def __init__(self, folder: Path, kept: Path | None = None) -> None:
        self.root, self._kept = folder, kept
        for name in ("conftest.py", "pytest.ini"):
            shutil.copy(ROOT / name, folder)
        shutil.copytree(ROOT / "perf_tests", folder / "perf_tests")
        (folder / "fixtures").symlink_to(ROOT / "fixtures")

    def run(self, name: str, *arguments: str) -> dict[str, Any]:
        """Run pytest and read the document that it saved.

        Raises:
            RuntimeError: if it was refused or saved nothing.
        """
        target = self.root / f"{name}.json"
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*words, f"--benchmark-json={target}", *arguments],
            cwd=self.root,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1) or not target.exists():
            raise RuntimeError(f"pytest {' '.join(arguments)} said:\n{done.stdout[-2000:]}")
        document: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
        if self._kept is not None:
            number = sum(1 for _ in self._kept.glob("*.json")) + 1
            shutil.copy(target, self._kept / f"{number:04}_{name}.json")
        return document

    def record_baseline(self, runs: int, *arguments: str) -> str:
        """Save unchanged runs, put their medians behind the last one, and name that.

        Written by hand, since a selection is rightly refused as a baseline by the command.
        A time that a machine may have moved stays out, and is ``new`` in each later run.

        Raises:
            RuntimeError: if it was refused for another reason.
        """
        for _ in range(runs):
            self.run("baseline", "--benchmark-autosave", *arguments)
        saved = sorted((self.root / "baselines").glob("*/*.json"))
        document = json.loads(saved[-1].read_text(encoding="utf-8"))
        document["suite"]["partial"] = False
        saved[-1].write_text(json.dumps(document), encoding="utf-8")
        words = [sys.executable, "-m", "pytest", f"--accept-baseline={saved[-1].name}"]
        done = subprocess.run(
            [*words, "--without-tainted", "--reason=the proof"],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the baseline was refused:\n{done.stdout[-2000:]}")
        return saved[-1].name


def list_verdicts(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each verdict of a saved run behind its test's id and that of its variant."""
    for bench in document["benchmarks"]:
        case = bench["extra_info"]["case"]
        prefix = "tiny-" if case["scale"] == "tiny" else ""
        for verdict in bench["extra_info"]["verdicts"]:
            yield bench["fullname"], f"{prefix}{case['model']}-{case['technique']}", verdict


def find_kind(metric: str) -> str:
    """What a verdict on a metric is on: ``own``, ``beside`` or ``gpu``."""
    if metric.startswith(GPU_WORK):
        return "gpu"
    return "own" if find_paired(metric) is None else "beside"


def tally_unchanged(bench: Bench, repeats: int, arguments: Sequence[str]) -> Tally:
    """Verdicts of unchanged runs."""
    tally, start = Tally(), time.monotonic()
    for _ in range(repeats):
        for _, variant, verdict in list_verdicts(bench.run("unchanged", *arguments)):
            tally.counts[find_kind(verdict["metric"])][verdict["verdict"]] += 1
            if verdict["verdict"] in _FAILING:
                tally.moved.append(f"{variant} {verdict['metric']}: {verdict['reason']}")
    tally.seconds = time.monotonic() - start
    return tally


@dataclass
class Planted:
    """What tries with a plant were called, by variant and metric.

    Attributes:
        own: verdicts on the metric itself, one for each try of each workload.
        caught: for how many of these the time, its ratio to the partner's, or the GPU's own work
            in it failed the run.
    """

    own: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    caught: Counter[tuple[str, str]] = field(default_factory=Counter)


def tally_planted(
    bench: Bench, tries: int, plants: Sequence[str], arguments: Sequence[str]
) -> Planted:
    """What each metric of each variant was called, in tries with all the plants at once."""
    found = Planted()
    for _ in range(tries):
        document = bench.run("planted", *arguments, *(f"--plant={plant}" for plant in plants))
        failed = set()
        for test, variant, verdict in list_verdicts(document):
            metric = verdict["metric"]
            found.own[variant, metric][verdict["verdict"]] += 1
            if verdict["verdict"] in _FAILING:
                timed = find_paired(metric) or metric.removeprefix(GPU_WORK)
                failed.add((test, variant, timed))
        found.caught.update((variant, metric) for _, variant, metric in failed)
    return found


def print_row(*cells: object) -> None:
    """One row of a Markdown table, at once."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def describe(counts: Counter[str]) -> str:
    """``19 regressed, 1 undecided``."""
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def prove_times(folder: Path, asked: argparse.Namespace) -> None:
    """Unchanged repeats of the timed cases, then each slowdown."""
    bench, start = Bench(folder, asked.keep), time.monotonic()
    scales, metrics, repeats = asked.scales.split(","), asked.metrics.split(","), asked.repeats
    chosen = (f"--models={asked.timed_models}", f"--techniques={asked.techniques}", *asked.pytest)
    timed = ("-m", "timing", "-k", _name_files((*_PAIRED, *metrics)))
    arguments = (*timed, *chosen, f"--scale={scales[0] if len(scales) == 1 else 'all'}")
    bench.record_baseline(asked.baseline_runs, *arguments)
    print(f"baseline recorded in {time.monotonic() - start:.0f} s", flush=True)
    with beside_bursts(asked.neighbours):
        tally = tally_unchanged(bench, asked.unchanged or repeats, arguments)
    beside = f", {asked.neighbours} neighbours in bursts" if asked.neighbours else ""
    print(f"\n## Unchanged runs of the timed cases ({tally.seconds:.0f} s{beside})\n")
    print("; ".join(f"{kind}: {describe(counts)}" for kind, counts in tally.counts.items()))
    print("\n".join(f"- false alarm: {line}" for line in tally.moved))
    print("\n## Planted slowdowns\n")
    print_row("plant", "tries", "caught", "by its own time", "beside its partner", "GPU's own work")
    print_row("---", "---:", "---:", "---", "---", "---")
    variants = [
        f"{'tiny-' if scale == 'tiny' else ''}{model}-{technique}"
        for scale in scales
        for model in asked.timed_models.split(",")
        for technique in asked.techniques.split(",")
    ]
    for slowdown in asked.slowdowns.split(","):
        # Cases are judged apart, so a run can hold a plant in each of them.
        cases = [(variant, metric) for variant in variants for metric in metrics]
        plants = [f"{metric}:{slowdown}@{variant}" for variant, metric in cases]
        found = tally_planted(bench, repeats, plants, (*arguments, "-k", _name_files(metrics)))
        for (variant, metric), plant in zip(cases, plants, strict=True):
            own = found.own[variant, metric]
            by_reference, by_yardstick = (
                found.own[variant, name_paired(metric, each)] for each in (False, True)
            )
            work = found.own[variant, f"{GPU_WORK}{metric}"]
            said = (
                describe(counts) or "n/a" for counts in (own, by_reference + by_yardstick, work)
            )
            print_row(f"`{plant}`", own.total(), found.caught[variant, metric], *said)


def _name_files(metrics: Sequence[str]) -> str:
    """Of the tests that measure these, for ``-k``."""
    return " or ".join(dict.fromkeys(_TESTS[metric] for metric in metrics))


@contextmanager
def beside_bursts(count: int) -> Iterator[None]:
    """So many processes that keep a core busy for seconds at a time, for the length of a block."""
    processes = [subprocess.Popen([sys.executable, "-c", _NEIGHBOUR]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def prove_exact(folder: Path, asked: argparse.Namespace) -> None:
    """Faults in memory, accuracy and the technique itself, in the tiny models."""
    bench, tries, models = Bench(folder, asked.keep), asked.exact_tries, asked.models.split(",")
    arguments = (*_SCORED, f"--models={','.join(models)}", _FAULT_TECHNIQUES, "--scale=tiny")
    start = time.monotonic()
    bench.run("baseline", "--benchmark-save=plain", *arguments)
    (saved,) = (folder / "baselines").glob("*/*_plain.json")
    judged = (*arguments, f"--benchmark-compare={saved.name}")
    tally = tally_unchanged(bench, tries, judged)
    print(f"\n## {tries} unchanged runs of memory, accuracy and evidence\n")
    total = sum(tally.counts.values(), Counter())
    print(f"{total.total()} verdicts: {describe(total)}")
    print("\n".join(f"- false alarm: {line}" for line in tally.moved))
    print("\n## Planted faults\n")
    print_row("plant", "judged by", *models)
    print_row("---", "---", *("---:" for _ in models))
    for form, metric in _EXACT_PLANTS:
        cells = []
        for model in models:
            plant = form.format(model)
            variant = plant.rpartition("@")[2]
            chosen = [*judged, "-k", f"({_SCORED[3]}) and {variant}"]
            found = tally_planted(bench, tries, [plant], chosen)
            cells.append(f"{found.caught[variant, metric]}/{found.own[variant, metric].total()}")
        print_row(f"`{form.format('*')}`", metric, *cells)
    print(f"\n{time.monotonic() - start:.0f} s")


def main() -> None:
    """Print the proof."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20, help="unchanged runs, and planted ones")
    parser.add_argument("--unchanged", type=int, help="unchanged runs, where others than tries")
    parser.add_argument("--baseline-runs", type=int, default=10, help="behind the margins")
    parser.add_argument("--timed-models", default="gpt2", help="of the timed cases")
    parser.add_argument("--techniques", default=_TECHNIQUES, help="of the timed cases")
    parser.add_argument("--slowdowns", default="+10%,+25%", help="to be planted")
    parser.add_argument("--metrics", default="tpot_s", help="that they are planted in")
    parser.add_argument("--neighbours", type=int, default=0, help="beside the unchanged runs")
    parser.add_argument("--pytest", action="append", default=[], help="a further option, each")
    parser.add_argument("--exact-tries", type=int, default=1, help="tries of what has no noise")
    parser.add_argument("--scales", default="tiny,published", help="of the timed cases")
    parser.add_argument("--models", default=",".join(_TINY_MODELS), help="for faults")
    parser.add_argument("--part", choices=("times", "exact", "all"), default="all")
    parser.add_argument("--keep", type=Path, help="a folder for every run, as it ends")
    asked = parser.parse_args()
    if asked.keep is not None:
        asked.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for part, prove in (
            ("times", prove_times),
            ("exact", prove_exact),
        ):
            if asked.part in (part, "all"):
                target = Path(folder) / part
                target.mkdir()
                prove(target, asked)


if __name__ == "__main__":
    main()
