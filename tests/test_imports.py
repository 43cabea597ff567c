from __future__ import annotations

import ast
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"

GROUND = {"stats", "units", "device", "workloads", "shards", "wrappers"}
# What each part may import beside itself, a module of another part where only that is meant.
FLOORS = {
    **{part: GROUND for part in GROUND},
    "corpus": GROUND,
    "models": GROUND | {"corpus"},
    "techniques": GROUND | {"models.spec", "models.derived"},
    "measurement": GROUND,
    "accuracy": GROUND | {"corpus.articles"},
    "regression": GROUND,
    "reporting": GROUND | {"regression"},
    "adapters": GROUND | {"corpus", "models", "techniques", "measurement.memory"},
    "adaptation": GROUND
    | {"corpus", "models", "techniques", "adapters", "accuracy", "variants", "measurement.memory"},
    "variants": GROUND | {"models", "techniques", "adapters"},
    "matrix": GROUND | {"models", "techniques", "variants"},
    "cells": GROUND | {"models", "variants"},
    "training": GROUND
    | {"corpus", "models", "techniques", "measurement", "variants", "matrix", "cells"},
    "parallelism": GROUND | {"corpus", "models", "measurement", "matrix", "cells"},
    "decode_rounds": GROUND | {"techniques", "variants"},
    "footprint": GROUND | {"measurement", "variants"},
    "utilisation": GROUND | {"measurement", "variants"},
    "plants": GROUND | {"models.spec", "techniques", "variants", "footprint", "measurement.clock"},
    "upgrading": GROUND
    | {"corpus", "techniques", "variants", "matrix", "footprint", "plants"}
    | {"measurement", "accuracy", "regression", "reporting"},
}
# What `python -m` runs trains, then scores what it trained; other modules may not import it.
COMMANDS = {FIXTURES / f"models/{name}.py" for name in ("train", "distil", "prune", "examination")}
ABOVE_MODELS = {"fixtures.accuracy", "fixtures.techniques.pruned"}

HEAVY = {
    "accelerate",
    "bitsandbytes",
    "datasets",
    "evaluate",
    "peft",
    "pynvml",
    "rouge_score",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
    "triton",
}
# A class of layers, a cache, a metric and a kernel cannot be written without the library that they
# are made for. These modules are loaded by functions alone.
EAGER = {
    "fixtures.accuracy.metrics.rouge_local.rouge_local",
    "fixtures.models.modeling_small_gpt",
    "fixtures.techniques.attend_kernel",
    "fixtures.techniques.fixed_cache",
}


PARTS = sorted(
    {path.stem for path in FIXTURES.iterdir() if path.suffix == ".py" or path.is_dir()}
    - {"__init__", "__pycache__", "plugins"}
)


def modules(part):
    folder = FIXTURES / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def names_of(statement):
    """Absolute names of the modules that an import statement may load."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        assert statement.level == 0, ast.unparse(statement)
        return [f"{statement.module}.{alias.name}" for alias in statement.names]
    return []


def all_imports(file):
    """Imports anywhere in a file, inside functions and for types too."""
    tree = ast.parse(file.read_text())
    return {name for statement in ast.walk(tree) for name in names_of(statement)}


def imports_on_loading(file):
    """Imports that run when the module is loaded."""
    waiting, found = [ast.parse(file.read_text())], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        found.update(names_of(node))
        waiting += ast.iter_child_nodes(node)
    return found


def is_within(name, allowed):
    return any(name == part or name.startswith(f"{part}.") for part in allowed)


def test_every_part_has_a_floor():
    assert set(PARTS) <= FLOORS.keys()


@pytest.mark.parametrize("part", PARTS)
def test_part_imports_only_what_is_below_it(part):
    above = {
        f"{file.relative_to(FIXTURES)} imports {name}"
        for file in modules(part)
        for name in all_imports(file)
        if name.startswith("fixtures.")
        and not is_within(name.removeprefix("fixtures."), FLOORS[part] | {part})
        and not (file in COMMANDS and is_within(name, ABOVE_MODELS))
    }
    assert not above


def test_commands_are_imported_by_no_other_module():
    importers = [
        file
        for file in set(FIXTURES.rglob("*.py")) - COMMANDS
        if any(is_within(name, set(map(module_name, COMMANDS))) for name in all_imports(file))
    ]
    assert not importers


@pytest.mark.parametrize("part", PARTS)
def test_nothing_below_the_plugins_imports_pytest(part):
    pytest_users = {
        file.name
        for file in modules(part)
        if any(
            is_within(name, {"pytest", "_pytest", "pytest_benchmark", "xdist"})
            for name in all_imports(file)
        )
    }
    assert not pytest_users


def module_name(file):
    return ".".join(file.relative_to(FIXTURES.parent).with_suffix("").parts)


@pytest.mark.parametrize("part", [*PARTS, "plugins"])
def test_loading_a_module_loads_no_machine_learning_library(part):
    eager = {
        f"{file.relative_to(FIXTURES)} imports {name}"
        for file in modules(part)
        if module_name(file) not in EAGER
        for name in imports_on_loading(file)
        if is_within(name, HEAVY | EAGER)
    }
    assert not eager


def test_an_import_that_runs_on_loading_is_told_from_one_that_waits(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "import torch.nn as nn\n"
        "if TYPE_CHECKING:\n    import peft\nelse:\n    import evaluate\n"
        "try:\n    from transformers import utils\nexcept ImportError:\n    pass\n"
        "class Model:\n    import accelerate\n    def load(self):\n        import datasets\n"
    )
    found = imports_on_loading(file)
    assert found == {
        "typing.TYPE_CHECKING",
        "torch.nn",
        "evaluate",
        "transformers.utils",
        "accelerate",
    }
    assert all_imports(file) - found == {"peft", "datasets"}
