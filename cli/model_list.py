"""`mai-image models`: every model of the catalogue, and which of them the profile can call."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..mai.errors import ProfileError
from ..mai.models import CATALOGUE, Model
from ..mai.profiles import SERVICES, Profile, Profiles
from ..mai.types import Usage
from .command import locate_folder

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
        print(f"mai-image: no deployments are shown. {error}", file=sys.stderr)
    listed = [_facts(model, profile) for model in CATALOGUE.values()]
    print(json.dumps(listed, indent=1) if arguments.json else "\n".join(map(_paragraph, listed)))
    return 0


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
        "requests_a_minute": list(model.rpm_by_tier) or None,
        "deployments": _deployments(model, profile),
    }


def _deployments(model: Model, profile: Profile | None) -> list[str] | None:
    """The profile's deployments of a model; None where it names none at all."""
    if profile is None or not SERVICES[profile.service].has_deployments or not profile.deployments:
        return None
    named = profile.deployments
    return list(profile.deployments_for(model.name)) if {model.name, "*"} & set(named) else []


def _paragraph(facts: dict[str, Any]) -> str:
    """A model in three lines, for a person."""
    state = facts["state"]
    if facts["retired"]:
        state = (
            f"retired on {facts['retired']}"
            if state == "retired"
            else (f"{state}, retired from {facts['retired']}")
        )
        state += f", successor {facts['successor']}" if facts["successor"] else ""
    about = "" if facts["price_known"] else "≈ "
    count = facts["references"]
    rates = facts["requests_a_minute"]
    able = [
        f"sides from {facts['min_side']}, {facts['max_pixels']:,} pixels",
        "no edits"
        if not count
        else f"edits with 1 to {count} images"
        if count > 1
        else "edits of 1 image",
        *([", ".join(facts["options"])] if facts["options"] else []),
    ]
    costs = [
        f"{about}${facts['price_usd_1024']:.4f} for 1024 x 1024",
        f"requests a minute by tier: {' '.join(f'{rate:g}' for rate in rates)}"
        if rates
        else "requests a minute aren't known and are learned",
    ]
    deployments = facts["deployments"]
    if deployments is not None:
        costs.append(f"deployments: {', '.join(deployments)}" if deployments else "no deployment")
    return f"{facts['name']}  ({state})\n  {'; '.join(able)}\n  {'; '.join(costs)}"
