"""What is left out of a run that is accepted: figures of a machine that was not itself."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from fixtures.regression.baseline import BaselineRefused, BaselineStore
from fixtures.regression.run import parse_run

KEY = "example-cpu-2-threads"


@pytest.fixture
def store(tmp_path):
    return BaselineStore(tmp_path / "baselines")


def test_figures_of_a_device_held_back_are_left_out_and_the_rest_accepted(store, document):
    beside = copy.deepcopy(document["benchmarks"][0])
    beside["fullname"] = "test_prefill_holds_ttft"
    beside["extra_info"]["timed"] = {"metric": "ttft_s"}
    beside["extra_info"]["verdicts"] = [
        {"metric": "ttft_s", "verdict": "tainted", "reason": "held back (thermal_s +0.2)"}
    ]
    document["benchmarks"][0]["extra_info"]["verdicts"] = []
    document["benchmarks"].append(beside)
    document["suite"]["partial"] = False
    document["commit_info"]["dirty"] = False
    whole = parse_run(document, Path("run.json"))
    store.accept(whole, "hot for a moment", tainted=False)
    found = store.find_accepted(whole.device_key).run
    assert {record.timed for record in whole.records} == {"tpot_s", "ttft_s"}
    assert {record.timed for record in found.records} == {"tpot_s"}
    assert len(found.records) == len(whole.records) - 1
    assert found.foreign == whole.foreign


def test_a_regression_is_not_left_out_with_the_taint_beside_it(store, document):
    document["benchmarks"][0]["extra_info"]["verdicts"] = [
        {"metric": "tpot_s", "verdict": "tainted", "reason": "and so is the machine"},
        {"metric": "paired:tpot_s", "verdict": "regressed", "reason": "slower"},
    ]
    document["suite"]["partial"] = False
    document["commit_info"]["dirty"] = False
    with pytest.raises(
        BaselineRefused, match=r"2 figures were not sound .*regressed, .*tainted\)$"
    ):
        store.accept(parse_run(document, Path("run.json")), "please", tainted=False)


def test_run_of_a_machine_that_changed_gives_no_times(store, build_run):
    slowed = {"start": {"copy_s": 1.0, "dispatch_s": 0.006}, "end": {"dispatch_s": 0.012}}
    run = build_run(1.0, canaries=slowed)
    with pytest.raises(BaselineRefused, match=r"canary dispatch_s \+100.0 %.*--without-times"):
        store.accept(run, "please")
    assert store.find_accepted(KEY) is None
    steady = {"start": {"dispatch_s": 0.006}, "end": {"dispatch_s": 0.007}}
    store.accept(build_run(1.0, canaries=steady), "a sixth is no other machine")


def test_bytes_and_accuracy_of_such_a_run_are_held_to_all_the_same(store, document):
    document["suite"] |= {
        "canaries": {"start": {"dispatch_s": 0.006}, "end": {"dispatch_s": 0.012}},
        "partial": False,
    }
    document["commit_info"]["dirty"] = False
    for place, name in enumerate(("kl_nats", "energy_j_per_token"), start=1):
        beside = copy.deepcopy(document["benchmarks"][0])
        beside["fullname"] = f"test_{name}"
        beside["extra_info"] |= {"timed": {}, "metrics": {name: 0.1}, "verdicts": []}
        document["benchmarks"].insert(place, beside)
    whole = parse_run(document, Path("run.json"))
    store.accept(whole, "bytes and accuracy", times=False)
    found = store.find_accepted(whole.device_key)
    assert found.sessions == {}
    assert [dict(record.metrics) for record in found.run.records] == [{"kl_nats": 0.1}]
    assert found.run.foreign == whole.foreign


SLOW_HOST = {
    "start": {"copy_s": 1.0, "dispatch_s": 0.006},
    "end": {"copy_s": 1.01, "dispatch_s": 0.009},
}


def test_a_replayed_graph_does_not_show_that_its_host_changed(store, build_run):
    # 1 / (0.95 + 0.05 / 1.5) = 1.017, and 1 / (0.8 + 0.2 / 1.5) = 1.071: beyond 3 %.
    for busy in (0.8, None):
        with pytest.raises(BaselineRefused, match=r"dispatch_s \+50.0 %.* 1 of its times"):
            store.accept(build_run(canaries=SLOW_HOST, gpu_busy=busy), "please")
    run = build_run(canaries=SLOW_HOST, gpu_busy=0.95)
    store.accept(run, "the GPU bounds it")
    assert store.find_accepted(KEY).run.records == run.records


def test_loads_that_would_not_refuse_a_run_are_no_part_of_what_another_does(store, build_run):
    # Of an H200 in a minute of compiled decode: the host 41 % slower, and a copy that flickers.
    canaries = {
        "start": {"copy_s": 0.517, "dispatch_s": 6.84},
        "end": {"copy_s": 0.544, "dispatch_s": 9.63},
    }
    run = build_run(canaries=canaries, gpu_busy=0.997)
    store.accept(run, "the GPU bounds it")
    assert store.find_accepted(KEY).run.records == run.records
    with pytest.raises(BaselineRefused, match=r"dispatch_s \+40.8 %"):
        store.accept(build_run(canaries=canaries, gpu_busy=0.8), "please")


def test_what_the_host_bounds_is_left_out_of_such_a_run(store, document):
    document["suite"] |= {"canaries": SLOW_HOST, "partial": False}
    document["commit_info"]["dirty"] = False
    first, second = document["benchmarks"][:2]
    first["extra_info"]["metrics"]["gpu_busy:tpot_s"] = 0.99
    second["extra_info"]["metrics"]["gpu_busy:tpot_s"] = 0.1
    for place, bench in ((1, first), (3, second)):
        energy = copy.deepcopy(bench)
        energy["fullname"] = f"test_energy_{place}"
        energy["extra_info"] |= {
            "timed": {},
            "metrics": {"energy_j_per_token": 0.1},
            "verdicts": [],
        }
        document["benchmarks"].insert(place, energy)
    run = parse_run(document, Path("run.json"))
    names = [record.test for record in run.records]
    with pytest.raises(BaselineRefused, match=r"in 2 of its times and energies.*--without-tainted"):
        store.accept(run, "please")
    store.accept(run, "the host was slow at first", tainted=False)
    kept = store.find_accepted(run.device_key).run.records
    assert [record.test for record in kept] == names[:2]


def test_a_regression_is_not_left_out_with_a_slow_host(store, build_run):
    run = build_run(canaries=SLOW_HOST, gpu_busy=0.1, verdict="regressed")
    with pytest.raises(BaselineRefused, match=r"1 figures were not sound .*regressed"):
        store.accept(run, "please", tainted=False)
