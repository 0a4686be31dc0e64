"""The folder that a command line uses: a ComfyUI's own, or the user's."""

from __future__ import annotations

from pathlib import Path

import pytest
from mai_image.mai.errors import ProfileError
from mai_image.mai.profiles import usual_folder


def comfyui(root: Path) -> Path:
    (root / "custom_nodes" / "mai-image").mkdir(parents=True)
    for name in ("main.py", "nodes.py"):
        (root / name).touch()
    return root


def test_a_pack_inside_a_comfyui_uses_that_comfyuis_folder(tmp_path: Path) -> None:
    root = comfyui(tmp_path / "ComfyUI")
    folder, why = usual_folder([root / "custom_nodes" / "mai-image"], {})
    assert folder == root / "user" / "__mai"
    assert "lies in" in why


def test_comfyui_path_comes_first(tmp_path: Path) -> None:
    one, other = comfyui(tmp_path / "one"), comfyui(tmp_path / "other")
    folder, _ = usual_folder([one / "custom_nodes" / "mai-image"], {"COMFYUI_PATH": str(other)})
    assert folder == other / "user" / "__mai"


@pytest.mark.parametrize("name", ["nowhere", "~nobody-of-that-name"])
def test_a_comfyui_path_without_a_comfyui_is_an_error(name: str) -> None:
    with pytest.raises(ProfileError, match="no ComfyUI"):
        usual_folder([], {"COMFYUI_PATH": name})


def test_elsewhere_the_users_own_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "custom_nodes" / "mai-image").mkdir(parents=True)
    pack = [tmp_path / "custom_nodes" / "mai-image", tmp_path]
    folder, why = usual_folder(pack, {"XDG_DATA_HOME": "/d"}, "linux")
    assert folder == Path("/d/mai-image")
    assert "no ComfyUI" in why
