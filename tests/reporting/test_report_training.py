"""What training, profiling and writing leave in a run, as the report shows it."""

from __future__ import annotations

import re

import pytest

from fixtures.reporting.html import format_html
from fixtures.reporting.markdown import format_markdown
from fixtures.reporting.report import reopen
from fixtures.reporting.sections.scaling import build_scaling
from fixtures.reporting.table import format_tables, format_training_tables

EVIL = "<script>alert('x')</script> | *"


def cells_of(page, caption):
    """Cells of the table with a caption, row by row, tags taken out."""
    table = page[page.index(f"<caption>{caption}</caption>") :].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


@pytest.fixture
def trained(world):
    """Training of small-gpt at 1000, 1900 and 3400 tokens a second on 1, 2 and 4 workers."""
    document = world.document(models=["gpt2"])
    template = world.find(document, "gpt2", "fp32", "storage_bytes")
    document["benchmarks"] = []
    for workers, rate in ((4, 3400.0), (1, 1000.0), (2, 1900.0)):
        bench = {**template, "extra_info": {**template["extra_info"]}}
        case = {**bench["extra_info"]["case"], "model": "small-gpt", "workload": "train-b8-t512"}
        bench["extra_info"] |= {
            "case": {**case, "settings": {"dtype": "float32", "workers": workers}},
            "metrics": {"train_tokens_per_s": rate, "train_step_s": 4096 / rate},
        }
        document["benchmarks"].append(bench)
    return document


def test_scaling_shows_speed_up_and_efficiency_of_each_number_of_workers(world, trained):
    page = format_html(reopen(world.parse(trained)))
    assert cells_of(page, "Speed-up of training") == [
        ["small-gpt, tiny", "1", "1000", "1.00x", "100%"],
        ["small-gpt, tiny", "2", "1900", "1.90x", "95%"],
        ["small-gpt, tiny", "4", "3400", "3.40x", "85%"],
    ]
    assert 'aria-label="Training speed-up against workers"' in page


def test_training_on_one_number_of_workers_is_no_scaling(world, trained):
    trained["benchmarks"] = trained["benchmarks"][1:2]
    assert build_scaling(reopen(world.parse(trained))) is None


def test_speed_up_is_the_one_that_was_measured_beside_one_worker(world, trained):
    trained["benchmarks"][2]["extra_info"]["metrics"]["parallel_speed_up"] = 1.8
    curve = build_scaling(reopen(world.parse(trained))).blocks[0].table.rows
    assert [cell.text for cell in curve[1]] == ["small-gpt, tiny", "2", "1900", "1.80x", "90%"]


TRAINED = [
    ["method", "workload", "step", "tok/s", "peak", "trained", "adapter", "loss"],
    ["lora", "train-b2-t64", "250 ms!", "512", "2.00 MiB", "1.23 %", "8.00 KiB", "3.1416"],
    ["full", "train-b2-t64", "500 ms", "256", "4.00 MiB", "100 %", "n/a", "3.0000"],
]


@pytest.fixture
def adapted(world):
    """A run in which full fine-tuning held and a step of LoRA became slower."""
    document = world.document(models=["gpt2"])
    template = world.find(document, "gpt2", "fp32", "storage_bytes")
    document["benchmarks"] = []
    figures = {
        "full": (0.5, 256.0, 4 * 2**20, 1.0, None, 3.0, "unchanged"),
        "lora": (0.25, 512.0, 2 * 2**20, 0.0123, 8192, 3.14159, "regressed"),
    }
    for method, (step, rate, peak, share, adapter, loss, status) in figures.items():
        case = {**template["extra_info"]["case"], "technique": method, "workload": "train-b2-t64"}
        for metrics, verdict in (
            ({"train_step_s": step, "train_tokens_per_s": rate}, status),
            (
                {
                    "peak_allocated_bytes": peak,
                    "trainable_share": share,
                    "adapter_bytes": adapter,
                    "train_loss_nats": loss,
                },
                "unchanged",
            ),
        ):
            verdicts = [{"metric": next(iter(metrics)), "verdict": verdict, "reason": "so"}]
            info = {**template["extra_info"], "case": case}
            info |= {"metrics": metrics, "verdicts": verdicts}
            document["benchmarks"].append({**template, "extra_info": info})
    return reopen(world.parse(document))


def test_terminal_markdown_and_html_show_the_same_training(adapted):
    lines = format_training_tables(adapted.training_rows).splitlines()
    assert lines[0].strip() == "gpt2, tiny, training"
    assert [re.split(r"\s{2,}", line.strip()) for line in lines[1:4]] == TRAINED
    assert cells_of(format_html(adapted), "Training of gpt2 at tiny scale") == TRAINED[1:]
    section = format_markdown(adapted).partition("## Training\n")[2]
    table = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    assert [[cell.strip("*") for cell in row] for row in (table[0], *table[2:4])] == TRAINED


def test_training_is_no_line_of_the_matrix(adapted):
    assert adapted.rows == []
    assert format_tables(adapted.rows) == ""


def test_text_that_a_model_wrote_is_shown_as_text(world):
    document = world.document(models=["small-gpt"])
    bench = world.find(document, "small-gpt", "int8", "kl_nats")
    bench["extra_info"]["details"]["sample"] = {"opening": "It was", "continuation": EVIL}
    document["benchmarks"] = [bench]
    shown = reopen(world.parse(document))
    page, text = format_html(shown), format_markdown(shown)
    assert cells_of(page, "small-gpt, tiny: text that it wrote") == [
        ["int8", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; | *"]
    ]
    assert r"| int8 | &lt;script&gt;alert('x')&lt;/script&gt; \| \* |" in text
    assert "<p>Given: It was</p>" in page and "\nGiven: It was\n" in text


@pytest.fixture
def profiled(world):
    """Reopens a run in which decode of gpt2 nf4 became slower, with and without its profiles."""

    def show(*profiles):
        sides = [world.document(day=1), world.document(day=2)]
        world.slow_down(sides[1], "gpt2", "nf4", "tpot_s", 1.5)
        for document, profile in zip(sides, profiles, strict=True):
            bench = world.find(document, "gpt2", "nf4", "tpot_s")
            bench["extra_info"]["details"]["operators"] = profile
            document["benchmarks"] = [bench]
        baseline = world.parse(sides[0], "accepted-example.json")
        return reopen(world.judge(sides[1], baseline), baseline)

    return show


def test_regressed_case_shows_its_operators_before_and_after(profiled):
    shown = profiled(
        {"aten::mm": {"time_s": 0.001, "calls": 40}, "aten::add": {"time_s": 2e-5, "calls": 8}},
        {
            "aten::mm": {"time_s": 0.0019, "calls": 81},
            "aten::copy_": {"time_s": 3e-4, "calls": 2},
            "aten::add": {"time_s": 2e-5, "calls": 8},
        },
    )
    assert cells_of(format_html(shown), "Operators of tiny gpt2-nf4-b1-p64-n16, a token") == [
        ["aten::mm", "1.00 ms", "1.90 ms", "40 -&gt; 81"],
        ["aten::copy_", "0.00 us", "300 us", "0 -&gt; 2"],
        ["aten::add", "20.0 us", "20.0 us", "8"],
    ]
    assert "| aten::mm | 1.00 ms | 1.90 ms | 40 -&gt; 81 |" in format_markdown(shown)


def test_baseline_without_a_profile_is_not_available_instead_of_zero(profiled):
    shown = profiled({}, {"aten::mm": {"time_s": 0.0019, "calls": 81}})
    assert cells_of(format_html(shown), "Operators of tiny gpt2-nf4-b1-p64-n16, a token") == [
        ["aten::mm", "n/a", "1.90 ms", "81"]
    ]


def test_operator_that_may_be_among_the_others_is_not_called_gone(profiled):
    shown = profiled(
        {"aten::mm": {"time_s": 0.001, "calls": 40}, "aten::add": {"time_s": 1e-4, "calls": 9}},
        {
            "aten::mm": {"time_s": 0.002, "calls": 40},
            "other operators": {"time_s": 9e-5, "calls": 12},
        },
    )
    rows = cells_of(format_html(shown), "Operators of tiny gpt2-nf4-b1-p64-n16, a token")
    assert rows[1:] == [
        ["aten::add", "100 us", "n/a", "9 -&gt; n/a"],
        ["other operators", "0.00 us", "90.0 us", "0 -&gt; 12"],
    ]


def test_run_without_a_profile_shows_no_operators(profiled):
    assert "Operators of" not in format_html(profiled({"aten::mm": {"time_s": 1, "calls": 1}}, {}))
