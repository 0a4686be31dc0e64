"""Where the machines of a studio keep their images together: `images` in [shared]."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from ..errors import ConfigurationError

_FORMS = (
    "Write https://ACCOUNT.blob.core.windows.net/CONTAINER/FOLDER, s3://BUCKET/FOLDER, "
    "gs://BUCKET/FOLDER, or the whole path of a folder that every machine has."
)
_BUCKETS: dict[str, Literal["s3", "google"]] = {"s3": "s3", "gs": "google"}


@dataclass(frozen=True, slots=True)
class Address:
    """A place for objects: `container` is Azure's, a bucket of S3 or Google, or a folder's path.

    `prefix` begins every object's name there. `account` and `endpoint` are Azure's: the endpoint
    is where the account's containers are.
    """

    kind: Literal["azure", "s3", "google", "folder"]
    container: str
    prefix: str = ""
    account: str = ""
    endpoint: str = ""

    def __str__(self) -> str:
        if self.kind == "folder":
            return self.container
        schemes = {"azure": self.endpoint, "s3": "s3:/", "google": "gs:/"}
        path = "/".join(part for part in (self.container, self.prefix) if part)
        return f"{schemes[self.kind]}/{path}"


def parse_address(text: str) -> Address:
    """The address of an object store; raises ConfigurationError, which never quotes a secret."""
    if "://" not in text:
        return _folder(text)
    try:
        url = urlsplit(text.strip())
        host, port = url.hostname or "", url.port
    except ValueError:
        raise ConfigurationError("[shared] images is no address.", _FORMS) from None
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise ConfigurationError(
            "[shared] images holds more than an address: a user, a password or a signature.",
            "Write the address alone, and give the credential by variable "
            "(AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, AWS_SECRET_ACCESS_KEY …) or use "
            "Entra ID.",
        )
    parts = [part for part in url.path.split("/") if part]
    if url.scheme in _BUCKETS and host and port is None:
        return Address(_BUCKETS[url.scheme], url.netloc, "/".join(parts))
    if url.scheme in ("http", "https") and host:
        return _azure(url, host, parts)
    raise ConfigurationError(f"[shared] images can't begin with {url.scheme}://.", _FORMS)


def _is_this_machine(host: str) -> bool:
    """Whether a host's name or number is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_tls(url: str, named: str) -> None:
    """Raises ConfigurationError for plain http to another machine. `named` says whose URL it is."""
    parts = urlsplit(url)
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        raise ConfigurationError(
            f"{named} is http://: images and credentials would go unprotected.",
            "Write https://. Plain http is for this machine alone (127.0.0.1, localhost).",
        )


def _folder(text: str) -> Address:
    path = Path(os.path.expanduser(text.strip()))
    if not path.is_absolute():
        raise ConfigurationError("[shared] images is no address and no whole path.", _FORMS)
    return Address("folder", str(path))


def _azure(url: SplitResult, host: str, parts: list[str]) -> Address:
    """Azure's addresses have the account in the host's name; on other hosts (Azurite, a proxy) it
    is the first part of the path."""
    require_tls(url.geturl(), "[shared] images")
    endpoint = f"{url.scheme}://{url.netloc}"
    account, _, rest = host.partition(".")
    if rest.endswith("amazonaws.com") or account in ("s3", "storage"):
        raise ConfigurationError("[shared] images is no address of Azure's.", _FORMS)
    if not rest.startswith("blob."):
        account = parts.pop(0) if parts else ""
        endpoint = f"{endpoint}/{account}"
    if not account or not parts:
        raise ConfigurationError("[shared] images names no container.", _FORMS)
    return Address("azure", parts[0], "/".join(parts[1:]), account, endpoint)
