"""JSON of others: what Python's parser takes is taken, but for what would hurt this process."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mai_image.mai.formats import MAX_JSON_DEPTH, MAX_JSON_ITEMS, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)
BRACKETS = st.text('[]{}"\\,:a ', max_size=400)


def both(data: bytes) -> tuple[object, object]:
    def outcome(parse: Callable[[], object]) -> str:
        try:
            return repr(parse())
        except ValueError:
            return "refused"

    return outcome(lambda: parse_json(data)), outcome(lambda: json.loads(data, parse_int=float))


@given(
    VALUES, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]), st.booleans()
)
def test_whatever_python_parses_is_parsed_alike(value: object, encoding: str, ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii)
    ours, pythons = both(text.encode(encoding, "surrogatepass"))
    assert ours == pythons


@given(st.binary(max_size=200) | BRACKETS.map(str.encode))
def test_what_python_refuses_is_refused(data: bytes) -> None:
    ours, pythons = both(data)
    assert ours == pythons


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1, "a": 2}',
        b"[NaN, Infinity, -Infinity, 1e999]",
        b'"\\ud800"',
        b"[" + b"9" * 100_000 + b"]",
        b'["' + b"[" * 5000 + b'"]',
        b'["\\"' + b"[" * 5000 + b'\\\\"]',
        b'["\\\\", "' + b"{" * 5000 + b'"]',
        json.dumps([[[]] * 100] * 100).encode(),
        b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH,
    ],
)
def test_odd_but_harmless_json_is_parsed(data: bytes) -> None:
    ours, pythons = both(data)
    assert ours == pythons != "refused"


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"[[":', b'["\\"",', b'["\\\\",'])
@pytest.mark.parametrize("times", [MAX_JSON_DEPTH + 1, 900, 30_000])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_json_too_deep_is_refused_without_going_down(
    opening: bytes, times: int, encoding: str
) -> None:
    with pytest.raises(ValueError, match="too deep"):
        parse_json((opening * times).decode().encode(encoding))


def test_too_many_items_and_endless_quotes_are_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        parse_json(b"[" + b"1," * MAX_JSON_ITEMS + b"1]")
    with pytest.raises(ValueError, match="delimiter"):
        parse_json(b"[" * 2 + b"[]," * 64 + b'""' * 5_000_000)


def test_whole_numbers_are_kept_where_they_are_asked_for() -> None:
    found = parse_json(b'{"a": 5, "b": 5.5}', read_whole_number=int)
    assert found == {"a": 5, "b": 5.5}
    assert isinstance(found["a"], int)
