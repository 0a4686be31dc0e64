"""mai/providers/base64_field.py: the image is cut out of an answer, and no byte of it changes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mai_image.mai.providers import base64_field
from mai_image.mai.providers.base64_field import (
    PLACEHOLDER,
    cut_out_image,
    decode_base64,
    pydantic_decoder,
)


@pytest.fixture(params=["pydantic", "the standard library"])
def _decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "pydantic":
        monkeypatch.setattr(base64_field, "pydantic_decoder", lambda: None)


@pytest.mark.usefixtures("_decoder")
@pytest.mark.parametrize("characters", [4, 1024, 4096, 1 << 20])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 6, 767, 768, 769, 5000])
def test_every_way_gives_the_same_bytes(size: int, characters: int) -> None:
    data = bytes(i * 37 % 256 for i in range(size))
    assert decode_base64(base64.b64encode(data), characters) == data


@pytest.mark.usefixtures("_decoder")
@pytest.mark.parametrize("characters", [4, 8, 1 << 20])
@pytest.mark.parametrize(
    "text",
    [b"AAE", b"AAECA", b"AA==AAEC", b"AAE=AAEC", b"AA\nEC", b" AAEC", b"AA-_", b"A===", b"!!!!",
     b"AAEC====", b"\xff\xff\xff\xff", b'AA"C', b"AA\\u"],
)  # fmt: skip
def test_what_is_not_base64_is_refused_by_every_way(text: bytes, characters: int) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_base64(text, characters)


@given(st.binary(max_size=300))
def test_pydantic_agrees_with_the_standard_library(data: bytes) -> None:
    text = base64.b64encode(data)
    decode = pydantic_decoder()
    assert decode is not None
    assert decode(b'"%b"' % text) == base64.b64decode(text, validate=True)


@pytest.fixture
def _old_pydantic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A version that doesn't know the option for base64."""
    monkeypatch.setattr("pydantic.ConfigDict", lambda **options: {})
    pydantic_decoder.cache_clear()
    yield
    pydantic_decoder.cache_clear()


@pytest.mark.usefixtures("_old_pydantic")
def test_a_pydantic_that_does_not_know_base64_is_not_used() -> None:
    assert pydantic_decoder() is None
    assert decode_base64(b"AAEC") == b"\0\1\2"


@pytest.mark.parametrize("spaces", ["", " ", "\n\t "])
def test_the_image_is_cut_out_and_the_rest_stays(spaces: str) -> None:
    body = f'{{"a": [1, "ü"], "data": [{{"b64_json"{spaces}:{spaces}"QUJD"}}], "z": 2}}'.encode()
    rest, text = cut_out_image(body)
    assert text == b"QUJD"
    assert json.loads(rest) == {"a": [1, "ü"], "data": [{"b64_json": PLACEHOLDER}], "z": 2}


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"b64_json": null}', b'{"b64_json": "QU', b'{"x": "b64_json"}',
     rb'{"b64_json": "QU\/D"}', rb'{"prompt": "say \"b64_json\": \"QUJD\" "}'],
)  # fmt: skip
def test_where_nothing_can_be_cut_out_the_body_stays_as_it_is(body: bytes) -> None:
    assert cut_out_image(body) == (body, b"")


def test_a_name_inside_of_a_text_is_not_taken_for_the_field() -> None:
    prompt = 'a sign that says "b64_json": "QUJD", and a backslash \\'
    body = json.dumps({"prompt": prompt, "data": [{"b64_json": "REVG"}]}).encode()
    rest, text = cut_out_image(body)
    assert text == b"REVG"
    assert json.loads(rest)["prompt"] == prompt
