"""The emulator with one image painted beforehand, for every request the same.

`python -m mai_image.benchmarks.ready_made 1024` prints its address and runs until it is ended. What
is measured with it is the client's part: to paint a scene takes longer than to decode it.
"""

from __future__ import annotations

import sys
import threading
from unittest import mock

from .. import emulator
from ..emulator import images, scenes, state


def main(side: int) -> None:
    """Serve an image of side x side."""
    image = scenes.scene(bytes(32), bytes(32), (side, side))
    data = images.png_file(image)
    with (
        mock.patch.object(state, "paint", return_value=image),
        mock.patch.object(images, "png_file", return_value=data),
        emulator.start() as service,
    ):
        print(service.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
