"""[shared] of profiles.toml: the database and the images that a studio's machines share."""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, PlainValidator

from ..auth import Secret
from .endpoints import is_loopback_host
from .toml_table import MAX_NAME, TomlTable, flag, is_plain_name, number, only_if

CACHE_GB = 10.0
"""The local copy of shared images: the store's own limit on one machine."""

SSL_MODES = ("verify-full", "verify-ca", "require", "prefer", "disable")
"""PostgreSQL's own words; without one TLS is verified unless the host is this machine."""

_DATABASE_SCHEMES = ("postgresql", "postgres")
_IMAGE_SCHEMES = ("https", "http", "s3", "gs")
_PASSWORDS = ("password_env", "password_file", "entra")


@dataclass(frozen=True, slots=True)
class Shared:
    """What several machines of a studio share, and who this machine is in their books.

    `database` is a PostgreSQL URL without a password, "" where only images are shared; `password`
    gives the password, or Entra ID's token, anew for each connection (MaiError where there is
    none), None where there needs none. `images` is an address or a folder, "" where only the
    database is shared; `cache_bytes` is the limit of their local copy. `ca_file` holds the
    authorities that the database's certificate is checked with, None: those of certifi.
    """

    database: str = ""
    images: str = ""
    cache_bytes: int = int(CACHE_GB * 1_000_000_000)
    machine: str = ""
    entra: bool = False
    ca_file: Path | None = None
    buy_without_store: bool = False
    password_source: str = field(default="", repr=False)
    password: Callable[[], str] | None = field(default=None, repr=False, compare=False)


def _secret_text(value: object) -> Secret:
    if isinstance(value, str) and value.strip():
        return Secret(value.strip())
    raise ValueError


def _is_text(text: str) -> bool:
    return bool(text.strip()) and text.isprintable()


SecretName = Annotated[Secret, PlainValidator(_secret_text)]
Text = Annotated[str, only_if(_is_text)]

_SECRET = Field(None, description="a text in quotes that isn't empty")


class SharedTable(TomlTable):
    """[shared] as it is written. The variable's and the file's names are secret, as a password may
    stand there in the wrong place."""

    database: Text | None = Field(
        None, description='an address such as "postgresql://mai@db.studio.lan/mai"', repr=False
    )
    password_env: SecretName | None = _SECRET
    password_file: SecretName | None = _SECRET
    entra: bool = flag(False)
    images: Text | None = Field(
        None,
        description='an address such as "https://ACCOUNT.blob.core.windows.net/CONTAINER/mai", '
        '"s3://BUCKET/mai" or "gs://BUCKET/mai", or a folder',
        repr=False,
    )
    cache_gb: float | None = number(0.001, 100_000)
    machine: Annotated[str, only_if(is_plain_name)] | None = Field(
        None, description=f"1 to {MAX_NAME} letters, digits, spaces and . _ - only"
    )
    ca_file: Text | None = Field(None, description="the path of a file with certificates")
    buy_without_store: bool = flag(False)


def shared_contradictions(table: SharedTable) -> Iterator[tuple[str, str]]:
    """Settings of [shared] that can't be used, each with a sentence that shows no value."""
    if table.database is not None and (problem := _database_problem(table.database)):
        yield "database", f"database {problem}"
    named = [key for key in _PASSWORDS if getattr(table, key)]
    if len(named) > 1:
        yield named[1], f"{' and '.join(named)} can't stand together: name one."
    if named and table.database is None:
        yield named[0], f"{named[0]} belongs to database, which isn't set."
    if table.images is not None and (problem := _images_problem(table.images)):
        yield "images", f"images {problem}"


def _database_problem(url: str) -> str:
    """What is wrong with the database's address, as the end of a sentence; "" for nothing."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        has_password = parts.password is not None
    except ValueError:
        return "isn't an address."
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if has_password or any("pass" in key.lower() for key in query):
        return (
            "holds a password: take it out, put it into an environment variable or a file of its "
            "own, and name that by password_env or password_file."
        )
    if parts.scheme not in _DATABASE_SCHEMES or not parts.path.strip("/") or parts.fragment:
        return 'must be an address such as "postgresql://mai@db.studio.lan/mai".'
    if not has_host and not query.get("host"):
        return "names no host: write it after the @, or a socket's folder as ?host=/folder."
    if unknown := sorted(set(query) - {"host", "port", "sslmode"}):
        return f"has a setting after its ? that isn't known ({len(unknown)}): host, port, sslmode."
    if "sslmode" in query and query["sslmode"] not in SSL_MODES:
        return f"has an sslmode that isn't known: {', '.join(SSL_MODES)}."
    return ""


def _images_problem(address: str) -> str:
    """What is wrong with the images' address, as the end of a sentence; "" for nothing."""
    if "://" not in address:
        return "" if _is_absolute(address) else "must be an absolute folder, or an address."
    try:
        parts = urlsplit(address)
        host, password = parts.hostname, parts.password
    except ValueError:
        return "isn't an address."
    if password is not None or parts.username:
        return "holds a user or a password: docs/studio.md says how to sign in without."
    if parts.query or parts.fragment:
        return "must end with its path: a signature after ? would be a key in this file."
    if parts.scheme not in _IMAGE_SCHEMES or not host:
        return f"must begin with {', '.join(f'{one}://' for one in _IMAGE_SCHEMES)} or be a folder."
    if parts.scheme == "http" and not is_loopback_host(host):
        return "must be https: http is for this machine alone."
    return ""


def _is_absolute(path: str) -> bool:
    return Path(os.path.expanduser(path)).is_absolute()


def to_shared(table: SharedTable, folder: Path, password: Callable[[], str] | None) -> Shared:
    """What a table without mistakes says; relative paths start at `folder`."""
    ca_file = table.ca_file and folder / os.path.expanduser(table.ca_file)
    source = table.password_env or table.password_file
    return Shared(
        database=table.database or "",
        images=table.images or "",
        cache_bytes=int((table.cache_gb or CACHE_GB) * 1_000_000_000),
        machine=table.machine or this_machine(),
        entra=table.entra,
        ca_file=Path(ca_file) if ca_file else None,
        buy_without_store=table.buy_without_store,
        password_source=source.reveal() if source else "",
        password=password,
    )


def this_machine() -> str:
    """This machine's own name, as the books show it; "" where the system has none."""
    return _shown(platform.node())


def system_user() -> str:
    """The operating system's user; "" where it has no name, as in some containers."""
    try:
        return _shown(getpass.getuser())
    except (OSError, KeyError, ImportError):
        return ""


def _shown(name: str) -> str:
    """A name that the system gives, fit for a table: printable, and not longer than others."""
    return "".join(letter for letter in name if letter.isprintable())[:MAX_NAME].strip()
