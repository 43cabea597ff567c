from __future__ import annotations

import pytest

from fixtures.plants.plant import FORMS, PlantError, parse_plant


@pytest.mark.parametrize(
    ("text", "target", "amount"),
    [
        ("ttft_s:+5%@gpt2-nf4", "ttft_s", 0.05),
        ("tpot_s:+12.5%@gpt2-nf4", "tpot_s", 0.125),
        ("generate_s:+100%@gpt2-nf4", "generate_s", 1.0),
        ("load_s:+25%@gpt2-nf4", "load_s", 0.25),
        ("train_step_s:+10%@gpt2-lora-*", "train_step_s", 0.1),
        ("peak_allocated_bytes:+2%@gpt2-nf4", "peak_allocated_bytes", 0.02),
        ("copy:weights@gpt2-nf4", "copy", 0.0),
        ("weights:prune-30%@gpt2-nf4", "prune", 0.3),
        ("weights:ln-eps-1e-3@gpt2-nf4", "ln-eps", 0.001),
        ("weights:noise-1e-3@gpt2-nf4", "noise", 0.001),
        ("weights:attention-scale-1.05@gpt2-nf4", "attention-scale", 1.05),
        ("technique:off@gpt2-nf4", "technique", 0.0),
    ],
)
def test_every_form_is_understood(text, target, amount):
    plant = parse_plant(text)
    assert (plant.text, plant.target) == (text, target)
    assert plant.pattern == text.rpartition("@")[2]
    assert plant.amount == pytest.approx(amount)


def test_forms_that_are_listed_are_understood():
    for form in FORMS:
        for what in form.split("|")[-1:]:
            assert parse_plant(f"{what}@*").pattern == "*"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tpot_s:+5%",
        "tpot_s:5%@gpt2",
        "tpot_s:-5%@gpt2",
        "tpot_s:+0%@gpt2",
        "tpot_s:+5@gpt2",
        "perplexity:+5%@gpt2",
        "weights:prune@gpt2",
        "weights:prune-30@gpt2",
        "weights:prune-0%@gpt2",
        "weights:prune-100%@gpt2",
        "weights:ln-eps-0@gpt2",
        "weights:noise-0.0@gpt2",
        "weights:attention-scale-1@gpt2",
        "weights:attention-scale-0@gpt2",
        "technique:on@gpt2",
        "copy:weights@",
    ],
)
def test_what_is_no_plant_is_refused_with_the_known_forms(text):
    with pytest.raises(PlantError, match=r"is no regression; known forms: ttft_s\|") as failure:
        parse_plant(text)
    assert repr(text) in str(failure.value)
    assert "technique:off, each with @VARIANT" in str(failure.value)


def test_variant_is_matched_as_a_glob():
    assert parse_plant("technique:off@tiny-*-nf4").matches("tiny-gpt2-nf4")
    assert not parse_plant("technique:off@tiny-*-nf4").matches("gpt2-nf4")
    assert not parse_plant("technique:off@gpt2-nf4").matches("tiny-gpt2-nf4")
