"""Which endpoint may be called: what users paste, reduced to the address that is really used.

Every address is read by `httpx.URL`, the parser that also connects, and is refused where httpx
reads it otherwise than it is written. So the host that is checked here is the host that gets a key.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

import httpx

from ..errors import ProfileError
from .services import SERVICES, Service

MAX_CHARACTERS = 2048
"""Longer than any endpoint that is meant."""

MAX_MEDIA_CHARACTERS = 8192
"""A signed address of an image can be far longer than an endpoint."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_STANDARD_PORTS = {"https": 443, "http": 80}
_LABEL = re.compile(r"(?!xn--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_GATEWAY_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")
_API_VERSION = re.compile(r"(?:api-version=[A-Za-z0-9.-]*)?")
_QUOTES = "\"'`<>“”‘’"


def normalize_endpoint(text: str, *, administrator: bool, service: str) -> str:
    """The endpoint that is called, without a slash at its end; raises ProfileError.

    An address of a service's own host is reduced to its origin. Any other https host is accepted
    only from the `administrator` (profiles.toml), with its path; plain http only to this machine.
    """
    url = _parse(text, MAX_CHARACTERS)
    owner = _owner(_host(url))
    if owner is not None:
        return _own_origin(url, owner, service)
    _check_gateway(url, administrator, SERVICES[service])
    path = url.raw_path.decode("ascii").rstrip("/")
    return _origin(url) + SERVICES[service].pasted_path.sub("", path)


def allowed_media_url(url: str, extra_hosts: Sequence[str], *, loopback: bool) -> str | None:
    """The address of an image as it may be fetched, or None if it may not be.

    It must be https on port 443, on a service's media host or one of `extra_hosts`, where "*.name"
    means all hosts below a name. With `loopback`, when the endpoint is on this machine too, any
    address on this machine may be fetched.
    """
    try:
        parsed = _parse(url, MAX_MEDIA_CHARACTERS)
    except ProfileError:
        return None
    host = _host(parsed)
    known = [*extra_hosts, *(name for one in SERVICES.values() for name in one.media_hosts)]
    listed = any(
        host.endswith(name[1:]) if name.startswith("*.") else host == name for name in known
    )
    on_standard_port = parsed.scheme == "https" and parsed.port is None
    allowed = (listed and on_standard_port) or (loopback and is_loopback_host(host))
    return str(parsed) if allowed and "#" not in url else None


def describe_host(url: str) -> str:
    """Where an address that `allowed_media_url` refuses leads, for an error text."""
    try:
        return f"on the host {_shown(_host(_parse(url, MAX_MEDIA_CHARACTERS)))}"
    except ProfileError:
        return "at an address that can't be read"


def is_media_host(name: str) -> bool:
    """Whether a text can stand in media_hosts: a host, or "*." and a host with a dot in it."""
    host = name.removeprefix("*.")
    try:
        url = _parse(f"https://{host}", MAX_CHARACTERS)
    except ProfileError:
        return False
    return _host(url) == host and (host == name or "." in host)


def is_loopback_host(host: str) -> bool:
    """Whether a host, without brackets, is this machine: localhost, 127.0.0.0/8 or ::1."""
    address = _ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        return address == ipaddress.IPv6Address("::1")
    return host == "localhost" or (address is not None and address.is_loopback)


@lru_cache(maxsize=256)
def is_loopback(url: str) -> bool:
    """Whether an address is on this machine; False where it is empty or can't be read."""
    try:
        return is_loopback_host(_host(_parse(url, MAX_CHARACTERS)))
    except ProfileError:
        return False


def _parse(text: str, limit: int) -> httpx.URL:
    """An address as pasted; quotes, white space around it and case don't matter.

    Raises ProfileError for all that two programs could read in two ways.
    """
    text = text.strip().strip(_QUOTES).strip()
    if not text:
        raise _unusable("is empty")
    if len(text) > limit:
        raise _unusable(f"is longer than {limit} characters")
    if re.search(r"[^\x21-\x7e]|\\", text):
        raise _unusable("has a space, a backslash or a character that isn't plain ASCII in it")
    if not _SCHEME.match(text):
        text = _with_scheme(text.removeprefix("//"))
    url = _read_url(text)
    if url is None:
        raise _unusable("has a host or port that can't be read")
    if url.scheme not in _STANDARD_PORTS:
        raise _unusable("has a scheme that is neither https nor http")
    _check_as_written(url, text)
    _check_host(_host(url))
    if url.port is not None and not 0 < url.port < 65536:
        raise _unusable("has a port that is not from 1 to 65535")
    if ":" in _host(url):
        return url.copy_with(host=str(ipaddress.IPv6Address(_host(url))))
    return url


def _with_scheme(text: str) -> str:
    url = _read_url(f"http://{text}")
    here = url is not None and is_loopback_host(_host(url))
    return f"http://{text}" if here else f"https://{text}"


def _read_url(text: str) -> httpx.URL | None:
    """None if httpx can't read it. Its exception quotes the text, so no other may chain to it."""
    try:
        return httpx.URL(text)
    except httpx.InvalidURL:
        return None


def _host(url: httpx.URL) -> str:
    """The host as it is connected to: in lower case, without brackets."""
    return url.raw_host.decode("ascii")


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _origin(url: httpx.URL) -> str:
    """scheme://host[:port], the port left out where it is the scheme's own."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _check_as_written(url: httpx.URL, text: str) -> None:
    """Refuses what httpx drops or changes: user info, odd ports, '..' in the path."""
    authority, *path = re.split(r"[?#]", text.partition("://")[2])[0].split("/")
    if "@" in authority:
        raise _unusable("has a user name or a password in it")
    read = url.netloc.decode("ascii")
    if authority.lower() not in (read, f"{read}:{_STANDARD_PORTS[url.scheme]}"):
        raise _unusable("has a host or port that can't be read")
    if "." in path or ".." in path:
        raise _unusable("has '.' or '..' as a part of its path")


def _check_host(host: str) -> None:
    """Refuses encoded and international names, a dot at the end and odd spellings of numbers."""
    labels = host.split(".")
    if ":" in host or _NUMBER.fullmatch(labels[-1]):
        # 127.1 and 0x7f.1 are read differently by programs; "%" begins a zone of this machine.
        if _ip_address(host) is None or "%" in host:
            raise ProfileError(
                "The endpoint's host is a number that isn't a complete IP address.",
                "Write all four numbers of it, such as 127.0.0.1, or the host's name.",
            )
    elif len(host) > 253 or any(_LABEL.fullmatch(label) is None for label in labels):
        raise _unusable(
            "has no plain host name: letters, digits and hyphens between dots, no dot at the end, "
            "no international (xn--) names"
        )


def _owner(host: str) -> Service | None:
    """The service that a host belongs to."""
    _, dot, parent = host.partition(".")
    names = (host, f"*{dot}{parent}")
    return next((one for one in SERVICES.values() if set(names) & set(one.hosts)), None)


def _own_origin(url: httpx.URL, owner: Service, service: str) -> str:
    """The origin of an address on a service's own host: https, port 443, no path."""
    if owner.name != service:
        raise ProfileError(
            f"The endpoint belongs to the service {owner.name!r}, not to {service!r}.",
            f'Set service = "{owner.name}" in the profile, or change its endpoint.',
        )
    if url.scheme != "https" or url.port is not None:
        raise ProfileError(
            f"The endpoint's host {_shown(_host(url))} is called over https and port 443 only.",
            "Begin it with https:// and leave the port out.",
        )
    if "#" in str(url) or _API_VERSION.fullmatch(url.query.decode("ascii")) is None:
        raise _unusable("has a query (?…) or a fragment (#…)")
    return _origin(url).replace(".openai.azure.com", ".services.ai.azure.com")


def _check_gateway(url: httpx.URL, administrator: bool, service: Service) -> None:
    """A gateway is named by the administrator, over https; keys go into headers, not its query."""
    host = _host(url)
    loopback = is_loopback_host(host)
    if "?" in str(url) or "#" in str(url):
        raise ProfileError(
            "The endpoint has a query (?…) or a fragment (#…).",
            "Leave it out; a gateway's key goes into the profile's credential and header.",
        )
    if _GATEWAY_PATH.fullmatch(url.raw_path.decode("ascii").rstrip("/")) is None:
        raise ProfileError(
            "The endpoint's path has an empty part or a character that must be encoded.",
            "Write the path with letters, digits and - . _ ~ only.",
        )
    if url.scheme == "http" and not loopback:
        raise ProfileError(
            f"The endpoint's host {_shown(host)} would be called over plain http.",
            "Use https; plain http is for this machine only (localhost, 127.0.0.1, ::1).",
        )
    if not (loopback or administrator):
        raise ProfileError(
            f"The endpoint's host {_shown(host)} is not an Azure host.",
            f"The environment can name only {', '.join(service.hosts)} or this machine. "
            "A gateway must be written in profiles.toml.",
        )


def _unusable(problem: str) -> ProfileError:
    return ProfileError(
        f"The endpoint {problem}.",
        "Write it as https://<resource>.services.ai.azure.com, as the resource's page in the Azure "
        "portal or Foundry shows it.",
    )


def _shown(host: str) -> str:
    """A host for an error text; a word without a dot may be a key in the wrong place: not shown."""
    if "." not in host and ":" not in host and host != "localhost":
        return "(not shown: it has no dot in it)"
    return repr(host if len(host) <= 80 else host[:80] + "…")
