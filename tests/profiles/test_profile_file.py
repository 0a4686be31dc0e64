"""profiles.toml: what it can say, and every mistake with its line and a suggestion."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.auth import Entra
from mai_image.mai.errors import CredentialError, ProfileError
from mai_image.mai.models import CATALOGUE
from mai_image.mai.profiles import Profile, Profiles, mistakes_in, models_in
from mai_image.mai.profiles.toml_file import read_profiles
from mai_image.mai.types import Budget, Generate

SECRET = "canary4f2b9c8d7e6a5f4b3c2d1e0f9a8b7c6d"

GOOD = """\
[profiles.work]
endpoint = "https://r.openai.azure.com/openai/v1"
credential = { kind = "key_env", name = "K" }
"""

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "profiles.md").read_text("utf-8")

BLOCKS = re.findall(r"(?s)```toml\n(.*?)```", DOCUMENT)

EXAMPLE = BLOCKS[0]


def read(text: str, interactive: bool = False, **settings: Any) -> Profiles:
    """The profiles of a file; a key's variable K holds SECRET."""
    folder = Path(tempfile.mkdtemp(prefix="mai-profiles-"))
    (folder / "profiles.toml").write_text(text, encoding="utf-8")
    return Profiles(folder, {"K": SECRET}, interactive=interactive, **settings)


def mistakes(text: str, interactive: bool = False) -> list[str]:
    """The lines of every error that a file's profiles give, each once."""
    profiles = read(text, interactive)
    found: dict[str, None] = {}
    for name in [*profiles.names(), "default"]:
        try:
            profiles.get(name)
        except ProfileError as error:
            if "has a mistake" in error.what:
                found |= dict.fromkeys(error.what.splitlines()[1:])
    return list(found)


def profile_of(credential: str, more: str = "", **settings: Any) -> Profile:
    text = f'[profiles.a]\nendpoint = "r.services.ai.azure.com"\ncredential = {credential}\n{more}'
    return read(text, interactive=True, **settings).get("a")


def headers(profile: Profile) -> dict[str, str]:
    return asyncio.run(profile.credential.headers())


def test_the_example_is_a_file_that_works() -> None:
    assert mistakes(EXAMPLE) == []
    assert read(EXAMPLE).names() == ["work", "emulator"]


@pytest.mark.parametrize("block", BLOCKS)
def test_every_file_of_the_documentation_is_valid(block: str) -> None:
    assert mistakes_in(block) == []
    assert len(read(block).names()) > 1 or models_in(block)[0]


def test_every_commented_line_of_the_example_is_valid() -> None:
    lines = [re.sub(r"^# (?=[a-z_\"\[*]+.*[=\]])", "", line) for line in EXAMPLE.splitlines()]
    seen = False
    kept = []
    for line in lines:
        if line.startswith("credential") and "profiles.pixazo" not in "".join(kept):
            if seen:
                continue
            seen = True
        kept.append(line)
    profiles = read("\n".join(kept))
    assert mistakes("\n".join(kept)) == []
    work = profiles.get("work")
    assert work.deployments_for("MAI-Image-2.5") == ("east", "west")
    assert work.deployments_for("MAI-Image-2") == ("any-model",)
    assert (work.budget.day, work.budget.month) == (5.0, 50.0)
    assert profiles.get("pixazo").endpoint == "https://gateway.pixazo.ai"
    assert profiles.store_limit_bytes() == 10_000_000_000


@pytest.mark.parametrize(
    "line", [line[2:] for line in EXAMPLE.splitlines() if line.startswith("# credential")]
)
def test_every_credential_of_the_example_is_valid(line: str) -> None:
    text = f'[profiles.a]\nendpoint = "r.services.ai.azure.com"\n{line}\n'
    assert mistakes(text, interactive=True) == []


def test_a_profile_has_what_the_file_says() -> None:
    profile = read(
        GOOD
        + """
tier = 3
timeout = 60
connect_timeout = 2.5
shutdown_grace = 0
keep_prompts = false
deployments = { "MAI-Image-2.6" = ["a", " b ", "a"], "*" = "c" }
budget = { day = 0, month = 12.5 }
"""
    ).get("work")
    assert profile.endpoint == "https://r.services.ai.azure.com"
    assert profile.service == "foundry"
    assert profile.deployments_for("MAI-Image-2.6") == ("a", "b")
    assert profile.deployments_for("MAI-Image-2.5") == ("c",)
    assert (profile.timeout, profile.connect_timeout, profile.shutdown_grace) == (60, 2.5, 0)
    assert not profile.keep_prompts
    assert (profile.budget.day, profile.budget.month) == (0, 12.5)
    assert profile.rpm(CATALOGUE["MAI-Image-2.6"]) == 6
    assert profile.rpm(CATALOGUE["MAI-Image-2e"]) == 60
    assert profile.rpm(CATALOGUE["MAI-Image-2.7"]) is None


def test_a_budget_is_strict_only_where_the_file_says_so() -> None:
    assert read(GOOD + "budget = { strict = true }\n").get("work").budget == Budget(strict=True)
    assert not read(GOOD + "budget = { day = 5 }\n").get("work").budget.strict
    assert not read(GOOD).get("work").budget.strict


def test_a_call_has_a_bound_unless_its_service_or_model_has_none() -> None:
    plain = Generate("MAI-Image-2.6", "a hat", 1024, 1024)
    grounded = Generate("MAI-Image-2.6", "a hat", 1024, 1024, web_grounding=True)
    foundry = read(GOOD).get("work")
    assert foundry.why_unbounded(plain) == ""
    assert "web_grounding" in foundry.why_unbounded(grounded)
    pixazo = '[profiles.p]\nservice = "pixazo"\ncredential = { kind = "key", value = "k" }\n'
    assert "prices of its own" in read(pixazo).get("p").why_unbounded(plain)
    assert read(GOOD).get("emulator").why_unbounded(grounded) == ""


def test_requests_a_minute_win_over_the_tier() -> None:
    profile = read(GOOD + "tier = 1\nrequests_a_minute = 2.5\n").get("work")
    assert profile.rpm(CATALOGUE["MAI-Image-2e"]) == 2.5


def test_without_deployments_the_models_name_is_the_deployments() -> None:
    profile = read(GOOD).get("work")
    assert profile.deployments_for("MAI-Image-2.6") == ("MAI-Image-2.6",)
    assert profile.rpm(CATALOGUE["MAI-Image-2.6"]) is None


def test_one_deployment_can_serve_every_model() -> None:
    assert read(GOOD + 'deployments = "d"\n').get("work").deployments_for("x") == ("d",)


@pytest.mark.parametrize(
    ("credential", "source"),
    [
        (f'{{ kind = "key", value = " {SECRET} " }}', "profiles.toml"),
        ('{ kind = "key_env", name = " K " }', "the environment variable 'K'"),
    ],
)
def test_a_key_is_found_where_the_file_says(credential: str, source: str) -> None:
    profile = profile_of(credential)
    assert headers(profile) == {"api-key": SECRET}
    assert profile.credential.describe() == f"key from {source}"
    assert SECRET not in repr(profile)


def test_a_keys_file_lies_where_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "k").write_text(SECRET, encoding="utf-8")
    absolute = profile_of(f"{{ kind = 'key_file', path = '{tmp_path / 'k'}' }}")
    assert headers(absolute) == {"api-key": SECRET}
    text = GOOD.replace('"key_env", name = "K"', '"key_file", path = "k"')
    (tmp_path / "profiles.toml").write_text(text, encoding="utf-8")
    assert headers(Profiles(tmp_path, {}).get("work")) == {"api-key": SECRET}


def test_a_gateways_header_is_the_one_configured() -> None:
    key = '{ kind = "key_env", name = "K" }'
    profile = profile_of(key, 'header = "Ocp-Apim-Subscription-Key"')
    assert headers(profile) == {"Ocp-Apim-Subscription-Key": SECRET}


@pytest.mark.parametrize(
    ("credential", "entra"),
    [
        ('{ kind = "entra" }', Entra()),
        ('{ kind = "entra", client_id = "c-1" }', Entra("default", "c-1")),
        ('{ kind = "entra", method = "environment" }', Entra("environment")),
        (
            '{ kind = "entra", method = "managed_identity", client_id = "c" }',
            Entra("managed_identity", "c"),
        ),
        (
            '{ kind = "entra", method = "azure_cli", tenant_id = "t" }',
            Entra("azure_cli", None, "t"),
        ),
        (
            '{ kind = "entra", method = "device_code", client_id = "c", tenant_id = "t" }',
            Entra("device_code", "c", "t"),
        ),
    ],
)
def test_entra_methods_take_their_own_settings(credential: str, entra: Entra) -> None:
    built: list[Entra] = []

    def build(asked_for: Entra) -> Any:
        built.append(asked_for)
        raise RuntimeError("enough")

    with pytest.raises(CredentialError):
        headers(profile_of(credential, build=build))
    assert built == [entra]


def test_a_device_code_is_for_the_command_line_only() -> None:
    text = GOOD.replace(
        '{ kind = "key_env", name = "K" }', '{ kind="entra", method="device_code" }'
    )
    assert not mistakes(text)[0].startswith("line 1:")
    assert "command line only" in mistakes(text)[0]
    assert mistakes(text, interactive=True) == []
    assert mistakes_in(text) == []


def test_pixazo_has_its_own_endpoint_and_header() -> None:
    text = '[profiles.p]\nservice = "pixazo"\ncredential = { kind = "key_env", name = "K" }\n'
    profile = read(text).get("p")
    assert profile.endpoint == "https://gateway.pixazo.ai"
    assert profile.store_service == "pixazo"
    assert headers(profile) == {"Ocp-Apim-Subscription-Key": SECRET}


MISTAKES = [
    (
        "endpont = 1",
        "line 4: [profiles.work] has an unknown key 'endpont': did you mean 'endpoint'",
    ),
    ("\nentra = 1", "line 5: [profiles.work] has an unknown key 'entra'"),
    ("Tier = 1", "line 4: [profiles.work] has an unknown key 'Tier': did you mean 'tier'"),
    ("tier = 9", "line 4: tier must be a whole number from 1 to 6."),
    ("tier = 0", "line 4: tier must be a whole number from 1 to 6."),
    ("tier = 1.5", "line 4: tier must be a whole number from 1 to 6."),
    ('tier = "1"', "line 4: tier must be a whole number from 1 to 6."),
    ("tier = true", "line 4: tier must be a whole number from 1 to 6."),
    ("tier = 1979-05-27", "line 4: tier must be a whole number from 1 to 6."),
    ("timeout = nan", "line 4: timeout must be a number from 1 to 3600."),
    ("timeout = inf", "line 4: timeout must be a number from 1 to 3600."),
    (f"timeout = {'9' * 400}", "line 4: timeout must be a number from 1 to 3600."),
    ("connect_timeout = 0", "line 4: connect_timeout must be a number from"),
    ("requests_a_minute = -1", "line 4: requests_a_minute must be a number from"),
    ("keep_prompts = 1", "line 4: keep_prompts must be true or false"),
    ("budget = 5", "line 4: budget must be a table"),
    ("[profiles.work.budget]\nday = -1", "line 5: day must be a number from 0 to 100000."),
    ("[profiles.work.budget]\nstrict = 1", "line 5: strict must be true or false, without quotes."),
    ('[profiles.work.budget]\nstrict = "yes"', "line 5: strict must be true or false"),
    ("[profiles.work.budget]\nmonth = nan", "line 5: month must be a number from 0 to 100000."),
    ("[profiles.work.budget]\ndya = 1", "line 5: [profiles.work.budget] has an unknown key 'dya'"),
    ('service = "fondry"', "line 4: service must be foundry or pixazo or fal or openrouter."),
    ('service = "azure"', "line 4: service must be foundry or pixazo or fal or openrouter."),
    ("service = 1", "line 4: service must be foundry or pixazo or fal or openrouter."),
    ('header = "host"', "line 4: header names a header that HTTP itself uses"),
    ('header = "a b"', "line 4: header must be a header's name"),
    ('header = "a\\r\\nb"', "line 4: header must be a header's name"),
    ('header = ""', "line 4: header must be a header's name"),
    ('deployments = ""', "line 4: deployments must be a deployment's name"),
    ("deployments = 1", "line 4: deployments must be a deployment's name"),
    ("deployments = []", "line 4: deployments must be a deployment's name"),
    ('deployments = "a\\nb"', "line 4: deployments must be a deployment's name"),
    (
        '[profiles.work.deployments]\n"mai-image-2.6" = "d"',
        "line 5: [profiles.work.deployments] has an unknown key 'mai-image-2.6': "
        "did you mean 'MAI-Image-2.6'",
    ),
    ('[profiles.work.deployments]\nMAI-Image-2.6 = "d"', 'by model, in quotes: "MAI-Image-2.6" ='),
    ('[profiles.work.deployments]\n"MAI-Image-2.6" = [1]', "line 5: deployments must be a dep"),
    ("[profiles.emulator]\ntier = 1", "line 4: the profile name 'emulator' is taken"),
    ('[profiles."../x"]\ntier = 1', "line 4: the profile name '../x' must be 1 to 64 letters"),
    ("[profiles.b]\ntier = 1", "line 4: [profiles.b] has no endpoint"),
    ("[profiles.b]\ntier = 1", "line 4: [profiles.b] has no credential: it must be a table"),
    ("[profile.b]\ntier = 1", "line 4: the file has an unknown key 'profile': did you mean"),
    ("[store]\nlimit_gb = 0", "line 5: limit_gb must be a number from"),
    ("[store]\nlimit = 1", "line 5: [store] has an unknown key 'limit': did you mean 'limit_gb'"),
    ("tier = ", "line 4: this is not TOML"),
    ("tier = 1\ntier = 2", "this is not TOML"),
    ('x = "abc', "line 4: this is not TOML"),
    ("x = " + "1" * 5000, "line 4: longer than 2000 characters"),
]


@pytest.mark.parametrize(("line", "said"), MISTAKES, ids=[line[:40] for line, _ in MISTAKES])
def test_a_mistake_is_named_with_its_line(line: str, said: str) -> None:
    found = mistakes(GOOD + line + "\n")
    assert any(said in one for one in found), found


@pytest.mark.parametrize(
    ("credential", "said"),
    [
        (f'"{SECRET}"', "credential must be a table"),
        (f'{{ kind = "{SECRET}" }}', "must be a table whose kind is key, key_env"),
        (
            f'{{ kind = "key-env", name = "{SECRET}" }}',
            "must be a table whose kind is key, key_env",
        ),
        (f'{{ value = "{SECRET}" }}', "credential must be a table whose kind is"),
        (
            f'{{ kind = "key", key = "{SECRET}" }}',
            "has an unknown key 'key': known are kind, value",
        ),
        ('{ kind = "key", value = "" }', "value must be a text in quotes that isn't empty"),
        ('{ kind = "key", value = 12345 }', "value must be a text"),
        (f'{{ kind = "key_env", value = "{SECRET}" }}', "has no name"),
        (f'{{ kind = "entra", method = "{SECRET}" }}', "method must be default or environment or"),
        ('{ kind = "entra", method = "managed-identity" }', "managed_identity"),
        (
            '{ kind = "entra", method = "azure_cli", client_id = "c" }',
            'client_id can\'t be set for method = "azure_cli"',
        ),
        ('{ kind = "entra", client_id = "a b" }', "client_id must be letters"),
    ],
)
def test_a_credentials_mistake_is_named_and_its_values_are_not(credential: str, said: str) -> None:
    text = f'[profiles.a]\nendpoint = "r.services.ai.azure.com"\ncredential = {credential}\n'
    found = mistakes(text)
    assert any(said in one for one in found), found
    assert all(one.startswith("line 3: ") for one in found)
    assert SECRET not in "".join(found)
    assert "12345" not in "".join(found)


def test_header_and_entra_do_not_go_together() -> None:
    text = '[profiles.a]\nendpoint="r.services.ai.azure.com"\ncredential={kind="entra"}\nheader="x"'
    assert mistakes(text) == ["line 4: header is for keys; Entra ID always uses Authorization."]


def test_pixazo_takes_neither_entra_nor_deployments() -> None:
    text = '[profiles.a]\nservice="pixazo"\ncredential={kind="entra"}\ndeployments="d"'
    assert "kind must be key or key_env or key_file" in mistakes(text)[0]
    assert "deployments can't be set" in mistakes(text)[1]
    assert 'service "pixazo" has none' in mistakes(text)[1]


def test_one_broken_profile_leaves_the_others_alone() -> None:
    profiles = read(GOOD + "[profiles.b]\ntier = 9\n")
    assert profiles.get("work").name == "work"
    with pytest.raises(ProfileError, match="mistake in profile 'b'"):
        profiles.get("b")
    assert profiles.names() == ["work", "b", "emulator"]


def test_names_are_found_in_a_file_that_is_not_toml() -> None:
    text = '[profiles.one]\ntier = \n[profiles."the second".budget]\n[profiles."../x"]\n'
    assert read(text).names() == ["one", "the second", "emulator"]
    assert mistakes(text)


def test_a_key_is_in_no_error_wherever_it_is_put() -> None:
    """Neither in the text nor in what hangs on it: its cause, its context, its arguments."""
    for line in (
        f'credential = {{ kind = "key", value = ["{SECRET}"] }}',
        f'credential = {{ kind = "key", value = "{SECRET}", more = "{SECRET}" }}',
        f'credential = {{ kind = "{SECRET}", value = "{SECRET}" }}',
        f'credential = {{ kind = "entra", tenant_id = "{SECRET} {SECRET}" }}',
        f'credential = ["{SECRET}"]',
        f'endpoint = "https://h:{SECRET}"\ncredential = {{ kind = "entra" }}',
        f'endpoint = "{SECRET}"\ncredential = {{ kind = "entra" }}\ntier = "{SECRET}"',
    ):
        with pytest.raises(ProfileError) as caught:
            read(f"[profiles.a]\n{line}\n").get("a")
        error: BaseException | None = caught.value
        while error is not None:
            assert SECRET not in f"{error} {error!r} {vars(error)}"
            error = error.__cause__ or error.__context__


def test_python_3_10_reads_with_tomli_or_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it weren't installed
    assert mistakes_in(GOOD) == []
    monkeypatch.setitem(sys.modules, "pip._vendor.tomli", None)
    assert "pip install tomli" in mistakes_in(GOOD)[0]


SNIPPETS = st.sampled_from(
    [
        *("[profiles.a]\n", "[profiles", "]\n", "[[profiles]]\n", "[store]\n", "a.b.c = 1\n"),
        *("endpoint = ", '"r.services.ai.azure.com"\n', "credential = ", "{ kind = 'key', value="),
        *("'x' }\n", '{ kind = "entra" }\n', "deployments = ", "budget = ", "[1, 'x']\n", "= {}\n"),
        *("tier = ", "1\n", "1e999\n", "-0\n", "'''", '"""', "\\", "\n", "{", "}", "nan\n", "0x"),
        *('[models."X"]\n', "[models]\n", "max_pixels = ", "1048576\n", "price = ", "options = "),
        *("retired = ", "1979-05-27\n", "references = ", "requests_a_minute = ", "successor = "),
        *("1979-05-27T07:32:00Z\n", "timeout", " = ", "true\n", "[profiles.a.deployments]\n"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(SNIPPETS | st.text(max_size=8), max_size=14).map("".join))
def test_no_text_of_a_file_raises(text: str) -> None:
    contents = read_profiles(text, interactive=True)
    assert set(contents.profiles).isdisjoint(contents.profile_mistakes)
    assert all(model.max_pixels > 0 for model in models_in(text)[0])
    for sentence in mistakes_in(text):
        assert 0 < len(sentence) < 1000


def test_values_nested_too_deep_are_a_mistake() -> None:
    assert mistakes_in("x = " + "[" * 900 + "]" * 900)
    assert mistakes_in("x = " + "[" * 1900)


def test_a_key_of_many_parts_costs_no_time() -> None:
    began = time.perf_counter()
    assert mistakes_in(".".join(["a"] * 100_000) + " = 1")
    assert time.perf_counter() - began < 1


STRANGE = [
    "\x1b[31mred\x1b[0m",
    "two\nlines",
    "bell\x07",
    "\u202eright to left",
    "\u2028",
    'q"u\'o"te',
    "x" * 1500,
    "\x1b" * 100,
    "4f2b9c8d7e6a4f2b9c8d7e6a4f2b9c8d",
    "a1b2c3d4e5f6" * 7,
]


@pytest.mark.parametrize("name", STRANGE, ids=lambda name: ascii(name)[:20])
@pytest.mark.parametrize(
    "text",
    [
        "{} = 1",
        "[{}]\nx = 1",
        "[page]\n{} = 1",
        "[profiles.{}]\ntier = 1",
        "[profiles.work.{}]\nx = 1",
        "[profiles]\n{} = 1",
        "[profiles.work.deployments]\n{} = 'x'",
        '[profiles.work]\ncredential = {{ kind = "key", value = "x", {} = 1 }}',
        "{0} = 1\n{0} = 2",
        "[{0}]\n[{0}]",
        "{} 3",
    ],
)
def test_a_strange_name_is_quoted_harmlessly(text: str, name: str) -> None:
    quoted = json.dumps(name)
    for mistake in mistakes_in(text.format(quoted)):
        assert mistake.isprintable()
        assert len(mistake) < 600
        assert "x" * 60 not in mistake
        assert "4f2b9c8d7e6a4f2b" not in mistake
        assert "a1b2c3d4e5f6a1b2" not in mistake
