"""Which endpoint may be called: what users paste, reduced to the address that is really used.

Pure functions. Every address is taken apart by one strict grammar of plain ASCII, so that what is
checked here and what an HTTP client connects to can't differ.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ProfileError

AZURE_SUFFIX = ".services.ai.azure.com"
"""The canonical host of the MAI service."""

AZURE_SUFFIXES = (AZURE_SUFFIX, ".cognitiveservices.azure.com", ".openai.azure.com")
"""Azure hosts that people are given; the last doesn't serve /mai and becomes the first."""

PIXAZO_HOST = "gateway.pixazo.ai"

PIXAZO_ENDPOINT = f"https://{PIXAZO_HOST}"

PIXAZO_MEDIA = ("*.pixazo.ai", "pub-582b7213209642b9b995c96c95a30381.r2.dev")
"""Where Pixazo's images are fetched from: its own hosts, and the one bucket in which the images
of its documentation and of public clients' answers lie. A profile's media_hosts are added."""

MAX_MEDIA_CHARACTERS = 8192
"""A signed address of an image can be far longer than an endpoint."""

MAX_CHARACTERS = 2048
"""Longer than any address that is meant; keeps a hostile file from costing time."""

_SHAPE = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://|//)?"
    r"(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?P<fragment>#.*)?"
)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"(?!xn--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")
_MAI_PATH = re.compile(r"/mai/v1(?:/images(?:/(?:generations|edits))?)?$")
_API_VERSION = re.compile(r"(?:api-version=[A-Za-z0-9.-]*)?")
_QUOTES = "\"'`<>“”‘’"
_WRITE_IT = (
    "Write it as https://<resource>.services.ai.azure.com, as the resource's page in the Azure "
    "portal or Foundry shows it."
)


@dataclass(frozen=True, slots=True)
class Address:
    """An address in its parts: `host` in lower case without brackets, `port` None if not given."""

    scheme: str
    host: str
    port: int | None
    path: str
    query: str | None
    fragment: bool

    @property
    def origin(self) -> str:
        """scheme://host[:port], the port left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        standard = self.port in (None, {"https": 443, "http": 80}[self.scheme])
        return f"{self.scheme}://{host}" + ("" if standard else f":{self.port}")


def endpoint(text: str, *, administrator: bool, service: str = "foundry") -> str:
    """The endpoint that is called, without a slash at its end; raises ProfileError.

    An Azure or Pixazo address is reduced to its origin. Any other https host is taken only from
    the `administrator` (profiles.toml), with its path; plain http only to this machine.
    """
    address = parse(text)
    azure = is_azure(address.host)
    if azure or address.host == PIXAZO_HOST:
        _check_service(azure, service)
        return _known(address)
    _check_plain(address)
    loopback = is_loopback_host(address.host)
    if address.scheme == "http" and not loopback:
        raise ProfileError(
            f"The endpoint's host {shown(address.host)} would be called over plain http.",
            "Use https; plain http is for this machine only (localhost, 127.0.0.1, ::1).",
        )
    if not (loopback or administrator):
        raise ProfileError(
            f"The endpoint's host {shown(address.host)} is not an Azure host.",
            "The environment can name only *.services.ai.azure.com, *.cognitiveservices.azure.com, "
            "*.openai.azure.com or this machine. A gateway must be written in profiles.toml.",
        )
    path = address.path.rstrip("/")
    if service == "foundry":
        path = _MAI_PATH.sub("", path)
    return address.origin + path


def parse(text: str, limit: int = MAX_CHARACTERS) -> Address:
    """The parts of an address as pasted: quotes, outer white space and case don't matter.

    Raises ProfileError for everything that two programs could read in two ways.
    """
    text = text.strip().strip(_QUOTES).strip()
    if not text:
        raise ProfileError("The endpoint is empty.", _WRITE_IT)
    if len(text) > limit:
        raise ProfileError(f"The endpoint is longer than {limit} characters.", _WRITE_IT)
    if re.search(r"[^\x21-\x7e]|\\", text):
        raise ProfileError(
            "The endpoint has a space, a backslash or a character that isn't plain ASCII in it.",
            _WRITE_IT,
        )
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise ProfileError("The endpoint isn't an address.", _WRITE_IT)
    host, port = _split_authority(found["authority"].lower())
    scheme = (found["scheme"] or ("http" if is_loopback_host(host) else "https")).lower()
    if scheme not in ("http", "https"):
        raise ProfileError("The endpoint's scheme is neither https nor http.", _WRITE_IT)
    return Address(
        scheme, host, port, found["path"] or "", found["query"], found["fragment"] is not None
    )


def allowed_media_url(url: str, extra: Sequence[str], *, loopback: bool) -> str | None:
    """The address of an image as it may be fetched, or None if it may not be.

    That is https on port 443, of a host in PIXAZO_MEDIA or `extra`, where "*.name" means all hosts
    below a name; with `loopback`, when the endpoint is on this machine too, any address on it.
    """
    try:
        address = parse(url, MAX_MEDIA_CHARACTERS)
    except ProfileError:
        return None
    standard = address.scheme == "https" and address.port in (None, 443)
    listed = any(_matches(address.host, name) for name in (*PIXAZO_MEDIA, *extra))
    here = loopback and is_loopback_host(address.host)
    if address.fragment or not (here or (standard and listed)):
        return None
    query = "" if address.query is None else f"?{address.query}"
    return f"{address.origin}{address.path}{query}"


def describe_host(url: str) -> str:
    """Where an address that `allowed_media_url` refuses leads, for an error text."""
    try:
        return f"on the host {shown(parse(url, MAX_MEDIA_CHARACTERS).host)}"
    except ProfileError:
        return "at an address that can't be read"


def is_media_host(name: str) -> bool:
    """Whether a text can stand in media_hosts: a host, or "*." and a host with a dot in it."""
    host = name.removeprefix("*.")
    try:
        address = parse(f"https://{host}")
    except ProfileError:
        return False
    whole = address.host == host and address.origin == f"https://{host}" and not address.path
    return whole and (host == name or "." in host)


def _matches(host: str, name: str) -> bool:
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


def is_azure(host: str) -> bool:
    """Whether a host in lower case is <resource> and one of Azure's three suffixes, no more."""
    return any(
        host.endswith(suffix) and _LABEL.fullmatch(host[: -len(suffix)]) is not None
        for suffix in AZURE_SUFFIXES
    )


def is_loopback_host(host: str) -> bool:
    """Whether a host, without brackets, is this machine: localhost, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.version == 6:
        return address == ipaddress.IPv6Address("::1")
    return address.is_loopback


def is_loopback(url: str) -> bool:
    """Whether an endpoint that `endpoint` gave back is on this machine."""
    return bool(url) and is_loopback_host(parse(url).host)


def shown(host: str) -> str:
    """A host for an error text; a word without a dot may be a key in the wrong place: not shown."""
    if "." not in host and ":" not in host and host != "localhost":
        return "(not shown: it has no dot in it)"
    return repr(host if len(host) <= 80 else host[:80] + "…")


def _split_authority(authority: str) -> tuple[str, int | None]:
    """Host and port; refuses user info, percent-encoding, IDN, odd numbers and a trailing dot."""
    if "@" in authority:
        raise ProfileError("The endpoint has a user name or a password in it.", _WRITE_IT)
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise ProfileError("The endpoint's host or port can't be read.", _WRITE_IT)
    host = found["host"]
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 0 < port < 65536:
        raise ProfileError(f"The endpoint's port {port} is not between 1 and 65535.", _WRITE_IT)
    if host.startswith("["):
        return _ip(host[1:-1], 6), port
    labels = host.split(".")
    if any(_LABEL.fullmatch(label) is None for label in labels) or len(host) > 253:
        raise ProfileError(
            "The endpoint's host is not a plain host name: letters, digits and hyphens between "
            "dots, no dot at the end, no international (xn--) names.",
            _WRITE_IT,
        )
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        return _ip(host, 4), port
    return host, port


def _ip(text: str, version: int) -> str:
    """The one spelling of an IP address; 127.1 and 0x7f.1 are read differently by programs."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise ProfileError(
            "The endpoint's host is a number that isn't a whole IP address.",
            "Write all four numbers of it, such as 127.0.0.1, or the host's name.",
        )
    return str(address)


def _known(address: Address) -> str:
    """The origin of an Azure or Pixazo address: https, port 443, no path."""
    if address.scheme != "https" or address.port not in (None, 443):
        raise ProfileError(
            f"The endpoint's host {shown(address.host)} is called over https and port 443 only.",
            "Begin it with https:// and leave the port out.",
        )
    query_is_version = address.query is None or _API_VERSION.fullmatch(address.query)
    if address.fragment or not query_is_version:
        raise ProfileError("The endpoint has a query (?…) or a fragment (#…).", _WRITE_IT)
    host = address.host
    if host.endswith(".openai.azure.com"):
        host = host.removesuffix(".openai.azure.com") + AZURE_SUFFIX
    return f"https://{host}"


def _check_service(azure: bool, service: str) -> None:
    if azure == (service == "foundry"):
        return
    owner = "foundry" if azure else "pixazo"
    raise ProfileError(
        f"The endpoint belongs to the service {owner!r}, not to {service!r}.",
        f'Set service = "{owner}" in the profile, or change its endpoint.',
    )


def _check_plain(address: Address) -> None:
    """A gateway's address has a host, a port and a plain path; keys go into headers."""
    if address.query is not None or address.fragment:
        raise ProfileError(
            "The endpoint has a query (?…) or a fragment (#…).",
            "Leave it out; a gateway's key goes into the profile's credential and header.",
        )
    if _PATH.fullmatch(address.path.rstrip("/")) is None:
        raise ProfileError(
            "The endpoint's path has an empty part, '..' or a character that must be encoded.",
            "Write the path with letters, digits and - . _ ~ only.",
        )
