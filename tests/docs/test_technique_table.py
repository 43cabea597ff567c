"""The page of models and techniques is what the registries say."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.technique_table import format_models, format_techniques
from fixtures.techniques.registry import TECHNIQUES

PAGE = Path(__file__).parents[2] / "docs/techniques.md"


@pytest.mark.parametrize("table", [format_models, format_techniques])
def test_page_holds_the_table(table):
    assert table() in PAGE.read_text(encoding="utf-8")


def test_row_says_where_a_technique_is_measured():
    lines = format_techniques().splitlines()
    assert len(lines) == 2 + len(TECHNIQUES)
    (tf32,) = (line for line in lines if line.startswith("| tf32 "))
    assert tf32 == "| tf32 | precision | weights in 32-bit floats, products in TF32 |  | tf32 |"
