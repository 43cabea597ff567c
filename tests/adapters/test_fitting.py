from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fixtures.adaptation.scoring import score_domain
from fixtures.adapters import fitting
from fixtures.adapters.fitting import FULL, RECIPES, find_base, find_recipe, fit
from fixtures.corpus.sources import load_target_corpus
from fixtures.device import detect_cpu
from fixtures.models.registry import MODELS
from fixtures.models.weights import Weights, load_model, load_tokenizer, resolve_weights
from fixtures.techniques.adapter_methods import ADAPTER_METHODS

CPU = detect_cpu()


@pytest.fixture
def few_steps(monkeypatch):
    recipes = {name: replace(recipe, steps=12, batch=4) for name, recipe in RECIPES.items()}
    monkeypatch.setattr(fitting, "RECIPES", recipes)
    monkeypatch.setattr(fitting, "ARTICLES", 64)
    monkeypatch.setattr(fitting, "CHARACTERS", 4000)


def test_every_adapter_method_and_full_fine_tuning_have_a_recipe():
    assert RECIPES.keys() == {FULL, *ADAPTER_METHODS}
    assert find_base(FULL) == "fp32"
    assert find_base("qlora-nf4") == "nf4-dq"


def test_published_shapes_take_smaller_steps():
    tiny = resolve_weights(MODELS["gpt2"], "tiny", "auto", CPU)
    large = Weights(MODELS["gpt2"], "published", "fitted", None, "for a test")
    for method in RECIPES:
        assert find_recipe(large, method).learning_rate < find_recipe(tiny, method).learning_rate


@pytest.mark.parametrize(
    ("key", "method"), [("gpt2", FULL), ("gpt2", "qlora-nf4"), ("small-gpt", "ia3")]
)
def test_a_few_steps_bring_the_loss_on_the_target_domain_down(key, method, few_steps):
    weights = resolve_weights(MODELS[key], "tiny", "auto", CPU)
    before = load_model(weights, CPU, {})
    steps = []
    model = fit(weights, method, CPU, lambda step, nats: steps.append(step))
    assert steps[-1] == 12
    assert not model.training
    corpus, tokenizer = load_target_corpus(4), load_tokenizer(weights)
    corpus = replace(corpus, prose=corpus.prose[:600])
    losses = [
        score_domain(weights.spec, found, tokenizer, corpus).nll.mean() for found in (before, model)
    ]
    assert losses[1] < losses[0] - 0.5


def test_training_leaves_the_base_of_an_adapter_as_it_was(few_steps):
    weights = resolve_weights(MODELS["gpt2"], "tiny", "auto", CPU)
    adapted = fit(weights, "lora", CPU, lambda step, nats: None).unload()
    base = load_model(weights, CPU, {}).state_dict()
    assert all(torch.equal(base[name], value) for name, value in adapted.state_dict().items())


def test_text_shorter_than_one_context_is_refused(monkeypatch):
    monkeypatch.setattr(fitting, "CHARACTERS", 100)
    weights = resolve_weights(MODELS["small-gpt"], "tiny", "auto", CPU)
    with pytest.raises(ValueError, match=r"^a text of 100 tokens is shorter than one context of "):
        fit(weights, "lora", CPU, lambda step, nats: None)
