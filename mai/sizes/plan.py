"""From a ratio and a target to a size, a scale and a crop: what Size Helper answers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..errors import OptionError, SizeError
from ..models import CATALOGUE, Model
from ..types import Usage
from . import sizes
from .sizes import Size

MAX_TARGET = 16384
"""Pixels: the longest side of ComfyUI's own image nodes (MAX_RESOLUTION)."""

FROM_TARGET = "from target"
FROM_IMAGE = "from image"
ASPECT_RATIOS: tuple[str, ...] = (*sizes.PRESETS, FROM_TARGET, FROM_IMAGE)
"""The choices of Size Helper, as they stand in workflows."""

_PRESET_OF = {sizes.ratio_of(text): text for text in sizes.PRESETS}


@dataclass(frozen=True, slots=True)
class SizePlan:
    """A size to generate, and how it becomes the target.

    `asked` is the ratio width / height that was asked for, `size` what the model makes for it,
    `target` the size wanted in the end. `scale` is the factor that enlarges `size` until it covers
    `target` on both axes; the rest is cut off. `notes` are sentences for the user.
    """

    model: Model
    asked: Fraction
    size: Size
    target: Size
    scale: float
    notes: tuple[str, ...]

    @property
    def scaled(self) -> Size:
        """The size after scaling, rounded as ComfyUI's Upscale Image By does."""
        return Size(round(self.size.width * self.scale), round(self.size.height * self.scale))

    def facts(self) -> dict[str, object]:
        """All of it as plain values for JSON; sizes are [width, height] in pixels."""
        size, scaled, target = self.size, self.scaled, self.target
        cut = Size(scaled.width - target.width, scaled.height - target.height)
        cost = self.model.cost(Usage(image_out=size.tokens))
        return {
            "model": self.model.name,
            "size": list(size),
            "ratio": ratio_text(size.ratio),
            "ratio_asked": ratio_text(self.asked),
            "ratio_error_percent": round(float(sizes.off_by(size, self.asked) - 1) * 100, 4),
            "megapixels": round(size.megapixels, 4),
            "percent_of_limit": round(size.pixels / self.model.max_pixels * 100, 2),
            "tokens": size.tokens,
            "price_usd": round(cost, 6),
            "price_known": self.model.price_known,
            "target": list(target),
            "scale": self.scale,
            "scaled": list(scaled),
            "cut": list(cut),
            "how": _how(self, cut),
            "notes": list(self.notes),
        }


def plan_size(
    model: Model, ratio: Fraction, target_width: int = 0, target_height: int = 0
) -> SizePlan:
    """The best size for a ratio, and the way from it to a target in pixels.

    A target side of 0 follows from the other one and the asked ratio; both 0 is the generated size
    itself. SizeError: a ratio that isn't positive, or a target side that is negative, not a
    whole number, or (given or following) longer than 16384.
    """
    given = target_of(target_width, target_height)
    size = sizes.best(model, ratio)
    target = _complete(size, ratio, given)
    scale = sizes.scale_to_cover(size, target)
    return SizePlan(
        model, ratio, size, target, scale, tuple(_notes(model, ratio, size, given, scale))
    )


def target_of(target_width: int, target_height: int) -> Size:
    """The target as it was given; SizeError unless each side is a whole number in 0..16384."""
    for name, side in (("target_width", target_width), ("target_height", target_height)):
        if isinstance(side, bool) or not isinstance(side, int) or not 0 <= side <= MAX_TARGET:
            raise SizeError(
                f"{name} is {str(side)[:40]}.",
                f"Give a whole number of pixels from 1 to {MAX_TARGET}, or 0 for none.",
            )
    return Size(target_width, target_height)


def asked_ratio(
    aspect_ratio: str, target_width: int, target_height: int, image: Size | None = None
) -> Fraction:
    """Width over height: a preset's, the target's (pixels), or that of the image at `image`.

    OptionError: no such choice, or what it takes the ratio from is missing; SizeError: a target
    that is none.
    """
    if aspect_ratio == FROM_TARGET:
        target = target_of(target_width, target_height)
        if not all(target):
            raise OptionError(
                f'aspect_ratio is "{FROM_TARGET}", but the target is '
                f"{target_width} x {target_height}.",
                "Set both target_width and target_height, or choose another aspect_ratio.",
            )
        return target.ratio
    if aspect_ratio == FROM_IMAGE:
        if image is None:
            raise OptionError(
                f'aspect_ratio is "{FROM_IMAGE}", but nothing is connected to image.',
                "Connect an image to image, or choose another aspect_ratio.",
            )
        return image.ratio
    if aspect_ratio not in sizes.PRESETS:
        raise OptionError(
            f"There is no aspect_ratio {str(aspect_ratio)[:60]!r}.",
            f"Choose one of {', '.join(ASPECT_RATIOS)}.",
        )
    return sizes.ratio_of(aspect_ratio)


def ratio_text(ratio: Fraction) -> str:
    """A ratio as the presets write it ("21:9"), or in its lowest terms."""
    return _PRESET_OF.get(ratio) or f"{ratio.numerator}:{ratio.denominator}"


def _complete(size: Size, ratio: Fraction, given: Size) -> Size:
    if not any(given):
        return size
    width = given.width or max(1, round(given.height * ratio))
    height = given.height or max(1, round(given.width / ratio))
    if max(width, height) > MAX_TARGET:
        raise SizeError(
            f"A target of {given} at {ratio_text(ratio)} is {width} x {height}, "
            f"longer than {MAX_TARGET} pixels.",
            "Give a smaller target, or both of its sides.",
        )
    return Size(width, height)


def _how(plan: SizePlan, cut: Size) -> str:
    if plan.size == plan.target:
        return "Use it as it is: nothing is scaled or cut."
    verb = "Enlarge" if plan.scale > 1 else "Shrink" if plan.scale < 1 else "Keep"
    steps = f"{verb} it to {plan.scaled} (scale {plan.scale:.6g})"
    if not any(cut):
        return f"{steps}; nothing is cut."
    return (
        f"{steps}, then cut {cut.width} pixels of the width and {cut.height} of the height to get "
        f"{plan.target}. Upscale Image with crop = center does both."
    )


def _notes(model: Model, asked: Fraction, size: Size, given: Size, scale: float) -> list[str]:
    notes = []
    if _beyond(model, asked):
        notes.append(_cannot(model, asked, size))
        if not any(given):
            notes.append(
                f"To end with {ratio_text(asked)}, set a target: what is too much is cut off."
            )
    if scale < 1:
        notes.append("The target is smaller than what is generated, so the image is shrunk.")
    return notes


def _beyond(model: Model, ratio: Fraction) -> bool:
    """Whether a ratio is more extreme than any size of the model."""
    longest = model.max_pixels // model.min_side
    largest = sizes.best(model, Fraction(longest)).ratio
    return max(ratio, 1 / ratio) > largest


def _cannot(model: Model, ratio: Fraction, size: Size) -> str:
    wide = ratio > 1
    about = f"{float(size.ratio):.3g}:1" if wide else f"1:{float(1 / size.ratio):.3g}"
    living = [other for other in CATALOGUE.values() if not other.is_retired]
    able = [other.name for other in living if not _beyond(other, ratio)]
    others = f" {', '.join(able)} can." if able else " No other model can either."
    return (
        f"{model.name} can't make {ratio_text(ratio)}, it is too {'wide' if wide else 'tall'}: "
        f"{size} ({about}) is the nearest that it can.{others}"
    )
