"""Who may ask about this server's money and images.

ComfyUI has no accounts: whoever reaches it can ask. So these answers are for the user of this
machine alone, unless the administrator names the hosts by which others may call; and a page of
another site, whose scripts run in the user's own browser, gets nothing in any case.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

if TYPE_CHECKING:
    from ..mai.profiles import PageSettings

FORWARDED = (
    *("Forwarded", "Via", "X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-Original-Host"),
    *("True-Client-IP", "CF-Connecting-IP", "CDN-Loop"),
)
"""What a proxy adds, besides all that begins with X-Forwarded: the request then comes from farther
away than its address says."""

STANDARD_PORTS = {"http": 80, "https": 443}

NOT_SAME_SITE = "Only ComfyUI's own page may ask for this."

REMOTE = (
    "This is off because ComfyUI can be reached from other machines. Its administrator can switch "
    'it on in profiles.toml: [page] hosts = ["NAME:PORT"] with what the browser\'s address bar '
    "shows, or allow_remote = true for addresses in numbers. A proxy must pass on the Host header."
)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How ComfyUI was started: its --listen addresses, separated by commas, and --multi-user."""

    listen: str
    multi_user: bool = False

    @property
    def private(self) -> bool:
        """Whether it listens on the loopback interface alone."""
        # Imported here and below: ComfyUI's start doesn't wait for what reads profiles.
        from ..mai.profiles import is_loopback_host

        return all(is_loopback_host(address.strip().lower()) for address in self.listen.split(","))


@dataclass(frozen=True, slots=True)
class Authority:
    """A host without brackets and in lower case, and its port; None where none is written."""

    host: str
    port: int | None

    @property
    def on_loopback(self) -> bool:
        """Whether it is a name that is this machine's by definition."""
        from ..mai.profiles import is_loopback_host

        return is_loopback_host(self.host)

    @property
    def is_address(self) -> bool:
        """Whether the host is an address in numbers, to which no site can lead its own name."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    def is_listed(self, hosts: list[str]) -> bool:
        """Whether `hosts` names it: with this port, or without any."""
        ports = (self.port,) if self.port else tuple(STANDARD_PORTS.values())
        listed = [authority_of(host) for host in hosts]
        return any(
            one is not None and one.host == self.host and (one.port is None or one.port in ports)
            for one in listed
        )


def reason_to_refuse(
    request: web.Request, server: ServerOptions, settings: PageSettings
) -> str | None:
    """Why this request gets no answer, as a sentence; None if it may have one.

    The name by which the browser calls is checked in any case: a name of another site that leads
    to this machine (DNS rebinding) makes that site's page look like our own.
    """
    hosts = request.headers.getall("Host", [])
    called = authority_of(hosts[0]) if len(hosts) == 1 else None
    if called is None or not _from_own_page(request, called):
        return NOT_SAME_SITE
    named = called.is_listed(settings.hosts)
    if _came_through_proxy(request):
        # A proxy that puts its own target into Host makes every caller look like one on loopback.
        by_address = settings.allow_remote and called.is_address and not called.on_loopback
        return None if named or by_address else REMOTE
    opened = settings.hosts or settings.allow_remote
    if not opened and (_is_elsewhere(request) or not server.private):
        return REMOTE
    by_address = settings.allow_remote and called.is_address
    return None if named or by_address or called.on_loopback else NOT_SAME_SITE


def reason_to_refuse_change(
    request: web.Request, server: ServerOptions, settings: PageSettings
) -> str | None:
    """The same for a request that changes something.

    It must say that our own page sends it: a browser adds Origin to every POST. And it must be
    JSON: a page of another site can send forms and plain text without asking this server first.
    """
    from_page = request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    named = len(request.headers.getall("Origin", [])) == 1
    is_json = request.content_type == "application/json"
    if not (from_page and named and is_json):
        return NOT_SAME_SITE
    return reason_to_refuse(request, server, settings)


def shows_prompts(server: ServerOptions, settings: PageSettings) -> bool:
    """Whether images are shown with their prompts."""
    if settings.show_prompts is not None:
        return settings.show_prompts
    opened = settings.allow_remote or settings.hosts
    return server.private and not server.multi_user and not opened


def authority_of(text: str) -> Authority | None:
    """A Host header as a browser reads it; None for one that no browser sends."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    plain = parts.netloc == text and "@" not in text and text.isascii()
    return Authority(host, port) if host and plain else None


def _is_elsewhere(request: web.Request) -> bool:
    from ..mai.profiles import is_loopback_host

    return bool(request.remote) and not is_loopback_host(request.remote or "")


def _came_through_proxy(request: web.Request) -> bool:
    """Whether a proxy shows itself, by what it adds or by speaking as no browser does.

    nginx speaks HTTP/1.0 unless it is told otherwise, and with 1.1 sends "Connection: close", or
    "upgrade" where it is set up for websockets.
    """
    headers = request.headers
    if any(name in headers for name in FORWARDED):
        return True
    if any(name.lower().startswith("x-forwarded") for name in headers):
        return True
    connection = headers.get("Connection", "").lower()
    as_browser = headers.get("User-Agent", "").startswith("Mozilla/")
    odd = "upgrade" in connection or (as_browser and "close" in connection)
    return odd or request.version < (1, 1)


def _from_own_page(request: web.Request, called: Authority) -> bool:
    """Whether all that a browser says of the page that asks names the host that it calls."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    pages = [page for name in ("Origin", "Referer") for page in request.headers.getall(name, [])]
    return all(_is_page_of(page, called) for page in pages)


def _is_page_of(page: str, called: Authority) -> bool:
    try:
        parts = urlsplit(page)
    except ValueError:
        return False
    found, usual = authority_of(parts.netloc), STANDARD_PORTS.get(parts.scheme)
    if found is None or usual is None or found.host != called.host:
        return False
    return (found.port or usual) == (called.port or usual)
