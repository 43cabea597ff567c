from __future__ import annotations

from fixtures.plugins.resident import Resident


def test_who_resides_leaves_before_another_is_built_and_only_once():
    resident, left = Resident(), []
    first = resident.reside(lambda: left.append("variant"))
    first.__enter__()
    resident.make_way()
    assert left == ["variant"]
    second = resident.reside(lambda: left.append("trainee"))
    second.__enter__()
    # pytest ends the first fixture only now, when another variant is wanted.
    first.__exit__(None, None, None)
    assert left == ["variant"]
    second.__exit__(None, None, None)
    assert left == ["variant", "trainee"]


def test_an_empty_place_is_taken_and_left_like_any_other():
    resident, left = Resident(), []
    resident.make_way()
    assert left == []
    with resident.reside(lambda: left.append("variant")):
        assert left == []
    assert left == ["variant"]
    resident.make_way()
    assert left == ["variant"]


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
