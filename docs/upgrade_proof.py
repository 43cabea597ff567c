"""What the upgrade gate does on this machine: A against A, and against a B that is 5 % slower.

``python -m docs.upgrade_proof`` prints Markdown: verdicts on 40 timed cases of A against A over
five runs, on the machine as it is and beside a process that keeps one core busy; and how often a
planted 5 % in decode was caught in ten tries of each. ``--estimate`` says how long that takes here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from fixtures.matrix import Selection
from fixtures.upgrading.cases import Case, list_cases
from fixtures.upgrading.gate import Gate
from fixtures.upgrading.outcome import Outcome, Status
from fixtures.upgrading.schedule import Schedule
from fixtures.upgrading.sides import Side

# Five tiny models under four techniques, in prefill and decode: 40 timed cases.
_TECHNIQUES = "fp32,bf16,int8,nf4"
_SLOWDOWN = "tpot_s:+5%@*"
_TIMES = ("ttft_s", "tpot_s")


def compare(cases: Sequence[Case], schedule: Schedule, plants: Sequence[str] = ()) -> Outcome:
    """This interpreter against itself, with regressions planted in B."""
    options = {"selection": _select().to_json(), "tier": "cpu", "articles": schedule.articles}
    python = Path(sys.executable)
    sides = (
        Side.under("A", python, {**options, "plants": []}),
        Side.under("B", python, {**options, "plants": list(plants)}),
    )
    return Gate(sides, cases, schedule).run()


@contextmanager
def busy_core() -> Iterator[None]:
    """A process that computes without end, as a neighbour on a shared machine does."""
    hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        hog.kill()
        hog.wait()


def count_times(outcome: Outcome) -> Counter[str]:
    """Verdicts on times, by status."""
    return Counter(str(each.status) for each in outcome.verdicts if each.metric in _TIMES)


def prove_unchanged(runs: int, schedule: Schedule, cases: Sequence[Case], raw: Path | None) -> None:
    """A against A: every verdict that is not ``same`` or ``undecided`` is an alarm."""
    total: Counter[str] = Counter()
    for run in range(runs):
        outcome = compare(cases, _reseed(schedule, run))
        counts = count_times(outcome)
        total += counts
        print(f"- run {run + 1}: {_tell(counts)}; {outcome.wall_s:.0f} s", flush=True)
        for verdict in outcome.verdicts:
            if verdict.status not in (Status.SAME, Status.UNDECIDED):
                print(f"  - {verdict.status}: {verdict.case} {verdict.metric}: {verdict.reason}")
        _keep(raw, outcome)
    print(f"- all: {_tell(total)}", flush=True)


def prove_planted(tries: int, schedule: Schedule, raw: Path | None) -> None:
    """A B whose decode takes 5 % longer: each try is a run on one variant, in turn."""
    cases = [_only_decode(case) for case in _list_cases()]
    total: Counter[str] = Counter()
    start_s = time.monotonic()
    for number in range(tries):
        case = cases[number % len(cases)]
        outcome = compare([case], _reseed(schedule, 100 + number), [_SLOWDOWN])
        total += count_times(outcome)
        (verdict,) = [each for each in outcome.verdicts if each.metric == "tpot_s"]
        print(f"- {case.variant}: {verdict.status}, {verdict.ratio}, {verdict.reason}", flush=True)
        _keep(raw, outcome)
    print(f"- all: {_tell(total)}; {time.monotonic() - start_s:.0f} s", flush=True)


def estimate(runs: int, tries: int, schedule: Schedule) -> None:
    """Seconds of the whole, from a run of one case and one of four."""
    cases = _list_cases()
    one, four = (compare(cases[:count], schedule).wall_s for count in (1, 4))
    each_s = max(0.0, four - one) / 3
    unchanged_s = runs * (one + (len(cases) - 1) * each_s)
    planted_s = tries * one
    print(f"one variant: {one:.0f} s; each further one: {each_s:.1f} s")
    print(f"A against A, {runs} runs: {unchanged_s / 60:.0f} min, and as long beside a busy core")
    print(f"planted, {tries} tries: {planted_s / 60:.0f} min, and as long beside a busy core")
    print(
        f"all of it: {2 * (unchanged_s + planted_s) / 60:.0f} min, more where cases stay undecided"
    )


def main() -> None:
    """Print the proof."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of A against A")
    parser.add_argument("--tries", type=int, default=10, help="of the planted slowdown")
    parser.add_argument("--variants", type=int, default=20, help="of two timed cases each")
    parser.add_argument("--most-restarts", type=int, default=10, help="for undecided cases")
    parser.add_argument("--machine", choices=("as-is", "busy", "both"), default="both")
    parser.add_argument("--part", choices=("unchanged", "planted", "all"), default="all")
    parser.add_argument("--raw", type=Path, help="folder that every pair of rounds is written to")
    parser.add_argument("--estimate", action="store_true", help="only say how long it takes")
    asked = parser.parse_args()
    schedule = Schedule(most_restarts=asked.most_restarts)
    if asked.estimate:
        estimate(asked.runs, asked.tries, schedule)
        return
    for machine in ("as-is", "busy"):
        if asked.machine not in (machine, "both"):
            continue
        with busy_core() if machine == "busy" else nullcontext():
            where = "beside a busy core" if machine == "busy" else "on the machine as it is"
            raw = None if asked.raw is None else asked.raw / machine
            if asked.part in ("unchanged", "all"):
                print(f"\n## A against A, {where}\n", flush=True)
                prove_unchanged(asked.runs, schedule, _list_cases()[: asked.variants], raw)
            if asked.part in ("planted", "all"):
                print(f"\n## `{_SLOWDOWN}` in B, {where}\n", flush=True)
                prove_planted(asked.tries, schedule, raw)


def _select() -> Selection:
    return Selection.parse(None, _TECHNIQUES, "tiny", "auto", (), ())


def _list_cases() -> list[Case]:
    return list_cases(_select(), "cpu")


def _only_decode(case: Case) -> Case:
    return Case(case.variant, case.model, case.workload, ("decode",))


def _reseed(schedule: Schedule, seed: int) -> Schedule:
    return Schedule(most_restarts=schedule.most_restarts, seed=seed)


def _tell(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.most_common())


def _keep(folder: Path | None, outcome: Outcome) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [
        {"case": case, "metric": metric, "restarts": restarts}
        for (case, metric), restarts in outcome.samples.items()
    ]
    file = folder / f"{len(list(folder.glob('*.json'))):03}.json"
    file.write_text(json.dumps(pairs), encoding="utf-8")


if __name__ == "__main__":
    main()
