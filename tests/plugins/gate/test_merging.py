from __future__ import annotations

import json
import re

import pytest

TECHNIQUES = ["fp32", "nf4", "int8", "bf16", "fp4"]


@pytest.fixture(scope="module")
def measured(new_stage):
    """A baseline of five techniques and runs, one whole run and its two shards, all unchanged."""
    stage = new_stage()
    script = {"techniques": TECHNIQUES, "unsupported": ["fp4"]}
    stage.accept(1.002, 1.003, 1.004, 1.005, **script)
    whole = stage.run(**script)
    for number in (1, 2):
        finished = stage.run(
            f"--shard={number}/2", f"--benchmark-json=shard-{number}.json", **script
        )
        assert finished.status == 0, finished.text
    return stage, whole


def results(text):
    """The tables and the lines below them, but for what names a saved file or counts them."""
    shown = re.search(r"(?ms)^=+ results =+\n(.*?)^=+ ", text)[1].splitlines()
    return [line for line in shown if line and not line.startswith(("saved:", "history:"))]


def read(path):
    return json.loads(path.read_text())


def merge(stage, *arguments, files=("shard-1.json", "shard-2.json")):
    return stage.run(*(f"--merge={name}" for name in files), *arguments)


def error(finished):
    """The one sentence of a run that was refused before a test ran."""
    (said,) = [line for line in finished.lines if line.strip()]
    return said.removeprefix("ERROR: ")


def test_merged_shards_print_what_one_run_prints(measured):
    stage, whole = measured
    merged = merge(stage, "--benchmark-json=merged.json")
    assert merged.status == 0
    assert "verdicts: 20 unchanged" in merged.text
    assert "not run: tiny-gpt2-fp4: this device lacks what it needs" in merged.text
    assert results(merged.text) == results(whole.text)


def test_report_of_a_merged_run_is_of_what_its_shards_measured(measured):
    stage, _ = measured
    shards = [read(stage.root / f"shard-{number}.json") for number in (1, 2)]
    shards[1]["suite"] |= {"failed": ["test_decode[nf4]"], "failures": {"test_decode[nf4]": "boom"}}
    for number, whole in enumerate(shards, start=1):
        whole["commit_info"]["id"] = "4f2c9e1"
        (stage.root / f"report-{number}.json").write_text(json.dumps(whole))
    files = ("report-1.json", "report-2.json")
    merge(stage, "--benchmark-json=merged.json", "--report=report", files=files)
    page = (stage.root / "report/report.md").read_text()
    assert "4f2c9e1" in page  # where it was measured, not where it was merged
    assert "boom" in page
    assert "tiny-gpt2-fp4: this device lacks what it needs" in page


def test_shard_is_saved_as_partial_with_its_number(measured):
    stage, _ = measured
    suites = [read(stage.root / f"shard-{number}.json")["suite"] for number in (1, 2)]
    assert [suite["shard"] for suite in suites] == ["1/2", "2/2"]
    assert all(suite["partial"] for suite in suites)


def test_shards_hold_each_variant_once(measured):
    stage, _ = measured
    held = [
        {
            bench["extra_info"]["case"]["technique"]
            for bench in read(stage.root / f"shard-{number}.json")["benchmarks"]
        }
        for number in (1, 2)
    ]
    assert held == [{"fp32", "int8"}, {"nf4", "bf16"}]  # fp4 is the fifth, and cannot run


def test_merged_run_is_saved_whole_once_and_can_be_accepted(measured):
    stage, _ = measured
    before = stage.saved()
    finished = merge(stage, "--accept-baseline", "--reason=measured in two shards")
    assert finished.status == 0, finished.text
    (path,) = set(stage.saved()) - set(before)
    assert re.fullmatch(r"0006_unversioned_\d{8}_\d{6}_merged.json", path.name)
    assert read(path)["suite"]["partial"] is False
    assert f"accepted {path.name} as baselines/accepted-" in finished.text
    again = merge(stage)
    assert again.status == 4
    sentence = f"shard-1.json, shard-2.json were merged before, into .*{path.name}; .*"
    assert re.fullmatch(sentence, error(again))
    assert merge(stage, "--benchmark-json=again.json").status == 0


def test_shard_of_another_night_is_refused_where_that_night_was_merged(measured):
    stage, _ = measured
    shards = [read(stage.root / f"shard-{number}.json") for number in (1, 2)]
    for night in (1, 2):
        for number, whole in enumerate(shards, start=1):
            whole["datetime"] = f"2026-02-0{night}T02:1{number}:00+00:00"
            (stage.root / f"night-{night}-{number}.json").write_text(json.dumps(whole))
    assert merge(stage, files=("night-1-1.json", "night-1-2.json")).status == 0
    before = stage.saved()
    # The later shard is new, and gives the run its time.
    mixed = merge(stage, files=("night-1-1.json", "night-2-2.json"))
    assert mixed.status == 4
    assert re.fullmatch(
        f"night-1-1.json was merged before, into .*{before[-1].name}; .*", error(mixed)
    )
    assert stage.saved() == before
    assert merge(stage, files=("night-2-1.json", "night-2-2.json")).status == 0


def test_shard_alone_never_becomes_the_baseline(measured):
    stage, _ = measured
    finished = stage.run("--accept-baseline=shard-1.json", "--reason=please")
    assert finished.status == 1
    assert "it is shard 1/2; merge it with the others by --merge" in finished.text


def test_regression_in_one_shard_fails_the_merged_run_by_its_paragraph(measured):
    stage, _ = measured
    seconds = {"default": 0.002, "tiny-gpt2-nf4 tpot_s": 0.0024}
    script = {"techniques": TECHNIQUES, "unsupported": ["fp4"], "seconds": seconds}
    slow = stage.run("--shard=2/2", "--benchmark-json=slow.json", **script)
    assert slow.status == 1
    merged = merge(stage, "--benchmark-json=merged.json", files=("shard-1.json", "slow.json"))
    assert merged.status == 1
    (paragraph,) = re.findall(
        r"(?m)^tiny gpt2-nf4-.* on Example CPU: tpot_s regressed$", merged.text
    )
    assert paragraph in slow.text
    assert "1 regressed" in merged.text


def test_shards_measured_without_a_baseline_are_judged_when_merged(measured, new_stage):
    stage, _ = measured
    bare = new_stage()
    script = {"techniques": TECHNIQUES, "seconds": {"default": 0.0024}}
    for number in (1, 2):
        finished = bare.run(
            f"--shard={number}/2", f"--benchmark-json={stage.root}/new-{number}.json", **script
        )
        assert finished.status == 0, finished.text
        assert "no-baseline" in finished.text
    merged = merge(stage, "--benchmark-json=merged.json", files=("new-1.json", "new-2.json"))
    assert merged.status == 1
    assert re.search(r"(?m)^verdicts: .*\b\d+ regressed", merged.text)
    verdicts = [
        verdict["verdict"]
        for bench in read(stage.root / "merged.json")["benchmarks"]
        for verdict in bench["extra_info"]["verdicts"]
    ]
    assert verdicts.count("regressed") == 12  # four techniques of the baseline, three timed cases


def test_case_that_no_shard_measured_is_missing_from_the_merged_run(measured):
    stage, _ = measured
    script = {"techniques": TECHNIQUES, "unsupported": ["bf16", "fp4"]}
    shard = stage.run("--shard=2/2", "--benchmark-json=less.json", **script)
    assert len(shard.said("missing: tiny gpt2-bf16-")) == 3
    assert len(shard.said("missing: ")) == 3  # and nothing of the other shard's
    files = ("shard-1.json", "less.json")
    merged = merge(stage, "--strict-baseline", "--benchmark-json=merged.json", files=files)
    assert merged.status == 1
    assert {line.split("-")[1] for line in merged.said("missing: ")} == {"bf16"}


def test_merged_run_of_chosen_models_misses_what_a_whole_one_of_them_does(measured):
    stage, _ = measured
    script = {"techniques": ["fp32", "nf4", "int8", "fp4"], "unsupported": ["fp4"]}
    whole = stage.run("--models=gpt2", "--strict-baseline", **script)
    for number in (1, 2):
        part = (f"--shard={number}/2", f"--benchmark-json=chosen-{number}.json")
        assert stage.run("--models=gpt2", *part, **script).status == 0
    files = ("chosen-1.json", "chosen-2.json")
    merged = merge(stage, "--strict-baseline", "--benchmark-json=merged.json", files=files)
    assert (whole.status, merged.status) == (1, 1)
    assert len(whole.said("missing: tiny gpt2-bf16-")) == 5  # all that its baseline has of bf16
    assert merged.said("missing: ") == whole.said("missing: ")
    assert read(stage.root / "merged.json")["suite"]["left_out"] == ["--models was given"]


def test_shards_of_a_gpu_are_merged_where_none_is(measured):
    stage, _ = measured
    gpu = {
        "kind": "cuda",
        "name": "NVIDIA H200",
        "memory_bytes": 2**37,
        "threads": None,
        "index": 0,
        "driver": "580.95.05",
        "power_limit_w": 700.0,
        "compute_capability": [9, 0],
        "flags": [],
    }
    for number in (1, 2):
        whole = read(stage.root / f"shard-{number}.json")
        whole["machine_info"]["device"] = {**gpu, "uuid": f"GPU-{number}"}
        whole["machine_info"]["device_key"] = "nvidia-h200-driver-580-700w"
        whole["suite"]["tier"] = "gpu"
        (stage.root / f"gpu-{number}.json").write_text(json.dumps(whole))
    merged = merge(stage, "--benchmark-json=merged.json", files=("gpu-1.json", "gpu-2.json"))
    assert merged.status == 0, merged.text
    suite = read(stage.root / "merged.json")["suite"]
    assert [each["device"]["uuid"] for each in suite["merged"]] == ["GPU-1", "GPU-2"]
    # It has no baseline of its own, and is not held to the CPU's.
    assert "no run was accepted on nvidia-h200-driver-580-700w; record one" in merged.text


def test_test_that_failed_in_a_shard_fails_the_merged_run(measured):
    stage, _ = measured
    whole = read(stage.root / "shard-2.json")
    whole["suite"]["failed"] = ["perf_tests/test_decode.py::test_decode[gpt2-bf16]"]
    (stage.root / "failed.json").write_text(json.dumps(whole))
    files = ("shard-1.json", "failed.json")
    merged = merge(stage, "--benchmark-json=merged.json", files=files)
    assert merged.status == 1
    assert "test_decode[gpt2-bf16] failed where it was measured; see that shard" in merged.text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--merge=shard-1.json"], "shard 2/2 is missing; merge all 2 of them"),
        (["--merge=none.json"], "none.json: cannot be read: No such file or directory"),
        (["--merge=script.json"], "script.json: machine_info is no object with fields; .*"),
        (
            ["--merge=shard-1.json", "--models=gpt2"],
            "--merge runs no test; --models goes with each shard's run",
        ),
        (["--merge=shard-1.json", "-n2"], "--merge runs no test; -n goes with each shard's run"),
        (
            ["--from=0001", "--report=out", "--merge=shard-1.json"],
            "--from .* --merge goes without .*",
        ),
        (
            ["--merge=shard-1.json", "--accept-baseline=0001", "--reason=x"],
            "--merge accepts what it merges; give --accept-baseline no name",
        ),
        (["--shard=3/2"], "shard 3/2 does not exist; they are 1/N to N/N"),
        (["--shard=half"], "shard 'half' is not of the form K/N, such as 1/4"),
        (
            ["perf_tests", "--shard=1/9"],
            "shard 1/9 of 2 variants: there are not enough for every shard",
        ),
    ],
)
def test_command_that_makes_no_sense_is_refused_in_one_sentence(measured, arguments, sentence):
    finished = measured[0].run(*arguments)
    assert finished.status == 4
    assert re.fullmatch(sentence, error(finished))


@pytest.mark.parametrize(
    "option",
    [
        *(
            "-kfp32",
            "-mcpu",
            "--weights=seeded",
            "--corpus=none.txt",
            "--rounds=12",
            "--articles=3",
        ),
        *("--threads=2", "--workers=1", "--profile", "--plant=tpot_s:+5%@*", "--exclusive"),
        *("--portable", "--calibrate=2", "--shard=1/2", "--collect-only"),
    ],
)
def test_option_of_measuring_is_refused_beside_merge(measured, option):
    finished = measured[0].run("--merge=shard-1.json", "--merge=shard-2.json", option)
    assert finished.status == 4
    name = option.partition("=")[0] if option.startswith("--") else option[:2]
    assert error(finished) == f"--merge runs no test; {name} goes with each shard's run"


def test_options_of_judging_saving_and_reporting_are_used_beside_merge(measured):
    stage, _ = measured
    finished = merge(
        stage,
        *("--strict-baseline", "--benchmark-compare=0002", "--benchmark-json=used.json", "-n0"),
        *("--report=used", "--recommend=disk<=1GiB"),
    )
    assert finished.status == 0, finished.text
    assert "judged against: 0002_made.json" in finished.text
    assert "recommended for disk<=1GiB:" in finished.text
    assert (stage.root / "used.json").is_file() and (stage.root / "used/report.md").is_file()
