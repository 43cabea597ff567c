from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

import fixtures.models.modeling_small_gpt  # noqa: F401  (registers the model)
from fixtures.models.registry import MODELS, UnknownModel, find_model, spec_for_path
from fixtures.models.weights import CHECKPOINTS

ROOT = Path(__file__).parents[2]


def build_shape(key, scale):
    spec = MODELS[key]
    auto = AutoModelForSeq2SeqLM if spec.kind == "seq2seq" else AutoModelForCausalLM
    with torch.device("meta"):
        return auto.from_config(spec.build_config(scale))


def count_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


# In millions. The first four by transformers from the checkpoints' own configs; small-gpt by
# hand: 8 blocks of 12 x 512^2 weights, 5 x 512 + 2048 biases and norms of 4 x 512, less 3 x 512
# for the projections that have none; 512 positions, a last norm, 99 characters in and out.
@pytest.mark.parametrize(
    ("key", "millions"),
    [
        ("gpt2", 124.44),
        ("t5-small", 60.51),
        ("gpt-neo-1.3b", 1315.58),
        ("gemma-2b", 2506.17),
        ("small-gpt", 25.57),
    ],
)
def test_published_shape_has_the_published_parameters(key, millions):
    parameters = count_parameters(build_shape(key, "published"))
    assert round(parameters / 1e6, 2) == millions
    assert parameters == MODELS[key].published_parameters


@pytest.mark.parametrize("key", MODELS)
def test_tiny_model_has_the_published_classes_and_up_to_a_million_parameters(key):
    tiny, published = build_shape(key, "tiny"), build_shape(key, "published")
    assert type(tiny) is type(published)
    assert 300_000 <= count_parameters(tiny) <= 1_000_000
    assert {type(module) for module in tiny.modules()} == {
        type(module) for module in published.modules()
    }


@pytest.mark.parametrize("key", ["gpt2", "gpt-neo-1.3b", "gemma-2b", "small-gpt"])
def test_tiny_model_has_positions_for_128_prompt_tokens_and_64_new_ones(key):
    assert MODELS[key].build_config("tiny").max_position_embeddings >= 192


@pytest.mark.parametrize(
    ("key", "vocabulary"),
    [("gpt2", 50257), ("t5-small", 32128), ("gpt-neo-1.3b", 50257), ("gemma-2b", 256000)],
)
def test_published_vocabulary_is_the_real_one(key, vocabulary):
    # The vocab_size of config.json at the pinned revisions.
    assert MODELS[key].build_config("published").vocab_size == vocabulary


@pytest.mark.parametrize("scale", ["tiny", "published"])
def test_gemma_shares_one_key_value_head(scale):
    config = MODELS["gemma-2b"].build_config(scale)
    assert config.num_key_value_heads == 1 < config.num_attention_heads


@pytest.mark.parametrize("scale", ["tiny", "published"])
def test_gpt_neo_alternates_global_and_local_attention(scale):
    layers = MODELS["gpt-neo-1.3b"].build_config(scale).attention_layers
    assert layers == ["global", "local"] * (len(layers) // 2)


def test_t5_keeps_its_relative_attention_bias():
    names = [name for name, _ in build_shape("t5-small", "tiny").named_parameters()]
    assert sum("relative_attention_bias" in name for name in names) == 2  # encoder and decoder


@pytest.mark.parametrize("key", MODELS)
def test_no_model_drops_out(key):
    rates = {
        name: value
        for name, value in MODELS[key].build_config("tiny").to_dict().items()
        if ("dropout" in name or name.endswith("pdrop"))
        and not name.startswith(("summary", "classifier"))  # of heads that are not built here
    }
    assert set(rates.values()) <= {0.0}, rates


def test_unknown_model_lists_the_known_ones_nearest_first():
    with pytest.raises(UnknownModel, match=r"unknown model 'gemma'; known models: gemma-2b, "):
        find_model("gemma")
    with pytest.raises(UnknownModel) as caught:
        find_model("gtp2")
    assert all(key in str(caught.value) for key in MODELS)
    assert "known models: gpt2, " in str(caught.value)


@pytest.mark.parametrize("path", ["./nowhere", "/no/such/folder", "~/nowhere/at/all"])
def test_path_to_nowhere_is_one_sentence(path):
    with pytest.raises(UnknownModel, match=f"^there is no model folder at {path}$"):
        spec_for_path(path)


def test_unknown_hub_id_offline_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnknownModel, match=r"^'nobody/nothing' is no folder, and no model of that"):
        spec_for_path("nobody/nothing")


def test_folder_without_config_says_how_to_write_one(tmp_path):
    with pytest.raises(UnknownModel, match=r"has no config\.json; write it with model\.save_pretr"):
        spec_for_path(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"vocab_size": 5}'])
def test_folder_with_a_broken_config_names_the_file(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UnknownModel, match=r"config\.json (is no readable JSON|names no model)"):
        spec_for_path(str(tmp_path))


def test_folder_of_the_user_gets_a_slug_and_its_kind(tmp_path):
    folder = tmp_path / "My T5 (v2)"
    folder.mkdir()
    config = {"model_type": "t5", "is_encoder_decoder": True}
    (folder / "config.json").write_text(json.dumps(config))
    spec = spec_for_path(str(folder))
    assert (spec.key, spec.kind, spec.task) == ("my-t5-v2", "seq2seq", "summary")


def test_checkpoint_that_is_quantised_already_is_refused(tmp_path):
    config = {"model_type": "gpt2", "quantization_config": {"load_in_4bit": True}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnknownModel, match="is quantised already, so it has no fp32 reference"):
        spec_for_path(str(tmp_path))


@pytest.mark.parametrize(
    ("model_type", "classes", "refused"),
    [
        ("bert", ["BertForMaskedLM"], "BertForMaskedLM"),
        ("gpt2", ["GPT2ForSequenceClassification"], "GPT2ForSequenceClassification"),
        ("bert", ["BertLMHeadModel"], None),
        ("bart", ["BartForConditionalGeneration", "BartForSequenceClassification"], None),
        ("gpt2", None, None),
    ],
)
def test_a_checkpoint_with_a_head_for_something_else_is_refused(
    tmp_path, model_type, classes, refused
):
    config = {"model_type": model_type, "architectures": classes}
    (tmp_path / "config.json").write_text(json.dumps(config))
    if refused is None:
        assert spec_for_path(str(tmp_path)).kind == "causal"
        return
    with pytest.raises(UnknownModel, match=f"is a {refused}, which writes no text$"):
        spec_for_path(str(tmp_path))


def test_small_gpt_of_the_user_is_known():
    folder = CHECKPOINTS / "small-gpt"
    # In a process of its own: here other tests have made the model known.
    command = (
        "from fixtures.models.registry import spec_for_path;"
        f" print(spec_for_path({str(folder)!r}).build_config('given').model_type)"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "small_gpt"


@pytest.mark.parametrize(
    ("described", "positions"),
    [
        ({"n_positions": 1024}, 1024),
        ({"n_ctx": 8, "max_position_embeddings": 512}, 512),
        ({"max_position_embeddings": 512, "is_encoder_decoder": True}, 512),
        ({"n_positions": 512, "is_encoder_decoder": True}, None),  # T5's are relative
        ({"n_positions": None}, None),
    ],
)
def test_longest_row_of_the_user_is_read_from_the_config(tmp_path, described, positions):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", **described}))
    assert spec_for_path(str(tmp_path)).positions == positions


# Prompt and new tokens of the longest workload of each scale.
@pytest.mark.parametrize(("scale", "longest"), [("tiny", 64 + 16), ("published", 512 + 64)])
@pytest.mark.parametrize("key", [key for key, spec in MODELS.items() if spec.kind == "causal"])
def test_a_model_of_short_rows_says_so(key, scale, longest):
    taken = MODELS[key].build_config(scale).max_position_embeddings
    assert taken >= longest or MODELS[key].positions == taken
