"""The figures of saved runs as Markdown: ``python -m docs.results_table FILE...``.

Prints the conditions in a sentence, then a table a model and scale, one line a technique and
workload. Figures are those of the report, made by the same code. What was not measured stands in
the line that it belongs to, with the reason: a technique that the device cannot run, a cell that
ran out of memory. Where training was measured, a second table of the model shows it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median

from fixtures.models.registry import MODELS
from fixtures.regression.record import Record
from fixtures.regression.run import RunFileError, SavedRun, read_run
from fixtures.reporting.gaps import Gap, list_gaps
from fixtures.reporting.headline import describe_commit, describe_origins, format_when
from fixtures.reporting.markdown import escape_text
from fixtures.reporting.rows import Row, collect_rows, collect_training_rows, is_training
from fixtures.reporting.table import TRAINING_COLUMNS, Columns
from fixtures.units import (
    NOT_AVAILABLE,
    format_bytes,
    format_number,
    format_seconds,
    format_small,
)

_PACKAGES = ("torch", "transformers", "bitsandbytes", "peft")
_OF_A_WORKLOAD = (
    "ttft_s",
    "tpot_s",
    "peak_allocated_bytes",
    "nvml_process_bytes",
    "energy_j_per_token",
)
_PROSE = ("technique", "method", "workload", "not measured")


def _seconds(name: str) -> Callable[[Row], str]:
    return lambda row: format_seconds(row.metrics.get(name), 3)


def _bytes(name: str) -> Callable[[Row], str]:
    return lambda row: format_bytes(row.metrics.get(name), 3)


def _share(name: str) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        share = row.metrics.get(name)
        return NOT_AVAILABLE if share is None else f"{share:.0%}"

    return show


COLUMNS: Columns = (
    ("technique", lambda row: row.technique),
    ("workload", lambda row: row.workload or "all"),
    ("TTFT", _seconds("ttft_s")),
    ("MFU", _share("mfu")),
    ("TPOT", _seconds("tpot_s")),
    ("MBU", _share("mbu")),
    ("peak allocated", _bytes("peak_allocated_bytes")),
    ("NVML process", _bytes("nvml_process_bytes")),
    ("J/token", lambda row: format_number(row.metrics.get("energy_j_per_token"), 3)),
    ("on disk", _bytes("storage_bytes")),
    ("perplexity / fp32", lambda row: format_number(row.metrics.get("ppl_ratio"), 5)),
    ("KL, nats", lambda row: format_small(row.metrics.get("kl_nats"))),
    ("ROUGE-L", lambda row: format_number(row.metrics.get("rougeL"), 3)),
)


def format_results(run: SavedRun) -> str:
    """The whole page."""
    rows, trained = collect_rows(run.records), collect_training_rows(run.records)
    gaps = list_gaps(run, MODELS)
    measured = [(row.model, row.scale) for row in (*rows, *trained)]
    groups = dict.fromkeys((*measured, *((gap.model, gap.scale) for gap in gaps)))
    parts = [describe_conditions(run)]
    for group in groups:
        parts.append(f"## {', '.join((*group, *_name_weights(run, group)))}")
        missing = [gap for gap in gaps if (gap.model, gap.scale) == group]
        for title, columns, found, training in (
            ("", COLUMNS, rows, False),
            (f"Training of {group[0]}:", TRAINING_COLUMNS, trained, True),
        ):
            own = [row for row in found if (row.model, row.scale) == group]
            own = own if training else _drop_bare(own)
            beside = [gap for gap in missing if is_training(gap.workload or "") == training]
            if own or beside:
                parts += [title] if title else []
                parts.append(_tabulate(columns, own, beside))
    return "\n\n".join(parts) + "\n"


def describe_conditions(run: SavedRun) -> str:
    """One sentence: device, driver, power limit, versions, clocks, rounds, when and what ran."""
    device = run.machine_info.get("device") or {}
    of_device = [f"driver {device['driver']}"] if device.get("driver") else []
    if device.get("power_limit_w"):
        of_device.append(f"power limit {device['power_limit_w']:.0f} W")
    if device.get("threads"):
        of_device.append(f"{device['threads']} threads")
    packages = [f"{name} {run.packages[name]}" for name in _PACKAGES if name in run.packages]
    clauses = [
        f"Measured on {device.get('name') or run.device_key}"
        + (f" ({', '.join(of_device)})" if of_device else "")
        + (f" with {', '.join(packages)}" if packages else ""),
        *_describe_clocks(run.records),
        *_describe_rounds(run.records),
        f"recorded {format_when(run.when)} at commit {describe_commit(run)}",
        *describe_origins(run),
    ]
    return escape_text("; ".join(clauses)) + "."


def _describe_clocks(records: Sequence[Record]) -> Iterator[str]:
    clocks = [
        float(clock)
        for record in records
        if (clock := (record.conditions.get("after") or {}).get("sm_clock_mhz")) is not None
    ]
    if clocks:
        low, high = min(clocks), max(clocks)
        yield f"GPU clock {median(clocks):.0f} MHz ({low:.0f} to {high:.0f})"
    held = sum(bool(record.conditions.get("throttled")) for record in records)
    yield f"held back in {held} of {len(records)} measurements" if held else "never held back"


def _describe_rounds(records: Iterable[Record]) -> Iterator[str]:
    rounds = sorted(len(record.samples) for record in records if record.samples)
    if rounds:
        low, high = rounds[0], rounds[-1]
        yield f"times are medians of {low if low == high else f'{low} to {high}'} rounds"


def _name_weights(run: SavedRun, group: tuple[str, str]) -> tuple[str, ...]:
    kinds = {
        record.case.weights
        for record in run.records
        if (record.case.model, record.case.scale) == group
    }
    return (f"{' and '.join(sorted(kinds))} weights",) if kinds else ()


def _drop_bare(rows: Sequence[Row]) -> list[Row]:
    """Without lines that repeat another's size and accuracy, and have no figure of their own.

    A workload that is only generated has none here.
    """

    def is_bare(row: Row) -> bool:
        return all(row.metrics.get(name) is None for name in _OF_A_WORKLOAD)

    shown = {row.technique for row in rows if not is_bare(row)}
    return [row for row in rows if not is_bare(row) or row.technique not in shown]


def _tabulate(columns: Columns, rows: Sequence[Row], gaps: Sequence[Gap]) -> str:
    """Measured lines in their order, and behind them those of cells without a figure."""
    lines = list(rows)
    for gap in gaps:
        own = [row for row in lines if row.technique == gap.technique]
        if not own or (gap.workload and gap.workload not in [row.workload for row in own]):
            lines.append(Row(gap.model, gap.scale, gap.technique, gap.workload, {}))
    headings = [heading for heading, _ in columns]
    body = [[cell(row) for _, cell in columns] for row in lines]
    if gaps:
        headings.append("not measured")
        body = [[*cells, _explain(row, gaps)] for cells, row in zip(body, lines, strict=True)]
    sides = [":--" if heading in _PROSE else "--:" for heading in headings]
    written = [headings, sides, *([escape_text(cell) for cell in cells] for cells in body)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in written)


def _explain(row: Row, gaps: Iterable[Gap]) -> str:
    own = (gap for gap in gaps if gap.technique == row.technique)
    reasons = [gap.why for gap in own if gap.workload in (row.workload, None)]
    return "; ".join(dict.fromkeys(reasons))


def main() -> None:
    """Print the pages of saved runs."""
    parser = argparse.ArgumentParser(description="The figures of saved runs as Markdown.")
    parser.add_argument("files", nargs="+", type=Path, help="runs under baselines/")
    try:
        runs = [read_run(file) for file in parser.parse_args().files]
    except RunFileError as error:
        parser.error(str(error))
    print("\n".join(map(format_results, runs)), end="")


if __name__ == "__main__":
    main()
