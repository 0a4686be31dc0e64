"""MAI Save Image in a real ComfyUI, its files read by programs that know nothing of the pack."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mai_image import emulator
from mai_image.demo.client import ComfyUIClient, Refused
from mai_image.demo.launch import ComfyUIServer
from PIL import Image

Node = dict[str, Any]

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

WIDTH, HEIGHT = 1024, 768


def node(kind: str, **inputs: Any) -> Node:
    return {"class_type": kind, "inputs": inputs}


def save(source: str, prefix: str, **inputs: Any) -> Node:
    given = {"images": [source, 0], "filename_prefix": prefix, "format": "png", **inputs}
    return node("MAISaveImage", **given)


def run(server: ComfyUIServer, graph: dict[str, Node]) -> list[Path]:
    """What a graph saves, in the order of its files' names."""

    async def scenario() -> list[Path]:
        async with ComfyUIClient(server.url) as client:
            finished = await client.run(graph)
            assert (finished.status, finished.error) == ("success", "")
            return sorted(server.output / folder / name for folder, name in finished.files())

    return asyncio.run(scenario())


def exif(path: Path) -> dict[str, Any]:
    """What exiftool reads of a file; the test is skipped where there is none."""
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool, the independent reader, isn't installed")
    said = subprocess.run(["exiftool", "-j", str(path)], capture_output=True, check=True)
    facts: dict[str, Any] = json.loads(said.stdout)[0]
    return facts


def sent_again(service: emulator.Emulator, prompt: str, model: str) -> bytes:
    """The file of the emulator's last request: the same request gets the same file."""
    last = service.log.entries[-1]
    body = {"model": model, "prompt": prompt, "width": WIDTH, "height": HEIGHT}
    request = urllib.request.Request(
        f"{service.url}{last.path}",
        json.dumps(body).encode(),
        {
            "Content-Type": "application/json",
            "api-key": emulator.DEFAULT_KEY,
            "x-ms-client-request-id": last.client_request_id or "",
        },
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request) as answer:
        return base64.b64decode(json.load(answer)["data"][0]["b64_json"])


@pytest.fixture
def with_credentials(prompt: str) -> str:
    """A prompt for which the emulator's file has a chunk of content credentials."""
    return f"{prompt} [[fault credentials=yes]]"


def test_an_untouched_image_keeps_the_bytes_and_the_manifest_that_were_sent(
    server: ComfyUIServer, service: emulator.Emulator, with_credentials: str, generate: Any
) -> None:
    made = generate(with_credentials, model="MAI-Image-2.7", width=WIDTH, height=HEIGHT)
    (file,) = run(server, {"1": made, "2": save("1", "untouched/sent", info=["1", 1])})
    data = file.read_bytes()
    assert data == sent_again(service, with_credentials, "MAI-Image-2.7")
    assert b"caBX" in data
    assert file.name == "sent_00001_.png"
    sidecar = json.loads(file.with_suffix(".json").read_text())
    assert {one["class_type"] for one in sidecar.values()} == {"MAIGenerate", "MAISaveImage"}


def test_an_upscaled_image_has_the_mark_and_the_workflow(
    server: ComfyUIServer, prompt: str, generate: Any
) -> None:
    made = generate(prompt, model="MAI-Image-2.7")
    upscaled = node("ImageScaleBy", image=["1", 0], upscale_method="lanczos", scale_by=1.5)
    (file,) = run(
        server, {"1": made, "2": upscaled, "3": save("2", "upscaled/large", info=["1", 1])}
    )
    facts = exif(file)
    assert facts["DigitalSourceType"] == GENERATED
    assert (facts["AISystemUsed"], str(facts["AISystemVersionUsed"])) == ("MAI-Image-2.7", "2.7")
    assert facts["AIPromptInformation"] == prompt
    assert json.loads(Image.open(file).info["prompt"])["1"]["class_type"] == "MAIGenerate"
    assert not file.with_suffix(".json").exists()


@pytest.mark.parametrize("format", ["webp", "jpeg", "avif"])
def test_the_mark_and_the_workflow_are_in_other_formats_too(
    server: ComfyUIServer, prompt: str, generate: Any, format: str
) -> None:
    made = generate(prompt)
    (file,) = run(
        server, {"1": made, "2": save("1", f"formats/{format}", format=format, info=["1", 1])}
    )
    facts = exif(file)
    assert (facts["MIMEType"], facts["DigitalSourceType"]) == (f"image/{format}", GENERATED)
    if format == "jpeg":
        assert "1" in json.loads(file.with_suffix(".json").read_text())
    else:
        texts = Image.open(file).getexif()
        assert json.loads(texts[0x0110].removeprefix("prompt:"))["1"]["inputs"]["prompt"] == prompt


def test_a_masked_edit_is_a_composite_by_itself(
    server: ComfyUIServer, prompt: str, generate: Any
) -> None:
    masked = node(
        "MAIEdit",
        **{"images.image_1": ["1", 0], "prompt": prompt, "model": "MAI-Image-2.7", "seed": 0,
           "batch_size": 1, "mask": ["2", 0], "output_size": "same as input"},
    )  # fmt: skip
    hole = node("SolidMask", value=0.0, width=768, height=768)
    spot = node("SolidMask", value=1.0, width=200, height=200)
    both = node("MaskComposite", destination=["4", 0], source=["5", 0], x=250, y=250,
                operation="add")  # fmt: skip
    (file,) = run(
        server,
        {"1": generate(prompt), "2": both, "3": masked, "4": hole, "5": spot,
         "6": save("3", "masked/edit", info=["3", 2])},
    )  # fmt: skip
    assert exif(file)["DigitalSourceType"] == COMPOSITE


def test_files_that_leave_the_house_say_nothing_of_the_graph(
    server: ComfyUIServer, prompt: str, generate: Any
) -> None:
    (file,) = run(
        server,
        {"1": generate(prompt), "2": save("1", "plain/a", info=["1", 1], embed_workflow=False)},
    )
    assert exif(file)["DigitalSourceType"] == GENERATED
    assert prompt.encode() not in file.read_bytes()
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_counters_go_on_from_core_s_own_files(
    server: ComfyUIServer, prompt: str, generate: Any
) -> None:
    core = node("SaveImage", images=["1", 0], filename_prefix="beside/core")
    made = generate(prompt, batch_size=2)
    first = run(server, {"1": made, "2": core})
    ours = run(server, {"1": made, "2": save("1", "beside/core", format="webp")})
    third = run(server, {"1": made, "2": node("SaveImage", images=["1", 0],
                                              filename_prefix="beside/core")})  # fmt: skip
    assert [path.name for path in first] == ["core_00001_.png", "core_00002_.png"]
    assert [path.name for path in ours] == ["core_00003_.webp", "core_00004_.webp"]
    assert third == [] or third[0].name == "core_00005_.png"


@pytest.mark.parametrize("prefix", ["../out", "/tmp/out", "a/../../out", "x" * 300, "nul/a", ""])
def test_a_name_that_leads_out_or_can_t_be_written_is_refused_before_anything_is_bought(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, prefix: str
) -> None:
    async def scenario() -> None:
        async with ComfyUIClient(server.url) as client:
            await client.queue({"1": generate(prompt), "2": save("1", prefix)})

    with pytest.raises(Refused):
        asyncio.run(scenario())
    assert not service.log.entries


def test_a_transparent_image_keeps_its_alpha(
    server: ComfyUIServer, prompt: str, generate: Any
) -> None:
    made = generate(prompt, model="MAI-Image-2.7", background="transparent")
    (file,) = run(server, {"1": made, "2": save("1", "alpha/a", format="webp", lossless=True,
                                                mask=["1", 2], info=["1", 1])})  # fmt: skip
    (png,) = run(server, {"1": made, "2": save("1", "alpha/b", mask=["1", 2], info=["1", 1])})
    sent, written = (
        np.asarray(Image.open(png)),
        np.asarray(Image.open(io.BytesIO(file.read_bytes()))),
    )
    assert sent.shape[2] == 4
    assert np.array_equal(sent[..., 3], written[..., 3])
    visible = sent[..., 3] > 0
    assert np.array_equal(sent[visible], written[visible])
