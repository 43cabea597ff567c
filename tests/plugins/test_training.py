"""Training, data parallelism and split inference as their user runs them."""

from __future__ import annotations

import os
from statistics import median

import pytest

from fixtures.regression.gate import Gate
from fixtures.regression.run import read_run
from fixtures.regression.verdict import Status


@pytest.mark.parametrize(
    ("workers", "sentence"),
    [
        ("0", "--workers: 0 workers cannot train; 1 or more can"),
        ("two", "--workers: 'two' is no number of workers"),
    ],
)
def test_workers_that_cannot_be_are_refused_in_one_sentence(shared_checkout, workers, sentence):
    finished = shared_checkout.run("-m", "cpu", "--collect-only", "-q", "--workers", workers)
    assert (finished.status, finished.error) == (4, sentence)


def test_more_workers_than_cores_are_refused_in_one_sentence(shared_checkout):
    # On one core alone, whatever the machine has.
    with shared_checkout.start("-m", "cpu", "--workers", "8", confine=_take_one_core) as process:
        text, _ = process.communicate(timeout=120)
    assert process.returncode == 4
    assert text.strip() == "ERROR: --workers: 8 workers need 8 cores, and this host has 1 core"


def _take_one_core():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def test_training_follows_the_variants_of_its_model_cell_by_cell(shared_checkout):
    names = shared_checkout.collect("-m", "cpu", "--models", "gpt2,small-gpt", "--scale", "tiny")
    order = [name.partition("[tiny-")[2].removesuffix("]") for name in names]
    trained = [place for place, name in enumerate(order) if "-train-" in name]
    gpt2 = [place for place in trained if order[place].startswith("gpt2-")]
    assert len(gpt2) == 2 * 5  # time and footprint of five methods
    assert gpt2 == list(range(gpt2[0], gpt2[0] + 10))
    assert all(name.startswith("gpt2-") for name in order[: gpt2[0]])
    assert [order[place] for place in gpt2[::2]] == [order[place] for place in gpt2[1::2]]


def test_fault_of_weights_that_goes_into_no_training_is_refused(shared_checkout):
    plant = "weights:prune-30%@tiny-*"
    finished = shared_checkout.run("-m", "cpu", "--collect-only", "-k", "train", f"--plant={plant}")
    assert finished.status == 4
    assert f"ERROR: --plant {plant!r} goes into no selected test" in finished.text


@pytest.fixture(scope="module")
def trained(new_checkout):
    """The saved run of one cell."""
    checkout = new_checkout()
    cell = ("perf_tests/test_training.py", "-m", "cpu", "--models", "gpt2", "-k", "gpt2-lora")
    finished = checkout.run(*cell, "--benchmark-save=first")
    assert finished.status == 0, finished.text
    (file,) = checkout.saved()
    return read_run(file)


def test_a_cell_is_saved_with_its_rounds_and_its_figures(trained):
    timed, weighed = trained.records
    assert timed.case == weighed.case
    assert (timed.case.technique, timed.case.workload) == ("lora", "train-b2-t64")
    assert (timed.timed, weighed.timed) == ("train_step_s", None)
    assert timed.details["parts"].keys() == {"forward_s", "backward_s", "optimiser_s"}
    assert timed.metrics["train_step_s"] == pytest.approx(median(timed.samples))
    rate = timed.metrics["train_tokens_per_s"]
    assert rate == pytest.approx(2 * 64 / timed.metrics["train_step_s"])
    # Rank 4 on every layer of two blocks is 16,384 parameters of 503,552.
    assert weighed.metrics["trainable_share"] == pytest.approx(16384 / 503552)
    assert weighed.metrics["rss_peak_bytes"] > weighed.metrics["peak_allocated_bytes"]


@pytest.mark.parametrize(
    ("metric", "factor"),
    [
        ("train_loss_nats", 1.01),
        ("trainable_share", 1.01),
        ("adapter_bytes", 1.01),
        ("peak_allocated_bytes", 1.02),
    ],
)
def test_a_figure_that_became_worse_regresses_and_the_others_stand(trained, metric, factor):
    weighed = trained.records[1]
    worse = {**weighed.metrics, metric: weighed.metrics[metric] * factor}
    verdicts = Gate(trained.device_key, trained).judge_figures(weighed.case, worse, {})
    judged = {verdict.metric: verdict.status for verdict in verdicts}
    assert judged.pop(metric) is Status.REGRESSED
    assert set(judged.values()) == {Status.UNCHANGED}
    assert {"train_loss_nats", "adapter_bytes", "peak_allocated_bytes"} <= {metric, *judged}
