"""How often the rules are right: false alarms and detections under known noise.

``python -m docs.verdict_power`` prints Markdown tables. Noise is the sd of log time: session .2 %,
process .1 % and jitter .5 % (quiet), and on top of it one fault each, or all of them:

- jitter: 2 %, and 3 % of rounds late by 15 % on average;
- ar1: a wander of 1.5 % that keeps 0.9 of itself from round to round;
- drift: a ramp over the session that ends within +-4 %;
- bimodal: clocks 7 % slower for 30 % of the time, ten rounds at a stretch;
- shift: sessions 2 % apart, processes .3 %.

A suspect is measured twice more in the same process, after a pause each: session and process
stay, all that varies within them is drawn anew. Ten rounds are the default; sixty are what is
taken where rounds are short. Seeds are fixed, so the same call prints the same.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures.regression.history import judge_history
from fixtures.regression.limits import MARGIN_REFUSED, TIME_ALPHA
from fixtures.regression.margin import Margin, learn_margin
from fixtures.regression.timing import judge_time, slower_p_value
from fixtures.regression.verdict import Status

Array = NDArray[np.float64]
Within = Callable[[np.random.Generator, int, int], Array]
"""Random state, trials, rounds -> log time within a session, [trials, rounds]."""


def add_nothing(random: np.random.Generator, trials: int, rounds: int) -> Array:
    """No noise beyond the quiet one."""
    return np.zeros((trials, rounds))


def add_jitter(random: np.random.Generator, trials: int, rounds: int) -> Array:
    """Independent rounds, some of them late."""
    late = (random.random((trials, rounds)) < 0.03) * random.exponential(0.15, (trials, rounds))
    return random.normal(0, 0.02, (trials, rounds)) + late


def add_ar1(random: np.random.Generator, trials: int, rounds: int) -> Array:
    """A wander with memory."""
    memory, spread = 0.9, 0.015
    log_time = random.normal(0, spread * np.sqrt(1 - memory**2), (trials, rounds))
    log_time[:, 0] = random.normal(0, spread, trials)
    for step in range(1, rounds):
        log_time[:, step] += memory * log_time[:, step - 1]
    return log_time


def add_drift(random: np.random.Generator, trials: int, rounds: int) -> Array:
    """A ramp, such as a device that heats up."""
    return random.uniform(-0.04, 0.04, (trials, 1)) * np.linspace(0, 1, rounds)


def add_bimodal(random: np.random.Generator, trials: int, rounds: int) -> Array:
    """Two clock states that persist."""
    share, leave = 0.3, 0.1
    enter = leave * share / (1 - share)
    slow = np.empty((trials, rounds), dtype=bool)
    slow[:, 0] = random.random(trials) < share
    for step in range(1, rounds):
        toss = random.random(trials)
        slow[:, step] = np.where(slow[:, step - 1], toss >= leave, toss < enter)
    return slow * np.log(1.07)


@dataclass(frozen=True)
class Noise:
    """What disturbs a measurement; sd of log time between sessions and between processes."""

    name: str
    within: tuple[Within, ...]
    session: float = 0.002
    process: float = 0.001

    def draw_levels(self, random: np.random.Generator, trials: int) -> Array:
        """Log time of one process of one session for each trial, [trials, 1]."""
        spread = np.hypot(self.session, self.process)
        return random.normal(0, spread, (trials, 1))

    def draw_rounds(self, random: np.random.Generator, levels: Array, rounds: int) -> Array:
        """Seconds of each round around 1 s, [trials, rounds]."""
        shape = (len(levels), rounds)
        log_time = levels + random.normal(0, 0.005, shape)
        return np.exp(log_time + sum(add(random, *shape) for add in self.within))


_ALL = (add_jitter, add_ar1, add_drift, add_bimodal)
NOISES = (
    Noise("quiet", (add_nothing,)),
    Noise("jitter", (add_jitter,)),
    Noise("ar1", (add_ar1,)),
    Noise("drift", (add_drift,)),
    Noise("bimodal", (add_bimodal,)),
    Noise("shift", (add_nothing,), session=0.02, process=0.003),
    Noise("shared (all)", _ALL, session=0.02, process=0.003),
)


@dataclass(frozen=True)
class Trials:
    """Baseline, margin and three measurements of unchanged code, for many trials at once."""

    old: Array
    first: Array
    again: tuple[Array, Array]
    margins: tuple[Margin, ...]

    def flag_slower(self, slowdown: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which trials are regressed at once, and which of them each time."""
        levels = np.array([margin.level or np.nan for margin in self.margins])
        scale = levels / np.median(self.old, axis=1)
        old = self.old * np.where(np.isnan(scale), 1, scale)[:, None]
        shares = np.array([margin.share for margin in self.margins])
        once, second, third = (
            (slower_p_value(old, new * (1 + slowdown), shares) < TIME_ALPHA)
            & (shares <= MARGIN_REFUSED)
            for new in (self.first, *self.again)
        )
        return once, once & second & third

    def count_statuses(self, slowdown: float, count: int) -> Counter[Status]:
        """Statuses of the first ``count`` trials by the whole rule, measured once."""
        once, _ = self.flag_slower(slowdown)
        statuses: Counter[Status] = Counter()
        for trial in range(count):
            new = (self.first[trial] * (1 + slowdown)).tolist()
            verdict = judge_time("tpot_s", self.old[trial].tolist(), new, self.margins[trial])
            if (verdict.status is Status.REGRESSED) != bool(once[trial]):
                raise RuntimeError(f"judge_time says {verdict.status}, the batch disagrees")
            statuses[verdict.status] += 1
        return statuses


def draw_trials(noise: Noise, rounds: int, sessions: int, trials: int, seed: int) -> Trials:
    """Draw the baseline, ``sessions`` saved runs with it among them, and three measurements."""
    random = np.random.default_rng(seed)
    old = noise.draw_rounds(random, noise.draw_levels(random, trials), rounds)
    medians = [np.median(old, axis=1)]
    for _ in range(sessions - 1):
        saved = noise.draw_rounds(random, noise.draw_levels(random, trials), rounds)
        medians.append(np.median(saved, axis=1))
    levels = noise.draw_levels(random, trials)
    first, second, third = (noise.draw_rounds(random, levels, rounds) for _ in range(3))
    margins = tuple(learn_margin(row) for row in np.stack(medians, axis=1).tolist())
    return Trials(old, first, (second, third), margins)


def print_power(trials: int) -> None:
    """Print the table of two-run verdicts."""
    print(f"Two runs, {trials} trials a row; per cent of judgements.\n")
    print(
        "| noise | rounds | saved runs | margin, median | unchanged code: regressed once "
        "| ... confirmed | ... unchanged | +5 %: regressed once | ... confirmed "
        "| ... undecided | ... unchanged | +10 %: confirmed |"
    )
    print("|---" * 12 + "|")
    judged = max(1, trials // 60)
    for row, noise in enumerate(NOISES):
        for rounds in (10, 60):
            for sessions in (1, 5, 10):
                drawn = draw_trials(noise, rounds, sessions, trials, seed=100 * row + sessions)
                print(format_row(noise.name, rounds, sessions, drawn, judged))


def format_row(name: str, rounds: int, sessions: int, drawn: Trials, judged: int) -> str:
    """One row of the table, from all trials where possible and ``judged`` of them elsewhere."""
    (alarm, alarm_again), (five, five_again), (_, ten_again) = (
        drawn.flag_slower(slowdown) for slowdown in (0.0, 0.05, 0.10)
    )
    calm, slow = (drawn.count_statuses(slowdown, judged) for slowdown in (0.0, 0.05))
    margin = float(np.median([margin.share for margin in drawn.margins]))
    shares = (
        (alarm.mean(), 2),
        (alarm_again.mean(), 2),
        (calm[Status.UNCHANGED] / judged, 0),
        (five.mean(), 1),
        (five_again.mean(), 1),
        (slow[Status.UNDECIDED] / judged, 0),
        (slow[Status.UNCHANGED] / judged, 1),
        (ten_again.mean(), 1),
    )
    cells = [name, str(rounds), str(sessions), f"{100 * margin:.1f}"]
    cells += [f"{100 * share:.{digits}f}" for share, digits in shares]
    return f"| {' | '.join(cells)} |"


def print_history(series: int) -> None:
    """Print the table of the history rule: 40 calm nights, then 30 nights of each story."""
    calm_nights, nights = 40, 30
    print(
        f"\nHistory, {series} series a row: {calm_nights} calm nights, then {nights} more; "
        "2 % of nights carry a spike of 5 to 20 %. Per cent.\n"
    )
    print(
        "| session sd | calm months with an alarm | calm nights with an alarm "
        "| +5 % seen by night 3 | +10 % by night 3 | creep of 1 % a night, seen by night 15 |"
    )
    print("|---" * 6 + "|")
    stories = {
        "calm": np.zeros(nights),
        "five": np.full(nights, np.log(1.05)),
        "ten": np.full(nights, np.log(1.10)),
        "creep": np.log(1.01) * np.minimum(np.arange(1, nights + 1), 10),
    }
    for session in (0.005, 0.02):
        random = np.random.default_rng(7)
        shape = (series, calm_nights + nights)
        spikes = (random.random(shape) < 0.02) * random.uniform(0.05, 0.20, shape)
        noise = random.normal(0, session, shape) + spikes
        seen = {}
        for story, last in (("calm", nights), ("five", 3), ("ten", 3), ("creep", 15)):
            log_time = noise.copy()
            log_time[:, calm_nights:] += stories[story]
            seen[story] = np.array(
                [
                    [
                        judge_history("tpot_s", row[: calm_nights + night + 1]).status
                        is Status.REGRESSED
                        for night in range(last)
                    ]
                    for row in np.exp(log_time).tolist()
                ]
            )
        shares = [
            seen["calm"].any(axis=1).mean(),
            seen["calm"].mean(),
            *(seen[story].any(axis=1).mean() for story in ("five", "ten", "creep")),
        ]
        cells = " | ".join(f"{100 * share:.1f}" for share in shares)
        print(f"| {100 * session:.1f} % | {cells} |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="false alarms and detections under known noise")
    parser.add_argument("--trials", type=int, default=6_000, help="trials a row (default 6000)")
    trials = parser.parse_args().trials
    print_power(trials)
    print_history(max(1, trials // 60))


if __name__ == "__main__":
    main()
