"""What tests of every part share: a time that goes by as the test says, on however busy a host."""

from __future__ import annotations

import pytest


class ScriptedTime:
    """As much of ``time`` as is asked of it: it goes by in sleeps, and by 1 us for each look."""

    def __init__(self):
        self.now_s = 0.0

    def sleep(self, seconds):
        self.now_s += seconds

    def perf_counter(self):
        self.sleep(1e-6)
        return self.now_s

    monotonic = perf_counter


@pytest.fixture
def script_time(monkeypatch):
    """The modules of these names take what this returns for ``time``."""

    def script(*modules):
        time = ScriptedTime()
        for module in modules:
            monkeypatch.setattr(f"{module}.time", time)
        return time

    return script
