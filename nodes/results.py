"""What became of a node's requests: images, blocks and failures, and the info JSON on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from comfy_api.latest import io

from ..mai.errors import AnswerError, Billed, BlockedError, MaiError
from ..mai.formats import GENERATED
from ..mai.models import CATALOGUE
from ..mai.types import Request, Result
from .inputs import SKIP, SKIP_FAILURES


@dataclass
class Batch:
    """A node's requests, in the same order their results (None: failed), and errors by index.

    `sent` calls go on without the node. `emulated` images cost nothing. `ordered` images are under
    way, and a later run collects the batch: this one has none of its images.
    """

    requests: Sequence[Request]
    results: list[Result | None] = field(default_factory=list)
    errors: dict[int, MaiError] = field(default_factory=dict)
    sent: int = 0
    emulated: bool = False
    ordered: int = 0

    @property
    def images(self) -> list[Result]:
        """The images that came."""
        return [result for result in self.results if result is not None]

    @property
    def cost_usd(self) -> float:
        """What the images cost, as far as it is known."""
        return sum(result.cost_usd or 0.0 for result in self.images)

    @property
    def real_cost_usd(self) -> float:
        """What the images would have cost if the service itself had made them now."""
        return sum(
            CATALOGUE[result.model].cost(result.usage)
            for result in self.images
            if result.usage is not None and not result.from_store
        )

    def put_first(self, reason: MaiError) -> None:
        """Let the error that ended the batch stand before all others."""
        others = sorted(self.errors.items(), key=lambda item: item[1] is not reason)
        self.errors = dict(others)

    def take_files(self) -> list[bytes]:
        """The files of `images`, which keep their facts only: a batch's can be 100 MB.

        AnswerError: together they have more pixels than the model can have made. One image may be
        four times its largest, as no limit is known exactly; a whole batch of such would fill the
        memory with gigabytes.
        """
        pixels = sum(image.width * image.height for image in self.images)
        largest = CATALOGUE[self.requests[0].model].max_pixels
        if pixels > largest * (len(self.images) + 3):
            raise AnswerError(
                f"The {len(self.images)} images that came back have {pixels / 1e6:,.0f} megapixels "
                "together, more than the model can make. They are not decoded.",
                "They are kept in the store. Check that the endpoint is the MAI service itself.",
                billed=Billed.YES,
            )
        files = [image.image for image in self.images]
        self.results = [result and replace(result, image=b"") for result in self.results]
        return files


@dataclass
class Totals:
    """What the batches of a list's items come to: of emulated ones what they would have cost, too.

    `longest` are the seconds of the slowest call.
    """

    images: int = 0
    from_store: int = 0
    blocked: int = 0
    failed: int = 0
    cost_usd: float = 0.0
    real_cost_usd: float = 0.0
    emulated: bool = False
    longest: float = 0.0

    def add(self, batch: Batch) -> None:
        """Count one more batch; nothing of it is kept."""
        blocked = sum(isinstance(error, BlockedError) for error in batch.errors.values())
        self.images += len(batch.images)
        self.from_store += sum(result.from_store for result in batch.images)
        self.blocked += blocked
        self.failed += len(batch.errors) - blocked
        self.cost_usd += batch.cost_usd
        self.emulated = batch.emulated
        if batch.emulated:
            self.real_cost_usd += batch.real_cost_usd
        bought = [result.seconds for result in batch.images if not result.from_store]
        self.longest = max([self.longest, *bought])

    @property
    def cost_text(self) -> str:
        """The cost for reading: "$0.035", "emulated; real ≈ $0.035"."""
        if self.emulated:
            return f"emulated; real ≈ ${self.real_cost_usd:.3f}"
        return f"${self.cost_usd:.3f}"


def raise_failures(batch: Batch, if_blocked: str) -> None:
    """One error for all that failed; with `if_blocked` "skip" blocked images are no failures.

    With "skip failures" there is none as long as an image came.
    """
    failed = {
        i: error
        for i, error in batch.errors.items()
        if if_blocked != SKIP or not isinstance(error, BlockedError)
    }
    if not failed or (if_blocked == SKIP_FAILURES and batch.images):
        return
    first = next(iter(failed.values()))
    if len(batch.requests) == 1:
        raise first
    perhaps_billed = any(error.billed is Billed.PERHAPS for error in failed.values())
    raise type(first)(
        _what_failed(batch, failed),
        _what_is_kept(len(batch.images), len(batch.requests), batch.sent),
        status=first.status,
        code=first.code,
        request_id=first.request_id,
        billed=Billed.PERHAPS if perhaps_billed else Billed.NO,
    ) from first


def _what_failed(batch: Batch, failed: dict[int, MaiError]) -> str:
    reasons: dict[str, list[int]] = {}
    for i, error in failed.items():
        reasons.setdefault(f"{error.what} {error.hint}".strip(), []).append(i + 1)
    lines = [f"{len(failed)} of {len(batch.requests)} images failed."]
    for reason, numbers in reasons.items():
        names = ", ".join(map(str, numbers))
        lines.append(f"Image{'s' * (len(numbers) > 1)} {names}: {reason}")
    return "\n".join(lines)


def _what_is_kept(kept: int, count: int, sent: int) -> str:
    if sent:
        return (
            f"{kept} of {count} images are kept, and {sent} more may come: they were sent before. "
            "Queue again when the reason is mended to fetch only what is missing."
        )
    if not kept:
        return "No image came, so none is kept; queue again when the reason is mended."
    missing = "the missing one" if count - kept == 1 else f"the {count - kept} missing ones"
    return f"{kept} of {count} images are kept; queue again to fetch only {missing}."


def info_json(
    batch: Batch,
    profile: str,
    notes: Sequence[str] = (),
    source_type: str = GENERATED,
    **more: object,
) -> str:
    """What a node says of its images, as JSON; `more` are facts of that node alone.

    `source_type` is GENERATED, or COMPOSITE where only parts of the images are the model's.
    `cost_usd` is what was paid; of emulated images `real_cost_usd` is what they would have cost.
    """
    images = [
        {
            "index": i,
            "seed": batch.requests[i].seed,
            "model": result.model,
            "size_asked": result.asked,
            "size_received": [result.width, result.height],
            "request_id": result.request_id,
            "key": result.key,
            "usage": asdict(result.usage) if result.usage else None,
            "cost_usd": None if result.cost_usd is None else round(result.cost_usd, 6),
            "from_store": result.from_store,
            "seconds": round(result.seconds, 2),
            "notes": result.notes,
        }
        for i, result in enumerate(batch.results)
        if result is not None
    ]
    return json.dumps(
        {
            "model": batch.requests[0].model,
            "prompt": batch.requests[0].prompt,
            "digital_source_type": source_type,
            "profile": profile,
            "count": len(images),
            "cost_usd": round(batch.cost_usd, 6),
            "images": images,
            "blocked": [
                {"index": i, "reason": error.what}
                for i, error in sorted(batch.errors.items())
                if isinstance(error, BlockedError)
            ],
            "notes": notes,
            **_failed(batch.errors),
            **({"real_cost_usd": round(batch.real_cost_usd, 6)} if batch.emulated else {}),
            **more,
        },
        ensure_ascii=False,
        indent=1,
    )


def _failed(errors: Mapping[int, MaiError]) -> dict[str, object]:
    """What info says of the images that failed; nothing where none did."""
    failed = [
        {"index": i, "reason": f"{error.what} {error.hint}".strip(), "code": error.code,
         "perhaps_billed": error.billed is not Billed.NO}
        for i, error in sorted(errors.items())
        if not isinstance(error, BlockedError)
    ]  # fmt: skip
    return {"failed": failed} if failed else {}


def failed_output(error: MaiError, model: str, profile: str, image_outputs: int) -> io.NodeOutput:
    """The output in place of an item of a list that failed: what uses its images doesn't run."""
    blocked = [{"index": 0, "reason": error.what}] if isinstance(error, BlockedError) else []
    facts = {
        "model": model,
        "profile": profile,
        "count": 0,
        "cost_usd": 0,
        "images": [],
        "blocked": blocked,
        "notes": [],
        **_failed({0: error}),
    }
    return _without_images(json.dumps(facts, ensure_ascii=False, indent=1), image_outputs)


def blocked_output(batch: Batch, profile: str, image_outputs: int) -> io.NodeOutput:
    """The output when every image was skipped: nodes that use the images or their mask don't run.

    An ExecutionBlocker without a message is the quiet one; with a message the page would show an
    error. `info`, behind the images, still says what was blocked and why. Of a batch that is
    ordered nothing is known yet: nothing that hangs on the node runs.
    """
    from comfy_execution.graph_utils import ExecutionBlocker

    if batch.ordered:
        return io.NodeOutput(*([ExecutionBlocker(None)] * (image_outputs + 2)))
    return _without_images(info_json(batch, profile), image_outputs)


def _without_images(info: str, image_outputs: int) -> io.NodeOutput:
    from comfy_execution.graph_utils import ExecutionBlocker

    quiet = ExecutionBlocker(None)
    return io.NodeOutput(*([quiet] * image_outputs), info, quiet)
