"""Plants that go nowhere or mean nothing are refused before anything is measured."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "plant",
    [
        "tpot_s:+5%@gpt2-nf4",  # tiny-gpt2-nf4 was meant
        "tpot_s:+5%@tiny-gpt2-int8",  # not in the matrix
        "generate_s:+5%@*",  # no such test here
    ],
)
def test_plant_that_no_test_can_show_is_a_usage_error(judged_stage, plant):
    run = judged_stage.run(f"--plant={plant}")
    assert run.status == 4
    assert f"ERROR: --plant {plant!r} goes into no selected test" in run.text
    assert "passed" not in run.text


def test_plant_whose_test_was_deselected_is_a_usage_error(judged_stage):
    run = judged_stage.run("--plant=tpot_s:+5%@*", "-k", "prefill")
    assert run.status == 4


def test_plant_that_means_nothing_is_a_usage_error_in_one_sentence(judged_stage):
    run = judged_stage.run("--plant=tpot_s:faster@*")
    assert run.status == 4
    (error,) = run.said("ERROR: ")
    assert "known forms: ttft_s|tpot_s|generate_s|load_s|" in error and ":+5%" in error
