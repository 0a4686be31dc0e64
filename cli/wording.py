"""Errors in the words of a terminal: options in place of a node's inputs."""

from __future__ import annotations

import re

from ..mai.types import TRANSPARENT

_WORDS = {
    "queue again": "run it again",
    "Queue again": "Run it again",
    "look at the node's inputs": "look at the options",
    "that the node names": "that --model names",
    "the node asked for": "asked for was",
    "as the error of the node": "as the error",
    "Connect image_1 only, with one image": "Name one file",
    "Connect an image to image_1": "Name a file",
    "Connect 1 to 5 images, as many as the model takes": "Name 1 to 5 files, as many as the model "
    "takes",
    "Disconnect some, or send fewer in a batch (each image of a batch on image_2 and later is a "
    "reference of its own)": "Name fewer files",
    "Shrink it first; the node MAI Edit does that by itself": "Shrink it first",
    "Set background to opaque": f"Leave --background {TRANSPARENT} away",
    "Switch it off": "Leave that option away",
    "switch it off": "leave it away",
    "connect image_1 only": "name one file",
    "auto_aspect_ratio": "--auto-aspect-ratio",
    "web_grounding": "--web-grounding",
    ", or choose MAI-": ", or take --model MAI-",
    "Choose one of MAI-": "Give --model one of MAI-",
    "change the seed": "give another --seed",
    "take another seed": "give another --seed",
    'No account is set up on this server: try it free, with profile set to "emulator", or': "No "
    "account is set up here: try it free by --profile emulator, or",
    ", and start ComfyUI again; or run": "; or run",
    'or choose the profile "emulator", which': "or give --profile emulator, which",
    "in this server's catalogue": "in the catalogue",
    "docs/profiles.md shows, and a new start": "docs/profiles.md shows",
    " if_blocked = skip goes on with the other images of a batch.": "",
    "Use MAI Size Helper to pick a size": "`mai-image size RATIO` says a size",
    "choose a profile of": "give a --profile of",
    "Switch them off": "Leave these options away",
    "ComfyUI's log says more": "--verbose, before the command's name, says more",
}
"""What mai/ says to those who build graphs, and what it means to those who type commands."""


_SIDES = re.compile(r"set width to (\d{1,9}) and height to (\d{1,9})")


def in_options(text: str) -> str:
    """An error's text for a terminal."""
    for words, plain in _WORDS.items():
        text = text.replace(words, plain)
    return _SIDES.sub(r"give --size \1x\2", text)
