"""Profiles: which one a name means, the environment's groups, changes and permissions."""

from __future__ import annotations

import asyncio
import os
import pickle
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mai_image.mai.errors import ProfileError
from mai_image.mai.profiles import Profiles, data_folder, write_private

AZURE = "https://r.services.ai.azure.com"
KEY = "canary-key-1"


def table(name: str, more: str = "") -> str:
    return (
        f'[profiles.{name}]\nendpoint = "https://{name}.services.ai.azure.com"\n'
        f'credential = {{ kind = "key_env", name = "K" }}\n{more}\n'
    )


def write(folder: Path, text: str) -> Path:
    path = folder / "profiles.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(profiles: Profiles, name: str = "default") -> str:
    with pytest.raises(ProfileError) as caught:
        profiles.get(name)
    return str(caught.value)


def key(profiles: Profiles, name: str = "default") -> dict[str, str]:
    return asyncio.run(profiles.get(name).credential.headers())


def test_without_any_profile_the_error_says_the_three_ways_to_make_one(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path, {})
    said = refusal(profiles)
    assert "AZURE_ENDPOINT and AZURE_API_KEY" in said
    assert f"`mai-image init`, which writes {tmp_path / 'profiles.toml'}" in said
    assert 'choose the profile "emulator"' in said
    assert profiles.names() == ["emulator"]


def test_the_emulator_is_always_there(tmp_path: Path) -> None:
    write(tmp_path, "this is = = broken")
    profile = Profiles(tmp_path, {}).get("emulator")
    assert (profile.emulated, profile.endpoint, profile.service) == (True, "", "foundry")
    assert profile.store_service == "foundry-loopback"
    assert profile.on_loopback
    assert profile.deployments_for("MAI-Image-2.6") == ("MAI-Image-2.6",)
    assert (profile.budget.day, profile.budget.month) == (None, None)
    assert asyncio.run(profile.credential.headers()) == {"api-key": "emulator"}
    assert replace(profile, endpoint="http://127.0.0.1:5").on_loopback


def test_default_is_the_first_of_the_file_even_when_the_environment_is_set(tmp_path: Path) -> None:
    write(tmp_path, table("b") + table("a"))
    profiles = Profiles(tmp_path, {"AZURE_ENDPOINT": AZURE, "AZURE_API_KEY": KEY})
    assert profiles.get("default").name == "b"
    assert profiles.names() == ["b", "a", "emulator"]


def test_a_profile_called_default_is_the_default(tmp_path: Path) -> None:
    write(tmp_path, table("b") + table("default"))
    profiles = Profiles(tmp_path, {})
    assert profiles.get("default").endpoint == "https://default.services.ai.azure.com"


def test_a_broken_first_profile_is_an_error_and_never_skipped(tmp_path: Path) -> None:
    write(tmp_path, table("a", "tier = 9") + table("b"))
    profiles = Profiles(tmp_path, {"AZURE_ENDPOINT": AZURE, "AZURE_API_KEY": KEY})
    said = refusal(profiles)
    assert "profile 'a'" in said
    assert "line 4: tier must be a whole number from 1 to 6" in said
    assert str(tmp_path) in said
    assert profiles.get("b").name == "b"
    assert profiles.names() == ["a", "b", "emulator"]


@pytest.mark.parametrize("broken", ["x = = 1\n", "nonsense = 1\n"])
def test_a_broken_file_is_an_error_when_a_profile_is_asked_for_and_names_still_work(
    tmp_path: Path, broken: str
) -> None:
    write(tmp_path, broken + table("a"))
    profiles = Profiles(tmp_path, {"AZURE_ENDPOINT": AZURE, "AZURE_API_KEY": KEY})
    assert profiles.names() == ["a", "emulator"]
    assert profiles.warnings() == []
    assert profiles.store_limit_bytes() is None
    for name in ("default", "a"):
        assert "line 1:" in refusal(profiles, name)


@pytest.mark.parametrize("data", [b"\xff\xfe[\x00", b"\x80", b"#" * 300_000])
def test_a_file_that_is_no_text_or_too_long_is_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "profiles.toml").write_bytes(data)
    assert "profiles.toml has a mistake" in refusal(Profiles(tmp_path, {}))


def test_a_folder_in_the_files_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").mkdir()
    assert "isn't a file" in refusal(Profiles(tmp_path, {}))


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    text = table("a").replace("\n", "\r\n").encode("utf-8-sig")
    (tmp_path / "profiles.toml").write_bytes(text)
    assert Profiles(tmp_path, {}).get("a").name == "a"


def test_changes_of_the_file_are_taken_up_at_once(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path, {"K": KEY})
    assert "No account is set up" in refusal(profiles)
    path = write(tmp_path, table("a", "tier = 9"))
    assert "tier" in refusal(profiles)
    write_private(path, table("a", "tier = 2"))
    assert profiles.get("a").tier == 2
    write_private(path, table("a", "tier = 3"))
    assert profiles.get("a").tier == 3
    path.unlink()
    assert "No account is set up" in refusal(profiles, "a")


def test_without_an_account_the_first_line_names_the_way_that_is_free(tmp_path: Path) -> None:
    first = refusal(Profiles(tmp_path, {}), "studio").splitlines()[0]
    assert first.startswith("No account is set up")
    assert 'try it free, with profile set to "emulator"' in first
    assert "`mai-image init`" in first


def test_the_file_is_read_once_while_it_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, table("a"))
    profiles = Profiles(tmp_path, {})
    first = profiles.get("a")
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read again"))
    assert profiles.get("a") is first


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..\\x",
        "C:\\x",
        '[profiles.a]\nendpoint = "https://evil.com"',
        'a"]\n[profiles.b',
        "a.endpoint",
        "profiles.a",
        "x" * 10_000,
        "\x00",
        "",
        " a",
        "A",
        "emulator\n",
        "${K}",
        "AZURE_ENDPOINT",
    ],
)
def test_a_hostile_name_is_only_ever_not_configured(tmp_path: Path, name: str) -> None:
    write(tmp_path, table("a"))
    profiles = Profiles(tmp_path, {"K": KEY})
    said = refusal(profiles, name)
    assert "is not configured" in said
    assert len(said) < 300
    assert said.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["profiles.toml"]


@pytest.mark.parametrize("name", [None, 5, ["a"], {"a": 1}])
def test_a_name_that_is_no_text_is_not_configured(tmp_path: Path, name: object) -> None:
    write(tmp_path, table("a"))
    assert "is not configured" in refusal(Profiles(tmp_path, {}), name)  # type: ignore[arg-type]


def test_a_mistyped_name_gets_a_suggestion(tmp_path: Path) -> None:
    write(tmp_path, table("studio"))
    assert "Did you mean 'studio'?" in refusal(Profiles(tmp_path, {}), "Stduio")


GROUPS = [
    ("AZURE_ENDPOINT", "AZURE_API_KEY", "DEPLOYMENT_NAME"),
    ("MAI_ENDPOINT", "MAI_KEY", "MAI_DEPLOYMENT"),
    ("MAI_IMAGE_ENDPOINT", "MAI_IMAGE_API_KEY", "MAI_IMAGE_DEPLOYMENT"),
    ("AZURE_AI_API_BASE", "AZURE_AI_API_KEY", None),
    ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", None),
]


@pytest.mark.parametrize(("endpoint", "secret", "deployment"), GROUPS)
def test_each_group_of_variables_makes_the_default_profile(
    tmp_path: Path, endpoint: str, secret: str, deployment: str | None
) -> None:
    environ = {endpoint: "r.openai.azure.com/openai/v1", secret: f' "{KEY}"\n'}
    if deployment:
        environ[deployment] = " mine "
    profiles = Profiles(tmp_path, environ)
    profile = profiles.get("default")
    assert (profile.name, profile.service, profile.endpoint) == ("default", "foundry", AZURE)
    expected = "mine" if deployment else "MAI-Image-2.6"
    assert profile.deployments_for("MAI-Image-2.6") == (expected,)
    assert key(profiles) == {"api-key": KEY}
    assert profile.credential.describe() == f"key from the environment variable '{secret}'"
    assert profiles.names() == ["default", "emulator"]


@pytest.mark.parametrize("first", range(len(GROUPS)))
@pytest.mark.parametrize("second", range(len(GROUPS)))
def test_an_endpoint_is_never_combined_with_another_groups_key(
    tmp_path: Path, first: int, second: int
) -> None:
    if first == second:
        return
    profiles = Profiles(tmp_path, {GROUPS[first][0]: AZURE, GROUPS[second][1]: KEY})
    described = profiles.get("default").credential.describe()
    assert described == "Entra ID (DefaultAzureCredential)"
    assert profiles.warnings() == [
        f"{GROUPS[second][1]} is set without {GROUPS[second][0]}: it is not used; "
        f"{GROUPS[first][0]} is."
    ]


def test_the_first_whole_group_wins(tmp_path: Path) -> None:
    environ = {
        "AZURE_API_KEY": "half",
        "MAI_IMAGE_ENDPOINT": "https://c.services.ai.azure.com",
        "MAI_IMAGE_API_KEY": "c",
        "MAI_ENDPOINT": "https://b.services.ai.azure.com",
        "MAI_KEY": "b",
    }
    profiles = Profiles(tmp_path, environ)
    assert profiles.get("default").endpoint == "https://b.services.ai.azure.com"
    assert key(profiles) == {"api-key": "b"}


@pytest.mark.parametrize(("endpoint", "secret", "deployment"), GROUPS)
def test_half_a_group_alone_is_an_error_that_names_the_missing_variable(
    tmp_path: Path, endpoint: str, secret: str, deployment: str | None
) -> None:
    said = refusal(Profiles(tmp_path, {secret: KEY, endpoint: "  "}))
    assert f"{secret} is set, but {endpoint} is not" in said
    assert KEY not in said


@pytest.mark.parametrize(
    "endpoint", ["https://evil.com", "http://r.services.ai.azure.com", "https://gw.example.com/x"]
)
def test_the_environment_can_name_azure_or_this_machine_only(tmp_path: Path, endpoint: str) -> None:
    said = refusal(Profiles(tmp_path, {"MAI_ENDPOINT": endpoint, "MAI_KEY": KEY}))
    assert "The environment variable MAI_ENDPOINT can't be used" in said
    profiles = Profiles(tmp_path, {"MAI_ENDPOINT": "127.0.0.1:9", "MAI_KEY": KEY})
    assert profiles.get("default").endpoint == "http://127.0.0.1:9"
    assert profiles.get("default").store_service == "foundry-loopback"


def test_a_key_that_changes_in_the_environment_is_used_at_once(tmp_path: Path) -> None:
    environ = {"AZURE_ENDPOINT": AZURE, "AZURE_API_KEY": "one"}
    credential = Profiles(tmp_path, environ).get("default").credential
    assert asyncio.run(credential.headers()) == {"api-key": "one"}
    environ["AZURE_API_KEY"] = "two"
    assert asyncio.run(credential.headers(renew=True)) == {"api-key": "two"}


def test_every_kind_of_key_reaches_its_header_and_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K", KEY)
    (tmp_path / "mounted").write_text(KEY + "\n", encoding="utf-8")
    kinds = {
        "inline": f'kind = "key", value = "{KEY}"',
        "env": 'kind = "key_env", name = "K"',
        "file": 'kind = "key_file", path = "mounted"',
    }
    text = "".join(
        f'[profiles.{name}]\nendpoint = "gw.example.com/x"\nheader = "X-Key"\n'
        f"credential = {{ {kind} }}\n"
        for name, kind in kinds.items()
    )
    write(tmp_path, text)
    profiles = Profiles(tmp_path)
    for name in kinds:
        profile = profiles.get(name)
        assert asyncio.run(profile.credential.headers()) == {"X-Key": KEY}
        assert KEY not in f"{profile!r} {profile} {profile.credential.describe()} {vars(profiles)}"
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(profile)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_key_in_a_file_that_others_can_read_gives_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, table("a").replace('"key_env", name', '"key", value'))
    profiles = Profiles(tmp_path, {})
    path.chmod(0o644)
    assert "chmod 600" in profiles.warnings()[0]
    path.chmod(0o600)
    assert profiles.warnings() == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_file_without_a_key_may_be_read_by_anyone(tmp_path: Path) -> None:
    write(tmp_path, table("a")).chmod(0o644)
    assert Profiles(tmp_path, {}).warnings() == []


def test_write_private_makes_a_private_file_and_keeps_a_link(tmp_path: Path) -> None:
    path = tmp_path / "new" / "profiles.toml"
    write_private(path, "é = 1\r\n")
    assert path.read_bytes() == "é = 1\r\n".encode()
    assert os.listdir(path.parent) == ["profiles.toml"]
    if sys.platform == "win32":
        return
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    path.chmod(0o644)
    write_private(link, "x")
    assert link.is_symlink()
    assert path.read_text() == "x"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_stores_limit_is_in_bytes(tmp_path: Path) -> None:
    write(tmp_path, "[store]\nlimit_gb = 2.5\n")
    assert Profiles(tmp_path, {}).store_limit_bytes() == 2_500_000_000


@pytest.mark.parametrize(
    ("platform", "environ", "folder"),
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/mai-image"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "~/.local/share/mai-image"),
        ("linux", {}, "~/.local/share/mai-image"),
        ("darwin", {"XDG_DATA_HOME": "/data"}, "~/Library/Application Support/mai-image"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/mai-image"),
        ("win32", {}, "~/AppData/Local/mai-image"),
    ],
)
def test_data_lies_in_the_platforms_user_folder(
    platform: str, environ: dict[str, str], folder: str
) -> None:
    assert data_folder(environ, platform) == Path(os.path.expanduser(folder))
