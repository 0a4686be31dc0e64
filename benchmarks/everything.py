"""All benchmarks, one after the other: `python3 tasks.py bench`, under five minutes on 2 cores.

The tables go to the terminal and to bench/tables.txt, a plot of the ratios to bench/plot.png;
`--out` names another folder; `--full` adds the store of 100,000 entries, a thousand images in one
prompt, ComfyUI's whole start and the page's, some twelve minutes more.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from . import batch, image_path, pack, plot
from .measure import Table


def parts(full: bool) -> dict[str, list[str]]:
    """What is run in a process of its own, by its heading."""
    return {
        "Masked edit of 12 megapixels": ["masked_edit", "--repeat", "2"],
        "Store, ledger and quota": ["keeping", *(["--full"] if full else [])],
        "Few and many images in one prompt": ["prompt", *(["--full"] if full else [])],
        "ComfyUI's start": ["start", *(["--whole"] if full else [])],
        **({"The page's start": ["page"]} if full else {}),
        "The path of one request": ["request_path"],
        "Rate limit: makespan": ["quota_simulation", "--quotas", "12,60", "--seeds", "2"],
    }


def output_of(name: str, *arguments: str) -> str:
    """What a benchmark prints; what it says on stderr goes there."""
    command = [sys.executable, "-m", f"mai_image.benchmarks.{name}", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


def main(argv: Sequence[str] | None = None) -> int:
    """Run all, write the files; the exit code is 0 also where an aim is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("bench"))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = (arguments.out / "tables.txt").open("w", encoding="utf-8")
    with text, contextlib.redirect_stdout(_Both(sys.stdout, text)):
        cores, version = os.cpu_count(), platform.python_version()
        print(f"{platform.platform()}, {cores} cores, Python {version}\n")
        tables = _image_tables(arguments.repeat)
        for heading, command in parts(arguments.full).items():
            print(f"== {heading}\n\n{output_of(*command)}")
    plot.draw(tables, arguments.out / "plot.png")
    print(f"{arguments.out / 'tables.txt'}, {arguments.out / 'plot.png'}")
    return 0


def _image_tables(repeat: int) -> list[Table]:
    print(f"What ComfyUI ships, as far as it is here: {pack.as_comfyui()}\n")
    tables = image_path.tables(repeat)
    tables += batch.tables(repeat=min(repeat, 3))
    for table in tables:
        print(table)
    print(batch.scale())
    print(batch.first_call())
    return tables


class _Both(io.TextIOBase):
    """Writes to two files."""

    def __init__(self, *files: TextIO) -> None:
        self._files = files

    def write(self, text: str) -> int:
        for file in self._files:
            file.write(text)
            file.flush()
        return len(text)


if __name__ == "__main__":
    raise SystemExit(main())
