from __future__ import annotations

from fixtures.reporting.html import format_html
from fixtures.reporting.markdown import format_markdown
from fixtures.reporting.report import reopen
from fixtures.reporting.sections.adaptation import build_adaptation


def adapt(world):
    """A run in which one technique of gpt2 is an adapter that recovers too little."""
    document = world.document()
    scored = world.find(document, "gpt2", "nf4", "kl_nats")["extra_info"]
    scored["metrics"] = {
        "recovered_share": 0.875,
        "target_perplexity": 2.5,
        "target_ppl_ratio": 0.001,
        "forgotten_nats": 0.25,
    }
    scored["verdicts"] = [
        {
            "metric": "recovered_share",
            "verdict": "regressed",
            "reason": "below it",
            "interval": [0.86, 0.89],
            "new": 0.875,
            "limit": 0.9,
        }
    ]
    stored = world.find(document, "gpt2", "nf4", "storage_bytes")["extra_info"]
    stored["metrics"]["adapter_bytes"] = 65536
    return world.parse(document)


def test_adapters_have_a_table_of_their_own(world):
    section = build_adaptation(reopen(adapt(world)))
    (block,) = section.blocks
    assert block.title == "gpt2, tiny"
    (row,) = block.table.rows
    shown = dict(zip(block.table.headings, row, strict=True))
    assert shown["technique"].text == "nf4"
    assert shown["recovered"].text == "0.8750 [0.8600, 0.8900], of 0.9000"
    assert shown["recovered"].tone == "bad"
    assert shown["forgotten"].text == "0.250 nats"
    assert shown["adapter"].text == "64.00 KiB"
    assert shown["over LoRA's"].text == "n/a"


def test_run_without_an_adapter_has_no_such_section(report):
    assert build_adaptation(report) is None


def test_section_is_in_the_report_and_in_its_markdown(world):
    report = reopen(adapt(world))
    assert "Adapters of gpt2, tiny" in format_html(report)
    assert "0.8750 \\[0.8600, 0.8900\\], of 0.9000" in format_markdown(report)
