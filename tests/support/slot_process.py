"""A machine of a studio: a process with a rate limiter of its own, led by lines of JSON.

It hears {"ask": name, "rpm": 60} (with "unsent": true the call isn't sent before {"sent": true,
"rpm": 60}), {"refused": seconds, "rpm": 60} and {"end": true} on its input, and says
{"slot": name, "at": seconds since 1970}, {"written": true} when what it heard is,
{"wait": name, "seconds": …} and {"error": name, "text": …}. `Machine` is the other end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Queue
from typing import Any

wall_clock = time.time


class Machine:
    """A process that asks for slots in a database, or a file; `clock_offset` is how far its clocks
    are wrong, in seconds."""

    def __init__(
        self,
        url: str,
        name: str,
        rhythm: object | None = None,
        clock_offset: float = 0.0,
        quiet: bool = True,
    ) -> None:
        options = {
            "url": url,
            "machine": name,
            "rhythm": None if rhythm is None else dataclasses.asdict(rhythm),  # type: ignore[call-overload]
            "clock_offset": clock_offset,
            "quiet": quiet,
        }
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said: list[dict[str, Any]] = []
        self._arrived: Queue[dict[str, Any]] = Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.until("ready")

    def tell(self, **message: object) -> None:
        """Have it do something."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def until(self, word: str, timeout: float = 30.0) -> dict[str, Any]:
        """The next thing that it says with this word."""
        end = wall_clock() + timeout
        while True:
            message = self._arrived.get(timeout=max(0.01, end - wall_clock()))
            if word in message:
                return message

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """kill -9, and nothing is left of it."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            self.said.append(message)
            self._arrived.put(message)


def say(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def live(options: dict[str, Any]) -> None:
    """Do what is asked for, until the end."""
    from mai_image.mai.database import DatabaseServer
    from mai_image.mai.rate_limit import Deployment, RateLimiter, Rhythm

    rhythm = None if options["rhythm"] is None else Rhythm(**options["rhythm"])
    url = options["url"]
    where = DatabaseServer(url) if "://" in url else Path(url)
    limiter = RateLimiter(where, machine=options["machine"], rhythm=rhythm, tick=0.2)
    tasks = set()

    async def ask(message: dict[str, Any]) -> None:
        def hear(seconds: float, rpm: float | None) -> None:
            if not options["quiet"]:
                say(wait=message["ask"], seconds=seconds)

        deployment = Deployment(message.get("of", "deployment"), message["rpm"])
        try:
            flags = {name: message.get(name, False) for name in ("first", "unsent")}
            await limiter.acquire([deployment], hear, **flags)
        except Exception as error:  # noqa: BLE001  the parent judges it
            say(error=message["ask"], text=str(error), kind=type(error).__name__)
        else:
            say(slot=message["ask"], at=wall_clock())

    loop = asyncio.get_running_loop()
    say(ready=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        message = json.loads(line)
        if "ask" in message:
            tasks.add(loop.create_task(ask(message)))
        elif "refused" in message:
            limiter.cool_down(Deployment("deployment", message["rpm"]), message["refused"])
            await limiter.close()
            say(written=True)
        elif "sent" in message:
            limiter.mark_sent(Deployment("deployment", message["rpm"]))
            await limiter.close()
            say(written=True)
        elif "end" in message:
            break
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await limiter.close()


def set_clocks_wrong(seconds: float) -> None:
    """As on a machine whose clocks were never set."""
    for name in ("time", "monotonic", "perf_counter"):
        real = getattr(time, name)
        setattr(time, name, lambda real=real: real() + seconds)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    set_clocks_wrong(asked["clock_offset"])
    sys.path.append(str(Path(__file__).parent))
    asyncio.run(live(asked))
