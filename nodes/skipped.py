"""Failures that are skipped: an item of a list that fails must not cost the others.

An item that raises throws away what all others of its list gave; one that is left out shifts the
lists behind it. So a quiet ExecutionBlocker stands in its place, and what uses its image skips that
item alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any

from comfy_api.latest import io

from ..mai.errors import MaiError
from ..mai.in_flight import REFUSES_ALL
from ..mai.models import DEFAULT_MODEL
from .inputs import SKIP_FAILURES
from .results import failed_output
from .run import note_failures, this_run

Execute = Callable[..., Coroutine[Any, Any, io.NodeOutput]]


def skips_failures(image_outputs: int) -> Callable[[Execute], Execute]:
    """Decorates a paid node's execute: with if_blocked "skip failures" it raises no MaiError.

    But one: where every item of a list failed, and an error is such that all others get it too
    (the key, the budget, no such deployment), it is the node's.
    """

    def decorate(execute: Execute) -> Execute:
        @functools.wraps(execute)
        async def skipping(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> io.NodeOutput:
            if kwargs.get("if_blocked") != SKIP_FAILURES:
                return await execute(cls, *args, **kwargs)
            node_id = getattr(cls.hidden, "unique_id", None) or ""
            items = this_run().items[node_id]
            items.begun += 1
            try:
                output = await execute(cls, *args, **kwargs)
                items.came += 1
                return output
            except MaiError as error:
                failure = error
            finally:
                items.ended += 1
            note_failures(node_id, [failure])
            if items.refusal is None and isinstance(failure, REFUSES_ALL):
                items.refusal = failure
            await items.all_begun()
            if items.refusal is not None and not items.came and items.ended == items.begun:
                raise items.refusal
            model, profile = kwargs.get("model", DEFAULT_MODEL), kwargs.get("profile", "default")
            return failed_output(failure, model, profile, image_outputs)

        return skipping

    return decorate
