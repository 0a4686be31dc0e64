"""Which endpoint may be called: what users paste, reduced to the address that is really used.

Every address is read by `httpx.URL`, the parser that also connects, and is refused where httpx
reads it otherwise than it is written. So the host that is checked here is the host that gets a key.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

import httpx

from ..errors import ProfileError
from .services import SERVICES, Service

MAX_ENDPOINT = 2048
"""Characters: longer than any endpoint that is meant."""

_PLAIN_ASCII = re.compile(r"[!-\[\]-~]{1,8192}")
"""No white space and no backslash. Signed addresses of images are the longest that are meant."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PATH_END = re.compile(r"[?#]")
_STANDARD_PORTS = {"https": 443, "http": 80}
_LABEL = re.compile(r"(?!xn--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_GATEWAY_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")
_API_VERSION = re.compile(r"(?:api-version=[A-Za-z0-9.-]*)?")
_QUOTES = "\"'`<>“”‘’"


def normalize_endpoint(text: str, *, administrator: bool, service: str) -> str:
    """The endpoint that is called, without a slash at its end; raises ProfileError.

    An address of a service's own host is reduced to where its API begins. Any other https host is
    accepted only from the `administrator` (profiles.toml), with its path; plain http only to this
    machine.
    """
    if len(text.strip()) > MAX_ENDPOINT:
        raise _no_address()
    url = _parse(text)
    origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
    owner = _owner(_host(url))
    if owner is not None:
        _check_own_host(url, owner, service)
        return origin.replace(".openai.azure.com", ".services.ai.azure.com") + owner.base_path
    _check_gateway(url, administrator, SERVICES[service])
    path = url.raw_path.decode("ascii").rstrip("/")
    return origin + SERVICES[service].pasted_path.sub("", path)


def allowed_media_url(
    url: str, extra_hosts: Sequence[str], *, loopback: bool, service: str | None = None
) -> str | None:
    """The address of an image as it may be fetched, or None if it may not be.

    It must be https on port 443, on a media host of the `service` (None: of any) or one of
    `extra_hosts`, where "*.name" means all hosts below a name. With `loopback`, when the endpoint
    is on this machine too, any address on this machine may be fetched.
    """
    try:
        parsed = _parse(url)
    except ProfileError:
        return None
    host = _host(parsed)
    services = SERVICES.values() if service is None else [SERVICES[service]]
    known = [*extra_hosts, *(name for one in services for name in one.media_hosts)]
    listed = any(
        host.endswith(name[1:]) if name.startswith("*.") else host == name for name in known
    )
    on_standard_port = parsed.scheme == "https" and parsed.port is None
    allowed = (listed and on_standard_port) or (loopback and is_loopback_host(host))
    return str(parsed) if allowed and "#" not in url else None


def describe_host(url: str) -> str:
    """Where an address that `allowed_media_url` refuses leads, for an error text."""
    try:
        return f"on the host {_shown(_parse(url))}"
    except ProfileError:
        return "at an address that can't be read"


def is_media_host(name: str) -> bool:
    """Whether a text can stand in media_hosts: a host, or "*." and a host with a dot in it."""
    host = name.removeprefix("*.")
    try:
        return _host(_parse(f"https://{host}")) == host and (host == name or "." in host)
    except ProfileError:
        return False


def is_page_host(name: str) -> bool:
    """Whether a text is a host, or a host and a port, as an address bar shows it."""
    try:
        url = _parse(f"http://{name}")
    except ProfileError:
        return False
    written = url.netloc.decode("ascii")
    # A standard port is dropped where the address is read.
    return name.lower() in (written, f"{written}:80")


def is_loopback_host(host: str) -> bool:
    """Whether a host, without brackets, is this machine: localhost, 127.0.0.0/8 or ::1."""
    address = _ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        return address == ipaddress.IPv6Address("::1")
    return host == "localhost" or (address is not None and address.is_loopback)


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine; False where it is empty or can't be read."""
    try:
        return is_loopback_host(_host(_parse(url)))
    except ProfileError:
        return False


def _parse(text: str) -> httpx.URL:
    """An address as pasted; quotes, white space around it and case don't matter.

    Raises ProfileError for all that two programs could read in two ways.
    """
    text = text.strip().strip(_QUOTES).strip()
    if not _SCHEME.match(text):
        address = text.removeprefix("//")
        url = _read_url(f"http://{address}")
        here = url is not None and is_loopback_host(_host(url))
        text = f"http://{address}" if here else f"https://{address}"
    scheme, _, rest = text.partition("://")
    # httpx knows the usual port of "https", but not that of "HTTPS".
    text = f"{scheme.lower()}://{rest}"
    url = _read_url(text)
    if url is None or not _is_read_as_written(url, text):
        raise _no_address()
    host = _host(url)
    labels = host.split(".")
    if ":" in host or _NUMBER.fullmatch(labels[-1]):
        # 127.1 and 0x7f.1 are read differently by programs; "%" begins a zone of this machine.
        if _ip_address(host) is None or "%" in host:
            raise ProfileError(
                "The endpoint's host is a number that isn't a complete IP address.",
                "Write all four numbers of it, such as 127.0.0.1, or the host's name.",
            )
        return url.copy_with(host=str(_ip_address(host)))
    # An encoded or international name, a dot at the end, and what no name is.
    if len(host) > 253 or any(_LABEL.fullmatch(label) is None for label in labels):
        raise _no_address()
    return url


def _read_url(text: str) -> httpx.URL | None:
    """None if httpx can't read it. Its exception quotes the text, so no other may chain to it."""
    try:
        return httpx.URL(text) if _PLAIN_ASCII.fullmatch(text) else None
    except httpx.InvalidURL:
        return None


def _is_read_as_written(url: httpx.URL, text: str) -> bool:
    """Whether httpx dropped and changed nothing: user info, odd ports, '..' in the path."""
    if url.scheme not in _STANDARD_PORTS or not (url.port is None or 0 < url.port < 65536):
        return False
    authority, *path = _PATH_END.split(text.partition("://")[2])[0].split("/")
    read = url.netloc.decode("ascii")
    as_written = authority.lower() in (read, f"{read}:{_STANDARD_PORTS[url.scheme]}")
    return as_written and not {".", ".."} & set(path)


def _host(url: httpx.URL) -> str:
    """The host as it is connected to: in lower case, without brackets."""
    return url.raw_host.decode("ascii")


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _owner(host: str) -> Service | None:
    """The service that a host belongs to."""
    _, dot, parent = host.partition(".")
    names = {host, f"*{dot}{parent}"}
    return next((one for one in SERVICES.values() if names & set(one.hosts)), None)


def _check_own_host(url: httpx.URL, owner: Service, service: str) -> None:
    """A service's own host is called over https on port 443; its path doesn't matter."""
    if owner.name != service:
        raise ProfileError(
            f"The endpoint belongs to the service {owner.name!r}, not to {service!r}.",
            f'Set service = "{owner.name}" in the profile, or change its endpoint.',
        )
    if url.scheme != "https" or url.port is not None:
        raise ProfileError(
            "The endpoint's host is called over https and port 443 only.",
            "Begin it with https:// and leave the port out.",
        )
    if "#" in str(url) or _API_VERSION.fullmatch(url.query.decode("ascii")) is None:
        raise _query_or_fragment()


def _check_gateway(url: httpx.URL, administrator: bool, service: Service) -> None:
    """A gateway is named by the administrator, over https; keys go into headers, not its query."""
    if "?" in str(url) or "#" in str(url):
        raise _query_or_fragment()
    if _GATEWAY_PATH.fullmatch(url.raw_path.decode("ascii").rstrip("/")) is None:
        raise ProfileError(
            "The endpoint's path has an empty part or a character that must be encoded.",
            "Write the path with letters, digits and - . _ ~ only.",
        )
    loopback = is_loopback_host(_host(url))
    if url.scheme == "http" and not loopback:
        raise ProfileError(
            "The endpoint's host would be called over plain http.",
            "Use https; plain http is for this machine only (localhost, 127.0.0.1, ::1).",
        )
    if not (loopback or administrator):
        raise ProfileError(
            "The endpoint's host is not an Azure host.",
            f"The environment can name only {', '.join(service.hosts)} or this machine. "
            "A gateway must be written in profiles.toml.",
        )


def _no_address() -> ProfileError:
    return ProfileError(
        "The endpoint is not an address that can be called.",
        "Write it as https://<resource>.services.ai.azure.com, as the resource's page in the Azure "
        "portal or Foundry shows it: plain letters, without a user name, spaces or '..'.",
    )


def _query_or_fragment() -> ProfileError:
    return ProfileError(
        "The endpoint has a query (?…) or a fragment (#…).",
        "Leave it out; a gateway's key goes into the profile's credential and header.",
    )


def _shown(url: httpx.URL) -> str:
    """A host for an error text; a word without a dot may be a key in the wrong place: not shown."""
    host = _host(url)
    if "." not in host and ":" not in host and host != "localhost":
        return "(not shown: it has no dot in it)"
    return repr(host if len(host) <= 80 else host[:80] + "…")
