"""The text of profiles.toml: its tables, and a sentence with its line for every mistake.

pydantic checks types, ranges and unknown keys. The sentences are made from the place and the type
of a mistake alone: pydantic's own texts quote values, and a value may be a key. docs/profiles.md
explains every setting.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
)

from ..auth import (
    METHODS,
    Network,
    Secret,
    header_problem,
    proxy_mistake,
    quote_unless_key,
)
from ..errors import ProfileError
from ..models import CATALOGUE, Model
from .endpoints import (
    is_loopback,
    is_loopback_host,
    is_media_host,
    is_page_host,
    normalize_endpoint,
)
from .model_tables import (
    TIERS,
    ModelSettings,
    PriceSettings,
    model_contradictions,
    to_model,
)
from .profile import ANY_MODEL, CONNECT_TIMEOUT, SHUTDOWN_GRACE
from .services import FOUNDRY, SERVICES
from .shared import SharedTable, shared_contradictions
from .toml_table import (
    MAX_NAME,
    TomlTable,
    flag,
    is_plain_name,
    number,
    one_of,
    only_if,
    whole_number,
)

EMULATOR = "emulator"
"""The profile that is always there; no file can redefine it."""

KEY_KINDS = {"key": "value", "key_env": "name", "key_file": "path"}
"""Each kind of key, and the setting that says where it is."""

MAX_TIER = TIERS
"""The highest tier."""

MAX_LINE = 2000
"""Characters: no line is meant to be longer, and a key of 100,000 parts would take minutes."""

PARSERS = ("tomllib", "tomli", "pip._vendor.tomli")
"""Python 3.11's own, and on 3.10 what is usually there beside it."""

NO_PARSER = (
    "This Python can't read TOML: run `pip install tomli`, or use Python 3.11 or newer, or "
    "configure the account by environment variables instead of the file."
)

# The tables


def _secret(value: object) -> Secret:
    if isinstance(value, str) and value.strip():
        return Secret(value.strip())
    raise ValueError


def _deployment_name(name: str) -> str:
    if name.isprintable() and 0 < len(name.strip()) <= MAX_NAME:
        return name.strip()
    raise ValueError


def _known_model(name: str, info: ValidationInfo) -> str:
    """A model of the catalogue or of the same file, whose names are the validation's context."""
    if name in (info.context or ()):
        return name
    raise ValueError


def _for_any_model(value: object) -> object:
    return {ANY_MODEL: value} if isinstance(value, (str, list)) else value


def _rate_of_any_model(value: object) -> object:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return {ANY_MODEL: value} if is_number else value


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


ListOrOne = BeforeValidator(_as_list)
PageHost = Annotated[str, only_if(is_page_host), AfterValidator(str.lower)]
ModelName = Annotated[str, AfterValidator(_known_model)]
DeploymentNames = Annotated[
    list[Annotated[str, AfterValidator(_deployment_name)]], Field(min_length=1), ListOrOne
]
SecretText = Annotated[Secret, PlainValidator(_secret)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,100}$")]

PathText = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]+$")]

_PATH: Any = Field(None, description="the path of a PEM file in quotes")
_SECRET = Field(description="a text in quotes that isn't empty")
_IDENTIFIER = Field(None, description="letters, digits, dots and hyphens, as Azure shows it")


class InlineKey(TomlTable):
    """A key in the file itself."""

    kind: Literal["key"]
    value: SecretText = _SECRET


class VariableKey(TomlTable):
    """A key in an environment variable. The name is secret: it may be a key in the wrong place."""

    kind: Literal["key_env"]
    name: SecretText = _SECRET


class FileKey(TomlTable):
    """A key alone in a file. A relative path starts at the folder of profiles.toml."""

    kind: Literal["key_file"]
    path: SecretText = _SECRET


class EntraSettings(TomlTable):
    """Entra ID, and how to sign in."""

    kind: Literal["entra"]
    method: str = one_of(METHODS, "default")
    client_id: Identifier | None = _IDENTIFIER
    tenant_id: Identifier | None = _IDENTIFIER


class BudgetSettings(TomlTable):
    """The most that may be spent, in USD; `strict` refuses calls whose cost has no upper bound."""

    day: float | None = number(0, 100_000)
    month: float | None = number(0, 100_000)
    strict: bool = flag(False)


class ProfileSettings(TomlTable):
    """[profiles.<name>]"""

    service: str = one_of(SERVICES, FOUNDRY.name)
    endpoint: str = Field(description='an address such as "https://NAME.services.ai.azure.com"')
    credential: InlineKey | VariableKey | FileKey | EntraSettings = Field(
        discriminator="kind",
        description="a table whose kind is key, key_env, key_file or entra, such as "
        f'{{ kind = "key_env", name = "{FOUNDRY.key_variable}" }}',
    )
    header: str | None = Field(None, description="a text in quotes")
    deployments: Annotated[dict[ModelName, DeploymentNames], BeforeValidator(_for_any_model)] = (
        Field(
            {},
            description=f"a deployment's name of 1 to {MAX_NAME} characters, a list of names, or a "
            'table of them by model, in quotes: "MAI-Image-2.6" = "my-deployment"',
        )
    )
    tier: int | None = whole_number(1, MAX_TIER)
    requests_a_minute: Annotated[
        dict[ModelName, Annotated[float, Field(ge=0.01, le=100_000)]],
        BeforeValidator(_rate_of_any_model),
    ] = Field(
        {},
        description="a number from 0.01 to 100000, or a table of them by model, in quotes: "
        '{ "MAI-Image-2.6" = 2 }',
    )
    budget: BudgetSettings = Field(
        BudgetSettings(), description="a table with day or month in USD, or strict"
    )
    connect_timeout: float = number(0.1, 120, CONNECT_TIMEOUT)
    timeout: float | None = number(1, 3600)
    shutdown_grace: float = number(0, 600, SHUTDOWN_GRACE)
    keep_prompts: bool = flag(True)
    max_images_per_node: int | None = whole_number(1, 10_000)
    media_hosts: Annotated[list[Annotated[str, only_if(is_media_host)]], ListOrOne] = Field(
        [],
        description="a list of host names in lower case, without https:// and path, such as "
        '["media.example.com", "*.example.net"]',
    )
    proxy: SecretText | None = Field(
        None, description='an address such as "http://proxy.example:8080", or "none"'
    )
    ca_file: PathText | None = _PATH
    client_certificate: PathText | None = _PATH


class StoreTable(TomlTable):
    """[store]"""

    limit_gb: float | None = number(0.001, 100_000)


class PageSettings(TomlTable):
    """[page]: what the page may show of this server's images and money.

    `hosts`: names and addresses, with a port or for any port, by which the page may be called from
    other machines; `allow_remote`: by any address in numbers. `show_prompts`: images with their
    prompts; None shows prompts only where nobody but the user of this machine can look.
    """

    hosts: Annotated[list[PageHost], ListOrOne] = Field(
        default=[],
        description="a list of host names or addresses as the browser shows them, without http:// "
        'and path, such as ["studio.lan:8188", "192.168.1.5"]',
    )
    allow_remote: bool = flag(False)
    show_prompts: bool | None = flag(None)


CLOSED = PageSettings()
"""What holds where the file says nothing, or can't be read."""


class FileSettings(TomlTable):
    """The file. Profiles and models are validated one by one: a mistake leaves the others alone."""

    profiles: dict[str, Any] = Field({}, description="a table", repr=False)
    models: dict[str, Any] = Field({}, description="a table")
    store: StoreTable = Field(StoreTable(), description="a table")
    page: PageSettings = Field(CLOSED, description="a table")
    shared: SharedTable | None = Field(None, description="a table")


INNER_TABLES: dict[str, type[TomlTable]] = {
    "store": StoreTable,
    "page": PageSettings,
    "shared": SharedTable,
    "budget": BudgetSettings,
    "price": PriceSettings,
    "key": InlineKey,
    "key_env": VariableKey,
    "key_file": FileKey,
    "entra": EntraSettings,
}
"""Tables inside others by their key, the table `credential` by its kind."""


def _contradictions(settings: ProfileSettings, interactive: bool) -> Iterator[tuple[str, str]]:
    """Settings that can't stand together, each with a sentence."""
    service, credential = SERVICES[settings.service], settings.credential
    try:
        normalize_endpoint(settings.endpoint, administrator=True, service=service.name)
    except ProfileError as error:
        yield "endpoint", f"{error.what} {error.hint}"
    if settings.header is not None and (problem := header_problem(settings.header)):
        yield "header", f"header {problem}"
    if isinstance(credential, EntraSettings):
        yield from _entra_contradictions(settings, credential, interactive)
    for key, value in (("deployments", settings.deployments), ("tier", settings.tier)):
        if value and not service.has_deployments:
            yield key, f'{key} can\'t be set: service "{service.name}" has none.'
    yield from _network_contradictions(settings)
    if settings.media_hosts and not service.media_hosts:
        owners = [f'"{one.name}"' for one in SERVICES.values() if one.media_hosts]
        yield "media_hosts", f"media_hosts belongs to service {' or '.join(owners)}."


def _entra_contradictions(
    settings: ProfileSettings, entra: EntraSettings, interactive: bool
) -> Iterator[tuple[str, str]]:
    if not SERVICES[settings.service].has_entra:
        kinds = " or ".join(KEY_KINDS)
        yield "credential", f'kind must be {kinds}: service "{settings.service}" has no Entra ID.'
    if settings.header is not None:
        yield "header", "header is for keys; Entra ID always uses Authorization."
    if entra.method == "device_code" and not interactive:
        yield (
            "credential",
            "a device code can be typed in at the command line only; for ComfyUI use method "
            "default, environment, managed_identity or azure_cli.",
        )
    for key in ("client_id", "tenant_id"):
        if getattr(entra, key) is not None and key not in METHODS[entra.method].settings:
            yield "credential", f'{key} can\'t be set for method = "{entra.method}".'


def _network_contradictions(settings: ProfileSettings) -> Iterator[tuple[str, str]]:
    proxy, here = Network(settings.proxy).proxy_address, is_loopback(settings.endpoint)
    if proxy is not None:
        if problem := proxy_mistake(proxy):
            yield "proxy", f"proxy {problem}."
        elif here and not is_loopback_host(urlsplit(proxy).hostname or ""):
            yield (
                "proxy",
                "proxy is on another machine and the endpoint on this one: the key would leave "
                "this machine over plain http.",
            )
    if settings.client_certificate is not None and here and "https://" not in settings.endpoint:
        yield "client_certificate", "client_certificate needs an endpoint that is called by https."


# Reading


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: a sentence, and the line it is on (from 1) where that is known."""

    text: str
    line: int | None = None

    def __str__(self) -> str:
        return self.text if self.line is None else f"line {self.line}: {self.text}"


@dataclass(slots=True)
class Contents:
    """What a file says. While it has mistakes outside its profiles, no profile can be used.

    `names` are those of all its profiles, in its order; each is a key of `profiles` or of
    `profile_mistakes`.
    """

    names: list[str] = field(default_factory=list)
    profiles: dict[str, ProfileSettings] = field(default_factory=dict)
    profile_mistakes: dict[str, list[Mistake]] = field(default_factory=dict)
    file_mistakes: list[Mistake] = field(default_factory=list)
    store: StoreTable = field(default_factory=StoreTable)
    page: PageSettings = CLOSED
    shared: SharedTable | None = None
    models: dict[str, ModelSettings] = field(default_factory=dict)
    holds_key: bool = False

    @property
    def mistaken(self) -> bool:
        """Whether there is any mistake, in a profile or outside."""
        return bool(self.file_mistakes or self.profile_mistakes)


S = TypeVar("S", bound=TomlTable)


def mistakes_in(text: str) -> list[str]:
    """A sentence for each mistake of a profiles.toml that isn't written yet, so without lines.

    It may be for the command line: a device code is no mistake.
    """
    contents = read_profiles(text, interactive=True)
    found = [contents.file_mistakes, *contents.profile_mistakes.values()]
    return [mistake.text for mistakes in found for mistake in mistakes]


def models_in(text: str) -> tuple[list[Model], list[str]]:
    """The models of a profiles.toml, and a sentence with its line for each mistake in the file.

    A mistake in one model leaves the others alone; those of profiles aren't told here.
    """
    contents = read_profiles(text, interactive=True)
    models = [to_model(name, settings) for name, settings in contents.models.items()]
    return models, [str(mistake) for mistake in contents.file_mistakes]


def read_profiles(text: str, *, interactive: bool) -> Contents:
    """A file's contents; never raises for what it says. A device code needs `interactive`."""
    lines = _find_lines(text)
    tree = _parse_toml(text)
    if isinstance(tree, list):
        names = [path[1] for path in lines if path[0] == "profiles" and len(path) == 2]
        return Contents(names=[*filter(_is_name, names)], file_mistakes=tree)
    contents = Contents()
    settings = _validate(FileSettings, tree, (), lines, contents.file_mistakes)
    if settings is not None:
        contents.store, contents.page = settings.store, settings.page
        contents.shared = settings.shared
        for key, problem in shared_contradictions(settings.shared) if settings.shared else ():
            contents.file_mistakes.append(Mistake(problem, _line(lines, ("shared", key))))
    tables = {key: tree.get(key) for key in ("models", "profiles")}
    models, profiles = (table if isinstance(table, dict) else {} for table in tables.values())
    for name, table in models.items():
        _read_model(contents, name, table, lines)
    known = [*dict.fromkeys([*CATALOGUE, *models]), ANY_MODEL]
    for name, table in profiles.items():
        _read_profile(contents, name, table, lines, interactive, known)
    return contents


def _read_model(contents: Contents, name: str, table: object, lines: Lines) -> None:
    """Adds one [models."name"], or its mistakes, which are the file's."""
    path, mistakes = ("models", name), contents.file_mistakes
    if problem := _model_name_problem(name):
        mistakes.append(Mistake(f"the model name {short(name)} {problem}", _line(lines, path)))
        return
    settings = _validate(ModelSettings, table, path, lines, mistakes)
    found = [*model_contradictions(name, settings)] if settings else []
    mistakes += [Mistake(text, _line(lines, (*path, key))) for key, text in found]
    if settings is not None and not found:
        contents.models[name] = settings


def _model_name_problem(name: str) -> str:
    """What keeps a model from having this name, as the end of a sentence; "" if nothing does.

    It stands in the names of files.
    """
    if not is_plain_name(name):
        return f"must be 1 to {MAX_NAME} letters, digits, spaces and . _ - only."
    near = nearest(name, CATALOGUE)
    if name not in CATALOGUE and near and near.lower() == name.lower():
        return f"differs from {near!r} by capitals only."
    return ""


def _read_profile(
    contents: Contents,
    name: str,
    table: object,
    lines: Lines,
    interactive: bool,
    known_models: Sequence[str],
) -> None:
    """Adds one [profiles.name], or its mistakes in the order of lines."""
    path = ("profiles", name)
    if not _is_name(name):
        rule = f"must be 1 to {MAX_NAME} letters, digits, spaces and . _ - only."
        problem = "is taken by the built-in emulator." if name.lower() == EMULATOR else rule
        text = f"the profile name {_setting(name)} {problem}"
        contents.file_mistakes.append(Mistake(text, _line(lines, path)))
        return
    contents.names.append(name)
    if isinstance(table, dict):
        credential = table.get("credential")
        contents.holds_key |= isinstance(credential, dict) and "value" in credential
        service = SERVICES.get(str(table.get("service")), FOUNDRY)
        table = {"endpoint": service.endpoint, **table} if service.endpoint else table
    mistakes: list[Mistake] = []
    settings = _validate(ProfileSettings, table, path, lines, mistakes, known_models)
    for key, text in _contradictions(settings, interactive) if settings else ():
        mistakes.append(Mistake(text, _line(lines, (*path, key))))
    if mistakes or settings is None:
        contents.profile_mistakes[name] = sorted(mistakes, key=lambda one: one.line or 0)
    else:
        contents.profiles[name] = settings


def _validate(
    form: type[S],
    table: object,
    path: tuple[str, ...],
    lines: Lines,
    mistakes: list[Mistake],
    known_models: Sequence[str] = (),
) -> S | None:
    """A table in its form; or None, and its mistakes are added."""
    try:
        return form.model_validate(table, context=known_models)
    except ValidationError as error:
        # Their types and places alone: the rest holds values, which may be keys.
        found = [(one["type"], one["loc"]) for one in error.errors(include_url=False)]
    for error_type, place in found:
        parts = [str(part) for part in place]
        mistakes.append(_mistake(form, path, error_type, parts, lines, known_models))
    return None


def _mistake(
    form: type[TomlTable],
    path: tuple[str, ...],
    error_type: str,
    place: list[str],
    lines: Lines,
    known_models: Sequence[str],
) -> Mistake:
    """What is wrong with the setting at `place` of the table at `path`, which has this form."""
    if not place:
        return Mistake(f"{_bare(path[-1])} must be a table.", _line(lines, path))
    table, *inner = place
    if table == "credential" and inner:
        # pydantic names the kind that it took the table for; the file doesn't.
        form, place = INNER_TABLES[inner[0]], inner[1:]
        path = (*path, table)
    elif table in INNER_TABLES and inner:
        form, place = INNER_TABLES[table], inner
        path = (*path, table)
    key = place[0]
    known = form.model_fields
    if key not in known:
        text = _unknown_key(path, key, list(known))
    elif place[-1] == "[key]":
        text = _unknown_key((*path, key), place[1], known_models)
    else:
        must_be = f"must be {known[key].description}."
        if key == "hosts" and place[-1].isdigit():
            must_be += f" Number {int(place[-1]) + 1} of it isn't."
        missing = error_type == "missing"
        text = f"{_table_name(path)} has no {key}: it {must_be}" if missing else f"{key} {must_be}"
    return Mistake(text, _line(lines, (*path, *place)))


def short(word: object) -> str:
    """A name as it stands in an error text: quoted, and not longer than about 40 characters."""
    text = str(word)
    return repr(text if len(text) <= 40 else text[:40] + "…")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a mistyped one most likely means, whatever its case."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word[:100].lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def _is_name(name: str) -> bool:
    """Whether a profile of the file may have this name."""
    return is_plain_name(name) and name.lower() != EMULATOR


def _table_name(path: Sequence[str]) -> str:
    """A table as it stands in the file."""
    return f"[{'.'.join(map(_bare, path))}]" if path else "the file"


def _bare(name: str) -> str:
    """A name as TOML has it: without quotes where it needs none."""
    shown = _setting(name)
    return name if shown == f"'{name}'" and _BARE_KEY.fullmatch(name) else shown


def _setting(name: str) -> str:
    """A name of the file for an error text, as `short` shows it; not if it may be a key."""
    hidden = quote_unless_key(name[:40])
    return short(name) if hidden == repr(name[:40]) else hidden


def _unknown_key(path: Sequence[str], key: str, known: Sequence[str]) -> str:
    near = nearest(key, known)
    ends = f"did you mean {near!r}?" if near else f"known are {', '.join(known)}."
    return f"{_table_name(path)} has an unknown key {_setting(key)}: {ends}"


# TOML


def _parse_toml(text: str) -> dict[str, Any] | list[Mistake]:
    """The file's tables, or why there are none."""
    lines = enumerate(text.split("\n"), start=1)
    too_long = [number for number, line in lines if len(line) > MAX_LINE]
    if too_long:
        return [Mistake(f"longer than {MAX_LINE} characters.", number) for number in too_long]
    parser = _toml_parser()
    if parser is None:
        return [Mistake(NO_PARSER)]
    try:
        tree: dict[str, Any] = parser.loads(text)
        return tree
    except (ValueError, OverflowError) as error:
        return [_syntax_mistake(str(error))]
    except RecursionError:
        return [Mistake("the values are nested too deep.")]


def _toml_parser() -> ModuleType | None:
    for name in PARSERS:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _syntax_mistake(message: str) -> Mistake:
    """The parser's message with its "(at line 3, column 9)" as a line."""
    found = _AT.search(message)
    line = int(found[1]) if found and found[1] else None
    text = message[: found.start()] if found else message
    words = (word if _is_harmless(word) else "…" for word in text[:1000].split())
    return Mistake(f"this is not TOML: {' '.join(words)[:120].rstrip('.')}.", line)


def _is_harmless(word: str) -> bool:
    """Whether a word of the parser may be shown: it may be a name of the file, or even a key."""
    name = word.strip("()[],;:'\"")
    return word.isprintable() and quote_unless_key(name) == repr(name)


_BARE = r"[A-Za-z0-9_-]+"
_PART = rf'(?:{_BARE}|"(?:[^"\\]|\\.)*"|\'[^\']*\')'
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_AT = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)")
_BARE_KEY = re.compile(_BARE)
_KEY_PART = re.compile(_PART)
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")
_DEPTH = 5
"""Tables in tables that are looked up; a key of a thousand parts costs no more."""


Lines = dict[tuple[str, ...], int]
"""Where each key and table first stands."""


def _find_lines(text: str) -> Lines:
    """A scan of the lines, also of a file that is broken; good enough for messages."""
    lines: Lines = {}
    table: tuple[str, ...] = ()
    for line_number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.match(line):
            path = table = _parts(header[1])
        elif key := _KEY.match(line):
            path = (*table, *_parts(key[1]))
        else:
            continue
        for length in range(1, min(len(path), _DEPTH) + 1):
            lines.setdefault(path[:length], line_number)
    return lines


def _line(lines: Lines, path: tuple[str, ...]) -> int | None:
    """The line of a key, or of the nearest table around it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _KEY_PART.findall(dotted))
