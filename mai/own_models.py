"""The user's own models: those of profiles.toml, taken into this process's catalogue.

Every program of the pack calls this once, when it starts: the nodes, the command line, the
emulator. A Python program that uses `mai.client` does it too, if it wants them.
"""

from __future__ import annotations

from pathlib import Path

from .models import CATALOGUE


def read_own_models(path: Path) -> list[str]:
    """Take the [models] of the profiles.toml at `path` into CATALOGUE; gives the file's mistakes.

    The mistakes are sentences with their lines. A mistaken model isn't taken, the others are. No
    file, or one that says nothing of models, costs next to nothing.
    """
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    if b"models" not in data:
        CATALOGUE.take_own(())
        return []
    # Imported here: most files name no models, and ComfyUI's start need not wait for the reader.
    from .profiles import MAX_FILE_BYTES, models_in

    text = data[:MAX_FILE_BYTES].decode("utf-8-sig", "replace").replace("\r\n", "\n")
    models, mistakes = models_in(text)
    CATALOGUE.take_own(models)
    return mistakes
