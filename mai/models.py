"""The catalogue: what each MAI image model can do, its limits and prices, as data.

Sources, read in November 2026: Microsoft Learn "Deploy and use MAI image models in Microsoft
Foundry" and its model table (MicrosoftDocs/azure-ai-docs, `use-foundry-models-mai.md` and
`models-azure-direct-others.md`) for versions, abilities, sizes and requests a minute; Azure's price
list for the USD per 1M tokens; measurements by independent clients where a constant says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from .types import Edit, Generate, Request, Usage

STEP = 16
"""The service rounds each side down to a multiple of this, silently (measured: 1366 gives 1360)."""

MIN_SIDE = 768
"""Documented for every model; 767 is refused."""

PIXELS_2X = 1_056_768
"""2.x: 1,048,576 is documented; 1032x1024 is accepted and the refusal of 1033x1024 quotes this."""

PIXELS_26 = 2_359_296
"""2.6: 1536 x 1536, documented; a side may be longer than 1536."""

PIXELS_27 = 4_194_304
"""2.7: 2048 x 2048, measured once, at a gateway."""

PIXELS_PER_TOKEN = 1024
"""Output tokens = width * height / 1024 (documented, and measured: 768x768 gives 576)."""

PROMPT_TOKENS = 32_000
"""The documented prompt context."""

EDIT_PIXELS = PIXELS_2X
"""An edit comes back at about 1 MP in the input's aspect (measured: 553x311 gives 1360x768)."""

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
    """One model. Pixels are width * height; `rpm_by_tier` is requests a minute at tiers 1 to 6.

    `edit_pixels` is the largest size at which an edit may come back. Where `price_known` is False,
    nobody has published the price: the one here is that of a dearer model.
    """

    name: str
    version: str
    max_pixels: int
    max_references: int
    options: bool
    price: Price
    rpm_by_tier: tuple[int, ...]
    edit_pixels: int
    min_side: int = MIN_SIDE
    price_known: bool = True

    @property
    def can_edit(self) -> bool:
        """Whether the model takes references at all."""
        return self.max_references > 0

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
        image_in = sum(_patches(image.width, image.height) for image in request.images)
    return Usage(
        text_in=text + TEXT_OVERHEAD,
        image_in=image_in,
        image_out=-(-pixels // PIXELS_PER_TOKEN),
    )


def _patches(width: int, height: int) -> int:
    return -(-width // PATCH_SIDE) * -(-height // PATCH_SIDE)


_SLOW = (2, 4, 6, 8, 10, 12)

CATALOGUE: tuple[Model, ...] = (
    Model("MAI-Image-2.6", "2026-07-31", PIXELS_26, 5, True, Price(5, 8, 38), _SLOW, PIXELS_26),
    Model(
        "MAI-Image-2.6-Flash",
        "2026-07-31",
        PIXELS_26,
        5,
        True,
        Price(1.75, 2.5, 19),
        _SLOW,
        PIXELS_26,
    ),
    Model("MAI-Image-2.7", "2026-11", PIXELS_27, 5, False, Price(5, 8, 34), (), PIXELS_27),
    Model("MAI-Image-2.5", "2026-06-02", PIXELS_2X, 1, False, Price(5, 8, 47), _SLOW, PIXELS_2X),
    Model(
        "MAI-Image-2.5-Flash",
        "2026-06-02",
        PIXELS_2X,
        1,
        False,
        Price(1.75, 1.75, 19.5),
        _SLOW,
        PIXELS_2X,
    ),
    Model(
        "MAI-Image-2.5-Pro", "2026-06-19", PIXELS_2X, 1, False, Price(5, 8, 106), _SLOW, PIXELS_2X
    ),
    Model(
        "MAI-Image-2",
        "2026-02-20",
        PIXELS_2X,
        0,
        False,
        Price(5, 0, 33),
        (9, 15, 30, 45, 60, 90),
        0,
    ),
    Model(
        "MAI-Image-2e",
        "2026-04-09",
        PIXELS_2X,
        0,
        False,
        Price(5, 0, 19.5),
        (18, 30, 60, 90, 120, 180),
        0,
    ),
)
"""Newest first. 2.5 takes exactly one reference (its refusal says so), though the table now says up
to 5; some lists price its output at 33. 2.7 is seen at gateways only: options and quota unknown."""

DEFAULT_MODEL = "MAI-Image-2.6"

BY_NAME: dict[str, Model] = {model.name: model for model in CATALOGUE}

MODEL_NAMES: tuple[str, ...] = tuple(BY_NAME)

EDIT_MODEL_NAMES: tuple[str, ...] = tuple(model.name for model in CATALOGUE if model.can_edit)
