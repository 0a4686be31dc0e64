"""Made the data folder version_0_1/, as version 0.1 of this project wrote it.

It was run once, on the code of version 0.1 (commit 698acf2), from a clone of that commit with the
.venv that its `python3 tasks.py check` makes:

    git clone <this repository> baseline && cd baseline && git checkout 698acf2
    python3 tasks.py check
    .venv/bin/python <this repository>/tests/data/make_version_0_1.py <this folder>/version_0_1

It is kept to show how the files came about; it isn't run by any test, and later code can't run it.

Everything goes through version 0.1's own Service, Store and Ledger. Only three things are not as in
a user's process: the emulator paints flat colours (small files), the machine's name and boot id
are made up (they stand in the ledger), and the calls to Azure's and Pixazo's own hosts are written
down and kept without being sent, as there was no account.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import platform
import shutil
import sqlite3
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mai_image import emulator
from mai_image.emulator import paint
from mai_image.mai import processes
from mai_image.mai.errors import MaiError
from mai_image.mai.ledger import Call, Ledger, Outcome
from mai_image.mai.messages import Edit, Generate, Message, Reference, Result, Usage, request_key
from mai_image.mai.models import BY_NAME
from mai_image.mai.profiles import Profiles
from mai_image.mai.service import Service
from PIL import Image, ImageDraw

PORT = 18601
"""Of the emulator that was called; it stands in profiles.toml and quota.sqlite."""

DEPLOYMENTS = {
    "pictures-east": "MAI-Image-2.6",
    "pictures-west": "MAI-Image-2.6",
    "pictures-25": "MAI-Image-2.5",
    "MAI-Image-2.6": "MAI-Image-2.6",
    "MAI-Image-2.5": "MAI-Image-2.5",
}

TOKEN = "not-a-real-token"
KEYS = dict.fromkeys(("MAI_WORK_KEY", "MAI_GATEWAY_KEY"), emulator.DEFAULT_KEY)

PROFILES = f"""\
# Written for version 0.1.
[profiles.work]
service = "foundry"
endpoint = "http://127.0.0.1:{PORT}"
credential = {{ kind = "key_env", name = "MAI_WORK_KEY" }}
requests_a_minute = 600
timeout = 120
shutdown_grace = 5

[profiles.work.deployments]
"MAI-Image-2.6" = ["pictures-east", "pictures-west"]
"MAI-Image-2.5" = "pictures-25"

[profiles.work.budget]
day = 5.00
month = 50.00

[profiles.studio]
service = "foundry"
endpoint = "http://127.0.0.1:{PORT}"
credential = {{ kind = "entra", method = "azure_cli", tenant_id = "contoso.example" }}
requests_a_minute = 1
keep_prompts = false

[profiles.gateway]
service = "pixazo"
endpoint = "http://127.0.0.1:{PORT}"
credential = {{ kind = "key_env", name = "MAI_GATEWAY_KEY" }}
timeout = 600

[profiles.azure]
service = "foundry"
endpoint = "https://contoso-example.services.ai.azure.com"
credential = {{ kind = "key_env", name = "MAI_AZURE_KEY" }}
tier = 2

[profiles.azure.deployments]
"*" = "any-model"

[profiles.azure.budget]
month = 100

[profiles.pixazo]
service = "pixazo"
credential = {{ kind = "key_env", name = "PIXAZO_API_KEY" }}
media_hosts = ["media.example.com"]

[store]
limit_gb = 2.5

[page]
allow_remote = false
show_prompts = true
"""

PHOTO = "references/room.png"
SECOND = "references/chair.jpg"

LANTERN = "A paper lantern over a quiet canal, blue hour"
HARBOUR = "Ein Hafen im Nebel, 港の朝, “quoted” ✓"
VASE = "Put a green vase on the table of the first image"
FOX = "a red fox in the snow"
SLOW_FOX = "a slow fox [[job processing=600]]"


def flat(colours: list[tuple[int, int, int]], size: tuple[int, int]) -> Image.Image:
    """A few rectangles."""
    image = Image.new("RGB", size, colours[0])
    draw = ImageDraw.Draw(image)
    for number, colour in enumerate(colours[1:], 1):
        edge = size[0] * number // (len(colours) + 1)
        draw.rectangle((edge, size[1] // 3, edge + size[0] // 8, size[1] * 2 // 3), colour)
    return image


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """A small file."""
    buffer = io.BytesIO()
    if kind == "PNG":
        image.save(buffer, kind, optimize=True)
    else:
        image.save(buffer, kind, quality=80)
    return buffer.getvalue()


def landscape(seed: bytes, size: tuple[int, int]) -> Image.Image:
    """What the emulator paints here: colours of the seed."""
    return flat([(seed[3 * i], seed[3 * i + 1], seed[3 * i + 2]) for i in range(4)], size)


def main(folder: Path) -> None:
    """Make the folder."""
    paint.landscape = landscape
    paint.png = encoded
    platform.node = lambda: "a-machine-of-version-0-1"
    processes._boot = lambda: "00000000-0000-4000-8000-000000000000"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "references").mkdir(parents=True)
    (folder / "profiles.toml").write_text(PROFILES, encoding="utf-8")
    room = flat([(214, 205, 190), (120, 84, 60), (70, 110, 140)], (768, 768))
    chair = flat([(240, 240, 240), (160, 40, 40)], (320, 240))
    (folder / PHOTO).write_bytes(encoded(room))
    (folder / SECOND).write_bytes(encoded(chair, "JPEG"))
    options = emulator.Options(
        key=emulator.DEFAULT_KEY, tokens=(TOKEN,), deployments=DEPLOYMENTS, processing=0.1
    )
    with emulator.start(port=PORT, options=options) as running:
        maker = Maker(folder, running)
        maker.buy()
        maker.keep_what_real_services_sent()
        maker.close()
    maker.write_down()


class Maker:
    """One run of version 0.1's service, and what was asked of it."""

    def __init__(self, folder: Path, running: Any) -> None:
        self.folder = folder
        self.made_at = time.time()
        token = SimpleNamespace(token=TOKEN, expires_on=int(self.made_at) + 4000)
        provider = SimpleNamespace(get_token=lambda *scopes, **more: token, close=lambda: None)
        self.profiles = Profiles(folder, dict(KEYS), build=lambda entra: provider)
        self.service = Service(
            folder, self.profiles, launch_emulator=lambda: running.url, poll=0.05
        )
        self.requests: list[dict[str, object]] = []

    def reference(self, name: str) -> Reference:
        """A picture of the folder, as it is sent."""
        data = (self.folder / name).read_bytes()
        with Image.open(io.BytesIO(data)) as opened:
            kind, (width, height) = opened.format or "", opened.size
        return Reference(data, f"image/{kind.lower()}", width, height)

    def buy(self) -> None:
        """Calls that end in every way there is."""
        self.ask(Generate("MAI-Image-2.6", LANTERN, 768, 768, seed=7), "work")
        self.ask(Generate("MAI-Image-2.5", HARBOUR, 768, 768, seed=8), "work")
        room = (self.reference(PHOTO),)
        self.ask(Edit("MAI-Image-2.6", VASE, room, seed=9), "work", [PHOTO])
        self.ask(Generate("MAI-Image-2.5", FOX, 1024, 1024, seed=1), "gateway")
        self.ask(Generate("MAI-Image-2.6", "A lighthouse, studio light", 768, 768, 3), "studio")
        self.ask(Generate("MAI-Image-2.6", "A free rehearsal", 768, 768, 0), "emulator")
        for prompt, profile, model in (
            ("refused for its fields [[fault status=400]]", "work", "MAI-Image-2.6"),
            ("no such deployment [[fault status=404]]", "work", "MAI-Image-2.5"),
            ("a job that fails [[job end=error reason=no_capacity]]", "gateway", "MAI-Image-2.5"),
            ("blockprompt in words", "work", "MAI-Image-2.6"),
            ("blockresult in words", "work", "MAI-Image-2.5"),
            ("lost before the answer [[fault reset=answer]]", "work", "MAI-Image-2.6"),
            ("lost in the answer [[fault cut=50%]]", "work", "MAI-Image-2.5"),
            ("a picture that nobody can read [[fault answer=garbage]]", "work", "MAI-Image-2.6"),
            ("a job that is forgotten [[job forget=1]]", "gateway", "MAI-Image-2.5"),
        ):
            self.ask(Generate(model, prompt, 768, 768), profile)
        self.withdraw()
        self.leave_a_job()

    def ask(self, message: Message, profile: str, files: list[str] | None = None) -> None:
        """Ask, and note how it ended."""
        try:
            result = self.service.submit(message, profile).result(120)
        except MaiError as error:
            self.note(message, profile, files, error=error)
        else:
            self.note(message, profile, files, result=result)

    def withdraw(self) -> None:
        """A call that waits for its turn (one request a minute) and is given up."""
        message = Generate("MAI-Image-2.6", "never sent", 768, 768)
        waiting = threading.Event()
        future = self.service.submit(
            message, "studio", lambda news: waiting.set() if news.phase == "waiting" else None
        )
        assert waiting.wait(10)
        future.cancel()
        until(lambda: self.service.ledger.rows(1)[0]["outcome"] == "withdrawn")
        self.note(message, "studio", None)

    def leave_a_job(self) -> None:
        """A job that is still running when the program ends."""
        message = Generate("MAI-Image-2.5", SLOW_FOX, 1024, 1024, seed=2)
        polled = threading.Event()
        self.service.submit(
            message, "gateway", lambda news: polled.set() if news.phase == "processing" else None
        )
        assert polled.wait(10)
        self.note(message, "gateway", None)

    def keep_what_real_services_sent(self) -> None:
        """Pictures under "foundry" and "pixazo", with their rows."""
        plain = encoded(flat([(20, 60, 90), (230, 200, 120)], (1024, 1024)))
        wide = encoded(flat([(90, 20, 60), (120, 230, 200)], (1536, 1024)))
        edited = encoded(flat([(214, 205, 190), (60, 160, 80)], (1024, 1024)))
        photo = encoded(flat([(40, 40, 44), (200, 90, 40)], (1024, 1024)), "JPEG")
        both = (self.reference(PHOTO), self.reference(SECOND))
        lines = (
            (Generate("MAI-Image-2.6", "A bridge, paid on Azure", 1024, 1024, seed=42), "azure",
             plain, "image/png", (1024, 1024), Usage(12, 0, 1024), []),
            (Generate("MAI-Image-2.6", "A wide bridge", 1024, 1024, 5, True, True), "azure",
             wide, "image/png", (1536, 1024), Usage(12, 0, 1536), []),
            (Edit("MAI-Image-2.6", "Put the chair into the room", both, seed=6), "azure",
             edited, "image/png", (1024, 1024), Usage(14, 651, 1024), [PHOTO, SECOND]),
            (Edit("MAI-Image-2.5", "Make it night", both[:1], size=(1024, 1024)), "azure",
             edited, "image/png", (1024, 1024), Usage(11, 576, 1024), [PHOTO]),
            (Generate("MAI-Image-2.5", "A red fox, paid at Pixazo", 1024, 1024, seed=1), "pixazo",
             photo, "image/jpeg", (1024, 1024), None, []),
        )  # fmt: skip
        for number, (message, profile, image, kind, size, usage, files) in enumerate(lines, 1):
            self.keep(number, message, profile, image, kind, size, usage, files)

    def keep(
        self,
        number: int,
        message: Message,
        name: str,
        image: bytes,
        kind: str,
        size: tuple[int, int],
        usage: Usage | None,
        files: list[str],
    ) -> None:
        """What mai/calls.py does around a call: a row, the picture, the row's end."""
        profile, model = self.profiles.get(name), BY_NAME[message.model]
        asked = getattr(message, "size", None)
        if isinstance(message, Generate) and not message.auto_aspect_ratio:
            asked = (message.width, message.height)
        estimate = model.estimate(message)
        result = Result(
            image, kind, *size, model.name, asked,
            request_id=f"00000000-0000-4000-8000-00000000000{number}",
            usage=usage,
            cost_usd=estimate if usage is None else model.cost(usage),
            seconds=20.0 + number,
            notes=() if usage else ("Pixazo has prices of its own and counts no tokens: the cost "
                                    "is an estimate",),
        )  # fmt: skip
        key = request_key(message, profile.store_service)
        kind_of_call = type(message).__name__.lower()
        call = Call(key, name, profile.store_service, model.name, kind_of_call, estimate)
        row = self.service.ledger.open(call, profile.budget, alone=True, out=False)
        self.service.ledger.mark(row, True, profile.deployments_for(model.name)[0])
        if profile.service == "pixazo":
            self.service.ledger.set_job(row, str(result.request_id))
        self.service.store.put(
            key,
            result,
            prompt=message.prompt,
            keep_prompt=profile.keep_prompts,
            service=profile.store_service,
            profile=name,
        )
        self.service.ledger.close(
            row,
            Outcome.DELIVERED,
            cost_usd=result.cost_usd,
            usage=usage,
            request_id=result.request_id,
            status=200,
        )
        self.note(message, name, files, result=result)

    def note(
        self,
        message: Message,
        profile: str,
        files: list[str] | None,
        *,
        result: Result | None = None,
        error: MaiError | None = None,
    ) -> None:
        """A request for expected.json."""
        fields = {field.name: getattr(message, field.name) for field in dataclasses.fields(message)}
        if isinstance(message, Edit):
            fields["images"] = [
                {
                    "file": name,
                    "sha256": hashlib.sha256(image.data).hexdigest(),
                    "media_type": image.media_type,
                    "width": image.width,
                    "height": image.height,
                }
                for name, image in zip(files or [], message.images, strict=True)
            ]
        service = self.profiles.get(profile).store_service
        picture = result and {
            "sha256": hashlib.sha256(result.image).hexdigest(),
            "bytes": len(result.image),
            "media_type": result.media_type,
            "width": result.width,
            "height": result.height,
            "asked": result.asked,
            "request_id": result.request_id,
            "usage": result.usage and dataclasses.asdict(result.usage),
            "cost_usd_when_bought": result.cost_usd,
            "seconds": result.seconds,
            "notes": result.notes,
        }
        self.requests.append(
            {
                "kind": type(message).__name__.lower(),
                "fields": fields,
                "profile": profile,
                "service": service,
                "key": request_key(message, service),
                "error": error and type(error).__name__,
                "picture": picture,
            }
        )

    def close(self) -> None:
        """End the service as the end of the program does, and let go of every file."""
        self.service.close()
        self.service.ledger.dispose()
        self.service.store.dispose()
        self.service._desk.quota.close()
        time.sleep(0.2)
        incoming = self.folder / "store" / "incoming"
        assert not list(incoming.iterdir())
        incoming.rmdir()

    def write_down(self) -> None:
        """expected.json, read back by version 0.1 from a copy."""
        copy = self.folder.with_name("copy-of-" + self.folder.name)
        shutil.copytree(self.folder, copy)
        try:
            ledger = Ledger(copy / "ledger.sqlite")
            spend, rows = ledger.spend(), ledger.rows(None)
            ledger.dispose()
        finally:
            shutil.rmtree(copy)
        ends = {row["key"]: row["outcome"] for row in rows}
        for request in self.requests:
            request["outcome"] = ends[request["key"]]
        (job,) = (row for row in rows if row["outcome"] == "in flight")
        facts = {
            "version": "0.1.0",
            "commit": "698acf2",
            "made_at": self.made_at,
            "endpoint": f"http://127.0.0.1:{PORT}",
            "deployments_of_the_emulator": DEPLOYMENTS,
            "requests": self.requests,
            "spend": {
                "total": dataclasses.asdict(spend.total),
                "by_model": {
                    name: dataclasses.asdict(sums.total) for name, sums in spend.by_model.items()
                },
                "by_profile": {
                    name: dataclasses.asdict(sums.total) for name, sums in spend.by_profile.items()
                },
                "in_flight": dataclasses.asdict(spend.in_flight),
                "perhaps_billed": [dataclasses.asdict(one) for one in spend.perhaps_billed],
            },
            "rows_by_outcome": dict(sorted(Counter(str(row["outcome"]) for row in rows).items())),
            "job": {name: job[name] for name in ("id", "job_id", "key", "profile", "opened_at")},
            "rows": rows,
            "pictures": self.index(),
            "lanes": self.lanes(),
        }
        text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
        (self.folder / "expected.json").write_text(text, encoding="utf-8")

    def index(self) -> list[dict[str, object]]:
        """The rows of the store's index."""
        names = ("key", "bytes", "kept_at", "used_at")
        found = read(self.folder / "store" / "index.sqlite", "SELECT * FROM pictures ORDER BY key")
        return [dict(zip(names, row, strict=True)) for row in found]

    def lanes(self) -> list[object]:
        """The names of the deployments whose pace is known."""
        found = read(self.folder / "quota.sqlite", "SELECT name FROM lanes ORDER BY name")
        return [row[0] for row in found]


def read(path: Path, sql: str) -> list[tuple[object, ...]]:
    """What a closed file says; nothing is made beside it."""
    connection = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def until(condition: Any) -> None:
    """Wait for something that happens in another thread."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
