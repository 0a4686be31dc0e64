"""Whether the account works, step by step: ticks that follow what the user does.

The checks are those of `mai-image doctor` that buy nothing. The page learns which of them are well,
and no name of a host, a file or a deployment.
"""

from __future__ import annotations

import threading
import time

from ..mai.client import Client
from ..mai.examination import Examination, Step
from ..mai.profiles import EMULATOR

PAUSE = 4.0
"""Seconds between two examinations, however many pages ask."""

_SHOWN = {
    Step.PROFILE: "profile",
    Step.CREDENTIAL: "credential",
    Step.NAME: "connection",
    Step.CONNECTION: "connection",
    Step.AUTHENTICATION: "accepted",
    Step.DEPLOYMENT: "deployment",
}
"""By doctor's step, what the page shows it as."""


class Checks:
    """The last examination of the first profile, made anew at most every few seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made_at = float("-inf")
        self._last: dict[str, object] = {}

    def get(self, client: Client) -> dict[str, object]:
        """`profile` is its name, None where there is none; `steps` are true, false or None.

        None is a step that wasn't come to. Blocks, on the network too; one is made at a time.
        """
        with self._lock:
            if time.monotonic() >= self._made_at + PAUSE:
                self._last = examine(client)
                self._made_at = time.monotonic()
            return self._last


def examine(client: Client) -> dict[str, object]:
    """The checks of the first profile, up to the first that fails."""
    names = [name for name in client.profiles.names() if name != EMULATOR]
    steps: dict[str, bool | None] = dict.fromkeys(_SHOWN.values())
    if names:
        for finding in Examination(client, names[0]).findings():
            shown = _SHOWN[finding.step]
            steps[shown] = finding.error is None and steps[shown] is not False
    else:
        steps["profile"] = False
    return {"profile": names[0] if names else None, "steps": steps}
