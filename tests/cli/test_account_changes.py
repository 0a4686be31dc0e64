"""A profile and its Azure account: what doctor says, and what `init --refresh` takes over."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from azure_login import log_in
from mai_image import emulator
from mai_image.cli import init_refresh, main
from mai_image.emulator import Emulator
from mai_image.emulator.azure_account import SUBSCRIPTION, AiResource, Deployed
from mai_image.mai.profiles import Profiles

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the program az is a script here")

FILE = """\
# My studio's account. Keep this line.
[profiles.studio]   # the first one
endpoint = "{url}"  # found in the portal

credential = {{ kind = "entra", method = "azure_cli" }}
requests_a_minute = 6   # asked for more in May
timeout = 120

[profiles.studio.budget]
month = 50   # USD

[profiles.studio.deployments]
"MAI-Image-2.7" = "MAI-Image-2.7"   # the good one
"MAI-Image-2.6" = ["east", "west"]

# A gateway besides.
[profiles.pix]
service = "pixazo"
credential = {{ kind = "key_env", name = "PIXAZO_API_KEY" }}

[store]
limit_gb = 10
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    deployed = {"MAI-Image-2.7": "MAI-Image-2.7", "east": "MAI-Image-2.6", "west": "MAI-Image-2.6"}
    with emulator.start(options=emulator.Options(deployments=deployed, rpm=6)) as service:
        log_in(tmp_path, monkeypatch, service)
        yield service


@pytest.fixture
def path(service: Emulator, tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    path = folder / "profiles.toml"
    path.write_text(FILE.format(url=service.url), encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def run(service: Emulator, path: Path) -> Callable[..., int]:
    return lambda *words: main(
        [words[0], "--folder", str(path.parent), "--resource-manager", service.url, *words[1:]]
    )


def resource(service: Emulator) -> AiResource:
    return service.azure.subscriptions[SUBSCRIPTION].resources["emulator"]


def in_days(days: int) -> str:
    return (date.today() + timedelta(days)).isoformat()


def test_an_account_that_is_as_the_profile_says_changes_nothing(run, path, capsys) -> None:
    before = path.read_bytes()
    assert run("doctor", "--profile", "studio") == 0
    assert "ok    account: as Azure has it" in capsys.readouterr().out
    assert run("init", "--refresh") == 0
    assert "nothing to change" in capsys.readouterr().out
    assert path.read_bytes() == before


def change_all(service: Emulator) -> None:
    """One deployment goes, one comes, a quota is raised, a model is about to end."""
    found = resource(service)
    del found.deployments["west"]
    found.deployments["flash"] = Deployed("MAI-Image-2.7-Flash", rpm=12, version="2026-11-17")
    found.deployments["MAI-Image-2.7"].rpm = 12
    found.deployments["east"].rpm = 12
    found.deployable["MAI-Image-2.6"] = in_days(30)


def test_doctor_tells_each_difference_and_buys_nothing(run, service, capsys) -> None:
    change_all(service)
    assert run("doctor", "--profile", "studio") == 8
    said = capsys.readouterr().out
    assert "wrong account: the deployment west of MAI-Image-2.6 is gone" in said
    assert "note  account: the account has flash: MAI-Image-2.7-Flash" in said
    assert "the quota of MAI-Image-2.7 was raised: 12 requests a minute, not 6" in said
    assert f"MAI-Image-2.6 retires on {in_days(30)}" in said
    assert "mai-image init --refresh" in said
    assert service.log.billed == 0


@pytest.mark.parametrize(("days", "told"), [(60, True), (61, False), (0, True), (-5, True)])
def test_a_models_end_is_told_sixty_days_before(run, service, capsys, days, told) -> None:
    resource(service).deployable["MAI-Image-2.7"] = in_days(days) + "T00:00:00Z"
    assert run("doctor", "--profile", "studio") == 0
    assert ("MAI-Image-2.7 retires" in (said := capsys.readouterr().out)) == (told and days > 0)
    assert ("MAI-Image-2.7 was retired" in said) == (told and days <= 0)


def test_refresh_takes_the_changes_over_and_keeps_comments_and_order(
    run, service, path, capsys
) -> None:
    change_all(service)
    before = path.read_text("utf-8").splitlines()
    assert run("init", "--refresh") == 0
    after = path.read_text("utf-8").splitlines()
    assert path.stat().st_mode & 0o777 == 0o600
    kept = [line for line in before if line in after and line]
    assert [line for line in after if line in before and line] == kept
    assert [line for line in before if line not in after] == [
        "requests_a_minute = 6   # asked for more in May",
        '"MAI-Image-2.6" = ["east", "west"]',
    ]
    assert "requests_a_minute = 12   # asked for more in May" in after
    profile = Profiles(path.parent, {}).get("studio")
    assert dict(profile.deployments) == {
        "MAI-Image-2.7": ("MAI-Image-2.7",),
        "MAI-Image-2.6": ("east",),
        "MAI-Image-2.7-Flash": ("flash",),
    }
    assert '"MAI-Image-2.6" = ["east"]' in after
    assert (profile.requests_a_minute, profile.budget.month, profile.timeout) == (12, 50, 120)
    assert f'retired = "{in_days(30)}"' in after
    capsys.readouterr()
    text = path.read_bytes()
    assert run("init", "--refresh") == 0
    assert path.read_bytes() == text
    assert run("doctor", "--profile", "studio") == 0
    assert "quota" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--rpm", "6"], "--rpm"),
        (["--deployment", "a", "--budget-day", "5"], "--budget-day, --depl"),
    ],
)
def test_refresh_refuses_settings_that_it_wouldnt_change(run, path, capsys, words, named) -> None:
    before = path.read_bytes()
    assert run("init", "--refresh", *words) == 2
    assert named in capsys.readouterr().err
    assert path.read_bytes() == before


def test_rates_that_differ_are_written_by_model(run, service, path) -> None:
    resource(service).deployments["MAI-Image-2.7"].rpm = 2.5
    assert run("init", "--refresh") == 0
    assert 'requests_a_minute = {"MAI-Image-2.7" = 2.5, "MAI-Image-2.6" = 6}' in path.read_text()
    profile = Profiles(path.parent, {}).get("studio")
    assert profile.requests_by_model == {"MAI-Image-2.7": 2.5, "MAI-Image-2.6": 6}


def test_comments_inside_a_list_stay(run, service, path) -> None:
    old = '["east", "west"]'
    new = '[\n  "gone", # the first\n  "east", # fast\n  "west", # cheap\n]'
    path.write_text(path.read_text("utf-8").replace(old, new), encoding="utf-8")
    assert run("init", "--refresh") == 0
    text = path.read_text("utf-8")
    assert '  "east", # fast\n  "west", # cheap\n]' in text
    assert '"gone"' not in text


FORMS = {
    "no deployments": "",
    "one for any model": 'deployments = "MAI-Image-2.7"  # all\n',
    "a list for any model": 'deployments = ["MAI-Image-2.7", "gone"]\n',
    "an inline table": 'deployments = { "MAI-Image-2.6" = ["east", "gone"] }  # mine\n',
    "dotted": 'deployments."MAI-Image-2.6" = "gone"\n',
    "windows": 'timeout = 5\r\ndeployments = { "MAI-Image-2.6" = ["east", "gone"] }\r\n',
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_deployments_is_refreshed(run, service, path, form) -> None:
    text = (
        f'[profiles.studio]\nendpoint = "{service.url}"\n'
        f'credential = {{ kind = "entra", method = "azure_cli" }}\n{form}'
    )
    end = "\r\n" if "\r\n" in form else "\n"
    path.write_bytes((text.replace("\r\n", "\n").replace("\n", end) + f"# The end.{end}").encode())
    assert run("init", "--refresh") == 0
    profile = Profiles(path.parent, {}).get("studio")
    named = {name for names in profile.deployments.values() for name in names}
    assert named == {"MAI-Image-2.7", "east", "west"}
    assert profile.requests_a_minute == 6
    assert f"# The end.{end}".encode() in path.read_bytes()
    assert run("doctor", "--profile", "studio") == 0


def test_a_profile_in_one_line_is_refreshed_too(run, service, path) -> None:
    path.write_text(
        f'profiles.studio = {{ endpoint = "{service.url}", '
        'credential = { kind = "entra", method = "azure_cli" }, deployments = "east" } # one\n'
    )
    resource(service).deployments["east"].rpm = 9
    assert run("init", "--refresh") == 0
    profile = Profiles(path.parent, {}).get("studio")
    assert profile.deployments["MAI-Image-2.7"] == ("MAI-Image-2.7",)
    assert "# one" in path.read_text()


def test_a_comment_before_the_next_table_stays_there(run, service, path) -> None:
    change_all(service)
    assert run("init", "--refresh") == 0
    text = path.read_text("utf-8")
    assert '"MAI-Image-2.7-Flash" = "flash"\n\n# A gateway besides.\n[profiles.pix]' in text


def test_new_lines_end_as_the_others(run, service, path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    change_all(service)
    assert run("init", "--refresh") == 0
    after = path.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf#")
    assert after.count(b"\n") == after.count(b"\r\n")
    assert b'"flash"' in after


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "{MAI-Image-2.7 = 6, MAI-Image-2.6 = 6}",
            "{MAI-Image-2.7 = 12, MAI-Image-2.6 = 6}",
        ),
        (
            "\n[profiles.studio.requests_a_minute]  # each\nMAI-Image-2.7 = 6  # good\n# and\n"
            "MAI-Image-2.6 = 6",
            "\n[profiles.studio.requests_a_minute]  # each\nMAI-Image-2.7 = 12  # good\n# and\n"
            "MAI-Image-2.6 = 6",
        ),
    ],
)
def test_of_rates_by_model_only_the_changed_one_is_changed(run, service, path, old, new) -> None:
    def quoted(text: str) -> str:
        return text.replace("MAI-Image-2.7", '"MAI-Image-2.7"').replace(
            "MAI-Image-2.6", '"MAI-Image-2.6"'
        )

    line = "requests_a_minute = 6   # asked for more in May\n"
    text = path.read_text("utf-8")
    if old.startswith("{"):
        text = text.replace(line, f"requests_a_minute = {quoted(old)}  # by model\n")
    else:
        text = text.replace(line, "").replace("\n# A gateway", f"{quoted(old)}\n\n# A gateway")
    path.write_text(text, encoding="utf-8")
    resource(service).deployments["MAI-Image-2.7"].rpm = 12
    assert run("init", "--refresh") == 0
    assert path.read_text("utf-8") == text.replace(quoted(old), quoted(new))


@pytest.mark.parametrize(
    ("old", "new"), [('["east", "west"]', '["east", "north"]'), ("studio", "renamed")]
)
def test_what_is_written_while_azure_is_asked_is_never_lost(
    run, service, path, capsys, monkeypatch, old, new
) -> None:
    change_all(service)
    ask = init_refresh.read_account

    def ask_while_somebody_edits(*arguments):
        path.write_text(path.read_text("utf-8").replace(old, new), encoding="utf-8")
        return ask(*arguments)

    monkeypatch.setattr(init_refresh, "read_account", ask_while_somebody_edits)
    before = path.read_text("utf-8").replace(old, new)
    assert run("init", "--refresh") == 1
    assert "changed meanwhile" in capsys.readouterr().out
    assert path.read_text("utf-8") == before


def test_a_file_that_is_read_only_stays_as_it_is(run, service, path, capsys) -> None:
    change_all(service)
    path.chmod(0o400)
    before = path.read_bytes()
    assert run("init", "--refresh") == 1
    assert "can't be written: it is read-only" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_a_linked_file_stays_a_link(run, service, path, tmp_path) -> None:
    change_all(service)
    elsewhere = path.rename(tmp_path / "linked.toml")
    path.symlink_to(elsewhere)
    assert run("init", "--refresh") == 0
    assert path.is_symlink()
    assert '"flash"' in elsewhere.read_text("utf-8")


def test_where_no_deployment_would_be_left_none_leaves(run, service, path, capsys) -> None:
    resource(service).deployments.clear()
    before = path.read_bytes()
    assert run("init", "--refresh") == 1
    assert "--create MODEL" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_a_profile_with_a_key_is_compared_where_it_is_asked_for(run, service, path, capsys):
    text = path.read_text("utf-8")
    path.write_text(text.replace('kind = "entra", method = "azure_cli"',
                                 'kind = "key", value = "emulator"'))  # fmt: skip
    assert run("doctor", "--profile", "studio") == 0
    assert "account:" not in capsys.readouterr().out
    assert run("doctor", "--profile", "studio", "--azure") == 0
    assert "ok    account: as Azure has it" in capsys.readouterr().out
    assert run("init", "--refresh") == 1
    assert "Give --azure" in capsys.readouterr().err
    assert run("init", "--refresh", "--azure") == 0


def test_an_account_that_cant_be_read_is_a_note(run, service, capsys) -> None:
    service.azure.subscriptions[SUBSCRIPTION].refused.add("accounts")
    assert run("doctor", "--profile", "studio") == 0
    assert "note  account: not compared. This login has no role" in capsys.readouterr().out
    service.azure.subscriptions[SUBSCRIPTION].refused.clear()
    resource(service).endpoint = "https://other.services.ai.azure.com"
    run("doctor", "--profile", "studio")
    assert "No resource that this login sees has the profile's endpoint" in capsys.readouterr().out


def test_without_its_package_refresh_says_what_to_install(run, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    assert run("init", "--refresh") == 1
    assert "pip install tomlkit" in capsys.readouterr().err
