"""[shared] of profiles.toml: what it says, what it refuses, and where its password comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from mai_image.mai.errors import CredentialError, ProfileError
from mai_image.mai.profiles import Profiles

URL = "postgresql://mai@db.studio.lan/mai"
SECRET = "hunter2hunter2"


def profiles(folder: Path, text: str, environ: dict[str, str] | None = None) -> Profiles:
    (folder / "profiles.toml").write_text(text)
    return Profiles(folder, environ or {})


def test_without_it_every_machine_is_on_its_own(tmp_path: Path) -> None:
    assert profiles(tmp_path, "").shared() is None
    assert Profiles(tmp_path / "none", {}).shared() is None


def test_everything_it_says_is_read(tmp_path: Path) -> None:
    text = f"""[shared]
database = "{URL}"
password_env = "MAI_DATABASE_PASSWORD"
images = "https://account.blob.core.windows.net/container/mai"
cache_gb = 2.5
machine = "render-07"
ca_file = "studio-ca.pem"
buy_without_store = true
"""
    made = profiles(tmp_path, text, {"MAI_DATABASE_PASSWORD": f" {SECRET}\n"})
    shared = made.shared()
    assert shared is not None
    assert shared.database == URL
    assert shared.images == "https://account.blob.core.windows.net/container/mai"
    assert shared.cache_bytes == 2_500_000_000
    assert shared.machine == made.machine() == "render-07"
    assert shared.ca_file == tmp_path / "studio-ca.pem"
    assert shared.buy_without_store
    assert shared.password is not None
    assert shared.password() == SECRET
    assert SECRET not in repr(shared)


def test_a_password_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n")
    text = f'[shared]\ndatabase = "{URL}"\npassword_file = "password"\n'
    shared = profiles(tmp_path, text).shared()
    assert shared is not None
    assert shared.password is not None
    assert shared.password() == SECRET
    (tmp_path / "password").unlink()
    with pytest.raises(CredentialError, match="isn't there"):
        shared.password()


def test_a_password_is_read_anew_for_each_connection(tmp_path: Path) -> None:
    environ = {"P": "first"}
    shared = profiles(
        tmp_path, f'[shared]\ndatabase = "{URL}"\npassword_env = "P"', environ
    ).shared()
    assert shared is not None
    assert shared.password is not None
    assert shared.password() == "first"
    environ["P"] = "second"
    assert shared.password() == "second"
    del environ["P"]
    with pytest.raises(CredentialError, match="isn't set"):
        shared.password()


def test_a_machine_without_a_name_of_its_own_has_its_host_name(tmp_path: Path) -> None:
    made = profiles(tmp_path, f'[shared]\ndatabase = "{URL}"')
    shared = made.shared()
    assert shared is not None
    assert shared.machine == made.machine() == Profiles(tmp_path / "none", {}).machine() != ""


def test_the_user_is_named_by_a_variable_else_the_systems(tmp_path: Path) -> None:
    assert profiles(tmp_path, "", {"MAI_IMAGE_USER": " ann\x07 "}).user() == "ann"
    assert profiles(tmp_path, "").user() != ""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f'database = "postgresql://mai:{SECRET}@db/mai"', "line 2: database holds a password"),
        (f'database = "{URL}?password={SECRET}"', "line 2: database holds a password"),
        (f'database = "{URL}?sslpassword={SECRET}"', "line 2: database holds a password"),
        ('database = "mysql://mai@db/mai"', 'line 2: database must be an address such as "postg'),
        ('database = "postgresql://mai@db"', "line 2: database must be an address such as"),
        ('database = "postgresql:///mai"', "line 2: database names no host"),
        (f'database = "{URL}?sslmode=never"', "line 2: database has an sslmode that isn't known"),
        (f'database = "{URL}?service=x"', "line 2: database has a setting after its ?"),
        ('database = "postgresql://[db/mai"', "line 2: database isn't an address"),
        ("database = 5", "line 2: database must be an address such as"),
        ('password_env = "P"', "line 2: password_env belongs to database"),
        ("entra = true", "line 2: entra belongs to database"),
        ('entra = "yes"', "line 2: entra must be true or false"),
        (f'database = "{URL}"\nentra = true\npassword_env = "P"', "line 3: password_env and entra"),
        ("cache_gb = 0", "line 2: cache_gb must be a number from"),
        ('machine = "a\\nb"', "line 2: machine must be 1 to 64 letters"),
        ('images = "mai"', "line 2: images must be an absolute folder"),
        ('images = "ftp://host/mai"', "line 2: images must begin with https://"),
        ('images = "http://account.example/mai"', "line 2: images must be https"),
        (f'images = "https://me:{SECRET}@host/mai"', "line 2: images holds a user or a password"),
        (f'images = "https://host/mai?sig={SECRET}"', "line 2: images must end with its path"),
        (f'password = "{SECRET}"', "line 2: [shared] has an unknown key 'password'"),
        ('buy_without_store = "no"', "line 2: buy_without_store must be true or false"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_without_a_secret(
    tmp_path: Path, line: str, says: str
) -> None:
    made = profiles(tmp_path, f"[shared]\n{line}\n")
    with pytest.raises(ProfileError) as raised:
        made.shared()
    assert says in str(raised.value)
    assert SECRET not in str(raised.value)
    with pytest.raises(ProfileError):
        made.get("default")


@pytest.mark.parametrize(
    "line",
    [
        'database = "postgresql://mai@/mai?host=/var/run/postgresql"',
        f'database = "{URL}?sslmode=disable"',
        'images = "s3://bucket/mai"',
        'images = "gs://bucket/mai"',
        'images = "/mnt/studio/mai"',
        'images = "http://127.0.0.1:10000/devstoreaccount1/mai"',
        'machine = "render-07"',
    ],
)
def test_what_can_be_used_is_no_mistake(tmp_path: Path, line: str) -> None:
    assert profiles(tmp_path, f"[shared]\n{line}\n").shared() is not None
