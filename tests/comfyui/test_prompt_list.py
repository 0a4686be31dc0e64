"""MAI Prompt List in a real ComfyUI: a list's rows side by side, and none costs another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from mai_image import emulator
from mai_image.demo.client import ComfyUIClient, Finished, Graph, Refused
from mai_image.demo.launch import ComfyUIServer
from PIL import Image

TEXT = "the text below"


@pytest.fixture
def prompt(prompt: str) -> str:
    """A prompt for a cell without quotes."""
    return prompt.replace(",", "")


@pytest.fixture
def folder(server: ComfyUIServer) -> Path:
    """ComfyUI's input folder."""
    return server.base / "input"


@pytest.fixture
def listed(generate: Callable[..., Any]) -> Callable[..., Graph]:
    """Makes a graph: a list, MAI Generate with all of its outputs, Save Image with its names."""

    def graph(file: str = TEXT, template: str = "", start: int = 1, **more: Any) -> Graph:
        own = {"text": more.pop("text", ""), "rows": more.pop("rows", 64)}
        rows = {"file": file, "template": template, "start": start, **own}
        linked = {name: ["1", i] for i, name in enumerate(("width", "height", "seed"), start=1)}
        return {
            "1": {"class_type": "MAIPromptList", "inputs": rows},
            "2": generate(["1", 0], **linked, **{"if_blocked": "skip failures", **more}),  # type: ignore[arg-type]
            "3": {
                "class_type": "SaveImage",
                "inputs": {"images": ["2", 0], "filename_prefix": ["1", 4]},
            },
            "4": {"class_type": "PreviewAny", "inputs": {"source": ["2", 1]}},
        }

    return graph


def run(server: ComfyUIServer, *graphs: Graph) -> list[Finished]:
    async def scenario() -> list[Finished]:
        async with ComfyUIClient(server.url) as client:
            return [await client.run(graph) for graph in graphs]

    return asyncio.run(scenario())


def refusal(server: ComfyUIServer, graph: Graph) -> str:
    with pytest.raises(Refused) as caught:
        run(server, graph)
    return str(caught.value)


def facts(finished: Finished) -> list[dict[str, Any]]:
    """What the output info said of each row."""
    return [json.loads(text) for text in finished.outputs["4"]["text"]]


def csv(folder: Path, name: str, *lines: str) -> str:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


def test_100_rows_run_in_two_runs_and_rows_that_fail_cost_no_other(
    server: ComfyUIServer,
    service: emulator.Emulator,
    folder: Path,
    listed: Callable[..., Graph],
    prompt: str,
) -> None:
    def product(i: int) -> str:
        fails = {7: " [[fault status=400]]", 50: " blockprompt", 90: " [[fault status=500]]"}
        return f"mug{fails.get(i, '')}"

    lines = [f"{i},{product(i)},768x{768 + 16 * (i % 3)},{i},shots/{i:03}" for i in range(1, 101)]
    name = csv(folder, "hundred.csv", "id,product,size,seed,out", *lines)
    template = f"{prompt}, number {{id}}: {{product}}"
    first, second = run(server, listed(name, template), listed(name, template, start=65))
    assert [first.status, second.status] == ["success", "success"]
    saved = [*first.files(), *second.files()]
    expected = [i for i in range(1, 101) if i not in (7, 50, 90)]
    assert len(saved) == len(expected)
    for i, (subfolder, file) in zip(expected, saved, strict=True):
        assert (subfolder, file.split("_")[0]) == (f"shots/{i:03}", f"{i}")
        size = Image.open(server.output / subfolder / file).size
        assert size == (768, 768 + 16 * (i % 3))
    said = [*facts(first), *facts(second)]
    reasons = {i: [*facts["blocked"], *facts.get("failed", [])] for i, facts in enumerate(said, 1)}
    assert {i for i, why in reasons.items() if why} == {7, 50, 90}
    assert said[49]["blocked"]
    assert all(each["perhaps_billed"] for i in (6, 89) for each in said[i]["failed"])
    assert len(service.log.entries) == 100
    assert service.log.billed == 99  # the block and the 500 did work


def test_the_next_run_buys_only_what_failed_and_then_nothing(
    server: ComfyUIServer,
    service: emulator.Emulator,
    listed: Callable[..., Graph],
    prompt: str,
) -> None:
    lines = [prompt, f"{prompt} at night [[fault status=400 first=1]]", f"{prompt} blockprompt"]
    graph = listed(text="\n".join(lines))
    first, second, third = run(server, graph, graph, graph)
    assert [len(each.files()) for each in (first, second)] == [1, 2]
    assert service.log.billed == 3
    assert len(service.log.entries) == 4, "what the filter has stopped isn't paid again"
    assert "2" in third.cached


def test_a_changed_file_is_noticed_by_the_next_run(
    server: ComfyUIServer,
    service: emulator.Emulator,
    folder: Path,
    listed: Callable[..., Graph],
    prompt: str,
) -> None:
    graph = listed(csv(folder, "changing.txt", f"{prompt} one", f"{prompt} two"))
    run(server, graph, graph)
    assert len(service.log.entries) == 2
    csv(folder, "changing.txt", f"{prompt} one", f"{prompt} two", f"{prompt} three")
    (again,) = run(server, graph)
    assert len(again.files()) == 3
    assert len(service.log.entries) == 3


def test_without_a_page_the_node_says_what_to_type_for_the_next_rows(
    server: ComfyUIServer, listed: Callable[..., Graph], prompt: str
) -> None:
    async def scenario() -> list[str]:
        async with ComfyUIClient(server.url) as client:
            text = "id,model,prompt\n" + "".join(f"{i},any,{prompt}\n" for i in range(5))
            await client.run(listed(text=text, rows=2, start=3))
            return client.texts("1")

    (said,) = asyncio.run(scenario())
    assert "rows 3 to 4 of 5 · 1 left: the next run begins with start 5" in said
    assert "model" in said.split("\n")[1]


def test_all_mistakes_are_listed_with_their_lines_before_anything_runs(
    server: ComfyUIServer,
    service: emulator.Emulator,
    folder: Path,
    listed: Callable[..., Graph],
    prompt: str,
) -> None:
    name = csv(
        folder,
        "mistakes.csv",
        "id,prompt,size,image_1,widht",
        f"1,{prompt},100x100,,5",
        f"2,{prompt},,../../secret.png,",
        f"../../x,{prompt},,,",
        f"3,{prompt},,missing.png,",
        '4,"never closed,,,',
    )
    said = refusal(server, listed(name))
    for words in ("line 1:", "line 2:", "line 3:", "line 4:", "line 5:", "line 6:"):
        assert said.count(words) == 1, said
    assert "'../../secret.png' of image_1 is out of the list's folder" in said
    assert "'../../x.png' is out of the folder" in said
    assert not service.log.entries


@pytest.mark.parametrize("file", ["../../../etc/passwd", "/etc/passwd", "no such.csv", "a\0b", ""])
def test_a_list_outside_of_the_input_folder_is_refused(
    server: ComfyUIServer, listed: Callable[..., Graph], file: str
) -> None:
    assert "input folder" in refusal(server, listed(file))


def test_formulas_are_only_texts_and_names_stay_in_the_output_folder(
    server: ComfyUIServer, listed: Callable[..., Graph], prompt: str
) -> None:
    text = f'id,prompt\n"=cmd|\' /C calc\'!A0","=HYPERLINK(1) {prompt}"\n%date%/con.,+1 {prompt}\n'
    assert "can't be a name on every system" in refusal(server, listed(text=text))
    (finished,) = run(server, listed(text=text.replace("con.", "..hidden")))
    assert finished.status == "success"
    found = [(server.output / folder / name).resolve() for folder, name in finished.files()]
    assert len(found) == 2
    assert all(path.is_relative_to(server.output.resolve()) for path in found)


def test_a_line_of_100_mb_is_a_mistake_of_that_line_alone(
    server: ComfyUIServer, folder: Path, listed: Callable[..., Graph], prompt: str
) -> None:
    path = folder / "huge.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write(f"id,prompt\n1,{prompt}\n2,")
        for _ in range(100):
            file.write("x" * 1_000_000)
        file.write(f"\n3,{prompt}\n")
    said = refusal(server, listed(path.name))
    path.unlink()
    assert "The list has a mistake:" in said
    assert "line 3: a row of more than 1,000,000 characters." in said


def test_edits_take_image_1_and_a_row_without_one_is_skipped_alone(
    server: ComfyUIServer, service: emulator.Emulator, folder: Path, prompt: str
) -> None:
    (folder / "shots").mkdir(exist_ok=True)
    for i, colour in enumerate(("red", "green")):
        Image.new("RGB", (640, 480 + 64 * i), colour).save(folder / "shots" / f"{i}.png")
    (folder / "shots" / "broken.png").write_bytes(b"no image")
    images = ["shots/0.png", "", "shots/broken.png", "shots/1.png"]
    lines = [f"{prompt} {i},{image}" for i, image in enumerate(images)]
    name = csv(folder, "edits.csv", "prompt,image_1", *lines)
    graph: Graph = {
        "1": {
            "class_type": "MAIPromptList",
            "inputs": {"file": name, "text": "", "template": "", "start": 1, "rows": 64},
        },
        "2": {
            "class_type": "MAIEdit",
            "inputs": {
                "images.image_1": ["1", 6],
                "prompt": ["1", 0],
                "model": "MAI-Image-2.6",
                "seed": ["1", 3],
                "batch_size": 1,
                "if_blocked": "skip failures",
            },
        },
        "3": {
            "class_type": "SaveImage",
            "inputs": {"images": ["2", 0], "filename_prefix": ["1", 4]},
        },
    }
    (finished,) = run(server, graph)
    assert finished.status == "success"
    sizes = [Image.open(server.output / sub / file).size for sub, file in finished.files()]
    assert sizes == [(640, 480), (640, 544)]
    assert [file.split("_")[0] for _, file in finished.files()] == ["2", "5"]
    assert len(service.log.entries) == 2


def test_a_wrong_key_is_not_tried_for_every_row_and_ends_the_run(
    server: ComfyUIServer, service: emulator.Emulator, listed: Callable[..., Graph], prompt: str
) -> None:
    text = "\n".join(f"{prompt} {i} [[fault status=401]]" for i in range(64))
    (finished,) = run(server, listed(text=text))
    assert finished.status == "error"
    assert len(service.log.entries) < 64


def test_a_refusal_costs_no_row_that_came(
    server: ComfyUIServer, service: emulator.Emulator, listed: Callable[..., Graph], prompt: str
) -> None:
    """What is sent is waited for, and what the store has is free, in spite of a 403."""
    run(server, listed(text=f"{prompt} stored", rows=1))
    lines = [f"{prompt} refused [[fault status=403]]", f"{prompt} sent [[latency 2]]"]
    (finished,) = run(server, listed(text="\n".join([*lines, f"{prompt} stored"])))
    assert finished.status == "success"
    assert len(finished.files()) == 2
    assert service.log.billed == 2


def test_a_list_that_is_uploaded_can_be_chosen_at_once(
    server: ComfyUIServer, listed: Callable[..., Graph], prompt: str
) -> None:
    async def scenario() -> tuple[Finished, list[str]]:
        async with ComfyUIClient(server.url) as client:
            form = aiohttp.FormData()
            form.add_field("image", f"{prompt} a\n{prompt} b\n".encode(), filename="sent.txt")
            async with client._session.post("/upload/image", data=form) as answer:
                name = (await answer.json())["name"]
            info = await client.get("/object_info/MAIPromptList")
            options = info["MAIPromptList"]["input"]["required"]["file"][1]["options"]
            return await client.run(listed(name)), options

    finished, options = asyncio.run(scenario())
    assert "sent.txt" in options
    assert len(finished.files()) == 2
