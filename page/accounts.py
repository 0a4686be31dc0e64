"""Which profiles this server has and whether each is set up, before anything is run."""

from __future__ import annotations

from ..mai.errors import ProfileError
from ..mai.models import CATALOGUE
from ..mai.profiles import EMULATOR, SERVICES, Profile, Profiles


def accounts(profiles: Profiles) -> dict[str, object]:
    """The profiles by name but for the emulator, and which of them the name "default" means.

    `ready` is a profile without a mistake whose key is there; whether the service accepts it is
    not asked. `unpriced` are the models for which its service asks a price that isn't known. It
    reads files and holds no endpoint, credential or path.
    """
    found = {name: _profile(profiles, name) for name in profiles.names() if name != EMULATOR}
    usual = _profile(profiles, "default")
    return {
        "profiles": [
            {
                "name": name,
                "ready": profile is not None and profile.credential.is_there(),
                "unpriced": [] if profile is None else _unpriced(profile),
            }
            for name, profile in found.items()
        ],
        "default": usual.name if usual else None,
    }


def _unpriced(profile: Profile) -> list[str]:
    service = SERVICES[profile.service]
    return [model for model in CATALOGUE if not service.has_price(model)]


def _profile(profiles: Profiles, name: str) -> Profile | None:
    try:
        return profiles.get(name)
    except ProfileError:
        return None
