"""Every command in README.md and docs/ is run here, or is one that CI runs in the same words."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PROGRAMS = ("pytest", "python", "pip", "tox", "npm", "git", "nvidia-smi")

# The shell itself splits, expands and loops, and finds no program to start: it notes the words.
_NOTING = r"""
PATH=/nowhere
trap 'AT=$LINENO' DEBUG
command_not_found_handle() {
    local IFS=$'\x1f'
    printf '%s\x1e' "$AT$IFS$*" >> "$NOTED"
}
"""
# A document on GPUs names a case of a GPU's workload; the stage has the same case of its own.
_OF_THE_STAGE = {"gpt2-nf4-b1-p512-n64": "gpt2-nf4-b1-p64-n16"}


@dataclass(frozen=True)
class Command:
    """What a document tells its reader to type.

    Attributes:
        where: file and line.
        section: the heading above it.
        words: as the shell hands them on.
        row: the exit status that its table says, where it stands in one.
        looped: whether a line of a block starts it more than once.
    """

    where: str
    section: str
    words: tuple[str, ...]
    row: int | None = None
    looped: bool = False

    @property
    def text(self) -> str:
        """As it can be typed."""
        return shlex.join(self.words)


def split_document(text):
    """Lines of prose, of fenced blocks, and the language of each block, by line number."""
    prose, blocks, inside = {}, [], None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("```"):
            if inside is None:
                inside = (line.removeprefix("```").strip(), number, [])
            else:
                blocks.append(inside)
                inside = None
        elif inside is None:
            prose[number] = line
        else:
            inside[2].append(line)
    return prose, blocks


def note_words(script, folder):
    """The line and the words of every command that a script would start, in order of these.

    Jobs in the background note theirs in any order, and xdist wants the same of each worker.
    """
    file, noted, before = folder / "script", folder / "noted", folder / "before"
    file.write_text(f"{script}\nwait\n")
    before.write_text(_NOTING)
    noted.write_text("")
    environment = {"BASH_ENV": str(before), "NOTED": str(noted)}
    subprocess.run(["/bin/bash", file], env=environment, cwd=folder, check=False)
    records = noted.read_text().split("\x1e")[:-1]
    rows = (each.split("\x1f") for each in records)
    return sorted((int(line), tuple(words)) for line, *words in rows)


def read_commands(path, text, folder):
    """Commands of shell blocks, and those that stand in the text between backticks."""
    prose, blocks = split_document(text)
    headings = {number: line for number, line in prose.items() if line.startswith("#")}

    def describe(number, words, looped=False):
        above = [line for at, line in headings.items() if at < number]
        row = re.match(r"\| (\d) \|", prose.get(number, ""))
        return Command(
            f"{path.relative_to(ROOT)}:{number}",
            above[-1].strip("# ") if above else "",
            words,
            int(row[1]) if row else None,
            looped,
        )

    for language, start, lines in blocks:
        if language == "sh":
            noted = note_words("\n".join(lines), folder)
            times = Counter(line for line, _ in noted)
            for line, words in noted:
                yield describe(start + line, words, times[line] > 1)
    for number, line in prose.items():
        for span in re.findall(r"`([^`]+)`", line.replace(r"\|", "|")):
            if span == "pytest" or (span.split()[0] in PROGRAMS and " " in span):
                for _, words in note_words(span, folder):
                    yield describe(number, words)


def read_all():
    """Every command of every document, the same words once."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in DOCUMENTS:
            for command in read_commands(path, path.read_text(), Path(folder)):
                found.setdefault((describe_likeness(command), command.row), command)
    return list(found.values())


def describe_likeness(command):
    """The same for commands of which one stands for all: turns of a loop, and other reasons."""
    words = list(command.words)
    if "--reason" in words:
        words[words.index("--reason") + 1] = "..."
    text = shlex.join(words)
    return re.sub(r"\d+", "0", text) if command.looped else text


def list_ci_commands():
    """What tox, .ci/run and the workflows start, word by word."""
    lines = (ROOT / ".ci/run").read_text().splitlines()
    for path in (ROOT / ".github").rglob("*.yml"):
        scripts = re.findall(r"(?ms)^ *-? *run: (?:\|\n)?(.*?)(?=^ *- |\Z)", path.read_text())
        lines += [line for script in scripts for line in script.splitlines()]
    tox = (ROOT / "tox.ini").read_text()
    lines += [line.removeprefix("commands =") for line in tox.splitlines()]
    # tox installs what `deps` names by `python -m pip install`.
    lines += [f"python -m pip install {deps}" for deps in re.findall(r"(?m)^deps = (.*)$", tox)]
    for line in lines:
        try:
            yield tuple(shlex.split(line.replace("{posargs}", "").strip()))
        except ValueError:  # a line of a longer construct
            continue


COMMANDS = read_all()
CI = list(list_ci_commands())


def is_run_by_ci(command):
    """Whether CI starts these words, and maybe more behind them."""
    return any(each[: len(command.words)] == command.words for each in CI)


def is_of_worked_example(command):
    """Whether it belongs to what test_worked_examples.py adds and then runs."""
    return command.section.startswith("Adding a ")


def find_runner(command):
    """The function below that runs a command; None where nothing does.

    What is left out here by a rule is run elsewhere: CI in the same words, the table of exit
    statuses in test_gate_exit_codes.py, the worked examples in test_worked_examples.py.
    """
    program, *arguments = command.words
    if program == "pytest":
        return run_pytest
    if program == "python" and arguments[1].startswith(("docs.", "fixtures.")):
        return run_script
    return {
        "git": run_git,
        "nvidia-smi": check_nvidia,
        "pip": ask_pip,
        "tox": run_in_tox if len(arguments) > 2 else None,
    }.get(program)


ELSEWHERE = [
    each
    for each in COMMANDS
    if is_run_by_ci(each) or is_of_worked_example(each) or each.row is not None
]
HERE = [each for each in COMMANDS if each not in ELSEWHERE]


def run_pytest(command, stage, checkout):
    """On rounds from a script; what needs a GPU, or burns real time, is collected alone."""
    words = [_OF_THE_STAGE.get(word, word) for word in command.words[1:]]
    if words and words[0].startswith("tests"):
        words = [sys.executable, "-m", *command.words, "--collect-only", "-q"]
        subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
        return
    # The stage has no texts to score, and the tests of timing and weighing answers alone.
    if "accuracy" in words or any(word.startswith("perf_tests/") for word in words):
        assert checkout.collect(*words)
        return
    if "--calibrate" in words:  # each repeat is a run of its own
        words[words.index("--calibrate") + 1] = "2"
    script = {"gpu": "gpu" in words}
    give_shards(stage, [word.partition("=")[2] for word in words if word.startswith("--merge=")])
    slow = ("--plant", "--profile")  # burn real time, look at a real model
    only_read = script["gpu"] or any(word.startswith(slow) for word in words)
    run = stage.run(*words, *(["--collect-only"] if only_read else []), **script)
    assert run.status == 0, run.text


def give_shards(stage, names):
    """Put the parts of one run where a command expects them."""
    for number, name in enumerate(names, start=1):
        (stage.root / name).parent.mkdir(exist_ok=True)
        shutil.copy(stage.root / f"parts/{number}.json", stage.root / name)


def run_script(command, stage, checkout):
    """On the stage's files where it reads one; what takes hours is asked for its options."""
    _, _, module, *words = expand(command.words, stage.root)
    reads = any(Path(word).is_file() for word in words)
    done = start_module(module, *words, *([] if reads else ["--help"]))
    assert done.returncode == 0, done.stderr
    options = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert reads or options <= find_options(done.stdout)


def start_module(*words):
    """Run ``python -m`` in the repository."""
    start = [sys.executable, "-m", *words]
    return subprocess.run(start, cwd=ROOT, capture_output=True, text=True, check=False)


def find_options(text):
    """Options that a help text names, short ones too."""
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text))


def ask_pip(command, stage, checkout):
    """Of pip itself, only whether it has the command."""
    assert start_module("pip", command.words[1], "--help").returncode == 0


def run_in_tox(command, stage, checkout):
    """What the environment starts when these words stand behind ``--``."""
    _, flag, name, dashes, *words = command.words
    assert (flag, dashes) == ("-e", "--")
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    start = tox[f"testenv:{name}"]["commands"].replace("{posargs}", shlex.join(words))
    inner = replace(command, words=tuple(shlex.split(start)))
    find_runner(inner)(inner, stage, checkout)


def run_git(command, stage, checkout):
    """In a repository of its own."""
    for words in (("git", "init", "--quiet"), expand(command.words, stage.root)):
        subprocess.run(words, cwd=stage.root, check=True, capture_output=True)


def expand(words, folder):
    """Words with their patterns filled in, as the reader's shell does it there."""
    for word in words:
        found = sorted(folder.glob(word)) if "*" in word else []
        yield from map(str, found or [word])


def check_nvidia(command, stage, checkout):
    """NVIDIA's own program reads the device; where it is not, no word of it can be checked."""
    if shutil.which("nvidia-smi") is None:
        assert set(command.words[1:]) <= {"-L", "-q", "-d", "PERFORMANCE", "-pm", "1"}
    elif "-pm" not in command.words:  # that would change the machine
        subprocess.run(command.words, check=True, capture_output=True)


@pytest.fixture(scope="module")
def runs(new_stage):
    """A stage with an accepted run, twelve saved ones, and one in two parts."""
    stage = new_stage(accepted=True)
    for number in range(6, 13):
        stage.add_run(number)
    folder = stage.root / "shards"
    folder.mkdir()
    for number in (1, 2):
        part = (f"--shard={number}/2", f"--benchmark-json={folder / f'{number}.json'}")
        assert stage.run(*part).status == 0
    return stage


@pytest.fixture
def stage(runs, new_stage):
    """A copy of it for one command."""
    own = new_stage()
    shutil.copytree(runs.baselines, own.baselines, dirs_exist_ok=True)
    (own.root / "parts").symlink_to(runs.root / "shards")
    return own


@pytest.mark.parametrize("command", HERE, ids=[f"{each.where} {each.text}" for each in HERE])
def test_command_does_what_its_document_says(command, stage, shared_checkout):
    runner = find_runner(command)
    assert runner is not None, f"{command.where}: nothing runs `{command.text}`"
    runner(command, stage, shared_checkout)


def test_documents_have_commands_of_each_kind():
    programs = {each.words[0] for each in COMMANDS}
    assert {"pytest", "tox", "python", "npm", "git"} <= programs
    assert len(HERE) > 25 and len(ELSEWHERE) > 5


def test_command_that_nothing_runs_is_named_with_its_line(tmp_path):
    text = "# Title\n\nsome `npm start` here\n\n```sh\npytest -k 'a b'\ncurl --head x\n```\n"
    found = list(read_commands(ROOT / "README.md", text, tmp_path))
    assert [(each.where, each.words) for each in found] == [
        ("README.md:6", ("pytest", "-k", "a b")),
        ("README.md:7", ("curl", "--head", "x")),
        ("README.md:3", ("npm", "start")),
    ]
    runners = [None if is_run_by_ci(each) else find_runner(each) for each in found]
    assert runners == [run_pytest, None, None]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_fence_names_its_language(path):
    _, blocks = split_document(path.read_text())
    assert [start for language, start, _ in blocks if not language] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_variables_that_are_exported_are_those_of_ci(path):
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    exported = re.findall(r"(?m)^export (\w+)=(\S+)", path.read_text())
    assert [each for each in exported if f"{each[0]}: {each[1]}\n" not in workflow] == []


@pytest.fixture(scope="module")
def known_options(shared_checkout):
    """Names of the options that pytest has in this checkout, and those of its scripts."""
    sources = [*ROOT.glob("docs/*.py"), *ROOT.glob("fixtures/upgrading/*.py")]
    sources.append(ROOT / "fixtures/models/train.py")
    own = {name for path in sources for name in re.findall(r'"(--[\w-]+)"', path.read_text())}
    return own | find_options(shared_checkout.run("--help").text)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_options_that_are_named_exist(path, known_options):
    prose, _ = split_document(path.read_text())
    named = {
        (number, option)
        for number, line in prose.items()
        for option in re.findall(r"`(--[\w-]+)", line)
    }
    assert [each for each in named if each[1] not in known_options] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(path):
    places = r"`((?:fixtures|docs|tests|perf_tests|\.github|\.ci)/[\w./-]*)`"
    named = re.findall(places, path.read_text())
    assert [each for each in named if not (ROOT / each).exists()] == []


def test_tree_of_the_readme_lists_every_folder_of_fixtures():
    tree = (ROOT / "README.md").read_text().partition("## The tree")[2].partition("## ")[0]
    listed = re.findall(r"(?m)^  (\w+)/", tree)
    packages = {path.parent.name for path in (ROOT / "fixtures").glob("*/__init__.py")}
    assert sorted(listed) == sorted(packages)
