"""`mai-image batch` on long files: checking, what the store has, and buying, with memory.

`python -m mai_image.benchmarks.batch_file [--rows 10000] [--images 1000] [--side 768]`

The command runs in a process of its own, on the emulator in another one. What the emulator takes
to paint is measured apart: on two cores both share them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import measure

PROFILE = """
[profiles.bench]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 10000

[store]
limit_gb = 100
"""

SERVER = "import sys, threading; from mai_image import emulator; s = emulator.start(); \
print(s.url, flush=True); threading.Event().wait()"

READY_MADE = "mai_image.benchmarks.ready_made"


@dataclass
class Run:
    """One run of the command: its exit code, seconds, processor seconds, and most megabytes."""

    code: int
    seconds: float
    cpu: float
    peak: float

    def line(self, what: str, images: int) -> str:
        """A line of the table."""
        rate = images / self.seconds
        return (
            f"  {what:44}{self.seconds:8.1f} s{rate:9.1f} a second{self.cpu:8.1f} s of CPU"
            f"{self.peak:8.0f} MB"
        )


def batch(folder: Path, *words: str) -> Run:
    """Run `mai-image batch` in `folder`."""
    command = [sys.executable, "-m", "mai_image.cli", "--folder", str(folder / "data"), "batch"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, *words, "--profile", "bench", "--yes", "--quiet"], cwd=folder
    )
    peak = 0.0
    while True:
        with contextlib.suppress(OSError, StopIteration):
            peak = max(peak, measure.status("VmHWM", process.pid))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(0.05)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    return Run(process.returncode, seconds, usage.ru_utime + usage.ru_stime, peak)


def write_rows(path: Path, count: int, side: int, first: int = 0) -> None:
    """A CSV of so many rows, each with a prompt of its own."""
    lines = ["id,prompt,product,width,height"]
    for i in range(first, first + count):
        lines.append(f'r{i},"a studio photograph of {{product}}, number {i}",chair,{side},{side}')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def tables(rows: int, images: int, side: int) -> None:
    """Print all of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        data.mkdir(mode=0o700)
        write_rows(folder / "rows.csv", rows, side)
        write_rows(folder / "images.csv", images, side, rows)
        for title, command in (
            ("the emulator paints", ["-c", SERVER]),
            ("one image, painted beforehand", ["-m", READY_MADE, str(side)]),
        ):
            server = [sys.executable, *command]
            with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                url = process.stdout.readline().strip()
                (data / "profiles.toml").write_text(PROFILE.format(url=url), encoding="utf-8")
                (data / "profiles.toml").chmod(0o600)
                try:
                    if "paints" in title:
                        run = batch(folder, "rows.csv", "--dry-run")
                        print(run.line(f"{rows:,} rows read and checked", rows))
                        run = batch(folder, "images.csv", "--out", "bought")
                    else:
                        run = batch(folder, "rows.csv", "--out", "ready")
                        print(run.line(f"{rows:,} bought, {title}", rows))
                        run = batch(folder, "rows.csv", "--out", "stored")
                        print(run.line(f"{rows:,} from the store", rows))
                        run = batch(folder, "rows.csv", "--out", "stored")
                        print(run.line(f"{rows:,} in the folder", rows))
                        continue
                    print(run.line(f"{images:,} bought, {title}", images))
                    cpu = _cpu_of(process.pid)
                    print(f"  {'':4}the emulator's own share: {cpu:.1f} s of CPU")
                finally:
                    process.terminate()


def _cpu_of(process: int) -> float:
    """Processor seconds that a process has used."""
    words = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--side", type=int, default=768)
    arguments = parser.parse_args(argv)
    tables(arguments.rows, arguments.images, arguments.side)
    return 0


if __name__ == "__main__":
    sys.exit(main())
