"""The small language that asks the emulator for latency, faults and changed edits.

A directive is words with white space between them, each `name=value`. It stands

- in a prompt, so that a graph can ask: `a red fox [[fault status=500 first=2]] [[latency 2]]`,
  `[[edit shift=4,-3]]`, and of a gateway's job (see job_words.py) `[[job end=failed]]`,
  `[[poll status=500 first=2]]`, `[[media cut=50%]]`; several of them add up;
- in a header of one request: `x-emulator-fault`, `x-emulator-latency`, `x-emulator-edit`;
- server-wide: the command line's `--fault`, `--latency` and `--edit`, or `Options`.

`latency SECONDS` (or `latency=SECONDS`) is the time from a good request to its answer, instead of
the server's own.

`fault` takes
    status=N                answer with this status (200 to 599) instead of an image
    body=envelope|html|empty|garbage    what stands in that answer (default envelope)
    code=WORD               the envelope's error code
    retry-after=S, retry-after-date=S   that header, in seconds or as a HTTP date S seconds ahead
    location=URL            that header, for a redirect
    answer=KIND             a 200 that isn't as it should be: see ANSWERS
    size=WxH                an image of this size, whatever was asked
    reset=WHEN              reset the connection: see RESETS
    cut=N or cut=P%         close the connection after that much of the answer's body
    drip=N                  send the body at N bytes a second
    latency=S               wait this long as well
    first=K                 only the first K requests: those with the same prompt for a directive in
                            a prompt, with the same header for one in a header, else all
    billed=yes|no           whether the request is billed; by default a request is billed unless
                            it gets another status than 200, or a block, or no data

`edit` takes
    shift=DX,DY             move the image by so many pixels, right and down (fractions too)
    recolour=R,G,B          multiply each channel
    rescale=F               enlarge the content by F around the centre; the size stays
    aspect=W:H              return about 1 megapixel in this aspect
    tint=F                  0 to 1: how much of one colour is mixed in (default 0.18)
    mark=panel|none         whether the panel of text is painted (default panel)

An unknown name, a bad value or a name given twice is an error; the emulator answers it with a 400
that explains it. Other text in double brackets is left alone, unless its first word looks like a
misspelt directive.

Words in a prompt, for graphs: `blockprompt`, `blockresult`, `blocklistresult` and `emptyresult` are
`answer=` block-prompt, block-result, block-list and empty-data.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import values
from .job_words import WORDS as _JOB_WORDS
from .job_words import JobWords
from .values import MAX_SIDE, Cut, DirectiveError

ANSWERS = (
    "block-prompt", "block-result", "block-list", "empty-data", "no-image", "wrong-shape", "list",
    "garbage", "html", "empty-body", "cut-json", "truncated-base64", "bad-base64", "not-a-image",
    "truncated-image", "url", "jpeg", "alpha", "grey", "palette", "16-bit", "bomb", "huge",
)  # fmt: skip
"""The kinds of `answer=`; answers.py says what each is."""

RESETS = ("headers", "body", "answer", "middle")
"""When `reset=` strikes: headers in, body begun (both unbilled, and not from a prompt), before a
byte of the answer, in the middle of the answer (both billed)."""

_DIRECTIVES = ("fault", "edit", "latency", "job", "poll", "media")

EARLY_RESETS = ("headers", "body")

TRIGGERS: Mapping[str, str] = {
    "blockprompt": "block-prompt",
    "blockresult": "block-result",
    "blocklistresult": "block-list",
    "emptyresult": "empty-data",
}

UNBILLED_ANSWERS = ("block-prompt", "block-result", "block-list", "empty-data")


@dataclass(frozen=True)
class Fault:
    """A parsed `fault`; None and the defaults mean "as it should be"."""

    status: int | None = None
    body: str = "envelope"
    code: str | None = None
    retry_after: float | None = None
    retry_after_date: float | None = None
    location: str | None = None
    answer: str | None = None
    size: tuple[int, int] | None = None
    reset: str | None = None
    cut: Cut | None = None
    drip: float | None = None
    latency: float = 0.0
    first: int | None = None
    billed: bool | None = None

    @property
    def early(self) -> bool:
        """Whether it strikes before the request has been read."""
        return self.reset in EARLY_RESETS

    @property
    def bills(self) -> bool:
        """Whether a good request that meets this fault is billed."""
        if self.billed is not None:
            return self.billed
        free = (self.status or 200) != 200 or self.answer in UNBILLED_ANSWERS
        return not free and not self.early


@dataclass(frozen=True)
class Edits:
    """A parsed `edit`: what is done to the first reference besides the mark."""

    shift: tuple[float, float] = (0.0, 0.0)
    recolour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rescale: float = 1.0
    aspect: float | None = None
    tint: float = 0.18
    mark: str = "panel"


@dataclass(frozen=True)
class Directives:
    """All that a prompt asks for; None where it doesn't."""

    fault: Fault | None = None
    latency: float | None = None
    edits: Edits | None = None
    job: JobWords | None = None
    poll: Fault | None = None
    media: Fault | None = None


def parse_fault(text: str) -> Fault | None:
    """The fault in a directive's text, None for an empty one. Raises DirectiveError."""
    words = text.split()
    return _fault(words) if words else None


def parse_edits(text: str) -> Edits | None:
    """The changes in a directive's text, None for an empty one. Raises DirectiveError."""
    words = text.split()
    return Edits(**_pairs("edit", words, _EDIT_WORDS)) if words else None


def parse_job(text: str) -> JobWords | None:
    """What a job is to do, None for an empty text. Raises DirectiveError."""
    words = text.split()
    return JobWords(**_pairs("job", words, _JOB_WORDS)) if words else None


def parse_latency(text: str) -> float:
    """Seconds, from `2` or `latency=2`. Raises DirectiveError."""
    value = text.strip()
    return values.seconds(value[len("latency=") :] if value.startswith("latency=") else value)


def in_prompt(prompt: str) -> Directives:
    """The directives and trigger words of a prompt. Raises DirectiveError."""
    words: dict[str, list[str]] = {name: [] for name in _DIRECTIVES}
    for match in re.finditer(r"\[\[\s*([A-Za-z]+)([^\[\]]*)\]\]", prompt):
        name = match.group(1)
        if name in words:
            words[name].extend(match.group(2).lstrip(" =:").split() or [""])
        else:
            _refuse_misspelt(name, tuple(words))
    words["fault"].extend(_triggered(prompt, words["fault"]))
    fault = _fault(words["fault"]) if words["fault"] else None
    if fault is not None and fault.early:
        raise DirectiveError(
            f"reset={fault.reset} strikes before the prompt is read: ask by header."
        )
    if len(words["latency"]) > 1:
        raise DirectiveError("latency stands more than once.")
    return Directives(
        fault,
        parse_latency(words["latency"][0]) if words["latency"] else None,
        parse_edits(" ".join(words["edit"])),
        parse_job(" ".join(words["job"])),
        parse_fault(" ".join(words["poll"])),
        parse_fault(" ".join(words["media"])),
    )


def _triggered(prompt: str, words: list[str]) -> list[str]:
    if any(word.startswith(("answer=", "status=")) for word in words):
        return []
    for trigger, answer in TRIGGERS.items():
        if re.search(rf"\b{trigger}\b", prompt, re.IGNORECASE):
            return [f"answer={answer}"]
    return []


def _refuse_misspelt(name: str, known: tuple[str, ...]) -> None:
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.7)
    if near:
        raise DirectiveError(f"[[{name} …]] is no directive; did you mean [[{near[0]} …]]?")


def _fault(words: list[str]) -> Fault:
    fault = Fault(**_pairs("fault", words, _FAULT_WORDS))
    if fault.status is not None and fault.answer is not None:
        raise DirectiveError("status= and answer= exclude each other.")
    if fault.cut is not None and fault.reset is not None:
        raise DirectiveError("cut= and reset= exclude each other.")
    if fault.status is None and (fault.body != "envelope" or fault.code is not None):
        raise DirectiveError("body= and code= need a status=.")
    return fault


def _pairs(
    directive: str, words: list[str], known: Mapping[str, Callable[[str], object]]
) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in known:
            raise DirectiveError(f"{directive} has no {name!r}; it takes {', '.join(known)}.")
        if not equals:
            raise DirectiveError(f"{name} needs a value: {name}=…")
        field = name.replace("-", "_")
        if field in parsed:
            raise DirectiveError(f"{name} stands more than once.")
        try:
            parsed[field] = known[name](value)
        except DirectiveError:
            raise
        except (ValueError, OverflowError) as error:
            raise DirectiveError(f"{name} can't be {value!r}.") from error
    return parsed


_FAULT_WORDS: Mapping[str, Callable[[str], object]] = {
    "status": values.whole(200, 599),
    "body": values.choice("envelope", "html", "empty", "garbage"),
    "code": str,
    "retry-after": values.seconds,
    "retry-after-date": values.seconds,
    "location": str,
    "answer": values.choice(*ANSWERS),
    "size": values.size,
    "reset": values.choice(*RESETS),
    "cut": values.cut,
    "drip": lambda text: values.number(text, 1.0, 1e9),
    "latency": values.seconds,
    "first": values.whole(1, 1_000_000),
    "billed": lambda text: values.choice("yes", "no")(text) == "yes",
}

_EDIT_WORDS: Mapping[str, Callable[[str], object]] = {
    "shift": values.floats(2, -MAX_SIDE, MAX_SIDE),
    "recolour": values.floats(3, 0.0, 10.0),
    "rescale": lambda text: values.number(text, 0.1, 10.0),
    "aspect": values.aspect,
    "tint": lambda text: values.number(text, 0.0, 1.0),
    "mark": values.choice("panel", "none"),
}
