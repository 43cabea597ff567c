from __future__ import annotations

import copy
from pathlib import Path

import pytest

from fixtures.regression.baseline import BaselineRefused, BaselineStore
from fixtures.regression.merging import MergeError, merge_runs
from fixtures.regression.run import parse_run

MODELS = ("gpt2", "t5-small", "gemma-2b")
TECHNIQUES = ("fp32", "nf4", "int8")
ORDER = [("tiny", model, technique) for model in MODELS for technique in TECHNIQUES]
SELECTION = {"models": None, "techniques": None, "scale": None, "workloads": []}


def set_in(document, path, value):
    *way, last = path
    for step in way:
        document = document[step]
    document[last] = value


@pytest.fixture
def shard(document):
    """Makes shard ``number`` of ``count``, dealt in turn, with a change where ``path`` leads."""
    template = next(bench for bench in document["benchmarks"] if bench["extra_info"].get("timed"))

    def make(number, count, path=(), value=None):
        whole = copy.deepcopy(document)
        whole["benchmarks"] = []
        for _, model, technique in ORDER[number - 1 :: count]:
            bench = copy.deepcopy(template)
            bench["extra_info"]["case"].update(model=model, technique=technique, scale="tiny")
            bench["fullname"] = f"perf_tests/test_decode.py::test_decode[{model}-{technique}]"
            whole["benchmarks"].append(bench)
        whole["datetime"] = f"2026-01-01T00:0{number}:00+00:00"
        whole["machine_info"]["settings"] = {
            "cores": 16,
            "environment": {"CUDA_VISIBLE_DEVICES": str(number), "OMP_WAIT_POLICY": "PASSIVE"},
        }
        whole["suite"].update(
            shard=f"{number}/{count}", partial=True, tier="gpu", selection=dict(SELECTION)
        )
        if path:
            set_in(whole, path, value)
        return parse_run(whole, Path(f"shard-{number}.json"))

    return make


def names(run):
    return [(record.case.model, record.case.technique) for record in run.records]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_shards_in_any_order_make_the_whole_matrix_in_its_order(shard, count):
    shards = [shard(number, count) for number in range(count, 0, -1)]
    merged = merge_runs(shards, ORDER)
    assert names(merged) == [(model, technique) for _, model, technique in ORDER]
    assert merged.shard is None
    assert not merged.partial
    assert merged.when == f"2026-01-01T00:0{count}:00+00:00"
    assert [each["shard"] for each in merged.suite["merged"]] == [
        f"{number}/{count}" for number in range(1, count + 1)
    ]


def test_rounds_of_every_case_are_those_of_its_shard(shard):
    shards = [shard(1, 2), shard(2, 2)]
    merged = merge_runs(shards, ORDER)
    for part in shards:
        for record in part.records:
            assert merged.find(record.case.key, "tpot_s").samples == record.samples


def test_shard_is_no_history_and_its_merged_run_is(shard):
    assert shard(1, 2).shard == "1/2"
    assert shard(1, 2).fault == "ran only part of the matrix"
    assert merge_runs([shard(1, 2), shard(2, 2)], ORDER).fault is None


def with_canaries(shard, *canaries):
    """A shard for each pair of a start and an end."""
    return [
        shard(
            number,
            len(canaries),
            ("suite", "canaries"),
            {"start": {"copy_s": start}, "end": {"copy_s": end} if end else {}},
        )
        for number, (start, end) in enumerate(canaries, start=1)
    ]


def test_canaries_at_the_start_are_medians_over_the_shards(shard):
    shards = with_canaries(shard, (0.010, None), (0.030, None), (0.014, None))
    suite = merge_runs(shards, ORDER).suite
    assert suite["canaries"] == {"start": {"copy_s": 0.014}, "end": {}}
    starts = [each["canaries"]["start"]["copy_s"] for each in suite["merged"]]
    assert starts == [0.010, 0.030, 0.014]


@pytest.mark.parametrize(("end", "change"), [(0.04, r"\+100.0 %"), (0.01, "-50.0 %")])
def test_machine_of_one_shard_that_changed_refuses_the_merged_run(shard, tmp_path, end, change):
    shards = with_canaries(shard, (0.02, 0.02), (0.02, end), (0.02, 0.0202))
    merged = merge_runs(shards, ORDER)
    assert merged.moves == {"copy_s": pytest.approx(2.0)}
    assert merged.suite["canaries"] == {"start": {"copy_s": 0.02}, "end": {"copy_s": end}}
    with pytest.raises(BaselineRefused, match=f"the machine changed .*canary copy_s {change}"):
        BaselineStore(tmp_path).accept(merged, "please")


def test_merged_run_that_was_saved_with_medians_alone_moved_as_its_shards_did(shard):
    merged = merge_runs(with_canaries(shard, (0.02, 0.02), (0.02, 0.04), (0.02, 0.02)), ORDER)
    medians = {"start": {"copy_s": 0.02}, "end": {"copy_s": 0.02}}
    suite = {**merged.suite, "canaries": medians}
    saved = parse_run({**merged.document, "suite": suite}, merged.path)
    assert saved.moves == {"copy_s": 2.0}


@pytest.mark.parametrize(
    ("path", "value", "attribute"),
    [
        (("commit_info", "dirty"), True, "dirty"),
        (("suite", "left_out"), ["3 tests deselected"], "partial"),
        (("suite", "failed"), ["test_decode.py::test_decode[gpt2]"], "failed"),
        (("suite", "planted"), ["tpot_s:+5%@gpt2-nf4"], "planted"),
    ],
)
def test_blemish_of_one_shard_is_one_of_the_merged_run(shard, path, value, attribute):
    merged = merge_runs([shard(1, 2), shard(2, 2, path, value)], ORDER)
    assert getattr(merged, attribute)


@pytest.mark.parametrize(
    ("path", "value", "difference"),
    [
        (("machine_info", "device_key"), "other-gpu", "device_key: .* -> other-gpu"),
        (("commit_info", "id"), "abc1234", "commit: .* -> abc1234"),
        (("machine_info", "packages", "torch"), "2.14.0", r"packages.torch: 2.11.0 -> 2.14.0"),
        (("machine_info", "settings", "cores"), 8, "settings.cores: 16 -> 8"),
        (
            ("machine_info", "settings", "environment", "OMP_WAIT_POLICY"),
            "ACTIVE",
            "settings.environment.OMP_WAIT_POLICY: PASSIVE -> ACTIVE",
        ),
        (("suite", "selection", "models"), ["gpt2"], "selection.models: None -> "),
        (("suite", "tier"), "cpu", "tier: gpu -> cpu"),
    ],
)
def test_shards_of_unlike_runs_are_refused_by_what_differs(shard, path, value, difference):
    with pytest.raises(
        MergeError, match=f"shard-1.json and shard-2.json differ in {difference}.*; measure all"
    ):
        merge_runs([shard(1, 2), shard(2, 2, path, value)], ORDER)


def test_unlike_schemas_are_refused(shard, monkeypatch):
    monkeypatch.setattr("fixtures.regression.run.SCHEMA", 2)
    with pytest.raises(MergeError, match="differ in schema: 1 -> 2"):
        merge_runs([shard(1, 2), shard(2, 2, ("suite", "schema"), 2)], ORDER)


def test_missing_shards_are_named(shard):
    with pytest.raises(MergeError, match=r"^shard 2/3 is missing; merge all 3 of them$"):
        merge_runs([shard(1, 3), shard(3, 3)], ORDER)
    with pytest.raises(MergeError, match=r"^shards 1/3, 3/3 are missing; merge all 3 of them$"):
        merge_runs([shard(2, 3)], ORDER)


def test_shard_given_twice_is_refused(shard):
    with pytest.raises(MergeError, match=r"shard-1.json and shard-1.json are both shard 1/2"):
        merge_runs([shard(1, 2), shard(1, 2)], ORDER)


def test_shards_of_different_divisions_are_refused(shard):
    with pytest.raises(
        MergeError, match=r"shard-2.json is shard 2/3 and shard-1.json is shard 1/2"
    ):
        merge_runs([shard(1, 2), shard(2, 3)], ORDER)


def test_case_timed_in_two_shards_is_refused(shard):
    double = shard(1, 2).document["benchmarks"]
    with pytest.raises(
        MergeError,
        match=r"shard-1.json and shard-2.json both hold tpot_s of gpt2-fp32-.*; measure the shards",
    ):
        merge_runs([shard(1, 2), shard(2, 2, ("benchmarks",), double)], ORDER)


def test_model_whose_weights_differ_between_shards_is_refused(shard):
    seeded = copy.deepcopy(shard(2, 2).document["benchmarks"])
    for bench in seeded:
        bench["extra_info"]["case"]["weights"] = "seeded"
    with pytest.raises(
        MergeError,
        match=r"tiny gpt2 has shipped weights in shard-1.json and seeded ones in shard-2.json; ",
    ):
        merge_runs([shard(1, 2), shard(2, 2, ("benchmarks",), seeded)], ORDER)


def test_what_is_trained_from_nothing_may_begin_with_other_weights(shard):
    scratch = copy.deepcopy(shard(1, 2).document["benchmarks"])
    scratch.append(copy.deepcopy(scratch[0]))
    scratch[-1]["extra_info"]["case"] |= {"technique": "scratch", "weights": "seeded"}
    merged = merge_runs([shard(1, 2, ("benchmarks",), scratch), shard(2, 2)], ORDER)
    assert names(merged)[-1] == ("gpt2", "scratch")


def test_run_that_is_no_shard_is_refused(shard):
    with pytest.raises(MergeError, match=r"shard-1.json is no shard; measure it with --shard K/N"):
        merge_runs([shard(1, 2, ("suite", "shard"), None), shard(2, 2)], ORDER)


def test_damaged_shard_number_is_an_error_that_names_the_file(shard):
    with pytest.raises(MergeError, match=r"shard-1.json: shard 'one' is not of the form K/N"):
        merge_runs([shard(1, 2, ("suite", "shard"), "one"), shard(2, 2)], ORDER)


def test_nothing_to_merge_is_an_error():
    with pytest.raises(MergeError, match="there is no shard to merge"):
        merge_runs([], ORDER)
