"""What the pack adds to the page's time from its address to being ready.

`python -m mai_image.benchmarks.page [--loads 40]`: in Chromium, at a ComfyUI with the pack, one
without, and another one without, in turn. The two without differ by chance alone: what they differ
by is how exact the first difference is. Loads differ by some hundred milliseconds, so a difference
is the median of the rounds' differences.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..demo import browser
from ..demo.find import ROOT, ComfyUI, NotUsable, locate
from ..demo.launch import ComfyUIServer

AIM = 50.0
"""Milliseconds."""

SAMPLES = 2000
PACKAGES = ROOT / ".venv" / "comfyui-packages"


def loads(comfyui: ComfyUI, count: int) -> list[list[float]]:
    """Milliseconds of `count` loads each: with the pack, without, and without again."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = [
            stack.enter_context(
                ComfyUIServer(comfyui, output=folder, packages=PACKAGES, with_pack=with_pack)
            )
            for with_pack in (True, False, False)
        ]
        urls = [server.url for server in servers]
        printed = browser.run_script("load.mjs", str(count), *urls, timeout=60 + 20.0 * count)
    taken: list[list[float]] = json.loads(printed)
    return taken


def report(comfyui: ComfyUI, count: int) -> str:
    """The medians, and both differences with the range that chance leaves them."""
    taken = loads(comfyui, count)
    names = ("with the pack", "without", "without, once more")
    lines = [f"Page from its address to being ready, ComfyUI {comfyui.version}, {count} loads each"]
    for name, each in zip(names, taken, strict=True):
        lines.append(f"  {name:24}{statistics.median(each):8.0f} ms, at best {min(each):.0f} ms")
    both = [statistics.mean(pair) for pair in zip(taken[1], taken[2], strict=True)]
    more, chance = _difference(taken[0], both), _difference(taken[2], taken[1])
    mark = "  MISSED" if more[0] > AIM else ""
    lines.append(f"  {'the pack adds':24}{_range(more)}, aim {AIM:.0f} ms{mark}")
    lines.append(f"  {'chance alone':24}{_range(chance)}")
    return "\n".join([*lines, ""])


def _difference(some: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """The median over the rounds, and the middle 90 % of it when the rounds are drawn by lot."""
    rounds = [one - other for one, other in zip(some, others, strict=True)]
    lot = random.Random(0)
    drawn = sorted(statistics.median(lot.choices(rounds, k=len(rounds))) for _ in range(SAMPLES))
    return statistics.median(rounds), drawn[SAMPLES // 20], drawn[-SAMPLES // 20]


def _range(difference: tuple[float, float, float]) -> str:
    found, least, most = difference
    return f"{found:8.0f} ms ({least:.0f} to {most:.0f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Print it, or why it can't be measured here."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--loads", type=int, default=40)
    arguments = parser.parse_args(argv)
    try:
        comfyui = locate()
        browser.environ()
    except (NotUsable, browser.Missing) as error:
        print(f"The page isn't measured: {error}\n")
        return 0
    if comfyui is None:
        print("The page isn't measured: there is no ComfyUI here (COMFYUI_PATH names one).\n")
        return 0
    print(report(comfyui, arguments.loads))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
