"""What every paid node shares: the client, and the wait for it with progress and cancel."""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import operator
import os
import secrets
import shlex
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import folder_paths
from comfy import model_management
from comfy_api.latest import ComfyAPI
from server import PromptServer

from ..mai.errors import BlockedError, InputError, MaiError
from ..mai.in_flight import SENT, Siblings
from ..mai.types import Progress, Request, Result
from .results import Batch, raise_failures

if TYPE_CHECKING:
    from ..mai.client import Client

logger = logging.getLogger(__name__)

POLL = 0.1
"""Seconds between looks for a cancel: ComfyUI does not wake a node that awaits."""

MANY, SLOWEST = 50, 0.5
"""Of more waiting nodes than MANY each looks less often, but every SLOWEST seconds: a thousand that
looked ten times a second would take most of a core."""


def command_line_here() -> str:
    """The shell's words that start `mai-image` of this pack, wherever they are typed."""
    pack = Path(__file__).parent.parent.absolute()
    change = ["cd", "/d"] if os.name == "nt" else ["cd"]
    start = ["&&", _quoted(sys.executable), "-m", f"{pack.name}.cli"]
    return " ".join([*change, _quoted(str(pack.parent)), *start])


def _quoted(path: str) -> str:
    if os.name == "nt":
        return f'"{path}"' if " " in path else path
    return shlex.quote(path)


class SharedClient:
    """The one client of this process, started by its first use; safe for threads."""

    def __init__(self, start: Callable[[], Client]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._client: Client | None = None

    def get(self) -> Client:
        """The client; MaiError if a package that it needs isn't installed."""
        with self._lock:
            if self._client is None:
                try:
                    self._client = self._start()
                except ModuleNotFoundError as error:
                    raise MaiError(
                        f"The Python package {error.name} isn't installed.",
                        "Run `python -m pip install -r requirements.txt` in the pack's folder with "
                        "the Python that runs ComfyUI, then start ComfyUI again.",
                    ) from error
            return self._client

    def replace(self, client: Client | None) -> None:
        """Use another client from now on; with None the next use starts a new one."""
        with self._lock:
            self._client = client

    def close(self) -> None:
        """Wait for paid calls, if a client was started."""
        if self._client is not None:
            self._client.close()


def data_path() -> Path:
    """Where profiles.toml, store and ledger lie: ComfyUI's system user directory."""
    return Path(folder_paths.get_system_user_directory("mai"))


def _start_client() -> Client:
    # Imported here: httpx, SQLite and the providers would add to ComfyUI's start.
    from ..mai.client import Client
    from ..mai.profiles import Profiles

    folder = data_path()
    key = secrets.token_hex(16)
    profiles = Profiles(folder, emulator_key=key)
    return Client(folder, profiles, launch_emulator=partial(_launch_emulator, key))


def _launch_emulator(key: str) -> str:
    """Start the built-in emulator, which nobody but this process can call; gives its address."""
    from ..emulator import Options, start
    from ..mai.profiles import emulator_directives

    emulator = start(options=Options(key=key, built_in=True, directives=emulator_directives()))
    atexit.register(emulator.stop)
    return emulator.url


shared_client = SharedClient(_start_client)
"""Its files lie in ComfyUI's system user directory."""


def finish_calls_on_terminate() -> None:
    """Let SIGTERM wait for paid calls as leaving by Ctrl-C does, where nobody else handles it.

    Without a handler SIGTERM (docker stop, systemd) ends Python at once and loses images that
    are already paid for.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if os.name == "posix" and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    # A Ctrl-C on top of it must not cut short the wait for what is paid.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    shared_client.close()
    os.kill(os.getpid(), number)


async def run_requests(
    requests: Sequence[Request], profile: str, node_id: str | None, if_blocked: str
) -> Batch:
    """Submit all requests at once and wait until each has its image or its error.

    Raises InterruptProcessingException within SLOWEST seconds of a cancel, and one MaiError for all
    that failed; `if_blocked` "skip" leaves blocked images out. A refusal that all calls of the
    prompt to that profile would get ends the wait of all of them. Calls that were sent go on
    without the node, and their images are stored.
    """
    display = _ProgressDisplay(len(requests), node_id)
    client = shared_client.get()
    from ..mai.profiles import EMULATOR  # not at ComfyUI's start: it would load httpx

    run = _this_run()
    most = client.profiles.max_images_per_node(profile)
    run.count_images(len(requests), node_id or "", most, profile)
    if len(requests) > 1:  # of one alone the ledger says it
        await asyncio.to_thread(client.check_affordable, requests, profile)
    siblings = run.siblings[str(profile)]  # over the API it can be anything
    futures = [
        siblings.submit(client, request, profile, partial(operator.setitem, display.states, i))
        for i, request in enumerate(requests)
    ]
    batch = Batch(requests, emulated=profile == EMULATOR)
    for i, outcome in enumerate(await _wait(futures, display, siblings)):
        if isinstance(outcome, MaiError):
            batch.errors[i] = outcome
        elif isinstance(outcome, BaseException):
            raise outcome
        batch.results.append(None if isinstance(outcome, MaiError) else outcome)
    if siblings.refusal is not None:
        batch.put_first(siblings.refusal)
        batch.sent = display.sent_of(futures)
    display.finish(batch)
    raise_failures(batch, if_blocked)
    return batch


@dataclass
class _PromptRun:
    """What the nodes of one prompt have in common: by profile the calls that end together, and by
    node id the images that were ordered."""

    siblings: defaultdict[str, Siblings] = field(default_factory=lambda: defaultdict(Siblings))
    ordered: Counter[str] = field(default_factory=Counter)

    def count_images(self, count: int, node_id: str, most: int, profile: str) -> None:
        """Raise InputError where a node would order more images than its profile allows in one run.

        A node that gets a list runs once for each item: their images count together.
        """
        whole = self.ordered[node_id] + count
        if whole > most:
            raise InputError(
                f"This node would order {whole:,} images in one run; the profile {profile!r} "
                f"allows {most}. {count} of them were not sent.",
                "Connect fewer images or list items, or set max_images_per_node in the profile.",
            )
        self.ordered[node_id] = whole


_runs_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, defaultdict[str, _PromptRun]] = (
    WeakKeyDictionary()
)
"""By event loop and prompt id. ComfyUI runs each prompt in a loop of its own: what a refusal ended
stays so for the nodes and list items that begin later, and no longer than the run."""


def _this_run() -> _PromptRun:
    """The prompt that runs now; outside of one, a run of its own."""
    prompt_id = _prompt_id()
    if prompt_id is None:
        return _PromptRun()
    of_loop = _runs_by_loop.setdefault(asyncio.get_running_loop(), defaultdict(_PromptRun))
    return of_loop[prompt_id]


def _prompt_id() -> str | None:
    """The id of the prompt whose node runs in this task; None where ComfyUI doesn't say."""
    try:
        from comfy_execution.utils import get_executing_context
    except ImportError:
        return None
    context = get_executing_context()
    return None if context is None else context.prompt_id


_waiting_nodes = 0


async def _wait(
    futures: Sequence[Future[Result]], display: _ProgressDisplay, siblings: Siblings
) -> list[Result | BaseException]:
    global _waiting_nodes
    finished = asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
    _waiting_nodes += 1  # only ever in the thread that runs prompts
    try:
        while not finished.done() and siblings.refusal is None:
            pause = min(POLL * max(1.0, _waiting_nodes / MANY), SLOWEST)
            await asyncio.wait([finished], timeout=pause)
            if model_management.processing_interrupted():
                raise model_management.InterruptProcessingException()
            await display.show(futures)
        return [_outcome(future, siblings.refusal) for future in futures]
    except BaseException:
        # Also where another node failed, and ComfyUI ends those that still wait.
        display.cancel(futures)
        raise
    finally:
        _waiting_nodes -= 1
        for future in futures:
            future.cancel()


def _outcome(future: Future[Result], refusal: MaiError | None) -> Result | BaseException:
    """What a call gave; the refusal where that ended the wait for it."""
    if refusal is not None and (future.cancelled() or not future.done()):
        return refusal
    return future.exception() or future.result()


def _asking_page() -> str | None:
    """The client id of the page that queued the prompt which runs now; None where none did.

    ComfyUI sends what names no client to every page that is connected, also other users'.
    """
    client_id = PromptServer.instance.client_id
    return client_id if isinstance(client_id, str) and client_id else None


class _ProgressDisplay:
    """The node's progress text and bar, fed from the client's thread, for the page that asked."""

    def __init__(self, count: int, node_id: str | None) -> None:
        self._count, self._node_id = count, node_id
        self._page = _asking_page()
        self.states: list[Progress | None] = [None] * count
        self._started = time.monotonic()
        self._shown: tuple[str, int] = ("", -1)

    def sent_of(self, futures: Sequence[Future[Result]]) -> int:
        """How many calls go on without the node: the service has them."""
        return sum(
            state is not None and state.phase in SENT and (future.cancelled() or not future.done())
            for state, future in zip(self.states, futures, strict=True)
        )

    async def show(self, futures: Sequence[Future[Result]]) -> None:
        """Send what changed to the page: at most one text a second, the bar per image."""
        if self._node_id is None or self._page is None:
            return
        done = sum(future.done() for future in futures)
        seconds = time.monotonic() - self._started
        text = _describe(self.states, done, seconds, _typical_seconds(futures))
        if text != self._shown[0]:
            self._say(text)
        # Each step of a bar sends the state of every node of the prompt; of one image there is
        # no step between none and all.
        if done != self._shown[1] and self._count > 1:
            await ComfyAPI().execution.set_progress(done, self._count, self._node_id)
        self._shown = (text, done)

    def finish(self, batch: Batch) -> None:
        """Leave cost and seconds on the node, and how many images did not come."""
        if self._node_id is None or self._page is None:
            return
        blocked = sum(isinstance(error, BlockedError) for error in batch.errors.values())
        counts = {
            "from the store": sum(result.from_store for result in batch.images),
            "blocked": blocked,
            "failed": len(batch.errors) - blocked,
        }
        parts = [batch.cost_text] if batch.images else []
        parts.append(f"{time.monotonic() - self._started:.0f} s")
        parts += [f"{count} {what}" for what, count in counts.items() if count]
        self._say(" · ".join(parts))

    def cancel(self, futures: Sequence[Future[Result]]) -> None:
        """Put an end to what stands on the node: nothing waits for its turn any more."""
        sent = self.sent_of(futures)
        kept = [f"{sent} sent before will be kept"] if sent else []
        self._say(" · ".join(["stopped", *kept]))

    def _say(self, text: str) -> None:
        if self._node_id is not None and self._page is not None:
            PromptServer.instance.send_progress_text(text, self._node_id, sid=self._page)


_JOB_PHASES = ("queued", "processing")
"""What a gateway says of a job that is under way."""


TYPICAL = 20.0
"""Seconds that a call is taken for until one of the batch has come: 10 to 100 were measured."""


def _typical_seconds(futures: Sequence[Future[Result]]) -> float:
    """What one more call will take: as long as the longest of the batch that came."""
    came = [each.result() for each in futures if each.done() and not each.cancelled()
            and each.exception() is None]  # fmt: skip
    return max((result.seconds for result in came if not result.from_store), default=TYPICAL)


def _roughly(seconds: float) -> str:
    """A time for reading that doesn't change with every second: "35 s", "4 min"."""
    if seconds < 90:
        return f"{5 * math.ceil(seconds / 5)} s"
    return f"{math.ceil(seconds / 60)} min"


def _describe(
    states: Sequence[Progress | None], done: int, seconds: float, typical: float = TYPICAL
) -> str:
    """One line on what the calls are doing: "sent 2 of 4 · 14 s".

    While some wait it says when all will be there, if a call takes `typical` seconds.
    """
    known = [state for state in states if state is not None]
    phases = [state.phase for state in known]
    count, now = len(states), time.monotonic()
    elsewhere = [state.reason for state in known if state.phase == "joined" and state.reason]
    sent = sum(phase in ("sent", "joined", *_JOB_PHASES) for phase in phases) - len(elsewhere)
    parts = [f"sent {sent} of {count}"]
    if done and count > 1:
        parts.append(f"{done} done")
    parts += [f"waiting for {reason}" for reason in elsewhere][:1]
    held_up = [state.reason for state in known if state.phase == "waiting" and state.reason]
    parts += [f"waiting: {reason}" for reason in held_up][:1]
    waits = [state for state in known if state.phase == "waiting" and state.until]
    if waits:
        first = min(waits, key=lambda state: state.until or now)
        if first.rpm:
            parts.append(f"{first.rpm:g} requests a minute")
        parts.append(f"your turn in {max(0.0, (first.until or now) - now):.0f} s")
        if count > 1:
            last = max(state.until or now for state in waits)
            parts.append(f"all in about {_roughly(max(0.0, last - now) + typical)}")
    for phase in _JOB_PHASES:
        if phase in phases:
            parts.append(f"{phases.count(phase)} {phase}" if count > 1 else phase)
    polls = [state.reason for state in known if state.phase in _JOB_PHASES]
    parts += [reason for reason in polls if reason][:1]
    retries = [state.reason for state in known if state.phase == "retrying"]
    parts += [f"{reason}, trying again" for reason in retries][:1]
    return " · ".join([*parts, f"{seconds:.0f} s"])


def show_notes(node: str, node_id: str | None, notes: Sequence[str]) -> None:
    """Show sentences as the progress text of the node `node_id`, and log them under `node`.

    For nodes without an `info` output.
    """
    for note in notes:
        logger.info("%s: %s", node, note)
    page = _asking_page()
    if notes and node_id is not None and page is not None:
        PromptServer.instance.send_progress_text("\n".join(notes), node_id, sid=page)
