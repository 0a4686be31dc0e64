"""How far a reader has to walk: the pack's own functions that one uncached image enters.

    python3 tasks.py bench request_path [--list]

MAI Generate asks the emulator for one image that the store doesn't have. Counted from `execute` to
the tensor are, in nodes/ and mai/ alone: distinct functions, distinct files, how often whoever
follows it with a debugger comes into another file, and jobs handed to an executor. A coroutine that
goes on after an await isn't entered again; comprehensions belong to the function around them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest import mock

from . import pack

pack.ready()

from .. import emulator
from ..mai.client import Client
from ..mai.profiles import Profiles
from ..nodes.generate import MAIGenerate
from ..nodes.run import shared_client

ROOT = Path(__file__).parent.parent

PROFILE = """
[profiles.bench]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 60000
"""


@dataclass
class Walk:
    """What was entered while `counting`, in any thread."""

    counting: bool = False
    functions: dict[CodeType, int] = field(default_factory=dict)
    switches: int = 0
    trips: int = 0
    _frames: set[FrameType] = field(default_factory=set)
    _file: str = ""

    def profile(self, frame: FrameType, event: str, argument: object) -> None:
        """Python calls this for every function that is entered."""
        if not self.counting or event != "call" or frame in self._frames or not _is_own(frame):
            return
        self._frames.add(frame)
        self.functions[frame.f_code] = self.functions.get(frame.f_code, 0) + 1
        self.switches += frame.f_code.co_filename != self._file
        self._file = frame.f_code.co_filename

    def submit(self) -> Callable[..., Future[Any]]:
        """Stands in for ThreadPoolExecutor.submit."""
        really = ThreadPoolExecutor.submit

        def counted(executor: ThreadPoolExecutor, *job: Any, **named: Any) -> Future[Any]:
            self.trips += self.counting and _is_of_the_client(sys._getframe(1))
            return really(executor, *job, **named)

        return counted


def _is_of_the_client(frame: FrameType | None) -> bool:
    """Whether a function of nodes/ or mai/ is on the stack: the emulator has executors too."""
    while frame is not None and not _is_own(frame):
        frame = frame.f_back
    return frame is not None


def _is_own(frame: FrameType) -> bool:
    name, code = frame.f_code.co_name, frame.f_code.co_filename
    return not name.startswith("<") and code.startswith((f"{ROOT}/nodes/", f"{ROOT}/mai/"))


def walk() -> Walk:
    """The walk of one image, after another one has warmed everything up."""
    found = Walk()
    threading.setprofile(found.profile)
    sys.setprofile(found.profile)
    with (
        tempfile.TemporaryDirectory() as folder,
        emulator.start() as service,
        mock.patch.object(ThreadPoolExecutor, "submit", found.submit()),
    ):
        path = Path(folder)
        (path / "profiles.toml").write_text(PROFILE.format(url=service.url), encoding="utf-8")
        client = Client(path, Profiles(path, {}))
        shared_client.replace(client)
        try:
            generate("a first image")
            found.counting = True
            generate("a second image")
            found.counting = False
        finally:
            shared_client.replace(None)
            client.close(grace=1)
            threading.setprofile(None)
            sys.setprofile(None)
    return found


def generate(prompt: str) -> None:
    """One run of MAI Generate."""
    asyncio.run(MAIGenerate.execute(prompt, width=768, height=768, profile="bench"))


def report(found: Walk, listed: bool = False) -> str:
    """The numbers; with `listed` also every function, by file."""
    files = sorted({Path(code.co_filename).relative_to(ROOT) for code in found.functions})
    lines = [
        "One uncached image, from execute to the tensor",
        f"  functions entered       {len(found.functions):4d}",
        f"  files                   {len(files):4d}",
        f"  switches of file        {found.switches:4d}",
        f"  trips to an executor    {found.trips:4d}",
    ]
    for file in files if listed else ():
        names = [
            f"{getattr(code, 'co_qualname', code.co_name)} x{count}"
            for code, count in found.functions.items()
            if Path(code.co_filename) == ROOT / file
        ]
        lines.append(f"  {file} ({len(names)})\n    " + "\n    ".join(names))
    return "\n".join(lines)


def main() -> None:
    """Print the walk."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name every function")
    print(report(walk(), parser.parse_args().list))


if __name__ == "__main__":
    main()
