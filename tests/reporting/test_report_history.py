from __future__ import annotations

from fixtures.reporting.report import reopen
from fixtures.reporting.sections.history import build_history


def test_first_run_of_a_device_has_no_line(world):
    section = build_history(reopen(world.parse(world.document(models=["gpt2"]))))
    assert section.blocks == ()
    assert section.lead == (
        "No case of this run was saved on example-cpu-2-threads before; a line needs two."
    )


def test_case_that_no_earlier_run_has_is_counted_and_not_drawn(world):
    before = world.parse(world.document(models=["gpt2"], day=1), "0001.json")
    run = world.parse(world.document(models=["gpt2", "t5-small"], day=2))
    section = build_history(reopen(run, None, [before]))
    assert {block.title.partition(",")[0] for block in section.blocks} == {"gpt2"}
    # Four techniques of t5-small, each timed in prefill, decode and generate.
    assert section.lead.endswith(" 12 cases had no run before.")


def test_run_with_other_cases_than_before_has_no_empty_drawing(world):
    before = world.parse(world.document(models=["t5-small"], day=1), "0001.json")
    run = world.parse(world.document(models=["gpt2"], day=2))
    assert build_history(reopen(run, None, [before])).blocks == ()
