"""`mai-image store`: what the store keeps that can't be read, and how to give it up."""

from __future__ import annotations

import argparse

from ..mai.errors import InputError
from .command import open_client


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """The one action, and the image that it is for."""
    parser.add_argument(
        "action", choices=["forget"], help="delete an image, so that it is bought anew"
    )
    parser.add_argument("key", help="the image's key, or its first 8 digits or more")


def run_store(arguments: argparse.Namespace) -> int:
    """Delete one image of the store, readable or not."""
    with open_client(arguments) as client:
        found = client.store.find(arguments.key)
        if len(found) != 1:
            raise InputError(
                f"{len(found) or 'No'} images of the store have a key that begins with "
                f"{arguments.key!r}.",
                "Give the whole key, as the error of the node or the image's sidecar names it.",
            )
        client.store.forget(found[0])
    print(f"{found[0]} is forgotten: the next run of its request buys the image anew")
    return 0
