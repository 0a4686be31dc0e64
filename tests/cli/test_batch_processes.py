"""`mai-image batch` as a process of its own: killed, stopped by signals, and two at once.

The emulator counts what it bills; the ledger must know of every image that was billed and lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mai_image import emulator
from mai_image.emulator import Emulator
from mai_image.mai.ledger import Ledger
from PIL import Image

PROFILES = """
[profiles.work]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000
"""

ROWS = 24

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def emulators() -> Iterator[Emulator]:
    with emulator.start() as started:
        yield started


@pytest.fixture
def service(emulators: Emulator) -> Emulator:
    emulators.log.clear()
    emulators.fault("")
    return emulators


@pytest.fixture
def start(tmp_path: Path, service: Emulator) -> Iterator[Start]:
    """Starts the command on 24 rows in `tmp_path`; what still runs at the end is killed."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "profiles.toml").write_text(PROFILES.format(url=service.url), encoding="utf-8")
    (data / "profiles.toml").chmod(0o600)
    text = "id,prompt\n" + "".join(f"r{i},fox {i}\n" for i in range(ROWS))
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mai_image.cli", "--folder", str(data), "batch", "rows.csv"]
    begun: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*command, "--yes", "--size", "768x768", *words],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not condition() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.005)


def doubtful(folder: Path) -> int:
    ledger = Ledger(folder / "data" / "ledger.sqlite")
    try:
        return len(ledger.doubtful())
    finally:
        ledger.close_file()


def whole_images(folder: Path) -> list[str]:
    """The images of the batch; each can be decoded."""
    found = sorted((folder / "batch").glob("*.png"))
    for path in found:
        with Image.open(path) as image:
            image.load()
    return [path.stem for path in found]


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_a_job_pays_no_image_twice_but_what_the_ledger_names(
    start: Start, service: Emulator, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    service.fault("latency=0.05")
    for _ in range(3):
        seen = len(service.log.entries)
        process = start()
        more = chance.randint(0, 8)
        until(lambda seen=seen, more=more: len(service.log.entries) > seen + more, process)  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
        whole_images(tmp_path)
    process = start()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert whole_images(tmp_path) == sorted(f"r{i}_0" for i in range(ROWS))
    assert 0 <= service.log.billed - ROWS <= doubtful(tmp_path)
    lines = (tmp_path / "batch" / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(f"r{i}" for i in range(ROWS))
    assert not list((tmp_path / "batch").glob("*.tmp"))


def test_two_jobs_on_one_folder_exclude_each_other_and_a_kill_leaves_no_lock(
    start: Start, service: Emulator, tmp_path: Path
) -> None:
    service.fault("latency=0.2")
    first = start()
    until(lambda: bool(service.log.entries), first)
    first.send_signal(signal.SIGSTOP)  # so that it doesn't end meanwhile
    second = start()
    said, _ = second.communicate(timeout=60)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert "Another batch works in batch" in said
    elsewhere = start("--out", "other")  # the same requests, in another folder: one bill
    first.communicate(timeout=120)
    elsewhere.communicate(timeout=120)
    assert (first.returncode, elsewhere.returncode) == (0, 0)
    assert service.log.billed == ROWS
    third = start("--seed", "7")
    until(lambda: service.log.billed > ROWS, third)
    third.kill()
    third.communicate()
    last = start()
    said, _ = last.communicate(timeout=120)
    assert last.returncode == 0, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_job_when_what_is_out_has_arrived(
    start: Start, service: Emulator, tmp_path: Path, number: int
) -> None:
    service.fault("latency=1")
    process = start()
    until(lambda: len(service.log.entries) >= 2, process)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    stored = list((tmp_path / "data" / "store").glob("??/*.png"))
    assert len(stored) == service.log.billed < ROWS
    assert doubtful(tmp_path) == 0
    assert "Stopped" in said


def test_the_second_ctrl_c_ends_at_once_and_names_what_is_perhaps_billed(
    start: Start, service: Emulator, tmp_path: Path
) -> None:
    service.fault("latency=60")
    process = start()
    until(lambda: len(service.log.entries) >= 2, process)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert process.returncode == 130
    assert "Perhaps billed" in said
    assert doubtful(tmp_path) >= 2


def test_two_ctrl_c_at_once_end_a_job_that_waits_for_its_quota_as_cancelled(
    start: Start, service: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "data" / "profiles.toml"
    path.write_text(path.read_text().replace("= 6000", "= 2"))
    process = start()
    until(lambda: service.log.billed >= 2, process)
    process.send_signal(signal.SIGSTOP)  # both come between two looks
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Stopped" in said


def test_a_signal_before_anything_is_sent_ends_a_job_as_cancelled(
    start: Start, service: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").unlink()
    os.mkfifo(tmp_path / "rows.csv")
    process = start()
    writers: list[int] = []

    def is_read() -> bool:
        with contextlib.suppress(OSError):  # nobody has opened it yet
            writers.append(os.open(tmp_path / "rows.csv", os.O_WRONLY | os.O_NONBLOCK))
        return bool(writers)

    until(is_read, process)
    time.sleep(0.5)  # it waits in read() now: Python misses a signal in the microsecond before
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    os.close(writers.pop())
    assert process.returncode == 130, said
    assert service.log.billed == 0
