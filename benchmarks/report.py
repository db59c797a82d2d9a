"""What a benchmark leaves: a JSON file with all values, a Markdown table, and a plot of the ratios."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ours import ROOT
from benchmarks.rounds import QUIET, Row
from bimp_exp import files
from bimp_exp.results import provenance

Rows = Mapping[str, Sequence[Row]]  # by part
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
DIGITS = {"x": 2, "s": 2, "ms": 1, "TFLOP/s": 1, "": 2}  # 0 for all others


def about(rows: Rows) -> dict[str, Any]:
    """The machine, what ran on it, and the company that it had."""
    machine = {key: value for key, value in provenance.machine().items() if key != "host"}
    companies = [row["company"] for part in rows.values() for row in part if row.get("company") is not None]
    gpu = torch.cuda.is_available()
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine | {
            "memory_gib": _memory_gib(),
            "gpu_memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1) if gpu else None,
        },
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
            "cuda": torch.version.cuda if gpu else None, "cudnn": _cudnn() if gpu else None,
        },
        "git": provenance.git(ROOT),
        "company": {"worst": max(companies, default=None)},
    }  # fmt: skip


def name(facts: Mapping[str, Any]) -> str:
    """Of the files: the GPU or, without one, processor and threads."""
    machine = facts["machine"]
    text = machine["gpu"] or f"{machine['processor']} {machine['threads']} threads"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def write(folder: Path, facts: Mapping[str, Any], rows: Rows) -> list[Path]:
    """The files; without matplotlib no plot."""
    stem = folder / name(facts)
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".json", ".md", ".png")]
    files.write_json(paths[0], {**facts, "parts": dict(rows)})
    files.write(paths[1], markdown(facts, rows).encode())
    return paths if plot(paths[2], rows) else paths[:2]


def markdown(facts: Mapping[str, Any], rows: Rows) -> str:
    """A table for each part, after a line about the machine."""
    machine, versions, git = facts["machine"], facts["versions"], facts["git"]
    gpu = f"{machine['gpu']} ({machine['gpu_memory_gib']} GiB), CUDA {versions['cuda']}; " if machine["gpu"] else ""
    worst = facts["company"]["worst"]
    company = "unknown" if worst is None else f"{worst:.2f} cores at worst"
    lines = [
        f"# Benchmarks of {facts['date']}",
        "",
        f"{gpu}{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, {machine['memory_gib']} GiB; "
        f"Python {versions['python']}, PyTorch {versions['torch']}, NumPy {versions['numpy']}; "
        f"commit {git['commit']}{' and changes' if git['dirty'] else ''}. Company on the cores: {company}.",
        "",
        "Median over rounds (lowest to highest), contenders side by side. Company: cores that others used in the worst round"
        f" that counts; above {QUIET} the figures of a row are not to be relied on.",
    ]
    for part, found in rows.items():
        table = [row for row in found if "what" in row]
        lines += ["", f"## {part}", ""]
        if table:
            lines += ["| what | measured | rounds | bar | | company |", "|---|--:|--:|--:|---|--:|", *map(_line, table)]
        lines += [f"\n{row['note'][0].upper()}{row['note'][1:]}." for row in found if "note" in row]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    middle, lowest, highest = (_number(row[key], row["unit"]) for key in ("median", "lowest", "highest"))
    num = len(row["values"])
    spread = f" ({lowest} to {highest})" if num > 1 else ""
    unit = row["unit"] if row["unit"] == "x" else f" {row['unit']}".rstrip()
    bar = "" if row["bar"] is None else f"{'≤' if row['at_most'] else '≥'} {_number(row['bar'], row['unit'])}"
    met = {None: "", True: "met", False: "**missed**"}[row["met"]]
    company = "" if row["company"] is None else f"{row['company']:.2f}"
    return f"| {row['what']} | {middle}{unit}{spread} | {num} | {bar} | {met} | {company} |"


def _number(value: float, unit: str) -> str:
    return f"{value:,.{DIGITS.get(unit, 0)}f}"


def plot(path: Path, rows: Rows) -> bool:
    """Every ratio with its spread and its bar; False without matplotlib or ratios."""
    ratios = [row for part in rows.values() for row in part if row.get("unit") == "x"]
    try:
        from bimp_exp.report.figures import COLOURS, GREY, new_figure, save, tidy
    except ImportError:
        return False
    if not ratios:
        return False
    figure = new_figure(8, 1.2 + 0.24 * len(ratios))
    axes = figure.subplots()
    for place, row in enumerate(ratios):
        colour = {None: COLOURS[0], True: COLOURS[2], False: COLOURS[1]}[row["met"]]
        axes.plot([row["lowest"], row["highest"]], [place, place], color=colour)
        axes.plot(row["median"], place, marker="o", color=colour)
        if row["bar"] is not None:
            axes.plot(row["bar"], place, marker="|", markersize=12, color="black")
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = [tick for tick in TICKS if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(ratios)), [row["what"] for row in ratios], fontsize=7)
    axes.set_ylim(len(ratios) - 0.5, -0.5)
    axes.set_xlabel("ratio: median, lowest, highest round; | bar: met (green), missed (red)", fontsize=8)
    tidy(axes)
    save(figure, path)
    return True


def _cudnn() -> int:
    found: int = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return found


def _memory_gib() -> float | None:
    info = Path("/proc/meminfo")
    found = re.search(r"MemTotal:\s+(\d+)", info.read_text()) if info.exists() else None
    return round(int(found[1]) / 2**20, 1) if found else None
