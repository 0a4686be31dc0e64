"""`mai-image store` on machines that share their images in a folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from mai_image.cli import main
from mai_image.mai.database import DatabaseServer
from mai_image.mai.ledger import Ledger, NewCall, Outcome
from mai_image.mai.store import Store
from mai_image.mai.types import Budget
from store_helpers import key, put


class Machine:
    """A folder of data, and its profiles.toml."""

    def __init__(self, folder: Path, images: Path, database: str = "") -> None:
        self.folder = folder
        folder.mkdir()
        database = database and f'database = "{database}"\n'
        text = f'[shared]\nimages = "{images}"\n{database}machine = "{folder.name}"\n'
        (folder / "profiles.toml").write_text(text)

    def run(self, *words: str) -> int:
        return main(["--folder", str(self.folder), "store", *words])

    def bought(self, *names: object) -> None:
        """Images that are here from before."""
        store = Store(self.folder / "store")
        for name in names:
            put(store, name)
        store.close_file()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture
def machine(tmp_path: Path, images: Path) -> Machine:
    machine = Machine(tmp_path / "render-1", images)
    machine.bought("fox", "cat")
    return machine


def stored(images: Path) -> set[str]:
    """The keys in the shared folder."""
    return {path.stem for path in images.glob("[0-9a-f][0-9a-f]/*.json")}


def age(images: Path, name: str, days: float) -> None:
    """Make it look as if it had come so long ago."""
    moment = time.time() - days * 86_400
    for path in images.glob(f"??/{key(name)}*"):
        os.utime(path, (moment, moment))


def test_push_brings_the_images_and_says_how_many(
    machine: Machine, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.run("push", "--dry-run") == 0
    assert stored(images) == set()
    assert machine.run("push") == 0
    assert stored(images) == {key("fox"), key("cat")}
    assert machine.run("push") == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "2 images would be brought, 0 were there",
        "2 images brought, 0 were there",
        "0 images brought, 2 were there",
    ]


def test_push_brings_the_ledger_too_and_counts_nothing_twice(
    tmp_path: Path, images: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path / "render-1", images, postgres)
    ledger = Ledger(machine.folder / "ledger.sqlite")
    call = NewCall(key("fox"), "work", "foundry", "MAI-Image-2.6", "generate", 0.05)
    ledger.close(ledger.open(call, Budget()), Outcome.DELIVERED, cost_usd=0.04)
    ledger.close_file()
    for _ in range(2):
        assert machine.run("push") == 0
    said = capsys.readouterr().out
    assert "1 calls of the ledger brought, 0 were there" in said
    assert "0 calls of the ledger brought, 1 were there" in said
    assert main(["--folder", str(machine.folder), "spend", "--by", "machine"]) == 0
    assert "render-1" in capsys.readouterr().out


def test_push_says_of_no_damaged_image_that_it_is_shared(
    tmp_path: Path, images: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path / "render-1", images, postgres)
    machine.bought("fox", "cat")
    (path,) = machine.folder.glob(f"store/??/{key('cat')}.png")
    path.write_bytes(b"")
    ledger = Ledger(machine.folder / "ledger.sqlite")
    for name in ("fox", "cat"):
        call = NewCall(key(name), "work", "foundry", "MAI-Image-2.6", "generate", 0.05)
        ledger.close(ledger.open(call, Budget()), Outcome.DELIVERED, cost_usd=0.04)
    ledger.close_file()
    assert machine.run("push") == 0
    assert "1 images of this machine are damaged" in capsys.readouterr().out
    studio = Ledger(DatabaseServer(postgres))
    assert studio.shared_before(key("fox")) is not None
    assert studio.shared_before(key("cat")) is None
    studio.close_file()


def test_prune_deletes_what_is_old_and_only_says_so_in_a_dry_run(
    machine: Machine, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.run("push")
    age(images, "fox", 91)
    age(images, "cat", 89)
    assert machine.run("prune", "--older-than", "90d", "--dry-run") == 0
    assert len(stored(images)) == 2
    assert machine.run("prune", "--older-than", "90d") == 0
    assert stored(images) == {key("cat")}
    said = capsys.readouterr().out
    assert "1 images (0.0 MB) would be deleted" in said
    assert "1 images (0.0 MB) deleted" in said


def test_prune_keeps_to_a_limit(machine: Machine, images: Path) -> None:
    machine.run("push")
    age(images, "fox", 2)
    age(images, "cat", 1)
    assert machine.run("prune", "--limit", "500GB") == 0
    assert len(stored(images)) == 2
    assert machine.run("prune", "--limit", "0.001MB") == 0
    assert stored(images) == {key("cat")}


def test_forget_deletes_an_image_here_and_where_it_is_shared(
    machine: Machine, images: Path, tmp_path: Path
) -> None:
    machine.run("push")
    assert machine.run("forget", key("fox")) == 0
    assert stored(images) == {key("cat")}
    other = Machine(tmp_path / "render-2", images)  # which never had it
    assert other.run("forget", key("cat")) == 0
    assert stored(images) == set()


@pytest.mark.parametrize(
    "words",
    [
        ["prune"],
        ["prune", "--limit", "much"],
        ["prune", "--older-than", "90"],
        ["push", "--limit", "1GB"],
        ["push", "0" * 64],
        ["forget"],
        ["forget", "0" * 64, "--dry-run"],
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_done(
    machine: Machine, images: Path, words: list[str]
) -> None:
    assert machine.run(*words) == 2
    assert stored(images) == set()


@pytest.mark.parametrize("words", [["push"], ["prune", "--limit", "1GB"]])
def test_a_machine_that_shares_nothing_is_told_where_to_say_so(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--folder", str(tmp_path), "store", *words]) == 2
    assert "Set images under [shared]" in capsys.readouterr().err
