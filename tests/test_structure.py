"""What the shipped code may import and call: who knows whom, and one place for each danger."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image.mai.profiles import toml_file

ROOT = Path(__file__).resolve().parents[1]

PACKAGES = ("cli", "emulator", "mai", "nodes", "page")

FILES = sorted(
    [ROOT / "__init__.py"]
    + [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
)

MAI = ROOT / "mai"

ROOMS = {path.name for path in MAI.iterdir() if (path / "__init__.py").exists()}

UNITS = ROOMS | {path.stem for path in MAI.glob("*.py")} - {"__init__"}
"""The files and packages at mai's top."""

EXECUTES = {"eval", "exec", "compile", "__import__", "breakpoint", "input", "globals"}

DANGEROUS_MODULES = {
    "subprocess", "pickle", "marshal", "shelve", "dill", "joblib", "code", "codeop", "runpy", "pip",
    "ensurepip", "venv", "zipimport", "imp", "pty", "ctypes", "cffi", "multiprocessing",
    "webbrowser", "yaml", "xml", "tarfile", "zipfile", "importlib", "builtins",
}  # fmt: skip
"""They start programs, run or load code, or make objects of any kind out of bytes."""

MAY_USE = {
    ("mai/ledger/processes.py", "ctypes"): "Windows: whether a process lives",
    (
        "mai/ledger/processes.py",
        "importlib",
    ): "psutil, which ComfyUI brings",
    (
        "nodes/imaging/png_process.py",
        "subprocess",
    ): "ComfyUI's own Python with a file of the pack",
    (
        "cli/open_page.py",
        "webbrowser",
    ): "the address at which a ComfyUI answers",
    ("mai/profiles/toml_file.py", "importlib"): "tomllib, or tomli on Python 3.10",
}

IMPORTED_BY_NAME = {"psutil", "tomllib", "tomli", "pip._vendor.tomli"}
"""All that importlib is used for."""

OS_CALLS = {"system", "popen", "execv", "execve", "execl", "fork", "spawnl", "spawnv", "startfile"}

CONNECTS = {
    "httpx", "httpcore", "requests", "urllib3", "urllib.request", "http.client", "socket", "ftplib",
    "smtplib", "telnetlib", "websockets", "websocket", "aiohttp", "socketserver", "http.server",
    "xmlrpc", "asyncssh", "paramiko", "azure",
}  # fmt: skip

MAY_CONNECT = {
    ("mai/http/transport.py", "httpx"),
    ("mai/profiles/endpoints.py", "httpx"),  # httpx.URL alone: it parses what will be connected to
    ("mai/auth/entra.py", "azure"),  # azure-identity's own connections to Entra ID
    ("page/routes.py", "aiohttp"),  # ComfyUI's own server
    ("page/access.py", "aiohttp"),
}
"""The emulator is a server, and may use aiohttp and a socket's options."""

CONNECTING_CALLS = {
    "open_connection", "create_connection", "create_datagram_endpoint", "open_unix_connection",
    "sock_connect", "getaddrinfo", "urlopen", "ClientSession",
}  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Every module that a file names, "..mai.models" made absolute as "mai.models"."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(path, node)
            yield base, node
            yield from ((f"{base}.{alias.name}", node) for alias in node.names)


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    folder = path.parent
    for _ in range(node.level - 1):
        folder = folder.parent
    inside = folder.relative_to(ROOT).parts
    return ".".join([*inside, *([node.module] if node.module else [])])


def is_of(module: str, names: set[str]) -> str | None:
    """The name of `names` that a module is, or is below."""
    return next((name for name in names if module == name or module.startswith(f"{name}.")), None)


def used(path: Path, names: set[str]) -> set[tuple[str, str]]:
    found = (is_of(module, names) for module, _ in imports(path))
    return {(name_of(path), name) for name in found if name is not None}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id, node
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr, node


def test_every_shipped_file_is_looked_at() -> None:
    assert len(FILES) > 60
    assert {"client", "pipeline", "http", "profiles"} <= UNITS
    listed = re.findall(r'"mai_image\.([\w.]+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    folders = {module_of(path) for path in FILES if path.name == "__init__.py"} - {"__init__"}
    assert sorted(listed) == sorted(folders)


def test_nothing_is_evaluated_executed_or_installed() -> None:
    bare = {(name_of(path), node.func.id) for path in FILES for node in ast.walk(tree(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
    assert [found for found in bare if found[1] in EXECUTES] == []
    imported = {found for path in FILES for found in used(path, DANGEROUS_MODULES)}
    assert imported - set(MAY_USE) == set()
    of_os = {(name_of(path), node.attr) for path in FILES for node in ast.walk(tree(path))
             if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os"}  # fmt: skip
    assert [found for found in of_os if found[1] in OS_CALLS] == []
    assert not any(
        name == "load" and _is_torch(call) for path in FILES for name, call in calls(path)
    )


def _is_torch(call: ast.Call) -> bool:
    assert isinstance(call.func, (ast.Attribute, ast.Name))
    return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("torch", "np")


def test_what_is_imported_by_name_is_written_down() -> None:
    """`import_module` gets a constant, or a name out of a tuple of constants."""
    for path in FILES:
        if not any(name == "import_module" for name, _ in calls(path)):
            continue
        constants = {node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant)
                     and isinstance(node.value, str)}  # fmt: skip
        for name, call in calls(path):
            if name == "import_module":
                (argument,) = call.args
                computed = not isinstance(argument, ast.Constant)
                assert not computed or name_of(path) == "mai/profiles/toml_file.py"
                assert computed or argument.value in IMPORTED_BY_NAME
        assert constants & IMPORTED_BY_NAME


def test_the_toml_parser_is_one_of_three_modules() -> None:
    assert set(toml_file.PARSERS) <= IMPORTED_BY_NAME
    nodes = list(ast.walk(tree(MAI / "profiles" / "toml_file.py")))
    loops = [node for node in nodes if isinstance(node, ast.For) and "PARSERS" in ast.unparse(node)]
    uses = [node for node in nodes if isinstance(node, ast.Name) and node.id == "PARSERS"]
    assert [ast.unparse(loop.iter) for loop in loops] == ["PARSERS"]
    assert len(uses) == 2  # where it is set, and the loop


def test_profiles_use_the_parser_of_httpx_and_nothing_that_connects() -> None:
    nodes = ast.walk(tree(MAI / "profiles" / "endpoints.py"))
    found = [node for node in nodes if isinstance(node, ast.Attribute)]
    attributes = {node.attr for node in found if ast.unparse(node.value) == "httpx"}
    assert attributes == {"URL", "InvalidURL"}


def test_connections_are_opened_in_one_file() -> None:
    found = {found for path in FILES if floor(path) != "emulator" for found in used(path, CONNECTS)}
    assert found == MAY_CONNECT
    made = {name_of(path) for path in FILES for name, _ in calls(path) if name in CONNECTING_CALLS}
    assert made == {"mai/http/transport.py"}


def test_the_emulator_is_a_server_and_calls_nobody() -> None:
    found = {found for path in FILES if floor(path) == "emulator" for found in used(path, CONNECTS)}
    assert {module for _, module in found} <= {"aiohttp", "socket"}


def test_the_environment_is_read_for_profiles_and_for_the_network_and_nowhere_else() -> None:
    reading = {"environ", "environb", "getenv", "getenvb"}
    attributes = {name_of(path) for path in FILES for node in ast.walk(tree(path))
                  if isinstance(node, ast.Attribute) and node.attr in reading}  # fmt: skip
    named = {name_of(path) for path in FILES for module, _ in imports(path)
             if module in {f"os.{name}" for name in reading}}  # fmt: skip
    assert attributes | named == {"mai/profiles/environment.py", "mai/auth/network_settings.py"}


# Who may import whom


def floor(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


ALLOWED = {
    "mai": {"mai"},
    "page": {"page", "mai"},
    "nodes": {"nodes", "page", "mai", "emulator"},
    "emulator": {"emulator", "mai"},
    "cli": {"cli", "mai", "emulator"},
    "__init__": {"nodes"},
}

OUTSIDE = {
    "mai": {"httpx", "azure", "pydantic", "sqlalchemy", "psycopg", "certifi"},
    "page": {"aiohttp", "PIL"},
    "nodes": {"torch", "numpy", "PIL", "comfy", "comfy_api", "comfy_execution", "folder_paths",
              "server", "typing_extensions", "kornia_rs"},
    "emulator": {"aiohttp", "PIL"},
    "cli": {"rich"},
    "__init__": {"comfy_api"},
}  # fmt: skip


USED_WHERE_COMFYUI_BRINGS_IT = {
    ("cli/contact_sheet.py", "PIL"),
    ("cli/masks.py", "PIL"),
    ("cli/metadata.py", "PIL"),
    ("mai/providers/base64_field.py", "pydantic"),
    ("nodes/imaging/fast_png.py", "kornia_rs"),
    ("nodes/imaging/png_child.py", "kornia_rs"),
}


def test_each_floor_knows_only_those_below_it() -> None:
    own = {*PACKAGES, "cli", "__init__", "demo", "tests", "benchmarks", "tasks"}
    tops = {(path, module.split(".")[0]) for path in FILES for module, _ in imports(path)}
    upwards = [(name_of(path), top) for path, top in tops
               if top in own and top not in ALLOWED[floor(path)]]  # fmt: skip
    assert upwards == []
    strange = {
        (name_of(path), top)
        for path, top in tops
        if top and top not in own | OUTSIDE[floor(path)] | set(sys.stdlib_module_names)
    }
    assert strange - USED_WHERE_COMFYUI_BRINGS_IT == set()


def test_the_emulator_knows_the_catalogue_and_its_file_alone() -> None:
    found = {module for path in FILES if floor(path) == "emulator" for module, _ in imports(path)}
    assert {".".join(module.split(".")[:2]) for module in found if is_of(module, {"mai"})} == {
        "mai.models",
        "mai.own_models",
    }


STARTS_THE_EMULATOR = {"nodes/run.py", "cli/command.py", "cli/command_line.py"}


def test_the_emulator_is_imported_when_it_is_started_and_not_before() -> None:
    for path in FILES:
        if floor(path) in ("nodes", "cli"):
            outer = {id(node) for node in tree(path).body}
            lazy = [
                id(node) not in outer
                for module, node in imports(path)
                if is_of(module, {"emulator"})
            ]
            assert all(lazy)
            assert not lazy or name_of(path) in STARTS_THE_EMULATOR


def test_nodes_know_neither_http_nor_sql() -> None:
    for path in FILES:
        if floor(path) in ("nodes", "page"):
            assert used(path, {"httpx", "sqlite3", "mai.http", "mai.providers"}) == set()


# The rooms of mai


def unit(module: str) -> str:
    """The file or package at mai's top that a module belongs to, "" for another room's."""
    parts = module.split(".")
    return parts[1] if parts[0] == "mai" and len(parts) > 1 and parts[1] in UNITS else ""


def needs(name: str) -> set[str]:
    """The units that one imports itself; what only a type checker sees counts too."""
    files = [path for path in FILES if unit(module_of(path)) == name]
    return {unit(module) for path in files for module, _ in imports(path)} - {"", name}


@functools.cache
def floor_of(name: str) -> int:
    """1 for a unit that needs no other; a circle would never end."""
    return 1 + max((floor_of(other) for other in needs(name)), default=0)


@functools.cache
def below(name: str) -> frozenset[str]:
    """All units that one needs, those that they need too."""
    direct = needs(name)
    return frozenset(direct | {deep for other in direct for deep in below(other)})


def test_mai_has_twenty_two_rooms_at_most_on_seven_floors_without_a_circle() -> None:
    assert len(UNITS) <= 22
    floors = {name: floor_of(name) for name in UNITS}
    assert max(floors.values()) <= 7, floors


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_a_package_is_reached_through_its_init_alone(package: str) -> None:
    inner = {module_of(path) for path in (MAI / package).glob("*.py")} - {f"mai.{package}"}
    outside = [path for path in FILES if unit(module_of(path)) != package]
    past = {(name_of(path), name) for path in outside for name, _ in imports(path) if name in inner}
    assert past == set()


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_a_package_says_what_it_is_for_and_what_others_may_use(package: str) -> None:
    init = tree(MAI / package / "__init__.py")
    assert len(ast.get_docstring(init) or "") > 80
    assigned = {ast.unparse(node.targets[0]) for node in init.body if isinstance(node, ast.Assign)}
    assert "__all__" in assigned


DATA = {"types", "models", "errors", "sizes", "formats", "validation"}
KEEPERS = {"store", "ledger", "rate_limit", "http"}


@pytest.mark.parametrize("name", sorted(DATA))
def test_plain_data_knows_no_package(name: str) -> None:
    assert below(name) <= DATA


def test_providers_know_no_credential_no_disk_and_no_profile() -> None:
    assert needs("providers") <= DATA | {"http"}


@pytest.mark.parametrize("name", sorted(KEEPERS))
def test_store_ledger_rate_limit_and_http_do_not_know_each_other(name: str) -> None:
    assert not below(name) & ((KEEPERS - {name}) | {"profiles", "providers", "pipeline", "client"})


def test_only_the_pipeline_knows_them_all() -> None:
    assert below("pipeline") >= KEEPERS | {"providers", "profiles", "auth", "jobs"}
    assert {name for name in UNITS if "pipeline" in below(name)} == {"client"}


@pytest.mark.parametrize("name", ["store", "ledger", "rate_limit"])
def test_what_writes_to_the_disk_cannot_reach_a_credential(name: str) -> None:
    assert not below(name) & {"auth", "profiles"}


def test_no_public_name_of_a_class_or_function_means_two_things() -> None:
    homes: dict[str, set[str]] = {}
    for path in FILES:
        for node in tree(path).body:
            public = isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            if public and not node.name.startswith("_"):  # type: ignore[attr-defined]
                homes.setdefault(node.name, set()).add(name_of(path))  # type: ignore[attr-defined]
    twice = {name: sorted(where) for name, where in homes.items() if len(where) > 1}
    assert set(twice) <= {"main"}, twice
