from __future__ import annotations

import copy
from pathlib import Path

from fixtures.regression.run import parse_run
from fixtures.regression.suspects import describe_canary_moves, find_suspects


def build(document, **machine):
    whole = copy.deepcopy(document)
    whole["machine_info"].update(machine)
    whole["suite"]["canaries"] = {"start": {"copy_s": 0.02}}
    for bench in whole["benchmarks"]:
        if "conditions" in bench["extra_info"]:
            bench["extra_info"]["conditions"] = {"after": {"sm_clock_mhz": 1980}}
    return parse_run(whole, Path("run.json"))


def test_same_machine_has_no_suspects(document):
    run = build(document)
    conditions = [{"after": {"sm_clock_mhz": 1980}}]
    assert find_suspects(run, run.machine_info, {"copy_s": 0.02}, conditions) == ()


def test_packages_driver_settings_clocks_and_canary_are_named(document):
    run = build(document, device={"driver": "550.1"})
    now = {
        **run.machine_info,
        "packages": {"torch": "2.12.0", "numpy": "2.4.6"},
        "device": {"driver": "560.2"},
        "settings": {"threads": 2, "environment": {"OMP_NUM_THREADS": "1"}},
    }
    suspects = find_suspects(run, now, {"copy_s": 0.03}, [{"after": {"sm_clock_mhz": 1410}}])
    assert suspects == (
        "torch: 2.11.0 -> 2.12.0",
        "driver: 550.1 -> 560.2",
        "environment.OMP_NUM_THREADS: (absent) -> 1",
        "sm_clock_mhz: 1980 -> 1410",
        "canary copy_s +50.0 %",
    )


def test_clock_that_a_side_does_not_give_is_no_suspect(document):
    run = build(document)
    assert find_suspects(run, run.machine_info, {}, [{"after": {"sm_clock_mhz": None}}]) == ()


def test_canary_within_five_per_cent_is_silent():
    assert describe_canary_moves({"copy_s": 1.0}, {"copy_s": 1.049}) == ()
    assert describe_canary_moves({"copy_s": 1.0}, {"copy_s": 0.9}) == ("canary copy_s -10.0 %",)
    assert describe_canary_moves({"copy_s": 1.0}, {}) == ()
