from __future__ import annotations

import re

import pytest

GPT2 = ("--models", "gpt2", "--scale", "tiny", "--techniques", "fp32")


def test_timing_tests_are_refused_under_xdist_in_one_sentence(shared_checkout):
    finished = shared_checkout.run(*GPT2, "-n", "2")
    assert finished.status == 4
    errors = [line for line in finished.lines if line.startswith("ERROR")]
    assert errors == [
        "ERROR: 5 timing tests cannot run under xdist, whose workers share the cores; "
        "select others with -m accuracy, or time without workers with -n 0"
    ]
    assert "no tests ran" in finished.text
    assert "Traceback" not in finished.text


def test_no_workers_is_no_parallel_run(shared_checkout):
    assert shared_checkout.collect(*GPT2, "-n", "0", "-m", "timing")


@pytest.fixture(scope="module")
def scored(new_checkout, tmp_path_factory):
    """The accuracy tests of one model on two workers, on plain text of the user's own."""
    text = tmp_path_factory.mktemp("text") / "book.txt"
    text.write_text("The council of Harwick approved a plan on Monday. " * 60)
    chosen = (*GPT2, "-m", "accuracy", "--corpus", str(text))
    return new_checkout().run("perf_tests", *chosen, "-n", "2")


def test_accuracy_tests_run_on_two_workers(scored):
    assert scored.status == 0
    assert "2 workers [3 items]" in scored.text
    assert re.search("2 passed, 1 skipped", scored.text)


def test_table_is_gathered_from_the_workers(scored):
    assert re.search(r"(?m)^gpt2, tiny *\n.*\nfp32 +1.00000 +0 *$", scored.text)


def test_skip_is_told_once_with_its_reason(scored):
    reasons = [line for line in scored.lines if line.startswith("not run: ")]
    assert reasons == [
        "not run: tiny-gpt2-fp32: ROUGE needs articles with highlights, "
        "and corpus book.txt is plain text"
    ]
