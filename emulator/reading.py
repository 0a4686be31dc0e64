"""Request bodies: JSON objects for generations, multipart forms for edits."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from .refusal import Refusal, bad_request


@dataclass(frozen=True)
class Upload:
    """One file part: `field` is its name in the form, `data` the file."""

    field: str
    filename: str
    media_type: str
    data: bytes = dataclasses.field(repr=False)


@dataclass(frozen=True)
class Form:
    """A multipart form: text fields by name (the last of a name counts), files in their order."""

    fields: dict[str, object]
    files: tuple[Upload, ...]


async def read_json(request: web.Request) -> dict[str, object]:
    """The body's JSON object; an empty body is one without parameters. Raises the 400s."""
    body = await request.read()
    if not body:
        return {}
    if request.content_type != "application/json":
        raise bad_request(
            "Invalid request. Error => Image generations take a body of application/json, "
            f"not {request.content_type}."
        )
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request("Invalid request. Error => The body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise bad_request("Invalid request. Error => The body is not a JSON object.")
    return value


async def read_form(request: web.Request, max_bytes: int) -> Form:
    """The body's form; an empty body is one without parameters. Raises the 400s and the 413."""
    if not request.can_read_body:
        return Form({}, ())
    if request.content_type != "multipart/form-data":
        raise bad_request(
            "Invalid request. Error => Image edits take a body of multipart/form-data, "
            f"not {request.content_type}."
        )
    try:
        return await _parts(await request.multipart(), max_bytes)
    except (ValueError, KeyError, AssertionError, RuntimeError, aiohttp.http.HttpProcessingError):
        raise bad_request("Invalid request. Error => The multipart body can't be read.") from None


async def _parts(reader: aiohttp.MultipartReader, max_bytes: int) -> Form:
    fields: dict[str, object] = {}
    files: list[Upload] = []
    left = max_bytes
    while (part := await reader.next()) is not None:
        if not isinstance(part, aiohttp.BodyPartReader) or part.name is None:
            raise ValueError("a part without a name")
        data = await _whole(part, left)
        left -= len(data)
        if part.filename is None:
            fields[part.name] = data.decode("utf-8")
        else:
            kind = part.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            files.append(Upload(part.name, part.filename, kind, data))
    return Form(fields, tuple(files))


async def _whole(part: aiohttp.BodyPartReader, limit: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(2**16):
        data += chunk
        if len(data) > limit:
            raise Refusal(413, "RequestEntityTooLarge", "The request body is too large.")
    return bytes(data)
