"""Machines of a studio as processes with folders of their own, and what they share."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from buyer_process import buyer, end
from client_harness import Harness, batch, until
from mai_image.mai.database import DatabaseServer
from mai_image.mai.ledger import DOUBTFUL, Ledger
from mai_image.mai.store import SharedStore
from object_stores import Engine


class StudioOfMachines:
    """Machines that share what `database` and `engine` hold, and the service that they call.

    With `ask_again` they ask again for what a StoreError refused: see buyer.py.
    """

    def __init__(
        self,
        folder: Path,
        harness: Harness,
        database: str,
        engine: Engine,
        *,
        ask_again: bool = False,
    ) -> None:
        self.folder, self.harness, self.engine = folder, harness, engine
        self.database = database
        self._ask_again = ask_again
        self.go = folder / "go"

    def start(
        self, name: str, prompts: Sequence[int], command: Sequence[str] = (), **job: object
    ) -> subprocess.Popen[str]:
        """A process of the machine `name` that asks for these images; see buyer.py."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        lines = [
            "[shared]",
            f'database = "{self.database}"',
            f'images = "{self.engine.address}"',
            f'machine = "{name}"',
        ]
        (folder / "profiles.toml").write_text("\n".join(lines))
        facts = {"folder": str(folder), "seconds": 120, **job}
        if self._ask_again:
            facts["errors"] = str(folder / "errors")
        return buyer(self.harness, list(prompts), command, **facts)

    def begin(self) -> None:
        """Let all machines that wait for `go` begin together, once all are ready."""
        folders = [path.parent for path in self.folder.glob("*/profiles.toml")]
        until(lambda: all((folder / "ready").exists() for folder in folders), 120)
        self.go.touch()

    def errors(self) -> list[tuple[str, float]]:
        """The errors after which machines asked again: the sentence, and seconds until it came."""
        found: list[tuple[str, float]] = []
        for path in self.folder.glob("*/errors"):
            found += [tuple(json.loads(line)) for line in path.read_text().splitlines()]
        return found

    def ledger(self, **options: object) -> Ledger:
        """The ledger that they share."""
        return Ledger(DatabaseServer(self.database), **options)  # type: ignore[arg-type]

    def rows(self) -> list[dict[str, object]]:
        """All rows of the ledger."""
        ledger = self.ledger()
        try:
            return ledger.rows(None)
        finally:
            ledger.close_file()

    def restart(self, names: Sequence[str], seconds: float = 60.0) -> None:
        """Start these machines again, to bring what they couldn't."""
        for process in [self.start(name, []) for name in names]:
            assert end(process, seconds) == []
        for name in names:
            ledger = self.ledger(spool=self.folder / name / "unbooked.sqlite")
            ledger.book_spooled()
            ledger.close_file()

    async def stored(self, count: int) -> int:
        """How many of the first images of `batch` the object store has, whole."""
        store = SharedStore(self.folder / "looking", 10**9, self.engine.objects())
        found = [await store.fetch(self.harness.key(each)) for each in batch(count)]
        return sum(each is not None for each in found)

    def balance(self, count: int, killed: str = "") -> int:
        """Billed = stored + perhaps billed, and nothing is in flight; how many perhaps.

        The machine `killed` died as it sent its first call: more of its calls may be marked that
        were about to be sent and never left it.
        """
        rows = self.rows()
        doubtful = [row for row in rows if row["outcome"] in DOUBTFUL]
        assert not [row for row in rows if row["outcome"] == "in flight"]
        stored = asyncio.run(self.stored(count))
        unsent = stored + len(doubtful) - len(self.harness.server.billed)
        most = sum(row["machine"] == killed for row in doubtful) - 1 if killed else 0
        ends = [(row["machine"], str(row["key"])[:6], row["outcome"]) for row in rows]
        assert 0 <= unsent <= most, (stored, unsent, ends)
        return len(doubtful) - unsent
