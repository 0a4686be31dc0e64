"""Whether a doubtful call was billed, as the user says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..mai.errors import InputError
from ..mai.formats import parse_json

if TYPE_CHECKING:
    from ..mai.ledger import Ledger

VERDICTS = ("billed", "free")


def parse_settlement(body: bytes) -> tuple[int, bool]:
    """The number of a call in the ledger, and whether it was billed.

    {"call": 12, "verdict": "billed"}; InputError for anything else.
    """
    try:
        asked = parse_json(body, read_whole_number=int)
    except ValueError:
        asked = None
    if not isinstance(asked, dict) or set(asked) != {"call", "verdict"}:
        raise InputError("A settlement names a call and a verdict.", "")
    call, verdict = asked["call"], asked["verdict"]
    if type(call) is not int or not 0 < call < 2**63 or verdict not in VERDICTS:
        raise InputError("A settlement is the number of a call, and billed or free.", "")
    return call, verdict == "billed"


def settle(ledger: Ledger, call: int, billed: bool) -> dict[str, object]:
    """Close a doubtful call as `mai-image spend --settle` does; blocks on the ledger.

    InputError where the call isn't, or is no longer, one that was perhaps billed.
    """
    settled = ledger.settle(call, billed)
    return {"call": settled.row, "usd": round(settled.usd, 6) if billed else 0.0}
