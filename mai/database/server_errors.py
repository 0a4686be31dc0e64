"""What PostgreSQL's and psycopg's errors mean to the user, in words without a host or a role."""

from __future__ import annotations

from typing import Any

import sqlalchemy

from ..errors import MaiError, StoreError
from .schema import DatabaseGone, RolledBackError

NO_ANSWER = "no answer from the server in time"
"""The text of the error of a wait that was ended on this side."""

_UNDONE = {"40001", "40P01", "55P03", "25P03", "57014"}
"""Serialization failure, deadlock, lock not available, idle in transaction, statement timeout."""

_LOST = {"57P01", "57P02", "57P03", "57P05"}
"""The server shuts down, crashed, isn't up yet, or closed an idle session; also all of class 08."""

_READ_ONLY = "only lets itself be read"

_CLOSED = (
    ("28", "doesn't accept this machine's role or password"),
    ("3D000", "isn't there: its server has no database of that name"),
    ("53300", "has no connection left"),
    ("25006", _READ_ONLY),
    ("53", "is out of disk or memory"),
)
"""SQLSTATEs, or their first two letters, of a server that answers and can't be used."""

_NOT_CONNECTED = (
    ("password authentication failed", _CLOSED[0][1]),
    ("no password supplied", "asks for a password, and none is configured"),
    ("pg_hba.conf", "doesn't let this machine in"),
    ("too many", "has no connection left"),
    ("connection slots", "has no connection left"),
    ('role "', _CLOSED[0][1]),
    ("the database system is", "is starting or stopping"),
    ("root certificate", "can't be verified: the file of certificates can't be read"),
    ("certificate verify failed", "shows a certificate that isn't trusted here"),
    ("server certificate", "shows a certificate of another host"),
    ("does not support SSL", "doesn't speak TLS"),
    ("server does not support", "doesn't speak TLS"),
    ("SSL error", "can't be spoken to by TLS"),
    ("failed to resolve host", "isn't found by its name"),
    ("could not translate host name", "isn't found by its name"),
    ("not exist", _CLOSED[1][1]),
    ("refused", "doesn't take connections"),
    ("FATAL", "doesn't let this machine in"),
)
"""Words in libpq's texts where a connection can't be made: there is no SQLSTATE then."""

_HINT = (
    "Check that PostgreSQL runs and can be reached from this machine: `mai-image doctor` says what "
    "is wrong. What is paid already isn't lost, and images that are here are still given."
)


def explain(error: Exception) -> Exception:
    """The StoreError for what SQLAlchemy or psycopg raised; any other error as it is."""
    cause = _driver_error(error)
    if isinstance(cause, sqlalchemy.exc.TimeoutError):
        return RolledBackError("This process has too many transactions under way.", _HINT)
    if isinstance(cause, MaiError) or not _is_from_driver(cause):
        return error
    state = getattr(cause, "sqlstate", None) or ""
    detail = " ".join(str(cause).split())
    if state in _UNDONE:
        return RolledBackError(
            "The studio's database is busy: another machine kept it for too long.",
            "Queue again. If this comes often, the database's server is too small or too far away.",
        )
    if is_lost(error):
        return DatabaseGone(f"The studio's database {_lost_why(state, detail)}.", _HINT, detail)
    closed = next((why for start, why in _CLOSED if state.startswith(start)), None)
    if "during recovery" in detail:  # a standby: a feature that isn't supported, by its SQLSTATE
        closed = _READ_ONLY
    if closed is not None:
        return DatabaseGone(f"The studio's database {closed}.", _HINT, detail)
    if state == "42501":
        return StoreError(
            "The studio's database doesn't give this machine's role its rights.",
            "The role must own the PostgreSQL schema mai_image: docs/studio.md has the SQL.",
        )
    return StoreError(
        f"The studio's database can't be used ({type(cause).__name__} {state}).".replace(" )", ")"),
        _HINT,
    )


def is_lost(error: Exception) -> bool:
    """Whether there is no connection any more, or none could be made."""
    cause = _driver_error(error)
    if not _is_from_driver(cause):
        return False
    state = getattr(cause, "sqlstate", None)
    if state is None:
        return type(cause).__name__ in ("OperationalError", "ConnectionTimeout", "InterfaceError")
    return state in _LOST or state.startswith("08")


def _lost_why(state: str, detail: str) -> str:
    if state == "57P03":
        return "is starting or stopping"
    why = next((why for words, why in _NOT_CONNECTED if words in detail), None)
    return why or "doesn't answer"


def _driver_error(error: Exception) -> Any:
    """psycopg's own error inside of SQLAlchemy's."""
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        return error.orig
    return error


def _is_from_driver(error: Any) -> bool:
    return type(error).__module__.partition(".")[0] in ("psycopg", "sqlalchemy")
