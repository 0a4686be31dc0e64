"""Calls in flight: who waits for one, which ones end together, which were ordered for later.

The client keeps an `InFlightCall` for each request that is under way, with a `Waiter` for everybody
who asked for it; a `CallStatus` is what a page may know of one. `Siblings` end together: the first
error of `REFUSES_ALL` ends those that wait, while what is in a phase of `SENT` goes on. `Orders`
keeps what a node ordered and didn't wait for, an `OrderedImage` each, until a later run collects
it; an `OrderedRun` is what a page may know of those that one prompt ordered.
"""

from __future__ import annotations

from .calls import (
    REFUSES_ALL,
    SENT,
    CallStatus,
    InFlightCall,
    Listener,
    RowLostError,
    Siblings,
    Waiter,
)
from .orders import FAILED, UNDER_WAY, OrderedImage, OrderedRun, Orders

__all__ = [
    "FAILED",
    "REFUSES_ALL",
    "SENT",
    "UNDER_WAY",
    "CallStatus",
    "InFlightCall",
    "Listener",
    "OrderedImage",
    "OrderedRun",
    "Orders",
    "RowLostError",
    "Siblings",
    "Waiter",
]
