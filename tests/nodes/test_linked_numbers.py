"""Numbers that come over a link: ComfyUI checks a widget's limits on the widget alone."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest
from comfy_api.latest import io
from mai_image.mai.errors import InputError
from mai_image.nodes.crop import MAICrop
from mai_image.nodes.edit import MAIEdit
from mai_image.nodes.generate import MAIGenerate
from mai_image.nodes.size_helper import MAISizeHelper
from mai_image.nodes.stitch import MAIStitch

NODES: tuple[Any, ...] = (MAIGenerate, MAIEdit, MAISizeHelper, MAICrop, MAIStitch)


def numbers() -> Iterator[tuple[Any, io.Int.Input | io.Float.Input]]:
    for node in NODES:
        for each in node.define_schema().inputs:
            if isinstance(each, (io.Int.Input, io.Float.Input)):
                yield node, each


CASES = [
    pytest.param(node, each.id, wrong, id=f"{node.__name__} {each.id} {wrong}")
    for node, each in numbers()
    for wrong in ((each.min or 0) - 1, (each.max or 0) + 1, math.nan)
]


def run(node: Any, **inputs: Any) -> Any:
    """Run a node as ComfyUI does, with nothing on the inputs that aren't named."""
    needed = {
        name: None
        for name, parameter in inspect.signature(node.execute).parameters.items()
        if parameter.default is inspect.Parameter.empty
    }
    outcome = node.execute(**{**needed, **inputs})
    return asyncio.run(outcome) if inspect.isawaitable(outcome) else outcome


def test_every_number_of_every_node_has_limits() -> None:
    assert len(CASES) >= 3 * 10
    assert all(each.min is not None and each.max is not None for _, each in numbers())


@pytest.mark.parametrize(("node", "name", "wrong"), CASES)
def test_a_linked_number_outside_of_its_limits_is_refused_before_any_work(
    node: Any, name: str, wrong: float
) -> None:
    with pytest.raises(InputError, match=rf"{name} is .*\nIt can be from"):
        run(node, **{name: wrong})
