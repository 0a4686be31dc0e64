"""Times side by side, memory at the peak, and tables of both.

A machine that does other work is slow for seconds at a time. So every repetition runs each way
once, one after the other, and what counts is the median of the repetitions' ratios to the first.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Work = Callable[[], object]


@dataclass
class Row:
    """One way of doing something. `ms` is the median, `ratio` that of the ratios to the first way,
    `peak` the megabytes above what was held before, `aim` (ratio, peak's ratio) at most."""

    name: str
    ms: float
    ratio: float
    peak: float | None = None
    peak_ratio: float | None = None
    aim: tuple[float | None, float | None] = (None, None)

    @property
    def misses(self) -> bool:
        """Whether an aim isn't reached."""
        pairs = zip((self.ratio, self.peak_ratio), self.aim, strict=True)
        return any(aim is not None and found is not None and found > aim for found, aim in pairs)


@dataclass
class Table:
    """Ways of doing one thing; the first one is the naive one."""

    title: str
    rows: list[Row] = field(default_factory=list)
    note: str = ""

    def __str__(self) -> str:
        lines = [
            self.title,
            f"  {'':44}{'ms':>9}{'ratio':>8}{'aim':>7}{'MB':>8}{'ratio':>8}{'aim':>7}",
        ]
        for row in self.rows:
            cells = (row.ratio, row.aim[0], row.peak, row.peak_ratio, row.aim[1])
            widths, digits = (8, 7, 8, 8, 7), (2, 2, 1, 2, 2)
            text = "".join(
                " " * width if cell is None else f"{cell:{width}.{places}f}"
                for cell, width, places in zip(cells, widths, digits, strict=True)
            )
            mark = "  MISSED" if row.misses else ""
            lines.append(f"  {row.name:44}{row.ms:9.2f}{text}{mark}")
        return "\n".join([*lines, *([f"  {self.note}"] if self.note else []), ""])


def compare(
    title: str,
    ways: Mapping[str, Work],
    repeat: int = 9,
    aims: Mapping[str, tuple[float | None, float | None]] | None = None,
) -> Table:
    """Run every way `repeat` times, in turn; the first way is what the others are held against."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for work in ways.values():
        work()
    for _ in range(repeat):
        for name, work in ways.items():
            gc.collect()
            began = time.perf_counter()
            result = work()
            seconds[name].append(time.perf_counter() - began)
            del result
    first = next(iter(seconds.values()))
    rows = [
        Row(
            name,
            statistics.median(taken) * 1000,
            statistics.median(a / b for a, b in zip(taken, first, strict=True)),
            aim=(aims or {}).get(name, (None, None)),
        )
        for name, taken in seconds.items()
    ]
    return Table(title, rows)


def add_peaks(table: Table, peaks: Mapping[str, float]) -> Table:
    """Put megabytes beside the times; the first row's is the one that ratios are of."""
    first = peaks[table.rows[0].name]
    for row in table.rows:
        if row.name in peaks:
            row.peak = peaks[row.name]
            row.peak_ratio = row.peak / first if first else None
    return table


def peak_of(work: Work) -> float:
    """Megabytes that the process held at most during `work`, above what it held before."""
    gc.collect()
    before, meter = _resident(), _Meter()
    with meter:
        result = work()
    del result
    return max(0.0, meter.most - before)


def peak_in_child(module: str, *arguments: str) -> float:
    """The number that a benchmark prints in a process of its own, whose memory is untouched."""
    command = [sys.executable, "-m", f"mai_image.benchmarks.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


class _Meter:
    """The most memory held: of Linux exactly, elsewhere by looking 500 times a second."""

    def __init__(self) -> None:
        self.most = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._exact = False

    def __enter__(self) -> None:
        try:
            forget_most()
            self._exact = True
        except OSError:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._exact:
            self.most = status("VmHWM")
            return
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.002):
            self.most = max(self.most, _resident())


def forget_most(process: int | str = "self") -> None:
    """Let "VmHWM" of a process begin anew; OSError where there is no such thing."""
    Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")


def _resident() -> float:
    try:
        return status("VmRSS")
    except OSError:
        import psutil

        return float(psutil.Process().memory_info().rss) / 1e6


def status(name: str, process: int | str = "self") -> float:
    """Megabytes that Linux notes of a process: "VmRSS" now, "VmHWM" the most."""
    text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def spread(values: Sequence[float]) -> str:
    """Median and worst, in milliseconds."""
    return f"{statistics.median(values) * 1000:.2f} ms, at most {max(values) * 1000:.2f} ms"
