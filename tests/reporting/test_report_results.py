from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from fixtures.reporting.metrics import METRICS, find_metric, format_metric
from fixtures.reporting.results import COLUMNS, format_csv, format_json, list_results

DOCS = Path(__file__).parents[2] / "docs" / "report.md"


def read_csv(report):
    return list(csv.DictReader(io.StringIO(format_csv(list_results(report)))))


def find(rows, **wanted):
    (row,) = (row for row in rows if all(row[name] == value for name, value in wanted.items()))
    return row


def test_every_figure_of_every_case_has_a_row(report):
    rows = read_csv(report)
    figures = sum(len(record.metrics) for record in report.run.records)
    # Judged beside the figures: the drift of KL of each variant, and of each reference's ROUGE-L.
    assert len(rows) == figures + 8 + 2


def test_regression_stands_beside_its_baseline_in_full_precision(report):
    row = find(read_csv(report), model="gpt2", technique="nf4", metric="tpot_s")
    # 2 ms x 1.6 for nf4, and x 1.12 for what was planted.
    assert float(row["baseline"]) == pytest.approx(0.0032, rel=1e-12)
    assert float(row["value"]) == pytest.approx(0.003584, rel=1e-12)
    assert float(row["ratio"]) == pytest.approx(1.12)
    assert (row["verdict"], row["unit"], row["better"]) == ("regressed", "s", "lower")
    assert (row["rounds"], row["baseline_rounds"]) == ("13", "13")


def test_figure_that_was_not_available_is_an_empty_cell(report):
    row = find(read_csv(report), model="gpt2", technique="fp32", metric="peak_reserved_bytes")
    assert row["value"] == ""


def test_json_holds_the_same_rows_as_csv(report):
    results = list_results(report)
    document = json.loads(format_json(report, results))
    assert document["device_key"] == report.run.device_key
    for saved, row in zip(document["results"], read_csv(report), strict=True):
        assert tuple(saved) == COLUMNS
        assert {name: "" if value is None else str(value) for name, value in saved.items()} == row


def test_missing_case_has_a_row_with_its_baseline(world):
    from fixtures.reporting.report import reopen

    baseline = world.parse(world.document(), "accepted-example.json")
    tonight = world.document(day=2)
    tonight["benchmarks"].remove(world.find(tonight, "gpt2", "int8", "tpot_s"))
    report = reopen(world.judge(tonight, baseline), baseline)
    row = find(read_csv(report), model="gpt2", technique="int8", metric="tpot_s")
    assert (row["verdict"], row["value"]) == ("missing", "")
    assert float(row["baseline"]) == pytest.approx(0.004)


def test_text_that_a_spreadsheet_would_run_is_marked_as_text(world):
    from fixtures.reporting.report import reopen

    document = world.document(models=['=HYPERLINK("evil")'])
    rows = read_csv(reopen(world.parse(document)))
    assert {row["model"] for row in rows} == {'\'=HYPERLINK("evil")'}


def test_every_column_is_documented():
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in COLUMNS if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("tpot_s", 0.0021234, "2.123 ms"),
        ("peak_allocated_bytes", 1.5 * 2**20, "1.500 MiB"),
        ("kl_nats", 0.1984, "0.198 nats"),
        ("kl_nats", 2.1e-5, "2.10e-05 nats"),
        ("tokens_per_s", 321.87, "321.9"),
        ("rougeL", 0.98765, "0.9877"),
        ("mbu", None, "n/a"),
    ],
)
def test_figure_is_written_in_its_own_unit(name, value, shown):
    assert format_metric(name, value) == shown


def test_unlisted_metric_takes_its_unit_from_its_name():
    assert find_metric("warm_up_s").unit == "s"
    assert find_metric("workspace_bytes").unit == "B"
    assert find_metric("speed_up:tpot_s").better == "higher"
    assert find_metric("gpu_busy:ttft_s").label == "GPU busy, time to first token"
    work = find_metric("gpu_work:ttft_s")
    assert (work.label, work.unit) == ("GPU's own work, time to first token", "s")


def test_every_metric_of_a_run_is_listed(report):
    found = {name for record in report.run.records for name in record.metrics}
    assert found - METRICS.keys() == set()
