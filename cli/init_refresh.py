"""`mai-image init --refresh`: takes what has changed in the Azure account into profiles.toml.

The file keeps its comments and its order: it is edited, not written anew. tomlkit does that, an
optional package.
"""

from __future__ import annotations

import argparse
import stat
from collections.abc import Iterable
from errno import EROFS
from pathlib import Path
from types import ModuleType
from typing import Any

from ..mai.errors import MaiError, ProfileError
from ..mai.models import CATALOGUE
from ..mai.profiles import EMULATOR, FILE_NAME, Profile, Profiles, mistakes_in
from ..mai.profiles import write_private as write_private_file
from .account_changes import (
    AccountChange,
    AccountState,
    account_changes,
    can_compare,
    read_account,
)
from .init_azure import account_rates, rates_setting


def run_refresh(arguments: argparse.Namespace, folder: Path) -> int:
    """Refresh the profile that --name names, or all that have an account."""
    profiles = Profiles(folder, interactive=True, prompt=print)
    path, tomlkit = folder / FILE_NAME, _tomlkit()
    names = [arguments.name] if arguments.name else profiles.names()
    failed, compared = False, 0
    for name in names:
        if name == EMULATOR:
            continue
        text = _read(path)  # before the account is asked, which takes a while
        profile = profiles.get(name)
        asked = arguments.azure is not None or arguments.name is not None
        if not can_compare(profile, asked, arguments.resource_manager):
            continue
        compared += 1
        print(name)
        try:
            failed |= not _refresh(path, text, profiles, profile, arguments, tomlkit)
        except MaiError as error:
            if arguments.name:
                raise
            print(f"  wrong account: {error}")
            failed = True
    if not compared:
        raise ProfileError(
            "No profile has an Azure account that can be asked.",
            "Give --azure, to sign in for a profile with a key; write a first profile by "
            "`mai-image init --azure`.",
        )
    return int(failed)


def _refresh(
    path: Path,
    text: str | None,
    profiles: Profiles,
    profile: Profile,
    arguments: argparse.Namespace,
    tomlkit: ModuleType,
) -> bool:
    """Whether the file now has what the account has; prints what was changed. `text` is the file's,
    None where there is none."""
    if text is None:
        raise ProfileError(
            f"The profile {profile.name!r} isn't in {path}, but in the environment.",
            "Refresh changes a profile of the file: write one by `mai-image init --azure`.",
        )
    method = arguments.azure or arguments.entra or ""
    account = read_account(profiles, profile, method, arguments.resource_manager)
    changes = account_changes(profile, account)
    changed = refreshed_text(text, profile, account, changes, tomlkit)
    if arguments.facts is not None:
        arguments.facts[profile.name] = [change.text for change in changes]
    for change in changes:
        print(f"  {change.text}")
    if changed == text:
        print("  the file has nothing to change.")
        return not any(change.gone for change in changes)
    mistakes = mistakes_in(changed.removeprefix("\ufeff").replace("\r\n", "\n"))
    if mistakes:
        raise ProfileError(
            f"The changes don't fit into {path}: {' '.join(mistakes)}", "Edit the file by hand."
        )
    if _read(path) != text:
        raise ProfileError(f"{path} was changed meanwhile.", "Run the command again.")
    _write(path, changed)
    print(f"  {path} has them now; comments and order are as they were.")
    return True


def _read(path: Path) -> str | None:
    """The file's text with its ends of lines, None where there is no file."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(
            f"{path} can't be read ({type(error).__name__}).", "Look at the file and its folder."
        ) from None


def _write(path: Path, text: str) -> None:
    try:
        if not path.stat().st_mode & stat.S_IWUSR:  # to replace it would need no right to write
            raise PermissionError(EROFS, "it is read-only")
        write_private_file(path, text)
    except OSError as error:
        raise ProfileError(
            f"{path} can't be written: {error.strerror or error}.",
            "Make the file and its folder writable, or edit it where it comes from.",
        ) from None


def refreshed_text(
    text: str,
    profile: Profile,
    account: AccountState,
    changes: Iterable[AccountChange],
    tomlkit: ModuleType,
) -> str:
    """The file's text with the changes in it."""
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    document = tomlkit.parse(text.removeprefix(mark))
    table = document["profiles"][profile.name]
    changes = list(changes)
    if any(change.deployment for change in changes):
        _set_deployments(table, profile, account, changes, tomlkit)
    if any(change.rpm is not None for change in changes):
        _set_rates(table, profile, account, changes, tomlkit)
    for change in changes:
        known = CATALOGUE[change.model].retired if change.model in CATALOGUE else None
        if change.retires is not None and change.retires != known:
            _set_retirement(document, change, tomlkit)
    changed = str(tomlkit.dumps(document))
    if text.count("\n") == text.count("\r\n") > 0:  # new lines end as all others do
        changed = changed.replace("\r\n", "\n").replace("\n", "\r\n")
    return mark + changed


def _set_deployments(
    table: Any,
    profile: Profile,
    account: AccountState,
    changes: Iterable[AccountChange],
    tomlkit: ModuleType,
) -> None:
    """What is gone leaves, what is new comes; where nothing would be left, nothing leaves."""
    wanted = {model: list(names) for model, names in profile.deployments.items()}
    if not wanted:  # named like their models, which holds no longer
        for one in account.deployments:
            if one.is_ready and one.is_known:
                wanted.setdefault(one.model, []).append(one.name)
    for change in changes:
        names = wanted.setdefault(change.model, [])
        if change.gone and change.deployment in names:
            names.remove(change.deployment)
        elif change.deployment and not change.gone and change.deployment not in names:
            names.append(change.deployment)
    wanted = {model: names for model, names in wanted.items() if names}
    if not wanted:
        print("  no deployment would be left: make one by `mai-image init --azure --create MODEL`.")
        return
    now = table.get("deployments")
    if not hasattr(now, "items"):
        now = _new_table(table, "deployments", tomlkit)
    for model in [model for model in now if model not in wanted]:
        del now[model]
    for model, names in wanted.items():
        before = now.get(model)
        if isinstance(before, list):  # edited in place, for the comments in it
            for name in [name for name in before if name not in names]:
                before.remove(name)
            before.extend(name for name in names if name not in before)
        elif before != names[0] or len(names) > 1:
            _set(now, model, names[0] if len(names) == 1 else names)


def _new_table(table: Any, name: str, tomlkit: ModuleType) -> Any:
    """An empty table in another, written as that one is; a value of that name goes."""
    is_inline = isinstance(table, tomlkit.items.InlineTable)
    if name in table:
        del table[name]
    table[name] = tomlkit.inline_table() if is_inline else tomlkit.table()
    return table[name]


def _set_rates(
    table: Any,
    profile: Profile,
    account: AccountState,
    changes: Iterable[AccountChange],
    tomlkit: ModuleType,
) -> None:
    """What has changed in a table of rates; else the account's, in place of one number for all."""
    now = table.get("requests_a_minute")
    if hasattr(now, "items"):
        for change in changes:
            if change.rpm is not None:
                _set(now, change.model, _short(change.rpm))
        return
    ready = [one for one in account.deployments if one.is_ready and one.is_known]
    setting = rates_setting(account_rates(ready))
    if isinstance(setting, dict):
        inline = tomlkit.inline_table()
        for model, rpm in setting.items():
            inline[model] = _short(rpm)
        _set(table, "requests_a_minute", inline)
    elif setting is not None:
        _set(table, "requests_a_minute", _short(setting))


def _set(table: Any, name: str, value: Any) -> None:
    """Set one value. A new one comes before the table's last blank line: comments behind that speak
    of the next table."""
    body = [] if name in table else getattr(getattr(table, "value", None), "body", [])
    after: list[Any] = []
    while body and body[-1][0] is None:
        after.insert(0, body.pop())
    while after and after[0][1].as_string().strip():
        body.append(after.pop(0))
    table[name] = value
    body.extend(after)


def _short(rpm: float) -> float | int:
    return int(rpm) if rpm == int(rpm) else rpm


def _set_retirement(document: Any, change: AccountChange, tomlkit: ModuleType) -> None:
    """The day in [models."NAME"], from which nodes and lists offer another model."""
    assert change.retires is not None
    if "models" not in document:
        document["models"] = tomlkit.table(is_super_table=True)
    models = document["models"]
    table = models.get(change.model)
    if table is None:
        table = _new_table(models, change.model, tomlkit)
    table["retired"] = change.retires.isoformat()


def _tomlkit() -> ModuleType:
    try:
        import tomlkit
        import tomlkit.items
    except ImportError:
        raise ProfileError(
            "init --refresh needs the package tomlkit, which keeps the file's comments.",
            "Run `pip install tomlkit` with the Python that runs this command.",
        ) from None
    return tomlkit
