"""`mai-image models`: every model of the catalogue, and which of them the profile can call."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from ..mai.errors import ProfileError
from ..mai.models import CATALOGUE, Model
from ..mai.profiles import ANY_MODEL, SERVICES, Profile, Profiles
from ..mai.types import Usage
from .command import locate_folder
from .wording import in_options

SQUARE = Usage(image_out=1024)
"""The tokens of an image of 1024 x 1024; a prompt adds a hundredth of a cent or two."""


def add_model_list_options(parser: argparse.ArgumentParser) -> None:
    """The profile whose deployments are shown, and the form."""
    parser.add_argument("--profile", help="show this profile's deployments (default)")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run_model_list(arguments: argparse.Namespace) -> int:
    """Print every model, the newest first, the retired ones last."""
    folder, _ = locate_folder(arguments)
    profiles = Profiles(folder, interactive=True)
    profile = None
    try:
        profile = profiles.get(arguments.profile or "default")
    except ProfileError as error:
        if arguments.profile:
            raise
        # Not its hint: a list of models is of use without an account.
        print(f"mai-image: no deployments are shown. {in_options(error.what)}", file=sys.stderr)
    listed = [_facts(model, profile) for model in CATALOGUE.values()]
    if arguments.json:
        print(json.dumps(listed, indent=1))
        return 0
    for facts in listed:
        print("\n".join(_paragraph(facts)))
    print("\n".join(_legend()))
    return 0


def unpublished_price(model: Model) -> str:
    """A clause for a model whose price isn't published: at which price it is counted."""
    price = model.price
    counted = f"${price.text_in:g} / {price.image_in:g} / {price.image_out:g} per 1M tokens"
    for other in CATALOGUE.values():
        if other.price_known and other.price == price:
            counted = f"{other.name.removeprefix('MAI-Image-')}'s"
            break
    return f"price of {model.name} isn't published: counted at {counted}"


def _facts(model: Model, profile: Profile | None) -> dict[str, Any]:
    """All of a model as plain values for JSON; what isn't known is None."""
    return {
        "name": model.name,
        "version": model.version or None,
        "state": model.state,
        "retired": model.retired.isoformat() if model.retired else None,
        "successor": model.successor or None,
        "min_side": model.min_side,
        "max_pixels": model.max_pixels,
        "references": model.max_references,
        "edit_pixels": model.edit_pixels or None,
        "options": sorted(model.options),
        "price_usd_1024": round(model.cost(SQUARE), 6),
        "price_known": model.price_known,
        "price_usd_per_1m_tokens": asdict(model.price),
        "requests_a_minute": list(model.rpm_by_tier) or None,
        "deployments": _deployments(model, profile),
    }


def _deployments(model: Model, profile: Profile | None) -> list[str] | None:
    """The profile's deployments of a model; None where it names none at all."""
    if profile is None or not SERVICES[profile.service].has_deployments or not profile.deployments:
        return None
    named = profile.deployments
    return list(profile.deployments_for(model.name)) if {model.name, ANY_MODEL} & set(named) else []


def _paragraph(facts: dict[str, Any]) -> list[str]:
    """A model in three or four lines of at most 80 characters, for a person."""
    count, rates = facts["references"], facts["requests_a_minute"]
    references = "no" if not count else f"1-{count}" if count > 1 else "1"
    about = "" if facts["price_known"] else "≈ "
    price = f"{about}${facts['price_usd_1024']:.4f}"
    lines = [
        f"{facts['name']}  ({_state(facts)})",
        f"  {facts['max_pixels']:>10,} pixels, sides from {facts['min_side']:<4} "
        f"{references:>3} reference{'s' if count != 1 else ' '} {price:>9} for 1024 x 1024",
        f"  requests a minute by tier: {' '.join(f'{rate:g}' for rate in rates or ()) or '?'}",
    ]
    if facts["options"]:
        lines.append(f"  options: {', '.join(facts['options'])}")
    if facts["deployments"] is not None:
        lines.append(f"  deployments: {', '.join(facts['deployments']) or 'none'}")
    return lines


def _state(facts: dict[str, Any]) -> str:
    """The state with the day of retirement and the successor, as far as there are any."""
    if not facts["retired"]:
        return str(facts["state"])
    before = "" if facts["state"] == "retired" else f"{facts['state']}, "
    verb = "retired on" if facts["state"] == "retired" else "retired from"
    after = f", successor {facts['successor']}" if facts["successor"] else ""
    return f"{before}{verb} {facts['retired']}{after}"


def _legend() -> list[str]:
    """What the signs mean that stand for something unknown."""
    lines = []
    if any(not model.rpm_by_tier for model in CATALOGUE.values()):
        lines.append("?  not known: requests a minute are learned from the answers")
    for model in CATALOGUE.values():
        if not model.price_known:
            lines.append(f"≈  {unpublished_price(model)}")
    return ["", *lines] if lines else []
