"""What the shipped adapters gain, recover and forget, model by model.

``python -m docs.adapter_figures [MODEL ...]`` prints Markdown tables, of all tiny models where
none is named. Nothing is trained: adapters are loaded, and scored as the tests score them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from fixtures.accuracy.perplexity import compare_perplexity, perplexity
from fixtures.adaptation.answers import Answers
from fixtures.adaptation.recovery import TextLosses, compare_gains
from fixtures.adaptation.reference import find_full_losses
from fixtures.adapters.fitting import FULL
from fixtures.adapters.provenance import read_provenance
from fixtures.adapters.shipped import SHIPPED
from fixtures.corpus.sources import load_corpus, load_target_corpus
from fixtures.device import Device, detect_cpu
from fixtures.matrix import Selection, build_matrix, find_adapter_part
from fixtures.models.registry import MODELS
from fixtures.units import format_bytes
from fixtures.variants import Variant, build_variant

HEADINGS = (
    *("technique", "recovered", "perplexity", "R-1", "R-L", "forgotten, nats"),
    *("trained parameters", "adapter in the checkout"),
)
ROUGE = ("rouge1", "rougeL")
_SOURCE_ARTICLES = 40


def list_rows(key: str, device: Device) -> Iterator[tuple[str, ...]]:
    """The cells of each line: the base, full fine-tuning, and every adapter of the CPU tier."""
    selection = Selection.parse(key, None, "tiny", "auto", (), ())
    reference, *others = build_matrix(selection, "cpu")
    summarises = reference.spec.task == "summary"
    target, source = Answers(load_target_corpus()), Answers(load_corpus(None, _SOURCE_ARTICLES))
    base = build_variant(reference, device)
    losses = TextLosses.from_scores(target.scores(base))
    full = find_full_losses(base.weights, device)
    recorded = read_provenance(SHIPPED / key / FULL)

    def score(variant: Variant) -> tuple[str, ...]:
        built = build_variant(variant, device)
        scores = target.scores(built)
        found = compare_gains(losses, TextLosses.from_scores(scores), full)
        forgotten = compare_perplexity(source.scores(built), source.scores(base)).log_ratio
        rows = target.rouge_rows(built) if summarises else {}
        return (
            f"{found.share:.1%} [{found.interval.low:.1%}, {found.interval.high:.1%}]",
            show_perplexity(perplexity(scores.nll)),
            *(f"{rows[name].mean():.3f}" if rows else "" for name in ROUGE),
            f"{forgotten:.2f}",
        )

    yield "base", *score(reference), "", ""
    yield (
        *(FULL, "100 %", show_perplexity(recorded.scores["perplexity"])),
        *(f"{recorded.scores[name]:.3f}" if summarises else "" for name in ROUGE),
        *("", f"{recorded.parameters:,}", ""),
    )
    for variant in others:
        part = find_adapter_part(variant)
        if part is not None:
            folder = SHIPPED / key / part.method.name
            size = sum(file.stat().st_size for file in folder.glob("adapter_*"))
            trained = f"{read_provenance(folder).parameters:,}"
            yield variant.technique.name, *score(variant), trained, format_bytes(size, 3)


def show_perplexity(value: float) -> str:
    """Three digits, whatever the size."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown, the first row its headings."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join((lines[0], "|---" * len(rows[0]) + "|", *lines[1:]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each model."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m docs.adapter_figures")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}")
    keys = parser.parse_args(arguments).models or list(MODELS)
    torch.set_num_threads(1)
    device = detect_cpu()
    for key in keys:
        print(f"{key}\n\n{format_table([HEADINGS, *list_rows(key, device)])}\n", flush=True)


if __name__ == "__main__":
    main()
