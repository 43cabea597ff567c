"""Footprint: what has run before a peak is read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fixtures import footprint
from fixtures.device import Device
from fixtures.workloads import Workload


@pytest.mark.parametrize(("kind", "before"), [("cpu", [1]), ("cuda", [1, 1])])
def test_a_prompt_is_captured_before_the_peak_is_read(monkeypatch, kind, before):
    decoded = []
    phases = SimpleNamespace(
        prefill=lambda model, ids: tuple(ids.shape),
        decode=lambda model, shape, steps: decoded.append((shape, steps)),
    )

    def measure_phase_memory(device, model, run, warm_up):
        warm_up()
        # The second time that a GPU meets a prompt, which is captured then, is behind it here.
        assert decoded == [((2, 3), steps) for steps in before]
        run()
        return dict.fromkeys(
            ("peak_allocated_bytes", "peak_reserved_bytes", "rss_peak_bytes"), 1000
        )

    monkeypatch.setattr(footprint, "phases", phases)
    monkeypatch.setattr(footprint, "measure_phase_memory", measure_phase_memory)
    monkeypatch.setattr(footprint, "weights_bytes", lambda model: 7)
    gpu = {"index": 0, "uuid": "GPU-0", "compute_capability": (9, 0)}
    own = gpu if kind == "cuda" else {"threads": 2}
    device = Device(kind=kind, name="a device", memory_bytes=2**33, **own)
    built = SimpleNamespace(model=SimpleNamespace(device="cpu"))
    figures = footprint.measure_footprint(None, device, [[1, 2, 3]] * 2, Workload(2, 3, 4), built)
    assert decoded[len(before) :] == [((2, 3), 3)]
    assert figures["peak_allocated_bytes"] == 1000
    assert figures["weights_bytes"] == 7
