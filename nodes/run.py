"""What every paid node shares: the client, and the wait for it with progress and cancel."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
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
from ..mai.types import Progress, Request, Result, request_key
from .delivery import NodeOrders
from .inputs import ORDER, SKIP_FAILURES, WAIT
from .results import Batch, Totals, raise_failures

if TYPE_CHECKING:
    from comfy_execution.utils import ExecutionContext

    from ..mai.client import Client

logger = logging.getLogger(__name__)

POLL = 0.1
"""Seconds between looks for a cancel: ComfyUI does not wake a node that awaits."""

ROUNDS = 4
"""Of the event loop, in which a list's next item begins if there is one: it takes one or two."""

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
    requests: Sequence[Request],
    profile: str,
    node_id: str | None,
    if_blocked: str,
    delivery: str = WAIT,
) -> Batch:
    """Submit all requests at once and wait until each has its image or its error.

    With `delivery` "order and go on" it doesn't wait for what is missing: `Batch.ordered` says how
    much that is, and a later run collects it.

    Raises InterruptProcessingException within SLOWEST seconds of a cancel, and one MaiError for all
    that failed; `if_blocked` "skip" leaves blocked images out, "skip failures" all that failed as
    long as one came. A refusal that all calls of the prompt to that profile would get ends the wait
    of all of them, with "skip failures" of those that aren't sent. Calls that were sent go on
    without the node, and their images are stored.
    """
    run = this_run()
    display = run.display_of(node_id)
    progress = display.add(len(requests))
    client = shared_client.get()
    from ..mai.profiles import EMULATOR  # not at ComfyUI's start: it would load httpx

    most = client.profiles.max_images_per_node(profile)
    run.count_images(len(requests), node_id or "", most, profile)
    orders = NodeOrders(client, node_id or "", requests, profile, collects=delivery == ORDER)
    await asyncio.to_thread(orders.look)
    if len(requests) > 1:  # of one alone the ledger says it
        await asyncio.to_thread(client.check_affordable, orders.wanted(), profile)
    siblings = run.siblings[str(profile)]  # over the API it can be anything
    skips = if_blocked == SKIP_FAILURES
    if orders.collects:
        unfinished = await orders.place(siblings, run.prompt_id)
        display.order(progress, orders.counts())
        if unfinished is not None:
            raise_failures(unfinished, if_blocked)
            return unfinished
    free = await _free_in_spite(siblings, client, requests, profile) if skips else set()
    for i, request in enumerate(requests):
        on_progress = partial(operator.setitem, progress.states, i)
        submit = client.submit if i in free else partial(siblings.submit, client)
        known = orders.told(i) or (_known_block(request, profile) if skips and _blocked else None)
        progress.futures.append(known or submit(request, profile, on_progress))
    batch = Batch(requests, emulated=profile == EMULATOR)
    for i, outcome in enumerate(await _wait(display, progress, siblings, skips)):
        if isinstance(outcome, MaiError):
            batch.errors[i] = outcome
        elif isinstance(outcome, BaseException):
            raise outcome
        batch.results.append(None if isinstance(outcome, MaiError) else outcome)
    if siblings.refusal is not None and batch.errors:
        batch.put_first(siblings.refusal)
        batch.sent = progress.sent
    display.finish(progress, batch)
    if skips:
        _remember_blocked(batch, profile)
    await orders.collected(siblings.refusal)
    raise_failures(batch, if_blocked)
    if skips:
        note_failures(node_id, list(batch.errors.values()))
    return batch


def _remember_blocked(batch: Batch, profile: str) -> None:
    """A row that the content filter has stopped isn't paid again for the sake of others' failures:
    the next run that skips failures gets the same error."""
    for i, error in batch.errors.items():
        if isinstance(error, BlockedError):
            future: Future[Result] = Future()
            future.set_exception(error)
            _blocked[request_key(batch.requests[i], str(profile))] = future
    while len(_blocked) > MOST_BLOCKED:
        del _blocked[next(iter(_blocked))]


def _known_block(request: Request, profile: str) -> Future[Result] | None:
    return _blocked.get(request_key(request, str(profile)))


async def _free_in_spite(
    siblings: Siblings, client: Client, requests: Sequence[Request], profile: str
) -> set[int]:
    """The requests that cost nothing, so that an earlier refusal doesn't concern them."""
    if siblings.refusal is None:
        return set()

    def look() -> set[int]:
        with contextlib.suppress(MaiError):
            return {i for i, each in enumerate(requests) if client.is_free(each, profile)}
        return set()

    return await asyncio.to_thread(look)


MOST_BLOCKED = 10_000
"""Requests that are remembered."""

_blocked: dict[str, Future[Result]] = {}
"""Requests that the content filter has stopped since ComfyUI's start, by their key."""

_skipped_failures: Counter[str] = Counter()
"""By node id, the failures that were skipped and may go better in the next run."""


def note_failures(node_id: str | None, errors: list[MaiError]) -> None:
    """These failures were skipped. What the content filter stops, it would stop again."""
    _skipped_failures[node_id or ""] += sum(not isinstance(error, BlockedError) for error in errors)


def fingerprint(node_id: str | None, if_blocked: object, delivery: str | None) -> tuple[int, int]:
    """What makes ComfyUI run a node again although its inputs are the same: failures that it
    skipped, and orders that have ended. What came is free then.

    `delivery` is None where another node computes it. Some versions of ComfyUI tell a fingerprint
    its node's id only by the context that it runs in.
    """
    context = _executing_context()
    node_id = node_id or (context.node_id if context is not None else "")
    skipped = _skipped_failures[node_id] if if_blocked == SKIP_FAILURES else 0
    return skipped, 0 if delivery == WAIT else shared_client.get().orders.ended(node_id)


@dataclass
class ListItems:
    """The items of a list that one node runs side by side: how many began, ended and gave an image.
    `refusal` is the first error that all others would get as well."""

    begun: int = 0
    ended: int = 0
    came: int = 0
    refusal: MaiError | None = None

    async def all_begun(self) -> None:
        """Wait until ComfyUI has begun with the last item: it begins one each time that its event
        loop goes around."""
        before = -1
        while before != self.begun:
            before = self.begun
            for _ in range(ROUNDS):
                await asyncio.sleep(0)


@dataclass
class PromptRun:
    """What the nodes of one prompt have in common: by profile the calls that end together, and by
    node id the images that were asked for, the items of a list, and what shows their progress."""

    prompt_id: str = ""
    siblings: defaultdict[str, Siblings] = field(default_factory=lambda: defaultdict(Siblings))
    asked: Counter[str] = field(default_factory=Counter)
    items: defaultdict[str, ListItems] = field(default_factory=lambda: defaultdict(ListItems))
    displays: dict[str, _ProgressDisplay] = field(default_factory=dict)

    def display_of(self, node_id: str | None) -> _ProgressDisplay:
        """What shows a node's progress: one for all items of a list."""
        display = self.displays.get(node_id or "")
        if display is None:
            display = self.displays[node_id or ""] = _ProgressDisplay(node_id)
        return display

    def count_images(self, count: int, node_id: str, most: int, profile: str) -> None:
        """Raise InputError where a node would order more images than its profile allows in one run.

        A node that gets a list runs once for each item: their images count together.
        """
        whole = self.asked[node_id] + count
        if whole > most:
            raise InputError(
                f"This node would order {whole:,} images in one run; the profile {profile!r} "
                f"allows {most}. {count} of them were not sent.",
                "Connect fewer images or list items, or set max_images_per_node in the profile.",
            )
        self.asked[node_id] = whole


_runs_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, PromptRun]] = (
    WeakKeyDictionary()
)
"""By event loop and prompt id. ComfyUI runs each prompt in a loop of its own: what a refusal ended
stays so for the nodes and list items that begin later, and no longer than the run."""


def this_run() -> PromptRun:
    """The prompt that runs now; outside of one, a run of its own."""
    context = _executing_context()
    if context is None:
        return PromptRun()
    of_loop = _runs_by_loop.setdefault(asyncio.get_running_loop(), {})
    return of_loop.setdefault(context.prompt_id, PromptRun(context.prompt_id))


def _executing_context() -> ExecutionContext | None:
    """Which prompt and node run in this task; None where ComfyUI doesn't say."""
    try:
        from comfy_execution.utils import get_executing_context
    except ImportError:
        return None
    return get_executing_context()


_waiting_nodes = 0


async def _wait(
    display: _ProgressDisplay, progress: _ItemProgress, siblings: Siblings, skips: bool
) -> list[Result | BaseException]:
    """What each call gave. After a refusal nobody waits, or with `skips` for what is free or sent
    alone."""
    global _waiting_nodes
    futures = progress.futures
    finished = asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
    _waiting_nodes += 1  # only ever in the thread that runs prompts
    try:
        while not finished.done() and (skips or siblings.refusal is None):
            pause = min(POLL * max(1.0, _waiting_nodes / MANY), SLOWEST)
            await asyncio.wait([finished], timeout=pause)
            if model_management.processing_interrupted():
                raise model_management.InterruptProcessingException()
            await display.show()
        return [_outcome(future, siblings.refusal) for future in futures]
    except BaseException:
        # Also where another node failed, and ComfyUI ends those that still wait.
        display.cancel()
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


@dataclass(eq=False)
class _ItemProgress:
    """The calls of one item of a list, or of a node that has no list: what each does now.

    `ended`: all have their outcome, or are ordered for a later run.
    """

    states: list[Progress | None]
    futures: list[Future[Result]] = field(default_factory=list)
    ended: bool = False

    @property
    def sent(self) -> int:
        """How many calls go on without the node: the service has them."""
        return sum(
            state is not None and state.phase in SENT and (future.cancelled() or not future.done())
            for state, future in zip(self.states, self.futures, strict=False)
        )


class _ProgressDisplay:
    """A node's progress text and bar, fed from the client's thread, for the page that asked."""

    def __init__(self, node_id: str | None) -> None:
        self._node_id = node_id
        self._page = _asking_page()
        self._items: list[_ItemProgress] = []
        self._totals = Totals()
        self._orders: Counter[str] = Counter()
        self._started = time.monotonic()
        self._shown: tuple[str, int] = ("", -1)

    def add(self, count: int) -> _ItemProgress:
        """One more item, of `count` images."""
        item = _ItemProgress([None] * count)
        self._items.append(item)
        return item

    async def show(self) -> None:
        """Send what changed to the page: at most one text a second, the bar per image."""
        if self._node_id is None or self._page is None:
            return
        states = [state for item in self._items for state in item.states]
        futures = [future for item in self._items for future in item.futures]
        done = sum(future.done() for future in futures)
        done += sum(len(item.states) for item in self._items if item.ended)
        seconds = time.monotonic() - self._started
        typical = _typical_seconds(futures, self._totals.longest)
        text = _describe(states, done, seconds, typical)
        if text != self._shown[0]:
            self._say(text)
        # Each step of a bar sends the state of every node of the prompt; of one image there is
        # no step between none and all.
        if done != self._shown[1] and len(states) > 1:
            await ComfyAPI().execution.set_progress(done, len(states), self._node_id)
        self._shown = (text, done)

    def finish(self, item: _ItemProgress, batch: Batch) -> None:
        """Leave the cost so far, the seconds, and what did not come.

        Where other items of a list are ordered it says how many, in place of all that.
        """
        item.futures, item.ended = [], True  # they hold the images
        self._totals.add(batch)
        if self._orders["ordered"]:
            self._say_orders()
            return
        totals = self._totals
        counts = {
            "from the store": totals.from_store,
            "blocked": totals.blocked,
            "failed": totals.failed,
        }
        parts = [totals.cost_text] if totals.images else []
        parts.append(f"{time.monotonic() - self._started:.0f} s")
        parts += [f"{count} {what}" for what, count in counts.items() if count]
        self._say(" · ".join(parts))

    def order(self, item: _ItemProgress, counts: Counter[str]) -> None:
        """Add to what the node orders, all items of a list together, and leave it there."""
        item.ended = counts["ordered"] > 0
        self._orders.update(counts)
        if self._orders["ordered"]:
            self._say_orders()

    def _say_orders(self) -> None:
        """Say what is ordered: "4 ordered · 2 from the store"."""
        whats = ("ordered", "from the store", "failed")
        self._say(
            " · ".join(f"{self._orders[what]} {what}" for what in whats if self._orders[what])
        )

    def cancel(self) -> None:
        """Say that nothing waits any more, and what will be kept."""
        sent = sum(item.sent for item in self._items)
        kept = [f"{sent} sent before will be kept"] if sent else []
        self._say(" · ".join(["stopped", *kept]))

    def _say(self, text: str) -> None:
        if self._node_id is not None and self._page is not None:
            PromptServer.instance.send_progress_text(text, self._node_id, sid=self._page)


_JOB_PHASES = ("queued", "processing")
"""What a gateway says of a job that is under way."""


TYPICAL = 20.0
"""Seconds that a call is taken for until one of the batch has come: 10 to 100 were measured."""


def _typical_seconds(futures: Sequence[Future[Result]], longest: float) -> float:
    """What one more call will take: as long as the longest that came, `longest` of ended items."""
    came = [each.result() for each in futures if each.done() and not each.cancelled()
            and each.exception() is None]  # fmt: skip
    seconds = [result.seconds for result in came if not result.from_store]
    return max([longest, *seconds]) or TYPICAL


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


async def show_bar(done: int, count: int, node_id: str | None) -> None:
    """Show on the node `node_id` how many of several images are done."""
    if count > 1 and node_id is not None and _asking_page() is not None:
        await ComfyAPI().execution.set_progress(done, count, node_id)


def show_notes(node: str, node_id: str | None, notes: Sequence[str]) -> None:
    """Show sentences as the progress text of the node `node_id`, and log them under `node`.

    For nodes without an `info` output.
    """
    for note in notes:
        logger.info("%s: %s", node, note)
    page = _asking_page()
    if notes and node_id is not None and page is not None:
        PromptServer.instance.send_progress_text("\n".join(notes), node_id, sid=page)
