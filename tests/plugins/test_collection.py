from __future__ import annotations

import os
import subprocess
import sys
from statistics import median

import pytest

COLLECT = ("-p", "no:cacheprovider", "--collect-only", "-q")
HEAVY = {
    "accelerate",
    "bitsandbytes",
    "datasets",
    "evaluate",
    "peft",
    "pynvml",
    "rouge_score",
    "torch",
    "transformers",
}
# The bar, in CPU seconds: unlike wall seconds, they do not grow with what else the cores do.
MOST_EXTRA_S = 0.7
REPEATS = 3


@pytest.fixture(scope="module")
def loaded(shared_checkout):
    """Modules loaded after the whole matrix was collected."""
    ask = f"import pytest, sys; assert pytest.main({[*COLLECT, 'perf_tests']}) == 0; "
    finished = subprocess.run(
        [sys.executable, "-c", ask + "print(*sys.modules, sep=',')"],
        cwd=shared_checkout.root,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(finished.stdout.splitlines()[-1].split(","))


def test_collecting_loads_no_machine_learning_library(loaded):
    assert "fixtures.plugins.scoring" in loaded  # the suite's own plugins were there
    assert not HEAVY & loaded


def cpu_seconds(folder, environment):
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *COLLECT],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_collecting_costs_little_more_than_an_empty_file(shared_checkout, tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_empty.py").write_text("def test_nothing(): pass\n")
    # Compiled once and kept, as for a user's second run, whatever this process was told.
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    } | {"PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    folders = (shared_checkout.root, tmp_path)
    for folder in folders:
        cpu_seconds(folder, environment)
    rounds = [[cpu_seconds(folder, environment) for folder in folders] for _ in range(REPEATS)]
    suite, empty = map(median, zip(*rounds, strict=True))
    assert suite - empty < MOST_EXTRA_S


def test_every_measuring_test_carries_its_tier(shared_checkout):
    everything = shared_checkout.collect("perf_tests")
    here = shared_checkout.collect("-m", "cpu or gpu", "perf_tests")
    assert here == everything


def test_variants_follow_each_other_model_by_model(shared_checkout):
    names = shared_checkout.collect("--models", "gpt2,t5-small", "--scale", "tiny")
    order = [name.partition("[tiny-")[2].removesuffix("]").split("-b1-")[0] for name in names]
    changes = [new for old, new in zip([None, *order], order, strict=False) if new != old]
    assert len(changes) == len(set(order))  # none is left and come back to: each is built once
    assert changes[0] == "gpt2-fp32"
    assert changes.index("t5-small-fp32") == len([name for name in changes if "gpt2" in name])


def test_storage_is_read_before_anything_ran_on_a_variant(shared_checkout):
    names = shared_checkout.collect("--models", "gpt2", "--scale", "tiny", "--techniques", "nf4")
    assert names[0] == "test_storage_holds_size[tiny-gpt2-nf4]"


def test_what_is_compiled_is_scored_behind_all_else(shared_checkout):
    def list_scored(technique):
        asked = ("--models", "gpt2", "--scale", "tiny", "--techniques", technique)
        names = shared_checkout.collect(*asked)
        return [name.startswith(("test_perp", "test_div", "test_summ")) for name in names]

    compiled, others = list_scored("compiled"), list_scored("nf4")
    assert compiled == [False] * (len(compiled) - 3) + [True] * 3
    # Others are scored before: behind a swap of adapters QLoRA writes other summaries on a CPU.
    assert others[-3:] != [True] * 3


def test_cold_start_is_the_first_that_runs_on_a_variant(shared_checkout):
    names = shared_checkout.collect("--models", "gpt2", "--scale", "tiny", "--techniques", "nf4")
    assert names[1].startswith("test_cold_start_is_kept[tiny-gpt2-nf4-b1-")
    several = "b1-p8-n4,b2-p16-n8"  # there is one first time
    names = shared_checkout.collect("perf_tests/test_cold_start.py", "--workloads", several)
    assert names and all(name.endswith("-b1-p8-n4]") for name in names)
