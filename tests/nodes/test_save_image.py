"""MAI Save Image: what it writes, what it leaves as it came, and what it never does to a file."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import folder_paths
import numpy as np
import pytest
import torch
from mai_image.mai.disk import files
from mai_image.mai.errors import ImageError, InputError, StoreError
from mai_image.mai.formats import (
    COMPOSITE,
    GENERATED,
    Mark,
    build_packet,
    find_manifest,
    mark_of_packet,
    png_chunk,
    read_mark,
    read_workflow,
)
from mai_image.nodes import save_image
from mai_image.nodes.generate import MAIGenerate
from mai_image.nodes.imaging.png_writer import write_png
from mai_image.nodes.run import shared_client
from mai_image.nodes.save_image import MAISaveImage
from PIL import Image, features

import nodes

WORKFLOW = {"nodes": [{"id": 1}], "links": []}


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's output folder, for this test alone."""
    folder = tmp_path / "output"
    folder.mkdir()
    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(folder))
    return folder


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the graph that the node is part of: graph(prompt, node_id)."""

    def of(prompt: dict[str, Any], node_id: str = "9") -> None:
        hidden = SimpleNamespace(
            prompt=prompt, extra_pnginfo={"workflow": WORKFLOW}, unique_id=node_id
        )
        monkeypatch.setattr(MAISaveImage, "hidden", hidden, raising=False)

    return of


def save(images: torch.Tensor, **inputs: Any) -> Any:
    given = {"filename_prefix": "MAI", "format": "png", **inputs}
    return asyncio.run(MAISaveImage.execute(images=images, **given))


def make(**inputs: Any) -> tuple[torch.Tensor, str, torch.Tensor]:
    """Images, info and mask of MAI Generate."""
    given = {"prompt": "a fox", "profile": "test", "width": 768, "height": 768, **inputs}
    images, info, mask = asyncio.run(MAIGenerate.execute(**given)).args
    return images, info, mask


def stored(tmp_path: Path) -> set[bytes]:
    return {path.read_bytes() for path in (tmp_path / "mai" / "store").rglob("*.png")}


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path))


def gradient(count: int = 1, side: int = 64) -> torch.Tensor:
    ramp = torch.linspace(0, 1, side)
    return torch.stack([torch.stack([ramp.expand(side, side), ramp.expand(side, side).T,
                                     torch.full((side, side), i / 10)], -1)
                        for i in range(count)])  # fmt: skip


INFO = json.dumps({"model": "MAI-Image-2.7", "prompt": "a fox", "images": []})

# What the service sent


def test_an_untouched_image_with_a_manifest_is_the_file_that_was_sent(
    emulator: Any, output: Path, tmp_path: Path, graph: Any
) -> None:
    graph({})
    images, info, _ = make(prompt="a fox [[fault credentials=yes]]", batch_size=3)
    result = save(images, info=info)
    saved = sorted(output.glob("*.png"))
    assert [path.name for path in saved] == [f"MAI_0000{i}_.png" for i in (1, 2, 3)]
    assert {path.read_bytes() for path in saved} == stored(tmp_path)
    assert all(find_manifest(path.read_bytes()) for path in saved)
    assert all(json.loads(path.with_suffix(".json").read_text()) == WORKFLOW for path in saved)
    assert torch.equal(result.args[0], images)


def test_images_are_found_by_their_pixels_in_any_order_and_the_changed_ones_are_marked(
    emulator: Any, output: Path, tmp_path: Path
) -> None:
    images, info, _ = make(prompt="a fox [[fault credentials=yes]]", batch_size=3)
    changed = images[[2, 0, 1]].clone()
    changed[1, 5, 5] = 1 - changed[1, 5, 5]
    save(changed, info=info)
    first, second, third = (path.read_bytes() for path in sorted(output.glob("*.png")))
    assert {first, third} < stored(tmp_path)
    assert second not in stored(tmp_path)
    mark = read_mark(second)
    assert mark is not None
    assert mark.source_type == GENERATED


def test_an_untouched_image_without_a_manifest_gets_the_mark_and_keeps_its_chunks(
    emulator: Any, output: Path, tmp_path: Path, graph: Any
) -> None:
    graph({"1": {"class_type": "MAIGenerate", "inputs": {}}})
    images, info, _ = make()
    save(images, info=info)
    (saved,) = (path.read_bytes() for path in output.iterdir())
    (sent,) = stored(tmp_path)
    at = sent.index(b"IDAT") - 4
    assert saved.startswith(sent[:at])
    assert saved.endswith(sent[at:])
    mark = read_mark(saved)
    assert mark is not None
    assert (mark.system, mark.version, mark.prompt) == ("MAI-Image-2.7", "2.7", "a fox")
    assert json.loads(read_workflow(saved)["workflow"]) == WORKFLOW


def test_without_mark_and_workflow_the_file_is_the_one_that_was_sent(
    emulator: Any, output: Path, tmp_path: Path
) -> None:
    images, info, _ = make()
    save(images, info=info, disclosure="none", embed_workflow=False)
    assert {path.read_bytes() for path in output.iterdir()} == stored(tmp_path)


def test_an_image_whose_alpha_is_not_saved_is_no_untouched_one(
    emulator: Any, output: Path, tmp_path: Path
) -> None:
    images, info, mask = make(prompt="a cup [[fault credentials=yes]]", background="transparent")
    save(images, info=info, mask=mask, filename_prefix="with")
    save(images, info=info, filename_prefix="without")
    assert (output / "with_00001_.png").read_bytes() in stored(tmp_path)
    assert pixels(output / "without_00001_.png").shape[2] == 3


PACKETS = {
    "broken": b"<x:xmpmeta",
    "empty": b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>',
    "the same": build_packet(Mark(GENERATED)),
    "another": build_packet(Mark(COMPOSITE)),
}


@pytest.mark.parametrize("said", PACKETS)
def test_an_untouched_image_says_what_it_is_whatever_xmp_it_came_with(
    output: Path, graph: Any, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    graph({"1": MAKE})
    notes: list[str] = []
    monkeypatch.setattr(save_image, "show_notes", lambda *given: notes.extend(given[2]))
    levels = np.random.default_rng(5).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    packet = png_chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + PACKETS[said])
    sent = write_png(levels).replace(b"\0\0\0\0IEND", packet + b"\0\0\0\0IEND")
    store = SimpleNamespace(get=lambda key: SimpleNamespace(image=sent))
    client = SimpleNamespace(get=lambda: SimpleNamespace(store=store))
    monkeypatch.setattr(save_image, "shared_client", client)
    image = {"key": "0" * 64, "size_received": [48, 32]}
    info = {"model": "MAI-Image-2.7", "prompt": "a fox", "images": [image]}
    save(torch.from_numpy(levels)[None] / 255, info=json.dumps(info))
    (path,) = output.iterdir()
    mark = read_mark(path.read_bytes())
    assert mark is not None
    assert mark.source_type == (COMPOSITE if said == "another" else GENERATED)
    assert mark.system == ("" if said == "another" else "MAI-Image-2.7")
    assert json.loads(read_workflow(path.read_bytes())["workflow"]) == WORKFLOW
    assert np.array_equal(pixels(path), levels)
    assert not any("credentials" in note for note in notes)


def test_an_info_of_any_length_is_no_error(output: Path) -> None:
    info = {"model": "MAI-Image-" + "\u65e5" * 90_000, "prompt": "&" * 90_000}
    for name in ("png", "webp", "jpeg"):
        save(gradient(), format=name, info=json.dumps(info))
    assert len([path for path in output.iterdir() if read_mark(path.read_bytes())]) == 3


def test_an_info_that_names_what_the_store_lacks_is_no_error(output: Path) -> None:
    info = json.dumps({"model": "MAI-Image-2.7", "images": [{"key": "../" * 20}, {"key": 7}, 3]})
    save(gradient(), info=info)
    for said in ("", "no JSON", "[]", "{}", '{"model": 3}', "[" * 100_000):
        save(gradient(), info=said)
    assert len(list(output.iterdir())) == 7


# The mark


@pytest.mark.parametrize(
    ("disclosure", "said"),
    [("AI-generated", GENERATED), ("composite with AI-generated parts", COMPOSITE), ("none", None),
     ("from info", GENERATED)],
)  # fmt: skip
def test_the_mark_says_what_was_chosen(output: Path, disclosure: str, said: str | None) -> None:
    save(gradient(), disclosure=disclosure, info=INFO)
    (path,) = output.iterdir()
    mark = read_mark(path.read_bytes())
    assert (mark and mark.source_type) == said


def test_a_loaded_image_that_nothing_says_is_generated_is_not_marked(
    output: Path, graph: Any
) -> None:
    graph({"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
           "9": {"class_type": "MAISaveImage", "inputs": {"images": ["1", 0]}}})  # fmt: skip
    save(gradient())
    (path,) = output.iterdir()
    assert read_mark(path.read_bytes()) is None


LOAD = {"class_type": "LoadImage", "inputs": {"image": "a.png"}}
MAKE = {"class_type": "MAIGenerate", "inputs": {"prompt": "x", "model": "MAI-Image-2.6"}}


@pytest.mark.parametrize(
    ("between", "said"),
    [
        ({"class_type": "ImageScale", "inputs": {"image": ["2", 0]}}, GENERATED),
        ({"class_type": "MAIStitch", "inputs": {"image": ["2", 0], "stitch": ["4", 2]}}, COMPOSITE),
        ({"class_type": "ImageCompositeMasked",
          "inputs": {"destination": ["1", 0], "source": ["2", 0]}}, COMPOSITE),
        ({"class_type": "JoinImageWithAlpha",
          "inputs": {"image": ["2", 0], "alpha": ["1", 1]}}, GENERATED),
        ({"class_type": "MAIEdit", "inputs": {"images.image_1": ["1", 0]}}, GENERATED),
    ],
)  # fmt: skip
def test_the_graph_says_whether_an_image_is_a_composite(
    output: Path, graph: Any, between: dict[str, Any], said: str
) -> None:
    graph({"1": LOAD, "2": MAKE, "3": between,
           "4": {"class_type": "MAICrop", "inputs": {"image": ["1", 0]}},
           "9": {"class_type": "MAISaveImage", "inputs": {"images": ["3", 0]}}})  # fmt: skip
    save(gradient())
    (path,) = output.iterdir()
    mark = read_mark(path.read_bytes())
    assert mark is not None
    assert mark.source_type == said


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [("LoadImageMask", ("MASK",)), ("ImageToMask", ("MASK",)), ("GetImageSize", ("INT", "INT"))],
)
def test_a_mask_or_a_size_of_a_loaded_image_makes_no_composite(
    output: Path, graph: Any, monkeypatch: pytest.MonkeyPatch, kind: str, outputs: tuple[str, ...]
) -> None:
    known = SimpleNamespace(RETURN_TYPES=outputs)
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, kind, known)
    graph({"1": LOAD, "2": MAKE, "3": {"class_type": kind, "inputs": {"image": ["1", 0]}},
           "4": {"class_type": "Any", "inputs": {"image": ["2", 0], "by": ["3", 0]}},
           "9": {"class_type": "MAISaveImage", "inputs": {"images": ["4", 0]}}})  # fmt: skip
    save(gradient())
    (path,) = output.iterdir()
    mark = read_mark(path.read_bytes())
    assert mark is not None
    assert mark.source_type == GENERATED


def test_a_masked_edit_is_a_composite_without_its_info_too(output: Path, graph: Any) -> None:
    graph({"1": MAKE, "2": {"class_type": "MAIEdit", "inputs": {"mask": ["1", 2]}},
           "9": {"class_type": "MAISaveImage", "inputs": {"images": ["2", 0]}}})  # fmt: skip
    save(gradient())
    (path,) = output.iterdir()
    mark = read_mark(path.read_bytes())
    assert mark is not None
    assert mark.source_type == COMPOSITE


def test_of_images_of_two_nodes_only_what_both_share_is_said(output: Path, graph: Any) -> None:
    other = {"class_type": "MAIGenerate", "inputs": {"prompt": "y", "model": "MAI-Image-2.6"}}
    graph({"1": MAKE, "2": other,
           "3": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["2", 0]}},
           "9": {"class_type": "MAISaveImage", "inputs": {"images": ["3", 0]}}})  # fmt: skip
    save(gradient(), info=INFO)
    (path,) = output.iterdir()
    mark = read_mark(path.read_bytes())
    assert mark == Mark(GENERATED, "MAI-Image-2.6", "2.6", "")


def test_neither_prompt_nor_workflow_is_written_where_comfyui_shall_write_no_metadata(
    output: Path, graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph({"1": MAKE})
    monkeypatch.setattr(save_image.args, "disable_metadata", True)
    for name in ("png", "webp", "jpeg"):
        save(gradient(), format=name, info=INFO)
    assert sorted(path.suffix for path in output.iterdir()) == [".jpg", ".png", ".webp"]
    for path in output.iterdir():
        assert b"fox" not in path.read_bytes()
        assert read_mark(path.read_bytes()) is not None


# Formats


@pytest.mark.parametrize("name", ["png", "webp", "jpeg", "avif"])
def test_every_format_has_the_mark_and_what_the_page_needs(
    output: Path, graph: Any, name: str
) -> None:
    graph({"1": MAKE})
    if name == "avif" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    save(gradient(), format=name, info=INFO)
    (path,) = (path for path in output.iterdir() if path.suffix != ".json")
    data = path.read_bytes()
    image = Image.open(path)
    assert image.format == name.upper()
    mark = mark_of_packet(image.info["xmp"]) if name == "avif" else read_mark(data)
    assert mark is not None
    assert (mark.source_type, mark.prompt) == (GENERATED, "a fox")
    if name == "jpeg":
        assert json.loads(path.with_suffix(".json").read_text()) == WORKFLOW
    elif name == "avif":
        assert json.loads(image.getexif()[0x010F].partition(":")[2]) == WORKFLOW
    else:
        assert json.loads(read_workflow(data)["workflow"]) == WORKFLOW


def test_png_and_lossless_webp_keep_every_pixel_with_its_alpha(output: Path) -> None:
    levels = torch.randint(0, 256, (1, 37, 53, 4), generator=torch.Generator().manual_seed(1))
    images, mask = levels[..., :3] / 255, 1 - levels[..., 3] / 255
    for given in ({"format": "png"}, {"format": "webp", "lossless": True}):
        save(images, mask=mask, **given)
    wanted = levels[0].numpy()
    assert np.array_equal(pixels(output / "MAI_00001_.png"), wanted)
    written = pixels(output / "MAI_00002_.webp")
    assert np.array_equal(written, wanted)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 700, 3), (700, 1, 4), (300, 5000, 3)])
def test_a_png_is_what_was_given_whatever_its_shape(shape: tuple[int, ...]) -> None:
    for levels in (np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8),
                   np.full(shape, 7, np.uint8)):  # fmt: skip
        decoded = np.asarray(Image.open(io.BytesIO(write_png(levels))))
        assert np.array_equal(decoded.reshape(shape), levels)


def test_a_format_that_pillow_lacks_is_a_clear_error(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    for name in ("webp", "avif"):
        with pytest.raises(InputError, match=f"can't write {name.upper()}"):
            save(gradient(), format=name)
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("name", ["webp", "jpeg", "avif"])
def test_an_image_that_is_too_large_for_a_format_is_a_clear_error(output: Path, name: str) -> None:
    if name == "avif" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    with pytest.raises(ImageError, match="70000 x 1 can't be written"):
        save(torch.zeros(1, 1, 70_000, 3), format=name)
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("linked", [{"format": "gif"}, {"disclosure": "AI"}])
def test_what_no_list_offers_is_named_with_what_it_offers(
    output: Path, linked: dict[str, str]
) -> None:
    with pytest.raises(InputError, match=r"Choose one of (png, webp|from info, AI-generated)"):
        save(gradient(), info=INFO, **linked)
    assert list(output.iterdir()) == []


def test_what_a_format_cannot_hold_is_refused(output: Path) -> None:
    with pytest.raises(ImageError, match="JPEG can't be transparent"):
        save(gradient(), format="jpeg", mask=torch.ones(1, 64, 64))
    for name in ("jpeg", "avif"):
        with pytest.raises(InputError, match="can't keep every pixel"):
            save(gradient(), format=name, lossless=True)
    save(gradient(), format="jpeg", mask=torch.zeros(1, 64, 64))
    assert [path.name for path in output.iterdir()] == ["MAI_00001_.jpg"]


# Names


@pytest.mark.parametrize(
    "prefix", ["..", "../a", "a/../../b", "/etc/a", "C:\\a", "~/a", "x" * 300, "con", "a/NUL/b", ""]
)
def test_a_name_out_of_the_folder_or_that_no_system_takes_is_refused(
    output: Path, prefix: str
) -> None:
    assert MAISaveImage.validate_inputs(filename_prefix=prefix) is not True
    with pytest.raises(InputError):
        save(gradient(), filename_prefix=prefix)
    assert list(output.iterdir()) == []
    assert [path.name for path in output.parent.iterdir()] == ["output"]


def test_a_name_that_comes_through_a_link_is_not_judged_before_the_run() -> None:
    assert MAISaveImage.validate_inputs(filename_prefix=None) is True


def test_subfolders_and_core_s_variables_are_those_of_save_image(output: Path) -> None:
    result = save(gradient(2), filename_prefix="day/%width%x%height%_%batch_num%")
    names = ["64x64_0_00001_.png", "64x64_1_00002_.png"]
    assert sorted(path.name for path in (output / "day").iterdir()) == names
    assert result.ui["images"] == [
        {"filename": name, "subfolder": "day", "type": "output"} for name in names
    ]


def test_counters_go_on_after_every_file_of_that_name(output: Path) -> None:
    (output / "MAI_00041_.png").write_bytes(b"core's")
    (output / "MAI_00042_.json").write_bytes(b"somebody's")
    save(gradient(2), format="webp")
    assert sorted(path.name for path in output.glob("*.webp")) == [
        "MAI_00043_.webp", "MAI_00044_.webp"
    ]  # fmt: skip


def test_nodes_that_save_at_once_take_numbers_of_their_own(output: Path, graph: Any) -> None:
    graph({"1": MAKE})

    async def at_once() -> None:
        given = {"filename_prefix": "MAI", "info": INFO}
        await asyncio.gather(*(MAISaveImage.execute(images=gradient(2), format=name, **given)
                               for name in ("png", "webp", "jpeg")))  # fmt: skip

    asyncio.run(at_once())
    stems = [path.stem for path in output.iterdir() if path.suffix != ".json"]
    assert sorted(stems) == [f"MAI_0000{number}_" for number in range(1, 7)]
    jpegs = {path.stem for path in output.glob("*.jpg")}
    assert {path.stem for path in output.glob("*.json")} == jpegs


def test_names_that_core_doesn_t_count_are_not_written_to_be_found_taken(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 30):
        (output / f"a0_{number:05}_.png").write_bytes(b"")
    really, written = os.fsync, []
    monkeypatch.setattr(files.os, "fsync", lambda file: (written.append(file), really(file)))
    save(gradient(), filename_prefix="a%batch_num%")
    assert (output / "a0_00030_.png").read_bytes()
    assert len(written) == 2  # the file and its folder


def test_no_file_is_replaced_if_another_takes_the_name_meanwhile(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = files.os.link

    def late(source: Any, target: Any) -> None:
        if Path(target).name == "MAI_00001_.png":
            Path(target).write_bytes(b"somebody's")
        really(source, target)

    monkeypatch.setattr(files.os, "link", late)
    save(gradient())
    assert (output / "MAI_00001_.png").read_bytes() == b"somebody's"
    assert sorted(path.name for path in output.iterdir()) == ["MAI_00001_.png", "MAI_00002_.png"]


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from mai_image.mai.disk import write_new
folder, name = Path(sys.argv[2]), sys.argv[3]
for number in range(200):
    try:
        write_new(folder, {f"{number}.json": name.encode(), f"{number}.png": name.encode()})
    except FileExistsError:
        pass
"""


def test_two_processes_never_replace_or_mix_each_other_s_files(tmp_path: Path) -> None:
    pack = Path(save_image.__file__).parents[2]
    both = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(pack), str(tmp_path), name])
        for name in ("one", "two")
    ]
    assert [process.wait(120) for process in both] == [0, 0]
    for number in range(200):
        assert (tmp_path / f"{number}.json").read_bytes() == (
            tmp_path / f"{number}.png"
        ).read_bytes()
    assert len(list(tmp_path.iterdir())) == 400


# A disk that is full


def test_a_full_disk_leaves_what_was_whole_and_nothing_half_written(
    output: Path, graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph({"1": MAKE})
    really, written = os.fsync, []

    def fsync(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 5:  # an image is two files and their folder: the second one's JPEG
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(StoreError, match="No space left"):
        save(gradient(3), format="jpeg", info=INFO)
    monkeypatch.undo()
    left = sorted(path.name for path in output.iterdir())
    assert left == ["MAI_00001_.jpg", "MAI_00001_.json"]


def test_a_stranger_s_temporary_file_stays_and_our_own_old_one_goes(output: Path) -> None:
    theirs, ours = output / "notes.tmp", output / f"12-{'a' * 32}.tmp"
    for path in (theirs, ours):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - 7200,) * 2)
    save(gradient())
    assert theirs.exists()
    assert not ours.exists()


def test_a_file_is_for_everybody_to_read_as_core_s_are(output: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no such rights")
    umask = os.umask(0o022)
    try:
        save(gradient())
    finally:
        os.umask(umask)
    (path,) = output.iterdir()
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_store_that_cannot_be_read_keeps_no_image_from_being_saved(
    emulator: Any, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, info, _ = make()

    def broken(key: str) -> None:
        raise StoreError("broken", "")

    monkeypatch.setattr(shared_client.get().store, "get", broken)
    save(images, info=info)
    (path,) = output.iterdir()
    assert read_mark(path.read_bytes()) is not None
