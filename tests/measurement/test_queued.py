"""Work behind a full queue, on a scripted GPU whose seconds are known."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixtures.measurement import queued
from fixtures.measurement.queued import time_queued

# Seconds that the host takes to launch a kernel, and the GPU to run it.
EAGER = [(20e-6, 4e-6)] * 50
REPLAYED = [(10e-6, 800e-6)]


@dataclass
class Gpu:
    """One stream and its host, in seconds of their own; a kernel starts when both are ready.

    Says that it is waited for where it is told to, as PyTorch does, unless that is by a library.
    """

    clock_hz: float = 1.98e9
    room: int = 1000
    tells: bool = True
    mode: int | str = 0
    kernels: int = 0
    host_s: float = 0.0
    ends_s: list[float] = field(default_factory=lambda: [0.0])

    def launch(self, host_s, gpu_s):
        self.kernels += 1
        self.host_s += host_s
        if len(self.ends_s) > self.room:  # the oldest in the queue must begin first
            self.host_s = max(self.host_s, self.ends_s[-self.room - 1])
        self.ends_s.append(max(self.host_s, self.ends_s[-1]) + gpu_s)

    def synchronize(self):
        self.host_s = max(self.host_s, self.ends_s[-1])

    def wait(self):
        self.synchronize()
        if self.tells and self.mode == "warn":
            warnings.warn("called a synchronizing CUDA operation", UserWarning, stacklevel=1)

    def set_mode(self, mode):
        self.mode = mode

    def sleep(self, cycles):
        self.launch(0, cycles / self.clock_hz)

    def make_event(self, enable_timing):
        assert enable_timing
        return Event(self)


@dataclass
class Event:
    gpu: Gpu
    at_s: float = 0.0

    def record(self):
        self.at_s = max(self.gpu.host_s, self.gpu.ends_s[-1])

    def query(self):
        return self.at_s <= self.gpu.host_s

    def synchronize(self):
        self.gpu.host_s = max(self.gpu.host_s, self.at_s)

    def elapsed_time(self, other):
        return (other.at_s - self.at_s) * 1e3


def run_on(gpu, kernels, waits_behind=None, count=5):
    """``time_queued`` of these kernels; the host may wait for the device behind one of them."""

    def launch():
        for number, (host_s, gpu_s) in enumerate(kernels):
            gpu.launch(host_s, gpu_s)
            if number == waits_behind:
                gpu.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "Event", gpu.make_event)
        patch.setattr(torch.cuda, "synchronize", gpu.synchronize)
        patch.setattr(torch.cuda, "_sleep", gpu.sleep)
        patch.setattr(torch.cuda, "get_sync_debug_mode", lambda: gpu.mode)
        patch.setattr(torch.cuda, "set_sync_debug_mode", gpu.set_mode)
        patch.setattr(queued.time, "perf_counter", lambda: gpu.host_s)
        return time_queued(lambda: launch, count)


seconds = st.floats(1e-7, 1e-3)


@given(st.lists(st.tuples(seconds, seconds), min_size=1, max_size=40))
def test_only_the_gpus_seconds_are_counted(kernels):
    assert run_on(Gpu(), kernels) == pytest.approx([sum(gpu_s for _, gpu_s in kernels)] * 5)


def test_a_step_that_its_host_bounds_is_told_from_one_that_is_replayed():
    # 50 launches of 20 us take a millisecond, of which the GPU works for 0.2.
    assert run_on(Gpu(), EAGER) == pytest.approx([0.2e-3] * 5)
    assert run_on(Gpu(), REPLAYED) == pytest.approx([0.8e-3] * 5)


@pytest.mark.parametrize("clock_hz", [0.3e9, 1.98e9, 3.2e9, 5e9])
def test_the_clock_makes_no_difference(clock_hz):
    # At 5 GHz the first spin is over too soon, and the second is not.
    assert run_on(Gpu(clock_hz), EAGER) == pytest.approx([0.2e-3] * 5)


def test_launches_that_wait_for_the_device_cannot_be_told():
    library = Gpu(tells=False)
    assert run_on(library, EAGER, waits_behind=10) == []
    # Without a word of it: the first, and two behind spins.
    assert library.kernels == 3 * len(EAGER) + 2


def test_what_pytorch_says_of_a_wait_saves_the_passes_behind_a_spin():
    gpu = Gpu()
    assert run_on(gpu, EAGER, waits_behind=10) == []
    assert gpu.kernels == len(EAGER)
    assert gpu.mode == 0


def test_more_launches_than_the_queue_takes_cannot_be_told():
    assert run_on(Gpu(room=40), EAGER) == []
    assert run_on(Gpu(room=60), EAGER) == pytest.approx([0.2e-3] * 5)


def test_passes_are_as_many_as_asked_for_or_as_a_second_holds():
    assert len(run_on(Gpu(), REPLAYED, count=10)) == 10
    # Behind a spin of 0.2 s the GPU works for 0.2 s: the first, and two more in a second.
    assert run_on(Gpu(clock_hz=2e9), [(0.1, 0.2)], count=10) == pytest.approx([0.2] * 3)


def test_a_launch_that_was_held_up_has_another_in_its_place():
    class Stalled(Gpu):
        """Its host is held up in a pass of each three, behind the first."""

        def launch(self, host_s, gpu_s):
            if self.kernels > 5 and self.kernels % 6 == 0:
                self.host_s += 0.1
            super().launch(host_s, gpu_s)

    # The first kernel of a pass is the spin, the second what is timed.
    assert run_on(Stalled(), [(10e-6, 800e-6)], count=10) == pytest.approx([0.8e-3] * 10)


def test_a_host_that_becomes_slow_is_given_longer():
    class Slowed(Gpu):
        """Its host takes 0.1 s for each kernel behind the sixth, which is the third spin."""

        def launch(self, host_s, gpu_s):
            super().launch(host_s + (0.1 if self.kernels > 5 else 0.0), gpu_s)

    assert run_on(Slowed(), REPLAYED, count=10) == pytest.approx([0.8e-3] * 10)


def test_a_host_that_takes_longer_each_time_is_not_waited_for():
    class Tiring(Gpu):
        """Its host takes twice as long for each pass behind the second as for the one before."""

        def launch(self, host_s, gpu_s):
            passes = self.kernels // 2
            super().launch(host_s * 2 ** max(0, passes - 2), gpu_s)

    gpu = Tiring()
    assert run_on(gpu, [(1e-3, 800e-6)], count=10) == pytest.approx([0.8e-3] * 2)
    assert 2.0 < gpu.host_s < 6.0  # two seconds, and the pass at hand


def test_spins_are_half_as_long_again_as_the_launches_before():
    """A pass that was watched takes its host five times as long, and is no measure for others."""
    spins = []

    class Watched(Gpu):
        def launch(self, host_s, gpu_s):
            super().launch(host_s * (5 if self.mode == "warn" else 1), gpu_s)

        def sleep(self, cycles):
            spins.append(cycles / 2e9)
            super().sleep(cycles)

    run_on(Watched(), EAGER, count=4)
    assert spins == pytest.approx([7.5e-3, 1.5e-3, 1.5e-3, 1.5e-3], rel=1e-3)


def test_kernel_that_occupies_the_gpu_takes_its_seconds_at_two_gigahertz():
    gpu = Gpu(clock_hz=1e9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "_sleep", gpu.sleep)
        queued.occupy(0.25)
    assert gpu.ends_s[-1] == pytest.approx(0.5)
