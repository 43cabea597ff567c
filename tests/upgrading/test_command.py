"""The command: what it refuses, what it prints and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.regression.atomic import StoreWriteError
from fixtures.upgrading import command
from fixtures.upgrading.building import NothingDiffers, Setting
from fixtures.upgrading.command import main
from fixtures.upgrading.environment import Environment
from fixtures.upgrading.options import UsageFault, read_options
from fixtures.upgrading.outcome import Exit, Outcome, Status, Verdict
from fixtures.upgrading.packages import Distribution, PipError
from fixtures.upgrading.reports import format_json, format_markdown, format_terminal

BRIEF = ("-m", "cpu", "--pairs=10", "--restarts=2", "--most-restarts=2", "--timeout=20")
FP32, NF4 = "tiny-gpt2-fp32", "tiny-gpt2-nf4"


@pytest.fixture(autouse=True)
def no_handlers_left():
    kept = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, kept)


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    """The job summary that whoever runs these tests has in their environment."""
    page = tmp_path_factory.mktemp("job") / "summary.md"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_STEP_SUMMARY", str(page))
        yield page


@pytest.fixture
def stage(scripted, monkeypatch):
    """Puts scripted sides in place of built ones; returns what the command was built for."""
    seen = []

    def set_up(a=None, b=None, complaints=()):
        sides = (scripted("A", **(a or {})), scripted("B", **(b or {})))
        before = Environment(Path(sys.executable), {"transformers": "5.23.0"})
        after = Environment(Path(sys.executable), {"transformers": "5.24.0"}, complaints)
        changes = (Distribution("transformers", "5.24.0", ""),)

        def build(asked):
            seen.append(asked)
            return Setting(before, after, sides, changes, " ".join(asked.pins))

        monkeypatch.setattr(command, "build_setting", build)
        return seen

    return set_up


def run(*words):
    return main(["transformers==5.24", *BRIEF, "--models=gpt2", "--techniques=fp32,nf4", *words])


def test_nothing_worse_is_0_and_names_what_differs(stage, capsys):
    stage(complaints=("peft 0.21 requires transformers<5.24",))
    assert run() == Exit.SAFE == 0
    page = capsys.readouterr().out
    assert "B: transformers==5.24" in page
    assert "transformers 5.23.0 -> 5.24.0" in page
    assert "pip check on B: peft 0.21 requires transformers<5.24" in page
    assert "upgrade: nothing got worse (12 same), in" in page


def test_slower_is_1_and_says_by_how_much(stage, capsys):
    stage(b={"slow": {f"{NF4} decode": 1.05}})
    assert run() == Exit.WORSE == 1
    page = capsys.readouterr().out
    assert f"slower: {NF4}-b1-p64-n16 tpot_s: 20.00 ms -> 21.00 ms, +5.0 % [+5.0, +5.0]" in page
    assert "not safe: something got worse (1 slower, 11 same)" in page


@pytest.mark.parametrize(
    ("figures", "status"),
    [({"tokens": [[9, 9, 9]]}, "changed"), ({"sizes": {"storage_bytes": 3100}}, "larger")],
)
def test_changed_and_larger_are_1(stage, capsys, figures, status):
    stage(b={"figures": {FP32: figures}})
    assert run("-k", "fp32") == Exit.WORSE
    assert f"1 {status}" in capsys.readouterr().out


def test_side_that_failed_is_7_and_named(stage, capsys):
    stage(b={"acts": {f"describe {NF4}": "die"}})
    assert run() == Exit.FAILED == 7
    page = capsys.readouterr().out
    assert f"failed: {NF4}-b1-p64-n16 run: B was killed by SIGKILL during describe" in page
    assert "not shown to be safe: a side failed (1 failed, 6 same)" in page


def test_undecided_is_8(stage, capsys):
    stage(b={"slow": {f"{FP32} decode": 1.02}})
    assert run() == Exit.UNDECIDED == 8
    assert "some cases are undecided (1 undecided, 11 same)" in capsys.readouterr().out


def test_something_worse_outweighs_a_failure(stage):
    stage(b={"acts": {f"describe {NF4}": "die"}, "figures": {FP32: {"tokens": [[9, 9, 9]]}}})
    assert run() == Exit.WORSE


def test_empty_selection_is_5(stage, capsys):
    stage()
    assert run("-k", "nosuch") == Exit.NOTHING == 5
    assert "no case matches the selection" in capsys.readouterr().err


def test_fault_of_the_gate_itself_is_3(stage, monkeypatch, capsys):
    stage()
    monkeypatch.setattr(command, "Gate", None)
    assert run() == Exit.FAULT == 3
    assert "TypeError" in capsys.readouterr().err


def test_interruption_is_2_and_what_was_measured_is_shown(stage, monkeypatch, capsys):
    stage()

    def tell(line):
        if line.startswith("restart 2"):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(command, "_tell", tell)
    assert run("-k", "fp32") == Exit.INTERRUPTED == 2
    page = capsys.readouterr().out
    assert "interrupted: what was measured by then is judged" in page
    assert "2 undecided, 4 same" in page


def test_interruption_while_building_is_2(stage, monkeypatch):
    stage()

    def build(asked):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "build_setting", build)
    assert run() == Exit.INTERRUPTED


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "nothing differs between A and B; give pins such as transformers==5.24"),
        (("x==1", f"--python-b={sys.executable}"), "three ways to make B; take one"),
        (("--revision-a=main",), "need each other and one --model FOLDER"),
        (("--revision-a=a", "--revision-b=b"), "need each other and one --model FOLDER"),
        ((f"--python-b={sys.executable}", "--bisect"), "--bisect goes through changed pins"),
        (("x==1", "--pairs=3"), "3 pairs over 5 restarts decide nothing"),
        (("x==1", "--budget=soon"), "budget 'soon' is no time such as 90s"),
        (("x==1", "--models=nosuch"), "unknown model 'nosuch'"),
        (("x==1", "--techniques=nosuch"), "unknown technique"),
        (("x==1", "--workloads=b1"), "workload 'b1' is not of the form"),
        (("x==1", "--plant=speed:+5%@x"), "is no regression; known forms"),
        (("x==1", "--plant=load_s:+5%@x"), "shows nowhere: only ttft_s and tpot_s are timed"),
        (("x==1", "--plant=tpot_s:+5%@nosuch"), "goes into no selected case"),
        (("--python-b=/no/such/python",), "'/no/such/python' is no program that can be run"),
        (("x==1", "--articles=0"), "--articles and --timeout must be above zero"),
        (("x==1", "--scale=huge"), "invalid choice: 'huge'"),
        (("x==1", "--nosuch"), "unrecognized arguments: --nosuch"),
        (("x==1", "-k", "gpt2 and"), "cannot be read at its end"),
    ],
)
def test_command_line_that_cannot_be_followed_is_4(stage, capsys, words, sentence):
    stage()
    assert main(["-m", "cpu", *words]) == Exit.USAGE == 4
    assert sentence in capsys.readouterr().err


def test_pin_that_pip_cannot_resolve_is_4(monkeypatch, capsys):
    def build(asked):
        raise PipError("pip cannot resolve x==9: No matching distribution found for x==9")

    monkeypatch.setattr(command, "build_setting", build)
    assert run() == Exit.USAGE
    assert "ERROR: pip cannot resolve x==9: No matching" in capsys.readouterr().err


def test_pins_that_change_nothing_are_5(monkeypatch, capsys):
    def build(asked):
        raise NothingDiffers("A has all of x==1, so B would be A")

    monkeypatch.setattr(command, "build_setting", build)
    assert run() == Exit.NOTHING
    assert "so B would be A" in capsys.readouterr().err


def test_bisection_is_told_in_a_line(stage, monkeypatch, capsys):
    stage(b={"figures": {FP32: {"tokens": [[9, 9, 9]]}}})
    monkeypatch.setattr(
        command, "rebuild_setting", lambda setting, changes, _: replace(setting, changes=changes)
    )
    monkeypatch.setattr(command.Bisection, "_list_between", lambda *_: ["5.23.0", "5.24.0"])
    assert run("--bisect") == Exit.WORSE
    assert (
        f"bisect: changed {FP32}-b1-p64-n16 results is carried by transformers 5.23.0 -> 5.24.0"
    ) in capsys.readouterr().out


def test_interrupted_bisection_loses_nothing_of_the_comparison(
    stage, tmp_path, monkeypatch, capsys
):
    stage(b={"figures": {FP32: {"tokens": [[9, 9, 9]]}}})
    monkeypatch.setattr(
        command.Bisection, "run", lambda _: signal.raise_signal(signal.SIGTERM) or "carried"
    )
    words = ("-k", "fp32", "--bisect", f"--report={tmp_path / 'report'}")
    assert run(*words) == Exit.INTERRUPTED
    page, traced = capsys.readouterr().out, f"changed {FP32}-b1-p64-n16 results"
    assert f"changed: {FP32}-b1-p64-n16 results: greedy token 1 of row 1 is 9 on B" in page
    assert f"bisect: {traced}: the search was cut off by an interruption" in page
    assert "upgrade: interrupted (1 changed, 5 same)" in page
    document = json.loads((tmp_path / "report" / "upgrade.json").read_text())
    assert document["exit_status"] == Exit.INTERRUPTED


@pytest.mark.parametrize(
    "error",
    [
        StoreWriteError("/envs could not be locked"),
        OSError("No space left on device"),
        subprocess.TimeoutExpired("pip", 1800),
    ],
    ids=lambda error: type(error).__name__,
)
def test_bisection_that_cannot_go_on_loses_nothing_of_the_comparison(
    stage, tmp_path, monkeypatch, capsys, error
):
    stage(b={"figures": {FP32: {"tokens": [[9, 9, 9]]}}})

    def run_into_it(_):
        raise error

    monkeypatch.setattr(command.Bisection, "run", run_into_it)
    words = ("-k", "fp32", "--bisect", f"--report={tmp_path / 'report'}")
    assert run(*words) == Exit.WORSE
    page = capsys.readouterr().out
    assert f"bisect: changed {FP32}-b1-p64-n16 results: the search was cut off: {error}" in page
    assert "not safe: something got worse (1 changed, 5 same)" in page
    assert (tmp_path / "report" / "upgrade.md").exists()


def test_bisection_without_anything_to_trace_says_so(stage, capsys):
    stage()
    assert run("--bisect") == Exit.SAFE
    assert "bisect: nothing to trace" in capsys.readouterr().out


def test_reports_are_written_and_the_job_has_its_summary(stage, tmp_path, monkeypatch):
    stage(b={"slow": {f"{NF4} decode": 1.05}})
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert run(f"--report={tmp_path / 'report'}") == Exit.WORSE
    page = (tmp_path / "report" / "upgrade.md").read_text()
    assert (tmp_path / "summary.md").read_text() == page
    assert "| package | A | B |" in page
    document = json.loads((tmp_path / "report" / "upgrade.json").read_text())
    assert document["exit_status"] == 1
    (slower,) = [each for each in document["verdicts"] if each["status"] == "slower"]
    assert slower["ratio"] == pytest.approx(1.05, rel=1e-3)
    pairs = {(each["case"], each["metric"]): each["restarts"] for each in document["pairs"]}
    assert [len(restart) for restart in pairs[f"{NF4}-b1-p64-n16", "tpot_s"]] == [5, 5]


def test_summary_of_the_job_that_runs_these_tests_gets_no_report(summary, stage):
    stage()
    assert run("-k", "fp32") == Exit.SAFE
    assert not summary.exists()


def test_report_that_cannot_be_written_is_no_success(stage, tmp_path, capsys):
    stage()
    (tmp_path / "report").write_text("in the way")
    assert run(f"--report={tmp_path / 'report'}") == Exit.WORSE
    assert "could not be written" in capsys.readouterr().err


def test_selection_is_tiny_on_a_cpu_unless_asked_otherwise():
    def scale(*words):
        return read_options(["x==1", *words]).selection.scale

    assert scale("-m", "cpu") == "tiny"
    assert scale("-m", "cpu", "--scale=all") == "all"
    assert scale("-m", "cpu", "--model=/somewhere") is None  # the given model alone
    assert scale("-m", "gpu") is None


def test_pins_may_stand_among_options_and_in_files():
    asked = read_options(["a==1", "-k", "gpt2", "b==2", "-r", "pins.txt", "-m", "cpu"])
    assert asked.requirements == ["-r", "pins.txt", "a==1", "b==2"]


def test_interpreter_and_model_are_found_from_the_callers_folder(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    asked = read_options(["--python-b=bin/python", "--model=model", "--model=org/name"])
    assert asked.python_b == tmp_path / "bin" / "python"  # the link, not what it points to
    assert asked.selection.given == (str(tmp_path / "model"), "org/name")


def test_abbreviated_option_is_refused():
    with pytest.raises(UsageFault, match="unrecognized arguments: --pyth=x"):
        read_options(["a==1", "--pyth=x"])


OUTCOME = Outcome(
    verdicts=[
        Verdict("x-b1", "tpot_s", Status.UNDECIDED, "20 pairs", 0.001, 0.002, 2.0, (0.5, 80.0)),
        Verdict("x-b1", "ttft_s", Status.SAME, "20 pairs", 0.001, 0.001, 1.0, (0.99, 1.01)),
        Verdict("x-b1", "storage_bytes", Status.SAME, "within", 1000, 1000, 1.0),
        Verdict("y|b1", "run", Status.FAILED, "B died [hard]", side="B"),
    ],
    packages={"A": {"torch": "2.12", "numpy": "2"}, "B": {"torch": "2.13", "numpy": "2"}},
    wall_s=12.0,
)


def test_table_has_a_row_a_case_and_the_worst_of_each_column():
    lines = format_terminal("torch==2.13", OUTCOME).splitlines()
    (x,) = [line for line in lines if line.startswith("x-b1")]
    assert x.split("  ")[1].strip() == "same +0.0 % [-1.0, +1.0]"
    assert "undecided +100.0 % [-50.0, > +200]" in x
    assert x.rstrip().endswith("same")
    (y,) = [line for line in lines if line.startswith("y|b1")]
    assert y.split()[1:3] == ["failed:", "B"]
    assert "  torch 2.12 -> 2.13" in lines
    assert not any("numpy" in line for line in lines)


def test_names_with_bars_do_not_break_the_markdown_table():
    rows = [line for line in format_markdown("t", OUTCOME).splitlines() if line.startswith("| y")]
    assert rows[0].startswith(r"| y\|b1 | failed: B |")


def test_json_is_read_back():
    document = json.loads(format_json("t", OUTCOME))
    assert document["exit_status"] == Exit.FAILED
    assert document["packages"]["B"] == {"torch": "2.13", "numpy": "2"}
    assert len(document["verdicts"]) == 4
