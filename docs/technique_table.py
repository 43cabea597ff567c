"""Models and techniques as Markdown: ``python -m docs.technique_table``.

Prints the tables of ``docs/techniques.md``: what the registries hold, and where each is measured
when nothing is asked for by name. A test holds the page to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from fixtures.matrix import Selection, Tier, build_matrix
from fixtures.models.registry import MODELS
from fixtures.techniques.registry import TECHNIQUES
from fixtures.variants import Variant

_TIERS: tuple[Tier, ...] = ("cpu", "gpu")


def format_models() -> str:
    """Every model: its kind, its published size, and the scales that each tier runs."""
    usual = _build_usual()
    rows = [
        (
            model.key,
            "encoder-decoder" if model.kind == "seq2seq" else "decoder",
            f"{(model.published_parameters or 0) / 1e6:,.0f} M",
            model.hub_id or "none: it is small enough to be trained here",
            *(_list_scales(model.key, variants) for variants in usual),
        )
        for model in MODELS.values()
    ]
    return _format_table(("model", "kind", "parameters", "checkpoint", "CPU", "GPU"), rows)


def format_techniques() -> str:
    """Every technique: what it changes, and under which names each tier runs it."""
    usual = _build_usual()
    rows = [
        (
            technique.name,
            technique.axis,
            technique.summary,
            *(_list_names(technique.name, variants) for variants in usual),
        )
        for technique in TECHNIQUES.values()
    ]
    return _format_table(("technique", "changes", "what it is", "CPU", "GPU"), rows)


def _build_usual() -> list[list[Variant]]:
    nothing_asked = Selection.parse(None, None, None, "auto", (), ())
    return [build_matrix(nothing_asked, tier) for tier in _TIERS]


def _list_scales(model: str, variants: Collection[Variant]) -> str:
    return ", ".join(dict.fromkeys(each.scale for each in variants if each.spec.key == model))


def _list_names(technique: str, variants: Iterable[Variant]) -> str:
    names = dict.fromkeys(each.technique.name for each in variants)
    return ", ".join(name for name in names if technique in name.split("+"))


def _format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rules = [":--"] * len(header)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rules, *rows))


if __name__ == "__main__":
    print(format_models(), format_techniques(), sep="\n\n")
