from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fixtures.device import Device, detect_cpu
from fixtures.plugins.losing import find_loss

GPU = Device(kind="cuda", name="NVIDIA H200", memory_bytes=2**37, index=0, uuid="GPU-1")
ASSERTED = "CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA` to enable"

TESTS = """
import pytest
from fixtures.models.registry import MODELS
from fixtures.techniques.registry import find_technique
from fixtures.variants import Variant

FP32 = find_technique("fp32")
CELLS = [Variant(MODELS[key], FP32, "tiny", "auto") for key in ("gpt2", "t5-small", "small-gpt")]

@pytest.mark.parametrize("variant", CELLS, ids=[each.id for each in CELLS])
def test_cell(variant):
    assert variant.spec.key == "gpt2"
"""
# What the suite's other plugins do before: a GPU was detected, and then it answers or not.
DETECTED = """
import os
import torch
from fixtures.device import Device
from fixtures.plugins.variants import DEVICE

pytest_plugins = ["fixtures.plugins.losing"]

def pytest_configure(config):
    config.stash[DEVICE] = Device(
        kind="cuda", name="NVIDIA H200", memory_bytes=2**37, index=0, uuid="GPU-1")

def synchronize(*arguments):
    if os.environ["LOST"] == "yes":
        raise RuntimeError("CUDA error: device-side assert triggered\\nFor debugging consider")

torch.cuda.synchronize = synchronize
"""


def raising(*arguments):
    raise RuntimeError(ASSERTED)


def test_device_that_answers_is_not_lost(monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *arguments: None)
    assert find_loss(GPU) is None
    monkeypatch.setattr(torch.cuda, "synchronize", raising)
    assert find_loss(GPU) == "CUDA error: device-side assert triggered"
    assert find_loss(detect_cpu()) is None


@pytest.mark.parametrize(("lost", "failed"), [("yes", 1), ("no", 2)])
def test_run_ends_where_the_device_is_lost_and_not_where_a_cell_failed(tmp_path, lost, failed):
    (tmp_path / "conftest.py").write_text(DETECTED)
    (tmp_path / "test_cells.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", ".", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "LOST": lost},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{failed} failed, 1 passed" in done.stdout, done.stdout + done.stderr
    sentence = (
        "NVIDIA H200 no longer answers, so nothing after"
        " test_cells.py::test_cell[tiny-t5-small-fp32] can be measured:"
        " CUDA error: device-side assert triggered"
    )
    assert (sentence in done.stdout) is (lost == "yes")
    assert done.returncode == 1
