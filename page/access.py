"""Who may ask about this server's money and images.

ComfyUI has no accounts: whoever reaches it can ask. So these answers are for the user of this
machine alone, unless the administrator allows more; and a page of another site, whose scripts run
in the user's own browser, gets nothing in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

if TYPE_CHECKING:
    from ..mai.profiles import PageSettings

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
"""What a proxy adds: the request then comes from farther away than its address says."""

NOT_SAME_SITE = "Only ComfyUI's own page may ask for this."

REMOTE = (
    "This is off because ComfyUI can be reached from other machines. Its administrator can switch "
    "it on with [page] allow_remote = true in profiles.toml."
)


@dataclass(frozen=True, slots=True)
class Server:
    """How ComfyUI was started: its --listen addresses, separated by commas, and --multi-user."""

    listen: str
    multi_user: bool = False

    @property
    def private(self) -> bool:
        """Whether it listens on the loopback interface alone."""
        # Imported here and below: ComfyUI's start doesn't wait for what reads profiles.
        from ..mai.profiles import is_loopback_host

        return all(is_loopback_host(address.strip().lower()) for address in self.listen.split(","))


def reason_to_refuse(request: web.Request, server: Server, settings: PageSettings) -> str | None:
    """Why this request gets no answer, as a sentence; None if it may have one."""
    from ..mai.profiles import is_loopback_host

    if not _from_own_page(request):
        return NOT_SAME_SITE
    if settings.allow_remote:
        return None
    from_outside = request.remote and not is_loopback_host(request.remote)
    if from_outside or not server.private or any(name in request.headers for name in FORWARDED):
        return REMOTE
    # A name of another site that leads to this machine (DNS rebinding) makes that site's page look
    # like our own: only the names that are this machine's by definition are taken.
    host = _host(request)
    return None if host and is_loopback_host(host) else NOT_SAME_SITE


def shows_prompts(server: Server, settings: PageSettings) -> bool:
    """Whether images are shown with their prompts."""
    if settings.show_prompts is not None:
        return settings.show_prompts
    return server.private and not server.multi_user and not settings.allow_remote


def _from_own_page(request: web.Request) -> bool:
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    host = request.headers.get("Host", "").lower()
    return origin is None or urlsplit(origin).netloc.lower() == host


def _host(request: web.Request) -> str | None:
    """The Host header's name without its port, as the browser believes it to be."""
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname
    except ValueError:
        return None
