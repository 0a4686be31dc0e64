"""Every regular expression takes time in proportion to its text, whatever the text is."""

from __future__ import annotations

import ast
import dataclasses
import gc
import importlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cli", "emulator", "mai", "nodes", "page")

Use = Callable[["re.Pattern[str]", str], object]


def search(pattern: re.Pattern[str], text: str) -> object:
    return pattern.search(text)


def match(pattern: re.Pattern[str], text: str) -> object:
    return pattern.match(text)


def fullmatch(pattern: re.Pattern[str], text: str) -> object:
    return pattern.fullmatch(text)


def every(pattern: re.Pattern[str], text: str) -> object:
    """As findall, finditer, sub and split use it."""
    return sum(1 for _ in pattern.finditer(text))


def keys_in(pattern: re.Pattern[str], text: str) -> object:
    """As profiles.toml is read: by line, and parts of what is a dotted key."""
    from mai_image.mai.profiles.toml_file import _HEADER

    header = _HEADER.match(text)
    return pattern.findall(header[1]) if header else None


USES: dict[str, tuple[Use, tuple[str, ...]]] = {
    "cli.azure_items._ACCOUNT_ID": (
        fullmatch, ("/subscriptions/a", "/resourceGroups/", "/subscriptions/a/resourceGroups/b")),
    "cli.azure_items._DEPLOYMENT_NAME": (fullmatch, ("a",)),
    "cli.azure_items._SUBSCRIPTION_ID": (fullmatch, ("a",)),
    "cli.init._BARE_KEY": (fullmatch, ("a",)),
    "emulator.directives._IN_PROMPT": (every, ("[[a", "[[ ", "[[a b", "[[fault a=1 ")),
    "emulator.directives._TRIGGER": (every, ("block", "blockprompt")),
    "emulator.requests._DATA_URI": (match, ("data:image/", "data:image/a")),
    "mai.auth.entra._SENTENCE": (match, ("a. ", "a.")),
    "mai.auth.entra._TOKEN": (fullmatch, ("a",)),
    "mai.auth.entra._TRIED": (every, ("\n", " \n", "aCredential", "a\n", "Credential: ", "Cred")),
    "mai.auth.keys._CONTROL": (search, ("a",)),
    "mai.auth.keys._HEADER_NAME": (fullmatch, ("a-",)),
    "mai.auth.keys._NAME_END": (every, ("/", "a/")),
    "mai.auth.keys._NOT_FOR_KEYS": (fullmatch, ("content-", "proxy-a")),
    "mai.auth.network_settings._PART_END": (every, ("@", "a@")),
    "mai.auth.network_settings._WORD": (every, ("//", "//a@ ")),
    "mai.auth.secrets._BEARER": (every, ("bearer ", "bearer a", "bearer  ")),
    "mai.auth.secrets._NAMED_VALUE": (
        every, ("access_token", "access_", "assertion ", "password=\"", "\\\"", "password = '\\")),
    "mai.auth.secrets._TOKEN_ALONE": (every, ("eyJ", "eyJaaaaaaaa", "eyJaaaaaaaa.", "eyJ.")),
    "mai.bulk.templates._PLACE": (every, ("{", "{a", "{{", "{a}", "}")),
    "cli.store._AGE": (fullmatch, ("9", "9d")),
    "cli.store._SIZE": (fullmatch, ("9", "9.9", "9GB")),
    "cli.wording._SIDES": (every, ("set width to 9", "set width to ", "9")),
    "mai.http.messages._IDENTIFIER": (fullmatch, ("a",)),
    "mai.profiles.endpoints._API_VERSION": (fullmatch, ("api-version=", "a")),
    "mai.profiles.endpoints._GATEWAY_PATH": (fullmatch, ("/a", "/", "/aaaa")),
    "mai.profiles.endpoints._LABEL": (fullmatch, ("a", "a-")),
    "mai.profiles.endpoints._NUMBER": (fullmatch, ("0", "0x")),
    "mai.profiles.endpoints._PATH_END": (every, ("?", "a?")),
    "mai.profiles.endpoints._PLAIN_ASCII": (fullmatch, ("a",)),
    "mai.profiles.endpoints._SCHEME": (match, ("a", "a:", "a:/")),
    "mai.profiles.services.SERVICES.pasted_path": (search, ("/mai/v1", "/mai/v1/images", "/")),
    "mai.profiles.services.Service.pasted_path": (search, ("/mai/v1", "/")),
    "mai.profiles.toml_file._AT": (search, (" ", "(at ", "(at line 1", "(at line 1, column 1")),
    "mai.profiles.toml_file._BARE_KEY": (fullmatch, ("a",)),
    "mai.profiles.toml_file._HEADER": (match, ("[", "[a", "[a.", "a . ", '"\\', "[ ", '["a"."')),
    "mai.profiles.toml_file._KEY": (match, ("a", "a.", "a . ", '"\\', '"a"."', "a ", "'.'")),
    "mai.profiles.toml_file._KEY_PART": (keys_in, ("[a.", "[a . ", '["\\"', "[''.")),
    "mai.providers.answers._WORD": (every, ("a", "a ")),
    "mai.providers.base64_field._FIELD": (search, ('"b64_json"', '"b64_json" :', '"b64_json"  ')),
    "mai.providers.answers._INPUT_LIMIT": (search, ("max ", "maximum", "token", "input ")),
    "mai.providers.answers._MEASURE": (search, ("exceed", "limit", "at mos")),
    "mai.providers.answers._NAMED": (search, ("request ", "image file", "image files ", "'model")),
    "mai.providers.answers._NOT_SENT_ON": (search, ("before the ", "before request ")),
    "mai.providers.answers._PROMPT": (search, ("prompt", "prompt ")),
    "mai.providers.base64_field._DATA_URI": (match, ("data:image/", "data:image/a")),
    "mai.providers.fal._JOB_ID": (fullmatch, ("a",)),
    "mai.providers.fal._LINK": (fullmatch, ("http://a", "https://")),
    "mai.providers.pixazo._JOB_ID": (fullmatch, ("a",)),
    "mai.formats.json_text._TOKEN": (every, ('"', '"a', "[", "[]")),
    "mai.sizes.sizes._RATIO": (fullmatch, ("1", "1 ", "1.", "1:1 ", "16:9")),
    "mai.store.store._KEY": (fullmatch, ("a",)),
    "mai.store.store._PREFIX": (fullmatch, ("a",)),
}  # fmt: skip
"""How the code uses each pattern, and what its worst texts repeat."""

REPEATED = (
    *" \n\t\\\"'/.:;=@[](){}-_a1A%&,<>#?", "a ", "a.", "a\n", " \n", "\\\\", '\\"', '""', "//",
    "[[", "aA1", "prompt ", "é", "\ud800",
)  # fmt: skip
"""What texts for every pattern repeat."""

SIZE = 15_000


def compiled() -> dict[str, re.Pattern[str]]:
    """Every pattern that a module holds, by its name; a table's and a class's too."""
    found: dict[str, re.Pattern[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if any(fn == "compile" for fn, _ in uses_of_re(path)):
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                module = importlib.import_module(f"mai_image.{name}")
                found.update(patterns_of(name, vars(module), f"mai_image.{name}"))
    return found


def patterns_of(
    name: str, values: dict[str, object], module: str
) -> Iterator[tuple[str, re.Pattern[str]]]:
    for key, value in values.items():
        if isinstance(value, re.Pattern):
            yield f"{name}.{key}", value
        elif isinstance(value, dict):
            for one in value.values():
                if dataclasses.is_dataclass(one) and getattr(one, "__module__", "") == module:
                    inner = {f.name: getattr(one, f.name) for f in dataclasses.fields(one)}
                    yield from patterns_of(f"{name}.{key}", inner, "")
        elif isinstance(value, type) and value.__module__ == module:
            fields = getattr(value, "__dataclass_fields__", {})
            defaults = {field: fields[field].default for field in fields}
            yield from patterns_of(f"{name}.{key}", defaults, "")


def uses_of_re(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Calls of functions of re, with their names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
            yield ast.unparse(node.func).removeprefix("re."), node


PATTERNS = compiled()


def test_every_pattern_is_listed_with_its_worst_texts() -> None:
    """A new pattern is measured only if this list says how it is used: add it here."""
    assert sorted(PATTERNS) == sorted(USES)


def test_every_pattern_is_a_named_one_of_its_module() -> None:
    """A pattern in the middle of a function would be measured nowhere."""
    elsewhere = []
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.Lambda))]
        inside = {ast.unparse(n) for function in functions for n in ast.walk(function)
                  if isinstance(n, ast.Call)}  # fmt: skip
        for name, call in uses_of_re(path):
            if name != "escape" and (name != "compile" or ast.unparse(call) in inside):
                elsewhere.append(f"{path.name}: {ast.unparse(call)}")
        imported = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        assert "re" not in imported
    assert elsewhere == []


def least(work: Callable[[], object], times: int) -> float:
    """The least processor time of several runs."""
    found = []
    for _ in range(times):
        began = time.thread_time()
        work()
        found.append(time.thread_time() - began)
    return min(found)


def grows_faster(use: Callable[[str], object], text: Callable[[int], str]) -> str:
    """How much longer twice the text takes, where that is more than 2.5 times; else empty.

    A text that takes less than a few milliseconds is far from quadratic: SIZE squared would be
    minutes.
    """
    short, long = text(SIZE), text(2 * SIZE)
    if least(lambda: use(long), 1) < 0.003:
        return ""
    times = 3
    for _ in range(3):
        once, twice = least(lambda: use(short), times), least(lambda: use(long), times)
        if twice <= 2.5 * once + 0.002:
            return ""
        times *= 2
    return f"{text(20)!r}: {once * 1000:.1f} ms, then {twice * 1000:.1f} ms"


@pytest.mark.parametrize("name", USES)
def test_twice_the_text_takes_at_most_two_and_a_half_times_as_long(name: str) -> None:
    use, worst = USES[name]
    pattern: re.Pattern[object] = PATTERNS[name]
    as_bytes = isinstance(pattern.pattern, bytes)

    def run(text: str) -> object:
        given = text.encode("utf-8", "surrogatepass") if as_bytes else text
        return use(pattern, given)  # type: ignore[arg-type]

    slow = []
    gc.disable()
    try:
        for unit in (*worst, *REPEATED):
            for head, tail in (("", ""), ("", "!"), (worst[0], "\0"), ("\n", "]")):

                def text(size: int, unit: str = unit, head: str = head, tail: str = tail) -> str:
                    return head + unit * (size // len(unit)) + tail

                slow.append(grows_faster(run, text))
    finally:
        gc.enable()
    assert [each for each in slow if each] == []


@pytest.mark.parametrize(
    "pattern",
    [r"//\S*@", r"\[\[\s*([A-Za-z]+)([^\[\]]*)\]\]", r"\s*\(at", r"(?s)prompt\W.*\bexceeds\b"],
)
def test_the_measure_finds_a_pattern_that_is_quadratic(pattern: str) -> None:
    slow = re.compile(pattern)
    texts = ("/", "a", " ", "prompt ")
    start = "[[" if "[[" in slow.pattern.replace("\\", "") else ""

    def small(unit: str) -> Callable[[int], str]:
        return lambda size: start + unit * (size // 5 // len(unit))

    assert any(grows_faster(lambda text: every(slow, text), small(unit)) for unit in texts)
