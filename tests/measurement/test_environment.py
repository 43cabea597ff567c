"""Environment: versions without imports, settings without secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from fixtures.measurement.environment import describe_packages, describe_settings

ROOT = Path(__file__).parents[2]


def test_versions_are_those_installed():
    packages = describe_packages()
    assert packages["torch"] == version("torch")
    assert packages["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert "a-package-that-is-not-there" not in packages


def test_settings_name_threads_policy_and_precision(monkeypatch):
    import torch

    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    settings = json.loads(json.dumps(describe_settings()))
    assert settings["environment"]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert settings["torch"]["threads"] == torch.get_num_threads()
    assert settings["torch"]["cuda_matmul_fp32"] in {"none", "ieee", "tf32"}


def test_settings_can_be_read_after_the_newer_precision_api_was_used():
    import torch

    backend = torch.backends.cuda.matmul
    kept = backend.fp32_precision
    backend.fp32_precision = "tf32"
    try:
        assert describe_settings()["torch"]["cuda_matmul_fp32"] == "tf32"
    finally:
        backend.fp32_precision = kept


def test_secrets_stay_out(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "hf_secret" not in json.dumps(describe_settings())


def test_instruments_import_without_torch_pynvml_or_pytest():
    names = [path.stem for path in (ROOT / "fixtures/measurement").glob("*.py")]
    imports = "; ".join(f"import fixtures.measurement.{name}" for name in names if "_" not in name)
    code = (
        f"import sys; import fixtures.device; {imports}; "
        "print([m for m in ('torch', 'pynvml', 'pytest', 'transformers') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
