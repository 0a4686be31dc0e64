"""What a node keeps of its images."""

from __future__ import annotations

from mai_image.mai.types import Generate, Result
from mai_image.nodes.results import Batch, info_json


def test_files_are_taken_once_and_the_facts_stay() -> None:
    requests = [Generate("MAI-Image-2.6", "a fox", 768, 768, seed) for seed in range(3)]
    came = [Result(bytes([i]), "image/png", 768, 768, "MAI-Image-2.6") for i in range(2)]
    batch = Batch(requests, [came[0], None, came[1]])
    assert batch.take_files() == [b"\x00", b"\x01"]
    assert [result and result.image for result in batch.results] == [b"", None, b""]
    assert info_json(batch, "default") == info_json(
        Batch(requests, [came[0], None, came[1]]), "default"
    )
