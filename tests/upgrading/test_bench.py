"""What a worker does beside its commands: it stays on a core, and comes away from it."""

from __future__ import annotations

import os

import pytest

from fixtures.matrix import Selection
from fixtures.upgrading.bench import Bench

PINS = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux alone tells it")


@PINS
@pytest.mark.parametrize("scale", ["tiny", "published"])
def test_variant_of_one_thread_stays_on_its_core_and_the_next_is_built_on_all(scale, monkeypatch):
    before = os.sched_getaffinity(0)
    selection = Selection.parse("gpt2", "fp32", scale, "seeded", (), ()).to_json()
    bench = Bench(selection, "cpu", 2, [], cpus=sorted(before))
    name = "tiny-gpt2-fp32" if scale == "tiny" else "gpt2-fp32"
    built_on = []
    monkeypatch.setattr(
        "fixtures.upgrading.bench.build_variant",
        lambda cell, device: built_on.append(os.sched_getaffinity(0)),
    )
    monkeypatch.setattr(bench, "drop", lambda: {})
    try:
        for _ in range(2):
            bench.build(name, weigh=False, core=max(before))
        one = scale == "tiny" or bench._device.threads == 1
        assert os.sched_getaffinity(0) == ({max(before)} if one else before)
        bench.build(name, weigh=False)
        assert os.sched_getaffinity(0) == before
    finally:
        os.sched_setaffinity(0, before)
    assert built_on == [before] * 3
