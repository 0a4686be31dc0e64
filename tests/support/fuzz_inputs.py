"""Inputs for fuzzing: what nearly is an answer, an image, a profiles.toml or a page's query.

Every strategy gives plain Python values (bytes, texts, numbers, lists and dicts of them), so that a
failing input can be written to a file and read again.
"""

from __future__ import annotations

import base64
import copy
import gzip
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from canary import KEY, SPELLINGS
from hypothesis import strategies as st
from mai_image.mai.models import CATALOGUE
from PIL import Image
from scripted_server import png, usage_of

ROOT = Path(__file__).resolve().parents[2]

SMALL = png(16, 16)

ODD_TEXTS = [
    "", "\x00", "\ud800", "-1", "nan", "inf", "1e999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT",
    "Mon, 00 Jan 0000 00:00:00 -9999", "Fri, 31 Dec 2100 23:59:59", KEY, f"Bearer {KEY}", "../..",
    '"]', "\r\nX: y", "🦊" * 9, "x" * 5000, "\\" * 99, "=1+1;=2", "a;-b", "@x", "\t=1",
]  # fmt: skip

ODD_VALUES = [
    None, True, False, 0, -1, 1, 7.5, 10**30, float("inf"), float("nan"), [], {}, [[]], [None],
    {"message": "x"}, *ODD_TEXTS,
]  # fmt: skip


def texts(most: int = 40) -> st.SearchStrategy[str]:
    """Words with a meaning somewhere, and any others, half characters too."""
    return st.one_of(
        st.sampled_from(ODD_TEXTS), st.text(st.characters(), max_size=most), st.text(max_size=most)
    )


@st.composite
def changed(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of the originals with a few bytes replaced, cut out, doubled or put in."""
    data = draw(st.sampled_from(originals))
    odd = [b"\0", b'"', b"{", b"[", b"\\u0000", b"NaN", b"1e999", b"\xff\xd8\xff", KEY.encode()]
    for _ in range(draw(st.integers(0, 4))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        new = draw(st.one_of(st.binary(max_size=8), st.sampled_from(odd)))
        data = data[:at] + new + data[at + length :]
    return data


@st.composite
def nearly(draw: st.DrawFn, originals: list[Any], leaves: st.SearchStrategy[Any]) -> Any:
    """One of the originals (lists and dicts) with up to four of its parts changed or left out."""
    holder = {"": copy.deepcopy(draw(st.sampled_from(originals)))}
    for _ in range(draw(st.integers(0, 4))):
        places = list(_places(holder))
        where, key = places[draw(st.integers(0, len(places) - 1))]
        change = draw(st.sampled_from(["replace", "replace", "replace", "wrap", "remove"]))
        if change == "remove" and where is not holder:
            del where[key]
        else:
            where[key] = [where[key]] if change == "wrap" else copy.deepcopy(draw(leaves))
    return holder[""]


def _places(value: Any) -> Any:
    """Every list or dict inside a value with each of its indexes or keys."""
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


# Answers of the services

STATUSES = [
    200, 200, 200, 201, 202, 204, 301, 400, 400, 400, 401, 402, 403, 404, 408, 413, 422, 429, 451,
    499, 500, 502, 503,
]  # fmt: skip

READ_HEADERS = [
    "retry-after", "retry-after-ms", "apim-request-id", "x-request-id", "content-type", "location",
    "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
]  # fmt: skip

SERVICE_TEXTS = [
    "content_safety_violation", "blocked by label", "response content", "Invalid parameters: size",
    "the argument size is unknown", "unsupported_request_argument", "pixels and width", "prompt",
    "exactly one image", "file must be attached", "input limit", "before the request was sent",
    "Insufficient Balance", "nsfw", "QUEUED", "PROCESSING", "COMPLETED", "FAILED", "ERROR", "done",
    "https://a.pixazo.ai/x.png", "http://127.0.0.1/x", "image", "job-1", *CATALOGUE,
    "IN_QUEUE", "IN_PROGRESS", "CANCELLED", "content_policy_violation", "exhausted balance",
    "https://v3.fal.media/x.png", "Unsupported parameter: size", "output_format", "image_size",
    "https://a.example/x/jobs/1", "https://a.example/x/../y", "https://b.example/x/jobs/1",
]  # fmt: skip

B64 = base64.b64encode(SMALL).decode()

URIS = [f"data:image/png;base64,{B64}", "data:image/png;base64,AAA", "data:,x", "DATA:image/png"]

DOCUMENTS: list[Any] = [
    {"created": 1, "data": [{"b64_json": B64}], "usage": usage_of(16, 16), "model": "x"},
    {"created": 1, "data": [{"b64_json": B64}], **usage_of(16, 16), "model": "MAI-Image-2.5"},
    {"data": [{"b64_json": B64.replace("/", "\\/")}], "usage": None},
    {"data": [], "usage": usage_of(16, 16)},
    {"usage": usage_of(16, 16)},
    {"data": [{"url": "https://a.example/x.png", "error": None}]},
    {"data": [{"error": {"code": "content_filter", "message": "x"}}]},
    {"message": "x", "code": 7},
    {"error": {"code": "x", "message": "y", "details": "z", "param": "size", "type": "t"}},
    {"error": {"code": "content_safety_violation", "message": "response content"}},
    {"error": "Insufficient Balance", "message": "x"},
    {"error": {"code": "unknown_argument", "message": "the argument size"}},
    {"request_id": "job-1", "status": "QUEUED"},
    {"request_id": "j", "status": "COMPLETED", "output": {"media_url": [URIS[0]]}},
    {"request_id": "j", "status": "COMPLETED", "media_url": "https://a.pixazo.ai/x.png"},
    {"request_id": "j", "status": "FAILED", "error": {"message": "nsfw"}, "output": None},
    {"status": "ERROR", "error": "moderation"},
    {
        "request_id": "j",
        "status": "IN_QUEUE",
        "status_url": "https://a.example/x/jobs/1/status",
        "response_url": "https://a.example/x/jobs/1",
        "cancel_url": "https://a.example/x/jobs/1/cancel",
    },
    {"request_id": "j", "status": "COMPLETED", "error": "x", "error_type": "cancelled"},
    {"images": [{"url": URIS[0], "content_type": "image/png", "width": 16, "height": 16}]},
    {"detail": [{"loc": ["body", "image_size"], "msg": "x", "type": "int_type"}]},
    {"detail": [{"loc": ["body", "prompt"], "msg": "x", "type": "content_policy_violation"}]},
    {"detail": "User is locked. Reason: Exhausted balance."},
    {
        "created": 1,
        "data": [{"b64_json": B64, "media_type": "image/png"}],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 9,
            "cost": 0.03,
            "is_byok": True,
            "cost_details": {"upstream_inference_cost": 0.1},
        },
    },
    {"error": {"code": 400, "message": "Unsupported parameter: size"}},
    {"error": {"code": 402, "message": "Insufficient credits", "metadata": {"raw": "{}"}}},
]


_LEAVES = st.one_of(
    st.sampled_from(ODD_VALUES), st.sampled_from(SERVICE_TEXTS), st.sampled_from(URIS),
    texts(), st.sampled_from(DOCUMENTS),
)  # fmt: skip


def values() -> st.SearchStrategy[Any]:
    """JSON that a service may send, nearly."""
    return nearly(DOCUMENTS, _LEAVES)


def json_bytes(value: Any) -> bytes:
    """A value as JSON, half characters too."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def base64_fields() -> st.SearchStrategy[bytes]:
    """An image's JSON whose base64 is cut, damaged, of another alphabet or of no image."""
    inside = st.one_of(
        changed([B64.encode(), b"AAEC_-4=", b"AA=AAAAA", b"", b"="]),
        st.binary(max_size=60).map(base64.b64encode),
        image_files().map(base64.b64encode),
    )
    usage = st.sampled_from([b"", b',"usage":{"num_output_tokens":1024}', b',"error":"x"'])
    return st.builds(
        lambda data, more: b'{"data":[{"b64_json": "%b"}]%b}' % (data, more), inside, usage
    )


DEEP = [b"[" * 70, b'{"a":' * 70 + b"1" + b"}" * 70, b'["[",' * 70, b"]" * 80 + b"[" * 80,
        b"[" * 250_000, b'{"error":"\\"' + b"[" * 99]  # fmt: skip


def bodies() -> st.SearchStrategy[bytes]:
    """What may stand in an answer."""
    exact = [json_bytes(document) for document in DOCUMENTS]
    return st.one_of(
        values().map(json_bytes),
        changed([*exact, b"<html><body>Bad gateway</body></html>", b""]),
        base64_fields(),
        st.sampled_from(DEEP),
        st.binary(max_size=60),
    )


DATES = ["Fri, 31 Dec 2100 23:59:59 GMT", "Fri, 31 Dec 2100 23:59:59", "Fri, 31 Dec 2100", "7"]


def header_values() -> st.SearchStrategy[str]:
    """Times, numbers and ids, nearly."""
    number = st.floats(-10, 10**6).map(str)
    return st.one_of(number, texts(), st.sampled_from(["image/png; x=y", "\x00\x01", *DATES]))


def headers() -> st.SearchStrategy[dict[str, str]]:
    """Those that are read, with odd values."""
    return st.dictionaries(st.sampled_from(READ_HEADERS), header_values(), max_size=4)


def answers() -> st.SearchStrategy[tuple[int, dict[str, str], bytes]]:
    """A status, headers and a body: of any kind, and those that nearly fit together."""
    status = st.one_of(st.sampled_from(STATUSES), st.integers(100, 999))
    errors = nearly([one for one in DOCUMENTS if "error" in one], _LEAVES).map(json_bytes)
    images = nearly(DOCUMENTS[:3], _LEAVES).map(json_bytes)
    return st.one_of(
        st.tuples(status, headers(), bodies()),
        st.tuples(st.sampled_from([400, 403, 422]), headers(), errors),
        st.tuples(st.just(200), headers(), st.one_of(images, base64_fields())),
    )


# HTTP


def _gzip_twice(data: bytes) -> bytes:
    return gzip.compress(data) + gzip.compress(data)


CODINGS = {
    b"identity": bytes,
    b"gzip": gzip.compress,
    b"x-gzip": lambda data: gzip.compress(data)[:-9],
    b"GZIP ": lambda data: gzip.compress(data) + b"junk" * 50,
    b" gzip": _gzip_twice,
    b"deflate": zlib.compress,
    b"Deflate": lambda data: zlib.compress(data + bytes(500_000)),
    b"br": bytes,
    b"gzip,gzip": gzip.compress,
}  # fmt: skip

STATUS_LINES = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 400 Bad", b"HTTP/1.1 429 X", b"HTTP/1.0 200 OK",
    b"HTTP/1.1 503", b"HTTP/1.1 204 No", b"HTTP/2 200 OK", b"HTTP/1.1 99 X", b"HTTP/1.1 302 Found",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No", b"HTTP/1.1 101 Switch", b"junk",
]  # fmt: skip

LOCATIONS = [b"http://127.0.0.1:9/", b"http://[", b"https://a:b", b"//", b"\xff", b"http://\x7f/"]

_FIELDS = st.one_of(
    st.sampled_from([b"set-cookie: a=b", b"x-echo: " + KEY.encode(), b"retry-after: 7",
                     b"api-key : x", b"\tfolded", b"x: " + bytes(range(128, 160)), b": empty"]),
    st.sampled_from(LOCATIONS).map(lambda place: b"location: " + place),
    st.binary(max_size=20),
)  # fmt: skip


def echoes() -> st.SearchStrategy[bytes]:
    """The key in all of its spellings, in a short body and in one too long to be a text."""
    spelled = st.sampled_from(list(SPELLINGS)).map(lambda name: SPELLINGS[name](KEY).encode())
    padding = st.sampled_from([b"", b"{}", b"x" * 70_000])
    return st.builds(lambda *parts: b"".join(parts), padding, spelled, padding)


@st.composite
def http_answers(draw: st.DrawFn) -> bytes:
    """Bytes on a connection: a status line, headers and a body whose framing may be wrong."""
    body = draw(st.one_of(bodies(), echoes(), st.just(bytes(300_000))))
    lines = [draw(st.sampled_from(STATUS_LINES) if draw(st.booleans()) else st.just(
        STATUS_LINES[0]))]  # fmt: skip
    lines += draw(st.lists(_FIELDS, max_size=2))
    if draw(st.booleans()):
        coding = draw(st.sampled_from(list(CODINGS)))
        lines.append(b"content-encoding: " + coding)
        body = CODINGS[coding](body)
    framing = draw(st.sampled_from(["right", "right", "right", "wrong", "chunked", "none"]))
    if framing == "chunked":
        lines.append(b"transfer-encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\nx: y\r\n\r\n" % (len(body), body)
    elif framing != "none":
        wrong = draw(st.sampled_from([-1, 1, 10**12])) if framing == "wrong" else 0
        lines.append(b"content-length: %d" % (len(body) + wrong))
    whole = b"\r\n".join([*lines, b"", body])
    return draw(changed([whole])) if draw(st.integers(0, 3)) == 0 else whole


SETTING_NAMES = [
    "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
]  # fmt: skip


def network_settings() -> st.SearchStrategy[dict[str, str]]:
    """Variables about proxies and certificates; PORT stands for a server on this machine."""
    value = st.one_of(
        st.sampled_from(["http://127.0.0.1:PORT", "socks5://127.0.0.1:1", "https://[::1", "*", "/",
                         "http://u:p@ss@127.0.0.1:99999", "/nowhere", "ftp://x", "[::1]:9"]),
        st.text(st.characters(min_codepoint=1, codec="utf-8"), max_size=8),
    )  # fmt: skip
    usual = [
        {"ALL_PROXY": "http://127.0.0.1:PORT"},
        {"ALL_PROXY": "http://127.0.0.1:99999"},
        {"SSL_CERT_DIR": "/nowhere"},
        {"SSLKEYLOGFILE": "/nowhere/keys"},  # a file that can be written would be written
    ]
    return st.one_of(
        st.sampled_from(usual),
        st.dictionaries(st.sampled_from(SETTING_NAMES), value, min_size=1, max_size=2),
    )


# Images


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


KINDS = [b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"acTL", b"fcTL",
         b"fdAT", b"gAMA", b"sBIT", b"bKGD", b"pHYs", b"IHDR", b"IEND", b"\0\0\0\0"]  # fmt: skip

_SIDES = st.one_of(st.integers(0, 40), st.sampled_from([8192, 65535, 2**31 - 1, 2**32 - 1]))


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    """PNGs whose checksums are right, so that what is inside them is reached."""
    data = st.one_of(
        st.binary(max_size=64), st.binary(max_size=600).map(zlib.compress), changed([SMALL[41:-16]])
    )
    header = struct.pack(
        ">IIBBBBB", draw(_SIDES), draw(_SIDES), draw(st.sampled_from([1, 2, 4, 8, 8, 16, 3])),
        draw(st.sampled_from([0, 2, 2, 3, 4, 6, 5])), 0, 0, draw(st.sampled_from([0, 1, 2])),
    )  # fmt: skip
    parts = draw(st.lists(st.tuples(st.sampled_from(KINDS), data), max_size=5))
    times = draw(st.sampled_from([1] * 60 + [70_000]))
    first = _chunk(*draw(st.sampled_from([(b"IHDR", header)] * 20 + [(b"IDAT", b"x")])))
    inner = b"".join(_chunk(kind, data) for kind, data in parts)
    repeated = _chunk(b"tEXt", b"") * times if times > 1 else b""
    return b"\x89PNG\r\n\x1a\n" + first + inner + repeated + _chunk(b"IEND", b"")


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (200, 90, 10)).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


JPEG = _jpeg()


@st.composite
def jpegs(draw: st.DrawFn) -> bytes:
    """JPEGs made of segments, whose lengths may be wrong, before the scans of a real one."""
    parts = [b"\xff\xd8\xff\xd8"]
    for _ in range(draw(st.integers(0, 5))):
        marker = draw(st.sampled_from([0xE0, 0xE1, 0xFE, 0xDB, 0xC4, 0xC0, 0xC2, 0xD0, 0x01, 0xFF]))
        data = draw(st.binary(max_size=20))
        length = max(0, len(data) + 2 + draw(st.sampled_from([0, 0, 0, -2, 1, 60_000])))
        parts.append(struct.pack(">BBH", 0xFF, marker, length) + data)
    scans = draw(st.sampled_from([0, 1, 200]))
    parts += [draw(st.sampled_from([JPEG[2:], b""])), b"\xff\xda\x00\x02" * scans]
    return b"".join(parts) + draw(st.sampled_from([b"\xff\xd9", b"", b"\xff\xd9" + bytes(90)]))


OTHER_FILES = [b"", b" <html>", b"<?xml", b'{"a":1}', b"[1]", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ",
               b"RIFF\0\0\0\0WAVE", b"BM"]  # fmt: skip


def image_files() -> st.SearchStrategy[bytes]:
    """What nearly is an image file."""
    return st.one_of(
        pngs(),
        jpegs(),
        changed([JPEG, SMALL]),
        st.sampled_from(OTHER_FILES),
        st.binary(max_size=60),
    )


# Nodes


def node_inputs() -> st.SearchStrategy[dict[str, Any]]:
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
            "delivery": st.one_of(st.sampled_from(["wait", "order and go on"]), texts(5)),
            "aspect_ratio": ratio, "target_width": number, "target_height": number,
        },
    )  # fmt: skip


# The page


PAGE_QUERIES: list[Any] = [
    ["price", {"kind": "generate", "model": "MAI-Image-2.6", "width": "1024", "height": "768",
               "auto_aspect_ratio": "false", "web_grounding": "true"}],
    ["price", {"kind": "edit", "model": "MAI-Image-2.5", "width": "1", "height": ""}],
    ["plan", {"model": "MAI-Image-2.6", "aspect_ratio": "16:9", "target_width": "5000",
              "target_height": "0"}],
    ["plan", {"model": "MAI-Image-2.6", "aspect_ratio": "from image", "target_width": "0",
              "target_height": "99999", "image_width": "640", "image_height": "480"}],
    ["images", {"count": "24"}],
    ["status", {}],
    [f"images/{'0' * 64}", {}],
    [f"images/{'a' * 64}/thumbnail", {}],
    ["web/main.mjs", {}],
]  # fmt: skip


def page_targets() -> st.SearchStrategy[bytes]:
    """The target of a request's first line: a path below /mai-image/ and its query."""
    word = st.one_of(
        texts(12), st.integers(-5, 10**8).map(str), st.sampled_from([*CATALOGUE, "from target",
        "²", "٣", "1:1", "0:0", "1e5:1", "9" * 5000, "%", "../routes.py", "from image"])
    )  # fmt: skip
    found = nearly(PAGE_QUERIES, word).map(_page_target)
    # A space or a line's end would begin another part of the request.
    return st.one_of(found, changed([_page_target(PAGE_QUERIES[0])])).map(
        lambda target: b"".join(target.split())
    )


def _page_target(asked: Any) -> bytes:
    path, query = asked if isinstance(asked, list) and len(asked) == 2 else (str(asked), {})
    pairs = query.items() if isinstance(query, dict) else [("model", query)]
    parts = "&".join(f"{name}={_quoted(value)}" for name, value in pairs)
    return f"/mai-image/{_quoted(path)}?{parts}".encode("ascii", "replace")


def _quoted(value: object) -> str:
    return quote(str(value).encode("utf-8", "surrogatepass"), safe="/:,%")


PAGE_HEADERS = {
    "Host": ["localhost:8188", "127.0.0.1", "evil.example", "[::1]:8188", "[::1", "", "a:b:c"],
    "Origin": ["http://localhost:8188", "null", "http://", "http://[", "https://evil.example"],
    "Sec-Fetch-Site": ["same-origin", "cross-site", "none", "x"],
    "X-Forwarded-For": ["10.0.0.1"],
}


def page_headers() -> st.SearchStrategy[dict[str, str]]:
    """Headers by which a request is let in or not."""
    return st.fixed_dictionaries(
        {"Host": st.sampled_from(PAGE_HEADERS["Host"] + ["localhost:8188"] * 9)},
        optional={
            name: st.sampled_from(found) for name, found in PAGE_HEADERS.items() if name != "Host"
        },
    )
