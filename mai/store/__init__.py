"""Every image ever paid for, found again by the key of its request (see `types.request_key`).

Others use `Store`: `get` and `put` an image with its `Order`, `keep_unreadable` for what is none,
`check_room` before one is bought, `hold` while somebody waits for it, `recent` and `search` for the
page's history: a `Search` says what is wanted, `Found` is a page of it. It says which images there
are, not what was paid: that is the ledger's. Errors are StoreError, and UnreadableError for what
was paid for and can't be read; a damaged image is set aside and counts as not there.

A `SharedStore` has the images of all machines of a studio: a store as above, and an `ObjectStore`
behind it. `fetch` looks there, `prune` and `push` are for whoever looks after it.
"""

from __future__ import annotations

from .objects import ObjectStore
from .search import Found, Search
from .shared import SharedStore
from .sidecar import USAGE, Order
from .store import Store
from .upkeep import Pruned, Pushed, check_images, prune, push

__all__ = [
    "USAGE",
    "Found",
    "ObjectStore",
    "Order",
    "Pruned",
    "Pushed",
    "Search",
    "SharedStore",
    "Store",
    "check_images",
    "prune",
    "push",
]
