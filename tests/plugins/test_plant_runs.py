"""Planted regressions in real models: each is caught by the test whose figure it spoils."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from fixtures.regression.atomic import exclusive

SELECTION = (
    "-m",
    "not timing",
    "-k",
    "tiny-gpt2 and (applied or memory or perplexity or divergence)",
    "--techniques=fp32,sdpa,int8",
    "--articles=40",
)
CAUGHT = {
    "peak_allocated_bytes:+2%@tiny-gpt2-fp32": (
        "test_memory_holds_peak[tiny-gpt2-fp32",
        "peak_allocated_bytes +2.0 %",
    ),
    "copy:weights@tiny-gpt2-sdpa": (
        "test_memory_holds_peak[tiny-gpt2-sdpa",
        "tiny gpt2-sdpa-b1-p64-n16 peak_allocated_bytes +",
    ),
    "weights:prune-30%@tiny-gpt2-sdpa": (
        "test_divergence_is_within_tolerance[tiny-gpt2-sdpa]",
        "tiny gpt2-sdpa-heldout-40 kl_drift",
    ),
    "weights:ln-eps-1e-3@tiny-gpt2-fp32": (
        "test_perplexity_is_not_inferior[tiny-gpt2-fp32]",
        "tiny gpt2-fp32-heldout-40 reference_drift",
    ),
    "technique:off@*-int8": (
        "test_technique_is_applied[tiny-gpt2-int8]",
        "int8: 0 of 8 linear layers are Linear8bitLt",
    ),
}


@dataclass(frozen=True)
class Planted:
    """A run with every plant at once, judged against one without."""

    status: int
    lines: list[str]
    document: dict[str, Any]
    refusal: list[str]


@pytest.fixture(scope="session")
def planted(new_checkout, tmp_path_factory, worker_id):
    """The planted run; under xdist one worker makes it and all read it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "planted"
    folder.mkdir(exist_ok=True)
    with exclusive(folder):
        kept = folder / "run.json"
        if not kept.exists():
            kept.write_text(json.dumps(asdict(run_planted(new_checkout()))))
    return Planted(**json.loads(kept.read_text()))


def run_planted(checkout):
    plain = checkout.run(*SELECTION, "--benchmark-autosave")
    assert plain.status == 0, plain.text
    plants = [f"--plant={text}" for text in CAUGHT]
    run = checkout.run(*SELECTION, "--benchmark-save=bad", "--benchmark-compare=0001", *plants)
    accept = checkout.run("--accept-baseline=0002_bad", "--reason=any")
    document = json.loads(checkout.saved()[-1].read_text())
    return Planted(run.status, run.lines, document, [str(accept.status), *accept.lines])


@pytest.mark.parametrize("text", CAUGHT)
def test_plant_is_caught_by_the_test_that_measures_it(planted, text):
    assert planted.status == 1
    test, sentence = CAUGHT[text]
    assert any(test in line for line in planted.lines if line.startswith("FAILED "))
    assert any(sentence in line for line in planted.lines)


def test_nothing_else_fails(planted):
    failed = [line for line in planted.lines if line.startswith("FAILED ")]
    # Beside the tests above: likelihoods moved with the divergences, an int8 that is off weighs
    # what fp32 does, and variants are held to a reference without the fault of the fp32 one.
    assert not any("test_applied" in line and "int8" not in line for line in failed)
    assert not any("test_divergence" in line and "sdpa" not in line for line in failed)


def test_planted_run_says_so_and_is_marked(planted):
    assert [line for line in planted.lines if line.startswith("planted: ")] == [
        f"planted: {text}" for text in CAUGHT
    ]
    assert planted.document["suite"]["planted"] == list(CAUGHT)


def test_planted_run_is_refused_as_baseline(planted):
    status, sentence = planted.refusal
    assert status == "1"
    assert sentence.endswith("it ran only part of the matrix; run again without a selection")
