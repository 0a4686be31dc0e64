"""`mai-image init --azure` as a new user with nothing but `az login`, against the emulator."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.core.credentials import AccessToken
from azure_login import ARM_TOKEN, IMAGE_TOKEN, log_in
from mai_image import emulator
from mai_image.cli import init, main, resource_manager
from mai_image.emulator import Emulator
from mai_image.emulator.azure_account import (
    SUBSCRIPTION,
    AiResource,
    AzureSubscription,
    Deployed,
)
from mai_image.mai.profiles import Profiles

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the program az is a script here")

Run = Callable[..., int]


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator whose account has one deployment, and a user who has run `az login`."""
    options = emulator.Options(deployments={"MAI-Image-2.7": "MAI-Image-2.7"}, rpm=6)
    with emulator.start(options=options) as service:
        log_in(tmp_path, monkeypatch, service)
        monkeypatch.setattr(resource_manager, "POLL_SECONDS", 0.01)
        yield service


@pytest.fixture
def run(service: Emulator, tmp_path: Path) -> Run:
    """`mai-image init` on an empty folder, at the emulator's resource manager."""
    where = ["--folder", str(tmp_path / "data"), "--resource-manager", service.url]
    return lambda *words: main(["init", *where, *words])


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Puts a person at the terminal, who types these lines; gives the questions."""

    def typing(*lines: str) -> list[str]:
        left, asked = list(lines), []

        def ask(question: str) -> str:
            asked.append(question)
            return left.pop(0)

        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr(init, "Questions", lambda *_: Asking(ask, ask, print))
        return asked

    from mai_image.cli.questions import Questions as Asking

    return typing


def subscription(service: Emulator) -> AzureSubscription:
    return service.azure.subscriptions[SUBSCRIPTION]


def resource(service: Emulator) -> AiResource:
    return subscription(service).resources["emulator"]


def profile(tmp_path: Path, name: str = "default"):
    return Profiles(tmp_path / "data", {}).get(name)


def test_az_login_alone_is_enough_for_a_profile_that_works(
    run, service, tmp_path, capsys, monkeypatch
) -> None:
    assert run("--azure") == 0
    said = capsys.readouterr().out
    assert "Emulator (11111111-2222-3333-4444-555555555555)" in said
    assert "  emulator, swedencentral" in said
    assert "    MAI-Image-2.7  version 2026-11-17, 6 requests a minute" in said
    made = profile(tmp_path)
    assert (made.endpoint, made.requests_a_minute) == (service.url, 6)
    assert made.deployments == {"MAI-Image-2.7": ("MAI-Image-2.7",)}
    folder = ["--folder", str(tmp_path / "data")]
    assert main(["doctor", *folder]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "a red fox", *folder, "--size", "768x768"]) == 0
    assert service.log.billed == 1


def test_no_token_is_shown_or_written(run, tmp_path, capsys, caplog) -> None:
    caplog.set_level("DEBUG")
    assert run("--azure") == 0
    captured = capsys.readouterr()
    text = (tmp_path / "data" / "profiles.toml").read_text("utf-8")
    for token in (ARM_TOKEN, IMAGE_TOKEN):
        assert token not in captured.out + captured.err + caplog.text + text


def test_a_key_can_call_where_entra_id_found_the_account(run, tmp_path, capsys) -> None:
    assert run("--azure", "--key-env", "SOME_KEY") == 0
    assert 'kind = "key_env"' in (tmp_path / "data" / "profiles.toml").read_text("utf-8")
    assert "SOME_KEY isn't set here" in capsys.readouterr().out


def test_all_subscriptions_and_pages_are_looked_through(run, service, tmp_path, capsys) -> None:
    service.azure.page = 1
    for number in range(5):
        one = service.azure.add(AzureSubscription(f"0000-{number}", f"Empty {number}"))
        one.add(AiResource(f"bare-{number}", deployable={}))
        one.add(AiResource(f"speech-{number}", kind="SpeechServices"))
    resource(service).deployments["second"] = Deployed("MAI-Image-2.6", rpm=2)
    assert run("--azure") == 0
    said = capsys.readouterr().out
    assert "bare-4" in said
    assert "speech" not in said
    made = profile(tmp_path)
    assert made.deployments["MAI-Image-2.6"] == ("second",)
    assert made.requests_by_model == {"MAI-Image-2.7": 6, "MAI-Image-2.6": 2}


def test_only_microsofts_image_models_that_are_ready_are_taken(
    run, service, tmp_path, capsys
) -> None:
    deployments = resource(service).deployments
    deployments["gpt"] = Deployed("gpt-6", format="OpenAI")
    deployments["fake"] = Deployed("MAI-Image-2.6", format="OpenAI")
    deployments["voice"] = Deployed("MAI-Voice-2")
    deployments["half"] = Deployed("MAI-Image-2.6", state="Creating")
    deployments["next"] = Deployed("MAI-Image-9")
    assert run("--azure") == 0
    said = capsys.readouterr().out
    assert "half: MAI-Image-2.6" in said
    assert "creating" in said
    assert "next: MAI-Image-9" in said
    assert "not in this version's catalogue" in said
    assert "gpt" not in said
    assert "voice" not in said
    assert dict(profile(tmp_path).deployments) == {"MAI-Image-2.7": ("MAI-Image-2.7",)}


def second(service: Emulator) -> None:
    other = subscription(service).add(AiResource("studio", group="rg(1)", location="westus"))
    other.deployments["west"] = Deployed("MAI-Image-2.6", rpm=4)


def test_with_several_resources_the_name_is_wanted_where_nobody_is_asked(
    run, service, tmp_path, capsys
) -> None:
    second(service)
    assert run("--azure", "--yes") == 2
    said = capsys.readouterr().err
    assert "emulator" in said
    assert "studio" in said
    assert "--resource NAME" in said
    assert not (tmp_path / "data" / "profiles.toml").exists()
    assert run("--azure", "--resource", "Studio") == 0
    assert profile(tmp_path).deployments == {"MAI-Image-2.6": ("west",)}


def test_a_resource_may_be_named_by_its_id(run, service, tmp_path) -> None:
    second(service)
    service.azure.add(AzureSubscription("0000-9", "Other"))
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg(1)/providers/"
    assert run("--resource", f"{path}Microsoft.CognitiveServices/accounts/studio") == 0
    assert "west" in (tmp_path / "data" / "profiles.toml").read_text("utf-8")


def test_a_person_picks_the_resource_and_who_calls(run, service, tmp_path, types) -> None:
    second(service)
    asked = types("1", "2", "2", "MY_KEY", "5", "50")
    assert run() == 0
    made = profile(tmp_path)
    assert made.deployments == {"MAI-Image-2.6": ("west",)}
    assert (made.budget.day, made.budget.month) == (5, 50)
    assert "MY_KEY" in made.credential.describe()
    assert len(asked) == 6


@pytest.mark.parametrize("how", ["id", "name"])
def test_a_subscription_is_named_by_id_or_name(run, service, tmp_path, capsys, how) -> None:
    other = service.azure.add(AzureSubscription("0000-7", "The Studio"))
    other.add(AiResource("far")).deployments["d"] = Deployed("MAI-Image-2.6")
    wanted = "0000-7" if how == "id" else "the studio"
    assert run("--azure", "--subscription", wanted) == 0
    assert dict(profile(tmp_path).deployments) == {"MAI-Image-2.6": ("d",)}
    assert run("--azure", "--force", "--subscription", "none") == 2
    assert "The Studio (0000-7)" in capsys.readouterr().err


# Other ways to sign in


def test_a_managed_identity_is_enough_too(run, service, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.delenv("AZURE_TOKEN_CREDENTIALS")
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{service.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "emulator")
    assert run("--azure", "managed_identity") == 0
    text = (tmp_path / "data" / "profiles.toml").read_text("utf-8")
    assert 'credential = { kind = "entra", method = "managed_identity" }' in text
    assert main(["doctor", "--folder", str(tmp_path / "data")]) == 0


def test_a_device_code_is_shown_and_noted_to_be_for_the_command_line(
    run, tmp_path, monkeypatch, capsys
) -> None:
    class Code:
        def __init__(self, prompt_callback: Callable[..., None], **_: object) -> None:
            self.prompt = prompt_callback

        def get_token(self, scope: str) -> AccessToken:
            assert scope == "https://management.azure.com/.default"
            self.prompt("https://login.example/device", "ABC-123", None)
            return AccessToken(ARM_TOKEN, int(time.time()) + 3600)

    monkeypatch.setattr("azure.identity.DeviceCodeCredential", Code)
    assert run("--azure", "device_code") == 0
    said = capsys.readouterr().out
    assert "open https://login.example/device and enter the code ABC-123" in said
    assert "a device code is for the command line" in said


def test_a_tenant_is_named_to_the_azure_cli(run, tmp_path) -> None:
    assert run("--azure", "--tenant-id", "t-1") == 0
    text = (tmp_path / "data" / "profiles.toml").read_text("utf-8")
    assert 'method = "azure_cli", tenant_id = "t-1"' in text
    assert "--tenant t-1" in (tmp_path / "programs" / "calls.txt").read_text()


# What is missing


def test_who_isnt_logged_in_is_told_to(tmp_path, monkeypatch, capsys) -> None:
    log_in(tmp_path, monkeypatch, None, refuse=True)
    assert main(["init", "--folder", str(tmp_path / "data"), "--azure"]) == 1
    assert "`az login`" in capsys.readouterr().err


NOTHING = {
    "no subscription": (
        lambda service: service.azure.subscriptions.clear(),
        ["sees no subscription", "az login --tenant", "az role assignment create"],
    ),
    "no subscription and two tenants": (
        lambda service: (
            service.azure.subscriptions.clear(), service.azure.tenants.update({"t-2": "Studio"}),
        ),
        ["2 tenants", "Studio (t-2)", "az login --tenant"],
    ),
    "no role": (
        lambda service: subscription(service).refused.add("accounts"),
        ["no role", f'az role assignment create --assignee YOU --role "Cognitive Services User" '
         f"--scope /subscriptions/{SUBSCRIPTION}"],
    ),
    "another tenant": (
        lambda service: setattr(subscription(service), "tenant", "t-3"),
        ["az login --tenant t-3"],
    ),
    "no resource": (
        lambda service: subscription(service).resources.clear(),
        ["has an AI resource", "az cognitiveservices account create"],
    ),
    "no deployment": (
        lambda service: resource(service).deployments.clear(),
        ["az cognitiveservices account deployment create --name emulator --resource-group "
         "emulator-rg", "--model-version 2026-11-17", "--create MAI-Image-2.7"],
    ),
    "no deployment, and no role to see the models": (
        lambda service: (
            resource(service).deployments.clear(), subscription(service).refused.add("models"),
        ),
        ["has no deployment", "az cognitiveservices account deployment create"],
    ),
    "a disabled subscription": (
        lambda service: setattr(subscription(service), "state", "Disabled"),
        ["disabled"],
    ),
    "an endpoint elsewhere": (
        lambda service: setattr(resource(service), "endpoint", "https://evil.example"),
        ["names no endpoint of Azure's own"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTHING.values(), ids=NOTHING.keys())
def test_what_is_missing_is_a_sentence_with_the_command_that_mends_it(
    run, service, tmp_path, capsys, case
) -> None:
    change, said = case
    change(service)
    assert run("--azure", "--yes") == 1
    shown = capsys.readouterr().err
    for text in said:
        assert text in shown
    assert not (tmp_path / "data" / "profiles.toml").exists()


# A deployment is made


def test_a_deployment_is_made_without_a_terminal_only_with_yes(
    run, service, tmp_path, capsys
) -> None:
    resource(service).deployments.clear()
    assert run("--azure", "--create", "MAI-Image-2.6") == 2
    assert "--yes" in capsys.readouterr().err
    assert resource(service).deployments == {}
    assert run("--create", "2.6", "--yes") == 0
    said = capsys.readouterr().out
    assert "$0.0389 for an image of 1024 x 1024" in said
    assert "costs nothing" in said
    assert dict(profile(tmp_path).deployments) == {"MAI-Image-2.6": ("MAI-Image-2.6",)}


def test_a_person_is_asked_before_a_deployment_is_made(run, service, tmp_path, types) -> None:
    resource(service).deployments.clear()
    asked = types("n")
    assert run("--azure") == 1
    assert "Deploy MAI-Image-2.7 on emulator now?" in asked[0]
    assert resource(service).deployments == {}
    types("y", "1", "", "")
    assert run("--azure") == 0
    assert list(resource(service).deployments) == ["MAI-Image-2.7"]


def test_no_deployment_is_ever_replaced(run, service, capsys) -> None:
    resource(service).deployments["MAI-Image-2.6"] = Deployed("gpt-6", format="OpenAI")
    assert run("--create", "MAI-Image-2.6", "--yes") == 2
    assert "--create MAI-Image-2.6=NAME" in capsys.readouterr().err
    assert resource(service).deployments["MAI-Image-2.6"].model == "gpt-6"
    assert run("--create", "MAI-Image-2.6=mine", "--yes") == 0
    assert resource(service).deployments["mine"].model == "MAI-Image-2.6"


@pytest.mark.parametrize(
    ("model", "code", "said"),
    [
        ("MAI-Image-2.5", 2, "was retired"),
        ("MAI-Image-9", 2, "no model"),
        ("gpt-6", 2, "no model"),
        ("MAI-Image-2.6-Flash", 1, "can't deploy MAI-Image-2.6-Flash"),
    ],
)
def test_a_model_that_cant_be_deployed_is_refused(run, service, capsys, model, code, said) -> None:
    del resource(service).deployable["MAI-Image-2.6-Flash"]
    assert run("--create", model, "--yes") == code
    assert said in capsys.readouterr().err


def test_who_may_read_and_not_deploy_is_told_the_role(run, service, capsys) -> None:
    subscription(service).refused.add("create")
    assert run("--create", "MAI-Image-2.6", "--yes") == 1
    assert "Cognitive Services Contributor" in capsys.readouterr().err


# What init is given is checked at once

KEY = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--endpoint", KEY, "--entra"], "looks like a key"),
        (["--endpoint", "my-resource", "--entra"], "no whole address"),
        (["--endpoint", "https://my-resource", "--entra"], "no whole address"),
        (["--endpoint", "https://ai.azure.com/resource/x", "--entra"], "a page for people"),
        (
            ["--endpoint", "r.services.ai.azure.com", "--entra", "--budget-day", "60",
             "--budget-month", "50"],
            "more than the month's",
        ),
        (["--azure", "--budget-day", "60", "--budget-month", "50"], "more than the month's"),
        (["--azure", "--service", "pixazo"], "Foundry's resources alone"),
    ],
)  # fmt: skip
def test_what_cant_be_is_refused_before_anything_is_asked(
    run, service, tmp_path, capsys, words, said
) -> None:
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert KEY not in captured.err + captured.out
    assert service.log.entries == ()
    assert not (tmp_path / "data" / "profiles.toml").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tier", "9"], "--tier must be"),
        (["--rpm", "nan"], "--rpm must be"),
        (["--budget-day", "-1"], "--budget-day must be"),
        (["--name", "emulator"], "taken by the built-in emulator"),
        (["--deployment", "mine"], "Leave --deployment"),
        (["--media-host", "a.example"], "Leave --deployment and --media-host out"),
    ],
)
def test_an_option_that_cant_be_written_is_told_before_azure_is_asked(
    run, service, tmp_path, capsys, words, said
) -> None:
    assert run("--azure", *words) in (1, 2)
    assert said in capsys.readouterr().err
    assert service.log.entries == ()
    assert not (tmp_path / "programs" / "calls.txt").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--service", "fal", "--key-env", "K", "--deployment", "mine"], "Leave --deployment out"),
        (["--service", "fal", "--key-env", "K", "--ca-file", "/nowhere.pem"], "its ca_file names"),
        (["--service", "fal", "--key-env", "K", "--client-certificate", "/nowhere.pem"],
         "its client_certificate names"),
        (["--service", "fal", "--key-stdin"], "There is no key"),
    ],
)  # fmt: skip
def test_what_a_gateway_or_this_machine_lacks_is_told_and_nothing_written(
    tmp_path, capsys, monkeypatch, words, said
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["init", "--folder", str(tmp_path / "data"), *words]) in (1, 2)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "data" / "profiles.toml").exists()


def test_no_note_of_a_gateways_key_speaks_of_azure(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("FAL_KEY", raising=False)
    words = ["--service", "fal", "--key-env", "FAL_KEY"]
    assert main(["init", "--folder", str(tmp_path / "data"), *words]) == 0
    said = capsys.readouterr().out
    assert "FAL_KEY isn't set here" in said
    assert "az " not in said


def test_who_isnt_signed_in_reads_one_message_and_no_librarys_log(tmp_path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AZURE_")}
    environ |= {"PATH": str(tmp_path), "HOME": str(tmp_path), "AZURE_TOKEN_CREDENTIALS": "dev"}
    words = ["init", "--azure", "--folder", str(tmp_path / "data")]
    told = subprocess.run(
        [sys.executable, "-m", "mai_image.cli", *words],
        env={**environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert told.returncode == 1
    assert told.stderr.startswith("mai-image: No Entra ID token")
    assert "WARNING" not in told.stderr


@pytest.mark.parametrize(
    "text", ["http://manager.example", "nowhere", "https://user:pw@h.example", "ftp://x.example"]
)
def test_a_resource_manager_that_is_no_address_gets_no_token(tmp_path, capsys, run, text) -> None:
    assert run("--azure", "--resource-manager", text) == 1
    assert ARM_TOKEN not in capsys.readouterr().err
    assert not (tmp_path / "programs" / "calls.txt").exists()
