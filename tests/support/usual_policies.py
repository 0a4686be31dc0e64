"""The usual ways to keep to a rate limit, for comparison. Each gives a maker of images."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from simulated_service import Case, Service
from virtual_time import VirtualLoop

Call = Callable[[Service], Awaitable[bool]]
"""Gets one image from the service: whether it came."""
Policy = Callable[[Case, VirtualLoop, Path], Call]

GIVE_UP = 20_000
"""Refusals of a run after which a policy is taken to starve: the rest of its images fail."""


def _backing_off(limit: int | None) -> Policy:
    """All at once; jittered exponential backoff, up to 8 s and `limit` times as SDKs do, or up to
    60 s without end (None)."""

    def policy(case: Case, loop: VirtualLoop, file: Path) -> Call:
        noise = random.Random(case.seed + 1)

        async def image(service: Service) -> bool:
            tries = 0
            while limit is None or tries <= limit:
                passed, _ = await service.call()
                if passed:
                    return True
                if service.refusals > GIVE_UP:
                    return False
                longest = 8.0 if limit is not None else 60.0
                await asyncio.sleep(min(longest, 0.5 * 2**tries) * (0.5 + noise.random() / 2))
                tries += 1
            return False

        return image

    return policy


def sequential(case: Case, loop: VirtualLoop, file: Path) -> Call:
    """One call after the other; a refused one waits for its Retry-After."""
    one = asyncio.Lock()

    async def image(service: Service) -> bool:
        async with one:
            return await _patiently(service)

    return image


def retry_after(case: Case, loop: VirtualLoop, file: Path) -> Call:
    """All at once; each refused call waits for its own Retry-After."""
    return _patiently


def sliding_window(case: Case, loop: VirtualLoop, file: Path) -> Call:
    """The quota in every 60 s by this side's clock, as most limiters do it."""
    return _limited(case, loop, lambda starts: starts[-case.quota] + 60.0, case.quota)


def evenly_spaced(case: Case, loop: VirtualLoop, file: Path) -> Call:
    """60 / quota seconds between two calls."""
    return _limited(case, loop, lambda starts: starts[-1] + 60.0 / case.quota, 1)


def shared_pause(case: Case, loop: VirtualLoop, file: Path) -> Call:
    """A bucket of the whole quota, 50 ms between starts; a 429 empties it and pauses everyone."""
    even = 60.0 / case.quota
    burst = (case.quota - 1) * even
    one = asyncio.Lock()
    full_at = next_at = 0.0

    async def image(service: Service) -> bool:
        nonlocal full_at, next_at
        while True:
            async with one:
                while (wait := max(next_at, full_at - burst) - loop.time()) > 0:
                    await asyncio.sleep(wait)
                next_at = loop.time() + 0.05
                full_at = max(full_at, loop.time()) + even
            passed, pause = await service.call()
            if passed or service.refusals > GIVE_UP:
                return passed
            next_at = max(next_at, loop.time() + (pause or 1.0))
            full_at = loop.time() + burst + even

    return image


backoff_twice = _backing_off(2)
backoff = _backing_off(None)


def _limited(
    case: Case, loop: VirtualLoop, next_at: Callable[[list[float]], float], count: int
) -> Call:
    starts: list[float] = []
    one = asyncio.Lock()

    async def image(service: Service) -> bool:
        while True:
            async with one:
                if len(starts) >= count:
                    await asyncio.sleep(max(0.0, next_at(starts) - loop.time()))
                starts.append(loop.time())
            passed, wait = await service.call()
            if passed or service.refusals > GIVE_UP:
                return passed
            await asyncio.sleep(wait or 1.0)

    return image


async def _patiently(service: Service) -> bool:
    while True:
        passed, wait = await service.call()
        if passed or service.refusals > GIVE_UP:
            return passed
        await asyncio.sleep(wait or 1.0)


USUAL: dict[str, Policy] = {
    "sequential": sequential,
    "all at once, back off, 2 retries": backoff_twice,
    "all at once, back off": backoff,
    "all at once, Retry-After": retry_after,
    "local sliding window": sliding_window,
    "evenly spaced": evenly_spaced,
    "bucket, one shared pause": shared_pause,
}
