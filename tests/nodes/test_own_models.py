"""The user's own models in the nodes' lists, and what a workflow with an unknown one is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import comfyui_modules  # noqa: F401  (makes the nodes importable)
import pytest
from mai_image.mai.models import CATALOGUE
from mai_image.nodes.crop import MAICrop
from mai_image.nodes.edit import MAIEdit
from mai_image.nodes.generate import MAIGenerate
from mai_image.nodes.size_helper import MAISizeHelper

NODES = [MAIGenerate, MAIEdit, MAISizeHelper, MAICrop]
EDITING = [MAIEdit, MAICrop]


@pytest.fixture(autouse=True)
def own_model() -> Iterator[None]:
    CATALOGUE.take_own([replace(CATALOGUE["MAI-Image-2.7"], name="MAI-Image-3")])
    yield
    CATALOGUE.take_own(())


@pytest.mark.parametrize("node", NODES)
def test_every_node_offers_the_user_s_models_before_the_retired_ones(node: type) -> None:
    (model,) = (entry for entry in node.define_schema().inputs if entry.id == "model")
    assert model.options.index("MAI-Image-3") < model.options.index("MAI-Image-2.5")
    assert model.default == "MAI-Image-2.7"


@pytest.mark.parametrize("node", NODES)
def test_a_model_of_the_catalogue_is_valid_in_a_saved_workflow(node: type) -> None:
    for name in ("MAI-Image-3", "MAI-Image-2.5"):
        assert node.validate_inputs(model=name) is True
    assert node.validate_inputs() is True, "over a link it isn't known yet"


@pytest.mark.parametrize("node", NODES)
def test_an_unknown_model_is_told_with_the_way_to_add_it(node: type) -> None:
    said = node.validate_inputs(model="MAI-Image-9")
    assert "no model 'MAI-Image-9'" in said
    assert "profiles.toml" in said


@pytest.mark.parametrize("node", EDITING)
def test_a_model_that_cannot_edit_is_refused_where_images_are_edited(node: type) -> None:
    assert "makes images from text only" in node.validate_inputs(model="MAI-Image-2")
