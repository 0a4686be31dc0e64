"""The environment's proxies and certificate files: which of these variables is a mistake.

Libraries read them when they make a connection's settings, and what they raise then says neither
which variable it was nor what to do. No value is ever shown: a proxy's address may hold a password.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from ..errors import ConfigurationError

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
"""Each in lower case too, as urllib and requests take them."""

CERTIFICATE_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Files of trusted certificates: httpx reads the first, requests (azure-identity) the others."""

CERTIFICATE_FOLDERS = "SSL_CERT_DIR"
KEY_LOG = "SSLKEYLOGFILE"

_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_TAKEN_BY_HTTPX = ("http", "https", "socks5", "socks5h")

_HIDDEN = "[hidden]"

_WORD = re.compile(r"\S+")
_PART_END = re.compile(r"[:/?#@]")

HINT = (
    "Correct or unset it where ComfyUI is started, then start it again. Nothing was sent, so "
    "nothing was billed."
)


def hide_passwords(text: str) -> str:
    """A library's text without the password of an address in it, or any part of a proxy's."""
    text = _WORD.sub(lambda word: _without_login(word[0]), text)
    for name, value in _set_variables().items():
        if name.upper() in PROXIES:
            _, _, password = value.split("://", 1)[-1].rpartition("@")[0].partition(":")
            for part in _PART_END.split(password):
                for spelled in {part, unquote(part)}:
                    text = text.replace(spelled, _HIDDEN) if len(spelled) > 2 else text
    return text


def _without_login(word: str) -> str:
    """A word without what stands between its first // and its last @."""
    before, slashes, rest = word.partition("//")
    _, at, host = rest.rpartition("@")
    return f"{before}//{_HIDDEN}@{host}" if slashes and at else word


def unusable_settings(error: Exception) -> ConfigurationError:
    """The error for network settings that made a library raise `error`, with the variables."""
    found = list(setting_mistakes(socks=isinstance(error, ImportError)))
    if not found:
        names = ", ".join(_set_variables()) or "none of its usual variables is set"
        found = [f"proxy or certificate settings can't be used ({type(error).__name__}; {names})"]
    return ConfigurationError(
        f"This machine's network settings keep every call from being sent: {'; '.join(found)}.",
        HINT,
    )


def certificate_folder_mistake() -> ConfigurationError | None:
    """The error for an SSL_CERT_DIR without a folder, with which httpx trusts nobody, silently.

    It is read only where SSL_CERT_FILE isn't set.
    """
    values = _set_variables()
    if CERTIFICATE_FILES[0] in values or CERTIFICATE_FOLDERS not in values:
        return None
    mistaken = _file_mistake(CERTIFICATE_FOLDERS, values[CERTIFICATE_FOLDERS])
    return unusable_settings(FileNotFoundError()) if mistaken else None


def setting_mistakes(*, socks: bool = False) -> Iterator[str]:
    """A clause for each variable that can't be used as it is. With `socks` a SOCKS proxy is one
    too: the package that it needs isn't there."""
    values = _set_variables()
    for name, value in values.items():
        if name.upper() in PROXIES:
            problem = _proxy_mistake(value, socks)
        elif name.upper() == "NO_PROXY":
            problem = "has an address in it that can't be read" if _is_odd_list(value) else ""
        else:
            problem = _file_mistake(name, value)
        if problem:
            yield f"{name} {problem}"


def _set_variables() -> Mapping[str, str]:
    """The variables about proxies and certificates that are set, as they are spelled."""
    names = [spelled for name in (*PROXIES, "NO_PROXY") for spelled in (name, name.lower())]
    names += [*CERTIFICATE_FILES, CERTIFICATE_FOLDERS, KEY_LOG]
    values = {name: os.environ.get(name, "") for name in names}
    return {name: value for name, value in values.items() if value}


def _proxy_mistake(value: str, socks: bool) -> str:
    """What is wrong with a proxy's address, to follow the variable's name."""
    try:
        address = urlsplit(value if "://" in value else f"http://{value}")
        host, port = address.hostname, address.port
    except ValueError:
        return "isn't the address of a proxy (its host or port can't be read)"
    if not host or not value.isprintable() or " " in value:
        return "isn't the address of a proxy (such as http://proxy.example:8080)"
    if address.scheme not in _SCHEMES or port == 0:
        return "isn't the address of a proxy (such as http://proxy.example:8080)"
    if address.scheme not in _TAKEN_BY_HTTPX:
        return "names a kind of proxy that can't be used: take http, https or socks5"
    if socks and address.scheme.startswith("socks"):
        return "names a SOCKS proxy, which needs a package: `pip install httpx[socks] pysocks`"
    return ""


def _is_odd_list(value: str) -> bool:
    """Whether a host of NO_PROXY can't be read: brackets (httpx wants ::1 bare) or an odd port."""
    return any(_is_odd_host(host.strip()) for host in value.split(","))


def _is_odd_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host.split("/")[0])
    except ValueError:
        try:
            _ = urlsplit(host if "://" in host else f"all://*{host}").port
        except ValueError:
            return True
        return "[" in host and "://" not in host
    return False


def _file_mistake(name: str, value: str) -> str:
    """What is wrong with a certificate's file or folder, to follow the variable's name."""
    if name == KEY_LOG:
        return "" if _can_be_appended(value) else "names a file that can't be written"
    if name == CERTIFICATE_FOLDERS:
        folders = any(os.path.isdir(folder) for folder in value.split(os.pathsep))
        return "" if folders else "names no folder that exists"
    if name != CERTIFICATE_FILES[0] and os.path.isdir(value):
        return ""  # requests takes a folder too
    if not os.path.isfile(value):
        return "names no file that exists"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=value)
    except (OSError, ValueError):
        return "names a file that can't be read as certificates (PEM)"
    return ""


def _can_be_appended(path: str) -> bool:
    folder = os.path.dirname(path) or "."
    return os.access(path if os.path.exists(path) else folder, os.W_OK) and not os.path.isdir(path)
