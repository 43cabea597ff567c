from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fixtures.measurement import phases
from fixtures.techniques import stepped
from fixtures.techniques.registry import find_technique
from fixtures.techniques.stepped import SteppedForward

CAUSAL = ["gpt2", "gpt-neo-1.3b", "gemma-2b", "small-gpt"]


@pytest.fixture
def pair(build: Callable[..., Any]) -> Callable[[str], tuple[Any, Any]]:
    """The same weights twice: as they are, and stepped."""

    def pair(key: str) -> tuple[Any, Any]:
        own, other = (build(find_technique("fp32"), key) for _ in range(2))
        other.forward = SteppedForward(other)
        return own, other

    return pair


def ids(rows: int, length: int) -> torch.Tensor:
    return torch.randint(3, 90, (rows, length), generator=torch.Generator().manual_seed(0))


def decode(model: Any, prompt: torch.Tensor, steps: int) -> torch.Tensor:
    return phases.decode(model, phases.prefill(model, prompt), steps)


# 150 positions are more than GPT-Neo's local window of 128.
@pytest.mark.parametrize(("rows", "length"), [(1, 20), (3, 150)])
@pytest.mark.parametrize("key", CAUSAL)
def test_decoding_gives_the_same_tokens(
    key: str, rows: int, length: int, pair: Callable[..., Any]
) -> None:
    own, other = pair(key)
    assert torch.equal(decode(other, ids(rows, length), 12), decode(own, ids(rows, length), 12))
    assert [*other.forward.steps] == [(rows, stepped.GRANULE)]


@pytest.mark.parametrize("key", CAUSAL)
def test_rewound_cache_gives_the_same_tokens_again(key: str, pair: Callable[..., Any]) -> None:
    _, model = pair(key)
    start = phases.prefill(model, ids(2, 20))
    first = phases.decode(model, start, 6)
    again = phases.rewind(model, start)
    assert again is start
    assert torch.equal(phases.decode(model, again, 6), first)


@pytest.mark.parametrize("key", CAUSAL)
def test_generate_takes_rows_padded_on_the_left(
    key: str, pair: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = pair(key)
    prompt, mask = ids(3, 20), torch.ones(3, 20, dtype=torch.long)
    mask[0, :7] = 0
    options = {"attention_mask": mask, "max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
    lengths: list[int] = []
    run = stepped.Step.run

    def note(step: Any, token: torch.Tensor, length: int) -> torch.Tensor:
        lengths.append(length)
        return run(step, token, length)

    monkeypatch.setattr(stepped.Step, "run", note)
    assert torch.equal(other.generate(prompt, **options), own.generate(prompt, **options))
    assert lengths == [*range(20, 27)]
    assert other.forward.prompt.passes == 0


def test_prompt_without_padding_goes_through_the_pass_of_its_own(pair: Callable[..., Any]) -> None:
    own, other = pair("gpt2")
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    prompt = ids(2, 9)
    mask = torch.ones_like(prompt)
    want = own.generate(prompt, attention_mask=mask, **options)
    assert torch.equal(other.generate(prompt, attention_mask=mask, **options), want)
    assert other.forward.prompt.passes == 1


def test_longer_text_moves_into_more_slots(
    pair: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepped, "GRANULE", 16)
    own, other = pair("gemma-2b")
    assert torch.equal(decode(other, ids(2, 10), 30), decode(own, ids(2, 10), 30))
    assert [*other.forward.steps] == [(2, 16), (2, 32), (2, 48)]
    other.forward.keep_shape(2, 16)
    assert [*other.forward.steps] == [(2, 32)]


def test_later_prompt_takes_the_buffers(pair: Callable[..., Any]) -> None:
    _, model = pair("small-gpt")
    first = phases.prefill(model, ids(1, 8))
    phases.prefill(model, ids(1, 9))
    with pytest.raises(RuntimeError, match=r"^a later prompt has taken .*; prefill it again$"):
        phases.decode(model, first, 2)


def test_what_is_kept_of_other_shapes_is_let_go(pair: Callable[..., Any]) -> None:
    _, model = pair("small-gpt")
    first = phases.prefill(model, ids(1, 8))
    phases.decode(model, first, 2)
    tokens = decode(model, ids(3, 8), 2)
    step = model.forward.steps[1, stepped.GRANULE]  # as the compiler's cache holds it
    buffers = [weakref.ref(slots.keys) for slots in step.slots]
    model.forward.prompt._captured = {(1, 8): None, (3, 7): None, (3, 8): None}
    model.forward.keep_shape(3, 8)
    assert [*model.forward.steps] == [(3, stepped.GRANULE)]
    assert [*model.forward.prompt._captured] == [(3, 8)]
    with pytest.raises(RuntimeError, match=r"^a later prompt has taken .*; prefill it again$"):
        phases.decode(model, phases.rewind(model, first), 2)
    del first
    gc.collect()
    assert buffers
    assert [buffer() for buffer in buffers] == [None] * len(buffers)
    assert step.owner is None
    assert torch.equal(decode(model, ids(3, 8), 2), tokens)
    decode(model, ids(1, 8), 2)
    assert [*model.forward.steps] == [(3, stepped.GRANULE), (1, stepped.GRANULE)]


def test_call_for_all_logits_runs_as_it_did(pair: Callable[..., Any]) -> None:
    own, other = pair("gpt2")
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, 9:] = 0
    with torch.no_grad():
        want = own(input_ids=ids(2, 12), attention_mask=mask).logits
        assert torch.equal(other(input_ids=ids(2, 12), attention_mask=mask).logits, want)
    assert other.forward.steps == {}


def test_rows_that_end_in_padding_keep_their_own_cache(pair: Callable[..., Any]) -> None:
    _, model = pair("gpt2")
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, 9:] = 0
    output = model(input_ids=ids(2, 12), attention_mask=mask, use_cache=True)
    assert type(output.past_key_values).__name__ == "DynamicCache"


def test_model_attends_as_before_afterwards(pair: Callable[..., Any]) -> None:
    for key in CAUSAL:
        _, model = pair(key)
        decode(model, ids(1, 6), 2)
        assert model.config._attn_implementation == "eager"
        assert not any("_attn" in vars(layer) for layer in model.modules())
