"""Which of the faults that were asked for strikes a request, counting those that strike K times."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from .directives import Fault, parse_fault


@dataclass(frozen=True)
class Candidate:
    """A fault and the key under which its `first=K` is counted."""

    key: str
    fault: Fault


class Faults:
    """The server-wide fault, and the counts of all. Used in the server's thread only, but for
    `server_wide`, which any thread may set."""

    def __init__(self, server_wide: str) -> None:
        self._used: dict[str, int] = {}
        self._serial = 0
        self._server_wide: Candidate | None = None
        self.set(server_wide)

    def set(self, text: str) -> None:
        """Change the server-wide fault; its count begins anew. Raises DirectiveError."""
        fault = parse_fault(text)
        self._serial += 1
        self._server_wide = Candidate(f"server {self._serial}", fault) if fault else None

    def asked(
        self, header: str, prompt: str = "", in_prompt: Fault | None = None
    ) -> list[Candidate]:
        """What a request is to meet, the nearest to the request first. Raises DirectiveError."""
        found = []
        by_header = parse_fault(header)
        if by_header is not None:
            found.append(Candidate(f"header {header}", by_header))
        if in_prompt is not None:
            digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
            found.append(Candidate(f"prompt {digest}", in_prompt))
        server_wide = self._server_wide
        if server_wide is not None:
            found.append(server_wide)
        return found

    def choose(self, candidates: Sequence[Candidate], early: bool) -> Fault | None:
        """The first that still strikes, of those before or after the request has been read."""
        for candidate in candidates:
            fault = candidate.fault
            if fault.early != early:
                continue
            used = self._used.get(candidate.key, 0)
            if fault.first is None or used < fault.first:
                if fault.first is not None:
                    self._used[candidate.key] = used + 1
                return fault
        return None
