from __future__ import annotations

import json

import pytest

from fixtures.regression.case import Case, CaseError, compare_packages

SAVED = {
    "model": "gpt2",
    "technique": "int8",
    "scale": "tiny",
    "weights": "shipped",
    "workload": "b1-p8-n5",
    "prompt_hash": "ab12",
    "settings": {"threshold": 6.0, "skipped": ["lm_head"]},
}


def test_json_keeps_every_field():
    case = Case.from_json(SAVED)
    assert Case.from_json(json.loads(json.dumps(case.to_json()))) == case
    assert case.name == "gpt2-int8-b1-p8-n5"


def test_order_of_settings_does_not_matter():
    turned = {**SAVED, "settings": {"skipped": ["lm_head"], "threshold": 6.0}}
    assert Case.from_json(SAVED).key == Case.from_json(turned).key


@pytest.mark.parametrize("field", ["model", "technique", "scale", "weights", "prompt_hash"])
def test_every_field_is_part_of_the_key_and_named_when_it_differs(field):
    old, new = Case.from_json(SAVED), Case.from_json({**SAVED, field: "other"})
    assert old.key != new.key
    assert [str(found) for found in old.differences(new)] == [f"{field}: {SAVED[field]} -> other"]


def test_settings_are_compared_one_by_one():
    new = Case.from_json({**SAVED, "settings": {"threshold": 0.0}})
    assert [str(found) for found in Case.from_json(SAVED).differences(new)] == [
        "settings.threshold: 6.0 -> 0.0",
        "settings.skipped: ['lm_head'] -> (absent)",
    ]


def test_differing_packages_are_listed():
    found = compare_packages(
        {"torch": "2.9.1", "numpy": "2.4"}, {"torch": "2.11.0", "peft": "0.21"}
    )
    assert list(map(str, found)) == [
        "torch: 2.9.1 -> 2.11.0",
        "numpy: 2.4 -> (absent)",
        "peft: (absent) -> 0.21",
    ]


@pytest.mark.parametrize(
    ("saved", "sentence"),
    [
        ([], r"a case is an object with fields, not \[\]"),
        ({**SAVED, "colour": 1}, "a case has no field 'colour'"),
        ({name: SAVED[name] for name in SAVED if name != "scale"}, "a case lacks 'scale'"),
        ({**SAVED, "model": ""}, "case field 'model' holds '', not a name"),
        ({**SAVED, "workload": 3}, "case field 'workload' holds 3"),
        ({**SAVED, "settings": [1]}, r"'settings' holds \[1\], not settings by name"),
        ({**SAVED, "settings": {"x": float("nan")}}, "settings of gpt2-int8-b1-p8-n5 do not fit"),
    ],
)
def test_damaged_case_is_refused(saved, sentence):
    with pytest.raises(CaseError, match=sentence):
        Case.from_json(saved)
