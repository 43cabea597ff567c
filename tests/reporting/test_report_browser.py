"""The page as Chromium shows it; needs Chromium and ``npm ci --prefix tests/browser``."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from fixtures.regression.run import read_run
from fixtures.reporting.html import format_html
from fixtures.reporting.report import reopen

ROOT = Path(__file__).parents[2]
COMMITTED = {path.stem: path for path in (ROOT / "baselines").glob("accepted-*.json")}
BROWSER = ROOT / "tests" / "browser"
MODULES = BROWSER / "node_modules"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and shutil.which("node") and (MODULES / "axe-core").is_dir()),
    reason="the report is looked at with Chromium, node and `npm ci --prefix tests/browser`",
)


@pytest.fixture(scope="module", params=["planted", *COMMITTED])
def page(request, full_report, tmp_path_factory):
    """A report with a regression planted in it, and those of the runs that are committed."""
    name = request.param
    report = full_report if name == "planted" else reopen(read_run(COMMITTED[name]))
    page = tmp_path_factory.mktemp("page") / "report.html"
    page.write_text(format_html(report), encoding="utf-8")
    return page


@pytest.fixture(scope="module")
def seen(page):
    """What the page shows at two widths, light and dark."""
    command = ["node", str(BROWSER / "look.js"), str(MODULES), str(page), str(CHROMIUM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_page_is_looked_at_on_desk_and_phone_light_and_dark(seen):
    views = {(each["view"], each["scheme"]) for each in seen}
    assert len(views) == 4


def test_console_stays_empty(seen):
    assert [line for each in seen for line in each["console"]] == []


def test_no_request_leaves_the_page(seen):
    for each in seen:
        assert [url for url in each["requests"] if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("page", ["planted"], indirect=True)
def test_planted_regression_is_on_the_first_screen(seen):
    for each in seen:
        assert "1 figure regressed" in each["first"]
        assert "tiny gpt2-nf4-b1-p64-n16" in each["first"]
        assert "+12.0 %" in each["first"]


def test_page_is_smaller_than_three_megabytes(page):
    assert page.stat().st_size < 3_000_000


def test_page_is_no_wider_than_its_window(seen):
    assert [each["view"] for each in seen if each["overflow"] > 0] == []


def test_every_chart_is_drawn(seen):
    for each in seen:
        assert len(each["charts"]) > 10
        for chart in each["charts"]:
            assert chart["marks"] >= 2 and chart["width"] > 250 and chart["height"] > 40, chart


def test_labels_of_a_chart_lie_beside_one_another(seen):
    assert [line for each in seen for line in each["collisions"]] == []


def test_accessibility_checker_finds_nothing(seen):
    assert [line for each in seen for line in each["violations"]] == []
