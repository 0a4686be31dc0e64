"""Inputs for fuzzing: what nearly is a profiles.toml, an endpoint's address or a folder."""

from __future__ import annotations

import json
import re
from typing import Any

from canary import KEY
from fuzz_inputs import ODD_TEXTS, ODD_VALUES, ROOT, changed, nearly, texts
from hypothesis import strategies as st

_GUIDE = (ROOT / "docs" / "profiles.md").read_text("utf-8")

EXAMPLE = _GUIDE.split("```toml\n")[1].split("```")[0]
"""The annotated profiles.toml of the documentation."""

_AZURE = "https://r.services.ai.azure.com"
_KEY = {"kind": "key", "value": KEY}
_MODEL = {"max_pixels": 4194304, "references": 3, "options": ["web_grounding"], "version": "2",
          "price": {"text_in": 1, "image_in": 2.5, "image_out": 9}, "requests_a_minute": [2, 5],
          "retired": "2027-03-01", "successor": "MAI-Image-2.6", "min_side": 512,
          "edit_pixels": 1048576}  # fmt: skip


class Literal(str):
    """A value as it stands in TOML, without quotes."""


TABLES: list[Any] = [
    {"profiles": {"a": {"service": "foundry", "endpoint": _AZURE, "credential": _KEY, "tier": 1,
                        "budget": {"day": 1, "month": 2.5, "strict": True},
                        "deployments": {"MAI-Image-2.6": ["d", "e"], "*": "f"}}},
     "store": {"limit_gb": 1}, "page": {"allow_remote": True, "show_prompts": False}},
    {"profiles": {"a": {"endpoint": _AZURE, "credential": _KEY, "max_images_per_node": 100}},
     "page": {"hosts": ["studio.lan:8188", "192.168.1.5", "[::1]:8188"]}},
    {"profiles": {"a": {"service": "pixazo", "media_hosts": ["*.example.com"], "header": "x-key",
                        "credential": {"kind": "key_env", "name": "K"}, "keep_prompts": False},
                  "b": {"endpoint": "http://127.0.0.1:9/x/mai/v1", "deployments": "d",
                        "credential": {"kind": "key_file", "path": "secret.key"}, "timeout": 5,
                        "connect_timeout": 1, "shutdown_grace": 0, "requests_a_minute": 0.5}}},
    {"profiles": {"a": {"endpoint": _AZURE, "credential": {
        "kind": "entra", "method": "managed_identity", "client_id": "c"}}}},
    {"profiles": {"a": {"endpoint": _AZURE, "credential": {
        "kind": "entra", "method": "device_code", "tenant_id": "t"}}}},
    {"profiles": {"a": {"service": "pixazo", "credential": {"kind": "entra"}, "header": "x",
                        "deployments": "d", "tier": 2}}},
    {"profiles": {"a": {"endpoint": _AZURE, "media_hosts": ["a.example"], "credential": {
        "kind": "entra", "method": "azure_cli", "client_id": "c"}, "header": "host"}}},
    {"models": {"My-Model": _MODEL, "MAI-Image-2.6": {"max_pixels": 1048576, "references": 0}},
     "profiles": {"default": {"endpoint": _AZURE, "credential": _KEY, "deployments": {
         "My-Model": "d"}}}},
    {"models": {"mai-image-2.6": {"max_pixels": 65536}, "New": {"references": 1}, "x": {
        "max_pixels": 65536, "min_side": 1024, "edit_pixels": 99999}}},
    {"models": {"m": {"max_pixels": 99999999999}, "n": {"max_pixels": 70000, "references": 2,
                                                        "edit_pixels": 80000}}},
    {"models": {"MAI-Image-2.5": {"edit_pixels": 65536, "references": 1, "max_pixels": 262144}}},
    {"models": {"m": {"max_pixels": 262144, "successor": "a/b", "retired": "x", "options": ["x"]},
                "n": {"retired": Literal("2027-03-01"), "max_pixels": 262144},
                "o": {"retired": Literal("2027-03-01T07:32:00Z"), "version": " "}}},
    {"profiles": {"a": {"endpoint": _AZURE, "credential": {"kind": "key", "value": " "}},
                  "b": {"endpoint": _AZURE, "credential": _KEY, "deployments": {"x": "d"}},
                  "c": {"endpoint": _AZURE, "credential": _KEY, "deployments": ["", "a\nb"]},
                  "d": {"endpoint": _AZURE, "credential": _KEY, "media_hosts": ["A.b", 7]}}},
    {"models": {"a/b": {"max_pixels": 65536}}},
    {"profiles": {"emulator": {}, "x/y": {}, "E" * 99: {}, "b": {"endpoint": _AZURE}}},
]  # fmt: skip

SETTINGS = sorted(set(re.findall(r"^#? ?([a-z_]+) =", EXAMPLE, re.MULTILINE)) | {"kind", "value"})

WORDS = [
    "entra", "key", "key_env", "key_file", "default", "environment", "managed_identity",
    "azure_cli", "device_code", "foundry", "pixazo", "fal", "openrouter", "api-key",
    "Authorization", "m",
    "mai-image-2.6", "*", "emulator", "auto_aspect_ratio", "MAI-Imag-2.6", "a\tb", " d ",
]  # fmt: skip

ADDRESSES = [
    "r.services.ai.azure.com", "https://r.openai.azure.com/openai/deployments/d?api-version=1",
    "https://r.services.ai.azure.com:8443", "http://r.services.ai.azure.com", "https://127.1/",
    "https://gateway.pixazo.ai/v2", "http://localhost:8/mai/v1/images/edits", "https://g.example/x",
    "https://u:p@g.example", "https://g.example/a//b", "https://g.example/../x", "//[::1]:80",
    "https://g.example?x#y", "https://[fe80::1%25eth0]", "http://g.example", "https://xn--a.de",
    "https://g.example.", "https://0x7f.1", f"https://{KEY}", "ftp://g.example", "“https://a.b”",
    "https://" + "a" * 70 + ".b", "https://" + "a." * 130 + "b", "https://g.example:0", "::1",
    "https://r.services.ai.azure.com/#x", "https://g.example/%7e", "https://[::2]/x", "127.0.0.1",
    "https://pub-582b7213209642b9b995c96c95a30381.r2.dev/i.png", "https://x.y.pixazo.ai/i.png#",
    "https://x.y.pixazo.ai/i.png?sig=" + "a" * 3000, "*.example.com", "*.com", "m.example.com:443",
    "https://ａ.example", "https://a\\b", "https://g.example:99999", "https://[::1", "localhost",
    "https://localhost:443", "https://abcdef",
]  # fmt: skip


_LEAVES = st.one_of(
    st.sampled_from([value for value in ODD_VALUES if value is not None]),
    st.sampled_from(WORDS),
    st.sampled_from(ADDRESSES),
    st.integers(-3, 10**20),
    st.floats(),
    st.sampled_from(["1979-05-27", "1979-05-27T07:32:00Z", "07:32:00", "0x1F", "", "[1, 'a']"]).map(
        Literal
    ),
    texts(20),
)


def toml_files() -> st.SearchStrategy[bytes]:
    """Files that nearly mean something, and lines of known names with odd values."""
    whole = nearly(TABLES, _LEAVES).map(_toml)
    line = st.one_of(
        st.builds("{} = {}".format, st.sampled_from(SETTINGS), _LEAVES.map(_value)),
        st.builds("[profiles.{}]".format, st.sampled_from(["a", "b", '"x y"', "'", "c.budget"])),
        st.sampled_from(["[store]", "[page]", "[models.m]", "[profiles]", "x" * 3000, "[[page]]"]),
    )
    lines = st.builds(
        lambda before, found: "\n".join([before, *found]), whole, st.lists(line, max_size=4)
    )
    uncommented = EXAMPLE.replace("\n# ", "\n")
    return st.one_of(
        whole.map(_bytes),
        lines.map(_bytes),
        changed([EXAMPLE.encode(), uncommented.encode(), *map(_bytes, map(_toml, TABLES))]),
        st.sampled_from([b"\xff\xfe", b"a = " + b"[" * 1900, b"#" * 300_000, b"\xef\xbb\xbfa = 1"]),
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _toml(tree: Any) -> str:
    """A tree as TOML: headers for tables down to the second floor, inline tables below."""
    if not isinstance(tree, dict):
        return f"a = {_value(tree)}"
    lines, headed = [], []
    for name, table in tree.items():
        if name in ("profiles", "models") and isinstance(table, dict):
            headed += [((name, inner), value) for inner, value in table.items()]
        else:
            headed.append(((name,), table))
    for path, table in sorted(headed, key=lambda one: isinstance(one[1], dict)):
        dotted = ".".join(map(_name, path))
        if isinstance(table, dict):
            lines.append(f"[{dotted}]")
            lines += [f"{_name(key)} = {_value(value)}" for key, value in table.items()]
        else:
            lines.append(f"{dotted} = {_value(table)}")
    return "\n".join(lines)


def _name(word: object) -> str:
    text = str(word)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _value(text)


def _value(value: Any) -> str:
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, bool) or value is None:
        return str(bool(value)).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_name(key)} = {_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


FILE_STATES = ["there"] * 30 + ["missing", "a folder", "long name", "not UTF-8", "no parser",
                                "private", "a loop", "a file's child", "no permission",
                                "a link"]  # fmt: skip

VARIABLES = ["K", "AZURE_ENDPOINT", "AZURE_API_KEY", "DEPLOYMENT_NAME", "MAI_ENDPOINT", "MAI_KEY",
             "AZURE_OPENAI_API_KEY", "AZURE_AUTHORITY_HOST", "AZURE_CLIENT_SECRET",
             "FAL_KEY", "OPENROUTER_API_KEY"]  # fmt: skip


def environments() -> st.SearchStrategy[dict[str, str]]:
    """The variables that make a profile, and those that one of a file refers to."""
    value = st.one_of(
        st.sampled_from(["", KEY, _AZURE, "x y", "d", *ADDRESSES]), st.text(max_size=9)
    )
    whole = {"AZURE_ENDPOINT": _AZURE, "AZURE_API_KEY": KEY}
    return st.one_of(st.just(whole), st.dictionaries(st.sampled_from(VARIABLES), value, max_size=4))


def addresses() -> st.SearchStrategy[str]:
    """What users paste as an endpoint, and what servers call the address of an image."""
    edited = changed([address.encode() for address in ADDRESSES])
    joined = st.builds(
        lambda *parts: "".join(parts),
        st.sampled_from(["https://", "http://", "", "HTTPS://", "//"]),
        st.sampled_from(["", "u@", "r.", "a-b.", "*.", "%41."]),
        st.sampled_from(["services.ai.azure.com", "pixazo.ai", "127.0.0.1", "[::1]", "g.example"]),
        st.sampled_from(["", ":443", ":80", ":8188", ":x"]),
        st.sampled_from(["", "/", "/x", "/x/", "?api-version=1", "?k=v", "#", "/mai/v1", "/./x"]),
    )
    return st.one_of(
        st.sampled_from(ADDRESSES),
        edited.map(lambda data: data.decode("utf-8", "replace")),
        joined,
        st.sampled_from(ODD_TEXTS),
    )


FOLDER_NAMES = ["", "FOLDER", "FOLDER/comfy", "relative", "~", "~nobody/x", "/nowhere", "a b"]


def folder_questions() -> st.SearchStrategy[tuple[str, dict[str, str], list[str]]]:
    """A platform, variables, and the folders of the pack; FOLDER stands for one that is there."""
    name = st.sampled_from(FOLDER_NAMES)
    variables = st.dictionaries(
        st.sampled_from(["COMFYUI_PATH", "XDG_DATA_HOME", "LOCALAPPDATA"]), name, max_size=3
    )
    pack = st.sampled_from(["FOLDER/comfy/custom_nodes/x", "FOLDER/custom_nodes/x", "FOLDER", "x"])
    return st.tuples(
        st.sampled_from(["win32", "darwin", "linux"]), variables, st.lists(pack, max_size=2)
    )
