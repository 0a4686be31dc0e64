"""profiles.toml: what it can say, and every mistake with its line and a suggestion."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.auth import Credential, Entra, KeyCredential
from mai_image.mai.models import BY_NAME
from mai_image.mai.profiles import EXAMPLE, Contents, Document, KeySource, Reader

SECRET = "canary4f2b9c8d7e6a5f4b3c2d1e0f9a8b7c6d"

GOOD = """\
[profiles.work]
endpoint = "https://r.openai.azure.com/openai/v1"
credential = { kind = "key_env", name = "K" }
"""


class Made:
    """Takes what the reader asks for instead of making credentials."""

    def __init__(self) -> None:
        self.sources: list[KeySource | Entra] = []

    def __call__(self, source: KeySource | Entra) -> Credential:
        self.sources.append(source)
        return KeyCredential(lambda: source.where, "a test")  # type: ignore[union-attr]


def read(text: str, interactive: bool = False) -> Contents:
    return Reader(Made(), Path("/folder"), interactive).read(text)


def asked(credential: str, more: str = "") -> KeySource | Entra:
    made = Made()
    text = f'[profiles.a]\nendpoint = "r.services.ai.azure.com"\ncredential = {credential}\n{more}'
    contents = Reader(made, Path("/folder"), True).read(text)
    assert not contents.mistakes, contents.mistakes
    return made.sources[0]


def mistakes(text: str) -> list[str]:
    contents = read(text)
    found = [*contents.whole, *(one for many in contents.mistakes.values() for one in many)]
    return [str(problem) for problem in found]


def test_the_example_is_a_file_that_works() -> None:
    contents = read(EXAMPLE)
    assert not contents.whole
    assert not contents.mistakes
    assert list(contents.profiles) == ["work"]


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
    contents = read("\n".join(kept))
    assert not contents.whole
    assert not contents.mistakes
    work = contents.profiles["work"]
    assert work.deployments_for("MAI-Image-2.5") == ("east", "west")
    assert work.deployments_for("MAI-Image-2") == ("any-model",)
    assert (work.budget.day, work.budget.month) == (5.0, 50.0)
    assert contents.profiles["pixazo"].endpoint == "https://gateway.pixazo.ai"
    assert contents.store_limit_gb == 10


@pytest.mark.parametrize(
    "line", [line[2:] for line in EXAMPLE.splitlines() if line.startswith("# credential")]
)
def test_every_credential_of_the_example_is_valid(line: str) -> None:
    text = f'[profiles.a]\nendpoint = "r.services.ai.azure.com"\n{line}\n'
    assert not read(text, interactive=True).mistakes


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
    ).profiles["work"]
    assert profile.endpoint == "https://r.services.ai.azure.com"
    assert profile.service == "foundry"
    assert profile.deployments_for("MAI-Image-2.6") == ("a", "b")
    assert profile.deployments_for("MAI-Image-2.5") == ("c",)
    assert (profile.timeout, profile.connect_timeout, profile.shutdown_grace) == (60, 2.5, 0)
    assert not profile.keep_prompts
    assert (profile.budget.day, profile.budget.month) == (0, 12.5)
    assert profile.rpm(BY_NAME["MAI-Image-2.6"]) == 6
    assert profile.rpm(BY_NAME["MAI-Image-2e"]) == 60
    assert profile.rpm(BY_NAME["MAI-Image-2.7"]) is None


def test_requests_a_minute_win_over_the_tier() -> None:
    profile = read(GOOD + "tier = 1\nrequests_a_minute = 2.5\n").profiles["work"]
    assert profile.rpm(BY_NAME["MAI-Image-2e"]) == 2.5


def test_without_deployments_the_models_name_is_the_deployments() -> None:
    profile = read(GOOD).profiles["work"]
    assert profile.deployments_for("MAI-Image-2.6") == ("MAI-Image-2.6",)
    assert profile.rpm(BY_NAME["MAI-Image-2.6"]) is None


def test_one_deployment_can_serve_every_model() -> None:
    assert read(GOOD + 'deployments = "d"\n').profiles["work"].deployments_for("x") == ("d",)


@pytest.mark.parametrize(
    ("credential", "kind", "where"),
    [
        (f'{{ kind = "key", value = " {SECRET} " }}', "key", SECRET),
        ('{ kind = "key_env", name = "K" }', "key_env", "K"),
        ('{ kind = "key_file", path = "/run/k" }', "key_file", "/run/k"),
        ('{ kind = "key_file", path = "k" }', "key_file", "/folder/k"),
    ],
)
def test_a_key_is_found_where_the_file_says(credential: str, kind: str, where: str) -> None:
    source = asked(credential)
    assert isinstance(source, KeySource)
    assert (source.kind, Path(source.where.reveal())) == (kind, Path(where))
    assert source.header == "api-key"
    assert SECRET not in repr(source)


def test_a_gateways_header_is_the_one_configured() -> None:
    source = asked('{ kind = "key_env", name = "K" }', 'header = "Ocp-Apim-Subscription-Key"')
    assert isinstance(source, KeySource)
    assert source.header == "Ocp-Apim-Subscription-Key"


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
    assert asked(credential) == entra


def test_a_device_code_is_for_the_command_line_only() -> None:
    text = GOOD.replace(
        '{ kind = "key_env", name = "K" }', '{ kind="entra", method="device_code" }'
    )
    assert not mistakes(text)[0].startswith("line 1:")
    assert "command line only" in mistakes(text)[0]
    assert not read(text, interactive=True).mistakes


def test_pixazo_has_its_own_endpoint_and_header() -> None:
    made = Made()
    text = '[profiles.p]\nservice = "pixazo"\ncredential = { kind = "key_env", name = "K" }\n'
    profile = Reader(made, Path(), False).read(text).profiles["p"]
    assert profile.endpoint == "https://gateway.pixazo.ai"
    assert profile.store_service == "pixazo"
    assert isinstance(made.sources[0], KeySource)
    assert made.sources[0].header == "Ocp-Apim-Subscription-Key"


MISTAKES = [
    (
        "endpont = 1",
        "line 4: [profiles.work] has an unknown key 'endpont': did you mean 'endpoint'",
    ),
    ("Tier = 1", "line 4: [profiles.work] has an unknown key 'Tier': did you mean 'tier'"),
    ("tier = 9", "line 4: tier must be from 1 to 6, not 9"),
    ("tier = 0", "line 4: tier must be from 1 to 6, not 0"),
    ("tier = 1.5", "line 4: tier must be a whole number from 1 to 6, not 1.5"),
    ('tier = "1"', "line 4: tier must be a whole number from 1 to 6, not '1'"),
    ("tier = true", "line 4: tier must be a whole number from 1 to 6, not True"),
    ("tier = 1979-05-27", "not a date or time"),
    ("timeout = nan", "line 4: timeout must be from 1 to 3600, not nan"),
    ("timeout = inf", "line 4: timeout must be from 1 to 3600, not inf"),
    (f"timeout = {'9' * 400}", "line 4: timeout must be from 1 to 3600"),
    ("connect_timeout = 0", "line 4: connect_timeout must be from"),
    ("requests_a_minute = -1", "line 4: requests_a_minute must be from"),
    ("keep_prompts = 1", "line 4: keep_prompts must be true or false"),
    ("budget = 5", "line 4: budget must be a table, not 5"),
    ("[profiles.work.budget]\nday = -1", "line 5: day must be from 0 to 100000, not -1"),
    ("[profiles.work.budget]\nmonth = nan", "line 5: month must be from 0 to 100000, not nan"),
    ("[profiles.work.budget]\ndya = 1", "line 5: [profiles.work.budget] has an unknown key 'dya'"),
    ('service = "fondry"', "line 4: service can't be 'fondry': did you mean 'foundry'"),
    ('service = "azure"', "known are foundry, pixazo"),
    ("service = 1", "line 4: service must be a text"),
    ('header = "host"', "line 4: header names a header that HTTP itself uses"),
    ('header = "a b"', "line 4: header must be a header's name"),
    ('header = "a\\r\\nb"', "line 4: header must be a header's name"),
    ('header = ""', "line 4: header must be a text"),
    ('deployments = ""', "line 4: 'deployments' must be a deployment's name"),
    ("deployments = 1", "line 4: deployments must be a table"),
    ("deployments = []", "line 4: 'deployments' must be a deployment's name"),
    ('deployments = "a\\nb"', "line 4: 'deployments' must be a deployment's name"),
    (
        '[profiles.work.deployments]\n"mai-image-2.6" = "d"',
        "line 5: there is no model 'mai-image-2.6': did you mean 'MAI-Image-2.6'",
    ),
    ('[profiles.work.deployments]\nMAI-Image-2.6 = "d"', "line 5: a model's name needs quotes"),
    ('[profiles.work.deployments]\n"MAI-Image-2.6" = [1]', "line 5: 'MAI-Image-2.6' must be a dep"),
    ("[profiles.emulator]\ntier = 1", "line 4: the profile name 'emulator' is taken"),
    ('[profiles."../x"]\ntier = 1', "line 4: the profile name '../x' must be 1 to 64 letters"),
    ("[profiles.b]\ntier = 1", "line 4: [profiles.b] has no endpoint"),
    ("[profiles.b]\ntier = 1", "line 4: the profile has no credential"),
    ("[profile.b]\ntier = 1", "line 4: the file has an unknown key 'profile': did you mean"),
    ("[store]\nlimit_gb = 0", "line 5: limit_gb must be from"),
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
        (f'{{ kind = "{SECRET}" }}', "kind can't be this: known are key, key_env"),
        (f'{{ kind = "key-env", name = "{SECRET}" }}', "did you mean 'key_env'"),
        (f'{{ value = "{SECRET}" }}', "has no kind"),
        (
            f'{{ kind = "key", key = "{SECRET}" }}',
            "has an unknown key 'key': known are kind, value",
        ),
        ('{ kind = "key", value = "" }', "value must be a text in quotes that isn't empty"),
        ('{ kind = "key", value = 12345 }', "value must be a text"),
        (f'{{ kind = "key_env", value = "{SECRET}" }}', "has no name"),
        (f'{{ kind = "entra", method = "{SECRET}" }}', "method can't be this"),
        ('{ kind = "entra", method = "managed-identity" }', "did you mean 'managed_identity'"),
        ('{ kind = "entra", method = "azure_cli", client_id = "c" }', "unknown key 'client_id'"),
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
    assert "kind can't be this: known are key, key_env, key_file." in mistakes(text)[1]
    assert "Pixazo has none" in mistakes(text)[0]


def test_one_broken_profile_leaves_the_others_alone() -> None:
    contents = read(GOOD + "[profiles.b]\ntier = 9\n")
    assert list(contents.profiles) == ["work"]
    assert list(contents.mistakes) == ["b"]
    assert contents.names == ["work", "b"]


def test_names_are_found_in_a_file_that_is_not_toml() -> None:
    contents = read('[profiles.one]\ntier = \n[profiles."the second".budget]\n[profiles."../x"]\n')
    assert contents.names == ["one", "the second"]
    assert contents.whole


def test_python_3_10_reads_with_tomli_or_says_what_to_install() -> None:
    assert Document("a = 1", ("no_such_module", "pip._vendor.tomli")).tree == {"a": 1}
    assert "pip install tomli" in str(Document("a = 1", ("no_such_module",)).problems[0])


SNIPPETS = st.sampled_from(
    [
        *("[profiles.a]\n", "[profiles", "]\n", "[[profiles]]\n", "[store]\n", "a.b.c = 1\n"),
        *("endpoint = ", '"r.services.ai.azure.com"\n', "credential = ", "{ kind = 'key', value="),
        *("'x' }\n", '{ kind = "entra" }\n', "deployments = ", "budget = ", "[1, 'x']\n", "= {}\n"),
        *("tier = ", "1\n", "1e999\n", "-0\n", "'''", '"""', "\\", "\n", "{", "}", "nan\n", "0x"),
        *("1979-05-27T07:32:00Z\n", "timeout", " = ", "true\n", "[profiles.a.deployments]\n"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(SNIPPETS | st.text(max_size=8), max_size=14).map("".join))
def test_no_text_of_a_file_raises(text: str) -> None:
    contents = read(text)
    assert set(contents.profiles).isdisjoint(contents.mistakes)
    for problem in (*contents.whole, *(one for many in contents.mistakes.values() for one in many)):
        assert len(str(problem)) < 1000


def test_values_nested_too_deep_are_a_mistake() -> None:
    assert mistakes("x = " + "[" * 900 + "]" * 900)
    assert mistakes("x = " + "[" * 1900)


def test_a_key_of_many_parts_costs_no_time() -> None:
    began = time.perf_counter()
    assert read(".".join(["a"] * 100_000) + " = 1").whole
    assert time.perf_counter() - began < 1
