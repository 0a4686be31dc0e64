"""index.html of a batch: all of its images on pages that open without a server or a network.

500 images a page, with thumbnails in a folder beside it, prompts, prices and errors; a field that
filters by text, and a click that enlarges. Everything that rows or the service say is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .batch_folder import SHEET, BatchFolder

logger = logging.getLogger(__name__)

THUMBNAILS = "index_files"
"""The folder of the thumbnails, beside index.html."""

IMAGES_A_PAGE = 500

SIDE = 256
"""Pixels of a thumbnail's longer side."""

_SCRIPT = """
const field = document.querySelector("input"), dialog = document.querySelector("dialog");
const figures = [...document.querySelectorAll("figure")], count = document.querySelector("output");
field.addEventListener("input", () => {
  const wanted = field.value.toLowerCase().trim();
  let shown = 0;
  for (const figure of figures) {
    const text = figure.textContent.toLowerCase();
    figure.hidden = !text.includes(wanted);
    shown += figure.hidden ? 0 : 1;
  }
  count.textContent = `${shown} of ${figures.length} shown`;
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("figure > a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  dialog.querySelector("img").src = link.href;
  dialog.querySelector("img").alt = link.querySelector("img").alt;
  dialog.showModal();
});
dialog.addEventListener("click", () => dialog.close());
"""

_STYLE = """
:root { color-scheme: light dark; font: 14px/1.4 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 1800px; padding: 1rem; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; }
header { margin-bottom: 1rem; }
h1 { font-size: 1.2rem; margin: 0; }
input { font: inherit; padding: .3rem .5rem; min-width: 16rem; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); }
nav { margin: 1rem 0; display: flex; flex-wrap: wrap; gap: .6rem; }
figure { margin: 0; border: 1px solid #8886; border-radius: 6px; overflow: hidden; }
figure[hidden] { display: none; }
figure > a { display: block; background: #8882; }
figure img { display: block; width: 100%; height: 220px; object-fit: contain; }
figcaption { padding: .5rem; overflow-wrap: anywhere; }
figcaption p { margin: .3rem 0; max-height: 8.4em; overflow: auto; white-space: pre-wrap; }
.failed { border-color: #c33; }
.failed strong { color: light-dark(#a11, #f99); }
small { opacity: .85; }
dialog { border: 0; padding: 0; max-width: 96vw; max-height: 96vh; background: transparent; }
dialog img { max-width: 96vw; max-height: 94vh; display: block; }
dialog::backdrop { background: #000c; }
"""


def has_pillow() -> bool:
    """Whether thumbnails can be made."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        return False
    return True


def draw_thumbnail(folder: BatchFolder, file: str, data: bytes) -> None:
    """Write the thumbnail of an image of the folder. One that can't be made is left out."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            image.draft("RGB", (SIDE, SIDE))
            image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=1.5)
            small = image.convert("RGBA") if image.has_transparency_data else image.convert("RGB")
            if small.mode == "RGBA":
                white = Image.new("RGBA", small.size, "white")
                small = Image.alpha_composite(white, small).convert("RGB")
            stream = io.BytesIO()
            small.save(stream, "JPEG", quality=82)
        folder.write(thumbnail_of(file), stream.getvalue(), durable=False)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        logger.warning("no thumbnail of %s: %s", file, error)


def thumbnail_of(file: str) -> str:
    """The path of an image's thumbnail below the batch's folder."""
    name = hashlib.sha256(file.encode("utf-8", "backslashreplace")).hexdigest()[:24]
    return f"{THUMBNAILS}/{name}.jpg"


def write_sheet(
    folder: BatchFolder, results: Sequence[Mapping[str, Any]], errors: Sequence[Mapping[str, Any]]
) -> Path:
    """Write index.html and its further pages, and the thumbnails that are missing; gives its path.

    `results` and `errors` are the lines of both lists.
    """
    for facts in results:
        image, thumbnail = folder.root / facts["file"], folder.root / thumbnail_of(facts["file"])
        with suppress(OSError):
            if not thumbnail.is_file() or thumbnail.stat().st_mtime < image.stat().st_mtime:
                draw_thumbnail(folder, facts["file"], image.read_bytes())
    entries = sorted([*results, *errors], key=lambda facts: (_line(facts), "file" in facts))
    pages = [entries[i : i + IMAGES_A_PAGE] for i in range(0, len(entries), IMAGES_A_PAGE)] or [[]]
    title = f"{len(results):,} image{'s' * (len(results) != 1)}"
    title += f", {len(errors):,} row{'s' * (len(errors) != 1)} failed" if errors else ""
    for number, page in enumerate(pages, start=1):
        text = _page(title, page, number, len(pages))
        folder.write(_name(number), text.encode("utf-8", "backslashreplace"))
    beyond = len(pages) + 1
    while (path := folder.root / _name(beyond)).is_file():
        path.unlink()
        beyond += 1
    return folder.root / _name(1)


def _name(number: int) -> str:
    return SHEET if number == 1 else f"index_{number}.html"


def _line(facts: Mapping[str, Any]) -> int:
    line = facts.get("error_line", facts.get("line"))
    return line if isinstance(line, int) else 0


def _page(title: str, entries: Sequence[Mapping[str, Any]], number: int, count: int) -> str:
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    links = "".join(
        f"<strong>{i}</strong>" if i == number else f'<a href="{_name(i)}">{i}</a>'
        for i in range(1, count + 1)
    )
    pages = f"<nav aria-label='Pages'>Page {links}</nav>" if count > 1 else ""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body>"
        f"<header><h1>{html.escape(title)}</h1><input type='search' aria-label='Filter by text' "
        f"placeholder='Filter by text'><output>{len(entries)} on this page</output></header>"
        f"{pages}\n<main>\n{''.join(map(_figure, entries))}</main>\n{pages}"
        f"<dialog aria-label='Image'><img alt=''></dialog>"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _figure(facts: Mapping[str, Any]) -> str:
    return _image_figure(facts) if "file" in facts else _error_figure(facts)


def _image_figure(facts: Mapping[str, Any]) -> str:
    file, prompt = str(facts["file"]), str(facts.get("prompt") or "")
    address = quote(file, errors="replace")
    price = "from the store" if facts.get("from_store") else f"${facts.get('usd') or 0:.4f}"
    about = " · ".join(
        [
            str(facts.get("model", "")),
            str(facts.get("size", "")),
            f"seed {facts.get('seed')}",
            price,
        ]
    )
    notes = "".join(f"<br><small>{html.escape(str(each))}</small>" for each in facts["notes"])
    return (
        f'<figure><a href="{html.escape(address)}"><img loading="lazy" '
        f'src="{html.escape(quote(thumbnail_of(file)))}" alt="{html.escape(prompt[:200])}"></a>'
        f"<figcaption><strong>{html.escape(file)}</strong><p>{html.escape(prompt)}</p>"
        f"<small>{html.escape(about)}</small>{notes}</figcaption></figure>\n"
    )


def _error_figure(facts: Mapping[str, Any]) -> str:
    known = {
        name: facts.get(f"error_{name}", facts.get(name))
        for name in ("line", "message", "perhaps_billed")
    }
    billed = " (perhaps billed)" if known["perhaps_billed"] else ""
    return (
        f'<figure class="failed"><figcaption><strong>{html.escape(str(facts.get("id")))}: failed'
        f"{billed}, line {html.escape(str(known['line']))}</strong>"
        f"<p>{html.escape(str(known['message']))}</p>"
        f"<p>{html.escape(str(facts.get('prompt') or ''))}</p></figcaption></figure>\n"
    )
