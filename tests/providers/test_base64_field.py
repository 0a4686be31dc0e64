"""mai/lifted.py: the image is cut out of an answer, and no byte of it changes."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mai_image.mai.providers import PLACE, lift, unpack
from mai_image.mai.providers import base64_field as lifted

Engine = Callable[[bytes], bytes] | None


def with_pydantic() -> Engine:
    pytest.importorskip("pydantic")
    engine = lifted._adapter()
    assert engine is not None
    return engine


@pytest.fixture(params=["the standard library", "pydantic"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to decode, one after the other."""
    used = with_pydantic() if request.param == "pydantic" else None
    monkeypatch.setattr(lifted, "_checked", [used])


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 6, 767, 768, 769, 5000])
def test_every_way_gives_the_same_bytes(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifted, "SLICE", 1024)
    data = bytes(i * 37 % 256 for i in range(size))
    assert unpack(base64.b64encode(data)) == data


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "text",
    [b"AAE", b"AAECA", b"AA==AAEC", b"AAE=AAEC", b"AA\nEC", b" AAEC", b"AA-_", b"A===", b"!!!!",
     b"AAEC====", b"\xff\xff\xff\xff", b'AA"C', b"AA\\u"],
)  # fmt: skip
def test_what_is_not_base64_is_refused_by_every_way(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpack(text)


@given(st.binary(max_size=300))
def test_pydantic_agrees_with_the_standard_library(data: bytes) -> None:
    text = base64.b64encode(data)
    engine = with_pydantic()
    assert engine is not None
    assert engine(b'"%b"' % text) == base64.b64decode(text, validate=True)


def test_a_pydantic_that_does_not_know_base64_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    pydantic = pytest.importorskip("pydantic")
    monkeypatch.setattr(pydantic, "ConfigDict", lambda **options: {})
    assert lifted._adapter() is None


def test_pydantic_is_not_imported_for_this(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifted, "_checked", [])
    monkeypatch.delitem(sys.modules, "pydantic", raising=False)
    assert unpack(b"AAEC") == b"\0\1\2"
    assert "pydantic" not in sys.modules


@pytest.mark.parametrize("spaces", ["", " ", "\n\t "])
def test_the_image_is_cut_out_and_the_rest_stays(spaces: str) -> None:
    body = f'{{"a": [1, "ü"], "data": [{{"b64_json"{spaces}:{spaces}"QUJD"}}], "z": 2}}'.encode()
    rest, text = lift(body)
    assert text == b"QUJD"
    assert json.loads(rest) == {"a": [1, "ü"], "data": [{"b64_json": PLACE}], "z": 2}


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"b64_json": null}', b'{"b64_json": "QU', b'{"x": "b64_json"}',
     rb'{"b64_json": "QU\/D"}', rb'{"prompt": "say \"b64_json\": \"QUJD\" "}'],
)  # fmt: skip
def test_where_nothing_can_be_lifted_the_body_stays_whole(body: bytes) -> None:
    assert lift(body) == (body, b"")


def test_a_name_inside_of_a_text_is_not_taken_for_the_field() -> None:
    prompt = 'a sign that says "b64_json": "QUJD", and a backslash \\'
    body = json.dumps({"prompt": prompt, "data": [{"b64_json": "REVG"}]}).encode()
    rest, text = lift(body)
    assert text == b"REVG"
    assert json.loads(rest)["prompt"] == prompt
