from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.device import Device
from fixtures.models.spec import ModelSpec
from fixtures.techniques.int8_dynamic import convert_conv1d
from fixtures.techniques.registry import find_technique

TECHNIQUE = find_technique("int8-dynamic")


@pytest.mark.parametrize(
    ("key", "count"),
    [
        ("gpt2", 2 * 4 + 1),  # with the head
        ("t5-small", 2 * 6 + 2 * 10 + 1),
        ("gpt-neo-1.3b", 2 * 6 + 1),
        ("gemma-2b", 2 * 7 + 1),
        ("small-gpt", 4 * 6 + 1),
    ],
)
def test_every_linear_layer_is_quantised(
    key: str, count: int, build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(TECHNIQUE, key)
    evidence = TECHNIQUE.evidence(model, run_of(model))
    assert evidence.problems == ()
    assert evidence.facts["int8-dynamic"] == {"layers": count, "eligible": count, "left": []}


def test_conv1d_passed_over_is_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("fp32"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # PyTorch's own function as a reader of its tutorial calls it.
        torch.ao.quantization.quantize_dynamic(
            model, {torch.nn.Linear}, dtype=torch.qint8, inplace=True
        )
    problems = TECHNIQUE.evidence(model, run_of(model)).problems
    assert problems == (
        "int8-dynamic: 1 of 9 linear layers are quantised;"
        " the first that is not, transformer.h.0.attn.c_attn, is Conv1D",
    )


def test_weights_stored_in_16_bits_are_a_problem(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("fp32"), "small-gpt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.ao.quantization.quantize_dynamic(
            model, {torch.nn.Linear}, dtype=torch.float16, inplace=True
        )
    problems = TECHNIQUE.evidence(model, run_of(model)).problems
    assert len(problems) == 1 and "where qint8 was asked" in problems[0]


def test_converted_layers_compute_the_same(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    model = build(find_technique("fp32"))
    before = run_of(model)()
    convert_conv1d(model)
    assert type(model.transformer.h[0].mlp.c_fc) is torch.nn.Linear
    torch.testing.assert_close(run_of(model)(), before, atol=1e-5, rtol=0)


def test_seeded_weights_are_not_written_to(
    build: Callable[..., Any], run_of: Callable[..., Any]
) -> None:
    before = run_of(build(find_technique("fp32")))()
    build(TECHNIQUE)
    assert torch.equal(run_of(build(find_technique("fp32")))(), before)


def test_only_the_known_deprecations_are_silenced(build: Callable[..., Any]) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        build(TECHNIQUE)
        warnings.warn("something else", DeprecationWarning, stacklevel=1)
    assert not [w for w in seen if "quant" in str(w.message)]
    assert any("something else" in str(w.message) for w in seen)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_saved_state_is_read_back_into_a_quantised_model(
    build: Callable[..., Any], run_of: Callable[..., Any], tmp_path: Path
) -> None:
    model = build(TECHNIQUE)
    folder = tmp_path / "saved"
    TECHNIQUE.save(model, folder)
    other = build(TECHNIQUE, dtype=torch.float32)
    state = torch.load(folder / "model.pt", weights_only=False)
    for tensor in other.parameters():
        tensor.data.zero_()
    other.load_state_dict(state)
    assert torch.equal(run_of(other)(), run_of(model)())
    assert (folder / "config.json").is_file()


def test_a_gpu_has_no_kernels_for_it(gpt2: ModelSpec, h100: Device) -> None:
    reason = TECHNIQUE.unsupported(gpt2, h100)
    assert reason == "int8-dynamic has CPU kernels only, and the device is H100"


def test_it_takes_fp32_only(gpt2: ModelSpec, cpu: Device) -> None:
    assert TECHNIQUE.unsupported(gpt2, cpu) is None
    reason = find_technique("int8-dynamic+bf16").unsupported(gpt2, cpu)
    assert reason == "int8-dynamic quantises fp32 input only, and bfloat16 was asked"


def test_generation_runs_on_an_encoder_decoder(build: Callable[..., Any]) -> None:
    model = build(TECHNIQUE, "t5-small")
    ids = torch.arange(3, 35).reshape(2, 16)
    tokens = model.generate(input_ids=ids, min_new_tokens=3, max_new_tokens=3, do_sample=False)
    assert tokens.shape == (2, 1 + 3)  # the decoder's start token comes first
