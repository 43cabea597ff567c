from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.device import Device
from fixtures.models.registry import MODELS
from fixtures.models.spec import ModelSpec
from fixtures.techniques.bitsandbytes_layers import eligible_layers
from fixtures.techniques.registry import find_technique

QUANTISED = ["int8", "int8-t0", "nf4", "nf4-dq", "fp4"]


@pytest.mark.parametrize(
    ("key", "count"),
    [
        ("gpt2", 2 * 4),  # attention in and out, MLP in and out
        ("t5-small", 2 * 5 + 2 * 9),  # q k v o, twice in a decoder block, and wi; not wo
        ("gpt-neo-1.3b", 2 * 6),
        ("gemma-2b", 2 * 7),
        ("small-gpt", 4 * 6),
    ],
)
def test_eligible_layers_are_those_of_the_architecture(key: str, count: int) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    auto = AutoModelForSeq2SeqLM if key == "t5-small" else AutoModelForCausalLM
    with torch.device("meta"):
        model = auto.from_config(MODELS[key].build_config("tiny"))
    assert len(eligible_layers(model)) == count


@pytest.mark.parametrize("key", ["gpt2", "t5-small"])
@pytest.mark.parametrize("name", QUANTISED)
def test_every_eligible_layer_is_replaced(
    name: str, key: str, build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique(name)
    model = build(technique, key)
    for _ in range(2):  # before the first forward pass, which repacks on some CPUs, and after it
        evidence = technique.evidence(model, run_of(model))
        assert evidence.problems == ()
        assert evidence.facts[name]["layers"] == evidence.facts[name]["eligible"] > 0
    assert "lm_head" in evidence.facts[name]["not_quantised"]


@pytest.mark.parametrize("name", QUANTISED)
def test_weights_left_in_fp16_are_a_problem(
    name: str, build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("fp16"))
    problems = find_technique(f"{name}+fp16").evidence(model, run_of(model)).problems
    assert len(problems) == 1
    assert problems[0].startswith(f"{name}: 0 of 8 linear layers are Linear")


def test_one_layer_left_out_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("int8"))
    model.transformer.h[1].mlp.c_fc = torch.nn.Linear(128, 512)
    problems = find_technique("int8").evidence(model, run_of(model)).problems
    assert problems == (
        "int8: 7 of 8 linear layers are Linear8bitLt;"
        " the first that is not, transformer.h.1.mlp.c_fc, is Linear",
    )


def test_a_layer_that_is_gone_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("nf4"))
    run = run_of(model)
    model.transformer.h[1].mlp.c_fc = torch.nn.Identity()
    problems = find_technique("nf4").parts[0].evidence(model, run).problems
    assert "transformer.h.1.mlp.c_fc" in problems[0]


@pytest.mark.parametrize("name", ["int8", "nf4-dq"])
def test_a_folder_and_a_state_dict_give_the_same_model(
    name: str,
    build: Callable[..., Any],
    run_of: Callable[..., Any],
    cpu: Device,
    tmp_path: Path,
) -> None:
    technique = find_technique(name)
    model = build(technique)
    build(find_technique("fp32")).save_pretrained(tmp_path)
    read = type(model).from_pretrained(tmp_path, **technique.loading(cpu)).eval()
    assert torch.equal(run_of(read)(), run_of(model)())


@pytest.mark.parametrize("name", ["int8", "nf4-dq", "fp4"])
def test_saved_weights_are_still_quantised(
    name: str, build: Callable[..., Any], run_of: Callable[..., Any], tmp_path: Path
) -> None:
    technique = find_technique(name)
    model = build(technique)
    technique.save(model, tmp_path)
    again = type(model).from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert technique.evidence(again, run_of(again)).problems == ()
    torch.testing.assert_close(run_of(again)(), run_of(model)(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["int8", "nf4"])
def test_running_is_quiet(
    name: str,
    build: Callable[..., Any],
    run_of: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = build(find_technique(name))
    with caplog.at_level(logging.WARNING):
        run_of(model)()
    assert not [record for record in caplog.records if record.name.startswith("bitsandbytes")]


def test_a_missing_package_is_named(
    gpt2: ModelSpec, cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "bitsandbytes" else found(name, *rest),
    )
    reason = find_technique("nf4").unsupported(gpt2, cpu)
    assert reason == "nf4 needs bitsandbytes, which is not installed"


def test_a_cpu_run_never_loads_onto_a_gpu_that_transformers_sees(cpu: Device) -> None:
    assert find_technique("nf4").loading(cpu)["device_map"] == {"": "cpu"}
