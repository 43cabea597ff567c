from __future__ import annotations

import dataclasses
import json

import pytest

from fixtures.corpus.prose import generate_prose
from fixtures.models import course as courses
from fixtures.models.course import Course, train_checkpoint
from fixtures.models.provenance import read_provenance
from fixtures.models.registry import MODELS
from fixtures.models.train import main
from fixtures.models.training import Recipe


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "book.txt"
    file.write_text(generate_prose("train", 800))
    return file


@pytest.fixture(autouse=True)
def fewer_tokens(monkeypatch):
    monkeypatch.setattr("fixtures.models.sample_text._TOKENS", 8)


def teach(text, out, *more):
    main(["small-gpt", "--text", str(text), "--out", str(out), "--device", "cpu", *more])


def test_a_users_text_is_learnt_scored_and_gone_on_with(text, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(courses.RECIPES, "small-gpt", Recipe(steps=2, batch=2, warmup_steps=1))
    teach(text, tmp_path / "out", "--micro-batches", "2")
    folder = tmp_path / "out" / "small-gpt"
    provenance = read_provenance(folder)
    assert provenance.recipe["text"].startswith("book.txt ")
    assert provenance.recipe["characters"] == 800 - 80
    assert provenance.command.endswith("small-gpt --steps 2 --micro-batches 2 --text book.txt")
    assert provenance.scores["perplexity"] > 1
    printed = capsys.readouterr().out
    assert "small-gpt: step 2 of 2, loss " in printed
    sample = (folder / "sample.txt").read_text()
    assert sample in printed
    assert sample.startswith(text.read_text()[-80:][:64])
    assert not (tmp_path / "out" / "small-gpt.training.pt").exists()  # the run is over


def test_a_stopped_run_is_gone_on_with(text, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(courses.RECIPES, "small-gpt", Recipe(steps=3, batch=1, warmup_steps=1))
    with monkeypatch.context() as patch:
        patch.setattr(
            courses.TrainingProgress,
            "report",
            lambda self, step, nats: [0][step - 1],  # an IndexError after the second step
        )
        with pytest.raises(IndexError):
            teach(text, tmp_path, "--only", "train", "--keep-every", "1")
    teach(text, tmp_path, "--only", "train", "--resume")
    lines = [line for line in capsys.readouterr().out.splitlines() if ": step " in line]
    assert [line.partition(", ")[0] for line in lines] == [
        "small-gpt: step 2 of 3",
        "small-gpt: step 3 of 3",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gpt2", "--text", "a.txt"], "--text and --scale are for models of prose; gpt2 learns to"),
        (["small-gpt", "--scale", "published"], "--text and --scale published need --out: what is"),
        (["small-gpt", "--steps", "0"], "needs steps, rows, warm-up and a learning rate above"),
        (["small-gpt", "--text", "no.txt", "--out", "x"], "no.txt cannot be read: No such file"),
        (["small-gpt", "--micro-batches", "33"], "cannot be taken in 33 micro-batches; from 1 to"),
        (["small-gpt", "--resume"], "training.pt is missing, so there is no run to go on with"),
        (["small-gpt", "--keep-every", "0"], "a run cannot be kept every 0 steps; every 1 or"),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(courses, "TRAINING_CHARACTERS", 2000)
    monkeypatch.setattr("fixtures.models.train.CHECKPOINTS", tmp_path / "checkpoints")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    last = printed.strip().splitlines()[-1]
    assert last.startswith("python -m fixtures.models.train: error: ")
    assert sentence in last


def test_the_published_shape_is_trained_in_bf16_on_a_gpu_alone(tmp_path):
    spec = MODELS["small-gpt"]
    published = Course(spec, Recipe(1, 1), "cuda:0", tmp_path, scale="published")
    assert published.autocast and published.describe()["autocast"] == "bfloat16"
    for other in ({"scale": "tiny"}, {"device": "cpu"}):
        assert not dataclasses.replace(published, **other).autocast


def test_the_checkpoint_that_stands_is_kept_until_the_new_one_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(courses, "TRAINING_CHARACTERS", 2000)
    (tmp_path / "small-gpt").mkdir()
    (tmp_path / "small-gpt" / "config.json").write_text(json.dumps("old"))
    course = Course(MODELS["small-gpt"], Recipe(1, 1), "cpu", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(courses, "write_provenance", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_checkpoint(course)
    assert json.loads((tmp_path / "small-gpt" / "config.json").read_text()) == "old"
    train_checkpoint(course)
    assert json.loads((tmp_path / "small-gpt" / "config.json").read_text()) != "old"
