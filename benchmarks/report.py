"""What measurements print and keep: medians with their spread, and the raw timings as JSON."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

from benchmarks.alone import Run
from benchmarks.machine import this_machine

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_TITLES = ("contestant, seconds", "median", "min", "max", "ratio", "cores' median", "events/s", "peak MiB")


def runs_table(runs: Sequence[Run], yardstick: str, events: int) -> Table:
    """Seconds (median, least, most), their ratio to the yardstick's median, seconds of all cores, and the rest.

    Args:
        yardstick: the contestant that has the ratio 1.
        events: rows that a contestant goes through.
    """
    table = Table(box=SIMPLE)
    for number, title in enumerate(_TITLES):
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    unit = median(run.seconds for run in runs if run.contestant == yardstick)
    for name in dict.fromkeys(run.contestant for run in runs):
        own = [run for run in runs if run.contestant == name]
        seconds = [run.seconds for run in own]
        middle = median(seconds)
        figures = (f"{middle:.3f}", f"{min(seconds):.3f}", f"{max(seconds):.3f}", f"{middle / unit:.2f}")
        cores = median(run.cpu_seconds for run in own)
        peak = max(run.peak_bytes for run in own) / 2**20
        table.add_row(name, *figures, f"{cores:.3f}", f"{events / middle:,.0f}", f"{peak:,.0f}")
    return table


def figures_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Lines of figures under their titles; the first column is words."""
    table = Table(box=SIMPLE)
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def keep(folder: Path, benchmark: str, facts: Mapping[str, object], runs: Sequence["DataclassInstance"]) -> Path:
    """Writes machine, facts and raw timings as JSON; the path of the file."""
    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark}-{now:%Y%m%dT%H%M%SZ}.json"
    document = {
        "benchmark": benchmark,
        "at": now.isoformat(timespec="seconds"),
        "machine": asdict(this_machine()),
        "load": os.getloadavg()[0],
        **facts,
        "runs": [asdict(run) for run in runs],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path
