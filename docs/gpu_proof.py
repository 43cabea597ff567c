"""The instruments beside a loop written out by hand, and beside bytes that are known.

``python -m docs.gpu_proof --models gpt2,gemma-2b --techniques bf16,compiled+bf16`` prints Markdown:
TTFT and TPOT as the suite takes them over the same calls timed by the host's clock, round by round
in turn, with the host's time of the suite's own rounds between; and on a GPU what each counter of
memory sees of a gibibyte, how much of NVML's figure for the process its parts explain, and what is
seen of products that are launched with pauses.
``--scale tiny`` runs the loops on a CPU.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from transformers.utils import logging

from fixtures.corpus.sources import load_corpus
from fixtures.device import Device, detect
from fixtures.measurement import phases
from fixtures.measurement.clock import choose_clock, cuda_event, synchronise
from fixtures.measurement.memory import release_memory
from fixtures.measurement.nvml import NvmlSampler, sample_nvml
from fixtures.measurement.occupancy import read_device_bytes
from fixtures.measurement.queued import Launch, time_queued
from fixtures.models.registry import find_model
from fixtures.techniques.registry import find_technique
from fixtures.units import GIB, format_bytes, format_percent, format_seconds
from fixtures.variants import BuiltVariant, Variant, build_variant
from fixtures.workloads import Workload

_WARM_UPS = 3
_SETTLE_S = 0.1  # some samples of NVML
_SIDE = 4096


@dataclass(frozen=True)
class Loops:
    """One phase of one case, seconds of each round.

    Attributes:
        suite: as the suite times it.
        wall: the same rounds by the host's clock, which on a GPU the suite keeps beside events.
        hand: the same calls written out, by the host's clock around a synchronised device.
        queued_s: of the GPU's own work; None on a CPU, and where it cannot be told.
    """

    suite: list[float]
    wall: list[float]
    hand: list[float]
    queued_s: float | None = None

    @property
    def difference(self) -> float:
        """The suite's over the other, less one: the median of the pairs."""
        return median(self._ratios()) - 1

    @property
    def noise(self) -> float:
        """Half the range that holds the middle half of the pairs, as a share."""
        ordered = sorted(self._ratios())
        quarter = len(ordered) // 4
        return (ordered[-1 - quarter] - ordered[quarter]) / 2

    def _ratios(self) -> list[float]:
        return [own / other for own, other in zip(self.suite, self.hand, strict=True)]


def prefill_by_hand(model: Any, ids: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """The cache, and the first token, which has also been brought to the host."""
    with torch.inference_mode():
        output = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        token = output.logits[:, -1:].argmax(-1)
        token.cpu()
    return output.past_key_values, token


def decode_by_hand(model: Any, cache: Any, token: torch.Tensor, steps: int) -> torch.Tensor:
    """So many greedy tokens on the host."""
    tokens = []
    with torch.inference_mode():
        for _ in range(steps):
            output = model(input_ids=token, past_key_values=cache, use_cache=True)
            token = output.logits[:, -1:].argmax(-1)
            tokens.append(token)
        return torch.cat(tokens, dim=1).cpu()


def time_by_suite(device: Device, run: Callable[[], object]) -> tuple[float, float]:
    """Seconds as a round of the suite has them, and those of the host in the same round."""
    clock = choose_clock(device)
    synchronise(device)
    start = clock()
    run()
    seconds = float(clock() - start)
    walls = cuda_event.take_wall_times()
    return seconds, walls[-1] if walls else seconds


def time_by_hand(device: Device, run: Callable[[], object]) -> float:
    """Seconds of the host, of which the device was idle before and after."""
    synchronise(device)
    start = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - start


def compare_loops(built: BuiltVariant, work: Workload, rounds: int) -> dict[str, Loops]:
    """Both phases of a causal model, both ways in turn."""
    model, device, steps = built.model, built.device, work.decode_steps
    ids = _prompt(built, work).to(model.device)
    found = {name: Loops([], [], []) for name in ("ttft_s", "tpot_s")}
    prompt = phases.prepare_prefill(model, ids)

    def take_suite() -> None:
        taken = [time_by_suite(device, partial(phases.answer, prompt))]
        # Each loop goes on from a prefill of its own: a fixed cache holds the latest alone.
        start = phases.prefill(model, ids)
        taken.append(time_by_suite(device, partial(phases.decode, model, start, steps)))
        for loops, (seconds, wall), count in zip(found.values(), taken, (1, steps), strict=True):
            loops.suite.append(seconds / count)
            loops.wall.append(wall / count)

    def take_hand() -> None:
        taken = [time_by_hand(device, partial(prefill_by_hand, model, ids))]
        cache, token = prefill_by_hand(model, ids)
        run = partial(decode_by_hand, model, cache, token, steps)
        taken.append(time_by_hand(device, run))
        for loops, seconds, count in zip(found.values(), taken, (1, steps), strict=True):
            loops.hand.append(seconds / count)

    for number in range(_WARM_UPS + rounds):
        # Each comes first in every other round: what ran before it is then alike for both.
        for take in (take_suite, take_hand) if number % 2 else (take_hand, take_suite):
            take()

    def prepare_step() -> Launch:
        return phases.prepare_step(model, phases.prefill(model, ids)).launch

    queued: tuple[float | None, ...] = (None, None)
    if device.kind == "cuda":
        passes = time_queued(lambda: prompt.launch), time_queued(prepare_step)
        queued = tuple(median(taken) if taken else None for taken in passes)
    return {
        name: Loops(*(side[_WARM_UPS:] for side in (loops.suite, loops.wall, loops.hand)), own_s)
        for (name, loops), own_s in zip(found.items(), queued, strict=True)
    }


def _prompt(built: BuiltVariant, work: Workload) -> torch.Tensor:
    articles = load_corpus(None, 64).articles
    text = " ".join(article.text for article in articles)
    return phases.build_prompt(built.tokenizer.encode(text, add_special_tokens=False), work)


def print_row(*cells: object) -> None:
    """One row of a Markdown table, at once."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def prove_loops(asked: argparse.Namespace, device: Device) -> None:
    """A table of every case."""
    print("\n## Beside a loop written out by hand\n")
    print_row("case", "metric", "suite", "its wall", "by hand", "difference", "noise", "GPU alone")
    print_row("---", "---", *["---:"] * 6)
    for built in _build(asked, device):
        for work in map(Workload.parse, asked.workloads.split(",")):
            for metric, loops in compare_loops(built, work, asked.rounds).items():
                print_row(
                    f"{built.variant.id}-{work}",
                    metric,
                    format_seconds(median(loops.suite)),
                    format_seconds(median(loops.wall)),
                    format_seconds(median(loops.hand)),
                    format_percent(loops.difference, 2),
                    format_percent(loops.noise, 2).lstrip("+"),
                    "n/a" if loops.queued_s is None else format_seconds(loops.queued_s),
                )


def _build(asked: argparse.Namespace, device: Device) -> Iterator[BuiltVariant]:
    for key in asked.models.split(","):
        for name in asked.techniques.split(","):
            variant = Variant(find_model(key), find_technique(name), asked.scale, asked.weights)
            reason = variant.unsupported(device)
            if reason is not None:
                print(f"\n{reason}\n")
                continue
            built = build_variant(variant, device)
            yield built
            built.release()
            release_memory(device)


def prove_memory(asked: argparse.Namespace, device: Device, unused_bytes: int) -> None:
    """What each counter sees of a gibibyte, and the parts of NVML's figure."""
    torch.zeros(1, device=device.torch_device)  # the context, and no more than a block beside it
    with sample_nvml(device) as sampler:
        context = read_counters(sampler, unused_bytes)
        block = torch.empty(GIB, dtype=torch.uint8, device=device.torch_device)
        holding = read_counters(sampler, unused_bytes)
        del block
        release_memory(device)
        print("\n## A gibibyte on purpose\n")
        print_row("counter", "before", "with it", "rise")
        print_row("---", "---:", "---:", "---:")
        for name, before in context.items():
            rise = holding[name] - before
            print_row(name, *(format_bytes(count, 4) for count in (before, holding[name], rise)))
        print("\n## What NVML's figure is made of\n")
        print_row("case", "reserved", "context", "sum", "NVML process", "unexplained", "share")
        print_row("---", *["---:"] * 6)
        for built in _build(asked, device):
            work = Workload.parse(asked.workloads.split(",")[0])
            ids = _prompt(built, work).to(built.model.device)
            phases.decode(built.model, phases.prefill(built.model, ids), work.decode_steps)
            seen = read_counters(sampler, unused_bytes)
            base = context["NVML process"] - context["torch reserved"]
            parts = (seen["torch reserved"], base, seen["torch reserved"] + base)
            rest = seen["NVML process"] - parts[-1]
            figures = (*parts, seen["NVML process"], rest)
            share = format_percent(rest / seen["NVML process"], 2)
            print_row(built.variant.id, *(format_bytes(count, 4) for count in figures), share)


def prove_queue(device: Device) -> None:
    """What is seen of the same products launched at once, with pauses, and waited for."""
    one = torch.full((_SIDE, _SIDE), 0.5, device=device.torch_device, dtype=torch.bfloat16)
    pause_s, count = 1e-3, 10

    def launch(pause_s: float, wait: bool) -> None:
        for _ in range(count):
            one @ one
            end = time.perf_counter() + pause_s
            while time.perf_counter() < end:
                pass
            if wait:
                torch.cuda.synchronize()

    print(f"\n## {count} products behind a full queue\n")
    print_row("launched", "by events", "GPU alone")
    print_row("---", "---:", "---:")
    for name, arguments in (
        ("at once", (0.0, False)),
        ("1 ms apart", (pause_s, False)),
        ("1 ms apart, each waited for", (pause_s, True)),
    ):
        run = partial(launch, *arguments)
        by_events = median(time_by_suite(device, run)[0] for _ in range(_WARM_UPS + 10))
        alone = time_queued(lambda run=run: run)
        print_row(
            name, format_seconds(by_events), format_seconds(median(alone)) if alone else "n/a"
        )


def read_counters(sampler: NvmlSampler, unused_bytes: int) -> dict[str, int]:
    """Bytes as torch's allocator, and NVML, count them now."""
    gc.collect()
    torch.cuda.synchronize()
    with sampler.watch(unused_bytes) as watch:
        time.sleep(_SETTLE_S)
    reading = watch.reading
    process = reading.process_bytes
    return {
        "torch allocated": torch.cuda.memory_allocated(),
        "torch reserved": torch.cuda.memory_reserved(),
        "NVML process": reading.device_delta_bytes if process is None else process,
        "NVML device": reading.device_bytes,
    }


def main() -> None:
    """Print both proofs, or on a CPU that of the loops."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="gpt2", help="causal ones")
    parser.add_argument("--techniques", default="bf16,compiled+bf16")
    parser.add_argument("--scale", choices=("tiny", "published"), default="published")
    parser.add_argument("--weights", default="seeded", help="auto for tiny models' own")
    parser.add_argument("--workloads", default="b1-p512-n64")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--part", choices=("memory", "loops", "all"), default="all")
    asked = parser.parse_args()
    device = detect(None)
    unused_bytes = read_device_bytes(device) if device.kind == "cuda" else 0
    logging.disable_progress_bar()
    print(f"{device.name}, torch {torch.__version__}")
    if device.kind == "cuda":  # first: free blocks of the loops would take the gibibyte in
        if asked.part != "loops":
            prove_memory(asked, device, unused_bytes)
        prove_queue(device)
    if asked.part != "memory":
        prove_loops(asked, device)


if __name__ == "__main__":
    main()
