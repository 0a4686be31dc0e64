"""What the shipped code may import and call: who knows whom, and one place for each danger."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mai_image.mai import tables

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = ("mai", "nodes", "page", "emulator")

FILES = sorted(
    [ROOT / "__init__.py", ROOT / "cli.py"]
    + [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
)

MAI = {path.stem: path for path in FILES if path.parent.name == "mai"}

EXECUTES = {"eval", "exec", "compile", "__import__", "breakpoint", "input", "globals"}

DANGEROUS_MODULES = {
    "subprocess", "pickle", "marshal", "shelve", "dill", "joblib", "code", "codeop", "runpy", "pip",
    "ensurepip", "venv", "zipimport", "imp", "pty", "ctypes", "cffi", "multiprocessing",
    "webbrowser", "yaml", "xml", "tarfile", "zipfile", "importlib", "builtins",
}  # fmt: skip
"""They start programs, run or load code, or make objects of any kind out of bytes."""

MAY_USE = {
    ("mai/processes.py", "ctypes"): "Windows: whether a process lives",
    ("mai/processes.py", "importlib"): "psutil, which ComfyUI has and this pack doesn't need",
    ("mai/tables.py", "importlib"): "tomllib, or tomli on Python 3.10",
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
    ("mai/transport.py", "httpx"),
    ("mai/entra.py", "azure"),  # azure-identity's own connections to Entra ID
    ("page/routes.py", "aiohttp"),  # ComfyUI's own server
    ("page/access.py", "aiohttp"),
    ("page/modules.py", "aiohttp"),
}
"""The emulator is a server, and may use aiohttp and a socket's options."""

CONNECTING_CALLS = {
    "open_connection", "create_connection", "create_datagram_endpoint", "open_unix_connection",
    "sock_connect", "getaddrinfo", "urlopen", "ClientSession",
}  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


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
    assert len(FILES) > 80
    assert {"transport", "profiles", "service"} <= set(MAI)
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    (packages,) = [line for line in lines if line.startswith("packages = [")]
    assert sorted(re.findall(r'"mai_image\.(\w+)"', packages)) == sorted(PACKAGES)


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
                assert not computed or name_of(path) == "mai/tables.py"
                assert computed or argument.value in IMPORTED_BY_NAME
        assert constants & IMPORTED_BY_NAME


def test_the_toml_parser_is_one_of_three_modules() -> None:
    assert set(tables.PARSERS) <= IMPORTED_BY_NAME
    assert inspect.signature(tables.Document).parameters["parsers"].default is tables.PARSERS
    made = [ast.unparse(call) for path in FILES for name, call in calls(path) if name == "Document"]
    assert made
    assert all("," not in one for one in made), made


def test_connections_are_opened_in_one_file() -> None:
    found = {found for path in FILES if floor(path) != "emulator" for found in used(path, CONNECTS)}
    assert found == MAY_CONNECT
    made = {name_of(path) for path in FILES for name, _ in calls(path) if name in CONNECTING_CALLS}
    assert made == {"mai/transport.py"}


def test_the_emulator_is_a_server_and_calls_nobody() -> None:
    found = {found for path in FILES if floor(path) == "emulator" for found in used(path, CONNECTS)}
    assert {module for _, module in found} <= {"aiohttp", "socket"}


def test_the_environment_is_read_in_one_file() -> None:
    reading = {"environ", "environb", "getenv", "getenvb"}
    attributes = {name_of(path) for path in FILES for node in ast.walk(tree(path))
                  if isinstance(node, ast.Attribute) and node.attr in reading}  # fmt: skip
    named = {name_of(path) for path in FILES for module, _ in imports(path)
             if module in {f"os.{name}" for name in reading}}  # fmt: skip
    assert attributes | named == {"mai/profiles.py"}


# Who may import whom


def floor(path: Path) -> str:
    return path.parent.name if path.parent != ROOT else path.stem


ALLOWED = {
    "mai": {"mai"},
    "page": {"page", "mai"},
    "nodes": {"nodes", "page", "mai", "emulator"},
    "emulator": {"emulator", "mai"},
    "cli": {"mai", "emulator"},
    "__init__": {"nodes"},
}

OUTSIDE = {
    "mai": {"httpx", "azure", "pydantic"},
    "page": {"aiohttp", "PIL"},
    "nodes": {"torch", "numpy", "PIL", "comfy", "comfy_api", "comfy_execution", "folder_paths",
              "server", "typing_extensions", "kornia_rs"},
    "emulator": {"aiohttp", "PIL"},
    "cli": set(),
    "__init__": {"comfy_api"},
}  # fmt: skip


USED_WHERE_COMFYUI_BRINGS_IT = {("mai/lifted.py", "pydantic"), ("nodes/fast_png.py", "kornia_rs")}


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


def test_the_emulator_knows_the_catalogue_alone() -> None:
    found = {module for path in FILES if floor(path) == "emulator" for module, _ in imports(path)}
    assert {".".join(module.split(".")[:2]) for module in found if is_of(module, {"mai"})} == {
        "mai.models"
    }


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
            assert not lazy or name_of(path) in ("nodes/running.py", "cli.py")


def test_nodes_know_neither_http_nor_sql() -> None:
    for path in FILES:
        if floor(path) in ("nodes", "page"):
            assert used(path, {"httpx", "sqlite3", "mai.transport", "mai.foundry"}) == set()


@functools.cache
def below(name: str) -> frozenset[str]:
    """All modules of mai that one needs, those that they need too."""
    direct = {module.split(".")[1] for module, _ in imports(MAI[name])
              if is_of(module, {"mai"}) and "." in module}  # fmt: skip
    direct &= set(MAI)
    assert name not in direct
    return frozenset(direct | {deep for other in direct for deep in below(other)})


KEEPERS = {"store", "ledger", "quota", "transport"}
WIRES = {"foundry", "pixazo"}
PLAIN = {"messages", "models", "errors"}


def test_mai_has_no_circle() -> None:
    assert all(name not in below(name) for name in MAI)  # a circle would not even end


@pytest.mark.parametrize("name", sorted(PLAIN | {"sizes", "formats", "hosts", "wire"}))
def test_plain_data_knows_neither_wire_nor_disk_nor_profiles(name: str) -> None:
    assert not below(name) & (WIRES | KEEPERS | {"profiles", "calls", "service", "credentials"})


@pytest.mark.parametrize("name", sorted(WIRES))
def test_wire_formats_know_no_credential_no_disk_and_no_connection(name: str) -> None:
    assert not below(name) & (KEEPERS | {"profiles", "credentials", "calls", "jobs", "service"})


@pytest.mark.parametrize("name", sorted(KEEPERS))
def test_store_ledger_quota_and_transport_do_not_know_each_other(name: str) -> None:
    assert not below(name) & (KEEPERS | {"calls", "jobs", "service"})


def test_only_the_door_and_its_desk_know_them_all() -> None:
    assert below("calls") >= KEEPERS | WIRES
    assert "calls" in below("service")
    knows_service = {name for name in MAI if "service" in below(name)}
    knows_calls = {name for name in MAI if "calls" in below(name)}
    assert knows_service <= {"doctor"}  # it examines what the service uses
    assert knows_calls - knows_service == {"service"}


def test_store_ledger_and_quota_never_see_a_credential() -> None:
    """What writes to the disk can't write a key that it can't reach. (A budget is of a profile.)"""
    for name in ("store", "quota"):
        assert not below(name) & {"profile", "profiles", "credentials", "tokens", "entra"}
    assert not below("ledger") & {"profiles", "tokens", "entra"}
