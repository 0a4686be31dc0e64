"""Sidecars that were damaged in any way: set aside, never an obstacle to their request."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.store import Store
from store_helpers import image, image_of, put, set_aside, sidecar_of

Facts = dict[str, Any]

BYTES = b"the bytes that arrived"


class Bench:
    """A store with one image, whose sidecar is exchanged for another."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.key = put(self.store, "one", image(BYTES))
        self.valid: Facts = json.loads(sidecar_of(self.store, self.key).read_bytes())

    def exchange(self, sidecar: bytes) -> None:
        """A new sidecar beside the image, and nothing set aside yet."""
        shutil.rmtree(self.store.folder / "damaged", ignore_errors=True)
        image_of(self.store, self.key).write_bytes(BYTES)
        sidecar_of(self.store, self.key).write_bytes(sidecar)

    def check(self, sidecar: bytes) -> bool:
        """Whether the image is served with this sidecar; else both are set aside."""
        self.exchange(sidecar)
        found = self.store.get(self.key)
        json.dumps(self.store.recent(1), allow_nan=False)
        if found is not None:
            assert found.image == BYTES
            assert (found.from_store, found.cost_usd) == (True, 0.0)
            return True
        assert not sidecar_of(self.store, self.key).exists()
        assert sorted(set_aside(self.store)) == sorted([BYTES, sidecar])
        assert self.store.get(self.key) is None
        return False


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "store")
        yield bench
        bench.store.close_file()


def test_a_valid_sidecar_is_served(bench: Bench) -> None:
    assert bench.check(json.dumps(bench.valid).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("asked", [64]),
        ("asked", []),
        ("asked", [64, 64, 64]),
        ("asked", ["64", "64"]),
        ("asked", {"0": 64, "1": 64}),
        ("asked", "64x64"),
        ("width", None),
        ("width", -1),
        ("width", 1e400),
        ("width", 10**400),
        ("width", True),
        ("bytes", 22.0),
        ("seconds", float("nan")),
        ("seconds", float("inf")),
        ("seconds", 10**400),
        ("seconds", "31.5"),
        ("cost_usd", "free"),
        ("cost_usd", -0.01),
        ("usage", []),
        ("usage", {"text_in": 1, "image_in": 2}),
        ("usage", {"text_in": 1, "image_in": 2, "image_out": 1.5}),
        ("notes", "rounded down"),
        ("notes", [["rounded down"]]),
        ("notes", None),
        ("media_type", ["image/png"]),
        ("media_type", "image/jpeg"),
        ("request_id", 7),
        ("model", None),
        ("prompt", {"text": "a fox"}),
        ("sha256", None),
    ],
)
def test_a_field_that_is_not_as_it_was_written_sets_the_image_aside(
    bench: Bench, name: str, value: object
) -> None:
    assert not bench.check(json.dumps({**bench.valid, name: value}).encode())


def test_a_field_that_is_missing_sets_the_image_aside_but_for_the_prompt(bench: Bench) -> None:
    served = []
    for name in bench.valid:
        rest = {other: value for other, value in bench.valid.items() if other != name}
        if bench.check(json.dumps(rest).encode()):
            served.append(name)
    assert served == ["prompt"]


@pytest.mark.parametrize(
    "sidecar",
    [
        b"",
        b"\xff\xfe\x00",
        b"\x00" * 100,
        b"null",
        b"7",
        b"[" * 100_000,
        b'{"key": ' * 100_000,
        b"9" * 10_000,
        b"NaN",
        b'{"key": "\xff"}',
    ],
    ids=lambda sidecar: repr(sidecar[:12]),
)
def test_bytes_that_are_no_sidecar_set_the_image_aside(bench: Bench, sidecar: bytes) -> None:
    assert not bench.check(sidecar)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**53 - 2, max_value=10**30)
    | st.floats()
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def changes(draw: st.DrawFn) -> Callable[[Facts], bytes]:
    """A function from a valid sidecar to one with a few fields exchanged, lost or cut."""
    edits = draw(st.lists(st.tuples(st.integers(0, 99), st.booleans(), JSON), max_size=3))
    cut = draw(st.none() | st.tuples(st.integers(0, 999), st.binary(max_size=4)))

    def apply(valid: Facts) -> bytes:
        facts = copy.deepcopy(valid)
        for number, inside, value in edits:
            name = sorted(valid)[number % len(valid)]
            if inside and isinstance(facts.get(name), dict):
                facts[name][sorted(valid["usage"])[number % 3]] = value
            elif inside and isinstance(facts.get(name), list):
                facts[name] = [value, *facts[name]][: number % 4]
            elif inside:
                facts.pop(name, None)
            else:
                facts[name] = value
        data = json.dumps(facts).encode()
        if cut is not None:
            place, inserted = cut
            place %= len(data)
            data = data[:place] + inserted + data[place + 1 :]
        return data

    return apply


@settings(max_examples=300, deadline=None)
@given(change=changes())
def test_whatever_a_sidecar_holds_the_image_is_served_as_it_arrived_or_set_aside(
    bench: Bench, change: Callable[[Facts], bytes]
) -> None:
    sidecar = change(bench.valid)
    served = bench.check(sidecar)
    if served:
        facts = json.loads(sidecar)
        assert facts["sha256"] == bench.valid["sha256"]
        assert facts["key"] == bench.key
    if sidecar == json.dumps(bench.valid).encode():
        assert served
