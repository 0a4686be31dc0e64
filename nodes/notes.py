"""Sentences for the user of a node that has no `info` output: on the node, and in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from server import PromptServer

logger = logging.getLogger(__name__)


def tell(node: str, node_id: str | None, notes: Sequence[str]) -> None:
    """Show sentences as the progress text of the node `node_id`, and log them under `node`."""
    if not notes:
        return
    for note in notes:
        logger.info("%s: %s", node, note)
    if node_id is not None:
        PromptServer.instance.send_progress_text("\n".join(notes), node_id)
