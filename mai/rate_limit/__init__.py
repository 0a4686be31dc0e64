"""TODO."""

from __future__ import annotations

from .limiter import Deployment, RateLimiter
from .pacer import AGE, PAUSE_MAX, RETRY_AFTER_MAX, SETTLE, Pacer

__all__ = ["AGE", "PAUSE_MAX", "RETRY_AFTER_MAX", "SETTLE", "Deployment", "Pacer", "RateLimiter"]
