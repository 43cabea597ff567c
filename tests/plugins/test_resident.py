from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import pytest

from fixtures.device import detect
from fixtures.measurement.heap import settled
from fixtures.models.weights import CheckpointError
from fixtures.plugins import resident as resident_module
from fixtures.plugins.resident import Resident
from fixtures.regression.verdict import Status
from fixtures.units import GIB, MIB

CPU = detect("cpu")


def test_who_resides_leaves_before_another_is_built_and_only_once():
    resident, left = Resident(), []
    first = resident.reside(CPU, lambda: "variant", left.append)
    assert first.__enter__() == "variant"
    second = resident.reside(CPU, lambda: left.append("built") or "trainee", left.append)
    second.__enter__()
    assert left == ["variant", "built"]
    # pytest ends the first fixture only now, when another variant is wanted.
    first.__exit__(None, None, None)
    assert left == ["variant", "built"]
    second.__exit__(None, None, None)
    assert left == ["variant", "built", "trainee"]


def test_an_empty_place_is_taken_and_left_like_any_other():
    resident, left = Resident(), []
    resident.make_way()
    with resident.reside(CPU, lambda: "variant", left.append):
        assert left == []
    assert left == ["variant"]
    resident.make_way()
    assert left == ["variant"]


def test_a_model_that_only_the_collector_finds_is_gone_before_the_next_is_built():
    class Knot:
        def __init__(self):
            self.holder = SimpleNamespace(knot=self)

    built, counts = [], []

    def build():
        gc.disable()  # none but the resident's own collection
        counts.append(sum(known() is not None for known in built))
        made = SimpleNamespace(model=Knot())
        built.append(weakref.ref(made.model))
        return made

    def let_go(made):
        made.model = None

    resident = Resident()
    try:
        for _ in range(3):
            with resident.reside(CPU, build, let_go), settled():
                pass
    finally:
        gc.enable()
    assert counts == [0, 0, 0]


def test_weights_that_cannot_be_read_fail_the_test_and_leave_the_place_empty():
    def build():
        raise CheckpointError("gpt2 is damaged")

    resident, left = Resident(), []
    with (
        pytest.raises(pytest.fail.Exception, match="gpt2 is damaged"),
        resident.reside(CPU, build, left.append),
    ):
        pass
    resident.make_way()
    assert left == []


def test_workspaces_are_given_back_behind_a_model_and_whatever_it_captured(monkeypatch):
    calls = []
    for name in ("release_memory", "release_workspaces"):
        monkeypatch.setattr(resident_module, name, lambda device, name=name: calls.append(name))
    with Resident().reside(CPU, lambda: "variant", calls.append):
        assert calls == []
    assert calls == ["variant", "release_memory", "release_workspaces"]


@pytest.mark.parametrize(("held", "doubted"), [(64 * MIB, False), (1.03 * GIB, True)])
def test_peak_with_another_model_in_it_is_no_measurement(held, doubted, monkeypatch):
    monkeypatch.setattr(resident_module, "held_bytes", lambda device: int(held))
    resident = Resident()
    with resident.reside(CPU, lambda: "variant", lambda _: None):
        found = resident.doubt_peak()
    assert bool(found) is doubted
    if doubted:
        assert found[0].status is Status.MEASURING_ERROR
        assert found[0].reason.startswith("1.030 GiB of other models were on the GPU when this")


def test_what_a_second_look_frees_is_not_doubted(monkeypatch):
    looks = iter([2 * GIB, 0])
    monkeypatch.setattr(resident_module, "held_bytes", lambda device: next(looks))
    resident = Resident()
    with resident.reside(CPU, lambda: "variant", lambda _: None):
        assert resident.doubt_peak() == ()


_COUNT = """
import gc
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    yield
    from transformers import PreTrainedModel
    gc.unfreeze()
    gc.collect()
    models = [each for each in gc.get_objects() if isinstance(each, PreTrainedModel)]
    within = {id(part) for each in models for part in each.modules() if part is not each}
    print("MODELS", sum(id(each) not in within for each in models))
"""


def test_each_model_is_alone_also_between_variants_and_what_is_trained(shared_checkout):
    (shared_checkout.root / "counting.py").write_text(_COUNT, encoding="utf-8")
    finished = shared_checkout.run(
        *("-m", "cpu", "--models", "gpt2,small-gpt", "--scale", "tiny", "-s", "-p", "counting"),
        *("-k", "applied and (fp32 or bf16) and not lora or step_time and full"),
    )
    counts = [line.split("MODELS ")[1] for line in finished.lines if "MODELS" in line]
    assert counts == ["1"] * 6, finished.text
