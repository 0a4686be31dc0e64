"""What is refused before anything is sent."""

from __future__ import annotations

import pytest
from mai_image.mai.errors import ImageError, OptionError, PromptError, SizeError
from mai_image.mai.types import Edit, Generate, Reference, Request, request_key
from mai_image.mai.validation import snap_request, validate_request

REFERENCE = Reference(b"an image", "image/png", 64, 64)


def edit(
    model: str = "MAI-Image-2.6", size: tuple[int, int] | None = None, images: int = 1
) -> Edit:
    return Edit(model, "a hat", (REFERENCE,) * images, size=size)


@pytest.mark.parametrize(
    ("impossible", "error"),
    [
        (edit(size=(1, 1)), SizeError),
        (edit(size=(2000, 2000)), SizeError),
        (edit("MAI-Image-2.5", size=(1536, 1536)), SizeError),
        (Generate("MAI-Image-2.6", "a hat", 767, 1024), SizeError),
        (edit(images=0), ImageError),
        (edit("MAI-Image-2.5", images=2), ImageError),
        (edit("MAI-Image-2"), OptionError),
        (Generate("MAI-Image-2.5", "a hat", 1024, 1024, web_grounding=True), OptionError),
        (Generate("MAI-Image-9", "a hat", 1024, 1024), OptionError),
        (Generate("MAI-Image-2.6", "a hat", 1024, 1024, background="transparent"), OptionError),
        (Generate("MAI-Image-2.7", "a hat", 1024, 1024, background="auto"), OptionError),
        (Generate("MAI-Image-2.7", "a hat", 1024, 1024, web_grounding=True), OptionError),
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


def test_a_transparent_background_is_refused_with_the_models_that_have_it() -> None:
    for name in ("MAI-Image-2.6", "MAI-Image-2.5"):
        with pytest.raises(OptionError, match="has no transparent background") as caught:
            validate_request(Generate(name, "a hat", 1024, 1024, background="transparent"))
        assert "MAI-Image-2.7, MAI-Image-2.7-Flash" in caught.value.hint
    transparent = Edit("MAI-Image-2.7", "a hat", (REFERENCE,), background="transparent")
    assert validate_request(transparent).name == "MAI-Image-2.7"


def test_no_model_is_named_that_has_only_one_of_two_options() -> None:
    both = Generate(
        "MAI-Image-2.6", "a hat", 1024, 1024, web_grounding=True, background="transparent"
    )
    with pytest.raises(OptionError) as caught:
        validate_request(both)
    assert "choose" not in caught.value.hint


def test_a_hint_names_no_retired_model() -> None:
    with pytest.raises(OptionError) as caught:
        validate_request(Generate("MAI-Image-2", "a hat", 1024, 1024, auto_aspect_ratio=True))
    assert caught.value.hint == "Switch it off, or choose MAI-Image-2.6, MAI-Image-2.6-Flash."


def test_a_model_that_nobody_knows_gets_an_error_that_says_how_to_add_it() -> None:
    with pytest.raises(OptionError, match="no model 'MAI-Image-9'") as caught:
        validate_request(Generate("MAI-Image-9", "a hat", 1024, 1024))
    assert "[models." in caught.value.hint
    assert "profiles.toml" in caught.value.hint


def test_a_size_between_multiples_of_16_is_sent_and_kept_as_what_comes_back() -> None:
    asked = Generate("MAI-Image-2.6", "a hat", 768, 1365, seed=7)
    sent, (note,) = snap_request(asked)
    assert sent == Generate("MAI-Image-2.6", "a hat", 768, 1360, seed=7)
    assert request_key(sent, "foundry") == request_key(
        Generate("MAI-Image-2.6", "a hat", 768, 1360, seed=7), "foundry"
    )
    assert "768 x 1365 comes back as 768 x 1360" in note
    assert snap_request(edit(size=(1000, 1000)))[0] == edit(size=(992, 992))


@pytest.mark.parametrize(
    "request_",
    [
        Generate("MAI-Image-2.6", "a hat", 1024, 768),
        Generate("MAI-Image-2.6", "a hat", 1, 1, auto_aspect_ratio=True),
        edit(),
    ],
)
def test_nothing_is_said_of_a_size_that_stays_or_that_the_model_chooses(request_: Request) -> None:
    assert snap_request(request_) == (request_, ())


def test_the_key_of_an_image_changes_with_its_background_alone_where_it_is_transparent() -> None:
    opaque = Generate("MAI-Image-2.7", "a hat", 1024, 1024)
    clear = Generate("MAI-Image-2.7", "a hat", 1024, 1024, background="transparent")
    assert request_key(opaque, "foundry") != request_key(clear, "foundry")
    # As version 0.1 made it, which knew no background.
    known = "9ab2aeaec72c671adac52a44a297f3e689195467ab007bed728b4bdcc5135552"
    assert request_key(opaque, "foundry") == known
