from __future__ import annotations

import pytest

from fixtures.regression.case import Case
from fixtures.regression.record import Record
from fixtures.reporting.rows import collect_rows, collect_training_rows, is_timed_workload


def record(technique, workload, model="gpt2", scale="tiny", **metrics):
    case = Case(model, technique, scale, "shipped", workload, "none")
    return Record("test", case, None, (), metrics, (), {})


SHORT, LONG, TRAINING = "b1-p64-n16", "b8-p512-n64", "train-b2-t64"


def test_figures_of_one_variant_and_workload_share_a_row():
    (row,) = collect_rows(
        [record("fp32", SHORT, ttft_s=0.003), record("fp32", SHORT, tpot_s=0.001)]
    )
    assert (row.model, row.scale, row.technique, row.workload) == ("gpt2", "tiny", "fp32", SHORT)
    assert row.metrics == {"ttft_s": 0.003, "tpot_s": 0.001}


def test_figures_without_a_timed_workload_belong_to_every_row_of_their_variant():
    rows = collect_rows(
        [
            record("nf4", "stored", storage_bytes=100),
            record("nf4", SHORT, tpot_s=0.1),
            record("nf4", LONG, tpot_s=0.2),
            record("nf4", "heldout-200", kl_nats=0.01),
        ]
    )
    assert [(row.workload, row.metrics["tpot_s"]) for row in rows] == [(SHORT, 0.1), (LONG, 0.2)]
    assert all(row.metrics["storage_bytes"] == 100 for row in rows)
    assert all(row.metrics["kl_nats"] == 0.01 for row in rows)


def test_variant_that_was_not_timed_has_a_row_too():
    (row,) = collect_rows([record("nf4", "heldout-200", kl_nats=0.01)])
    assert row.workload is None
    assert row.metrics == {"kl_nats": 0.01}


def test_speed_up_and_size_are_against_fp32_of_the_same_model_scale_and_workload():
    rows = collect_rows(
        [
            record("fp32", SHORT, tpot_s=0.03),
            record("fp32", LONG, tpot_s=0.05),
            record("fp32", "stored", storage_bytes=400),
            record("fp32", SHORT, scale="published", tpot_s=9.0),
            record("nf4", SHORT, tpot_s=0.02),
            record("nf4", LONG, tpot_s=0.10),
            record("nf4", "stored", storage_bytes=100),
        ]
    )
    found = {
        (row.technique, row.workload): (row.speed_up, row.size)
        for row in rows
        if row.scale == "tiny"
    }
    # 30 ms / 20 ms, 50 ms / 100 ms; 100 B / 400 B.
    assert found["nf4", SHORT] == (pytest.approx(1.5), 0.25)
    assert found["nf4", LONG] == (pytest.approx(0.5), 0.25)
    assert found["fp32", SHORT] == (1.0, 1.0)


def test_without_a_reference_there_is_no_speed_up_and_no_size():
    (row,) = collect_rows([record("nf4", SHORT, tpot_s=0.02, storage_bytes=100)])
    assert row.speed_up is None
    assert row.size is None


def test_figure_that_was_not_available_gives_no_ratio():
    rows = collect_rows(
        [record("fp32", SHORT, tpot_s=None), record("nf4", SHORT, tpot_s=0.02)],
    )
    assert [row.speed_up for row in rows] == [None, None]


def test_variants_keep_the_order_in_which_they_ran():
    order = ["fp32", "int8", "fp4", "bf16"]
    rows = collect_rows(
        [
            *(record(name, "stored", storage_bytes=1) for name in order),
            *(record(name, SHORT, tpot_s=1.0) for name in reversed(order)),
        ]
    )
    assert [row.technique for row in rows] == order


def test_what_training_takes_is_no_figure_of_the_variant():
    records = [
        record("lora", SHORT, tpot_s=0.02),
        record("lora", TRAINING, train_step_s=0.1),
        record("lora", TRAINING, peak_allocated_bytes=900),
        record("full", TRAINING, train_step_s=0.2),
    ]
    (row,) = collect_rows(records)
    assert row.metrics == {"tpot_s": 0.02}
    trained = [(row.technique, row.workload, row.metrics) for row in collect_training_rows(records)]
    assert trained == [
        ("lora", TRAINING, {"train_step_s": 0.1, "peak_allocated_bytes": 900}),
        ("full", TRAINING, {"train_step_s": 0.2}),
    ]


@pytest.mark.parametrize(
    ("name", "timed"), [(SHORT, True), ("load", False), ("heldout-200", False), ("b1-p8", False)]
)
def test_only_ids_of_workloads_are_timed(name, timed):
    assert is_timed_workload(name) is timed
