"""From an answer to a tensor, and from a tensor to a request: time and memory.

`python -m mai_image.benchmarks.image_path [--repeat 9] [--no-peaks]`
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from . import pack

pack.ready()

import numpy as np
import torch

from ..nodes.imaging.png_process import png_process
from . import chains, measure
from .measure import Table

SIZES = ((1024, 1024), (1536, 1600), (2048, 2048))
"""Width and height of answers: 1, 2.4 and 4 megapixels."""

CUT_OUT_SIZES = ((1024, 1024), (2048, 2048))
"""The same of answers with alpha."""

REQUESTS = ((1024, 1024), (4000, 3000), (4096, 4096))

PILLOW, BARE = "ours, Pillow alone", "ours, Pillow, base64 of Python"
SHIPPED, NAIVE = "ours, with what ComfyUI ships", "naive"
OURS, AREA = "ours", "naive, torch's area filter"


def material(kind: str, width: int, height: int) -> chains.Pixels:
    """What the ways of this kind begin with: an answer's bytes, or the pixels of a request."""
    pixels = (chains.cut_out if kind == "cut-out" else chains.painting)(width, height)
    if kind == "request":
        return pixels
    return np.frombuffer(chains.answer_of(chains.png(pixels)), np.uint8)


def answer_ways(answer: chains.Pixels) -> dict[str, Callable[[], object]]:
    """Each way from the same answer to a tensor."""
    body = answer.tobytes()
    ours = partial(chains.our_answer, body)
    floor_name, floor = chains.floor_answer()

    def pillow() -> object:
        with chains.pillow_alone():
            return ours()

    def bare() -> object:
        with chains.pillow_alone(standard_library=True):
            return ours()

    return {
        NAIVE: partial(chains.naive_answer, body),
        SHIPPED: ours,
        PILLOW: pillow,
        BARE: bare,
        floor_name: partial(floor, body),
    }


def request_ways(pixels: chains.Pixels) -> dict[str, Callable[[], object]]:
    """Each way from the same IMAGE to the PNG that is sent."""
    image = torch.from_numpy(pixels).float().div_(255)
    floor_name, floor = chains.floor_request()
    ways = {
        NAIVE: chains.naive_request,
        AREA: chains.naive_request_in_floats,
        OURS: chains.our_request,
        floor_name: floor,
    }
    return {name: partial(way, image) for name, way in ways.items()}


WAYS = {"answer": answer_ways, "cut-out": answer_ways, "request": request_ways}
TITLES = {
    "answer": "answer -> tensor",
    "cut-out": "answer with alpha -> tensor and mask",
    "request": "tensor -> request",
}
AIMS: dict[str, dict[str, tuple[float | None, float | None]]] = {
    "answer": {SHIPPED: (0.5, 0.5), PILLOW: (0.80, 0.5)},
    "cut-out": {SHIPPED: (0.5, 0.5)},
    "request": {OURS: (0.25, 0.2)},
}


def tables(repeat: int = 9, peaks: bool = True) -> list[Table]:
    """All of it."""
    png_process.wait_until_ready()
    sizes = [("answer", *size) for size in SIZES] + [("cut-out", *size) for size in CUT_OUT_SIZES]
    sizes += [("request", *size) for size in REQUESTS]
    return [_table(kind, width, height, repeat, peaks) for kind, width, height in sizes]


def _table(kind: str, width: int, height: int, repeat: int, peaks: bool) -> Table:
    begin = material(kind, width, height)
    ways = WAYS[kind](begin)
    aims = AIMS[kind] if kind != "request" or width == 4096 else {}
    rounds = min(repeat, 5) if width * height > 10_000_000 else repeat
    table = measure.compare(f"{TITLES[kind]}, {width} x {height}", ways, rounds, aims)
    return measure.add_peaks(table, _peaks(kind, begin)) if peaks and aims else table


def _peaks(kind: str, begin: chains.Pixels) -> dict[str, float]:
    """Megabytes of the ways that have an aim, each in a process that finds its answer or image in a
    file: to paint or pack one would leave memory behind that the way could use unseen."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "begin.npy"
        np.save(file, begin)
        for name in (NAIVE, *AIMS[kind]):
            found[name] = measure.peak_in_child("image_path", "--peak", kind, str(file), name)
    return found


def _peak(kind: str, file: Path, name: str) -> float:
    """Megabytes of one way, after it has run once on an image too small to leave traces."""
    png_process.wait_until_ready()
    WAYS[kind](material(kind, 64, 64))[name]()
    return measure.peak_of(WAYS[kind](np.load(file))[name])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--no-peaks", action="store_true")
    parser.add_argument("--peak", nargs=3, metavar=("KIND", "FILE", "WAY"))
    arguments = parser.parse_args(argv)
    found = pack.as_comfyui()
    if arguments.peak:
        kind, file, name = arguments.peak
        print(_peak(kind, Path(file), name))
        return 0
    print(f"What ComfyUI ships, as far as it is here: {found}\n")
    for table in tables(arguments.repeat, not arguments.no_peaks):
        print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
