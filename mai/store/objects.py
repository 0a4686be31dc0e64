"""Objects in Azure Blob Storage, S3, Google Cloud Storage or a folder, by the library obstore.

The only file that knows obstore, an optional package that is imported when it is first used. Every
wait is bounded, and no error text shows what came from the other side but a status and a code.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..disk import in_thread, within
from ..errors import ConfigurationError, MaiError, StoreError
from .address import Address, parse_address, require_tls

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

    Backend = AzureStore | GCSStore | LocalStore | S3Store

T = TypeVar("T")

Token = Callable[[], Awaitable[str]]
"""Gives a bearer token for Azure Storage; raises CredentialError."""

_LARGEST = 64 * 1024 * 1024
"""Bytes: the largest answer that is accepted from a service."""

_AT_ONCE = 16
"""Objects that `do_each` works on at a time."""

_BRIEF_SECONDS = 0.5
"""For a look-up while the store is silent: two round trips of 200 ms."""

_SILENT_SECONDS = 3.0
"""After the first look-up that wasn't answered others are brief for so long; then one waits again
for as long as it takes."""

_REPEATS = 3
_REPEAT_SECONDS = 6.0

_TOKEN_LIFE = timedelta(minutes=4)
"""After that obstore asks for a token again; whoever gives it knows how long it really lives."""

_AZURE_KEYS = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_SAS_KEY",
)
_S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")

_NO_CONTAINER = ("ContainerNotFound", "NoSuchBucket")
"""Codes of a 404 that is not about the object (learn.microsoft.com/rest/api/storageservices,
docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""

_INSTALL = (
    "Install it with the Python that runs ComfyUI: python -m pip install obstore "
    "(or mai-image[studio], for the whole of [shared])."
)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its name, its size, and when it was written; `tag` is the service's word for
    what it holds, "" where it has none."""

    name: str
    bytes: int
    changed: datetime
    tag: str


class ObjectStore:
    """Whole objects by name, at `address` (see `parse_address`); opened on first use.

    `variable` gives the environment's. Without a key among them, Azure is asked with `token`.
    `ca_file` is trusted beside the system's authorities. Raises StoreError where the store doesn't
    answer or refuses, ConfigurationError where it can't be asked at all.
    """

    small_seconds = 10.0
    """For a sidecar: some 8 round trips of 200 ms (a token, TLS, the request) and a few repeats."""

    large_seconds = 60.0
    """For an image, of up to 12.6 MB: 2 Mbit/s."""

    def __init__(
        self,
        address: str,
        variable: Callable[[str], str | None] = lambda name: None,
        *,
        token: Token | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self._address = address
        self._variable = variable
        self._token = token
        self._ca_file = ca_file
        self._backend: Backend | None = None
        self._silent = False
        self._patient_at = 0.0

    @property
    def address(self) -> Address:
        """Where it is; raises ConfigurationError."""
        return parse_address(self._address)

    async def read(self, name: str, *, large: bool = False) -> bytes | None:
        """The object's bytes; None where the store says that there is none.

        What is larger than any image is given as nothing: it is damaged, whatever it is.
        """

        async def get(backend: Backend) -> bytes | None:
            try:
                found = await backend.get_async(name)
            except FileNotFoundError as error:
                _require_container(error)
                return None
            return b"" if found.meta["size"] > _LARGEST else bytes(await found.bytes_async())

        return await (self._ask(get, self.large_seconds) if large else self._look_up(get))

    async def find(self, name: str) -> StoredObject | None:
        """What a listing says of the object, now; None where there is none."""

        async def head(backend: Backend) -> StoredObject | None:
            try:
                return _stored_object(await backend.head_async(name))
            except FileNotFoundError:
                return None

        return await self._look_up(head)

    async def create(self, name: str, data: bytes) -> bool:
        """Write an object if there is none of this name; False where the store says there is."""

        async def put(backend: Backend) -> bool:
            from obstore.exceptions import AlreadyExistsError, PreconditionError

            try:
                await backend.put_async(name, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

        return await self._ask(put, self.large_seconds)

    async def replace(self, name: str, data: bytes) -> None:
        """Write an object, also over another one."""

        async def put(backend: Backend) -> None:
            await backend.put_async(name, data, use_multipart=False)

        await self._ask(put, self.large_seconds)

    async def delete(self, name: str) -> None:
        """Delete an object; one that is gone already is fine."""

        async def remove(backend: Backend) -> None:
            try:
                await backend.delete_async(name)
            except FileNotFoundError as error:
                _require_container(error)

        await self._ask(remove, self.small_seconds)

    async def list(self) -> AsyncIterator[Sequence[StoredObject]]:
        """All objects, by pages of a thousand, in no order."""

        async def begin(backend: Backend) -> Any:
            return backend.list(chunk_size=1000)

        stream = aiter(await self._ask(begin, self.small_seconds))

        async def next_page(_: Backend) -> Sequence[Any]:
            try:
                return await anext(stream)
            except StopAsyncIteration:
                return ()

        while page := await self._ask(next_page, self.large_seconds):
            yield [_stored_object(row) for row in page]

    async def _look_up(self, action: Callable[[Backend], Awaitable[T]]) -> T:
        """As `_ask`, for what is small. As long as the store is silent one waits for it, and the
        others hardly: a batch is told at once, and the first answer ends the silence."""
        now, seconds = time.monotonic(), self.small_seconds
        is_brief = self._silent and now < self._patient_at
        if is_brief:
            seconds = min(seconds, _BRIEF_SECONDS)
        elif self._silent:
            self._patient_at = now + seconds + _SILENT_SECONDS
        try:
            found = await self._ask(action, seconds)
        except asyncio.CancelledError:
            if not is_brief:
                self._patient_at = now  # the next one waits in its place
            raise
        except StoreError:
            if not self._silent:
                self._silent, self._patient_at = True, time.monotonic() + _SILENT_SECONDS
            raise
        self._silent = False
        return found

    async def _ask(self, action: Callable[[Backend], Awaitable[T]], seconds: float) -> T:
        """Do it within so many seconds; every error becomes a StoreError."""
        try:
            if self._backend is None:
                self._backend = await in_thread(self._open)
            backend = self._backend
            if self._token is not None and self._needs_token():
                await within(self.large_seconds, self._token())
            return await within(seconds, action(backend))
        except MaiError as error:
            if isinstance(error, (ConfigurationError, StoreError)):
                raise
            raise StoreError(f"{self} can't be asked: {error.what}", error.hint) from None
        except (asyncio.TimeoutError, OSError, ValueError, _base_error()) as error:
            raise self._explain(error) from None

    def __str__(self) -> str:
        return f"The object store {self.address}"

    def _open(self) -> Backend:
        """obstore's object for the address. Blocks: obstore is imported here."""
        address = self.address
        try:
            from obstore import store
        except ImportError:
            raise ConfigurationError("[shared] images needs obstore.", _INSTALL) from None
        if address.kind == "folder":
            Path(address.container).mkdir(parents=True, exist_ok=True)
            return store.LocalStore(address.container)
        options: dict[str, Any] = {
            "prefix": address.prefix or None,
            "client_options": self._client_options(address),
            "retry_config": {
                "max_retries": _REPEATS,
                "retry_timeout": timedelta(seconds=_REPEAT_SECONDS),
            },
        }
        if address.kind == "azure":
            if self._needs_token():
                options["credential_provider"] = self._azure_credential
            options.update(account_name=address.account, endpoint=address.endpoint)
            return store.AzureStore(address.container, **options)
        if address.kind == "s3":
            return store.S3Store(address.container, **options)
        return store.GCSStore(address.container, **options)

    def _client_options(self, address: Address) -> dict[str, Any]:
        endpoint = address.endpoint
        if address.kind == "s3":
            endpoints = {name: self._variable(name) or "" for name in _S3_ENDPOINTS}
            for name, url in endpoints.items():
                require_tls(url, name)
            endpoint = next(filter(None, endpoints.values()), "")
        options: dict[str, Any] = {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": "5s",
            "timeout": f"{self.large_seconds:.0f}s",
            "user_agent": "mai-image",
        }
        if self._ca_file is not None:
            try:
                options["root_certificate"] = self._ca_file.read_bytes()
            except OSError as error:
                raise ConfigurationError(
                    f"[shared] ca_file {self._ca_file} can't be read: {error.strerror}."
                ) from None
        return options

    def _needs_token(self) -> bool:
        has_key = any(map(self._variable, _AZURE_KEYS))
        return self._token is not None and self.address.kind == "azure" and not has_key

    async def _azure_credential(self) -> Any:
        assert self._token is not None
        ends = datetime.now(timezone.utc) + _TOKEN_LIFE
        return {"token": await self._token(), "expires_at": ends}

    def _explain(self, error: Exception) -> StoreError:
        """What an error means to the user. Its own text may hold a signature: it isn't shown."""
        kind, code, status = type(error).__name__, _code(error), _status(error)
        facts = ", ".join(part for part in (f"HTTP {status}" if status else "", code) if part)
        if code in _NO_CONTAINER:
            return StoreError(f"{self} isn't there ({code}).", "Make the container or bucket.")
        if kind in ("PermissionDeniedError", "UnauthenticatedError", "PermissionError"):
            return StoreError(
                f"{self} refuses access ({facts or 'it is not permitted'}).",
                "Check the credential's variables, or the identity and its role: it needs to read "
                "and write objects (Storage Blob Data Contributor). `mai-image doctor` tries both.",
            )
        if isinstance(error, asyncio.TimeoutError):
            facts = "no answer in time"
        elif isinstance(error, OSError):
            facts = error.strerror or kind
        return StoreError(
            f"{self} can't be used now ({facts or 'no connection'}).",
            "Check that it runs and that this machine reaches it: `mai-image doctor`.",
        )


async def do_each(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do the work for each, some at a time; the first error ends it, once what runs has ended."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    workers = [asyncio.ensure_future(worker()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def _stored_object(meta: Any) -> StoredObject:
    """What obstore says of an object."""
    tag = (meta["e_tag"] or "").strip('"')  # in Azure's listing without its quotes
    return StoredObject(meta["path"], meta["size"], meta["last_modified"], tag)


def _base_error() -> type[Exception]:
    """What all of obstore's own errors are; a package that isn't there raises none."""
    try:
        from obstore.exceptions import BaseError
    except ImportError:
        return OSError
    return BaseError


def _require_container(error: FileNotFoundError) -> None:
    """Raises the error again where not the object is missing, but what should hold it."""
    if _code(error) in _NO_CONTAINER:
        raise error


def _code(error: Exception) -> str:
    """The service's word for an error, such as BlobNotFound; "" where there is none."""
    word = str(error).partition("<Code>")[2].partition("</Code>")[0]
    return word if word.isalnum() and len(word) < 60 else ""


def _status(error: Exception) -> str:
    """The HTTP status of an error; "" where there is none."""
    digits = str(error).partition("status code: ")[2][:3]
    return digits if digits.isdecimal() else ""
