from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch

from fixtures.techniques.alike_layers import (
    AlikeLayers,
    find_beside_layers,
    find_decoder_layers,
)
from fixtures.techniques.fixed_attention import AttentionSwap, Span, attend_prompt, attend_step
from fixtures.techniques.fixed_cache import PromptLayer, Slots, StepLayer, split_cache
from fixtures.techniques.registry import find_technique

ROWS, LENGTH, SLOTS = 3, 9, 16


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch._dynamo.reset()


@pytest.fixture
def step() -> Callable[..., tuple[int, torch.Tensor]]:
    """How often a model's layers were compiled, and the logits of one step of three rows."""

    def step(
        model: Any, *, compiled: bool = True, beside: bool = False
    ) -> tuple[int, torch.Tensor]:
        from transformers.cache_utils import Cache, DynamicCache

        ids = torch.randint(3, 90, (ROWS, LENGTH + 1), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            filled = DynamicCache()
            model(input_ids=ids[:, :LENGTH], past_key_values=filled, use_cache=True)
        span = Span(position=torch.tensor([LENGTH]), starts=torch.zeros(ROWS, dtype=torch.long))
        layers = []
        for layer in filled.layers:
            slots = Slots.like(layer.keys, layer.values, SLOTS)
            slots.keys[:, :, :LENGTH], slots.values[:, :, :LENGTH] = layer.keys, layer.values
            layers.append(StepLayer(slots, span.position))
        cache, compilations = Cache(layers=layers), []

        def note(traced: Any, _: Any) -> Any:
            compilations.append(len(traced.graph.nodes))
            return traced.forward

        def run() -> torch.Tensor:
            return (
                type(model)
                .forward(
                    model,
                    input_ids=ids[:, LENGTH:],
                    position_ids=span.position[None],
                    past_key_values=cache,
                    use_cache=True,
                )
                .logits
            )

        compile_once = partial(torch.compile, backend=note, fullgraph=True, dynamic=False)
        attention = AttentionSwap(model).use("fixed_step", partial(attend_step, span))
        with torch.no_grad(), attention:
            if not compiled:
                return 0, run()
            with AlikeLayers(model, compile_once, beside).use(cache, split_cache(cache)):
                logits = run()
            return len(compilations), logits

    return step


_ALIKE = [("gpt2", "fp32"), ("gemma-2b", "nf4"), ("small-gpt", "bf16")]


@pytest.mark.parametrize(("key", "technique"), _ALIKE)
def test_layers_that_are_alike_are_compiled_once_and_give_the_same_logits(
    key: str, technique: str, build: Callable[..., Any], step: Callable[..., Any]
) -> None:
    model = build(find_technique(technique), key)
    assert len(find_decoder_layers(model)) > 1
    _, wanted = step(model, compiled=False)
    compilations, found = step(model)
    assert torch.equal(found, wanted)
    assert compilations == 1


# As transformers' modelling code names them.
_BESIDE = {
    "gpt2": ["transformer.wte", "transformer.wpe", "transformer.ln_f", "lm_head"],
    "gemma-2b": ["model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"],
    "gpt-neo-1.3b": ["transformer.wte", "transformer.wpe", "transformer.ln_f", "lm_head"],
}


# GPT-Neo's layers see all positions and a window in turn.
@pytest.mark.parametrize(("key", "kinds"), [("gpt2", 1), ("gemma-2b", 1), ("gpt-neo-1.3b", 2)])
def test_what_stands_beside_the_layers_is_compiled_too_where_it_is_asked_for(
    key: str, kinds: int, build: Callable[..., Any], step: Callable[..., Any]
) -> None:
    model = build(find_technique("bf16"), key)
    names = {module: name for name, module in model.named_modules()}
    assert [names[part] for part in find_beside_layers(model)] == _BESIDE[key]
    _, wanted = step(model, compiled=False)
    compilations, found = step(model, beside=True)
    assert torch.equal(found, wanted)
    assert compilations == kinds + len(_BESIDE[key])  # embeddings of one class differ in size
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize(("key", "technique"), _ALIKE)
def test_prompts_of_any_length_share_what_is_compiled_for_one_row_and_for_more(
    key: str, technique: str, build: Callable[..., Any]
) -> None:
    model, compilations = build(find_technique(technique), key), []

    def note(traced: Any, _: Any) -> Any:
        compilations.append(len(traced.graph.nodes))
        return traced.forward

    # On some CPUs bitsandbytes repacks 4-bit weights in their first pass.
    with torch.no_grad():
        model(input_ids=torch.arange(3, 9)[None])
    compile_once = partial(torch.compile, backend=note, fullgraph=True, dynamic=True)
    layers, swap = AlikeLayers(model, compile_once), AttentionSwap(model)

    def read(ids: torch.Tensor, *, compiled: bool) -> torch.Tensor:
        from transformers.cache_utils import Cache

        cache = Cache(layers=[PromptLayer() for _ in find_decoder_layers(model)])
        use = layers.use(cache, split_cache(cache)) if compiled else nullcontext()
        with torch.no_grad(), swap.use("fixed_prompt", attend_prompt), use:
            logits = model(input_ids=ids, past_key_values=cache, use_cache=True).logits
        assert [layer.get_seq_length() for layer in cache.layers] == [ids.shape[1]] * len(
            cache.layers
        )
        return logits

    for rows, length in ((1, 9), (1, 17), (ROWS, 9), (2, 12), (1, 30)):
        ids = torch.randint(3, 90, (rows, length), generator=torch.Generator().manual_seed(length))
        assert torch.equal(read(ids, compiled=True), read(ids, compiled=False))
    assert len(compilations) == 2


def test_layers_of_two_kinds_are_compiled_twice(step: Callable[..., Any]) -> None:
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    # In turn, those that see all positions and those that see a window.
    kinds = [[["global", "local"], 3]]
    config = GPTNeoConfig(
        vocab_size=100, hidden_size=32, num_layers=6, num_heads=2, attention_types=kinds
    )
    model = GPTNeoForCausalLM(config).eval()
    _, wanted = step(model, compiled=False)
    compilations, found = step(model)
    assert torch.equal(found, wanted)
    assert compilations == 2


def test_layers_run_their_own_code_afterwards(
    build: Callable[..., Any], step: Callable[..., Any]
) -> None:
    model = build(find_technique("fp32"), "gpt2")
    step(model)
    assert not any("forward" in vars(layer) for layer in find_decoder_layers(model))


def test_model_that_names_no_layers_is_told(build: Callable[..., Any]) -> None:
    model = build(find_technique("fp32"), "gpt2")
    model._no_split_modules = None
    with pytest.raises(ValueError, match=r"^GPT2LMHeadModel names no layers in _no_split_modules$"):
        find_decoder_layers(model)
