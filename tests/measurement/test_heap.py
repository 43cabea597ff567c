from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from fixtures.measurement.heap import aside, settled


class Knot:
    """Garbage that only the collector finds, as a quantised weight that knows its layer."""

    def __init__(self) -> None:
        self.self = self


@pytest.fixture
def put_aside_at_start() -> Any:
    """What Python does by itself from 3.12 on."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("block", [aside, settled])
def test_what_was_put_aside_is_collected_once_the_block_is_left(
    put_aside_at_start: None, block: Any
) -> None:
    knot = Knot()
    known = weakref.ref(knot)
    with block():
        del knot
        gc.collect()
        assert known() is not None
    gc.collect()
    assert known() is None


def test_nested_blocks_stay_aside_until_the_outermost_is_left() -> None:
    outer = Knot()
    with aside():
        with settled():
            inner = weakref.ref(Knot())
        gc.collect()
        assert inner() is None
        known = weakref.ref(outer)
        del outer
        gc.collect()
        assert known() is not None
    gc.collect()
    assert known() is None


def test_model_of_a_block_is_collected_in_it_though_rounds_were_timed() -> None:
    with aside():
        model = Knot()
        known = weakref.ref(model)
        with settled():
            pass
        del model
        gc.collect()
        assert known() is None


@pytest.mark.parametrize("enabled", [True, False])
def test_collector_is_off_in_rounds_and_then_as_it_was(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        with settled():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
