from __future__ import annotations

import gc
import importlib.util
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.device import Device
from fixtures.models.registry import MODELS
from fixtures.models.spec import ModelSpec
from fixtures.techniques.registry import IncompatibleTechniques, find_technique


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let triton be found, as where a GPU is, and nothing else that is not there."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *package: object() if name == "triton" else find(name, *package),
    )


def test_every_causal_model_can_be_compiled_on_a_gpu(triton: None, h100: Device) -> None:
    reasons = {
        key: find_technique("compiled+bf16").unsupported(spec, h100) for key, spec in MODELS.items()
    }
    assert (
        reasons.pop("t5-small") == "compiled steps a decoder alone, and t5-small has an encoder too"
    )
    assert {*reasons.values()} == {None}


def test_what_a_device_lacks_is_said(gpt2: ModelSpec, cpu: Device, h100: Device) -> None:
    technique = find_technique("compiled")
    old = replace(h100, name="GTX 1080", compute_capability=(6, 1))
    assert (
        technique.unsupported(gpt2, cpu) == "compiled replays CUDA graphs, and the device is a CPU"
    )
    assert (
        technique.unsupported(gpt2, old)
        == "compiled needs compute capability 7.0, and GTX 1080 has 6.1"
    )


def test_triton_is_needed(gpt2: ModelSpec, h100: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    reason = find_technique("compiled").unsupported(gpt2, h100)
    assert reason == "compiled needs triton, which is not installed"


def test_a_model_with_sliding_windows_is_declined(triton: None, h100: Device) -> None:
    def build_config(scale: str) -> Any:
        from transformers import MistralConfig

        return MistralConfig(num_hidden_layers=1, layer_types=["sliding_attention"])

    spec = replace(MODELS["gpt2"], key="mistral", build_config=build_config)
    reason = find_technique("compiled").unsupported(spec, h100)
    assert reason == "compiled needs full attention in every layer, not sliding_attention"


def test_a_model_that_takes_no_attention_by_name_is_declined(triton: None, h100: Device) -> None:
    def build_config(scale: str) -> Any:
        from transformers import GPTJConfig

        return GPTJConfig(n_layer=1)

    spec = replace(MODELS["gpt2"], key="gpt-j", build_config=build_config)
    reason = find_technique("compiled").unsupported(spec, h100)
    assert reason == "compiled brings its own attention, which GPTJForCausalLM does not take"
    unknown = replace(
        spec, build_config=lambda scale: SimpleNamespace(get_text_config=lambda decoder: None)
    )
    reason = find_technique("compiled").unsupported(unknown, h100)
    assert reason == "compiled brings its own attention, which gpt-j does not take"


def test_quantised_parts_go_along_unless_they_ask_the_host(
    triton: None, gpt2: ModelSpec, h100: Device
) -> None:
    assert find_technique("nf4+compiled").unsupported(gpt2, h100) is None
    assert find_technique("int8-t0+compiled").unsupported(gpt2, h100) is None
    reason = find_technique("int8+compiled").unsupported(gpt2, h100)
    assert reason == (
        "int8 looks for outlier columns from the host, which no CUDA graph can;"
        " int8-t0 does not look"
    )
    reason = find_technique("pruned-2of4+compiled").unsupported(gpt2, h100)
    assert reason == "compiled cannot take apart the packed weights of pruned-2of4"


def test_it_brings_its_own_attention(h100: Device) -> None:
    technique = find_technique("compiled+bf16")
    assert [part.name for part in technique.complete("cuda")] == ["bf16", "compiled"]
    assert technique.settings(h100)["attention"] == "sdpa for prompts, filled slots for steps"
    with pytest.raises(IncompatibleTechniques, match="flash and compiled cannot be on at once"):
        find_technique("flash+compiled")


@pytest.mark.parametrize("key", ["gpt2", "gpt-neo-1.3b", "gemma-2b", "small-gpt"])
def test_logits_agree_and_steps_without_a_graph_are_a_problem(
    key: str, build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    technique = find_technique("compiled")
    model = build(technique, key)
    evidence = technique.evidence(model, run_of(model))
    # On a CPU nothing is captured; everything else is as on a GPU.
    assert evidence.problems == ("compiled: 0 of 2 steps were replays",)
    facts = evidence.facts["compiled"]
    assert facts["cache"] == "FixedCache" and facts["captured"] == [[1, 1024]]
    assert facts["logit_error"] < 1e-5


def test_a_step_at_the_wrong_place_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fixtures.techniques import stepped

    technique = find_technique("compiled")
    model = build(technique)
    run = stepped.Step.run
    monkeypatch.setattr(
        stepped.Step, "run", lambda step, token, length: run(step, token, length - 1)
    )
    problems = technique.evidence(model, run_of(model)).problems
    assert any("logits are off by" in problem for problem in problems)


def test_a_prompt_that_is_wrong_when_it_comes_again_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fixtures.techniques.prompt import Prompt

    technique = find_technique("compiled")
    model = build(technique)
    run, seen = Prompt.run, []

    def run_stale(prompt: Prompt, ids: Any) -> Any:
        seen.append(ids)
        return run(prompt, ids if len(seen) == 1 else ids.flip(1))

    monkeypatch.setattr(Prompt, "run", run_stale)
    problems = technique.evidence(model, run_of(model)).problems
    assert any("logits are off by" in problem for problem in problems)


def test_weights_by_output_keep_their_shape_and_are_saved_as_they_were(
    build: Callable[..., Any], tmp_path: Path
) -> None:
    from safetensors.torch import load_file
    from transformers.pytorch_utils import Conv1D

    states = []
    for name in ("fp32", "compiled"):
        technique = find_technique(name)
        model = build(technique)
        technique.save(model, tmp_path / name)
        states.append(load_file(tmp_path / name / "model.safetensors"))
    layers = [layer for layer in model.modules() if isinstance(layer, Conv1D)]
    assert layers
    for layer in layers:
        assert layer.weight.shape == (layer.nx, layer.nf)
        assert layer.weight.stride() == (1, layer.nx)
    own, turned = states
    assert own.keys() == turned.keys()
    assert all(turned[name].equal(tensor) for name, tensor in own.items())


def test_a_model_left_as_it_was_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("fp32"))
    problems = find_technique("compiled").evidence(model, run_of(model)).problems
    assert problems == ("compiled: the model runs its own forward",)


def test_a_model_is_let_go_of_by_the_code_that_was_compiled_for_it() -> None:
    import torch

    technique = find_technique("compiled+bf16")
    layer = torch.nn.Linear(4, 4)
    gone = weakref.ref(layer)

    def compile_for(model: torch.nn.Linear) -> Callable[..., Any]:
        # As a step does it: the backend holds what was compiled, and through it the model.
        def backend(traced: Any, _: Any) -> Any:
            return lambda *inputs: (model, traced.forward(*inputs))[1]

        return torch.compile(torch.nn.functional.linear, backend=backend)

    row = torch.ones(1, 4)
    assert torch.equal(compile_for(layer)(row, layer.weight), row @ layer.weight.T)
    del layer
    gc.collect()
    assert gone() is not None
    technique.release()
    gc.collect()
    assert gone() is None
