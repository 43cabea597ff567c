from __future__ import annotations

import pytest

from fixtures.reporting.gaps import Gap, list_gaps

MODELS = ("gpt2", "gpt-neo-1.3b", "t5-small")


@pytest.mark.parametrize(
    ("cell", "gap"),
    [
        ("tiny-gpt2-nf4", ("gpt2", "tiny", "nf4", None)),
        ("gpt-neo-1.3b-nf4+flash", ("gpt-neo-1.3b", "published", "nf4+flash", None)),
        ("t5-small-int8-b8-p512-n64", ("t5-small", "published", "int8", "b8-p512-n64")),
        ("tiny-gpt2-full-train-b2-t64", ("gpt2", "tiny", "full", "train-b2-t64")),
        ("small-gpt-ddp-train-b8-t64-w2", ("small-gpt", "tiny", "ddp", "train-b8-t64-w2")),
    ],
)
def test_cell_is_read_from_its_id(world, cell, gap):
    document = world.document(models=["small-gpt"])
    document["suite"]["skipped"] = [f"{cell}: it needs: more"]
    if cell.startswith("small-gpt"):
        for bench in document["benchmarks"]:
            bench["extra_info"]["case"]["scale"] = "given"
        gap = (gap[0], "given", *gap[2:])
    assert list_gaps(world.parse(document), MODELS) == [Gap(*gap, "it needs: more")]


def test_failed_test_gives_its_file_and_what_it_said_cut_short(world):
    document = world.document(models=[])
    test = "perf_tests/test_decode.py::test_decode_holds_tpot[gpt2-nf4-b1-p64-n16]"
    document["suite"] |= {"failed": [test], "failures": {test: "OutOfMemoryError: " + "word " * 99}}
    (gap,) = list_gaps(world.parse(document), MODELS)
    assert gap.technique == "nf4" and gap.workload == "b1-p64-n16"
    assert gap.why.startswith("decode: OutOfMemoryError: word")
    assert gap.why.endswith(" ...") and len(gap.why) <= 170


def test_failed_test_that_said_nothing_failed(world):
    document = world.document(models=[])
    document["suite"]["failed"] = ["perf_tests/test_load.py::test_load_holds_time[gpt2-nf4]"]
    (gap,) = list_gaps(world.parse(document), MODELS)
    assert gap.why == "load: failed"


def test_whole_run_has_no_gap(world):
    assert list_gaps(world.parse(world.document()), MODELS) == []
