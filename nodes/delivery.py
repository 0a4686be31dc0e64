"""Order now, collect later: a node's calls go on without it, and a later run has the images."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from comfy import model_management

from ..mai.errors import Billed, InputError, MaiError
from ..mai.in_flight import FAILED, REFUSES_ALL, UNDER_WAY, OrderedImage, Siblings
from ..mai.types import Request, Result
from .results import Batch

if TYPE_CHECKING:
    from ..mai.client import Client

LOOK = 0.05
"""Seconds between looks whether the client has accepted what was ordered."""


@dataclass
class NodeOrders:
    """What one run of a node orders, and what became of what an earlier run ordered.

    `keys` are its requests', in their order; `found` its orders by key, `kept` the keys whose
    images are in the store. All are empty where nothing was or is ordered. Without `collects` the
    node waits for its images, whatever became of its orders.
    """

    client: Client
    node: str
    requests: Sequence[Request]
    profile: str
    collects: bool
    keys: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    found: dict[str, OrderedImage] = field(default_factory=dict)

    def look(self) -> None:
        """See what is there already. Blocks; MaiError: a mistake in what is to be ordered."""
        try:
            if not self.collects and self.client.orders.is_empty():
                return
            stored = self.client.look_up(self.requests, self.profile)
            self.keys = [each.key for each in stored]
            self.kept = {each.key for each in stored if each.kept}
            self.found = self.client.orders.find(self.node, self.keys)
        except MaiError:
            if self.collects:
                raise  # else the calls themselves say what is wrong

    def wanted(self) -> list[Request]:
        """The requests whose images are still to come."""
        return [each for i, each in enumerate(self.requests) if self.told(i) is None]

    def told(self, index: int) -> Future[Result] | None:
        """The failure of what was ordered for a request, as if its call had just ended.

        None: it didn't fail, or isn't over, or nothing was ordered.
        """
        order = self.found.get(self.keys[index]) if self.keys and self.collects else None
        if order is None or order.state != FAILED or order.error is None:
            return None
        future: Future[Result] = Future()
        future.set_exception(order.error)
        return future

    async def place(self, siblings: Siblings, run: str) -> Batch | None:
        """Order what is missing; None: all that was ordered has ended, and can be collected.

        Returns when the client has each call's row and credential. The batch counts what is under
        way, and has the errors of calls that were refused before they were sent. An interrupt
        leaves the orders as they are.
        """
        orders = self.client.orders
        new = await asyncio.to_thread(self._submit_missing, siblings, run)
        while not all(order.heard for order in new):
            if model_management.processing_interrupted():
                raise model_management.InterruptProcessingException()
            await asyncio.sleep(LOOK)
        refused = {order.key: order.error for order in new if _is_refusal(order.error)}
        await asyncio.to_thread(orders.remove, [self.found.pop(key) for key in refused])
        if refused and siblings.refusal is not None:
            await asyncio.to_thread(orders.tell, siblings.refusal)
        under_way = {key for key, order in self.found.items() if order.state == UNDER_WAY}
        if not under_way and not refused:
            return None
        await asyncio.to_thread(orders.move, self.found.values(), run)
        return self._unfinished(under_way, refused)

    def _submit_missing(self, siblings: Siblings, run: str) -> list[OrderedImage]:
        """Order what is neither kept, under way nor known to have failed.

        In a thread of its own: where ComfyUI ends the node meanwhile, what is written down as
        ordered is nevertheless sent. Blocks; StoreError: nothing is ordered.
        """
        missing = {
            key: request
            for key, request in zip(self.keys, self.requests, strict=True)
            if key not in self.kept and not self._is_open(key)
        }
        new = self.client.orders.add(run, self.node, self.profile, missing)
        for order in new:
            self.found[order.key] = order
            request = missing[order.key]
            future = siblings.submit(self.client, request, self.profile, order.hear)
            self.client.orders.follow(order, future, siblings)
        return new

    def _is_open(self, key: str) -> bool:
        return key in self.found and self.found[key].state in (UNDER_WAY, FAILED)

    def _unfinished(self, under_way: set[str], refused: dict[str, BaseException | None]) -> Batch:
        batch = Batch(self.requests, [None] * len(self.requests))
        batch.ordered = batch.sent = sum(key in under_way for key in self.keys)
        for i, key in enumerate(self.keys):
            error = refused.get(key)
            if isinstance(error, MaiError):
                batch.errors[i] = error
        return batch

    def counts(self) -> Counter[str]:
        """How many of the images are ordered, in the store and failed, in the words of the node."""
        states = [self.found[key].state if key in self.found else "" for key in self.keys]
        counts = Counter(ordered=states.count(UNDER_WAY), failed=states.count(FAILED))
        counts["from the store"] = len(states) - counts.total()
        return counts

    async def collected(self, refusal: MaiError | None) -> None:
        """The node has an outcome for each of its requests: none of them is an order any more.

        `refusal` is what ended them together; what else it ended needn't be told again.
        """
        if self.found:
            await asyncio.to_thread(self.client.orders.remove, list(self.found.values()))
        if refusal is not None:
            await asyncio.to_thread(self.client.orders.tell, refusal)


def _is_refusal(error: BaseException | None) -> bool:
    """Whether nothing was sent, as nothing could be: the node says so before it ends."""
    return isinstance(error, (InputError, *REFUSES_ALL)) and error.billed is Billed.NO
