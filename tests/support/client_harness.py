"""One data folder, the services that use it, and the bill that it is held against."""

from __future__ import annotations

import dataclasses
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mai_image.mai import pipeline
from mai_image.mai.auth import KeyCredential, Secret
from mai_image.mai.client import Client
from mai_image.mai.errors import MaiError, UnreadableError
from mai_image.mai.ledger import DOUBTFUL, Ledger
from mai_image.mai.models import CATALOGUE
from mai_image.mai.profiles import Profile, Profiles
from mai_image.mai.rate_limit import Pacing, RateLimiter, Timings
from mai_image.mai.store import Store
from mai_image.mai.types import Edit, Generate, Reference, Request, Result, Usage, request_key
from scripted_server import (
    Behaviour,
    Connection,
    ReceivedRequest,
    Scripted,
    image_body,
    png,
    usage_of,
)

MODEL = "MAI-Image-2.6"
SIDE = 768
COST = CATALOGUE[MODEL].cost(Usage(text_in=10, image_out=SIDE * SIDE // 1024))
"""USD for which the server bills one image."""


def quicken(patch: Callable[[object, str, object], None]) -> None:
    """Take the waits out that are there for the sake of a real service."""
    patch(Pacing, "timings", Timings(0.0, 0.0, 0.0, 0.0, backoff=0.05))
    patch(pipeline, "LOOK_ELSEWHERE", 0.02)
    patch(pipeline, "backoff", lambda repeat: 0.01)
    patch(pipeline, "jitter", lambda most: 0.0)


ESTIMATE = CATALOGUE[MODEL].estimate(Generate(MODEL, "image 0", SIDE, SIDE))
"""USD that the ledger sets aside for one image."""


def generate(text: object, **changes: object) -> Generate:
    """A message whose prompt tells it from the others."""
    request = Generate(MODEL, f"image {text}", SIDE, SIDE)
    return dataclasses.replace(request, **changes)  # type: ignore[arg-type]


def batch(count: int) -> list[Request]:
    """Messages that differ in their prompts."""
    return [generate(i) for i in range(count)]


def edit(text: object, shade: int = 1, **changes: object) -> Edit:
    """An edit of one small reference."""
    reference = Reference(png(64, 64, shade), "image/png", 64, 64)
    request = Edit(MODEL, f"image {text}", (reference,))
    return dataclasses.replace(request, **changes)  # type: ignore[arg-type]


def prompt_of(request: ReceivedRequest) -> str:
    """The prompt that came, in JSON or in a form."""
    if request.headers["content-type"].startswith("application/json"):
        return str(request.json["prompt"])
    found = re.search(rb'name="prompt"\r\n\r\n(.*?)\r\n', request.body, re.DOTALL)
    assert found is not None
    return found[1].decode()


def drawn(prompt: str) -> bytes:
    """The image that the server draws for a prompt."""
    return png(SIDE, SIDE, zlib.crc32(prompt.encode()) % 256)


def whole_body(request: ReceivedRequest) -> bytes:
    """The body of a good answer."""
    return image_body(drawn(prompt_of(request)), usage_of(SIDE, SIDE))


def draw(connection: Connection, request: ReceivedRequest) -> None:
    """Bill an image that only this prompt gives, and send it."""
    connection.server.bill(request)
    connection.answer(200, whole_body(request))


def draw_after(wait: Callable[[], object]) -> Behaviour:
    """Bill at once, answer when `wait` is over."""

    def behave(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        wait()
        connection.answer(200, whole_body(request))

    return behave


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something that happens in another thread."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


class OneProfile(Profiles):
    """Profiles of which every name means the same one."""

    def __init__(self, folder: Path, profile: Profile) -> None:
        super().__init__(folder, {})
        self.profile = profile

    def get(self, name: str) -> Profile:
        """The one profile."""
        return self.profile

    def storage_variable(self, name: str) -> str | None:
        """This process's own."""
        return os.environ.get(name)


def profile_for(url: str, **changes: object) -> Profile:
    """A profile of a fast deployment at `url`."""
    key = KeyCredential(lambda: Secret("test-key"), "a test")
    profile = Profile("test", "foundry", url, key, requests_a_minute=6000.0, timeout=10.0)
    return dataclasses.replace(profile, **changes)  # type: ignore[arg-type]


Outcome = Result | MaiError
"""What a future gives."""


@dataclass
class Harness:
    """A folder and a server. `start` and `restart` give services that use them."""

    folder: Path
    server: Scripted = field(default_factory=lambda: Scripted(default=draw))
    clients: list[Client] = field(default_factory=list)
    make_ledger: Callable[[Path], Ledger] = Ledger
    make_limiter: Callable[[Path], RateLimiter] = RateLimiter

    def __post_init__(self) -> None:
        self.profile = profile_for(self.server.url)

    def start(self, **changes: object) -> Client:
        """One more service on the folder, as another one of this process."""
        return self.start_in(self.folder, **changes)

    def start_in(self, folder: Path, store: Store | None = None, **changes: object) -> Client:
        """A service on a folder of its own, as another machine; `store` in place of its own."""
        profile = dataclasses.replace(self.profile, **changes)  # type: ignore[arg-type]
        client = Client(
            folder,
            OneProfile(folder, profile),
            store=store,
            ledger=self.make_ledger(folder / "ledger.sqlite"),
            limiter=self.make_limiter(folder / "quota.sqlite"),
        )
        self.clients.append(client)
        return client

    def restart(self, **changes: object) -> Client:
        """The service after all others have ended."""
        self.stop()
        return self.start(**changes)

    def stop(self) -> None:
        """End every service."""
        while self.clients:
            self.clients.pop().close(grace=2)

    def close(self) -> None:
        """End everything."""
        self.stop()
        self.server.close()

    def key(self, request: Request) -> str:
        """The key of a message's image."""
        return request_key(request, self.profile.store_identity)

    def kept(self, requests: Iterable[Request]) -> list[Request]:
        """The messages whose images are in the store, whole."""
        store = Store(self.folder / "store")
        try:
            found = {request: _read(store, self.key(request)) for request in requests}
        finally:
            store.close_file()
        for request, result in found.items():
            assert result is None or result.image == drawn(request.prompt)
        return [request for request, result in found.items() if result is not None]

    def rows(self, outcome: str | None = None) -> list[dict[str, object]]:
        """The ledger's rows, the oldest first."""
        ledger = Ledger(self.folder / "ledger.sqlite")
        rows = ledger.rows(None)[::-1]
        ledger.close_file()
        return [row for row in rows if outcome in (None, row["outcome"])]

    def outcomes(self) -> list[str]:
        """How the calls ended, in the order of their rows."""
        return [str(row["outcome"]) for row in self.rows()]

    def counted(self) -> float:
        """USD that the ledger counts in all."""
        ledger = Ledger(self.folder / "ledger.sqlite")
        spend = ledger.spend()
        ledger.close_file()
        return spend.total.usd + spend.in_flight.usd

    def bills(self, request: Request) -> int:
        """How often an image was billed."""
        return sum(prompt_of(each) == request.prompt for each in self.server.billed)

    def balance(self, requests: Sequence[Request], *, phantom: int = 0, lost: int = 0) -> None:
        """The books agree: images billed = images in the store + calls marked "perhaps billed".

        `phantom` calls are marked though the server billed nothing, as nobody on this side can
        know that; `lost` images were paid for and are no longer in the store.
        """
        kept = self.kept(requests)
        perhaps = [row["key"] for row in self.rows() if row["outcome"] in DOUBTFUL]
        assert len(self.server.billed) + phantom == len(kept) + len(perhaps) + lost
        for request in requests:
            known = (request in kept) + perhaps.count(self.key(request))
            assert self.bills(request) <= known + lost, f"{request.prompt} was billed unseen"
        assert not self.rows("in flight")
        assert len(self.server.billed) * COST <= self.counted() + 1e-9


def _read(store: Store, key: str) -> Result | None:
    try:
        return store.get(key)
    except UnreadableError:
        return None


def ask(client: Client, requests: Sequence[Request], seconds: float = 20.0) -> list[Outcome]:
    """What becomes of a batch."""
    return [outcome(future, seconds) for future in [client.submit(each) for each in requests]]


def outcome(future: Future[Result], seconds: float = 20.0) -> Outcome:
    """A future's image or its error."""
    try:
        return future.result(seconds)
    except MaiError as error:
        return error


def image(found: Outcome) -> Result:
    """The outcome, which must be an image."""
    assert isinstance(found, Result), found
    return found


def failure(found: Outcome) -> MaiError:
    """The outcome, which must be an error."""
    assert isinstance(found, MaiError), found
    return found


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """`quicken` for one test."""
    quicken(monkeypatch.setattr)
