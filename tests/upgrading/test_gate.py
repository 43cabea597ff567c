"""The gate on scripted sides: one verdict for each metric, whatever one of them does."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time

import pytest

from fixtures.upgrading.outcome import Exit, Status
from fixtures.upgrading.schedule import Budget, Schedule

BRIEF = {"pairs": 10, "restarts": 2, "most_restarts": 2, "timeout_s": 20.0}


def statuses(outcome, case):
    return {verdict.metric: verdict.status for verdict in outcome.verdicts if verdict.case == case}


SAME = dict.fromkeys(
    ("results", "peak_allocated_bytes", "storage_bytes", "weights_bytes", "ttft_s", "tpot_s"),
    Status.SAME,
)


def test_sides_that_agree_are_the_same_in_everything(compare):
    outcome = compare(["x", "y"])
    assert statuses(outcome, "x-b1-p4-n3") == statuses(outcome, "y-b1-p4-n3") == SAME
    assert outcome.exit is Exit.SAFE
    pairs = outcome.samples["x-b1-p4-n3", "tpot_s"]
    assert [len(restart) for restart in pairs] == [5, 5]


def test_slower_decode_of_one_case_is_its_verdict_alone(compare):
    outcome = compare(["x", "y"], b={"slow": {"x decode": 1.05}})
    assert statuses(outcome, "x-b1-p4-n3") == {**SAME, "tpot_s": Status.SLOWER}
    assert statuses(outcome, "y-b1-p4-n3") == SAME
    (slower,) = outcome.with_status(Status.SLOWER)
    assert slower.ratio == pytest.approx(1.05, abs=0.003)
    assert outcome.exit is Exit.WORSE


def test_faster_is_told_and_is_safe(compare):
    outcome = compare(["x"], b={"slow": {"x prefill": 0.9}})
    assert statuses(outcome, "x-b1-p4-n3") == {**SAME, "ttft_s": Status.FASTER}
    assert outcome.exit is Exit.SAFE


FAILURES = {
    "die": "B was killed by SIGKILL during",
    "exit": "B ended during",
    "babble": "which is no JSON object",
}


@pytest.mark.parametrize("act", FAILURES)
@pytest.mark.parametrize("command", ["build", "describe", "time"])
def test_failure_in_one_case_leaves_the_others_their_verdicts(compare, act, command):
    outcome = compare(["x", "y"], b={"acts": {f"{command} x": act}})
    (failed,) = outcome.with_status(Status.FAILED)
    assert (failed.case, failed.metric, failed.side) == ("x-b1-p4-n3", "run", "B")
    assert FAILURES[act] in failed.reason
    assert statuses(outcome, "y-b1-p4-n3") == SAME
    assert outcome.exit is Exit.FAILED


@pytest.mark.parametrize("command", ["build", "describe"])
def test_failure_of_both_sides_in_one_case_leaves_the_others_their_verdicts(compare, command):
    act = {"acts": {f"{command} x": "die"}}
    outcome = compare(["x", "y"], a=act, b=act)
    (failed,) = outcome.with_status(Status.FAILED)
    assert (failed.case, failed.side) == ("x-b1-p4-n3", "A")
    assert statuses(outcome, "y-b1-p4-n3") == SAME


def test_hang_in_one_case_leaves_the_others_their_verdicts(compare):
    schedule = Schedule(**{**BRIEF, "timeout_s": 4.0})
    outcome = compare(["x", "y"], b={"acts": {"describe x": "hang"}}, schedule=schedule)
    (failed,) = outcome.with_status(Status.FAILED)
    assert failed.reason == "B gave no answer to describe within 4 s"
    assert statuses(outcome, "y-b1-p4-n3") == SAME


def test_memory_that_runs_out_on_a_is_a_failure_of_a(compare):
    act = {"failed": "out of memory: OutOfMemoryError: CUDA out of memory."}
    outcome = compare(["x", "y"], a={"acts": {"describe x": act}})
    (failed,) = outcome.with_status(Status.FAILED)
    assert failed.side == "A"
    assert (
        failed.reason
        == "A failed to describe: out of memory: OutOfMemoryError: CUDA out of memory."
    )
    assert statuses(outcome, "y-b1-p4-n3") == SAME


def test_version_that_cannot_be_imported_fails_every_case_with_its_cause(compare):
    act = {"failed": "ImportError: cannot import name 'modeling_utils'"}
    outcome = compare(["x", "y"], b={"acts": {"start": act}})
    reasons = {verdict.reason for verdict in outcome.verdicts}
    assert reasons == {"B failed to start: ImportError: cannot import name 'modeling_utils'"}
    assert [verdict.status for verdict in outcome.verdicts] == [Status.FAILED] * 2
    assert outcome.exit is Exit.FAILED


def test_failure_while_timing_keeps_what_was_described(compare):
    # The third start is the second restart: the trial and one restart went well.
    outcome = compare(["x", "y"], b={"acts": {"time x": "die"}, "acts_from": 2})
    assert statuses(outcome, "x-b1-p4-n3") == {
        **SAME,
        "ttft_s": Status.FAILED,
        "tpot_s": Status.FAILED,
    }
    assert statuses(outcome, "y-b1-p4-n3") == SAME


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        (
            {"result": {"output": "tuple", "logits": "float32 [1, 1, 8]", "cache": "DynamicCache"}},
            "B's output is tuple, A's CausalLMOutput",
        ),
        ({"nll": [1.0, 2.0]}, "other tokens are scored: 3 on A, 2 on B"),
        ({"tokens": [[1, 2, 4]]}, "greedy token 3 of row 1 is 4 on B, 3 on A"),
    ],
)
def test_other_results_are_a_change_with_its_cause(compare, figures, reason):
    outcome = compare(["x", "y"], b={"figures": {"x": figures}})
    (changed,) = outcome.with_status(Status.CHANGED)
    assert (changed.case, changed.reason) == ("x-b1-p4-n3", reason)
    assert outcome.exit is Exit.WORSE


@pytest.mark.parametrize(
    ("figures", "cause"),
    [
        ({"nll": ["many"]}, "B gave ['many'] as its nll"),
        ({"nll": None}, "B gave None as its nll"),
        ({"tokens": [[1, 2.5]]}, "B gave [[1, 2.5]] as its tokens"),
        ({"sizes": {"storage_bytes": "3 kB"}}, "B gave {'storage_bytes': '3 kB'} as its sizes"),
    ],
)
def test_result_of_another_type_fails_on_the_side_that_gave_it(compare, figures, cause):
    outcome = compare(["x", "y"], b={"figures": {"x": figures}})
    (failed,) = outcome.with_status(Status.FAILED)
    assert (failed.case, failed.side, failed.reason) == ("x-b1-p4-n3", "B", cause)
    assert statuses(outcome, "y-b1-p4-n3") == SAME


@pytest.mark.parametrize("seconds", [["fast"], [0.0], [-1.0], [None], []])
def test_what_is_no_time_fails_on_the_side_that_gave_it(compare, seconds):
    act = {"told": {"seconds": seconds * 3}}
    outcome = compare(["x"], b={"acts": {"time x": act}})
    (failed,) = outcome.with_status(Status.FAILED)
    assert failed.reason.startswith("B gave [")
    assert failed.reason.endswith("where 3 times were expected")


def test_case_that_neither_side_can_run_is_skipped(compare):
    outcome = compare(["x", "y"], a={"unsupported": ["x"]}, b={"unsupported": ["x"]})
    assert statuses(outcome, "x-b1-p4-n3") == {"run": Status.SKIPPED}
    assert outcome.exit is Exit.SAFE
    assert compare(["x"], a={"unsupported": ["x"]}).exit is Exit.NOTHING


def test_case_that_b_alone_cannot_run_is_a_failure(compare):
    outcome = compare(["x"], b={"unsupported": ["x"]})
    (failed,) = outcome.verdicts
    assert (failed.status, failed.side) == (Status.FAILED, "B")
    assert failed.reason == "B cannot run what A runs: x: it needs a GPU"


def test_noisy_case_alone_gets_more_restarts(compare):
    schedule = Schedule(pairs=10, restarts=2, most_restarts=4, timeout_s=20.0)
    outcome = compare(["x"], b={"slow": {"x decode": 1.02}}, schedule=schedule)
    times = {verdict.metric: verdict for verdict in outcome.verdicts}
    assert (times["ttft_s"].restarts, times["ttft_s"].status) == (2, Status.SAME)
    # Right at the margin nothing can be decided, however long it is looked at.
    assert (times["tpot_s"].restarts, times["tpot_s"].status) == (4, Status.UNDECIDED)
    assert outcome.exit is Exit.UNDECIDED


def test_only_one_side_is_at_work_while_a_round_is_timed(compare, tmp_path):
    compare(["x"], a={"log_rounds": True}, b={"log_rounds": True})
    spans = []
    for label in "AB":
        lines = (tmp_path / f"{label}.json.rounds").read_text().splitlines()
        assert len(lines) == 2 * (1 + 10)  # of each phase a trial and ten rounds
        spans += [(*map(float, line.split()), label) for line in lines]
    spans.sort()
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))
    # In pairs: no side ever works three rounds in a row.
    order = "".join(label for _, _, label in spans)
    assert "AAA" not in order
    assert "BBB" not in order


def test_budget_leaves_out_what_does_not_fit_and_says_so(compare):
    now = [0.0]

    def tell(line):
        now[0] += 10.0 * line.startswith("describing")

    schedule = Schedule(**{**BRIEF, "pairs": 20})
    outcome = compare("abcdef", schedule=schedule, budget=Budget(45.0, lambda: now[0]), tell=tell)
    # A pair is 2 repeats on each side, of 20 ms (prefill) and of two steps of 20 ms (decode):
    # 0.24 s. Ten pairs in two restarts are 4.8 s, with a reserve of 15 % 5.5 s. a and b fit
    # (20 s spent, 11 promised), c does not (30 + 16.5), nor d; before e 40 + 11 is over 45.
    left_out = {verdict.case[0]: verdict.reason for verdict in outcome.with_status(Status.LEFT_OUT)}
    assert left_out == {
        "c": "its time is beyond the budget",
        "d": "its time is beyond the budget",
        "e": "all of it is beyond the budget",
        "f": "all of it is beyond the budget",
    }
    assert statuses(outcome, "b-b1-p4-n3") == SAME
    assert statuses(outcome, "c-b1-p4-n3")["results"] is Status.SAME


def test_budget_that_runs_out_stops_the_measuring_and_says_so(compare):
    now = [0.0]

    def tell(line):
        now[0] += 100.0 * line.startswith("restart 2")

    outcome = compare(["x"], budget=Budget(45.0, lambda: now[0]), tell=tell)
    assert outcome.notes == ("the budget ran out before all that was planned was measured",)
    found = {verdict.metric: verdict for verdict in outcome.verdicts}
    assert (found["tpot_s"].status, found["tpot_s"].restarts) == (Status.UNDECIDED, 1)


@pytest.fixture
def interruptible():
    """Ctrl-C as at a terminal; a test runner's workers may ignore it."""
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


@pytest.mark.usefixtures("interruptible")
def test_interruption_judges_what_there_is_and_leaves_nothing(compare):
    def tell(line):
        if line.startswith("restart 2"):
            os.kill(os.getpid(), signal.SIGINT)

    outcome = compare(["x"], tell=tell)
    assert outcome.exit is Exit.INTERRUPTED
    assert outcome.notes == ("interrupted: what was measured by then is judged",)
    found = {verdict.metric: verdict for verdict in outcome.verdicts}
    assert found["results"].status is Status.SAME
    assert (found["tpot_s"].status, found["tpot_s"].restarts) == (Status.UNDECIDED, 1)


@pytest.mark.usefixtures("interruptible")
def test_interruption_in_the_middle_of_a_round_ends_at_once(compare):
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    outcome = compare(["x"], b={"acts": {"build x": "hang"}})
    assert outcome.interrupted
    assert time.monotonic() - start < 15  # and not the 20 s that an answer may take
