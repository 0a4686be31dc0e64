"""The catalogue: what each MAI image model can do, its limits and prices, as data.

Sources, read in November 2026: Microsoft Learn "Deploy and use MAI image models in Microsoft
Foundry" and its model table (MicrosoftDocs/azure-ai-docs, `use-foundry-models-mai.md` and
`models-azure-direct-others.md`) for versions, abilities, sizes and requests a minute; Azure's price
list for the USD per 1M tokens; measurements by independent clients where a constant says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import date

from .types import Edit, Generate, Request, Usage

READ_ON = date(2026, 11, 21)
"""The day on which Microsoft's retirement table was read."""

AUTO_ASPECT_RATIO, WEB_GROUNDING, BACKGROUND = "auto_aspect_ratio", "web_grounding", "background"
OPTIONS = (AUTO_ASPECT_RATIO, WEB_GROUNDING, BACKGROUND)
"""What some models can be asked for beside prompt, size and references: fields of the requests."""

STEP = 16
"""The service rounds each side down to a multiple of this, silently (measured: 1366 gives 1360)."""

MIN_SIDE = 768
"""Documented for every model; 767 is refused."""

PIXELS_2X = 1_056_768
"""2.x: 1,048,576 is documented; 1032x1024 is accepted and the refusal of 1033x1024 quotes this."""

PIXELS_26 = 2_359_296
"""2.6: 1536 x 1536, documented; a side may be longer than 1536."""

PIXELS_27 = 4_194_304
"""2.7: 2048 x 2048, seen in production at a reseller (November 2026)."""

PIXELS_PER_TOKEN = 1024
"""Output tokens = width * height / 1024 (documented, and measured: 768x768 gives 576)."""

PROMPT_TOKENS = 32_000
"""The documented prompt context."""

EDIT_PIXELS = PIXELS_2X
"""An edit of 2.5 comes back at about 1 MP in the input's aspect (measured: 553x311 gives
1360x768). Of later models it isn't known: see `Model.edit_pixels`."""

TEXT_OVERHEAD = 16
"""For estimates: tokens counted beside the prompt's own (measured: 10 in all for a few words)."""

PATCH_SIDE = 32
"""For estimates: references count as about width * height / 1024 tokens (measured once), which is
one for each patch of 32 x 32. From above: patches that the image only begins to fill count too."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per 1M tokens."""

    text_in: float
    image_in: float
    image_out: float


@dataclass(frozen=True, slots=True)
class Model:
    """One model. Pixels are width * height.

    `max_references` is 0 for a model that makes images from text only. `options` are names of
    OPTIONS; one that nobody has documented counts as not there. `edit_pixels` is the largest size
    at which an edit may come back, 0 without edits. `rpm_by_tier` are requests a minute at tiers 1
    to 6, empty where they aren't known. Where `price_known` is False, nobody has published the
    price, and the one here is that of a dearer model. `retired` is the day from which the service
    refuses the model, as far as one is known, `successor` the model to use instead.
    """

    name: str
    version: str
    max_pixels: int
    price: Price
    max_references: int = 0
    edit_pixels: int = 0
    options: frozenset[str] = frozenset()
    rpm_by_tier: tuple[float, ...] = ()
    min_side: int = MIN_SIDE
    price_known: bool = True
    retired: date | None = None
    successor: str = ""

    @property
    def can_edit(self) -> bool:
        """Whether the model takes references at all."""
        return self.max_references > 0

    @property
    def most_decoded(self) -> int:
        """Pixels of the largest image that is believed to be this model's: four times its limit."""
        return 4 * self.max_pixels

    @property
    def is_retired(self) -> bool:
        """Whether its day has come; a clock that is behind doesn't bring a model back."""
        return self.retired is not None and self.retired <= max(date.today(), READ_ON)

    @property
    def state(self) -> str:
        """ "preview", which all MAI models are while they live, or "retired"."""
        return "retired" if self.is_retired else "preview"

    def retirement_note(self) -> str:
        """A sentence with the day and the successor; "" for a model without such a day."""
        if self.retired is None:
            return ""
        verb = "was" if self.is_retired else "will be"
        after = f"; its successor is {self.successor}" if self.successor else ""
        return f"{self.name} {verb} retired on {self.retired.isoformat()}{after}."

    def cost(self, usage: Usage) -> float:
        """USD for the tokens that the service counted."""
        return (
            usage.text_in * self.price.text_in
            + usage.image_in * self.price.image_in
            + usage.image_out * self.price.image_out
        ) / 1_000_000

    def estimate(self, request: Request) -> float:
        """USD that one request costs at most, before it is sent; "about" unless `is_bound`."""
        return self.cost(estimate_usage(self, request))

    def is_bound(self, request: Request) -> bool:
        """Whether the request surely costs no more than its estimate."""
        return not self.why_unbounded(request)

    def why_unbounded(self, request: Request) -> str:
        """A clause on why the estimate is no upper bound; "" where it is one."""
        reasons = []
        if not self.price_known:
            reasons.append(f"the price of {self.name} isn't published")
        if request.web_grounding:
            reasons.append("what web_grounding reads and costs isn't documented")
        return " and ".join(reasons)


def estimate_usage(model: Model, request: Request) -> Usage:
    """The tokens of one request, from above: the largest image where the service chooses.

    An edit's `size` doesn't bound what comes back: some models ignore it (measured). What
    web_grounding reads isn't documented; it counts as all of the model's context.
    """
    pixels = model.max_pixels
    if not request.auto_aspect_ratio:
        if isinstance(request, Generate):
            pixels = request.width * request.height
        else:
            width, height = request.size or (0, 0)
            pixels = max(model.edit_pixels, width * height)
    # No byte-level tokenizer makes more tokens than a text has bytes: English needs about 4 bytes a
    # token, Chinese 3, but rare scripts and emoji come near 1.
    text = len(request.prompt.encode("utf-8", "replace"))
    if request.web_grounding:
        text = max(text, PROMPT_TOKENS)
    image_in = 0
    if isinstance(request, Edit):
        image_in = sum(
            -(-image.width // PATCH_SIDE) * -(-image.height // PATCH_SIDE)
            for image in request.images
        )
    return Usage(
        text_in=text + TEXT_OVERHEAD,
        image_in=image_in,
        image_out=-(-pixels // PIXELS_PER_TOKEN),
    )


_SLOW = (2, 4, 6, 8, 10, 12)

BUILT_IN: tuple[Model, ...] = (
    Model(
        "MAI-Image-2.7",
        "2026-11-17",
        PIXELS_27,
        Price(5, 8, 34),  # three gateways ask this, without a mark-up
        max_references=5,
        edit_pixels=PIXELS_27,
        options=frozenset({BACKGROUND}),
    ),
    Model(
        "MAI-Image-2.7-Flash",
        "2026-11-17",
        PIXELS_27,
        Price(5, 8, 34),  # 2.7's: resellers ask $0.02 to $0.06 an image
        max_references=5,
        edit_pixels=PIXELS_27,
        options=frozenset({BACKGROUND}),
        price_known=False,
    ),
    Model(
        "MAI-Image-2.6",
        "2026-07-31",
        PIXELS_26,
        Price(5, 8, 38),
        max_references=5,
        edit_pixels=PIXELS_26,
        options=frozenset({AUTO_ASPECT_RATIO, WEB_GROUNDING}),
        rpm_by_tier=_SLOW,
    ),
    Model(
        "MAI-Image-2.6-Flash",
        "2026-07-31",
        PIXELS_26,
        Price(1.75, 2.5, 19),
        max_references=5,
        edit_pixels=PIXELS_26,
        options=frozenset({AUTO_ASPECT_RATIO, WEB_GROUNDING}),
        rpm_by_tier=_SLOW,
    ),
    Model(
        "MAI-Image-2.5",
        "2026-06-02",
        PIXELS_2X,
        Price(5, 8, 47),
        max_references=1,
        edit_pixels=PIXELS_2X,
        rpm_by_tier=_SLOW,
        retired=date(2026, 10, 1),
        successor="MAI-Image-2.6",
    ),
    Model(
        "MAI-Image-2.5-Flash",
        "2026-06-02",
        PIXELS_2X,
        Price(1.75, 1.75, 19.5),
        max_references=1,
        edit_pixels=PIXELS_2X,
        rpm_by_tier=_SLOW,
        retired=date(2026, 10, 1),
        successor="MAI-Image-2.6-Flash",
    ),
    Model(
        "MAI-Image-2.5-Pro",
        "2026-06-19",
        PIXELS_2X,
        Price(5, 8, 106),
        max_references=1,
        edit_pixels=PIXELS_2X,
        rpm_by_tier=_SLOW,
        retired=date(2026, 10, 1),
        successor="MAI-Image-2.6",
    ),
    Model(
        "MAI-Image-2",
        "2026-02-20",
        PIXELS_2X,
        Price(5, 0, 33),
        rpm_by_tier=(9, 15, 30, 45, 60, 90),
        retired=date(2026, 8, 15),
        successor="MAI-Image-2.6",
    ),
    Model(
        "MAI-Image-2e",
        "2026-04-09",
        PIXELS_2X,
        Price(5, 0, 19.5),
        rpm_by_tier=(18, 30, 60, 90, 120, 180),
        retired=date(2026, 8, 15),
        successor="MAI-Image-2.6-Flash",
    ),
)
"""Newest first. 2.5 takes exactly one reference (its refusal says so), though the table now says up
to 5; some lists price its output at 33. Of 2.7 neither the quota is known nor whether it has
auto_aspect_ratio and web_grounding. Successors are today's models of the same kind."""

DEFAULT_MODEL = "MAI-Image-2.7"
"""Of new nodes and of the command line; a saved workflow names its own."""


class Catalogue(dict[str, Model]):
    """The models by name, in the order of every list: the newest first, the retired ones last.

    Nothing but `take_own` changes it.
    """

    def take_own(self, models: Iterable[Model]) -> None:
        """Use the built-in models and these, which are new or replace those of the same name."""
        known = {model.name: model for model in (*BUILT_IN, *models)}
        self.clear()
        self.update(sorted(known.items(), key=lambda item: item[1].is_retired))

    def find(self, text: str) -> Model | None:
        """The model that a person means: its name in any case, or without "MAI-Image-"."""
        wanted = text.strip().casefold()
        for name, model in self.items():
            if wanted in (name.casefold(), name.casefold().removeprefix("mai-image-")):
                return self.get(text, model)
        return None

    @property
    def edit_names(self) -> tuple[str, ...]:
        """The names of the models that edit."""
        return tuple(name for name, model in self.items() if model.can_edit)

    def names_with(self, options: Set[str]) -> tuple[str, ...]:
        """The names of the models that have all these options and aren't retired."""
        able = (model for model in self.values() if options <= model.options)
        return tuple(model.name for model in able if not model.is_retired)


CATALOGUE = Catalogue()
CATALOGUE.take_own(())
"""This process's catalogue. What makes a program of the pack, such as the nodes or the command
line, adds the user's own models to it when it starts: see mai/own_models.py."""
