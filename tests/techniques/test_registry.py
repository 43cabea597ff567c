from __future__ import annotations

import subprocess
import sys

import pytest

from fixtures.techniques.registry import (
    TECHNIQUES,
    IncompatibleTechniques,
    UnknownTechnique,
    find_technique,
)


def test_the_designed_techniques_are_all_there() -> None:
    designed = "fp32 fp16 bf16 int8 int8-t0 nf4 nf4-dq fp4 int8-dynamic eager sdpa flash"
    designed += " pruned-30 pruned-50 pruned-2of4 compiled tf32"
    assert {*designed.split()} <= {*TECHNIQUES}


@pytest.mark.parametrize("name", [*TECHNIQUES])
def test_a_technique_is_found_by_its_own_name(name: str) -> None:
    found = find_technique(name)
    assert found == TECHNIQUES[name]
    # QLoRA is two parts: the base quantised as it was while the adapter was trained.
    base = {"qlora-nf4": "nf4-dq+", "qlora-nf4-merged": "nf4-dq+", "qlora-int8": "int8+"}
    assert found.name == name
    assert found.canonical_name == base.get(name, "") + name
    assert found.summary


def test_unknown_name_lists_the_known_ones_nearest_first() -> None:
    with pytest.raises(UnknownTechnique, match=r"unknown technique 'nf5'; known techniques: nf4,"):
        find_technique("nf5")


def test_unknown_part_of_a_composition_is_named() -> None:
    with pytest.raises(UnknownTechnique, match="unknown technique ''"):
        find_technique("nf4+")


@pytest.mark.parametrize(
    ("name", "axis"),
    [("nf4+int8", "quantisation"), ("fp16+bf16", "precision"), ("sdpa+nf4+flash", "attention")],
)
def test_two_techniques_of_one_axis_conflict(name: str, axis: str) -> None:
    with pytest.raises(IncompatibleTechniques, match=rf"are both {axis}; name one of them"):
        find_technique(name)


def test_pruning_cannot_be_composed_with_packed_weights() -> None:
    with pytest.raises(IncompatibleTechniques, match="nf4 and pruned-50 cannot be on at once"):
        find_technique("pruned-50+nf4")


def test_spelling_is_kept_and_equal_sets_are_equal() -> None:
    one, other = find_technique("flash+nf4+fp16"), find_technique("fp16+nf4+flash")
    assert one.name == "flash+nf4+fp16"
    assert one.canonical_name == other.canonical_name == "fp16+nf4+flash"
    assert one == other and hash(one) == hash(other)
    assert one != find_technique("nf4+fp16")


def test_listing_techniques_loads_no_library() -> None:
    program = (
        "import sys; from fixtures.techniques.registry import find_technique;"
        "find_technique('nf4+flash');"
        "print({'torch', 'transformers', 'bitsandbytes', 'numpy', 'pytest'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
