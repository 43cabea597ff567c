from __future__ import annotations

import re

import pytest

from fixtures.reporting import markdown
from fixtures.reporting.markdown import escape_text, format_markdown
from fixtures.reporting.report import reopen


def test_regression_stands_first_with_its_figures(report):
    text = format_markdown(report)
    assert text.startswith("# 1 figure regressed\n")
    assert text.index("### regressed: tiny gpt2-nf4-b1-p64-n16") < text.index("\n| ")
    assert "time per token **+12.0 %** 3.200 ms -&gt; 3.584 ms" in text


def test_every_row_has_as_many_cells_as_its_headings(report):
    for table in re.findall(r"(?:^\|.*\n)+", format_markdown(report), flags=re.M):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a|b", r"a\|b"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("*bold* `code` [link]", r"\*bold\* \`code\` \[link\]"),
        ("tpot_s of test_decode", "tpot_s of test_decode"),
        ("__init__", r"\__init_\_"),
        ("two\nlines", "two lines"),
    ],
)
def test_text_means_nothing_to_markdown(text, safe):
    assert escape_text(text) == safe


def test_case_name_with_html_is_text(world):
    text = format_markdown(reopen(world.parse(world.document(models=["<img src=x>|evil"]))))
    assert "<img" not in text
    assert r"&lt;img src=x&gt;\|evil" in text


def test_sections_that_would_be_too_long_give_way_and_are_named(report, monkeypatch):
    monkeypatch.setattr(markdown, "MOST_BYTES", 4000)
    text = format_markdown(report)
    assert len(text.encode()) < 4500
    assert text.startswith("# 1 figure regressed\n")
    assert "Too long to be shown here, and in report.html: " in text


def test_figures_of_an_earlier_run_are_warned_of(world):
    document = world.document()
    origin = {"when": "2026-01-01T02:05:00+00:00", "commit": "0a1b2c3d4e", "canary": {}}
    document["benchmarks"][0]["extra_info"]["origin"] = origin
    run = world.parse(document)
    assert (
        f"1 of {len(run.records)} measurements, which its machine was not steady enough for, are of"
        " 1 Jan 2026 02:05 UTC at commit 0a1b2c3."
    ) in format_markdown(reopen(run))
