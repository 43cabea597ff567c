from __future__ import annotations

import pytest

from fixtures.reporting.why import find_differences, name_step


@pytest.fixture
def compare(world):
    """Differences in decode of gpt2 nf4 between a run and one that was changed by hand."""

    def change_and_compare(change):
        sides = [world.document(day=1), world.document(day=2)]
        for place, document in enumerate(sides):
            bench = world.find(document, "gpt2", "nf4", "tpot_s")
            change(place, bench["extra_info"], document)
        old, new = map(world.parse, sides)
        case = next(
            record.case
            for record in new.records
            if record.timed == "tpot_s" and record.case.name.startswith("gpt2-nf4")
        )
        return find_differences(case, "tpot_s", old, new)

    return change_and_compare


def test_nothing_differs_between_equal_runs(compare):
    assert compare(lambda place, info, document: None) == ()


def test_operator_that_grew_is_named_with_its_time_and_calls(compare):
    def profile(place, info, document):
        info["details"]["operators"] = {
            "aten::mm": {"time_s": 0.0010 + 0.0009 * place, "calls": 40 + 41 * place},
            "aten::add": {"time_s": 0.0005, "calls": 20},
        }

    # 1.0 -> 1.9 ms, and 60 -> 101 calls.
    assert compare(profile) == ("aten::mm +900.0 us a token", "41 more operator calls a token")


def test_operator_that_is_gone_counts_with_all_its_time(compare):
    def profile(place, info, document):
        operators = {"aten::mm": {"time_s": 0.001, "calls": 40}}
        if place == 0:
            operators["aten::copy_"] = {"time_s": 0.0002, "calls": 2}
        info["details"]["operators"] = operators

    assert compare(profile) == ("aten::copy_ -200.0 us a token", "2 fewer operator calls a token")


def test_operators_of_prefill_say_nothing_of_decode(compare, world):
    def profile(place, info, document):
        prefill = world.find(document, "gpt2", "nf4", "ttft_s")["extra_info"]["details"]
        prefill["operators"] = {"aten::mm": {"time_s": 0.001 + 0.009 * place, "calls": 40}}
        info["details"]["operators"] = {"aten::mm": {"time_s": 0.001, "calls": 40}}

    assert compare(profile) == ()


def test_operator_listed_in_one_profile_alone_is_not_taken_for_new(compare):
    # aten::add was among the others at first, so it took no longer there than aten::mul: 0.2 ms.
    sides = (
        {"aten::mm": (0.0100, 40), "aten::mul": (0.0002, 5), "other operators": (0.0020, 90)},
        {"aten::mm": (0.0100, 40), "aten::add": (0.0008, 6), "other operators": (0.0020, 89)},
    )

    def profile(place, info, document):
        info["details"]["operators"] = {
            name: {"time_s": time_s, "calls": calls}
            for name, (time_s, calls) in sides[place].items()
        }

    # Its others lose what was aten::add's and gain aten::mul: 1.8 ms before and after.
    assert compare(profile) == ("aten::add +600.0 us a token",)


def test_calls_of_a_gpu_are_launches(compare):
    def profile(place, info, document):
        document["machine_info"]["device"]["kind"] = "cuda"
        info["details"]["operators"] = {"aten::mm": {"time_s": 0.001, "calls": 40 + 41 * place}}

    assert compare(profile) == ("41 more launches a token",)


@pytest.mark.parametrize(
    ("metric", "step"),
    [
        ("ttft_s", "a prompt"),
        ("generate_s", "a call"),
        ("train_step_s", "a step"),
        ("x_s", "a round"),
    ],
)
def test_times_are_of_what_was_timed(metric, step):
    assert name_step(metric) == step


def test_memory_is_compared_by_part_across_the_tests_of_a_variant(compare, world):
    def grow(place, info, document):
        stored = world.find(document, "gpt2", "nf4", "weights_bytes")
        stored["extra_info"]["metrics"]["weights_bytes"] = 2**20 * (1 + place)

    assert compare(grow) == ("weights: 1.000 MiB -> 2.000 MiB (+100.0 %)",)


def test_other_variants_memory_is_no_difference_of_this_one(compare, world):
    def grow(place, info, document):
        stored = world.find(document, "gpt2", "int8", "weights_bytes")
        stored["extra_info"]["metrics"]["weights_bytes"] = 2**20 * (1 + place)

    assert compare(grow) == ()


def test_clock_load_and_throttling_around_the_case_are_named(compare):
    def heat(place, info, document):
        info["conditions"] = {
            "throttled": bool(place),
            "throttle_evidence": ["HwThermalSlowdown"] if place else [],
            "after": {
                "sm_clock_mhz": 1980 - 480 * place,
                "temperature_c": 60,
                "load_average": [0.2 + 3 * place, 0.1, 0.1],
            },
        }

    assert compare(heat) == (
        "sm_clock_mhz: 1980 -> 1500",
        "load average: 0.2 -> 3.2",
        "the device was held back (HwThermalSlowdown)",
    )
