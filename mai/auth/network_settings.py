"""Proxies and certificate files, the environment's and a profile's own: which of them is a mistake.

Libraries read them when they make a connection's settings, and what they raise then says neither
which setting it was nor what to do. No value is ever shown: a proxy's address may hold a password.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import ConfigurationError
from .secrets import Secret

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


NO_PROXY_AT_ALL = "none"
"""The `proxy` of a profile that uses none, whatever the environment says."""


@dataclass(frozen=True, slots=True)
class Network:
    """A profile's own way to its service; what is None is as the environment has it.

    `proxy` is an address or NO_PROXY_AT_ALL. `ca_file` (PEM) is trusted besides the usual
    authorities. `client_certificate` is a PEM file with a certificate and its key, for a server
    that demands one. `secrets` are the parts of the proxy's address that nobody may see.
    """

    proxy: Secret | None = None
    ca_file: Path | None = None
    client_certificate: Path | None = None
    secrets: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "secrets", _login_of(self.proxy_address or ""))

    @property
    def proxy_address(self) -> str | None:
        """The proxy to go through, None where it is the environment's or none at all."""
        text = self.proxy.reveal() if self.proxy is not None else NO_PROXY_AT_ALL
        if text == NO_PROXY_AT_ALL:
            return None
        return text if "://" in text else f"http://{text}"

    @property
    def has_proxy(self) -> bool:
        """Whether a call may go through a proxy, its own or the environment's."""
        if self.proxy is not None:
            return self.proxy_address is not None
        return any(name.upper() in PROXIES for name in _set_variables())

    def mistake(self, name: str, *, socks: bool = False) -> ConfigurationError | None:
        """The error for settings that can't be used now, of the profile of that name.

        With `socks` a SOCKS proxy is a mistake: the package that it needs isn't there.
        """
        address, pair = self.proxy_address, self.client_certificate
        problems = {
            "proxy": "" if address is None else proxy_mistake(address, socks),
            "ca_file": "" if self.ca_file is None else _file_mistake("", str(self.ca_file)),
            "client_certificate": "" if pair is None else _key_pair_mistake(str(pair)),
        }
        found = [f"{setting} {why}" for setting, why in problems.items() if why]
        if not found:
            return None
        return ConfigurationError(
            f"The profile {name!r} can't be called: its {'; its '.join(found)}.",
            "Correct it in profiles.toml; the change is taken up at once. Nothing was sent, so "
            "nothing was billed.",
        )


def _login_of(address: str) -> tuple[str, ...]:
    """A proxy's password, as written and as meant, and the header that is made of its login."""
    login, at, _ = address.partition("://")[2].rpartition("@")
    if not at:
        return ()
    user, _, password = login.partition(":")
    plain = f"{unquote(user)}:{unquote(password)}"
    found = (password, unquote(password), base64.b64encode(plain.encode()).decode())
    return tuple(dict.fromkeys(each for each in found if each))


def _key_pair_mistake(path: str) -> str:
    """What is wrong with a client's certificate, to follow the setting's name."""
    if not os.path.isfile(path):
        return "names no file that exists"
    try:
        # Without the callback OpenSSL would ask the terminal for a password.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(path, password=lambda: b"")
    except (OSError, ValueError):
        return "names a file that isn't a certificate with its key (PEM, without a password)"
    return ""


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
            problem = proxy_mistake(value, socks)
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


def proxy_mistake(value: str, socks: bool = False) -> str:
    """What is wrong with a proxy's address, to follow its setting's name; "" for nothing."""
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
    if name in CERTIFICATE_FILES[1:] and os.path.isdir(value):
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
