"""Rounds of known length: how many are taken, and when; a plant is burnt; retaken ones replace."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fixtures.device import Device
from fixtures.plugins.rounds import Rounds, Turns

CPU = Device("cpu", "Example CPU", 2**34, threads=1)
ROUND_S = 0.004


class Samples:
    """What pytest-benchmark keeps of a benchmark."""

    def __init__(self):
        self.stats = SimpleNamespace(data=[])

    def update(self, seconds):
        self.stats.data.append(seconds)


class Benchmark:
    """As much of pytest-benchmark's fixture as rounds ask for."""

    def __init__(self, time):
        self.stats = Samples()
        self.time = time

    def pedantic(self, target, setup, rounds, warmup_rounds):
        for number in range(warmup_rounds + rounds):
            arguments, _ = setup()
            start = self.time.perf_counter()
            target(*arguments)
            if number >= warmup_rounds:
                self.stats.update(self.time.perf_counter() - start)


@pytest.fixture
def time(script_time):
    """What rounds, their clock and their plant take for the time."""
    places = ("plugins.rounds", "measurement.clock", "plants.slowdown")
    return script_time(*(f"fixtures.{place}" for place in places))


@pytest.fixture
def build_rounds(time):
    def build(round_s=ROUND_S, **options):
        return Rounds(Benchmark(time), CPU, "tpot_s", time.sleep, lambda: (round_s,), **options)

    return build


@pytest.mark.parametrize(
    ("round_s", "least", "beside", "taken"),
    [
        (0.004, 3, None, 60),  # 0.7 s would be 175 rounds, of which 60 do
        (0.4, 1, None, 2),
        (0.4, 3, None, 3),
        (0.2, 1, lambda: pytest.fail("pairs were taken"), 2),  # 0.35 s
    ],
)
def test_short_rounds_are_repeated_to_fill_the_window(build_rounds, round_s, least, beside, taken):
    rounds = build_rounds(round_s, warm_up=0, beside=beside)
    rounds.take(least)
    assert len(rounds.samples) == len(rounds.benchmark.stats.stats.data) == taken


def test_planted_slowdown_burns_its_share_of_every_round(build_rounds):
    plain = build_rounds().take_more(5)
    slowed = build_rounds(slowdown=0.5).take_more(5)
    assert plain == pytest.approx([ROUND_S] * 5, rel=0.01)
    assert slowed == pytest.approx([1.5 * ROUND_S] * 5, rel=0.01)


def test_retaken_rounds_replace_those_before(build_rounds):
    rounds = build_rounds(steps=2)
    rounds.take_more(4)
    rounds.retake(3)
    assert len(rounds.samples) == 3
    assert rounds.benchmark.stats.stats.data == [2 * sample for sample in rounds.samples]


def test_rounds_in_turn_leave_the_saved_ones_alone(build_rounds):
    rounds = build_rounds()
    rounds.take_more(2)
    turns = Turns(lambda: (2 * ROUND_S,), lambda: (ROUND_S,))
    partner, own = rounds.interleave(turns, 4)
    assert partner == pytest.approx([2 * ROUND_S] * 4, rel=0.01)
    assert own == pytest.approx([ROUND_S] * 4, rel=0.01)
    assert len(rounds.samples) == len(rounds.benchmark.stats.stats.data) == 2


def test_partner_is_timed_by_its_own_target_and_its_own_steps(build_rounds, time):
    called = []

    def answer(steps: int) -> None:
        called.append(steps)
        time.sleep(2 * steps * ROUND_S)

    turns = Turns(lambda: (6,), lambda: (ROUND_S,), 1, target=answer, partner_steps=6)
    partner, own = build_rounds().interleave(turns, 3)
    assert called == [6] * 4  # one more warms up
    assert partner == pytest.approx([2 * ROUND_S] * 3, rel=0.01)
    assert own == pytest.approx([ROUND_S] * 3, rel=0.01)


GPU = Device("cuda", "Example GPU", 2**37, index=0, uuid="GPU-1")


# 5 % of a round of 2 s are no work of the case's own: 2.1 s hold them already.
@pytest.mark.parametrize(
    ("slowdown", "median_s", "kernels_s"), [(0.0, 2.0, [0.5]), (0.05, 2.1, [0.5, 0.1])]
)
def test_gpu_works_for_what_is_launched_and_for_the_plant(
    build_rounds, monkeypatch, slowdown, median_s, kernels_s
):
    enqueued = []

    def time_queued(prepare, count):
        prepare()()
        return [sum(enqueued)] * count

    monkeypatch.setattr("fixtures.plugins.rounds.time_queued", time_queued)
    monkeypatch.setattr("fixtures.plugins.rounds.occupy", enqueued.append)
    rounds = build_rounds(launch=lambda: lambda: enqueued.append(0.5), slowdown=slowdown)
    rounds.samples += [1.0, median_s, 9.0]
    assert rounds.take_gpu_work(3) == []  # a CPU waits for nobody
    rounds.device = GPU
    assert rounds.take_gpu_work(3) == [pytest.approx(sum(kernels_s))] * 3
    assert enqueued == pytest.approx(kernels_s)
    rounds.launch = None
    assert rounds.take_gpu_work(3) == []


@pytest.mark.parametrize(
    ("device", "in_process", "works"),
    [
        (CPU, True, False),
        (GPU, True, True),
        (GPU, False, False),  # the rounds are other processes', which are not there in between
    ],
)
def test_a_gpu_works_while_others_rest(build_rounds, time, monkeypatch, device, in_process, works):
    done = []
    monkeypatch.setattr("fixtures.plugins.rounds.synchronise", lambda device: None)
    monkeypatch.setattr(Rounds, "in_process", in_process)
    rounds = build_rounds()
    rounds.target, rounds.device = lambda seconds: done.append(time.sleep(seconds)), device
    rounds.pause(0.05)
    assert time.now_s == pytest.approx(0.05, abs=ROUND_S)
    assert len(done) == (13 if works else 0)  # rounds of 4 ms
    assert rounds.samples == [] and rounds.benchmark.stats.stats.data == []


@pytest.fixture
def build_gpu_rounds(build_rounds, time, monkeypatch):
    """Rounds of a GPU that says, each time it is asked, how long it has been held at its limit."""

    def build(*held_s):
        monkeypatch.setattr("fixtures.plugins.rounds.synchronise", lambda device: None)
        monkeypatch.setattr("fixtures.plugins.rounds.choose_clock", lambda _: time.perf_counter)
        readings = iter(held_s)
        monkeypatch.setattr("fixtures.plugins.rounds.read_power_capped", lambda _: next(readings))
        rounds = build_rounds(warm_up=0)
        rounds.device = GPU
        rounds.paused = []
        pause = rounds.pause
        rounds.pause = lambda seconds: rounds.paused.append(seconds) or pause(seconds)
        return rounds

    return build


# 44 rounds of 4 ms are the first, and the look behind them lasts until a second is over.
@pytest.mark.parametrize(
    ("held_s", "pauses_s", "at_limit", "taken"),
    [
        ((7.0, 7.087), [], False, 44),
        ((7.0, 7.089, 8.0, 8.411), [0.824], False, 44),  # what ran before was at the limit
        ((7.0, 7.089, 8.0, 8.413), [0.824], True, 250),  # 1 s
    ],
)
def test_a_gpu_at_its_power_limit_is_timed_over_a_whole_swing_of_its_clock(
    build_gpu_rounds, held_s, pauses_s, at_limit, taken
):
    rounds = build_gpu_rounds(*held_s)
    rounds.take(1)
    assert rounds.at_power_limit is at_limit
    assert rounds.paused == pytest.approx(pauses_s, rel=0.001)
    assert len(rounds.samples) == len(rounds.benchmark.stats.stats.data) == taken


def test_rounds_that_last_for_swings_already_stand(build_gpu_rounds):
    rounds = build_gpu_rounds(0.0, 2.0, 2.0, 2.25)
    rounds.retake = lambda *_: pytest.fail("they were taken again")
    rounds.take(500)
    assert rounds.at_power_limit
    assert rounds.paused == [0.25]
