"""The model and the technique that README.md adds are added to a checkout, trained and measured."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL, TECHNIQUE = "opt-125m", "rounded-8"

# A real checkpoint takes 60,000 articles and thousands of steps, and its adapters as many again;
# what is shown here is the way, and that the second command knows the model.
_TRAIN = """
import json, sys
from fixtures.adaptation import train as adapters
from fixtures.models import course, train
model, adapted = json.loads(sys.argv[1])
assert model[:2] + adapted[:2] == ["-m", "fixtures.models.train", "-m", "fixtures.adaptation.train"]
course.TRAINING_ARTICLES = 100
train.main([*model[2:], "--steps", "2", "--only", "train", "--device", "cpu"])
adapters.main([*adapted[2:], "--help"])
"""


def read_section(title):
    """A section of the README by its heading."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.search(rf"(?ms)^## {title}\n(.*?)(?=^## )", text)[1]


def read_blocks(section, language):
    """Fenced blocks of one language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", section)


def read_commands(section):
    """The words of each command of a section."""
    lines = [line for block in read_blocks(section, "sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


def write_file(root, block):
    """Write a block of code to the file that its first line names."""
    path = root / block.partition("\n")[0].removeprefix("# ")
    assert not path.exists(), f"README.md adds {path.relative_to(root)}, which is there already"
    path.write_text(block)
    return path


def apply_changes(root, block):
    """Make the changes of a block: files after ``---``, places in them apart by ``@@``."""
    for part in re.split(r"(?m)^--- ", block)[1:]:
        name, _, lines = part.partition("\n")
        text = (root / name).read_text()
        for place in re.split(r"(?m)^@@\n", lines):
            old, new = (
                "".join(f"{line[1:]}\n" for line in place.splitlines() if line[0] in signs)
                for signs in (" -", " +")
            )
            assert text.count(old.rstrip("\n")) == 1, f"README.md changes {old!r} in {name}"
            text = text.replace(old.rstrip("\n"), new.rstrip("\n"))
        (root / name).write_text(text)


@pytest.fixture(scope="module")
def checkout(new_checkout):
    """A checkout to which both are added, the model with a checkpoint of two steps."""
    checkout = new_checkout(own_fixtures=True)
    for title in ("Adding a model", "Adding a technique"):
        section = read_section(title)
        for block in read_blocks(section, "python"):
            write_file(checkout.root, block)
        for block in read_blocks(section, "diff"):
            apply_changes(checkout.root, block)
    *trainings, _ = read_commands(read_section("Adding a model"))
    words = json.dumps([training[1:] for training in trainings])
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN, words],
        cwd=checkout.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return checkout


@pytest.fixture(scope="module")
def measured(checkout):
    """Both under one run: the model by itself, and under the technique, which is off there."""
    return checkout.run(
        *("perf_tests", "-m", "cpu", "--scale", "tiny", "--articles", "30"),
        *("--models", f"gpt2,{MODEL}", "--techniques", f"fp32,{TECHNIQUE}"),
        *("-k", "applied or decode or divergence or storage"),
        *("--plant", f"technique:off@tiny-{MODEL}-{TECHNIQUE}"),
    )


def find_row(finished, model, technique):
    """A line of the tables, by its model and technique: what stands under each heading."""
    table = finished.text.partition(f"\n{model}, tiny, b1-p64-n16")[2].partition("\n\n")[0]
    headings, *rows = (re.split(r"\s{2,}", line.strip()) for line in table.splitlines()[1:])
    return dict(zip(headings, next(row for row in rows if row[0] == technique), strict=True))


def test_added_files_are_in_the_style_of_the_others(checkout):
    files = ["fixtures/models/opt.py", "fixtures/techniques/rounded.py"]
    for words in (("check",), ("format", "--check")):
        command = [sys.executable, "-m", "ruff", *words, "--config", ROOT / "pyproject.toml"]
        done = subprocess.run([*command, *files], cwd=checkout.root, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("title", ["Adding a model", "Adding a technique"])
def test_commands_select_what_was_added(checkout, title):
    commands = [words for words in read_commands(read_section(title)) if words[0] == "pytest"]
    assert commands
    for words in commands:
        collected = checkout.collect(*words[1:])
        assert any(MODEL in test or TECHNIQUE in test for test in collected)


def test_added_model_and_technique_are_measured(measured):
    for model, technique in (("gpt2", TECHNIQUE), (MODEL, "fp32")):
        row = find_row(measured, model, technique)
        tpot, unit = row["TPOT"].split()
        assert float(tpot) > 0 and unit in ("us", "ms")
        assert row["on disk"].endswith("MiB")


def test_added_technique_is_judged_by_the_tolerance_that_was_added(measured):
    failed = [line for line in measured.lines if line.startswith("FAILED ")]
    assert not any("gpt2" in line for line in failed), measured.text
    assert 0 < float(find_row(measured, "gpt2", TECHNIQUE)["KL"]) < 1.5e-3


def test_its_evidence_sees_that_it_is_off(measured):
    assert measured.status == 1
    where = f"tiny {MODEL}-{TECHNIQUE}-applied on "
    assert any(line.startswith(where) and "measuring-error" in line for line in measured.lines)
    assert re.search(rf"{TECHNIQUE}: \S+ has \d+ levels", measured.text)
