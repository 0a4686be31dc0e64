"""The English sentences that the server can show on the page, read from the source.

A sentence is found where it is written: in a text of more than one word that isn't a docstring, a
tooltip, a log line, SQL or the text of another exception than this pack's. What changes in it
becomes a numbered placeholder: f"There is no model {name!r}." is "There is no model {1}."; what
can read in two ways gives two sentences.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

ROOMS = ("mai", "nodes", "page")
"""Whose sentences the page shows. Those of cli/ are read in a terminal, those of emulator/ come as
the service's own words: both stay English."""

READ_IN_A_TERMINAL = ("mai/examination.py", "mai/store/upkeep.py")
"""Of those rooms: the page shows a tick in place of what doctor prints."""

_WORDS_OF_CODE = """
{1} is {2}.
and no
Bearer {1}
HTTP {1}
request id {1}
unable to open
Application Support
at least
at most
from image
from target
status code:
around mask
whole image
from the store
same as input
as returned
order and go on
under way
MAI Crop for Edit
MAI Stitch
MAI Save Image
from info
composite with AI-generated parts
<?xpacket begin="﻿" id="W5M0MpCehiHzreSzNTczkc9d"?>
<?xpacket end="w"?>
<rdf:RDF xmlns:rdf="{1}">
<rdf:Description xmlns:rdf="{1}" rdf:about={2} xmlns:Iptc4xmpExt="{3}">
{1}<x:xmpmeta xmlns:x="adobe:ns:meta/">
{1} about
{1} resource
MAI Prompt List
skip failures
the text below
next rows
same rows
see above
A question on a list names the list and who buys it.
Lists can't be read here.
private, max-age=3600
safety polic
blocked by label
was flagged
exactly one image
image file
file must be attached
invalid parameters
content policy
content checker
not billed
perhaps billed
in flight
delivered, not kept
blocked, perhaps billed
settled: billed
settled: free
the file
A request for a change is short.
What is to be forgotten is named by its run.
password authentication failed
no password supplied
connection slots
role "
the database system is
too many
root certificate
certificate verify failed
server certificate
does not support SSL
server does not support
SSL error
failed to resolve host
could not translate host name
not exist
no answer from the server in time
budget {1}
request {1}
LISTEN {1}
mai-image rate limits
COMMIT AND CHAIN
mai-image {1}
PostgreSQL {1}
server only
A settlement is the number of a call, and billed or free.
A settlement names a call and a verdict.
"""
"""Option values, names, headers, words that are compared, sentences that fit any text, and answers
to what the page never sends."""

_IN_A_TERMINAL = """
Run the command again and type the code into the page within 15 minutes.
To sign in, open {1} and enter the code {2}.
Entra ID ({1} {2})
Entra ID ({1})
key from {1}
This process was forked from the one that made the client.
Make a client of its own in the child, or start the process anew.
{1} is {2}, but no ComfyUI (main.py, nodes.py) is there.
Correct the variable, or give the folder itself by --folder.
of the ComfyUI that {1} names
of the ComfyUI that this pack lies in
of this user, as no ComfyUI is around
A key of the store, or its beginning, is 8 to 64 lower-case hex digits.
Give it as the error of the node, or the image's sidecar, names it.
{1} keys begin with {2}.
Give one: {1}.
Then try again.
A mark can be written into PNG, JPEG and WebP files; this is another.
Save the image as one of these.
It says already that its source is {1}.
What a file says of itself is not overwritten: change it with the program that wrote it.
Its XMP can't be read ({1}).
Its XMP has no place for a mark.
Save the image anew, without XMP.
The file's XMP is full: a JPEG takes 65,502 bytes.
Mark it without a prompt.
The {1} file is damaged: {2}.
Take a whole copy of it.
it ends before its image begins
it ends before its last chunk
it ends early
it has no image
it has no pixels
its XMP can't be unpacked
"""
"""What only the command line shows."""

_IN_THE_LOG = """
{1} is {2}: batches that don't fit are bought again on each run.
its bytes are missing
its bytes are not those that arrived
its sidecar has no hash
Set it to {1} (64 images) or more.
its sidecar has no reason
its sidecar lacks {1}
its sidecar has values of a wrong type
its {1} bytes are not those that arrived
its sidecar is not JSON
its sidecar belongs to another image
its sidecar is missing
the image beside its sidecar is missing
{1} takes no calls for another {2} s.
{1} is set without {2}: it is not used; {3} is.
{1} is set too: it is not used; {2} is.
Other users of this machine could read {1}; it is private now (by `chmod {2}`).
Change a key that they may have read.
{1} holds a key and other users of this machine can read it: run `chmod 600` on it.
"""
"""What only ComfyUI's log and doctor show."""

_IN_INFO = """
an earlier run ordered it; this one went on waiting for it
not kept on disk: {1}
emulated: a real one would have cost ${1}
asked for {1}x{2}, the service sent {3}x{4}
asked for {1}, sent as aspect ratio {2}, {3} % off
asked for {1}, the service sent {2}
Pixazo has prices of its own and counts no tokens: the cost is an estimate
the service counted no tokens: the cost is an estimate
the service's token counts can't be right: the cost is an estimate
the deployment answers as {1}, the node asked for {2}: the cost is that of the dearer one
"""
"""What only the output info holds: JSON, for programs."""

UNSHOWN = frozenset(
    "".join((_WORDS_OF_CODE, _IN_A_TERMINAL, _IN_THE_LOG, _IN_INFO))
    .replace("\n\n", "\n")
    .strip()
    .split("\n")
)
"""Sentences of the source that no user of the page meets: they need no translation."""

COMPOSED = {
    "{1} and no {2}": "mai/validation.py",
    "read": "mai/store/store.py",
    "written": "mai/store/store.py",
    "today": "mai/ledger/budgets.py",
    "day": "mai/ledger/budgets.py",
    "month": "mai/ledger/budgets.py",
    "waiting: {1}": "nodes/run.py",
    "queued": "nodes/run.py",
    "processing": "nodes/run.py",
    "{1} queued": "nodes/run.py",
    "{1} processing": "nodes/run.py",
    "{1} from the store": "nodes/run.py",
    "{1} blocked": "nodes/run.py",
    "{1} failed": "nodes/run.py",
    "{1} ordered": "nodes/run.py",
    "stopped": "nodes/run.py",
}
"""What code puts together of pieces that are no sentences, with the file that does it."""

HOLE = "\0"
"""Stands for what only the run knows, until it gets its number."""

MOST_FORMS = 12
"""Ways in which a text may read; one with more keeps a placeholder."""

_SQL = re.compile(
    r"[\s(;]*(SELECT|SHOW|extract|-c|INSERT|UPDATE|DELETE|CREATE|PRAGMA|ALTER|DROP|BEGIN|WITH|FROM"
    r"|ORDER|AND|id,|instr)[ (]"
)
_WORDS = re.compile(r"[A-Za-z]{2,}[a-z']* [\0A-Za-z(\"]|[\0A-Za-z)\",:] [A-Za-z]{2,}")
_BOUNDARY = re.compile(r"(?<=[.!?]) (?=[A-Z\0`])|(?<=[.!?])(?=\0$)|(?<=^\0) (?=[A-Z])")
_SILENT_CALLS = ("logger", "logging", "re", "sqlite3", "io.NodeOutput")
_OTHER_ERRORS = re.compile(r"\b(Value|Type|OS|Timeout|Database)Error$")
_SILENT_FUNCTIONS = ("define_schema", "_only", "_how")


def find_sentences() -> dict[str, str]:
    """Each sentence that the page can show, with one place where it stands, as "file:line"."""
    found = {**COMPOSED, **written_sentences()}
    return {each: place for each, place in found.items() if each not in UNSHOWN}


def written_sentences() -> dict[str, str]:
    """Each sentence that is written in the rooms, shown or not, with one place of it."""
    found: dict[str, str] = {}
    for file in (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))):
        if file.relative_to(ROOT).as_posix() in READ_IN_A_TERMINAL:
            continue
        for line, text in _File(ast.parse(file.read_text("utf-8"))).texts():
            for each in _split(text):
                found.setdefault(each, f"{file.relative_to(ROOT).as_posix()}:{line}")
    return found


def _split(text: str) -> Iterator[str]:
    """A text's sentences, with numbers for what changes; none that is nothing else."""
    for line in text.split("\n"):
        for sentence in _BOUNDARY.split(line.strip()):
            if _WORDS.search(sentence) and not _SQL.match(sentence):
                first, *pieces = sentence.strip().split(HOLE)
                yield first + "".join(f"{{{i}}}{piece}" for i, piece in enumerate(pieces, 1))


class _File:
    """The texts of one file. A name that stands for one text of its function is read as it."""

    def __init__(self, tree: ast.AST) -> None:
        self._tree = tree
        self._meanings: dict[str, ast.expr] = {}
        self._within: set[int] = set()

    def texts(self) -> Iterator[tuple[int, str]]:
        """Every text that is written in the file, in each of its forms, with its line."""
        found: list[tuple[ast.expr, list[str]]] = []
        self._visit(self._tree, found)
        for node, forms in found:
            if id(node) not in self._within:
                yield from ((node.lineno, form) for form in forms)

    def _visit(self, node: ast.AST, found: list[tuple[ast.expr, list[str]]]) -> None:
        if _is_silent(node):
            return
        outer = self._meanings
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._meanings = _meanings(node)
        if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)) and (
            forms := self._forms(node)
        ):
            found.append((node, forms))
            for call in (inner for inner in ast.walk(node) if isinstance(inner, ast.Call)):
                self._visit(call, found)
        else:
            for child in ast.iter_child_nodes(node):
                self._visit(child, found)
        self._meanings = outer

    def _forms(self, node: ast.expr) -> list[str]:
        """What an expression can read as; empty: it is no text."""
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else []
        if isinstance(node, ast.JoinedStr):
            return _joined([self._part(value) for value in node.values])
        if isinstance(node, ast.IfExp):
            branches = [self._forms(branch) for branch in (node.body, node.orelse)]
            return branches[0] + branches[1] if all(branches) else []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return ["", *self._forms(node.left)] if self._forms(node.left) else []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = [self._part(side) for side in (node.left, node.right)]
            return _joined(sides) if sides != [[HOLE], [HOLE]] else []
        return []

    def _part(self, value: ast.expr) -> list[str]:
        """What a piece of a text can read as."""
        inner = value.value if isinstance(value, ast.FormattedValue) else value
        meaning = self._meanings.get(inner.id) if isinstance(inner, ast.Name) else None
        if meaning is None:
            return self._forms(inner) or [HOLE]
        self._within.add(id(meaning))
        self._within.update(id(each) for each in ast.walk(meaning))
        return self._forms(meaning)


def _meanings(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, ast.expr]:
    """Names that are given a text once and stand in other texts only."""
    given: dict[str, list[ast.expr]] = {}
    used, in_texts, changed = Counter[str](), Counter[str](), Counter[str]()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            given.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            changed[node.target.id] -= 1
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else changed)[node.id] += 1
        if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
            in_texts[node.value.id] += 1
    plain = _File(function)
    return {
        name: values[0]
        for name, values in given.items()
        if changed[name] == 1 and used[name] == in_texts[name] and plain._forms(values[0])
    }


def _joined(parts: list[list[str]]) -> list[str]:
    forms = 1
    for part in parts:
        forms *= len(part)
    if forms > MOST_FORMS:
        parts = [part if len(part) == 1 else [HOLE] for part in parts]
    return ["".join(pieces) for pieces in product(*parts)]


def _is_silent(node: ast.AST) -> bool:
    """Whether the page never shows what is written here."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.keyword):
        return node.arg == "tooltip"
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return node.name in _SILENT_FUNCTIONS
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        return called.split(".")[0] in _SILENT_CALLS or bool(_OTHER_ERRORS.search(called))
    return isinstance(node, (ast.Compare, ast.Slice, ast.Assert))
