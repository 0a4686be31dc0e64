"""What is refused before anything is sent."""

from __future__ import annotations

import pytest
from mai_image.mai.errors import ImageError, OptionError, PromptError, SizeError
from mai_image.mai.types import Edit, Generate, Reference, Request
from mai_image.mai.validation import validate_request

REFERENCE = Reference(b"an image", "image/png", 64, 64)


def edit(
    model: str = "MAI-Image-2.6", size: tuple[int, int] | None = None, images: int = 1
) -> Edit:
    return Edit(model, "a hat", (REFERENCE,) * images, size=size)


@pytest.mark.parametrize(
    ("impossible", "error"),
    [
        (edit(size=(1, 1)), SizeError),
        (edit(size=(1000, 1000)), SizeError),
        (edit("MAI-Image-2.5", size=(1536, 1536)), SizeError),
        (Generate("MAI-Image-2.6", "a hat", 767, 1024), SizeError),
        (edit(images=0), ImageError),
        (edit("MAI-Image-2.5", images=2), ImageError),
        (edit("MAI-Image-2"), OptionError),
        (Generate("MAI-Image-2.5", "a hat", 1024, 1024, web_grounding=True), OptionError),
        (Generate("MAI-Image-9", "a hat", 1024, 1024), OptionError),
        (Generate("MAI-Image-2.6", " ", 1024, 1024), PromptError),
        (Generate("MAI-Image-2.6", "half \ud800", 1024, 1024), PromptError),
    ],
)
def test_what_a_model_cannot_do_is_refused_with_a_hint(
    impossible: Request, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        validate_request(impossible)
    assert caught.value.hint  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [None, (1024, 1024), (1536, 1536), (3072, 768)])
def test_an_edit_may_ask_for_any_size_of_its_model(size: tuple[int, int] | None) -> None:
    assert validate_request(edit(size=size)).name == "MAI-Image-2.6"


def test_a_size_that_the_model_chooses_is_not_looked_at() -> None:
    request = Generate("MAI-Image-2.6", "a hat", 0, 0, auto_aspect_ratio=True)
    assert validate_request(request).name == "MAI-Image-2.6"
