from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.device import Device
from fixtures.models.spec import ModelSpec
from fixtures.techniques import base
from fixtures.techniques.base import DtypeName, Evidence
from fixtures.techniques.registry import find_technique


@pytest.mark.parametrize(
    ("name", "on_cpu", "on_gpu"),
    [
        ("fp32", "float32", "float32"),
        ("nf4", "float32", "bfloat16"),
        ("int8", "float32", "bfloat16"),
        ("nf4+flash", "float32", "bfloat16"),
        ("nf4+fp16", "float16", "float16"),
        ("sdpa", "float32", "float32"),
        ("pruned-30", "float32", "float32"),
        ("pruned-30+bf16", "bfloat16", "bfloat16"),
    ],
)
def test_dtype_follows_precision_then_quantisation_then_fp32(
    name: str, on_cpu: DtypeName, on_gpu: DtypeName, cpu: Device, h100: Device
) -> None:
    technique = find_technique(name)
    for device, dtype in ((cpu, on_cpu), (h100, on_gpu)):
        assert technique.loading(device)["dtype"] == getattr(torch, dtype)
        assert technique.settings(device)["dtype"] == dtype


@pytest.mark.parametrize("name", ["fp32", "nf4", "pruned-30", "int8-dynamic"])
def test_attention_is_eager_where_none_is_named(name: str, cpu: Device) -> None:
    assert find_technique(name).loading(cpu)["attn_implementation"] == "eager"
    assert find_technique(name).settings(cpu)["attention"] == "eager"


def test_a_quantised_layer_computes_in_the_composed_dtype(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique("nf4+fp16")
    model = build(technique)
    assert technique.evidence(model, run_of(model)).applied
    assert model.transformer.h[0].mlp.c_fc.compute_dtype == torch.float16
    assert model.transformer.wte.weight.dtype == torch.float16


def test_settings_of_all_parts_are_recorded(cpu: Device) -> None:
    settings = find_technique("nf4-dq+fp16+sdpa").settings(cpu)
    assert settings["quantisation"] == "nf4" and settings["double_quant"] is True
    assert settings["compute_dtype"] == settings["dtype"] == "float16"
    assert settings["attention"] == "sdpa"


@pytest.mark.parametrize("name", ["pruned-30+flash+bf16", "nf4+flash", "int8-dynamic+sdpa"])
@pytest.mark.parametrize("key", ["gpt2", "t5-small"])
def test_every_part_of_a_composition_gives_evidence(
    name: str, key: str, build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique(name)
    model = build(technique, key)
    evidence = technique.evidence(model, run_of(model))
    assert evidence.problems == ()
    assert {*name.split("+")} <= {*evidence.facts}


def test_a_problem_names_its_part(build: Callable[..., Any], run_of: Callable[..., Any]) -> None:
    model = build(find_technique("nf4"))
    evidence = find_technique("nf4+sdpa").evidence(model, run_of(model))
    assert not evidence.applied
    assert evidence.problems[0] == "sdpa: eager attention where sdpa was asked"


def test_evidence_without_problems_means_applied() -> None:
    assert Evidence({}, ()).applied
    assert not Evidence({}, ("nothing was replaced",)).applied


def test_one_part_that_cannot_run_stops_the_composition(gpt2: ModelSpec, t4: Device) -> None:
    reason = find_technique("nf4").unsupported(gpt2, t4)
    assert reason == "bf16 needs compute capability 8.0, and T4 has 7.5"
    assert find_technique("nf4+fp16").unsupported(gpt2, t4) is None


def test_what_is_saved_can_be_loaded_again(
    build: Callable[..., Any], run_of: Callable[..., Any], tmp_path: Path
) -> None:
    technique = find_technique("pruned-50+flash")
    model = build(technique)
    technique.save(model, tmp_path)
    # A reader without this suite knows nothing of its pinned attention.
    assert "pinned" not in (tmp_path / "config.json").read_text()
    again = type(model).from_pretrained(tmp_path, attn_implementation="eager").eval()
    torch.testing.assert_close(run_of(again)(), run_of(model)(), atol=1e-5, rtol=0)


def test_what_is_large_is_saved_in_files_that_are_read_again(
    build: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "SHARD_SIZE", "100KB")
    technique = find_technique("bf16")
    model = build(technique)
    technique.save(model, tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = type(model).from_pretrained(tmp_path, dtype="auto").state_dict()
    torch.testing.assert_close(again, model.state_dict(), atol=0, rtol=0)


def test_each_part_lets_go_of_other_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    technique = find_technique("nf4+compiled")
    kept: list[tuple[str, int, int]] = []
    for part in technique.parts:  # type: ignore[attr-defined]
        monkeypatch.setattr(
            type(part), "keep_shape", lambda self, model, *shape: kept.append((self.name, *shape))
        )
    technique.keep_shape(None, 8, 512)  # type: ignore[arg-type]
    assert kept == [("nf4", 8, 512), ("compiled", 8, 512)]
