"""`mai-image mark` and `inspect`, judged by exiftool, Pillow and c2pa-python."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import credentials
import numpy as np
import pytest
from mai_image import emulator as emulators
from mai_image.cli import main
from mai_image.emulator.images import with_credentials
from mai_image.mai.formats import (
    GENERATED,
    Mark,
    build_packet,
    find_manifest,
    read_mark,
    read_workflow,
)
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

KINDS = ("png", "jpeg", "webp")

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def image_file(path: Path, **options: Any) -> Path:
    """A small image with alpha where its format has it."""
    levels = np.random.default_rng(3).integers(0, 256, (40, 56, 4), dtype=np.uint8)
    image = Image.fromarray(levels)
    if path.suffix in (".jpeg", ".jpg"):
        image = image.convert("RGB")
    image.save(path, **options)
    return path


def exif(path: Path) -> dict[str, Any]:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool, the independent reader, isn't installed")
    command = ["exiftool", "-j", "-a", "-validate", "-warning", str(path)]
    said = subprocess.run([*command, "-XMP:all", "-EXIF:all"], capture_output=True, check=True)
    facts: dict[str, Any] = json.loads(said.stdout)[0]
    return facts


def inspected(path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, "inspect", str(path), "--json"]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts


@pytest.mark.parametrize("kind", KINDS)
def test_a_mark_is_read_by_others_and_no_pixel_changes(kind: str, tmp_path: Path, capsys) -> None:
    path = image_file(tmp_path / f"a.{kind}")
    before = np.asarray(Image.open(path))
    assert main(["mark", str(path), "--model", "MAI-Image-2.7", "--prompt", "cat & <dog>"]) == 0
    facts = exif(path)
    assert facts["DigitalSourceType"] == f"{SOURCE}{GENERATED}"
    assert (facts["AISystemUsed"], facts["AIPromptInformation"]) == ("MAI-Image-2.7", "cat & <dog>")
    assert facts["Validate"].startswith("OK")
    assert np.array_equal(np.asarray(Image.open(path)), before)
    once = path.read_bytes()
    assert main(["mark", str(path)]) == 0
    assert path.read_bytes() == once
    assert "was marked before" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_photograph_says_besides_stays(kind: str, tmp_path: Path) -> None:
    exif_of = Image.Exif()
    exif_of[0x010F] = "Camera"
    packet = (
        build_packet(Mark("x"))
        .replace(
            b"<Iptc4xmpExt:DigitalSourceType>",
            b"<dc:rights xmlns:dc='http://purl.org/dc/elements/1.1/'>mine</dc:rights><!--",
        )
        .replace(b"</Iptc4xmpExt:DigitalSourceType>", b"-->")
    )
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
    more: dict[str, Any] = {"pnginfo": texts} if kind == "png" else {"xmp": packet}
    path = image_file(tmp_path / f"a.{kind}", exif=exif_of, **more)
    assert main(["mark", str(path), "--composite"]) == 0
    facts = exif(path)
    assert facts["DigitalSourceType"] == f"{SOURCE}compositeWithTrainedAlgorithmicMedia"
    assert (facts["Make"], facts["Rights"]) == ("Camera", "mine")


def test_what_a_mark_lacks_is_added_to_it_once(tmp_path: Path, capsys) -> None:
    path = image_file(tmp_path / "a.png")
    for more in ([], ["--model", "MAI-Image-2.7"], ["--model", "MAI-Image-2.6"]):
        assert main(["mark", str(path), *more]) == 0
    facts = exif(path)
    assert facts["AISystemUsed"] == "MAI-Image-2.7"
    assert path.read_bytes().count(b"<Iptc4xmpExt:DigitalSourceType>") == 1
    assert path.read_bytes().count(b"<Iptc4xmpExt:AISystemUsed>") == 1


RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


@pytest.mark.parametrize("kind", KINDS)
def test_xmp_that_says_nothing_gets_the_mark_where_others_read_it(
    kind: str, tmp_path: Path
) -> None:
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>'
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", packet)
    more: dict[str, Any] = {"pnginfo": texts} if kind == "png" else {"xmp": packet.encode()}
    path = image_file(tmp_path / f"a.{kind}", **more)
    assert main(["mark", str(path)]) == 0
    assert read_mark(path.read_bytes()) == Mark(GENERATED)
    facts = exif(path)
    assert facts["DigitalSourceType"] == f"{SOURCE}{GENERATED}"
    assert facts["Validate"] == "OK"


def test_space_that_a_program_left_in_its_xmp_is_used_where_there_is_no_other(
    tmp_path: Path,
) -> None:
    start, end = build_packet(Mark("x")).split(b"<rdf:Description", 1)
    rights = b"<dc:rights>" + b"y" * 62_000 + b"</dc:rights>"
    about = b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">'
    whole = start + about + rights + b"</rdf:Description>" + end[end.index(b"</rdf:RDF>") :]
    packet = whole.replace(b"<?xpacket end", b" " * 3000 + b"<?xpacket end")
    path = image_file(tmp_path / "a.jpg", xmp=packet)
    assert main(["mark", str(path), "--model", "MAI-Image-2.7"]) == 0
    facts = exif(path)
    assert (facts["AISystemUsed"], len(facts["Rights"])) == ("MAI-Image-2.7", 62_000)
    assert facts["Validate"] == "OK"


def test_what_stands_behind_an_image_stays_there(tmp_path: Path) -> None:
    for kind in KINDS:
        path = image_file(tmp_path / f"a.{kind}")
        path.write_bytes(path.read_bytes() + b"behind it")
        assert main(["mark", str(path)]) == 0
        assert path.read_bytes().endswith(b"behind it")


def test_what_is_no_file_is_refused_at_once(tmp_path: Path, capsys) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("Windows has no such pipes")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name in ("pipe.png", "loop.png", "."):
        for command, code in (("mark", 1), ("inspect", 2)):
            assert main([command, str(tmp_path / name)]) == code


def test_what_a_file_says_of_itself_is_not_overwritten(tmp_path: Path, capsys) -> None:
    path = image_file(tmp_path / "a.jpg")
    assert main(["mark", str(path), "--composite"]) == 0
    before = path.read_bytes()
    assert main(["mark", str(path)]) == 1
    assert "says already" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("remote", [False, True])
def test_a_file_with_content_credentials_is_refused_and_left_alone(
    kind: str, remote: bool, tmp_path: Path, capsys
) -> None:
    signed = credentials.signed(image_file(tmp_path / f"a.{kind}").read_bytes(), kind, remote)
    path, other = tmp_path / f"b.{kind}", image_file(tmp_path / f"c.{kind}")
    path.write_bytes(signed)
    assert main(["mark", str(path), str(other)]) == 1
    assert "content credentials" in capsys.readouterr().err
    assert path.read_bytes() == signed
    assert read_mark(other.read_bytes()) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_manifest_is_valid_until_one_pixel_changes(kind: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(credentials.signed(image_file(path).read_bytes(), kind))
    manifest = inspected(path, capsys)["manifest"]
    assert (manifest["state"], manifest["signed_by"]) == ("valid", credentials.SIGNER)
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    broken = inspected(path, capsys)["manifest"]
    assert broken["state"] == "invalid"
    assert any("ismatch" in reason for reason in broken["reasons"])


@pytest.mark.parametrize("kind", [*KINDS, "avif"])
def test_nothing_that_a_file_names_is_fetched(kind: str, tmp_path: Path, capsys) -> None:
    if kind == "avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    with credentials.listening() as (address, asked):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(credentials.signed(image_file(path).read_bytes(), kind, address))
        assert inspected(path, capsys)["manifest"] == {"state": "elsewhere", "address": address}
        assert asked == []


def test_an_address_in_an_avif_s_own_xmp_is_seen(tmp_path: Path, capsys) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    about = '<rdf:Description xmlns:t="http://purl.org/dc/terms/" t:provenance="http://a/b"/>'
    packet = f'<rdf:RDF xmlns:rdf="{RDF}">{about}</rdf:RDF>'.encode()
    path = image_file(tmp_path / "a.avif", xmp=packet)
    assert inspected(path, capsys)["manifest"] == {"state": "elsewhere", "address": "http://a/b"}


def test_a_placeholder_and_garbage_are_no_valid_manifest(tmp_path: Path, capsys) -> None:
    pytest.importorskip("c2pa", reason="c2pa-python isn't installed")
    path = image_file(tmp_path / "a.png")
    path.write_bytes(with_credentials(path.read_bytes()))
    assert inspected(path, capsys)["manifest"]["state"] == "invalid"


def test_without_c2pa_python_a_manifest_is_not_checked(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image_file(tmp_path / "a.png")
    path.write_bytes(with_credentials(path.read_bytes()))
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    assert inspected(path, capsys)["manifest"]["state"] == "not checked"


def test_the_workflow_is_found_in_the_file_or_beside_it(tmp_path: Path, capsys) -> None:
    texts = PngInfo()
    texts.add_text("workflow", json.dumps({"nodes": [{}, {}, {}]}))
    inside = image_file(tmp_path / "a.png", pnginfo=texts)
    beside = image_file(tmp_path / "b.jpg")
    beside.with_suffix(".json").write_text(json.dumps({"1": {"class_type": "A"}}))
    webp = Image.Exif()
    webp[0x0110] = 'prompt:{"1": {"class_type": "A"}, "2": {"class_type": "B"}}'
    other = image_file(tmp_path / "c.webp", exif=webp)
    assert inspected(inside, capsys)["workflow"] == {"where": "in the file", "nodes": 3}
    assert inspected(beside, capsys)["workflow"]["nodes"] == 1
    assert inspected(other, capsys)["workflow"] == {"where": "in the file", "nodes": 2}


def test_xmp_that_cannot_be_read_hides_nothing_else_of_a_file(tmp_path: Path, capsys) -> None:
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>")
    texts.add_text("workflow", json.dumps({"nodes": [{}]}))
    facts = inspected(image_file(tmp_path / "a.png", pnginfo=texts), capsys)
    assert "document type" in facts["mark"]["error"]
    assert facts["workflow"] == {"where": "in the file", "nodes": 1}
    assert facts["manifest"] == {"state": "none"}


def test_a_damaged_avif_is_an_error_that_says_so(tmp_path: Path, capsys) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    whole = image_file(tmp_path / "a.avif").read_bytes()
    path = tmp_path / "b.avif"
    for at in range(12, 300):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 255,)) + whole[at + 1 :])
        assert main(["inspect", str(path)]) in (0, 2)


def test_of_a_thousand_texts_of_one_name_the_first_is_read() -> None:
    one = b"prompt:one\0"
    entries = [struct.pack("<HHII", 0x110, 2, len(one), 8 + 2 + 12 * 1000)] + [
        struct.pack("<HHII", 0x110, 2, 11, 8 + 2 + 12 * 1000 + 11)
    ] * 999
    exif_of = b"II*\0" + struct.pack("<IH", 8, 1000) + b"".join(entries) + one + b"prompt:two\0"
    chunk = b"EXIF" + struct.pack("<I", len(exif_of)) + exif_of
    webp = b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
    assert read_workflow(webp) == {"prompt": "one"}


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "crc", "xmp"])
def test_a_file_that_cannot_be_followed_is_refused_and_left_alone(
    damage: str, tmp_path: Path, capsys
) -> None:
    path = image_file(tmp_path / "a.png")
    data = path.read_bytes()
    damaged = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "text": b"no image",
        "crc": data[:20] + bytes((data[20] ^ 1,)) + data[21:],
        "xmp": image_file(
            tmp_path / "x.webp", xmp=b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"
        ).read_bytes(),
    }[damage]
    path.write_bytes(damaged)
    assert main(["mark", str(path)]) == 1
    assert path.read_bytes() == damaged
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".tmp"] == []
    assert main(["mark", str(tmp_path / "missing.png")]) == 1


@pytest.mark.parametrize("credentials_chunk", ["yes", "no"])
def test_what_the_command_line_saves_is_what_was_sent_and_the_store_knows_it(
    credentials_chunk: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    words = ["--folder", str(folder)]
    prompt = f"a fox [[fault credentials={credentials_chunk}]]"
    with emulators.start() as service:
        monkeypatch.setenv("AZURE_ENDPOINT", service.url)
        monkeypatch.setenv("AZURE_API_KEY", emulators.DEFAULT_KEY)
        out = tmp_path / "fox.png"
        assert main([*words, "generate", prompt, "--out", str(out), "--json"]) == 0
        rows = tmp_path / "rows.txt"
        rows.write_text(prompt)
        assert main([*words, "batch", str(rows), "--out", str(tmp_path / "many"), "--yes"]) == 0
    capsys.readouterr()
    (kept,) = (path.read_bytes() for path in (folder / "store").glob("??/*.png"))
    (batch,) = (path.read_bytes() for path in (tmp_path / "many").glob("*.png"))
    assert out.read_bytes() == kept == batch
    assert (find_manifest(kept) is not None) is (credentials_chunk == "yes")
    if credentials_chunk == "no":
        assert main(["mark", str(out)]) == 0
        capsys.readouterr()
    stored = inspected(out, capsys, *words)["store"]
    assert (stored["model"], stored["prompt"]) == ("MAI-Image-2.7", prompt)
    assert stored["cost_usd"] > 0
    assert len(stored["key"]) == 64
