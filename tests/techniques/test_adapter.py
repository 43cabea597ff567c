from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fixtures.device import Device
from fixtures.models.registry import MODELS
from fixtures.models.spec import ModelSpec
from fixtures.models.weights import Weights, load_model
from fixtures.techniques.adapter import Adapter
from fixtures.techniques.adapter_files import (
    ADAPTER_FOLDER,
    load_adapter,
    load_adapter_beside,
    save_adapter,
)
from fixtures.techniques.adapter_layers import find_adapter_layers
from fixtures.techniques.adapter_methods import ADAPTER_METHODS, attach_adapter
from fixtures.techniques.adapter_proof import read_effect, read_merge_loss
from fixtures.techniques.adapter_source import SEEDED
from fixtures.techniques.base import Evidence
from fixtures.techniques.composed import Composed
from fixtures.techniques.registry import TECHNIQUES, find_technique

ADAPTERS = [name for name, found in TECHNIQUES.items() if found.part_on("adapter")]


@pytest.fixture
def adapt(build: Callable[..., Any], cpu: Device) -> Callable[..., tuple[Composed, Any]]:
    """A technique that knows its base, and a seeded model under it, its adapter random."""

    def adapt(name: str, key: str = "gpt2") -> tuple[Composed, Any]:
        technique = find_technique(name)
        weights = Weights(MODELS[key], "tiny", "seeded", None, "for a test")

        def load_base() -> Any:
            return load_model(weights, cpu, technique.loading(cpu))

        bound: Any = technique.bind(lambda method: replace(SEEDED, load_base=load_base))
        return bound, build(bound, key)

    return adapt


def inspect(technique: Composed, model: Any) -> Evidence:
    return technique.evidence(model, lambda: technique_run(model))


def technique_run(model: Any) -> Any:
    ids = torch.arange(3, 35)[None]
    inputs = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :5]
    with torch.no_grad():
        return model(**inputs)


@pytest.mark.parametrize("name", [*ADAPTERS, "lora+fp16", "lora+nf4", "lora+sdpa"])
def test_every_adapter_is_seen_to_be_on(
    name: str, adapt: Callable[..., tuple[Composed, Any]]
) -> None:
    technique, model = adapt(name)
    evidence = inspect(technique, model)
    assert evidence.problems == ()
    merged = "merged" in name
    facts = evidence.facts[name.split("+")[0]]
    assert facts["layers_left" if merged else "layers"] == (0 if merged else facts["eligible"])
    assert facts["logit_change_rms"] > 0


@pytest.mark.parametrize("key", ["t5-small", "gpt-neo-1.3b", "gemma-2b", "small-gpt"])
@pytest.mark.parametrize("name", ["lora", "ia3", "lora-merged"])
def test_adapters_are_seen_to_be_on_in_every_architecture(
    name: str, key: str, adapt: Callable[..., tuple[Composed, Any]]
) -> None:
    assert inspect(*adapt(name, key)).problems == ()


# --- planted: each once ---------------------------------------------------------------------


def test_adapter_left_untrained_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]], build: Callable[..., Any], gpt2: ModelSpec
) -> None:
    technique, _ = adapt("lora")
    method = ADAPTER_METHODS["lora"]
    model = attach_adapter(build(find_technique("fp32")), gpt2, method, 0).eval()
    assert inspect(technique, model).problems == (
        "lora: 8 of 8 adapters are as they began, so never trained; the first,"
        " transformer.h.0.attn.c_attn",
        "lora: the logits are those of the base, to the bit",
    )


def test_ia3_left_untrained_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]], build: Callable[..., Any], gpt2: ModelSpec
) -> None:
    technique, _ = adapt("ia3")
    model = attach_adapter(build(find_technique("fp32")), gpt2, ADAPTER_METHODS["ia3"], 0)
    first, second = inspect(technique, model.eval()).problems
    assert first.startswith("ia3: 4 of 4 adapters are as they began, so never trained; the first,")
    assert second == "ia3: the logits are those of the base, to the bit"


def test_adapter_that_is_not_attached_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]], build: Callable[..., Any]
) -> None:
    technique, _ = adapt("lora")
    assert inspect(technique, build(find_technique("fp32"))).problems == (
        "lora: 0 of 8 layers have an adapter; the first without, transformer.h.0.attn.c_attn",
    )


def test_one_layer_without_its_adapter_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]],
) -> None:
    technique, model = adapt("lora")
    inner = model.get_base_model()
    name = "transformer.h.1.mlp.c_fc"
    inner.set_submodule(name, inner.get_submodule(name).get_base_layer())
    assert inspect(technique, model).problems == (
        f"lora: 7 of 8 layers have an adapter; the first without, {name}",
    )


def test_one_adapter_whose_second_matrix_is_zero_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]],
) -> None:
    technique, model = adapt("lora")
    find_adapter_layers(model)["transformer.h.1.mlp.c_fc"].lora_B["default"].weight.data.zero_()
    assert inspect(technique, model).problems == (
        "lora: 1 of 8 adapters are as they began, so never trained; the first,"
        " transformer.h.1.mlp.c_fc",
    )


def test_adapter_that_is_switched_off_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]],
) -> None:
    technique, model = adapt("lora")
    model.base_model.disable_adapter_layers()
    problems = inspect(technique, model).problems
    assert problems[0].startswith("lora: 8 of 8 adapters are switched off; the first, ")


def test_adapter_of_another_rank_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]],
) -> None:
    technique, _ = adapt("lora")
    _, model = adapt("lora-heavy")
    (problem,) = inspect(technique, model).problems
    assert problem.startswith(f"lora: 8 of 8 adapters are not of rank {_rank('lora')}; the first, ")


def _rank(name: str) -> int | None:
    return ADAPTER_METHODS[name].rank


def test_adapter_merged_where_it_is_to_be_apart_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]],
) -> None:
    technique, model = adapt("lora")
    model.merge_adapter()
    problems = inspect(technique, model).problems
    assert problems[0].startswith("lora: 8 of 8 adapters are merged where they are to be apart;")


def test_merged_model_that_is_its_base_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]], build: Callable[..., Any]
) -> None:
    technique, _ = adapt("lora-merged")
    assert inspect(technique, build(find_technique("fp32"))).problems == (
        "lora-merged: merging lost 100.0% of what the adapter does to the logits; limit 0.1%",
    )


def test_merged_model_with_one_layer_off_by_a_percent_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]],
) -> None:
    technique, model = adapt("lora-merged")
    model.transformer.h[0].mlp.c_fc.weight.data *= 1.01
    (problem,) = inspect(technique, model).problems
    assert problem.startswith("lora-merged: merging lost ")
    assert problem.endswith("limit 0.1%")


def test_merged_technique_on_a_model_with_its_adapter_apart_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]],
) -> None:
    technique, _ = adapt("lora-merged")
    _, apart = adapt("lora")
    problems = inspect(technique, apart).problems
    assert problems == ("lora-merged: 8 adapters are still apart from their layers",)


def test_merged_model_without_a_base_to_compare_with_is_a_problem(
    adapt: Callable[..., tuple[Composed, Any]],
) -> None:
    _, model = adapt("lora-merged")
    (problem,) = inspect(find_technique("lora-merged"), model).problems
    assert problem == "lora-merged: there is no base to hold the merged model against"


# --- what it is -----------------------------------------------------------------------------


def test_merged_and_unmerged_logits_agree(adapt: Callable[..., tuple[Composed, Any]]) -> None:
    _, apart = adapt("lora", "small-gpt")
    _, merged = adapt("lora-merged", "small-gpt")
    logits = technique_run(apart).logits, technique_run(merged).logits
    assert (logits[0] - logits[1]).abs().max() < 1e-4


def test_share_of_an_effect_that_merging_loses_is_root_mean_square() -> None:
    base, adapted = torch.zeros(4), torch.tensor([3.0, 4.0, 0.0, 0.0])
    assert read_effect(base, adapted) == 2.5
    assert read_merge_loss(base, adapted, base) == 1
    assert read_merge_loss(base, adapted, adapted) == 0
    # Merged twice.
    assert read_merge_loss(base, adapted, 2 * adapted) == 1


@pytest.mark.parametrize("name", ["lora", "ia3", "qlora-nf4", "qlora-int8", "lora+fp16"])
def test_what_is_saved_is_the_base_and_beside_it_the_adapter(
    name: str, adapt: Callable[..., tuple[Composed, Any]], tmp_path: Path, run_of: Any
) -> None:
    from transformers import AutoModelForCausalLM

    technique, model = adapt(name)
    technique.save(model, tmp_path)
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert {f"{ADAPTER_FOLDER}/adapter_model.safetensors", "model.safetensors"} <= files
    assert not any("README" in file for file in files)
    state = load_file(tmp_path / "model.safetensors")
    assert not any("lora_" in key or "ia3_" in key or "base_layer" in key for key in state)
    # As it was, adapter on, once it is saved.
    assert find_adapter_layers(model)
    base = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=model.dtype, attn_implementation="eager"
    )
    again = load_adapter(base, tmp_path / ADAPTER_FOLDER).eval()
    assert torch.allclose(run_of(again)(), run_of(model)(), atol=2e-3)


def test_saved_adapter_is_the_same_wherever_its_base_lay(
    adapt: Callable[..., tuple[Composed, Any]], tmp_path: Path
) -> None:
    _, model = adapt("lora")
    for name, place in (("one", "/a/place"), ("two", "/another/longer/place")):
        model.get_base_model().name_or_path = place
        save_adapter(model, tmp_path / name)
    configs = [(tmp_path / name / "adapter_config.json").read_text() for name in ("one", "two")]
    assert configs[0] == configs[1]
    assert "place" not in configs[0]


def test_second_adapter_is_loaded_without_becoming_the_active_one(
    adapt: Callable[..., tuple[Composed, Any]], tmp_path: Path, run_of: Any
) -> None:
    _, model = adapt("lora")
    before = run_of(model)()
    save_adapter(model, tmp_path)
    for layer in find_adapter_layers(model).values():
        layer.lora_B["default"].weight.data *= 2
    changed = run_of(model)()
    load_adapter_beside(model, tmp_path, "other")
    assert torch.equal(run_of(model)(), changed)
    model.set_adapter("other")
    assert torch.equal(run_of(model)(), before)


def test_seeded_adapter_is_the_same_each_time(
    adapt: Callable[..., tuple[Composed, Any]], run_of: Any
) -> None:
    assert torch.equal(run_of(adapt("lora")[1])(), run_of(adapt("lora")[1])())


def test_adapters_have_the_dtype_of_what_they_go_on(
    adapt: Callable[..., tuple[Composed, Any]],
) -> None:
    # T5 keeps wo in fp32 under 16 bits.
    _, model = adapt("lora+fp16", "t5-small")
    for name, layer in find_adapter_layers(model).items():
        wanted = torch.float32 if name.endswith(".wo") else torch.float16
        assert layer.lora_A["default"].weight.dtype == wanted


def test_settings_tell_one_adapter_from_another(cpu: Device) -> None:
    settings = find_technique("lora+fp16").settings(cpu)
    assert settings["adapter"] == "lora"
    assert settings["adapter_base"] == "fp32"
    assert settings["adapter_weights"] == "seeded"
    assert settings["adapter_merged"] is False
    assert settings["dtype"] == "float16"
    qlora = find_technique("qlora-nf4").settings(cpu)
    assert (qlora["adapter_base"], qlora["quantisation"]) == ("nf4-dq", "nf4")
    assert qlora["double_quant"] is True
    distinct = {
        tuple(sorted(map(str, find_technique(name).settings(cpu).items()))) for name in ADAPTERS
    }
    assert len(distinct) == len(ADAPTERS)


def test_hybrid_is_the_adapter_of_a_base_that_is_quantised_afterwards() -> None:
    hybrid, qlora = find_technique("lora+nf4-dq"), find_technique("qlora-nf4")
    assert hybrid != qlora
    adapter: Any = hybrid.part_on("adapter")
    assert isinstance(adapter, Adapter)
    assert adapter.method.base == "fp32"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("lora+int8-dynamic", "int8-dynamic leaves no layer that an adapter can be attached to"),
        ("lora-merged+pruned-50", "merging fills the zeros of pruned-50"),
    ],
)
def test_what_an_adapter_cannot_be_composed_with_says_why(
    name: str, sentence: str, cpu: Device, gpt2: ModelSpec
) -> None:
    assert find_technique(name).unsupported(gpt2, cpu) == sentence


def test_adapter_on_a_pruned_base_leaves_its_zeros(
    adapt: Callable[..., tuple[Composed, Any]],
) -> None:
    technique, model = adapt("lora+pruned-50")
    evidence = inspect(technique, model)
    assert evidence.problems == ()
    assert evidence.facts["pruned-50"]["layers"] == 8


def test_architecture_without_known_layers_is_a_reason_not_to_run(
    cpu: Device, gpt2: ModelSpec
) -> None:
    from transformers import OPTConfig

    spec = replace(gpt2, key="mine", build_config=lambda scale: OPTConfig())
    reason = find_technique("lora").unsupported(spec, cpu)
    known = "gpt2, gpt_neo, gemma, t5, small_gpt"
    assert reason == f"lora knows the layers of {known} alone, and this is opt"
