"""One source of numbers: a figure reads the same wherever it is shown."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from fixtures.reporting.html import format_html
from fixtures.reporting.markdown import format_markdown
from fixtures.reporting.results import format_csv, list_results
from fixtures.reporting.table import COLUMNS, format_tables
from fixtures.units import format_bytes, format_number, format_ratio, format_seconds, format_small

HEADINGS = [heading for heading, _ in COLUMNS]
GROUP = "gpt2, tiny, b1-p64-n16"


class Tables(HTMLParser):
    """Cells of every table of a page, by its caption."""

    def __init__(self):
        super().__init__()
        self.found, self._rows, self._text = {}, [], None

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th", "caption"):
            self._text = ""

    def handle_data(self, data):
        if self._text is not None:
            self._text += data

    def handle_endtag(self, tag):
        if tag == "caption":
            self._caption = self._text
        elif tag in ("td", "th"):
            self._rows[-1].append(self._text.strip())
        elif tag == "table":
            self.found[self._caption] = self._rows
        else:
            return
        self._text = None


def by_name(rows):
    """Rows of a table by technique, each a mapping from heading to text."""
    headings, *others = rows
    return {row[0]: dict(zip(headings, row, strict=True)) for row in others}


@pytest.fixture
def terminal(report):
    lines = [line.rstrip() for line in format_tables(report.rows).splitlines()]
    first = lines.index(GROUP) + 1
    rows = [re.split(r"\s{2,}", line) for line in lines[first : lines.index("", first)]]
    return by_name(rows)


@pytest.fixture(scope="module")
def html(report):
    parser = Tables()
    parser.feed(format_html(report))
    return by_name(parser.found["gpt2 at tiny scale, b1-p64-n16"])


@pytest.fixture(scope="module")
def markdown(report):
    lines = format_markdown(report).splitlines()
    first = lines.index(f"### {GROUP}") + 2
    table = lines[first : lines.index("", first + 1)]
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table if line]
    return by_name([rows[0], *rows[2:]])


@pytest.fixture
def figures(report):
    """Figures of gpt2 from the CSV, by technique and metric, as numbers."""
    rows = csv.DictReader(io.StringIO(format_csv(list_results(report))))
    found = {}
    for row in rows:
        if row["model"] == "gpt2" and row["value"]:
            found.setdefault(row["technique"], {})[row["metric"]] = float(row["value"])
    return found


def test_terminal_markdown_and_html_show_the_same_cells(terminal, markdown, html):
    assert terminal.keys() == markdown.keys() == html.keys() == {"fp32", "bf16", "int8", "nf4"}
    for technique, row in terminal.items():
        shown = [heading for heading in HEADINGS if heading in html[technique]]
        assert list(row) == shown and len(shown) > 5
        for heading in shown:
            assert row[heading] == markdown[technique][heading] == html[technique][heading]


def test_csv_holds_the_figures_that_the_tables_round(terminal, figures):
    for technique, row in terminal.items():
        own, reference = figures[technique], figures["fp32"]
        expected = {
            "TTFT": format_seconds(own["ttft_s"], 3),
            "TPOT": format_seconds(own["tpot_s"], 3),
            "tok/s": format_number(own["tokens_per_s"], 0),
            "peak": format_bytes(own["peak_allocated_bytes"], 3),
            "on disk": format_bytes(own["storage_bytes"], 3),
            "KL": format_small(own["kl_nats"]),
            "R-L": format_number(own["rougeL"], 3),
            "speed": format_ratio(reference["tpot_s"] / own["tpot_s"]),
            "size": format_ratio(own["storage_bytes"] / reference["storage_bytes"]),
        }
        assert {heading: row[heading].rstrip("!") for heading in expected} == expected


def test_what_failed_is_marked_everywhere_and_stands_first(terminal, markdown, html):
    for table in (terminal, markdown, html):
        assert next(iter(table)) == "nf4"
        assert table["nf4"]["TPOT"] == "3.58 ms!"
        assert "!" not in "".join(table["fp32"].values())


def test_tables_group_by_workload_where_variants_have_several(world):
    document = world.document(models=["gpt2"])
    more = world.document(models=["gpt2"])["benchmarks"]
    for bench in more:
        if bench["extra_info"]["case"]["workload"] == "b1-p64-n16":
            bench["extra_info"]["case"]["workload"] = "b8-p64-n16"
            document["benchmarks"].append(bench)
    from fixtures.reporting.report import reopen

    text = format_tables(reopen(world.parse(document)).rows)
    titles = [line.strip() for line in text.splitlines() if line.startswith("gpt2, ")]
    assert titles == ["gpt2, tiny, b1-p64-n16", "gpt2, tiny, b8-p64-n16"]
