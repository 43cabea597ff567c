"""The failing message that README.md shows is the one that is printed, but for its figures."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[3] / "README.md"


def describe_shape(lines):
    """Lines with every figure, the device, the commit and the version as a letter."""
    text = "\n".join(lines)
    text = re.sub(r"(?m)^(tiny \S+ on ).*?(: \S+ )", r"\1DEVICE\2", text)
    text = re.sub(r"recorded at \w+, torch \S+", "recorded at COMMIT, torch VERSION", text)
    kept, *rest = re.split(r"(?m)^(?=  )", text, maxsplit=1)  # the case's name has figures too
    return [
        kept,
        *(re.sub(r"(?m)\d+(\.\d+)?(e-\d+)?(?=x? |\)|;|\]|,|$)", "N", part) for part in rest),
    ]


def read_documented():
    """The lines of the message in the README."""
    section = README.read_text(encoding="utf-8").partition("## A failing message")[2]
    return re.search(r"(?ms)^```text\n(.*?)^```$", section)[1].splitlines()


def test_message_of_the_readme_is_the_one_that_is_printed(new_stage):
    stage = new_stage()
    stage.accept(*(0.999, 1.001) * 3, beside=True)
    slow = {"default": 0.002, "tiny-gpt2-nf4 tpot_s": 0.0032}
    run = stage.run("-k", "decode and nf4", beside=True, seconds=slow)
    assert run.status == 1
    documented = read_documented()
    start = next(at for at, line in enumerate(run.lines) if line.endswith(": tpot_s regressed"))
    printed = run.lines[start : start + len(documented)]
    assert describe_shape(documented) == describe_shape(printed)


def test_every_line_of_the_message_is_explained():
    section = README.read_text(encoding="utf-8").partition("## A failing message")[2]
    table = section.partition("| line | says |")[2].partition("\n## ")[0]
    numbers = re.findall(r"(?m)^\| (\d+(?: on)?) \|", table)
    of_the_time = read_documented().index("")  # behind it the same of the ratio
    assert numbers == [*map(str, range(1, of_the_time + 1)), f"{of_the_time + 2} on"]


def test_other_wording_is_told_apart():
    lines = read_documented()
    assert describe_shape(lines) != describe_shape([*lines[:-1], "To accept it, do nothing."])
    faster = [line.replace("slower", "faster") for line in lines]
    assert describe_shape(lines) != describe_shape(faster)
    same = [line.replace("+60", "+70").replace("41ec8b7", "0000000") for line in lines]
    assert describe_shape(lines) == describe_shape(same)
