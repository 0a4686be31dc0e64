"""Where to call and as whom: profiles.toml, else the environment; and always the emulator.

A caller gives a name and gets an endpoint together with the one credential that belongs to it.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from ..auth import (
    DATABASE,
    NO_PROXY_AT_ALL,
    SCOPE,
    SOVEREIGN_SCOPES,
    STORAGE,
    Build,
    Credential,
    Entra,
    EntraCredential,
    KeyCredential,
    Network,
    Secret,
    azure_identity,
    key_from_file,
    key_from_variable,
    quote_unless_key,
)
from ..errors import ProfileError
from ..types import Budget
from . import environment
from .endpoints import is_loopback, normalize_endpoint
from .folders import make_private
from .profile import ANY_MODEL, MAX_IMAGES_PER_NODE, Profile
from .services import FOUNDRY, SERVICES
from .shared import Shared, SharedTable, system_user, this_machine, to_shared
from .toml_file import (
    EMULATOR,
    Contents,
    EntraSettings,
    FileKey,
    Mistake,
    PageSettings,
    ProfileSettings,
    VariableKey,
    nearest,
    read_profiles,
    short,
)

logger = logging.getLogger(__name__)

FILE_NAME = "profiles.toml"

DEFAULT = "default"
"""The name that means the first configured profile."""

EMULATOR_RPM = 60_000.0
"""The built-in emulator has no quota: calls go as fast as any burst goes."""

MAX_FILE_BYTES = 262_144
"""A hundred times a long profiles.toml."""

_SHOWN = 5
"""Mistakes in one error text."""

_Stamp = tuple[int, ...]


class Profiles:
    """The profiles of one folder's profiles.toml, of the environment, and the emulator.

    Nothing is raised before a profile is asked for. A change of the file is seen by the next call.
    `emulator_key` is the key of the emulator that the program starts. `interactive` allows device
    codes, which `prompt` shows to the user; `build` makes azure-identity's credentials and `wait`
    is the seconds for a token (both for tests). Entra credentials are kept for the life of this
    object.
    """

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str] | None = None,
        *,
        emulator_key: str = EMULATOR,
        interactive: bool = False,
        prompt: Callable[[str], None] = logger.warning,
        build: Build | None = None,
        wait: float | None = None,
    ) -> None:
        self.path = Path(folder) / FILE_NAME
        self._variable = environment.reader(environ)
        self._build = build or azure_identity(prompt)
        self._wait = wait
        self._interactive = interactive
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._contents = Contents()
        self._of_file: dict[str, Profile] = {}
        self._opened: list[Path] = []
        """What other users could read before it was made private."""
        self._entra: dict[Entra, EntraCredential] = {}
        self._emulator = Profile(
            EMULATOR,
            FOUNDRY.name,
            "",
            KeyCredential(lambda: Secret(emulator_key), "the built-in emulator"),
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
        if contents.file_mistakes:
            raise self._mistaken("", contents.file_mistakes)
        actual = name
        if name == DEFAULT and contents.names and DEFAULT not in contents.names:
            actual = contents.names[0]
        if actual in contents.profile_mistakes:
            mistakes = contents.profile_mistakes[actual]
            raise self._mistaken(f" in profile {short(actual)}", mistakes)
        if actual in self._of_file:
            return self._of_file[actual]
        if not contents.names and name == DEFAULT:
            settings = environment.profile_settings(self._variable)
            if settings is not None:
                return self._profile(DEFAULT, settings)
        raise self._missing(name)

    def names(self) -> list[str]:
        """Every profile that can be asked for, broken ones too; the emulator is the last."""
        names = list(self._read().names)
        if not names and environment.chosen_group(self._variable):
            names = [DEFAULT]
        return [*names, EMULATOR]

    def max_images_per_node(self, name: str) -> int:
        """How many images a node may order in one run; the usual number for a mistaken profile."""
        try:
            return self.get(name).max_images_per_node
        except ProfileError:
            return MAX_IMAGES_PER_NODE

    def store_limit_bytes(self) -> int | None:
        """[store] limit_gb of the file in bytes, None if it isn't set."""
        limit = self._read().store.limit_gb
        return None if limit is None else int(limit * 1_000_000_000)

    def shared(self) -> Shared | None:
        """[shared] of the file: what several machines share; None on a machine of its own.

        ProfileError while the file has a mistake outside its profiles: nobody knows then what it
        was meant to say.
        """
        contents = self._read()
        if contents.file_mistakes:
            raise self._mistaken("", contents.file_mistakes)
        if contents.shared is None:
            return None
        return to_shared(contents.shared, self.path.parent, self._password(contents.shared))

    def still_share(self, known: Shared | None) -> bool:
        """Whether [shared] is what it was; True while a mistake keeps that from being known."""
        try:
            return self.shared() == known
        except ProfileError:
            return True

    def storage_variable(self, name: str) -> str | None:
        """A variable of READ_FOR_STORAGE; KeyError for every other."""
        if name not in environment.READ_FOR_STORAGE:
            raise KeyError(name)
        return self._variable(name)

    async def storage_token(self) -> str:
        """Entra ID's token for the images of [shared]; raises CredentialError."""
        credential = self.sign_in(Entra(scope=STORAGE))
        return (await credential.headers())["Authorization"].partition(" ")[2]

    def machine(self) -> str:
        """This machine as the books show it: [shared] machine, else its own name."""
        shared = self._read().shared
        return (shared and shared.machine) or this_machine()

    def user(self) -> str:
        """Who buys, as the books show it: MAI_IMAGE_USER, else the operating system's user."""
        return environment.named_user(self._variable) or system_user()

    def page(self) -> PageSettings:
        """[page] of the file: what the page may show, and to whom.

        Any mistake in the file closes all of it, even what this machine's user may see by default:
        the mistake may stand where somebody meant to close something.
        """
        contents = self._read()
        return PageSettings(show_prompts=False) if contents.mistaken else contents.page

    def keeps_prompts(self, name: str) -> bool:
        """Whether prompts of images that this profile paid for may be shown.

        Any mistake in the file says no. A profile that is gone can't have changed its mind.
        """
        if self._read().mistaken:
            return False
        try:
            return self.get(name).keep_prompts
        except ProfileError:
            return True

    def warnings(self) -> list[str]:
        """What is worth knowing and no error: keys that others can read, variables not used."""
        contents = self._read()
        found = [] if contents.names else environment.unused_keys(self._variable)
        opened = [path for path in self._opened if path.is_dir() or contents.holds_key]
        found += [
            f"Other users of this machine could read {path}; it is private now (by `chmod "
            f"{700 if path.is_dir() else 600}`). Change a key that they may have read."
            for path in opened
            if path in (self.path, self.path.parent)
        ]
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
                problem = self._make_private()
                self._stamp = _stamp(self.path)
                self._contents = self._load() if problem is None else problem
                self._of_file = {
                    name: self._profile(name, settings)
                    for name, settings in self._contents.profiles.items()
                }
            return self._contents

    def _make_private(self) -> Contents | None:
        """Close the folder to other users; the mistake that it is where that can't be done."""
        try:
            self._opened = make_private(self.path.parent)
        except ProfileError as error:
            return Contents(file_mistakes=[Mistake(f"{error.what} {error.hint}")])
        except OSError as error:
            return _unreadable(f"can't be looked for ({type(error).__name__})")
        if self._opened:
            logger.warning(
                "Other users of this machine could read the folder of %s or files in it; they are "
                "private now.",
                FILE_NAME,
            )
        return None

    def _load(self) -> Contents:
        if self._stamp is None:
            return Contents()
        try:
            if not self.path.is_file():
                return _unreadable("isn't a file")
            with self.path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                return _unreadable(f"is longer than {MAX_FILE_BYTES} bytes")
            text = data.decode("utf-8-sig")
        except OSError as error:
            return _unreadable(f"can't be read ({type(error).__name__})")
        except UnicodeDecodeError:
            return _unreadable("isn't UTF-8 text; save it as UTF-8")
        return read_profiles(text.replace("\r\n", "\n"), interactive=self._interactive)

    def _profile(self, name: str, settings: ProfileSettings) -> Profile:
        service = SERVICES[settings.service]
        return Profile(
            name,
            service.name,
            normalize_endpoint(settings.endpoint, administrator=True, service=service.name),
            self._credential(settings, settings.header or service.key_header),
            {model: tuple(dict.fromkeys(names)) for model, names in settings.deployments.items()},
            requests_a_minute=settings.requests_a_minute.get(ANY_MODEL),
            requests_by_model=settings.requests_a_minute,
            tier=settings.tier,
            budget=Budget(settings.budget.day, settings.budget.month, settings.budget.strict),
            connect_timeout=settings.connect_timeout,
            timeout=service.timeout if settings.timeout is None else settings.timeout,
            shutdown_grace=settings.shutdown_grace,
            # As in `page`: a mistake anywhere may stand where somebody meant to keep none.
            keep_prompts=settings.keep_prompts and not self._contents.mistaken,
            media_hosts=tuple(settings.media_hosts),
            max_images_per_node=settings.max_images_per_node or MAX_IMAGES_PER_NODE,
            network=Network(
                settings.proxy,
                self._beside(settings.ca_file),
                self._beside(settings.client_certificate),
            ),
        )

    def _beside(self, path: str | None) -> Path | None:
        """A path of the file, which begins at the file's folder."""
        return None if path is None else self.path.parent / os.path.expanduser(path)

    def _password(self, shared: SharedTable) -> Callable[[], str] | None:
        """What gives the shared database's password, anew each time; MaiError where it can't."""
        if shared.entra:
            return self.sign_in(Entra(scope=DATABASE)).token
        if shared.password_env is not None:
            read = key_from_variable(self._variable, shared.password_env)
        elif shared.password_file is not None:
            path = os.path.expanduser(shared.password_file.reveal())
            read = key_from_file(self.path.parent / path)
        else:
            return None
        return lambda: read().reveal().strip()

    def _credential(self, settings: ProfileSettings, header: str) -> Credential:
        form = settings.credential
        scheme = SERVICES[settings.service].key_scheme
        scheme = scheme if header.lower() == "authorization" else ""
        if isinstance(form, EntraSettings):
            return self.sign_in(
                Entra(
                    form.method,
                    form.client_id,
                    form.tenant_id,
                    scope=_scope(settings.endpoint),
                    proxy=_sign_in_proxy(settings.proxy),
                )
            )
        if isinstance(form, VariableKey):
            source = f"the environment variable {quote_unless_key(form.name.reveal())}"
            read = key_from_variable(self._variable, form.name)
            return KeyCredential(read, source, header, scheme)
        if isinstance(form, FileKey):
            path = self.path.parent / os.path.expanduser(form.path.reveal())
            source = f"the file {quote_unless_key(str(path))}"
            return KeyCredential(key_from_file(path), source, header, scheme)
        key = form.value
        return KeyCredential(lambda: key, FILE_NAME, header, scheme)

    def sign_in(self, entra: Entra) -> EntraCredential:
        """The credential that signs in so; always the same one. Nothing is asked for yet."""
        # A machine that plays Entra ID itself is one that Microsoft can't vouch for.
        discovery = not is_loopback(self._variable("AZURE_AUTHORITY_HOST") or "")
        entra = replace(entra, discovery=discovery)
        fresh = EntraCredential(entra, self._build, wait=self._wait, redact=self._redact)
        return self._entra.setdefault(entra, fresh)

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

    def _mistaken(self, where: str, mistakes: Sequence[Mistake]) -> ProfileError:
        shown = [str(mistake) for mistake in mistakes[:_SHOWN]]
        if len(mistakes) > _SHOWN:
            shown.append(f"… and {len(mistakes) - _SHOWN} more.")
        return ProfileError(
            f"{FILE_NAME} has a mistake{where}:\n" + "\n".join(shown),
            f"Correct {self.path}; the change is taken up at once.",
        )

    def _missing(self, name: str) -> ProfileError:
        names = self.names()
        if names == [EMULATOR]:
            return ProfileError(
                "No account is set up on this server: try it free, with profile set to "
                '"emulator", or connect an account by `mai-image init`.',
                f"There is no profile {short(name)}. Do one of these: set the environment "
                "variables AZURE_ENDPOINT and AZURE_API_KEY, or FAL_KEY alone, or "
                "OPENROUTER_API_KEY alone, and start ComfyUI again; or run "
                f"`mai-image init`, which writes {self.path}; or choose the profile "
                '"emulator", which needs no account and spends nothing.',
            )
        near = nearest(name, names) if isinstance(name, str) else None
        return ProfileError(
            f"The profile {short(name)} is not configured.",
            (f"Did you mean {near!r}? " if near else "")
            + f"Configured are: {', '.join([short(one) for one in names[:20]])}.",
        )


def _scope(endpoint: str) -> str:
    """Whom a token for this endpoint is for, by its cloud."""
    host = normalize_endpoint(endpoint, administrator=True, service=FOUNDRY.name)
    host = urlsplit(host).hostname or ""
    return next((scope for end, scope in SOVEREIGN_SCOPES.items() if host.endswith(end)), SCOPE)


def _sign_in_proxy(proxy: Secret | None) -> Secret | None:
    return None if proxy is None or proxy.reveal() == NO_PROXY_AT_ALL else proxy


def _unreadable(problem: str) -> Contents:
    return Contents(file_mistakes=[Mistake(f"it {problem}.")])


def _stamp(path: Path) -> _Stamp | None:
    """What changes when a file is written or replaced, or its folder is opened to others; None if
    there is no file."""
    try:
        found, folder = path.stat(), path.parent.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return (0, 0, 0, 0)
    written = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
    return (*written, folder.st_mode, folder.st_uid)
