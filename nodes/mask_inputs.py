"""The inputs of a masked edit, which MAI Edit and the two crop nodes share, written once.

On MAI Edit they are optional and advanced, on the crop nodes they are what the node is about.
"""

from __future__ import annotations

from comfy_api.latest import io

from . import options

MOST_PIXELS = 1024
"""For growing and feathering."""


def mask() -> io.Mask.Input:
    """The mask of MAI Edit."""
    return io.Mask.Input(
        "mask",
        optional=True,
        tooltip="White is edited; everything else stays bit for bit as it was. One mask for all "
        "images of image_1, or one for each; another size is scaled. Areas that are far apart are "
        "edited one by one, each a paid request.",
    )


def output_size() -> io.Combo.Input:
    """What happens to the size of the edit."""
    return io.Combo.Input(
        "output_size",
        options=[options.SAME_AS_INPUT, options.AS_RETURNED],
        default=options.SAME_AS_INPUT,
        tooltip="The service gives back about 1 megapixel. Same as input: scaled to the size of "
        "image_1, its ratio kept, what sticks out cut off. As returned: left as it came. With a "
        "mask it is always the input's size.",
        optional=True,
    )


def region() -> io.Combo.Input:
    """What of the image is sent."""
    return io.Combo.Input(
        "region",
        options=[options.AROUND_MASK, options.WHOLE_IMAGE],
        default=options.AROUND_MASK,
        tooltip="With a mask: send the part around it, so that a large image keeps its full "
        "resolution there, or the whole image, if the model must see all of it.",
        optional=True,
        advanced=True,
    )


def mask_grow(optional: bool = False) -> io.Int.Input:
    """Pixels by which the mask is widened."""
    return io.Int.Input(
        "mask_grow",
        default=options.MASK_GROW,
        min=-MOST_PIXELS,
        max=MOST_PIXELS,
        tooltip="Pixels of the image by which the mask is widened before anything else; a negative "
        "number shrinks it. Nothing beyond is ever touched.",
        optional=optional,
        advanced=optional,
    )


def mask_feather(optional: bool = False) -> io.Int.Input:
    """Pixels of the soft edge."""
    return io.Int.Input(
        "mask_feather",
        default=options.MASK_FEATHER,
        min=0,
        max=MOST_PIXELS,
        tooltip="Pixels of the image over which the edit fades in, inwards from the edge of the "
        "grown mask. As much as mask_grow: the mask itself is wholly edited. 0: a hard edge.",
        optional=optional,
        advanced=optional,
    )


def context(optional: bool = False) -> io.Float.Input:
    """How much around the mask is sent."""
    return io.Float.Input(
        "context",
        default=options.CONTEXT,
        min=1.0,
        max=20.0,
        step=0.05,
        tooltip="How much around the mask the model sees: 1.5 adds half of the mask's longer side "
        "on every side, 1.0 nothing. The box is then widened to a size that the model can work "
        "with, at least 192 pixels.",
        optional=optional,
        advanced=optional,
    )


def match_color(optional: bool = False) -> io.Boolean.Input:
    """Whether the edit's colours are brought to the input's."""
    return io.Boolean.Input(
        "match_color",
        default=True,
        tooltip="Bring the edit's colours to those of the image, as the ring around the mask shows "
        "them; turn it off where the edit is about colours beyond the mask.",
        optional=optional,
        advanced=optional,
    )
