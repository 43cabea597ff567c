"""What saved sessions show of noise: each held to the others, as it is and with times made longer.

``python -m docs.session_power FILE... --percent 5`` prints Markdown: of each timed case in how
many sessions it was regressed unchanged, and in how many with each of its rounds, and each pass of
a GPU's own work, that share longer. The margin is learnt from the other sessions and the latest of
them is the baseline. A time counts where it is regressed by itself, beside its partner or in the
GPU's own work, at the first look; a run would look at it twice more.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures.regression.accepted import Accepted, gather_sessions
from fixtures.regression.gate import Gate
from fixtures.regression.limits import MARGIN_RUNS_NEEDED
from fixtures.regression.record import Record
from fixtures.regression.run import RunFileError, SavedRun, read_run
from fixtures.regression.verdict import Status
from fixtures.units import format_percent

FEWEST = MARGIN_RUNS_NEEDED + 1


@dataclass(frozen=True)
class Try:
    """One timed case of one session, held to the others.

    Attributes:
        case: its name.
        metric: what was timed.
        regressed: whether any of its figures was.
    """

    case: str
    metric: str
    regressed: bool


def hold_to_others(runs: Sequence[SavedRun], slowdown: float = 0.0) -> Iterator[Try]:
    """Every timed case of every session that the others have too.

    Args:
        runs: sessions of one device, oldest first.
        slowdown: share by which times are made longer.

    Raises:
        ValueError: for fewer sessions than say anything, or of two devices.
    """
    if len(runs) < FEWEST:
        raise ValueError(
            f"{len(runs)} sessions: a margin is learnt from {MARGIN_RUNS_NEEDED} others, so give"
            f" {FEWEST} or more"
        )
    if len({run.device_key for run in runs}) > 1:
        raise ValueError("these are sessions of more than one device")
    for place, run in enumerate(runs):
        *before, baseline = [*runs[:place], *runs[place + 1 :]]
        accepted = Accepted(baseline, gather_sessions(None, baseline, before))
        gate = Gate(baseline.device_key, baseline, accepted)
        for record in run.records:
            if record.timed and baseline.find(record.case.key, record.timed) is not None:
                moved = _is_regressed(gate, record, 1 + slowdown)
                yield Try(record.case.name, record.timed, moved)


def _is_regressed(gate: Gate, record: Record, factor: float) -> bool:
    samples = [value * factor for value in record.samples]
    verdicts = [gate.judge_rounds(record.case, str(record.timed), samples, record.steps)]
    verdicts += [
        gate.judge_beside(record.case, name, [value * factor for value in beside])
        for name, beside in record.beside.items()
    ]
    return any(verdict.status is Status.REGRESSED for verdict in verdicts)


def format_power(runs: Sequence[SavedRun], slowdown: float) -> str:
    """A table of every case, and a line for all of them."""
    sides = [list(hold_to_others(runs, share)) for share in (0.0, slowdown)]
    alarms, caught = (
        Counter((each.case, each.metric) for each in side if each.regressed) for side in sides
    )
    tries = Counter((each.case, each.metric) for each in sides[0])
    share = format_percent(slowdown)
    lines = [
        f"| case | metric | sessions | regressed as it is | regressed at {share} |",
        "| :-- | :-- | --: | --: | --: |",
        *(
            f"| {name} | {metric} | {count} | {alarms[name, metric]} | {caught[name, metric]} |"
            for (name, metric), count in tries.items()
        ),
        "",
        f"{tries.total()} tries: {alarms.total()} regressed as they are, {caught.total()} at"
        f" {share}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table of saved runs."""
    parser = argparse.ArgumentParser(description="what saved sessions would have shown")
    parser.add_argument("files", nargs="+", type=Path, help=f"{FEWEST} runs or more, of one device")
    parser.add_argument("--percent", type=float, default=5, help="that times are made longer by")
    asked = parser.parse_args()
    try:
        runs = sorted(map(read_run, asked.files), key=lambda run: run.when)
        print(format_power(runs, asked.percent / 100))
    except (RunFileError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
