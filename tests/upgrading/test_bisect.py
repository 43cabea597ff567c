"""Which package carries a verdict, and the version that brought it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.upgrading import bisect as bisecting
from fixtures.upgrading.bisect import (
    Bisection,
    choose_target,
    find_first,
    narrow,
    narrow_case,
    shows_again,
)
from fixtures.upgrading.cases import Case
from fixtures.upgrading.environment import Environment
from fixtures.upgrading.outcome import Outcome, Status, Verdict
from fixtures.upgrading.packages import Distribution, PipError
from fixtures.workloads import Workload


@settings(deadline=None, max_examples=60)
@given(st.sets(st.integers(0, 11), min_size=1, max_size=3), st.integers(12, 14))
def test_what_is_left_is_exactly_what_is_needed(needed, count):
    # Every part is told; the change shows where all of the needed ones are in.
    found = narrow(range(count), lambda part: needed <= set(part))
    assert set(found) == needed


@settings(deadline=None, max_examples=60)
@given(st.sets(st.integers(0, 9), min_size=1, max_size=3), st.integers(0, 1000))
def test_what_is_left_shows_it_even_where_parts_cannot_be_told(needed, seed):
    def shows(part):
        if needed <= set(part):
            return True
        return None if hash((seed, *part)) % 2 else False

    assert needed <= set(narrow(range(10), shows))


def test_one_change_needs_no_try():
    assert narrow(["a"], lambda part: pytest.fail("tried")) == ["a"]


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 40), st.data())
def test_first_version_is_found_in_a_logarithm_of_tries(count, data):
    first = data.draw(st.integers(1, count - 1))
    tried = []

    def shows(version):
        tried.append(version)
        return int(version) >= first

    versions = list(map(str, range(count)))
    assert find_first(versions, shows) == (str(first - 1), str(first))
    assert len(tried) <= count.bit_length()
    assert len(set(tried)) == len(tried)


def test_versions_that_cannot_be_told_stay_between():
    told = {"1": False, "2": None, "3": None, "4": True}
    assert find_first(["0", "1", "2", "3", "4", "5"], told.get) == ("1", "4")


def test_versions_none_of_which_can_be_told_leave_the_ends():
    assert find_first(["0", "1", "2"], lambda _: None) == ("0", "2")


BASE = Environment(python=None, packages={"transformers": "1.0", "hub": "0.1", "torch": "2.0+cpu"})
TRANSFORMERS = Distribution("transformers", "1.4", "")
HUB = Distribution("hub", "0.2", "")


@pytest.fixture
def index(monkeypatch):
    """Versions on the index; each resolves to itself."""
    known = {"transformers": ["0.9", "1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]}

    def list_versions(python, name):
        if name not in known:
            raise PipError(f"no {name}")
        return known[name]

    def resolve(python, requirements):
        name, _, version = requirements[0].partition("==")
        if version == "1.2":
            raise PipError("1.2 was yanked")
        return [Distribution(name, version, "")]

    monkeypatch.setattr(bisecting, "list_versions", list_versions)
    monkeypatch.setattr(bisecting, "resolve", resolve)
    return known


def search(changes, shows):
    lines = []
    return Bisection(BASE, changes, shows, lines.append).run(), lines


def carried_by(name, version):
    return lambda changes: any(each.name == name and each.version >= version for each in changes)


def test_package_and_first_version_are_named(index):
    sentence, lines = search([HUB, TRANSFORMERS], carried_by("transformers", "1.3"))
    assert sentence == ("carried by transformers 1.0 -> 1.4; 1.1 is without it, 1.3 has it")
    assert "bisect: 1.2 was yanked" in lines
    assert "bisect: hub==0.2 does not" in lines


def test_package_without_versions_between_is_named_alone(index):
    assert search([HUB, TRANSFORMERS], carried_by("hub", "0.2"))[0] == "carried by hub 0.1 -> 0.2"
    index["hub"] = ["0.1", "0.2"]
    assert search([HUB], carried_by("hub", "0.2"))[0] == "carried by hub 0.1 -> 0.2"


def test_downgrade_is_followed_downward(index):
    older = Distribution("transformers", "0.9", "")
    index["transformers"] = ["0.7", "0.8", "0.9", "0.95", "0.97", "1.0"]
    sentence, _ = search([older], lambda changes: changes[0].version <= "0.95")
    assert sentence == "carried by transformers 1.0 -> 0.9; 0.97 is without it, 0.95 has it"


def test_new_package_is_named_as_new(index):
    added = Distribution("kernels", "3", "")
    assert search([added], lambda _: True)[0] == "carried by kernels none -> 3"


def test_packages_that_carry_it_only_together_are_named_together(index):
    sentence, _ = search([HUB, TRANSFORMERS], lambda changes: len(changes) == 2)
    assert sentence == "carried by hub 0.1 -> 0.2 and transformers 1.0 -> 1.4 together"


def test_local_version_is_the_public_one_on_the_index(index):
    index["torch"] = ["1.9", "2.0", "2.1", "2.2"]
    newer = Distribution("torch", "2.2+cpu", "")
    sentence, _ = search([newer], carried_by("torch", "2.1"))
    assert sentence == "carried by torch 2.0+cpu -> 2.2+cpu; 2.0 is without it, 2.1 has it"


def verdict(status, metric="tpot_s", case="x", **others):
    return Verdict(case, metric, status, "", **others)


def test_failure_of_b_is_traced_first_and_then_the_largest_slowdown():
    slow = verdict(Status.SLOWER, ratio=1.1)
    slower = verdict(Status.SLOWER, case="y", ratio=1.3)
    changed = verdict(Status.CHANGED, "results")
    failed = verdict(Status.FAILED, "run", side="B")
    assert choose_target(Outcome([slow, slower])) is slower
    assert choose_target(Outcome([slow, changed])) is changed
    assert choose_target(Outcome([changed, failed])) is failed
    assert choose_target(Outcome([verdict(Status.FAILED, "run", side="A")])) is None
    assert choose_target(Outcome([verdict(Status.SAME), verdict(Status.FASTER)])) is None


def test_only_what_the_target_needs_is_measured_again():
    case = Case("x", "x", Workload(1, 4, 3))
    assert narrow_case(case, verdict(Status.SLOWER)).phases == ("decode",)
    assert narrow_case(case, verdict(Status.CHANGED, "results")).phases == ()


@pytest.mark.parametrize(
    ("status", "shows"),
    [
        (Status.SLOWER, True),
        (Status.SAME, False),
        (Status.FASTER, False),
        (Status.UNDECIDED, None),
        (Status.FAILED, None),
    ],
)
def test_slowdown_shows_again_or_not_or_cannot_be_told(status, shows):
    assert shows_again(Outcome([verdict(status)]), verdict(Status.SLOWER)) is shows


def test_failure_shows_again_on_the_same_side_alone():
    target = verdict(Status.FAILED, "run", side="B")
    assert shows_again(Outcome([verdict(Status.FAILED, "tpot_s", side="B")]), target) is True
    assert shows_again(Outcome([verdict(Status.FAILED, "run", side="A")]), target) is False
    assert shows_again(Outcome([verdict(Status.SAME)]), target) is False
