"""What a service can do to one call: every status of its table, and worse."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from client_harness import whole_body
from mai_image.mai.errors import (
    AnswerError,
    AuthenticationError,
    BadRequestError,
    BlockedError,
    CallTimeoutError,
    ConnectionLostError,
    ForbiddenError,
    MaiError,
    NotFoundError,
    PaymentError,
    ServiceError,
    UnavailableError,
    UnreadableError,
)
from scripted_server import (
    Behaviour,
    Connection,
    ReceivedRequest,
    error_body,
    image_body,
    refuse,
    response,
)


@dataclass(frozen=True)
class Fault:
    """What happens to one call.

    `ends` is the error that its user sees, None where the call is repeated and succeeds. `perhaps`
    says that the ledger must call it perhaps billed; `phantom` that the server billed nothing all
    the same: from this side the two look alike, so the ledger takes the worse. `unreadable` is an
    image that was paid for and can't be read: its bytes are kept, and nothing is sent again.
    """

    name: str
    behave: Behaviour
    ends: type[MaiError] | None
    perhaps: bool = False
    phantom: bool = False
    edits: bool = False
    timeout: float = 10.0
    unreadable: bool = False


def value_error(text: str) -> Behaviour:
    return refuse(400, error_body("unsupported_request_value", text))


def body(change: Callable[[bytes], bytes], **headers: str) -> Behaviour:
    """Bill an image and send something else in its place, in a whole answer."""

    def behave(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        connection.answer(200, change(whole_body(request)), headers)

    return behave


def raw(change: Callable[[bytes], bytes], *, reset: bool = False) -> Behaviour:
    """Bill an image, send a part of the answer or something else, and end the connection."""

    def behave(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        connection.send(change(response(200, whole_body(request))))
        if reset:
            time.sleep(0.02)
            connection.reset()
        connection.hang_up()
        raise ConnectionAbortedError

    return behave


def cut(share: float, *, reset: bool = False) -> Behaviour:
    return raw(lambda whole: whole[: int(len(whole) * share)], reset=reset)


def unbilled_end(connection: Connection, request: ReceivedRequest) -> None:
    connection.reset()


def silent(connection: Connection, request: ReceivedRequest) -> None:
    connection.server.bill(request)
    time.sleep(0.6)


def drip(connection: Connection, request: ReceivedRequest) -> None:
    connection.server.bill(request)
    for byte in response(200, whole_body(request))[:60]:
        connection.send(bytes([byte]))
        time.sleep(0.02)


def slow_but_whole(connection: Connection, request: ReceivedRequest) -> None:
    connection.server.bill(request)
    whole = response(200, whole_body(request))
    for start in range(0, len(whole), len(whole) // 5):
        connection.send(whole[start : start + len(whole) // 5])
        time.sleep(0.02)


def without_image(whole: bytes) -> bytes:
    return json.dumps({**json.loads(whole), "data": [{"url": "https://x.invalid/a.png"}]}).encode()


def half_an_image(whole: bytes) -> bytes:
    parsed = json.loads(whole)
    encoded = parsed["data"][0]["b64_json"]
    parsed["data"][0]["b64_json"] = encoded[: len(encoded) // 8 * 4]
    return json.dumps(parsed).encode()


def half_a_code(whole: bytes) -> bytes:
    parsed = json.loads(whole)
    parsed["data"][0]["b64_json"] = parsed["data"][0]["b64_json"][:-3]
    return json.dumps(parsed).encode()


def chunk_without_end(whole: bytes) -> bytes:
    head = b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n" % len(whole) + whole[:-10]


CLOSED = error_body(
    "client_connection_closed", "Client has closed connection before request was sent."
)
SIX_FILES = "Invalid request. Error => Only 1 to 5 image files are supported for edit requests."
NO_FILE = "File must be attached in a form field with a name starting with 'image'."
ONE_FILE = "Exactly one image file must be attached for edit requests"
INPUT_BLOCK = "Input content violated mainline safety policies."
RESULT_BLOCK = "Response content blocked by label 'MultiSeverity_ViolenceScore'."
WORD_BLOCK = "Response content blocked by label 'DallEBlockList'."
TOO_LONG = error_body("BadRequest", "The input exceeds the context length of the model.")
WEBP = b"RIFF\x10\0\0\0WEBPVP8L" + bytes(99)
HTML = b"<html><body>Bad gateway</body></html>"

TABLE = [
    Fault("400 side", value_error("'width' must be at least 768 pixels."), BadRequestError),
    Fault("400 pixels", value_error("total pixel count (9) exceeds 1056768"), BadRequestError),
    Fault(
        "400 unsupported argument",
        refuse(400, error_body("unsupported_request_argument", "Invalid parameters: n")),
        BadRequestError,
    ),
    Fault(
        "400 unknown argument",
        refuse(400, error_body("unrecognized_request_argument", "seed")),
        BadRequestError,
    ),
    Fault(
        "400 missing parameter",
        refuse(400, error_body("missing_required_parameter", "prompt")),
        BadRequestError,
    ),
    Fault("400 six files", refuse(400, error_body("x", SIX_FILES)), BadRequestError, edits=True),
    Fault("400 no file", refuse(400, error_body("x", NO_FILE)), BadRequestError, edits=True),
    Fault("400 one file", refuse(400, error_body("x", ONE_FILE)), BadRequestError, edits=True),
    Fault(
        "400 html",
        refuse(400, HTML, {"content-type": "text/html"}),
        BadRequestError,
        perhaps=True,
        phantom=True,
    ),
    Fault(
        "400 prompt blocked",
        refuse(400, error_body("content_safety_violation", INPUT_BLOCK)),
        BlockedError,
        perhaps=True,
        phantom=True,
    ),
    Fault(
        "400 result blocked",
        refuse(400, error_body("content_safety_violation", RESULT_BLOCK)),
        BlockedError,
        perhaps=True,
        phantom=True,
    ),
    Fault("400 word blocked", refuse(400, error_body("y", WORD_BLOCK)), BlockedError, True, True),
    Fault("200 without data", refuse(200, b'{"created":1,"data":[]}'), BlockedError, True, True),
    Fault("401", refuse(401, error_body("401", "Access denied")), AuthenticationError),
    Fault("402", refuse(402, b'{"error":"Insufficient Balance"}'), PaymentError),
    Fault("403", refuse(403, error_body("PermissionDenied", "role")), ForbiddenError),
    Fault("404", refuse(404, error_body("DeploymentNotFound", "no such")), NotFoundError),
    Fault("413", refuse(413), BadRequestError, True, True, edits=True),
    Fault("422", refuse(422), BadRequestError, perhaps=True, phantom=True),
    Fault("408", refuse(408), CallTimeoutError, perhaps=True, phantom=True),
    Fault("408 billed", refuse(408, bill=True), CallTimeoutError, perhaps=True),
    Fault("410", refuse(410), BadRequestError),
    Fault("400 prompt too long", refuse(400, TOO_LONG, bill=True), BadRequestError, perhaps=True),
    Fault("200 with an error", refuse(200, error_body("x", "y"), bill=True), AnswerError, True),
    Fault("429 with Retry-After", refuse(429, b"", {"retry-after-ms": "40"}), None),
    Fault("429 without Retry-After", refuse(429), None),
    Fault("499 closed", refuse(499, CLOSED), None),
    Fault("499 of another kind", refuse(499), UnavailableError, perhaps=True, phantom=True),
    Fault("503 with Retry-After", refuse(503, b"", {"retry-after": "0"}), None),
    Fault("302", refuse(302, b"", {"location": "https://x.invalid/"}), ServiceError, True, True),
    *(
        Fault(f"{status}{' billed' * bill}", refuse(status, HTML, bill=bill), UnavailableError,
              perhaps=True, phantom=not bill)
        for status in (500, 502, 503, 504, 507)
        for bill in (True, False)
    ),
    Fault("201 billed", refuse(201, bill=True), ServiceError, perhaps=True),
    Fault("204 billed", refuse(204, bill=True), ServiceError, perhaps=True),
    Fault("reset after the request", unbilled_end, ConnectionLostError, perhaps=True, phantom=True),
    Fault("reset after billing", cut(0, reset=True), ConnectionLostError, perhaps=True),
    Fault("closed after billing", cut(0), ConnectionLostError, perhaps=True),
    Fault("cut at 1 %", cut(0.01), ConnectionLostError, perhaps=True),
    Fault("cut at 50 %", cut(0.5), ConnectionLostError, perhaps=True),
    Fault("cut at 99 %", cut(0.99), ConnectionLostError, perhaps=True),
    Fault("reset at 50 %", cut(0.5, reset=True), ConnectionLostError, perhaps=True),
    Fault("chunk without end", raw(chunk_without_end), ConnectionLostError, perhaps=True),
    Fault("no answer in time", silent, CallTimeoutError, perhaps=True, timeout=0.3),
    Fault("answer too slow", drip, CallTimeoutError, perhaps=True, timeout=0.3),
    Fault("slow answer", slow_but_whole, None),
    Fault("garbage for HTTP", raw(lambda _: b"\x00\x01\xff garbage\r\n\r\n"), ServiceError, True),
    Fault("garbage for JSON", body(lambda _: b"\x89\xff\x00" * 99), AnswerError, True),
    Fault("html for JSON", body(lambda _: HTML), AnswerError, True),
    Fault("nothing for JSON", body(lambda _: b""), AnswerError, True),
    Fault("JSON of another shape", body(lambda _: b'{"data":{"0":1}}'), AnswerError, True),
    Fault("JSON too deep", body(lambda _: b"[" * 100_000), AnswerError, True),
    Fault("address for an image", body(without_image), AnswerError, True),
    Fault("half an image", body(half_an_image), UnreadableError, unreadable=True),
    Fault("half a base64 group", body(half_a_code), UnreadableError, unreadable=True),
    Fault("WebP", body(lambda _: image_body(WEBP)), UnreadableError, unreadable=True),
]  # fmt: skip
