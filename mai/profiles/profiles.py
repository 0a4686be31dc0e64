"""Where to call and as whom: profiles.toml, else the environment; and always the emulator.

The only file that reads the environment. Profiles are handed out whole: a caller gives a name and
gets an endpoint with the one credential that belongs to it.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ..auth import (
    Build,
    Credential,
    Entra,
    EntraCredential,
    KeyCredential,
    Secret,
    azure_identity,
    from_file,
    from_variable,
    harmless,
)
from ..disk import make_folder, write_durable
from ..errors import ProfileError
from ..types import Budget
from . import endpoints as hosts
from . import environment, folders
from .page_settings import PageSettings
from .profile import Profile
from .profile_file import EMULATOR, Contents, KeySource, Reader
from .tables import Problem, nearest, short

__all__ = [
    "DEFAULT",
    "EMULATOR",
    "FILE_NAME",
    "Budget",
    "Credential",
    "Profile",
    "Profiles",
    "data_folder",
    "usual_folder",
    "write_private",
]

log = logging.getLogger(__name__)

FILE_NAME = "profiles.toml"

DEFAULT = "default"
"""The name that means the first configured profile."""

EMULATOR_RPM = 60_000.0
"""The built-in emulator has no quota: calls start as fast as the pace lets any burst start."""

MAX_FILE_BYTES = 262_144
"""A hundred times a long profiles.toml."""

_SHOWN = 5
"""Mistakes in one error text."""

_Stamp = tuple[int, int, int, int]


class Profiles:
    """The profiles of one folder's profiles.toml, of the environment, and the emulator.

    Nothing is raised before a profile is asked for. A change of the file is seen by the next call.
    `interactive` allows device codes, which `prompt` shows to the user; `build` makes
    azure-identity's credentials and `wait` is the seconds for a token (both for tests). Entra
    credentials are kept for the life of this object.
    """

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str] | None = None,
        *,
        interactive: bool = False,
        prompt: Callable[[str], None] = log.warning,
        build: Build | None = None,
        wait: float | None = None,
    ) -> None:
        self.path = Path(folder) / FILE_NAME
        self._variable = _reader(os.environ if environ is None else environ)
        self._build = build or azure_identity(prompt, self._redact)
        self._wait = wait
        self._interactive = interactive
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._contents = Contents()
        self._entra: dict[Entra, EntraCredential] = {}
        self._emulator = Profile(
            EMULATOR,
            "foundry",
            "",
            KeyCredential(lambda: Secret(EMULATOR), "the built-in emulator"),
            requests_a_minute=EMULATOR_RPM,
            emulated=True,
        )

    def get(self, name: str) -> Profile:
        """The profile of that name; raises ProfileError if there is none or it is mistaken."""
        if name == EMULATOR:
            return self._emulator
        contents = self._read()
        if not isinstance(name, str):
            raise self._missing(name)
        if contents.whole:
            raise self._mistaken("", contents.whole)
        actual = _resolve(contents, name)
        if actual in contents.mistakes:
            raise self._mistaken(f" in profile {short(actual)}", contents.mistakes[actual])
        if actual in contents.profiles:
            return contents.profiles[actual]
        if not contents.names and name == DEFAULT:
            profile = environment.profile(self._variable, self._credential)
            if profile is not None:
                return profile
        raise self._missing(name)

    def names(self) -> list[str]:
        """Every profile that can be asked for, broken ones too; the emulator is the last."""
        names = list(self._read().names)
        if not names and environment.chosen(self._variable):
            names = [DEFAULT]
        return [*names, EMULATOR]

    def default_name(self) -> str:
        """The name of the profile that "default" means."""
        return _resolve(self._read(), DEFAULT)

    def store_limit_bytes(self) -> int | None:
        """[store] limit_gb of the file in bytes, None if it isn't set."""
        limit = self._read().store_limit_gb
        return None if limit is None else int(limit * 1_000_000_000)

    def page(self) -> PageSettings:
        """[page] of the file: what the page may show, and to whom."""
        return self._read().page

    def warnings(self) -> list[str]:
        """What is worth knowing and no error: keys that others can read, variables not used."""
        contents = self._read()
        found = [] if contents.names else environment.skipped(self._variable)
        if contents.holds_key and self._others_can_read():
            found.append(
                f"{self.path} holds a key and other users of this machine can read it: "
                f"run `chmod 600` on it."
            )
        return found

    def _read(self) -> Contents:
        """The file's contents, read again if the file is another one than before."""
        with self._lock:
            stamp = _stamp(self.path)
            if stamp is None or stamp != self._stamp:
                self._contents = self._load() if stamp is not None else Contents()
                self._stamp = stamp
            return self._contents

    def _load(self) -> Contents:
        try:
            if not self.path.is_file():
                return Contents(whole=[Problem("it isn't a file.")])
            with self.path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            text = data.decode("utf-8-sig")
        except OSError as error:
            return Contents(whole=[Problem(f"it can't be read ({type(error).__name__}).")])
        except UnicodeDecodeError:
            return Contents(whole=[Problem("it isn't UTF-8 text; save it as UTF-8.")])
        if len(data) > MAX_FILE_BYTES:
            return Contents(whole=[Problem(f"it is longer than {MAX_FILE_BYTES} bytes.")])
        reader = Reader(self._credential, self.path.parent, self._interactive)
        return reader.read(text.replace("\r\n", "\n"))

    def _credential(self, source: KeySource | Entra) -> Credential:
        if isinstance(source, Entra):
            return self._signed_in(source)
        where = source.where
        if source.kind == "key_env":
            read = from_variable(self._variable, where)
            told = f"the environment variable {harmless(where.reveal())}"
        elif source.kind == "key_file":
            read = from_file(Path(where.reveal()))
            told = f"the file {harmless(where.reveal())}"
        else:
            read, told = (lambda: where), FILE_NAME
        return KeyCredential(read, told, source.header)

    def _signed_in(self, entra: Entra) -> EntraCredential:
        """The one credential of these settings; it is made on first use."""
        if self._authority_is_local():
            entra = Entra(entra.method, entra.client_id, entra.tenant_id, discovery=False)
        fresh = EntraCredential(entra, self._build, wait=self._wait, redact=self._redact)
        return self._entra.setdefault(entra, fresh)

    def _authority_is_local(self) -> bool:
        """Whether Entra ID itself is played by this machine: Microsoft can't vouch for it then."""
        try:
            return hosts.is_loopback(self._variable("AZURE_AUTHORITY_HOST") or "")
        except ProfileError:
            return False

    def _redact(self, text: str) -> str:
        for name in environment.READ_BY_AZURE:
            secret = self._variable(name) or ""
            text = text.replace(secret, "…") if len(secret) > 3 else text
        return text

    def _others_can_read(self) -> bool:
        if sys.platform == "win32":
            return False
        try:
            return bool(stat.S_IMODE(self.path.stat().st_mode) & 0o077)
        except OSError:
            return False

    def _mistaken(self, where: str, problems: list[Problem]) -> ProfileError:
        shown = "\n".join(str(problem) for problem in problems[:_SHOWN])
        rest = f"\n… and {len(problems) - _SHOWN} more." if len(problems) > _SHOWN else ""
        return ProfileError(
            f"{FILE_NAME} has a mistake{where}:\n{shown}{rest}",
            f"Correct {self.path}; the change is taken up at once.",
        )

    def _missing(self, name: str) -> ProfileError:
        names = self.names()
        if names == [EMULATOR]:
            return ProfileError(
                f"There is no profile {short(name)}: no account is set up yet.",
                "Do one of these: set the environment variables AZURE_ENDPOINT and AZURE_API_KEY "
                f"and start ComfyUI again; or run `mai-image init`, which writes {self.path}; or "
                'choose the profile "emulator", which needs no account and spends nothing.',
            )
        near = nearest(name, names) if isinstance(name, str) else None
        return ProfileError(
            f"The profile {short(name)} is not configured.",
            (f"Did you mean {near!r}? " if near else "")
            + f"Configured are: {', '.join([short(one) for one in names[:20]])}.",
        )


def _reader(environ: Mapping[str, str]) -> environment.Read:
    """A function, because a repr of the mapping itself would show every key in it."""
    return lambda name: environ.get(name)


def _resolve(contents: Contents, name: str) -> str:
    if name == DEFAULT and contents.names and DEFAULT not in contents.names:
        return contents.names[0]
    return name


def _stamp(path: Path) -> _Stamp | None:
    """What changes when a file is written or replaced; None if there is no file."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return (0, 0, 0, 0)
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def write_private(path: Path, text: str) -> None:
    """Writes a file whole or not at all, for this user only (0600); raises OSError.

    A symbolic link is kept: the file that it points to is the one that is replaced.
    """
    target = Path(os.path.realpath(path))
    make_folder(target.parent)
    write_durable(target, text.encode("utf-8"))


def data_folder(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """The platform's user data folder for MAI Image outside ComfyUI; it may not exist yet."""
    return folders.user_data(os.environ if environ is None else environ, platform)


def usual_folder(
    pack: Iterable[Path], environ: Mapping[str, str] | None = None
) -> tuple[Path, str]:
    """The folder that a command line next to `pack` uses, and why; see folders.usual."""
    return folders.usual(pack, os.environ if environ is None else environ, sys.platform)
