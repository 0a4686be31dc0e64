"""Estimates are upper bounds, and say where they are none."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mai_image.mai.models import CATALOGUE, DEFAULT_MODEL, Model
from mai_image.mai.sizes import size_problems
from mai_image.mai.types import Edit, Generate, Reference, Request, Usage

MODELS = st.sampled_from(tuple(CATALOGUE.values()))
EDITORS = st.sampled_from([model for model in CATALOGUE.values() if model.can_edit])
PROMPTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)
SIDES = st.integers(1, 16384)
REFERENCES = st.lists(
    st.builds(Reference, st.just(b""), st.just("image/png"), SIDES, SIDES), min_size=1, max_size=5
).map(tuple)


def counted_strictly(request: Request, pixels: int) -> Usage:
    """The most that any documented or measured way of counting gives, for an image of `pixels`.

    A token a byte of the prompt and ten beside it; a token for each patch of 32 x 32 of a reference
    and of the image, begun ones too.
    """
    images = request.images if isinstance(request, Edit) else ()
    patches = [-(-image.width // 32) * -(-image.height // 32) for image in images]
    return Usage(len(request.prompt.encode()) + 10, sum(patches), -(-pixels // 1024))


@given(MODELS, PROMPTS, st.integers(768, 3072), st.integers(768, 3072))
def test_an_image_of_the_asked_size_never_costs_more_than_estimated(
    model: Model, prompt: str, width: int, height: int
) -> None:
    width, height = width // 16 * 16, height // 16 * 16
    request = Generate(model.name, prompt, width, height)
    if not size_problems(model, width, height):
        usage = counted_strictly(request, width * height)
        assert model.cost(usage) <= model.estimate(request)


@given(MODELS, PROMPTS, st.data())
def test_an_image_of_any_size_never_costs_more_than_estimated_where_the_model_chooses(
    model: Model, prompt: str, data: st.DataObject
) -> None:
    request = Generate(model.name, prompt, 1024, 1024, auto_aspect_ratio=True)
    returned = data.draw(st.integers(1, model.max_pixels))
    assert model.cost(counted_strictly(request, returned)) <= model.estimate(request)


@given(EDITORS, PROMPTS, REFERENCES, st.booleans(), st.booleans(), st.data())
def test_an_edit_never_costs_more_than_estimated_whatever_size_comes_back(
    model: Model,
    prompt: str,
    images: tuple[Reference, ...],
    sized: bool,
    auto: bool,
    data: st.DataObject,
) -> None:
    size = (1024, 768) if sized else None
    request = Edit(model.name, prompt, images, size=size, auto_aspect_ratio=auto)
    returned = data.draw(st.integers(1, model.max_pixels if auto else model.edit_pixels))
    assert model.cost(counted_strictly(request, returned)) <= model.estimate(request)


@given(MODELS, PROMPTS, st.integers(0, 31_000))
def test_what_web_grounding_reads_is_counted_up_to_the_models_context(
    model: Model, prompt: str, read: int
) -> None:
    request = Generate(model.name, prompt, 1024, 1024, web_grounding=True)
    usage = dataclasses.replace(counted_strictly(request, 1024 * 1024), text_in=read + 10)
    assert model.cost(usage) <= model.estimate(request)


@pytest.mark.parametrize("text", ["𒀀" * 300, "😀" * 300, "ꓮ" * 300, "a" * 300])
def test_a_script_that_the_tokenizer_hardly_knows_costs_no_more_than_estimated(text: str) -> None:
    for model in CATALOGUE.values():
        request = Generate(model.name, text, 1024, 1024)
        usage = Usage(text_in=len(text.encode()), image_out=1024)
        assert model.cost(usage) <= model.estimate(request)


def test_a_long_prompt_hardly_changes_the_estimate_of_an_image() -> None:
    for model in CATALOGUE.values():
        short, long = (Generate(model.name, "x" * count, 1024, 1024) for count in (1, 1000))
        assert model.estimate(long) - model.estimate(short) < 0.006


def test_an_estimate_is_a_bound_unless_something_about_it_is_not_documented() -> None:
    for model in CATALOGUE.values():
        plain = Generate(model.name, "a cup", 1024, 1024)
        grounded = dataclasses.replace(plain, web_grounding=True)
        assert model.is_bound(plain) is model.price_known
        assert not model.is_bound(grounded)
        assert "web_grounding" in model.why_unbounded(grounded)


def test_a_price_that_nobody_published_is_no_bound_and_the_reason_names_the_model() -> None:
    model = dataclasses.replace(CATALOGUE[DEFAULT_MODEL], name="MAI-Image-9", price_known=False)
    request = Generate(model.name, "a cup", 1024, 1024)
    assert not model.is_bound(request)
    assert "MAI-Image-9" in model.why_unbounded(request)


def test_an_edit_comes_back_no_larger_than_the_model_can_make() -> None:
    for model in CATALOGUE.values():
        assert model.edit_pixels <= model.max_pixels
        assert (model.edit_pixels > 0) is (model.name in CATALOGUE.edit_names)
