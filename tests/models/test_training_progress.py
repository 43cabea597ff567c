from __future__ import annotations

import io
import itertools

import pytest
from rich.console import Console

from fixtures.models.training_progress import TrainingProgress


def show(terminal, done=0, steps=(10, 20)):
    """What is printed of a run whose clock ticks two seconds a report, 100 tokens a step."""
    page = io.StringIO()
    console = Console(file=page, force_terminal=terminal, width=120, color_system=None)
    clock = itertools.count(0, 2).__next__
    with TrainingProgress("small-gpt", 20, 100.0, done, console, clock) as progress:
        for step in steps:
            progress.report(step, 1.23456)
    return page.getvalue()


def test_a_file_gets_one_plain_line_a_report():
    # 10 steps of 100 tokens in 2 s are 500 tokens a second.
    assert show(terminal=False) == (
        "small-gpt: step 10 of 20, loss 1.2346 nats, 500 tokens/s\n"
        "small-gpt: step 20 of 20, loss 1.2346 nats, 500 tokens/s\n"
    )


def test_a_terminal_gets_a_bar_with_the_same_figures():
    shown = show(terminal=True)
    assert "━" in shown
    assert "20/20  loss 1.2346 nats, 500 tokens/s" in shown


def test_steps_done_before_a_resumption_do_not_make_it_look_faster():
    assert "step 10 of 20, loss 1.2346 nats, 250 tokens/s" in show(False, done=5, steps=(10,))


@pytest.mark.parametrize(("terminal", "reports"), [(False, 20), (True, 200)])
def test_a_bar_is_told_more_often_than_lines_are_printed(terminal, reports):
    console = Console(file=io.StringIO(), force_terminal=terminal)
    assert TrainingProgress("a", 1, 1.0, console=console).reports == reports
