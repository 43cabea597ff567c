from __future__ import annotations

import pytest
import torch

from fixtures.corpus.prose import generate_prose
from fixtures.models.lessons import build_prose_lessons
from fixtures.models.registry import MODELS
from fixtures.models.seeded import build_random_model
from fixtures.models.training import CLIP_NORM
from fixtures.models.vocabulary import build_tokenizer
from fixtures.parallelism import data_parallel
from fixtures.parallelism.group import Group
from fixtures.parallelism.plan import TrainingPlan
from fixtures.regression.equality import judge_equal_losses
from fixtures.regression.verdict import Status
from fixtures.workloads import TrainingWorkload

STEPS = 6
WORK = TrainingWorkload(4, 32, 2)


@pytest.fixture(scope="module")
def picks():
    """Rows of each batch, as the module draws them."""
    length = len(generate_prose("train", 4000)) - WORK.tokens
    random = torch.Generator().manual_seed(0)
    return [torch.randint(length, (WORK.batch,), generator=random) for _ in range(STEPS)]


class Plain:
    """Training as one would write it without torch.distributed: what the workers must equal."""

    def __init__(self):
        self.model = build_random_model(MODELS["small-gpt"], "tiny", 0)
        self.model.set_attn_implementation("sdpa")
        self.model.train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=3e-4)
        tokenizer = build_tokenizer(MODELS["small-gpt"])
        text = generate_prose("train", 4000)
        self.lessons = build_prose_lessons(tokenizer, text, WORK.tokens, "cpu")

    def step(self, rows):
        loss = self.lessons.loss(self.model, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return loss.item()


@pytest.fixture(scope="module")
def alone(picks):
    """Losses of one process on whole batches."""
    plain = Plain()
    return [plain.step(rows) for rows in picks]


@pytest.fixture
def one_worker(tmp_path, monkeypatch):
    """A group of one in this process."""
    monkeypatch.setattr(data_parallel, "_CHARACTERS", 4000)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    yield Group(0, 1, "cpu")
    torch.distributed.destroy_process_group()


def test_a_worker_trains_as_a_plain_loop_does(one_worker, alone):
    plan = TrainingPlan("tiny", "cpu", TrainingWorkload(4, 32, 1), compared_steps=STEPS)
    losses = data_parallel._compare(plan, one_worker)
    assert losses == pytest.approx(alone, abs=1e-6)
    assert judge_equal_losses(alone, losses).status is Status.UNCHANGED


def test_nothing_is_trained_for_a_comparison_that_nobody_makes(one_worker, monkeypatch):
    monkeypatch.setattr(data_parallel, "_Trainer", None)  # not to be called
    plan = TrainingPlan("tiny", "cpu", TrainingWorkload(4, 32, 1), compared_steps=0)
    assert data_parallel._compare(plan, one_worker) == ()


def test_rounds_are_as_many_as_planned(one_worker):
    plan = TrainingPlan("tiny", "cpu", TrainingWorkload(4, 32, 1), rounds=3, round_steps=1)
    rounds_s = data_parallel._time(plan, one_worker)
    assert len(rounds_s) == 3
    assert all(seconds > 0 for seconds in rounds_s)


def average(workers, picks):
    """Losses of workers that each take their half of a batch, and nothing from each other."""
    losses = []
    for rows in picks:
        halves = rows.chunk(WORK.workers)
        losses.append(
            sum(worker.step(half) for worker, half in zip(workers, halves, strict=True))
            / WORK.workers
        )
    return losses


def test_workers_that_do_not_share_their_gradients_are_caught(alone, picks):
    verdict = judge_equal_losses(alone, average([Plain(), Plain()], picks))
    assert verdict.status is Status.REGRESSED


def test_workers_that_are_given_the_same_rows_are_caught(alone, picks):
    worker = Plain()
    losses = [worker.step(rows.chunk(WORK.workers)[0]) for rows in picks]
    assert judge_equal_losses(alone, losses).status is Status.REGRESSED


def test_text_hash_changes_with_what_is_drawn_from_the_text():
    plans = [
        TrainingPlan("tiny", "cpu", work)
        for work in (TrainingWorkload(8, 64, 1), TrainingWorkload(8, 32, 1))
    ]
    hashes = {data_parallel.hash_text(plan) for plan in plans}
    assert len(hashes) == 2
    # The number of workers does not change what they learn.
    both = TrainingPlan("tiny", "cpu", TrainingWorkload(8, 64, 2))
    assert data_parallel.hash_text(both) == data_parallel.hash_text(plans[0])
