"""What the tests of GPU instruments share: a recorded GPU behind a fake NVML."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from fixtures.device import Device

FAKE = Path(__file__).parent / "fake_nvml"


@pytest.fixture
def gpu():
    return Device(kind="cuda", name="NVIDIA H200", memory_bytes=2**37, index=0, uuid="GPU-1")


@pytest.fixture
def cpu():
    return Device(kind="cpu", name="a processor", memory_bytes=2**30, threads=2)


@pytest.fixture
def set_nvml(tmp_path, monkeypatch):
    """Change what the fake NVML answers, in this process and in those it starts."""
    state = {
        "uuid": "GPU-1",
        "used_bytes": 1_000,
        "processes": {},
        "power_mw": 75_500,
        "temperature_c": 31,
        "memory_temperature_c": 44,
        "clocks_mhz": {"1": 1980, "2": 3201},
        "reasons": 1,
        "lost_ns": {"0": 2_000_000_000, "1": 0, "3": 0, "5": 0},
        "energy_start_s": time.time(),
    }
    file = tmp_path / "nvml.json"

    def change(**changes):
        state.update(changes)
        file.with_suffix(".new").write_text(json.dumps(state))
        file.with_suffix(".new").replace(file)

    change()
    monkeypatch.setenv("FAKE_NVML", str(file))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(FAKE), os.environ.get("PYTHONPATH")]))
    )
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    yield change
    sys.modules.pop("pynvml", None)
