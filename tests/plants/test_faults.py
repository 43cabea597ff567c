from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from fixtures.device import Device
from fixtures.measurement.storage import scratch_buffer_bytes, weights_bytes
from fixtures.plants.faults import FAULTS, hold_copy
from fixtures.plants.plant import PlantError, parse_plant
from fixtures.plants.technique import plant_variant
from fixtures.techniques.layers import linear_layers
from fixtures.techniques.registry import find_technique

CPU = Device("cpu", "Example CPU", 2**34, threads=1)
IDS = torch.tensor([[1, 2, 3, 4]])


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=17, n_positions=8, n_embd=8, n_layer=2, n_head=2)
    return GPT2LMHeadModel(config).eval()


def logits(model):
    with torch.inference_mode():
        return model(IDS).logits


def test_pruning_zeroes_its_share_of_every_layer(model):
    FAULTS["prune"](model, 0.25)
    for layer in linear_layers(model).values():
        assert int((layer.weight == 0).sum()) == layer.weight.numel() // 4


def test_noise_moves_weights_by_its_share_of_their_spread(model):
    before = {name: layer.weight.clone() for name, layer in linear_layers(model).items()}
    FAULTS["noise"](model, 0.1)
    for name, layer in linear_layers(model).items():
        moved = (layer.weight - before[name]).std() / before[name].std()
        assert float(moved.detach()) == pytest.approx(0.1, rel=0.25)


def test_epsilon_reaches_every_norm(model):
    FAULTS["ln-eps"](model, 1e-3)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert [norm.eps for norm in norms] == [1e-3] * 5


def test_attention_scale_is_that_of_the_scores(model):
    """Scaling a projection's weights and bias for queries by hand is the same computation."""
    wanted = GPT2LMHeadModel(model.config).eval()
    wanted.load_state_dict(model.state_dict())
    for block in wanted.transformer.h:
        block.attn.c_attn.weight.data[:, :8] *= 1.5
        block.attn.c_attn.bias.data[:8] *= 1.5
    plain = logits(model)
    FAULTS["attention-scale"](model, 1.5)
    torch.testing.assert_close(logits(model), logits(wanted))
    assert not torch.equal(logits(model), plain)


def test_copy_is_held_and_never_saved(model):
    kept, scratch = weights_bytes(model), scratch_buffer_bytes(model)
    hold_copy(model)
    assert weights_bytes(model) == kept
    assert scratch_buffer_bytes(model) - scratch == 4 * model.num_parameters()


def test_fault_that_needs_plain_weights_says_so(model):
    packed = torch.nn.Parameter(torch.zeros(4, 1, dtype=torch.uint8), requires_grad=False)
    model.transformer.h[0].attn.c_proj.weight = packed
    with pytest.raises(PlantError, match="prune needs plain weights, and this model's are packed"):
        FAULTS["prune"](model, 0.3)


def test_model_without_what_is_changed_is_refused(model):
    with pytest.raises(PlantError, match="ln-eps needs a normalisation layer; Linear has none"):
        FAULTS["ln-eps"](torch.nn.Linear(2, 2), 1e-3)
    with pytest.raises(PlantError, match="attention-scale finds no query projection in Linear"):
        FAULTS["attention-scale"](torch.nn.Linear(2, 2), 1.05)


@pytest.fixture
def cell():
    from fixtures.models.registry import find_model
    from fixtures.variants import Variant

    return Variant(find_model("gpt2"), find_technique("int8"), "tiny", "auto")


def test_planted_variant_bears_its_own_name_and_settings(cell):
    planted = plant_variant(cell, [parse_plant("technique:off@*")])
    assert planted.id == cell.id
    assert planted.technique.settings(CPU) == cell.technique.settings(CPU)
    assert planted.reference() == cell.reference()


def test_technique_that_is_off_loads_its_dtype_and_eager_attention_alone(cell):
    planted = plant_variant(cell, [parse_plant("technique:off@*")])
    assert planted.technique.loading(CPU) == find_technique("fp32").loading(CPU)
    assert planted.technique.apply(model := torch.nn.Linear(2, 2)) is model


def test_what_the_technique_keeps_is_let_go_with_the_planted_model(cell, monkeypatch):
    released = []
    monkeypatch.setattr(type(cell.technique), "release", lambda self: released.append(self))
    plant_variant(cell, [parse_plant("copy:weights@*")]).technique.release()
    assert released == [cell.technique]


def test_shape_is_kept_by_the_technique_that_is_on(cell, monkeypatch):
    kept = []
    keep = lambda self, *given: kept.append((self, *given))  # noqa: E731
    monkeypatch.setattr(type(cell.technique), "keep_shape", keep)
    plant_variant(cell, [parse_plant("technique:off@*")]).technique.keep_shape("model", 8, 512)
    assert kept == []
    plant_variant(cell, [parse_plant("copy:weights@*")]).technique.keep_shape("model", 8, 512)
    assert kept == [(cell.technique, "model", 8, 512)]


def test_variant_that_is_not_meant_stays_itself(cell):
    plants = [parse_plant("technique:off@gpt2-*"), parse_plant("tpot_s:+5%@*")]
    assert plant_variant(cell, plants) is cell
