"""The table of a run made by hand, line by line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from docs.results_table import format_results
from fixtures.regression.run import parse_run, read_run

ROOT = Path(__file__).parents[2]
B1, B8 = "b1-p512-n64", "b8-p512-n64"
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"


def record(technique, workload, metrics, rounds=(), **case):
    """One benchmark of gemma-2b; the seconds of its rounds belong to its first metric."""
    named = {
        "model": "gemma-2b",
        "technique": technique,
        "scale": "published",
        "weights": "fitted",
        "workload": workload,
        "prompt_hash": "none",
        "settings": {"dtype": technique},
        **case,
    }
    return {
        "fullname": f"perf_tests/test_{workload}.py::test[{technique}]",
        "extra_info": {
            "schema": 1,
            "case": named,
            "timed": {"metric": next(iter(metrics)), "steps": 1} if rounds else {},
            "metrics": metrics,
            "verdicts": [],
            "conditions": {
                "throttled": technique == "nf4",
                "after": {"sm_clock_mhz": 1755 if rounds else 1980},
            },
            "details": {},
        },
        "stats": {"data": list(rounds)},
    }


@pytest.fixture
def document():
    """A reference whole, a quantised variant in parts, and cells that left nothing."""
    return {
        "machine_info": {
            "device_key": "nvidia-h200-driver-580-700w",
            "device": {"name": "NVIDIA H200", "driver": "580.95.05", "power_limit_w": 700.0},
            "packages": {"torch": "2.11.0", "transformers": "5.17.0", "numpy": "2.4.6"},
        },
        "commit_info": {"id": "4f2c9e1d33", "dirty": False},
        "datetime": "2026-11-22T01:31:00+00:00",
        "suite": {
            "schema": 1,
            "skipped": [
                "gemma-2b-pruned-2of4: 2:4 kernels need compute capability 8.0, and X has 7.5",
                "t5-small-flash+bf16: T5 adds a bias that the kernel cannot",
            ],
            "failed": [
                f"perf_tests/test_prefill.py::test_prefill_holds_ttft[gemma-2b-nf4-{B8}]",
                "perf_tests/test_perplexity.py::test_perplexity_is_not_inferior[gemma-2b-nf4]",
            ],
            "failures": {
                f"perf_tests/test_prefill.py::test_prefill_holds_ttft[gemma-2b-nf4-{B8}]": OOM,
            },
        },
        "benchmarks": [
            record("fp32", B1, {"ttft_s": 0.0301, "mfu": 0.614}, [0.03] * 20),
            record("fp32", B1, {"tpot_s": 0.001546, "mbu": 0.752}, [0.0015] * 10),
            record(
                "fp32",
                B1,
                {"peak_allocated_bytes": 5 * 2**30, "nvml_process_bytes": 6 * 2**30},
            ),
            record("fp32", B1, {"energy_j_per_token": 0.35123}),
            record("fp32", "stored", {"storage_bytes": 10 * 2**30}),
            record("fp32", "heldout-200", {"ppl_ratio": 1.0, "kl_nats": 0.0, "rougeL": 0.9876}),
            record("nf4", B1, {"tpot_s": 0.0123, "mbu": None}, [0.0123] * 10),
            record("nf4", "heldout-200", {"kl_nats": 0.00412, "rougeL": 0.97}),
        ],
    }


def format_document(document):
    return format_results(parse_run(json.loads(json.dumps(document)), Path("accepted.json")))


def test_conditions_are_one_sentence(document):
    assert format_document(document).split("\n")[0] == (
        "Measured on NVIDIA H200 (driver 580.95.05, power limit 700 W) with torch 2.11.0,"
        " transformers 5.17.0; GPU clock 1980 MHz (1755 to 1980); held back in 2 of 8"
        " measurements; times are medians of 10 to 20 rounds; recorded 22 Nov 2026 01:31 UTC at"
        " commit 4f2c9e1."
    )


def test_figures_of_an_earlier_run_are_said_to_be_of_that(document):
    origin = {"when": "2026-11-21T02:05:00+00:00", "commit": "0a1b2c3d4e", "canary": {}}
    for bench in document["benchmarks"][:2]:
        bench["extra_info"]["origin"] = origin
    (sentence, *_) = format_document(document).split("\n")
    assert sentence.endswith(
        " at commit 4f2c9e1; 2 of 8 measurements, which its machine was not steady enough for, are"
        " of 21 Nov 2026 02:05 UTC at commit 0a1b2c3."
    )


def test_every_cell_has_its_line_and_what_was_not_measured_its_reason(document):
    nothing = "n/a | n/a | n/a | n/a | n/a | n/a | n/a | n/a | n/a | n/a | n/a"
    lines = format_document(document).split("\n")
    start = lines.index("## gemma-2b, published, fitted weights")
    assert lines[start + 2 : start + 8] == [
        "| technique | workload | TTFT | MFU | TPOT | MBU | peak allocated | NVML process | J/token"
        " | on disk | perplexity / fp32 | KL, nats | ROUGE-L | not measured |",
        "| :-- | :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | :-- |",
        f"| fp32 | {B1} | 30.1 ms | 61% | 1.55 ms | 75% | 5.00 GiB | 6.00 GiB | 0.351 | 10.0 GiB"
        " | 1.00000 | 0 | 0.988 |  |",
        f"| nf4 | {B1} | n/a | n/a | 12.3 ms | n/a | n/a | n/a | n/a | n/a | n/a | 4.12e-03"
        " | 0.970 | perplexity: failed |",
        f"| pruned-2of4 | all | {nothing} | 2:4 kernels need compute capability 8.0, and X has"
        " 7.5 |",
        f"| nf4 | {B8} | {nothing} | prefill: {OOM}; perplexity: failed |",
    ]
    assert lines[lines.index("## t5-small, published") + 4] == (
        f"| flash+bf16 | all | {nothing} | T5 adds a bias that the kernel cannot |"
    )


def test_table_without_gaps_has_no_column_for_them(document):
    document["suite"] |= {"skipped": [], "failed": []}
    assert "not measured" not in format_document(document)


def test_training_has_a_table_of_its_own(document):
    document["suite"]["skipped"].append("gemma-2b-full-train-b4-t256: its training takes 60 GiB")
    document["benchmarks"] += [
        record(
            "lora",
            "train-b4-t256",
            {"train_step_s": 0.125, "train_tokens_per_s": 8192.0},
            [0.125] * 10,
        ),
        record(
            "lora",
            "train-b4-t256",
            {"peak_allocated_bytes": 3 * 2**30, "trainable_share": 0.0031},
        ),
    ]
    lines = format_document(document).split("\n")
    start = lines.index("Training of gemma-2b:")
    assert lines[start + 2 : start + 6] == [
        "| method | workload | step | tok/s | peak | trained | adapter | loss | speed-up"
        " | not measured |",
        "| :-- | :-- | --: | --: | --: | --: | --: | --: | --: | :-- |",
        "| lora | train-b4-t256 | 125 ms | 8192 | 3.00 GiB | 0.31 % | n/a | n/a | n/a |  |",
        "| full | train-b4-t256 | n/a | n/a | n/a | n/a | n/a | n/a | n/a"
        " | its training takes 60 GiB |",
    ]
    assert sum(line.startswith(("| lora", "| full")) for line in lines) == 2


def test_name_with_markup_in_it_stays_text(document):
    document["benchmarks"] = [record("<b>|x", B1, {"ttft_s": 0.03}, [0.03] * 10)]
    assert r"| &lt;b&gt;\|x |" in format_document(document)


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").glob("results-*.md")), ids=lambda page: page.name
)
def test_committed_page_is_what_its_command_prints(page):
    text = page.read_text()
    (command,) = re.findall(r"`python -m docs.results_table (\S+)`", text)
    assert text.endswith("\n\n" + format_results(read_run(ROOT / command)))


def test_a_workload_that_is_only_generated_has_no_line(document):
    before = format_document(document)
    document["benchmarks"].append(record("fp32", "b1-p512-n16", {"generate_s": 0.2}, [0.2] * 10))
    after = format_document(document)
    assert [line for line in after.splitlines() if "n16" in line] == []
    assert after.count("\n") == before.count("\n")
    document["benchmarks"].append(record("int8", "b1-p512-n16", {"generate_s": 0.2}, [0.2] * 10))
    assert "| int8 | b1-p512-n16 |" in format_document(document)
