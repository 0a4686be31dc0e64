"""The real `RateLimiter` against a simulated service on a virtual clock, and what it must reach."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from mai_image.mai.rate_limit import Deployment, RateLimiter
from simulated_servers import SMOOTH
from simulated_service import Case, Outcome, Service
from usual_policies import Call, Policy
from virtual_time import VirtualLoop, run

RATIO_SMOOTH, RATIO_OTHERS = 1.05, 1.4
REFUSALS_KNOWN, REFUSALS_LEARNED = 5, 10
"""The aims: makespan over the bound at most, refusals per 100 images fewer than."""


def ours(case: Case, loop: VirtualLoop, file: Path) -> Call:
    """This package's policy, through the real queue and file."""
    limiter = RateLimiter(file, clock=loop.time, tick=20.0)
    deployment = Deployment("deployment", case.quota if case.known else None)

    async def image(service: Service) -> bool:
        first = False
        while True:
            await limiter.acquire([deployment], first=first)
            passed, retry_after = await service.call()
            if passed:
                return True
            limiter.cool_down(deployment, retry_after)
            first = True

    return image


def simulate(case: Case, policy: Policy = ours) -> Outcome:
    """Get all images of a case, asked for at once, by one policy."""
    loop = VirtualLoop()
    service = Service(case, loop)

    async def everything(file: Path) -> int:
        image = policy(case, loop, file)
        got = await asyncio.gather(*(image(service) for _ in range(case.images)))
        return got.count(False)

    with tempfile.TemporaryDirectory() as folder:
        failed = run(everything(Path(folder) / "quota.sqlite"), loop)
    return Outcome(loop.time(), service.bound(), service.refusals, failed)


def misses(case: Case, outcome: Outcome) -> bool:
    """Whether a run of this package's policy misses an aim."""
    ratio = RATIO_SMOOTH if case.kind in SMOOTH else RATIO_OTHERS
    refusals = REFUSALS_KNOWN if case.known else REFUSALS_LEARNED
    return outcome.ratio > ratio or outcome.refusals >= refusals or outcome.failed > 0
