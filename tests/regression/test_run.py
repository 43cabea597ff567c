from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.regression.run import RunFileError, parse_run, read_run

RECORDED = Path(__file__).parents[1] / "data" / "saved_run.json"


def test_recorded_run_is_read_with_rounds_per_step():
    run = read_run(RECORDED)
    assert run.device_key == "example-cpu-2-threads"
    assert (run.commit, run.dirty, run.partial, run.failed) == ("4f2c9e1", False, False, ())
    assert [case.name for case in run.cases()] == ["gpt2-fp32-b1-p8-n5", "gpt2-int8-b1-p8-n5"]
    key = run.cases()[0].key
    record = run.find(key, "tpot_s")
    assert len(record.samples) == 12
    # Sleeps of 4 ms hold four steps; a sleep never ends early.
    assert 0.001 <= run.median(key, "tpot_s") < 0.002
    assert record.metrics["nvml_process_bytes"] is None
    assert record.verdict("tpot_s").status == "no-baseline"
    assert run.packages["torch"] == "2.11.0"


def test_benchmarks_of_others_are_named_and_not_judged():
    assert read_run(RECORDED).foreign == ("test_r.py::test_other",)


def test_figure_is_found_in_a_record_that_timed_something_else():
    run = read_run(RECORDED)
    key = run.cases()[0].key
    assert run.find(key, "peak_allocated_bytes").metrics["peak_allocated_bytes"] == 5_000_000
    assert run.median(key, "peak_allocated_bytes") is None
    assert run.find(key, "ttft_s") is None


def set_in(document, path, value):
    *way, last = path
    for step in way:
        document = document[step]
    if value is None:
        del document[last]
    else:
        document[last] = value


FIRST = ("benchmarks", 0)
EXTRA = (*FIRST, "extra_info")


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("machine_info",), None, "machine_info is no object with fields; restore it"),
        (("machine_info", "device_key"), None, "saved without this suite's plugins; record"),
        (("suite",), None, "saved without this suite's plugins; record the run with them"),
        (("suite", "schema"), 2, "schema 2, and this checkout reads 1 to 1; update the checkout"),
        (("suite", "failed"), "none", "suite.failed is no list"),
        (("benchmarks",), {}, "benchmarks or suite.failed is no list"),
        (("machine_info", "packages"), [], "machine_info.packages is no object"),
        ((*EXTRA, "schema"), 2, "has schema 2, and this checkout reads up to 1; update"),
        ((*EXTRA, "schema"), "1", "has schema '1', not a number"),
        ((*EXTRA, "case"), None, "a case is an object with fields, not None"),
        ((*EXTRA, "case", "scale"), None, "a case lacks 'scale'"),
        ((*EXTRA, "metrics", "perplexity"), "7.25", "has perplexity = '7.25', not a number"),
        ((*EXTRA, "metrics"), [], "metrics of test_r.py.* is no object with fields"),
        ((*EXTRA, "verdicts"), {}, "holds {} where a list belongs"),
        ((*EXTRA, "verdicts", 0, "verdict"), "good", "'good' is no verdict"),
        ((*EXTRA, "timed", "steps"), 0, "was timed over 0 steps"),
        ((*FIRST, "stats", "data"), None, "save with --benchmark-save-data"),
        ((*FIRST, "stats", "data"), [], "holds no round; restore the file"),
        ((*FIRST, "stats", "data", 3), "1.0", "holds a round of '1.0' s"),
        ((*FIRST, "stats", "data", 3), -1.0, "holds a round of -1.0 s"),
    ],
)
def test_damaged_run_is_an_error_that_names_file_and_fix(tmp_path, document, path, value, sentence):
    set_in(document, path, value)
    file = tmp_path / "0001_damaged.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(RunFileError, match=sentence) as caught:
        read_run(file)
    assert str(caught.value).startswith(f"{file}: ")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.99])
def test_truncated_file_is_an_error(tmp_path, share):
    text = RECORDED.read_text(encoding="utf-8")
    file = tmp_path / "0001_truncated.json"
    file.write_text(text[: int(share * len(text))], encoding="utf-8")
    with pytest.raises(RunFileError, match=r"truncated or damaged at line .*; restore it"):
        read_run(file)


def test_nan_in_a_file_is_an_error(tmp_path, document):
    document["benchmarks"][0]["stats"]["data"][0] = float("nan")
    file = tmp_path / "nan.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(RunFileError, match="it holds NaN, which no measurement is"):
        read_run(file)


def test_file_of_another_kind_is_an_error(tmp_path):
    file = tmp_path / "list.json"
    file.write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(RunFileError, match="the file is no object with fields"):
        read_run(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunFileError, match="damaged: 'utf-8' codec"):
        read_run(file)


def test_absent_file_is_an_error(tmp_path):
    with pytest.raises(RunFileError, match=r"none\.json: cannot be read: No such file"):
        read_run(tmp_path / "none.json")


def test_case_timed_twice_is_an_error(document):
    document["benchmarks"].append(document["benchmarks"][0])
    with pytest.raises(RunFileError, match=r"tpot_s of gpt2-fp32-b1-p8-n5 was timed twice, by"):
        parse_run(document, Path("twice.json"))


def test_renaming_the_test_keeps_the_case(document):
    key = read_run(RECORDED).cases()[0].key
    document["benchmarks"][0]["fullname"] = "perf_tests/test_moved.py::test_renamed[gpt2]"
    assert parse_run(document, RECORDED).find(key, "tpot_s") is not None
