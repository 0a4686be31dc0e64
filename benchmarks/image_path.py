"""From an answer to a tensor, and from a tensor to a request: time and memory.

`python -m mai_image.benchmarks.image_path [--repeat 9] [--no-peaks]`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

from . import pack

pack.ready()

import torch  # noqa: E402

from . import chains, measure  # noqa: E402
from .measure import Table  # noqa: E402

SIZES = ((1024, 1024), (1536, 1600))
"""Width and height of answers: 1 and 2.4 megapixels."""

REQUESTS = ((1024, 1024), (4000, 3000), (4096, 4096))

PILLOW, BARE = "ours, Pillow alone", "ours, Pillow, base64 of Python"
SHIPPED, NAIVE = "ours, with what ComfyUI ships", "naive"
OURS, AREA = "ours", "naive, torch's area filter"


def answer_ways(width: int, height: int) -> dict[str, Callable[[], object]]:
    """Each way from the same answer to a tensor."""
    body = chains.answer_of(chains.png(chains.painting(width, height)))
    ours = partial(chains.our_answer, body, width, height)
    floor_name, floor = chains.floor_answer()

    def pillow() -> object:
        with chains.pillow_alone():
            return ours()

    def bare() -> object:
        with chains.pillow_alone(standard_library=True):
            return ours()

    ways = {NAIVE: partial(chains.naive_answer, body), SHIPPED: ours, PILLOW: pillow, BARE: bare}
    return {**ways, floor_name: partial(floor, body)}


def request_ways(width: int, height: int) -> dict[str, Callable[[], object]]:
    """Each way from the same IMAGE to the PNG that is sent."""
    image = torch.from_numpy(chains.painting(width, height)).float().div_(255)
    floor_name, floor = chains.floor_request()
    ways = {
        NAIVE: chains.naive_request,
        AREA: chains.naive_request_in_floats,
        OURS: chains.our_request,
        floor_name: floor,
    }
    return {name: partial(way, image) for name, way in ways.items()}


WAYS = {"answer": answer_ways, "request": request_ways}
AIMS: dict[str, dict[str, tuple[float | None, float | None]]] = {
    "answer": {SHIPPED: (0.65, 0.5), PILLOW: (0.80, 0.5)},
    "request": {OURS: (0.25, 0.2)},
}


def tables(repeat: int = 9, peaks: bool = True) -> list[Table]:
    """All of it."""
    found = []
    for kind, sizes in (("answer", SIZES), ("request", REQUESTS)):
        for width, height in sizes:
            large = width * height > 10_000_000
            ways = WAYS[kind](width, height)
            aims = AIMS[kind] if kind == "answer" or width == 4096 else {}
            what = "answer -> tensor" if kind == "answer" else "tensor -> request"
            title = f"{what}, {width} x {height}"
            table = measure.compare(title, ways, min(repeat, 5) if large else repeat, aims)
            if peaks:
                megabytes = {
                    name: measure.peak_in_child(
                        "image_path", "--peak", kind, f"{width}", f"{height}", name
                    )
                    for name in ways
                    if name in (NAIVE, SHIPPED, PILLOW, OURS)
                }
                measure.add_peaks(table, megabytes)
            found.append(table)
    return found


def _peak(kind: str, width: int, height: int, name: str) -> float:
    """Megabytes of one way, after it has run once on a picture too small to leave traces."""
    WAYS[kind](64, 64)[name]()
    return measure.peak_of(WAYS[kind](width, height)[name])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--no-peaks", action="store_true")
    parser.add_argument("--peak", nargs=4, metavar=("KIND", "WIDTH", "HEIGHT", "WAY"))
    arguments = parser.parse_args(argv)
    found = pack.as_comfyui()
    if arguments.peak:
        kind, width, height, name = arguments.peak
        print(_peak(kind, int(width), int(height), name))
        return 0
    print(f"What ComfyUI ships, as far as it is here: {found}\n")
    for table in tables(arguments.repeat, not arguments.no_peaks):
        print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
