"""Requests a minute, shared by all nodes, prompts and processes of this machine.

Every call waits for a slot of `RateLimiter.acquire` before it is sent. One queue in quota.sqlite
holds the waiting calls of all processes; `Pacing` says when each deployment may be called next, and
learns from its refusals. Others use `RateLimiter`, `Deployment` and `CooldownTooLong`; `Timings` is
for tests that take the waits out, by setting `Pacing.timings`.
"""

from __future__ import annotations

from .limiter import CooldownTooLong, RateLimiter
from .pacing import Pacing, Timings
from .queue import Deployment
from .visit import Rhythm

__all__ = ["CooldownTooLong", "Deployment", "Pacing", "RateLimiter", "Rhythm", "Timings"]
