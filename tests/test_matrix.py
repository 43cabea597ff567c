from __future__ import annotations

import json
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.matrix import (
    Selection,
    build_matrix,
    choose_workloads,
    find_adapter_part,
    is_generated,
    is_loaded,
    is_metered,
    is_scored,
    is_stored,
    is_swapped,
)
from fixtures.models.registry import MODELS, UnknownModel
from fixtures.techniques.registry import (
    TECHNIQUES,
    IncompatibleTechniques,
    UnknownTechnique,
    find_technique,
)
from fixtures.variants import Variant
from fixtures.workloads import Workload

FP32 = find_technique("fp32")


@pytest.fixture
def select():
    def select(models=None, techniques=None, scale=None, weights="auto", given=(), workloads=()):
        return Selection.parse(models, techniques, scale, weights, given, workloads)

    return select


def ids(selection, tier):
    return [variant.id for variant in build_matrix(selection, tier)]


def test_cpu_tier_covers_every_tiny_model_and_technique(select):
    names = ids(select(), "cpu")
    # The techniques that the design gives a CPU; eager is how the reference runs already.
    techniques = (
        "fp32 fp16 bf16 int8 int8-t0 nf4 nf4-dq fp4 int8-dynamic sdpa flash pruned-30 pruned-50"
        " distilled pruned-50-tuned"
        " lora lora-heavy lora-merged ia3 lora+fp16 lora+nf4"
        " qlora-nf4 qlora-nf4-merged qlora-int8"
    )
    tiny = {f"tiny-{key}-{name}" for key in MODELS for name in techniques.split()}
    assert {name for name in names if name.startswith("tiny-")} == tiny


def test_cpu_tier_measures_three_published_shapes_and_none_in_fp16(select):
    published = {name for name in ids(select(), "cpu") if not name.startswith("tiny-")}
    assert published == {
        f"{key}-{technique}"
        for key in ("gpt2", "t5-small", "small-gpt")
        for technique in ("fp32", "bf16", "int8", "nf4", "int8-dynamic")
    }


def test_slow_cell_is_measured_where_it_is_asked_for(select):
    chosen = select(models="gemma-2b", techniques="fp16", scale="published")
    assert ids(chosen, "cpu") == ["gemma-2b-fp16"]


def test_gpu_tier_leaves_out_only_what_a_gpu_or_another_cell_already_covers(select):
    parts = {part for name in ids(select(), "gpu") for part in find_parts(name)}
    # Nobody made a student, or tuned weights, of a published shape.
    unmade = {"distilled", "pruned-50-tuned"}
    # Of the adapters one of each way of running is enough there.
    adapters = {"lora-heavy", "ia3", "qlora-nf4-merged", "qlora-int8"}
    assert set(TECHNIQUES) - parts == {"eager", "int8-dynamic"} | unmade | adapters


def find_parts(variant_id):
    """Names of the techniques behind a variant's id, longest first: int8-t0 is not int8."""
    end = variant_id.split("+")
    known = sorted(TECHNIQUES, key=len, reverse=True)
    return {next(name for name in known if part.endswith(name)) for part in end}


def test_gpu_tier_shows_what_no_gpu_can_capture(select):
    shown = {name for name in ids(select(), "gpu") if name.endswith("-int8+compiled")}
    assert shown == {f"{key}-int8+compiled" for key in MODELS}


def test_gpu_tier_covers_every_published_model(select):
    variants = build_matrix(select(), "gpu")
    assert {variant.scale for variant in variants} == {"published"}
    assert {variant.spec.key for variant in variants} == set(MODELS)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("tiny", ["tiny-gpt2-nf4"]),
        ("published", ["gpt2-nf4"]),
        ("all", ["tiny-gpt2-nf4", "gpt2-nf4"]),
        (None, ["tiny-gpt2-nf4", "gpt2-nf4"]),
    ],
)
def test_scale_selects_shapes(select, scale, expected):
    assert ids(select(models="gpt2", techniques="nf4", scale=scale), "cpu") == expected


def test_names_are_taken_in_the_order_given_with_spaces_and_a_last_comma(select):
    chosen = select(models="t5-small, gpt2,", techniques="nf4+flash ,fp32", scale="tiny")
    assert ids(chosen, "cpu") == [
        "tiny-t5-small-nf4+flash",
        "tiny-t5-small-fp32",
        "tiny-gpt2-nf4+flash",
        "tiny-gpt2-fp32",
    ]


def test_a_composition_is_filed_under_one_name_in_whichever_order_it_is_typed(select):
    chosen = select(models="gpt2", techniques="flash+nf4,nf4+flash,bf16+compiled", scale="tiny")
    assert ids(chosen, "gpu") == ["tiny-gpt2-nf4+flash", "tiny-gpt2-compiled+bf16"]


@given(st.sampled_from(["tiny", "published", "all", None]), st.sampled_from(["cpu", "gpu"]))
@settings(deadline=None)
def test_reference_comes_first_of_each_model(scale, tier):
    variants = build_matrix(Selection.parse(None, None, scale, "auto", (), ()), tier)
    runs = [list(group) for _, group in groupby(variants, key=lambda variant: variant.model_id)]
    assert len(runs) == len({variant.model_id for variant in variants})
    assert all(run[0].is_reference for run in runs)


def test_weights_are_those_of_published_shapes_alone(select):
    variants = build_matrix(select(models="gpt2", techniques="fp32", weights="hub"), "cpu")
    assert [(variant.scale, variant.weights) for variant in variants] == [
        ("tiny", "auto"),
        ("published", "hub"),
    ]


@pytest.mark.parametrize(
    ("scale", "weights", "tier", "scored"),
    [
        ("tiny", "auto", "cpu", True),
        ("published", "auto", "cpu", False),
        ("published", "seeded", "cpu", False),
        ("published", "hub", "cpu", True),
        ("published", "auto", "gpu", True),
        ("published", "seeded", "gpu", False),
    ],
)
def test_accuracy_is_scored_where_weights_know_a_language_and_time_allows(
    select, scale, weights, tier, scored
):
    chosen = select(models="gpt2", techniques="nf4", scale=scale, weights=weights)
    (variant,) = build_matrix(chosen, tier)
    assert is_scored(variant, tier) is scored
    adapted = select(models="gpt2", techniques="qlora-nf4", scale=scale, weights=weights)
    (variant,) = build_matrix(adapted, tier)
    assert is_scored(variant, tier, adapted=True) is scored


def test_adapter_is_scored_on_the_domain_it_was_trained_for_and_nothing_else_is(select):
    variants = build_matrix(select(models="gpt2", scale="tiny"), "cpu")
    adapted = {v.technique.name for v in variants if is_scored(v, "cpu", adapted=True)}
    others = {v.technique.name for v in variants if is_scored(v, "cpu")}
    assert adapted == {v.technique.name for v in variants if find_adapter_part(v)}
    assert len(adapted) == 9
    assert others.isdisjoint(adapted)
    assert len(others) + len(adapted) == len(variants)


def test_adapters_are_swapped_once_a_kind_and_never_where_they_are_merged(select):
    whole = select(models="gpt2", scale="tiny")
    swapped = {v.technique.name for v in build_matrix(whole, "cpu") if is_swapped(whole, v, "cpu")}
    assert swapped == {"lora", "lora-heavy", "ia3", "qlora-nf4", "qlora-int8"}
    on_gpu = select(models="gpt2")
    assert sum(is_swapped(on_gpu, v, "gpu") for v in build_matrix(on_gpu, "gpu")) == 2
    asked = select(models="gpt2", techniques="lora+nf4,lora-merged,nf4", scale="tiny")
    variants = build_matrix(asked, "cpu")
    assert [is_swapped(asked, v, "cpu") for v in variants] == [True, False, False]


def test_adapter_is_loaded_with_its_base_and_generates_only_where_it_is_asked_for(select):
    whole = select(models="gpt2", scale="tiny")
    for variant in build_matrix(whole, "cpu"):
        has_none = find_adapter_part(variant) is None
        assert is_loaded(whole, variant, "cpu") is has_none
        assert is_generated(whole, variant, "cpu") is has_none
    asked = select(models="gpt2", techniques="lora", scale="tiny")
    (variant,) = build_matrix(asked, "cpu")
    assert is_loaded(asked, variant, "cpu")
    assert is_generated(asked, variant, "cpu")


def test_workloads_of_the_command_line_replace_those_of_the_tier(select):
    mine = (Workload(2, 16, 8),)
    tiny, published = (Variant(MODELS["gpt2"], FP32, s, "auto") for s in ("tiny", "published"))
    assert choose_workloads(select(workloads=mine), "cpu", tiny) == mine
    assert choose_workloads(select(), "gpu", published) == (
        Workload(1, 512, 64),
        Workload(8, 512, 64),
    )


def test_a_model_of_short_rows_gets_shorter_prompts_unless_others_are_asked_for(select):
    small = Variant(MODELS["small-gpt"], FP32, "published", "auto")
    assert choose_workloads(select(), "gpu", small) == (
        Workload(1, 448, 64),
        Workload(8, 448, 64),
    )
    assert choose_workloads(select(), "gpu", small, "generate") == (Workload(1, 496, 16),)
    assert choose_workloads(select(), "cpu", small) == (Workload(1, 128, 8),)
    mine = (Workload(1, 512, 64),)
    assert choose_workloads(select(workloads=mine), "gpu", small) == mine


def test_gpu_generates_fewer_tokens_and_meters_one_row(select):
    tiny, published = (Variant(MODELS["gpt2"], FP32, s, "auto") for s in ("tiny", "published"))
    chosen = {
        phase: choose_workloads(select(), "gpu", published, phase)
        for phase in ("generate", "energy")
    }
    assert chosen == {"generate": (Workload(1, 512, 16),), "energy": (Workload(1, 512, 64),)}
    mine = (Workload(2, 16, 8),)
    assert choose_workloads(select(workloads=mine), "gpu", published, "energy") == mine
    assert choose_workloads(select(), "cpu", tiny, "generate") == (Workload(1, 64, 16),)


def test_gpu_times_the_load_of_what_loads_in_its_own_way(select):
    def loaded(selection, tier):
        matrix = build_matrix(selection, tier)
        return [v.technique.name for v in matrix if is_loaded(selection, v, tier)]

    assert loaded(select(models="gpt2"), "gpu") == ["fp32", "bf16", "int8", "nf4"]
    assert loaded(select(models="gemma-2b"), "gpu") == ["nf4"]
    assert loaded(select(models="gemma-2b", techniques="bf16"), "gpu") == ["bf16"]
    assert loaded(select(models="gpt2", techniques="nf4+flash"), "gpu") == ["nf4+flash"]
    assert "flash" in loaded(select(models="gpt2", scale="tiny"), "cpu")


def test_cpu_times_a_published_load_in_the_reference_and_the_costliest_of_a_small_one(select):
    def loaded(model):
        matrix = build_matrix(select(models=model, scale="published"), "cpu")
        return [v.technique.name for v in matrix if is_loaded(select(models=model), v, "cpu")]

    assert loaded("gpt2") == ["fp32"]
    assert loaded("small-gpt") == ["fp32", "nf4"]


def test_gpu_writes_a_large_model_once_for_all_that_lie_on_disk_alike(select):
    def stored(selection, tier):
        matrix = build_matrix(selection, tier)
        return [v.technique.name for v in matrix if is_stored(selection, v, tier)]

    large, small = select(models="gemma-2b"), select(models="gpt2")
    assert stored(large, "gpu") == ["fp32", "bf16", "int8", "nf4", "nf4-dq"]
    assert len(stored(small, "gpu")) == len(build_matrix(small, "gpu"))
    assert stored(select(models="gemma-2b", techniques="tf32"), "gpu") == ["tf32"]
    assert len(stored(large, "cpu")) == len(build_matrix(large, "cpu"))


def test_gpu_generates_with_what_differs_in_more_than_its_steps(select):
    whole = select(models="gpt2")
    generated = [
        variant.technique.name
        for variant in build_matrix(whole, "gpu")
        if is_generated(whole, variant, "gpu")
    ]
    assert generated == ["fp32", "compiled+bf16", "nf4+compiled"]


def test_gpu_meters_what_runs_kernels_of_its_own(select):
    def metered(selection):
        return [
            v.technique.name for v in build_matrix(selection, "gpu") if is_metered(selection, v)
        ]

    own = ["fp32", "tf32", "bf16", "flash+bf16", "compiled+bf16", "int8", "nf4", "nf4+compiled"]
    assert metered(select(models="gemma-2b")) == [*own, "pruned-2of4"]
    # In eager steps of a smaller one a GPU mostly waits.
    assert metered(select(models="gpt2")) == ["fp32", "bf16", "compiled+bf16", "nf4+compiled"]
    assert metered(select(models="gpt2", techniques="fp4,sdpa+bf16")) == ["fp4", "sdpa+bf16"]


def test_cpu_loads_two_forms_of_a_published_shape_and_generates_with_none(select):
    whole = select(models="t5-small", scale="published")
    variants = build_matrix(whole, "cpu")
    loaded = [v.technique.name for v in variants if is_loaded(whole, v, "cpu")]
    assert loaded == ["fp32", "nf4"]
    assert not any(is_generated(whole, variant, "cpu") for variant in variants)
    asked = select(models="t5-small", techniques="bf16", scale="published")
    (variant,) = build_matrix(asked, "cpu")
    assert is_loaded(asked, variant, "cpu")
    assert is_generated(asked, variant, "cpu")


@pytest.fixture
def folder(tmp_path):
    def folder(name):
        made = tmp_path / name
        made.mkdir(parents=True)
        (made / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
        return str(made)

    return folder


def test_model_of_the_user_is_the_whole_matrix_or_an_addition_to_a_named_one(select, folder):
    mine = (folder("Mine 2"),)
    assert ids(select(techniques="nf4", given=mine), "cpu") == ["mine-2-nf4"]
    both = select(models="gpt2", techniques="nf4", scale="tiny", given=mine)
    assert ids(both, "cpu") == ["tiny-gpt2-nf4", "mine-2-nf4"]


def test_two_models_of_one_name_are_refused(select, folder):
    given = (folder("a/mine"), folder("b/mine"))
    with pytest.raises(ValueError, match=r"^two models would both be called mine-fp32; rename"):
        build_matrix(select(techniques="fp32", given=given), "cpu")


@pytest.mark.parametrize(
    ("choice", "error", "sentence"),
    [
        ({"models": "gpt3"}, UnknownModel, "^unknown model 'gpt3'; known models: gpt2, "),
        ({"techniques": "fp32,nf"}, UnknownTechnique, "^unknown technique 'nf'; known .*: nf4, "),
        ({"techniques": "bf16+fp16"}, IncompatibleTechniques, "are both precision"),
        ({"models": " , "}, ValueError, "^--models is empty; leave it out to run them all$"),
        ({"models": "gpt2,gpt2"}, ValueError, "^--models names gpt2 twice$"),
        ({"techniques": ""}, ValueError, "^--techniques is empty; leave it out to run them all$"),
    ],
)
def test_selection_of_what_there_is_not_is_refused(select, choice, error, sentence):
    with pytest.raises(error, match=sentence):
        select(**choice)


def test_what_narrows_the_matrix_is_named(select):
    assert select().left_out() == []
    narrowed = select(models="gpt2", techniques="nf4", workloads=(Workload(1, 8, 4),))
    assert narrowed.left_out() == [
        "--models was given",
        "--techniques was given",
        "--workloads was given",
    ]
