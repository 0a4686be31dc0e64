"""Photographs are sent upright, without what they say of their maker, with all their pixels."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from mai_image.cli.image_files import read_reference
from mai_image.cli.metadata import without_metadata
from mai_image.mai.errors import ImageError
from PIL import Image, PngImagePlugin

SECRET = b"Serial-4711"
MODEL = "MAI-Image-2.7"

RED, BLUE = (255, 0, 0), (0, 0, 255)


def two_coloured(width: int = 96, height: int = 64) -> Image.Image:
    """Red above, blue below."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (0, height // 2, width, height))
    return image


def photograph(kind: str, orientation: int = 1, **options: object) -> bytes:
    """A file with EXIF, GPS, a comment and something after its end, each with the secret in it."""
    exif = Image.Exif()
    exif[271] = exif[305] = SECRET.decode()
    exif[274] = orientation
    exif.get_ifd(0x8825)[29] = SECRET.decode()
    stream = io.BytesIO()
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Comment", SECRET.decode())
        texts.add_itxt("XML:com.adobe.xmp", SECRET.decode())
        options["pnginfo"] = texts
    else:
        options["comment"] = SECRET
    two_coloured().save(stream, kind, exif=exif, icc_profile=b"profile " + SECRET, **options)
    return stream.getvalue() + b"film" + SECRET


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "restart_marker_blocks": 2}),
        ("JPEG", {"quality": 100, "subsampling": 0}),
    ],
)
def test_metadata_goes_and_every_pixel_stays(
    kind: str, options: dict[str, object], tmp_path: Path
) -> None:
    data = photograph(kind, **options)
    assert data.count(SECRET) >= 4
    path = tmp_path / "photo"
    path.write_bytes(data)
    reference = read_reference(path, MODEL)
    assert SECRET not in reference.data
    assert pixels(reference.data) == pixels(data)
    assert reference.media_type == f"image/{kind.lower()}"
    assert without_metadata(reference.data) == (reference.data, 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_photograph_is_sent_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(photograph(kind, orientation, **({"quality": 95} if kind == "JPEG" else {})))
    reference = read_reference(path, MODEL)
    assert SECRET not in reference.data
    from PIL import ImageOps

    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    assert (reference.width, reference.height) == upright.size
    assert pixels(reference.data) == upright.tobytes()


def test_without_pillow_a_turned_photograph_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photograph("JPEG", 6))
    upright = tmp_path / "upright.jpg"
    upright.write_bytes(photograph("JPEG", 1))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImageError, match="pip install pillow"):
        read_reference(path, MODEL)
    assert SECRET not in read_reference(upright, MODEL).data


def test_metadata_is_kept_for_who_wants_it(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(photograph("PNG", 6))
    assert read_reference(path, MODEL, keep_metadata=True).data == path.read_bytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_that_is_cut_anywhere_is_an_error_or_whole(kind: str, tmp_path: Path) -> None:
    data = photograph(kind)
    path = tmp_path / "photo"
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        try:
            reference = read_reference(path, MODEL)
        except ImageError:
            continue
        assert SECRET not in reference.data
