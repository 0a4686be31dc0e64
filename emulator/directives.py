"""The small language that asks the emulator for latency, faults, changed edits and odd jobs.

A directive is words with white space between them, each `name=value`. It stands

- in a prompt, so that a graph can ask: `a red fox [[fault status=500 first=2]] [[latency 2]]`,
  `[[edit shift=4,-3]]`, and for the gateways with jobs `[[job end=failed]]`,
  `[[poll status=500 first=2]]`, `[[media cut=50%]]`, at fal also `[[result status=500]]` and
  `[[cancel status=400]]`; several of them add up;
- in a header of one request: `x-emulator-fault`, `x-emulator-latency`, `x-emulator-edit`;
- server-wide: the command line's `--fault`, `--latency`, `--edit` and `--job`, or `Options`.

Where several say different things the nearest to the request wins: header, prompt, server.

`latency SECONDS` (or `latency=SECONDS`) is the time from a good request to its answer.

`fault` takes
    status=N                answer with this status (200 to 599) instead of an image
    body=envelope|html|empty|garbage    what stands in that answer (default envelope)
    code=WORD               the envelope's error code
    message=WORDS           its message; underscores become spaces
    retry-after=S, retry-after-date=S   that header, in seconds or as a HTTP date S seconds ahead
    location=URL            that header, for a redirect
    answer=TYPE             a 200 that isn't as it should be: see ANSWERS
    size=WxH                an image of this size, whatever was requested
    model=NAME              the answer names this model; one of the catalogue is billed at its price
    usage=PLACE             where the token counts are: usage, top-level or absent
    tokens=N                how many output tokens the answer counts, such as 9e15
    credentials=yes|no      whether the PNG has a chunk of content credentials (a placeholder)
    limit-requests=N        the header x-ratelimit-limit-requests, such as 0.001
    reset=WHEN              reset the connection: see RESETS
    cut=N or cut=P%         close the connection after that much of the answer's body
    drip=N                  send the body at N bytes a second
    latency=S               wait this long as well
    first=K                 only the first K requests: those with the same prompt for a directive in
                            a prompt, with the same header for one in a header, otherwise all
    billed=yes|no           whether the request is billed; by default it is where the service did
                            work: any 200, a content block, a prompt that is too long, 408, 499
                            unless its message says "before request was sent", and 5xx but a 503
                            with retry-after; not for any other status

`edit` takes
    shift=DX,DY             move the image by so many pixels, right and down (fractions too)
    recolour=R,G,B          multiply each channel
    rescale=F               enlarge the content by F around the centre; the size stays
    aspect=W:H              return an image in this aspect
    output=1mp|input|largest    its size: about 1 megapixel, the first reference's within the
                            model's limits, or as many pixels as the model can do (default: the
                            server's --edit-output)
    tint=F                  0 to 1: how much of a coloured light falls on it (default 0.3)
    mark=painted|none       whether anything is painted into it: the caption, the object, the other
                            references, what replaces grey borders (default painted)

`job` takes
    queued=S, processing=S      seconds in each state (default: the server's)
    end=completed|failed|error  how it ends (default completed)
    reason=WORDS                the text of a job that failed; underscores become spaces
    media=url|list|data|foreign|none    where the image is: an address on this server as a string or
                                in a list (default), a data URI, an address elsewhere, nowhere
    forget=K                    the job is unknown (404) from poll number K on
    id=yes|no                   whether the answer to the order names the job (default yes)
`poll`, `media`, `result` and `cancel` take the words of `fault`, for each status request, each
fetch of the image, of what a job made, and each cancel; their first=K counts by job.

An unknown name, a bad value or a name given twice is an error; the emulator answers it with a 400
that explains it. Other text in double brackets is left alone, unless its first word looks like a
misspelt directive.

Words in a prompt, for graphs: `blockprompt`, `blockresult`, `blocklistresult` and `emptyresult` are
`answer=` block-prompt, block-result, block-list and empty-data.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

ANSWERS = (
    "block-prompt", "block-result", "block-list", "prompt-too-long", "empty-data", "error-body",
    "no-picture", "wrong-shape", "list", "garbage", "html", "empty-body", "cut-json",
    "truncated-base64", "bad-base64", "not-a-picture", "truncated-picture", "wrong-crc", "url",
    "jpeg", "webp", "alpha", "grey", "palette", "16-bit", "bomb", "huge",
)  # fmt: skip
"""The types of `answer=`: a 400 after work (the first four), other JSON, other base64, other
files."""

OUTPUTS = ("1mp", "input", "largest")
"""How large an edit comes back."""

NOT_SENT = "before request was sent"
"""What a 499 says that did no work."""

_WORK_CODES = (
    "content_safety_violation", "content_filter", "contentfilter", "content_policy_violation",
    "moderation_blocked", "responsibleaipolicyviolation", "context_length_exceeded",
)  # fmt: skip
"""Codes of a 400 for what the service found at work: a content block, a prompt's length."""

EARLY_RESETS = ("headers", "body")
"""When `reset=` happens: headers in, body begun (both unbilled, and not from a prompt)."""

RESETS = (*EARLY_RESETS, "answer", "middle")
"""Or before a byte of the answer, or in its middle (both billed)."""

TRIGGERS: Mapping[str, str] = {
    "blockprompt": "block-prompt",
    "blockresult": "block-result",
    "blocklistresult": "block-list",
    "emptyresult": "empty-data",
}

MAX_SECONDS = 3600.0
MAX_COUNT = 1_000_000
MAX_SIDE = 8192
"""An image of 8192 x 8192 is over the 64 megapixels that a client should decode."""

_NAMES = ("fault", "edit", "latency", "job", "poll", "media", "result", "cancel")
_IN_PROMPT = re.compile(r"\[\[\s*([A-Za-z]+)(?![A-Za-z])([^\[\]]*)\]\]")
_TRIGGER = re.compile(rf"\b(?:{'|'.join(TRIGGERS)})\b", re.IGNORECASE)


Asked = TypeVar("Asked", "Fault", "EditChanges", "JobDirective")


class DirectiveError(ValueError):
    """A directive that can't be understood; its text says which word and what is allowed."""


@dataclass(frozen=True)
class BodyCut:
    """Where the answer's body ends: after `count` bytes, or after `percent` of them."""

    count: int | None = None
    percent: float | None = None

    def end(self, total: int) -> int:
        """How many of `total` bytes are sent."""
        if self.count is not None:
            return min(self.count, total)
        return int(total * (self.percent or 0.0) / 100)


# Values. Each raises DirectiveError, or ValueError where the text has another form altogether.


def _number(text: str, low: float, high: float) -> float:
    value = float(text)
    if not math.isfinite(value) or not low <= value <= high:
        raise DirectiveError(f"{text} is not between {low:g} and {high:g}.")
    return value


def _seconds(text: str) -> float:
    return _number(text, 0.0, MAX_SECONDS)


def _between(low: float, high: float) -> Callable[[str], float]:
    return lambda text: _number(text, low, high)


def _integer(low: int, high: int) -> Callable[[str], int]:
    return lambda text: int(_number(str(int(text)), low, high))


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse_choice(text: str) -> str:
        if text not in allowed:
            raise DirectiveError(f"{text!r} is none of: {', '.join(allowed)}.")
        return text

    return parse_choice


def _words(text: str) -> str:
    return text.replace("_", " ")


def _yes_or_no(text: str) -> bool:
    return _choice("yes", "no")(text) == "yes"


def _numbers(count: int, low: float, high: float) -> Callable[[str], tuple[float, ...]]:
    def parse_numbers(text: str) -> tuple[float, ...]:
        values = tuple(_number(part, low, high) for part in text.split(","))
        if len(values) != count:
            raise DirectiveError(f"{text!r} must be {count} numbers with commas between them.")
        return values

    return parse_numbers


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    side = _integer(1, MAX_SIDE)
    return side(width), side(height)


def _cut(text: str) -> BodyCut:
    if text.endswith("%"):
        return BodyCut(percent=_number(text[:-1], 0.0, 100.0))
    return BodyCut(count=_integer(0, 2**31)(text))


def _aspect(text: str) -> float:
    width, _, height = text.partition(":")
    return _number(width, 1, 10_000) / _number(height, 1, 10_000)


# What a directive asks for. Each field is a word of it; none given is the default.


def _word(parse: Callable[[str], object], default: object = None) -> Any:
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True)
class Fault:
    """A parsed `fault`; None and the defaults mean "as it should be"."""

    status: int | None = _word(_integer(200, 599))
    body: str = _word(_choice("envelope", "html", "empty", "garbage"), "envelope")
    code: str | None = _word(str)
    message: str | None = _word(_words)
    retry_after: float | None = _word(_seconds)
    retry_after_date: float | None = _word(_seconds)
    location: str | None = _word(str)
    answer: str | None = _word(_choice(*ANSWERS))
    size: tuple[int, int] | None = _word(_size)
    model: str | None = _word(str)
    usage: str | None = _word(_choice("usage", "top-level", "absent"))
    tokens: int | None = _word(lambda text: int(_number(text, 0.0, 1e18)))
    credentials: bool | None = _word(_yes_or_no)
    limit_requests: float | None = _word(_between(0.0, 1e9))
    reset: str | None = _word(_choice(*RESETS))
    cut: BodyCut | None = _word(_cut)  # noqa: RUF009 - a field, as all of them
    drip: float | None = _word(_between(1.0, 1e9))
    latency: float = _word(_seconds, 0.0)
    first: int | None = _word(_integer(1, MAX_COUNT))
    billed: bool | None = _word(_yes_or_no)

    def __post_init__(self) -> None:
        if self.status is not None and self.answer is not None:
            raise DirectiveError("status= and answer= exclude each other.")
        if self.cut is not None and self.reset is not None:
            raise DirectiveError("cut= and reset= exclude each other.")
        texts = (self.code, self.message)
        if self.status is None and (self.body != "envelope" or texts != (None, None)):
            raise DirectiveError("body=, code= and message= need a status=.")

    @property
    def early(self) -> bool:
        """Whether it happens before the request has been read."""
        return self.reset in EARLY_RESETS

    @property
    def is_error(self) -> bool:
        """Whether an error, or a body without an image, is sent in place of the answer."""
        return self.status is not None and (self.status != 200 or self.body != "envelope")

    @property
    def bills(self) -> bool:
        """Whether a good request that meets this fault is billed."""
        if self.billed is not None:
            return self.billed
        return not self.early and self._did_work

    @property
    def _did_work(self) -> bool:
        """Whether a service that answers so has done any (Microsoft's page on costs)."""
        status = 200 if self.status is None else self.status
        if status == 400:
            return (self.code or "").lower() in _WORK_CODES
        if status == 499:
            return self.body != "envelope" or NOT_SENT not in (self.message or NOT_SENT)
        if status == 503:
            return self.retry_after is None and self.retry_after_date is None
        return status < 300 or status == 408 or status >= 500


@dataclass(frozen=True)
class EditChanges:
    """A parsed `edit`: what is done to the first reference besides the mark."""

    shift: tuple[float, float] = _word(_numbers(2, -MAX_SIDE, MAX_SIDE), (0.0, 0.0))
    recolour: tuple[float, float, float] = _word(_numbers(3, 0.0, 10.0), (1.0, 1.0, 1.0))
    rescale: float = _word(_between(0.1, 10.0), 1.0)
    aspect: float | None = _word(_aspect)
    tint: float = _word(_between(0.0, 1.0), 0.3)
    mark: str = _word(_choice("painted", "none"), "painted")
    output: str | None = _word(_choice(*OUTPUTS))


@dataclass(frozen=True)
class JobDirective:
    """A parsed `job`; None is the server's own."""

    queued: float | None = _word(_seconds)
    processing: float | None = _word(_seconds)
    end: str = _word(_choice("completed", "failed", "error"), "completed")
    reason: str = _word(_words, "")
    media: str = _word(_choice("url", "list", "data", "foreign", "none"), "list")
    forget: int | None = _word(_integer(1, MAX_COUNT))
    id: bool = _word(_yes_or_no, True)


@dataclass(frozen=True)
class Directives:
    """All that a prompt, the headers or the server ask for; None where they don't."""

    fault: Fault | None = None
    latency: float | None = None
    changes: EditChanges | None = None
    job: JobDirective | None = None
    poll: Fault | None = None
    media: Fault | None = None
    result: Fault | None = None
    cancel: Fault | None = None


def parse_fault(text: str) -> Fault | None:
    """The fault in a directive's text, None for an empty one. Raises DirectiveError."""
    return _parse("fault", Fault, text)


def parse_changes(text: str) -> EditChanges | None:
    """The changes in an edit's directive, None for an empty one. Raises DirectiveError."""
    return _parse("edit", EditChanges, text)


def parse_job(text: str) -> JobDirective | None:
    """What a job is to do, None for an empty text. Raises DirectiveError."""
    return _parse("job", JobDirective, text)


def parse_latency(text: str) -> float:
    """Seconds, from `2` or `latency=2`. Raises DirectiveError."""
    try:
        return _seconds(text.strip().removeprefix("latency="))
    except ValueError as error:
        raise DirectiveError(f"{text!r} is no number of seconds up to {MAX_SECONDS:g}.") from error


def parse_prompt(prompt: str) -> Directives:
    """The directives and trigger words of a prompt. Raises DirectiveError."""
    found: dict[str, str] = {}
    for match in _IN_PROMPT.finditer(prompt):
        name, text = match[1], match[2].lstrip(" =:")
        if name not in _NAMES:
            _check_spelling(name)
        elif not text.strip():
            raise DirectiveError(f"{name} has no ''; it needs a word or a number.")
        elif name == "latency" and name in found:
            raise DirectiveError("latency stands more than once.")
        else:
            found[name] = f"{found.get(name, '')} {text}"
    fault = parse_fault(found.get("fault", "") + _trigger(prompt, found.get("fault", "")))
    if fault is not None and fault.early:
        raise DirectiveError(
            f"reset={fault.reset} happens before the prompt is read: ask by header."
        )
    return Directives(
        fault,
        parse_latency(found["latency"]) if "latency" in found else None,
        parse_changes(found.get("edit", "")),
        parse_job(found.get("job", "")),
        parse_fault(found.get("poll", "")),
        parse_fault(found.get("media", "")),
        parse_fault(found.get("result", "")),
        parse_fault(found.get("cancel", "")),
    )


def _trigger(prompt: str, fault: str) -> str:
    """The answer that a trigger word asks for, unless a fault says which answer is sent."""
    if "answer=" not in fault and "status=" not in fault:
        asked = {word.lower() for word in _TRIGGER.findall(prompt)}
        for trigger, answer in TRIGGERS.items():
            if trigger in asked:
                return f" answer={answer}"
    return ""


def _check_spelling(name: str) -> None:
    near = difflib.get_close_matches(name.lower(), _NAMES, n=1, cutoff=0.7)
    if near:
        raise DirectiveError(f"[[{name} …]] is no directive; did you mean [[{near[0]} …]]?")


def _parse(directive: str, kind: type[Asked], text: str) -> Asked | None:
    """What words such as "first=2" ask for, None where there are none."""
    known = {each.name.replace("_", "-"): each.metadata["parse"] for each in fields(kind)}
    parsed: dict[str, Any] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if name not in known:
            raise DirectiveError(f"{directive} has no {name!r}; it takes {', '.join(known)}.")
        if not equals:
            raise DirectiveError(f"{name} needs a value: {name}=…")
        if name.replace("-", "_") in parsed:
            raise DirectiveError(f"{name} stands more than once.")
        try:
            parsed[name.replace("-", "_")] = known[name](value)
        except DirectiveError:
            raise
        except (ValueError, OverflowError) as error:
            raise DirectiveError(f"{name} can't be {value!r}.") from error
    return kind(**parsed) if parsed else None


class FaultCounts:
    """How often the faults with first=K have happened. Used in the server's thread only."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def choose(self, faults: Mapping[str, Fault | None], early: bool = False) -> Fault | None:
        """The first fault that happens now, of those before or after the request has been read.

        `faults` has each under the key by which its first=K is counted.
        """
        for key, fault in faults.items():
            if fault is None or fault.early != early:
                continue
            if fault.first is None:
                return fault
            if self._counts[key] < fault.first:
                self._counts[key] += 1
                return fault
        return None

    def restart(self, key: str) -> None:
        """Count from 0 again, for another fault under the same key. For any thread."""
        self._counts.pop(key, None)
