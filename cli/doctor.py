"""`mai-image doctor`: checks a profile step by step; the first failure says what to do.

No step buys anything but the last one, which is only done where the user asks for it. Where Entra
ID is there, the profile is compared with its Azure account, which costs nothing either.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from ..mai.auth import METHODS
from ..mai.client import Client
from ..mai.errors import MaiError
from ..mai.examination import Examination, Finding, Step, examine_database, examine_store
from ..mai.models import CATALOGUE, Model
from ..mai.profiles import ANY_MODEL, EMULATOR, SERVICES, Profile
from ..mai.providers import PROVIDERS
from ..mai.types import Generate
from .account_changes import account_changes, can_compare, read_account
from .command import locate_folder, open_client
from .model_list import unpublished_price
from .wording import in_options

EXIT_CODES = "exit codes: 0 all well, " + ", ".join(f"{s.value} {s.name.lower()}" for s in Step)


def add_doctor_options(parser: argparse.ArgumentParser) -> None:
    """The profile, and whether to buy an image."""
    parser.add_argument("--profile", help="only this profile (all configured ones)")
    parser.add_argument("--spend", action="store_true", help="buy one image as the last step")
    parser.add_argument("--azure", nargs="?", const="", choices=["", *METHODS], metavar="METHOD",
        help="sign in, to compare a profile with a key with its account too")  # fmt: skip
    parser.add_argument("--resource-manager", metavar="URL", help="of another cloud")


class _Told:
    """What doctor says: lines for a person, and `facts` for programs."""

    def __init__(self, facts: dict[str, Any] | None) -> None:
        self.facts: dict[str, Any] = {} if facts is None else facts
        self.facts.update(warnings=[], findings=[])
        self._subject = ""

    def begin(self, subject: str) -> None:
        """The profile, or "shared", that the next findings are of."""
        self._subject = subject
        print(subject)

    def warn(self, text: str) -> None:
        """What is no finding of one profile."""
        self.facts["warnings"].append(text)
        print(f"  ! {text}")

    def find(self, finding: Finding) -> None:
        """What one check found."""
        verdict = "ok" if finding.error is None else "wrong"
        self.tell(verdict, finding.step.name.lower(), finding.text)

    def tell(self, verdict: str, step: str, text: str) -> None:
        """`verdict` is "ok", "wrong" or "note"."""
        text = in_options(text)
        finding = {"profile": self._subject, "step": step, "verdict": verdict, "text": text}
        self.facts["findings"].append(finding)
        indented = text.replace("\n", "\n      ")
        print(f"  {verdict:5} {step}: {indented}")


def run_doctor(arguments: argparse.Namespace) -> int:
    """Print what each step finds; gives the value of the first step that failed, or 0."""
    folder, reason = locate_folder(arguments)
    print(f"folder: {folder} ({reason})")
    told = _Told(arguments.facts)
    told.facts["folder"] = str(folder)
    with open_client(arguments) as client:
        for warning in [*client.profiles.warnings(), *client.store.warnings()]:
            told.warn(warning)
        names = [name for name in client.profiles.names() if name != EMULATOR] or ["default"]
        if arguments.profile:
            names = [arguments.profile]
        codes = [_examine_shared(client, told)]
        codes += [_examine(client, name, arguments, told) for name in names]
    return next((code for code in codes if code), 0)


def _examine_shared(client: Client, told: _Told) -> int:
    """Print what is found of [shared]; gives the value of the first step that failed, or 0."""
    findings = [*examine_database(client.ledger), *examine_store(client)]
    if findings:
        told.begin("shared")
    for finding in findings:
        told.find(finding)
    return next((int(each.step) for each in findings if each.error is not None), 0)


def _examine(client: Client, name: str, arguments: argparse.Namespace, told: _Told) -> int:
    """Print what each step finds, up to the first that fails; gives its value, or 0."""
    told.begin(name)
    examination = Examination(client, name)
    failed: Step | None = None
    for finding in examination.findings():
        told.find(finding)
        failed = finding.step if finding.error is not None else None
        if finding.step is Step.PROFILE and failed is None:
            for note in _notes(examination.profile):
                told.tell("note", "profile", note)
    if failed not in (Step.PROFILE, Step.CREDENTIAL):
        # Also where the service can't be reached: the account may say why.
        gone = _compare(client, examination.profile, arguments, told)
        failed = gone if failed is None else failed
    if failed is not None or not arguments.spend:
        return int(failed or 0)
    finding = _buy_image(client, examination.profile)
    told.find(finding)
    return 0 if finding.error is None else int(finding.step)


def _compare(
    client: Client, profile: Profile, arguments: argparse.Namespace, told: _Told
) -> Step | None:
    """Print what differs from the Azure account; the step that this makes fail, if any."""
    manager = arguments.resource_manager
    if not can_compare(profile, arguments.azure is not None, manager):
        return None
    try:
        account = read_account(client.profiles, profile, arguments.azure or "", manager)
    except MaiError as error:
        told.tell("note", "account", f"not compared. {error}")
        return None
    changes = account_changes(profile, account)
    for change in changes:
        told.tell("wrong" if change.gone else "note", "account", change.text)
    if not changes:
        told.tell("ok", "account", "as Azure has it")
        return None
    print("      `mai-image init --refresh` takes these over into profiles.toml.")
    return Step.DEPLOYMENT if any(change.gone for change in changes) else None


def _buy_image(client: Client, profile: Profile) -> Finding:
    model = PROVIDERS[profile.service].test_model
    request = Generate(model, "a lighthouse at dawn", 768, 768, seed=time.time_ns())
    try:
        result = client.submit(request, profile.name).result()
    except MaiError as error:
        return Finding(Step.IMAGE, str(error), error)
    return Finding(Step.IMAGE, f"{result.seconds:.0f} s, ${result.cost_usd or 0:.4f}")


def _notes(profile: Profile) -> Iterator[str]:
    """What isn't known of the models that a profile can call, and which of them are retired."""
    service = SERVICES[profile.service]
    models = _callable_models(profile)
    if unpriced := [model.name for model in models if not service.has_price(model.name)]:
        names = f"{', '.join(unpriced)}: " if service.priced_models else ""
        what = f"{service.name} has prices of its own, which aren't known: counted at Microsoft's"
        yield names + what
    else:
        yield from (unpublished_price(model) for model in models if not model.price_known)
    learned = [model.name for model in models if profile.rpm(model) is None]
    if learned:
        names = "" if len(learned) == len(models) > 1 else f"{', '.join(learned)}: "
        yield f"{names}requests a minute aren't known: learned from the answers"
    yield from (model.retirement_note() for model in models if model.is_retired)


def _callable_models(profile: Profile) -> list[Model]:
    """The models that its service has or its deployments name; where one may be any model, all
    that aren't retired."""
    named = set(PROVIDERS[profile.service].models or profile.deployments)
    if named and ANY_MODEL not in named:
        return [model for name, model in CATALOGUE.items() if name in named]
    return [model for model in CATALOGUE.values() if model.name in named or not model.is_retired]
