from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.models.registry import MODELS
from fixtures.regression.verdict import Status
from fixtures.reporting.rows import Row
from fixtures.reporting.table import COLUMNS, LEGEND, format_tables
from fixtures.techniques.registry import TECHNIQUES

WIDTH = 100


def row(technique="nf4", workload="b1-p64-n16", speed_up=None, size=None, **metrics):
    return Row("gpt2", "tiny", technique, workload, metrics, speed_up, size)


def lines(rows, **options):
    return [line.rstrip() for line in format_tables(rows, **options).splitlines()]


def test_figures_stand_under_their_headings_in_readable_units():
    title, heading, figures, *_ = lines(
        [
            row(
                ttft_s=0.00281,
                tpot_s=0.00131,
                tokens_per_s=620.4,
                peak_allocated_bytes=1.45 * 2**20,
                storage_bytes=591 * 2**10,
                ppl_ratio=1.00049,
                kl_nats=5.7e-5,
                rougeL=0.9876,
                speed_up=0.87,
                size=0.31,
            )
        ]
    )
    assert title == "gpt2, tiny, b1-p64-n16"
    assert re.split(r"\s{2,}", heading) == [name for name, _ in COLUMNS]
    assert re.split(r"\s{2,}", figures) == [
        "nf4",
        "2.81 ms",
        "1.31 ms",
        "620",
        "1.45 MiB",
        "591 KiB",
        "1.00049",
        "5.70e-05",
        "0.988",
        "0.87x",
        "0.31x",
    ]


def test_figure_that_was_not_measured_is_not_available():
    _, heading, *figures = lines([row(), row(ttft_s=0.002, speed_up=0.5)])
    assert heading.split() == ["technique", "TTFT", "speed"]
    assert [line.split() for line in figures[:2]] == [
        ["nf4", "n/a", "n/a"],
        ["nf4", "2.00", "ms", "0.50x"],
    ]


def test_longest_name_stays_whole_beside_figures_of_one_workload():
    """As on a GPU, where what is generated has a table of its own."""
    measured = Row(
        "gpt-neo-1.3b",
        "published",
        "lora-merged+bf16",
        "b1-p512-n64",
        dict(
            ttft_s=0.0191,
            tpot_s=0.0161,
            peak_allocated_bytes=2.79 * 2**30,
            storage_bytes=2.46 * 2**30,
            ppl_ratio=1.00013,
            kl_nats=2.39e-05,
            rougeL=0.961,
        ),
        speed_up=0.81,
        size=0.5,
    )
    _, heading, figures, *_ = lines([measured])
    assert "tok/s" not in heading
    assert figures.startswith("lora-merged+bf16 ") and len(figures) <= 100


def test_models_scales_and_workloads_have_tables_of_their_own():
    rows = [
        Row("gpt2", "tiny", "fp32", "b1-p64-n16", {}),
        Row("gpt2", "tiny", "nf4", "b1-p64-n16", {}),
        Row("gpt2", "published", "fp32", "b1-p128-n8", {}),
        Row("t5-small", "tiny", "fp32", None, {}),
    ]
    titles = [line for line in lines(rows) if ", " in line]
    assert titles == ["gpt2, tiny, b1-p64-n16", "gpt2, published, b1-p128-n8", "t5-small, tiny"]


def test_nothing_measured_prints_nothing():
    assert format_tables([]) == ""


def test_colour_is_for_terminals_alone():
    assert "\x1b[" not in format_tables([row()])
    assert "\x1b[" in format_tables([row()], colour=True)


def test_legend_explains_the_short_headings():
    for heading in ("TTFT", "TPOT", "tok/s", "peak", "PPL x", "KL", "R-L", "speed", "size"):
        assert f"{heading}: " in LEGEND
    assert max(map(len, LEGEND.splitlines())) <= WIDTH


names = st.sampled_from(sorted(TECHNIQUES))
rows = st.builds(
    Row,
    model=st.sampled_from(sorted(MODELS)),
    scale=st.sampled_from(["tiny", "published", "given"]),
    technique=st.builds("+".join, st.lists(names, min_size=1, max_size=3)),
    workload=st.sampled_from(["b1-p64-n16", "b64-p4096-n1024", None]),
    metrics=st.fixed_dictionaries(
        {},
        optional={
            "ttft_s": st.floats(1e-6, 1e3) | st.none(),
            "tpot_s": st.floats(1e-6, 1e3),
            "tokens_per_s": st.floats(0.01, 1e6),
            "peak_allocated_bytes": st.integers(0, 2**40),
            "storage_bytes": st.integers(1, 2**40),
            "ppl_ratio": st.floats(0.1, 1e5),
            "kl_nats": st.floats(0, 100),
            "rougeL": st.floats(0, 1) | st.none(),
        },
    ),
    speed_up=st.floats(1e-3, 1e3) | st.none(),
    size=st.floats(1e-2, 10) | st.none(),
    statuses=st.dictionaries(
        st.sampled_from(["ttft_s", "tpot_s", "peak_allocated_bytes", "kl_nats", "load_s"]),
        st.sampled_from(Status),
    ),
)


@given(st.lists(rows, min_size=1, max_size=4))
@settings(max_examples=80, deadline=None)
def test_table_fits_the_width_and_cuts_nothing_short(table):
    shown = lines(table, width=WIDTH)
    assert max(map(len, shown)) <= WIDTH
    assert "…" not in "".join(shown)


@pytest.mark.parametrize("technique", ["int8-dynamic", "nf4+flash"])
def test_usual_row_stays_on_one_line(technique):
    figures = row(
        technique,
        ttft_s=13.2,
        tpot_s=0.1496,
        tokens_per_s=99_999,
        peak_allocated_bytes=1023 * 2**20,
        storage_bytes=1023 * 2**10,
        ppl_ratio=1.00049,
        kl_nats=5.7e-5,
        rougeL=0.9876,
        speed_up=10.87,
        size=0.31,
    )
    assert len([line for line in lines([figures], width=WIDTH) if line]) == 3
