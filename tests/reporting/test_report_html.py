from __future__ import annotations

import copy
import re
import time

import pytest

from fixtures.regression.run import SavedRun
from fixtures.reporting.html import format_html
from fixtures.reporting.report import reopen

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def page(report):
    return format_html(report)


def drawings(page):
    return re.findall(r"<svg .*?</svg>", page, flags=re.S)


def test_page_names_no_address_to_fetch_from(page):
    without_names = page.replace("http://www.w3.org/", "")
    assert not re.search(r"https?://|//cdn|@import|url\((?!#)", without_names)
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)


def test_answer_and_regression_stand_before_every_table(page):
    first_table = page.index("<table>")
    assert page.index("<h1>1 figure regressed</h1>") < first_table
    assert page.index("tiny gpt2-nf4-b1-p64-n16") < first_table
    card = page[page.index('<article class="card">') : page.index("</article>")]
    assert "+12.0 %" in card
    assert "3.200 ms -&gt; 3.584 ms" in card
    assert "<svg" in card


def test_what_changed_since_the_baseline_is_named_and_not_called_a_cause(page):
    assert "found and not proven: transformers: 5.23.0 -&gt; 5.24.0." in page


def test_each_section_draws_its_charts(page):
    labels = " ".join(re.findall(r'aria-label="([^"]*)"', "".join(drawings(page))))
    for sort in ("Rounds of", "Decode speed", "Parts of the peak", "History of", "KL divergence"):
        assert sort in labels


def test_every_chart_has_its_table(page):
    figures = re.findall(r'<figure class="drawn">.*?</figure>', page, flags=re.S)
    assert figures and all("<svg" in figure and "<table>" in figure for figure in figures)


def test_drawings_take_their_colours_from_the_page(page):
    for drawing in drawings(page):
        assert not re.search(r"#[0-9a-fA-F]{6}\b", drawing)
    assert "prefers-color-scheme: dark" in page


def test_ids_are_unique(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_text_of_names_is_shown_as_text(world):
    document = world.document(models=[EVIL, "gpt2"])
    for bench in document["benchmarks"]:
        bench["extra_info"]["verdicts"] = [
            {"metric": "tpot_s", "verdict": "regressed", "reason": EVIL, "ratio": 2.0}
        ]
    document["suite"].update(
        skipped=[EVIL], failed=[EVIL], failures={EVIL: EVIL}, partial=True, left_out=[EVIL]
    )
    document["machine_info"]["packages"][EVIL] = EVIL
    document["machine_info"]["settings"][EVIL] = EVIL
    document["machine_info"]["device"]["name"] = EVIL
    page = format_html(reopen(world.parse(document)))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 20
    assert "alert(&#39;x&#39;)" in page


def test_name_with_quotes_puts_nothing_into_the_style_of_the_page(world):
    world.techniques = {"fp32": (1.0,) * 4, 'x" style="} body { color: red" ': (1.0,) * 4}
    page = format_html(reopen(world.parse(world.document(models=["gpt2"]))))
    style = page[page.index("<style>") : page.index("</style>")]
    assert "color: red" not in style
    assert "color: red" in page


def test_each_fate_of_a_case_is_named(world):
    baseline = world.parse(world.document(), "accepted-example.json")
    tonight = world.document(models=["gpt2", "t5-small", "gemma-2b"], day=2)
    tonight["benchmarks"].remove(world.find(tonight, "gpt2", "int8", "tpot_s"))
    world.slow_down(tonight, "gpt2", "bf16", "ttft_s", 0.8)
    tonight["suite"].update(
        failed=["perf_tests/test_load.py::test[x]"],
        failures={"perf_tests/test_load.py::test[x]": "OSError: disk full"},
        skipped=["tiny-gpt2-flash: flash needs a GPU, and this is a CPU"],
    )
    tainted = world.find(tonight, "t5-small", "nf4", "ttft_s")
    tainted["extra_info"]["verdicts"] = [
        {"metric": "ttft_s", "verdict": "tainted", "reason": "held back twice"}
    ]
    tainted["extra_info"]["conditions"].update(
        throttled=True, throttle_evidence=["HwThermalSlowdown"]
    )
    run = world.judge(tonight, baseline)
    page = format_html(reopen(run, baseline))
    for heading in ("Tainted", "Missing: 1", "Improved: 1", "New", "Skipped: 1"):
        assert f"<h3>{heading}" in page
    assert "OSError: disk full" in page
    assert "HwThermalSlowdown" in page
    assert "flash needs a GPU" in page
    assert "1 test failed</h1>" in page


def test_partial_run_says_so_above_everything(world):
    document = world.document()
    document["suite"].update(partial=True, left_out=["stopped after 12 of 48 tests"])
    page = format_html(reopen(world.parse(document)))
    warning = "Partial run: stopped after 12 of 48 tests."
    assert page.index(warning) < page.index("<h2")


def test_run_without_a_baseline_is_not_called_clean(world):
    page = format_html(reopen(world.parse(world.document())))
    assert "<h1>Measured, with no baseline to be judged against</h1>" in page


def test_why_the_baseline_was_accepted_stands_beside_its_name(world):
    document = world.document() | {"accepted": {"reason": "the price of <safe> kernels"}}
    baseline = world.parse(document, "accepted-example.json")
    page = format_html(reopen(world.judge(world.document(day=2), baseline), baseline))
    assert "judged against accepted-example.json, recorded" in page
    assert "(the price of &lt;safe&gt; kernels)" in page


def test_calm_night_is_called_clean(world):
    baseline = world.parse(world.document(), "accepted-example.json")
    page = format_html(reopen(world.judge(world.document(day=2), baseline), baseline))
    assert "<h1>Nothing regressed</h1>" in page
    assert '<article class="card">' not in page


def test_night_that_cannot_be_compared_is_not_called_clean(world):
    document = world.document()
    for bench in document["benchmarks"]:
        bench["extra_info"]["verdicts"] = []
    baseline = world.parse(document, "accepted-example.json")
    tonight = copy.deepcopy(document)
    for bench in tonight["benchmarks"]:
        bench["extra_info"]["case"]["weights"] = "another"
    page = format_html(reopen(world.judge(tonight, baseline), baseline))
    assert re.search(r"<h1>Nothing settled; [\d,]+ figures not comparable</h1>", page)


def test_night_with_cases_missing_is_not_called_clean(world):
    baseline = world.parse(world.document(), "accepted-example.json")
    tonight = world.document(models=("gpt2",), day=2)
    page = format_html(reopen(world.judge(tonight, baseline), baseline))
    assert re.search(r"<h1>Nothing regressed; \d+ figures missing</h1>", page)


@pytest.mark.parametrize(
    ("elsewhere", "against"),
    [
        (None, "judged against the fp32 reference alone"),
        (
            "accepted-other.json 0a1b",
            "judged against the fp32 reference; sizes and speed-ups by accepted-other.json",
        ),
    ],
)
def test_run_from_before_any_baseline_is_not_judged_by_a_later_one(world, elsewhere, against):
    document = world.document()
    verdict = {"metric": "tpot_s", "verdict": "no-baseline", "reason": "none accepted"}
    world.find(document, "gpt2", "nf4", "tpot_s")["extra_info"]["verdicts"].append(verdict)
    document["suite"]["judged_against"] = {"baseline": None, "elsewhere": elsewhere}
    later = world.parse(world.document(day=2), "accepted-example.json")
    page = format_html(reopen(world.parse(document), later))
    assert "<h1>Measured, with no baseline to be judged against</h1>" in page
    assert against in page


def test_nothing_measured_is_said(world):
    page = format_html(reopen(world.parse(world.document(models=[]))))
    assert "<h1>Nothing was measured</h1>" in page


def test_planted_run_says_so(world):
    document = world.document()
    document["suite"]["planted"] = ["tpot_s:+5%@gpt2-nf4"]
    page = format_html(reopen(world.parse(document)))
    assert "planted on purpose: tpot_s:+5%@gpt2-nf4." in page


def test_cases_of_a_baseline_that_a_partial_run_left_out_are_not_missing(world):
    baseline = world.parse(world.document(), "accepted-example.json")
    document = world.document(models=["gpt2"], day=2)
    document["suite"].update(partial=True, left_out=["--models was given"])
    assert reopen(world.judge(document, baseline), baseline).missing == ()


def test_saved_run_is_not_shown_beside_what_came_after_it(world):
    def read(day: int) -> SavedRun:
        return world.parse(world.document(day=day), f"{day:04}.json")

    shown = reopen(read(3), None, [read(day) for day in (1, 2, 3, 4)])
    assert [run.path.name for run in shown.history] == ["0001.json", "0002.json"]


def test_three_hundred_cases_fit_in_three_megabytes_and_ten_seconds(world):
    techniques = {f"technique-{number}": (1.0, 1.0, 1.0, 1e-4) for number in range(14)}
    world.techniques = {"fp32": (1.0, 1.0, 1.0, 0.0), **techniques}
    models = [f"model-{number}" for number in range(20)]
    runs = [world.parse(world.document(models, day=day, noise=0.001 * day)) for day in range(1, 16)]
    shown = reopen(runs[-1], runs[0], runs[:-1])
    assert len(shown.rows) == 300
    # The processor's time: what others do on the machine is not the report's.
    started = time.process_time()
    page = format_html(shown)
    assert time.process_time() - started < 10
    assert len(page.encode()) < 3_000_000
