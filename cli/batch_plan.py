"""What a batch file comes to before anything is sent: its images, their price, and how long."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from ..mai.bulk import IMAGE_COLUMNS, Record, Row, RowCheck, RowMistake, Settings, read_records
from ..mai.client import Client
from ..mai.errors import MaiError, OptionError
from ..mai.models import CATALOGUE
from ..mai.profiles import Profile
from ..mai.providers import PROVIDERS, round_up
from ..mai.types import Edit, Generate, Reference, Request, request_key
from ..mai.validation import snap_request
from .batch_folder import BatchFolder
from .image_files import read_reference
from .masks import check_mask
from .progress import in_words

KEPT_REFERENCES = 8
"""Reference files that stay in memory, as neighbouring rows often share them."""

CALL_SECONDS = 30.0
"""What an image takes, about: 10 to 100 s."""


@dataclass(frozen=True)
class BatchImage:
    """One image of a row: its request, and what it costs at most, or about, if it is bought.

    `key` is its key in the store; `mark` tells it from other images of the folder, also from those
    of the same request with another mask. `old_key` is its key in version 0.1.
    """

    row: Row
    n: int
    file: str
    request: Request
    key: str
    old_key: str
    mark: str
    estimate: float
    why_unbounded: str

    @property
    def bytes(self) -> int:
        """Bytes of its references."""
        images = self.request.images if isinstance(self.request, Edit) else ()
        return sum(len(image.data) for image in images)


class ImageBuilder:
    """Makes the images of rows."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._references: OrderedDict[tuple[Path, str], Reference] = OrderedDict()
        self._masks: dict[tuple[Path, Path], str] = {}

    def images_of(self, row: Row) -> Iterator[BatchImage]:
        """Each image of a row, by n. MaiError: one of its files or its profile can't be used."""
        profile = self._client.profiles.get(row.profile)
        references = tuple(self._reference(path, row.model) for path in row.images)
        mask = self._mask(row)
        for n in range(row.count):
            request, _ = snap_request(_request(row, n, references))
            provider = PROVIDERS[profile.service]
            provider.validate(request)
            key = request_key(request, profile.store_identity)
            emulated, step = profile.emulated, provider.price_step
            yield BatchImage(
                row,
                n,
                row.files[n],
                request,
                key,
                request_key(request, profile.store_service),
                f"{key}+{mask}" if mask else key,
                0.0 if emulated else round_up(CATALOGUE[row.model].estimate(request), step),
                profile.why_unbounded(request),
            )

    def _reference(self, path: Path, model: str) -> Reference:
        known = self._references.pop((path, model), None)
        reference = known or read_reference(path, model)
        self._references[path, model] = reference
        if len(self._references) > KEPT_REFERENCES:
            self._references.popitem(last=False)
        return reference

    def _mask(self, row: Row) -> str:
        """What tells the row's mask from others; "" where there is none."""
        if row.mask is None:
            return ""
        pair = (row.mask, row.images[0])
        if pair not in self._masks:
            if len(self._masks) > KEPT_REFERENCES:
                self._masks.clear()
            check_mask(*pair)
            self._masks[pair] = hashlib.sha256(row.mask.read_bytes()).hexdigest()[:16]
        return self._masks[pair]


def _request(row: Row, n: int, references: tuple[Reference, ...]) -> Request:
    prompt, seed = row.prompts[n], row.seed + n
    options = {
        "auto_aspect_ratio": row.auto_aspect_ratio,
        "web_grounding": row.web_grounding,
        "background": row.background,
    }
    if references:
        edit = Edit(row.model, prompt, references, seed, row.size)
        return replace(edit, **options)  # type: ignore[arg-type]
    width, height = row.size or (1024, 1024)
    return replace(Generate(row.model, prompt, width, height, seed), **options)  # type: ignore[arg-type]


@dataclass
class Lane:
    """The images that wait for the same deployments; `rpm` are all of their requests a minute."""

    rpm: float | None
    images: int = 0


@dataclass
class Plan:
    """All of a file, counted. `usd` is the price of what is to be bought; `why_unbounded` is why it
    may be more, "" where it can't; `lanes` are by model and profile."""

    rows: int = 0
    images: int = 0
    there: int = 0
    stored: int = 0
    blocked: int = 0
    repeated: int = 0
    bought: int = 0
    usd: float = 0.0
    why_unbounded: str = ""
    lanes: dict[tuple[str, str], Lane] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    retired: Counter[str] = field(default_factory=Counter)

    @property
    def free(self) -> int:
        """Images that cost nothing."""
        return self.there + self.stored + self.repeated

    def facts(self) -> dict[str, object]:
        """The plan for programs; `seconds` None: not known before the first answers."""
        return {
            "rows": self.rows,
            "images": self.images,
            "from_store": self.stored,
            "in_folder": self.there,
            "to_buy": self.bought,
            "usd": round(self.usd, 6),
            "price_is_bound": not self.why_unbounded,
            "seconds": self.seconds,
        }

    @property
    def seconds(self) -> float | None:
        """How long it takes, about; None where a lane's requests a minute aren't known."""
        if not self.bought:
            return 0.0
        lanes = [lane for lane in self.lanes.values() if lane.images]
        if any(lane.rpm is None for lane in lanes):
            return None
        return CALL_SECONDS + max(lane.images * 60 / (lane.rpm or 1) for lane in lanes)


class Planner:
    """Checks a whole file and counts what it comes to; `mistakes` are all that is wrong."""

    def __init__(self, client: Client, settings: Settings, folder: BatchFolder) -> None:
        self._client = client
        self._folder = folder
        self._settings = settings
        self._check = RowCheck(settings)
        self._builder = ImageBuilder(client)
        self._keys: set[bytes] = set()
        self.plan = Plan()
        self.mistakes: list[RowMistake] = []

    def read(self, stream: BinaryIO, kind: str) -> Plan:
        """Go through the file once."""
        for record in read_records(stream, kind):
            row = self._check.check(record)
            self.plan.rows += 1
            try:
                if row is not None:
                    self._count_row(row)
            except MaiError as error:
                self._note(record.line, error)
                row = None
            if row is None and isinstance(record, Record):
                self._look_at_rest(record)
        self.mistakes = self._check.finish()
        if not self.plan.rows:
            self.mistakes.append(RowMistake(1, "There is no row in this file."))
        return self.plan

    def _note(self, line: int, error: MaiError) -> None:
        mistake = RowMistake(line, " ".join(f"{error.what} {error.hint}".split()))
        if mistake not in self._check.mistakes[-10:]:
            self._check.mistakes.append(mistake)

    def _look_at_rest(self, record: Record) -> None:
        """What else is wrong with a row that has a mistake: its profile, its images, its mask."""
        cells = {name: value.strip() for name, value in record.cells.items()}
        try:
            self._client.profiles.get(cells.get("profile") or self._settings.profile)
        except MaiError as error:
            self._note(record.line, error)
        model = cells.get("model", "")
        paths = {
            name: self._settings.images / os.path.expanduser(cells[name])
            for name in (*IMAGE_COLUMNS, "mask")
            if cells.get(name)
        }
        for column, path in paths.items():
            try:
                if not path.is_file():
                    continue
                if column != "mask":
                    read_reference(path, model if model in CATALOGUE else self._settings.model)
                elif "image_1" in paths and paths["image_1"].is_file():
                    check_mask(path, paths["image_1"])
            except MaiError as error:
                self._note(record.line, error)
            except (OSError, ValueError):  # no name that a file can have: told already
                continue

    def _count_row(self, row: Row) -> None:
        profile = self._client.profiles.get(row.profile)
        if CATALOGUE[row.model].is_retired:
            self.plan.retired[row.model] += row.count
        for image in self._builder.images_of(row):
            self._count(image, profile)

    def _count(self, image: BatchImage, profile: Profile) -> None:
        plan = self.plan
        plan.images += 1
        plan.folders.add(image.file.rpartition("/")[0])
        key = bytes.fromhex(image.key)
        if self._folder.has(image):
            plan.there += 1
            self._keys.add(key)
            return
        self._folder.refuse_unusable(image)
        if is_stored(self._client, image):
            plan.stored += 1
        elif self._folder.was_blocked(image):
            plan.blocked += 1
        else:
            self._folder.refuse_strange(image)
            if key in self._keys:
                plan.repeated += 1
            else:
                self._add_bought(image, profile)
        self._keys.add(key)

    def _add_bought(self, image: BatchImage, profile: Profile) -> None:
        plan = self.plan
        if profile.budget.strict and image.why_unbounded:
            raise OptionError(
                f"The budget of profile {profile.name!r} is strict, and nobody knows what this "
                f"costs at most: {image.why_unbounded}.",
                "Choose another model or option, or set strict = false in the profile's budget.",
            )
        plan.bought += 1
        plan.usd += image.estimate
        plan.why_unbounded = plan.why_unbounded or image.why_unbounded
        model = image.request.model
        lane = plan.lanes.get((model, profile.name))
        if lane is None:
            rpm = profile.rpm(CATALOGUE[model])
            count = len(profile.deployments_for(model))
            lane = plan.lanes[model, profile.name] = Lane(None if rpm is None else rpm * count)
        lane.images += 1


def is_stored(client: Client, image: BatchImage) -> bool:
    """Whether the store has something for the request, so that it costs nothing."""
    if image.key in client.store.find(image.key):
        return True
    return image.old_key != image.key and image.old_key in client.store.find(image.old_key)


def plan_lines(plan: Plan, limit_usd: float | None) -> list[str]:
    """The plan as a table for a person."""
    about = "≈" if plan.why_unbounded else "≤"
    rows = [
        ("rows", f"{plan.rows:,}"),
        ("images", f"{plan.images:,}"),
        ("free", f"{plan.free:,}: {plan.stored:,} in the store, {plan.there:,} in the folder"
         + (f", {plan.repeated:,} asked for twice" if plan.repeated else "")),
        ("to buy", f"{plan.bought:,}"),
        ("price", f"{about} ${plan.usd:,.4f}" if plan.usd else "$0"),
        ("requests a minute", _rates(plan)),
        ("done", _end(plan)),
    ]  # fmt: skip
    lines = [f"{name:18} {text}" for name, text in rows]
    if plan.why_unbounded:
        lines.append(f"≈: it may be more, as {plan.why_unbounded}.")
    if plan.blocked:
        lines.append(
            f"{plan.blocked:,} were blocked before and aren't sent again: change them, or give "
            "errors.jsonl as the file."
        )
    for model, count in plan.retired.items():
        lines.append(f"{count:,} ask for {model}. {CATALOGUE[model].retirement_note()}")
    if limit_usd is not None and plan.usd > limit_usd:
        fits = int(plan.bought * limit_usd / plan.usd)
        lines.append(f"--max-usd ${limit_usd:g} ends it after about {fits:,} of {plan.bought:,}.")
    return lines


def _rates(plan: Plan) -> str:
    lanes = list(plan.lanes.items())
    if not lanes:
        return "none needed"
    texts = []
    for (model, profile), lane in lanes[:5]:
        rate = "not known, learned from the answers" if lane.rpm is None else f"{lane.rpm:,g}"
        texts.append(rate if len(lanes) == 1 else f"{rate} ({model}, {profile})")
    return "; ".join([*texts, *(["…"] if len(lanes) > 5 else [])])


def _end(plan: Plan) -> str:
    seconds = plan.seconds
    if seconds is None:
        return "not known before the first answers"
    if not plan.bought:
        return "at once"
    end = time.localtime(time.time() + seconds)
    return f"about {time.strftime('%a %Y-%m-%d %H:%M', end)} (in {in_words(seconds)})"
