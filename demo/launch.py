"""A ComfyUI of our own: started on a free port with nothing but this pack in it, and ended again.

Everything it writes goes to folders that the caller names: the user's custom_nodes, settings,
models, database and other packs stay as they are.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from .find import ROOT, ComfyUI, NotUsable

PACK = "mai_image_of_this_clone"
"""The folder name under which ComfyUI loads the pack: no other pack has it, so the whitelist of
custom nodes lets in this one alone."""

BOOT_SECONDS = 240.0
"""A first start on a cold disk can take minutes; a warm one takes 5-7 s."""

GRACE_SECONDS = 25.0
"""A ComfyUI that is asked to end gives requests in flight up to 20 s (profile setting)."""

_WITH_PACKAGES = """
import runpy, sys
packages, main = sys.argv[1:3]
sys.argv[:] = sys.argv[2:]
sys.path.append(packages)
sys.path.insert(0, __import__("os").path.dirname(main))
runpy.run_path(main, run_name="__main__")
"""


class ComfyUIServer:
    """One ComfyUI process. Use as a context manager, or call start() and stop().

    `environ` is added to (None: taken from) this process's environment, `inputs` are files that
    LoadImage finds by name, `output` is where SaveImage writes, `user` the user directory and `log`
    the file for what it prints (None: temporary ones), `packages` a folder in which requirements
    that its Python lacks are kept. `with_pack` False is a ComfyUI without this pack, to compare.
    `front_end` is the folder of another page than the one that this ComfyUI brings.
    """

    def __init__(
        self,
        comfyui: ComfyUI,
        *,
        output: Path,
        packages: Path,
        environ: Mapping[str, str | None] | None = None,
        inputs: Iterable[Path] = (),
        user: Path | None = None,
        log: Path | None = None,
        detached: bool = False,
        with_pack: bool = True,
        front_end: Path | None = None,
    ) -> None:
        self.comfyui = comfyui
        self.gpu = comfyui.has_gpu()
        self.output = output
        self.port = free_port()
        self._packages = _install_missing(comfyui, packages) if comfyui.missing else None
        self.base = Path(tempfile.mkdtemp(prefix="mai-comfyui-"))
        self.user = user or self.base / "user"
        self.log_file = log or self.base / "comfyui.log"
        self._environ = _child_environ(environ or {})
        self._detached = detached
        self._with_pack = with_pack
        self.front_end = front_end
        self._process: subprocess.Popen[bytes] | None = None
        _lay_out(self.base, self.user, output, inputs)
        if with_pack:
            link_folder(ROOT, self.base / "custom_nodes" / PACK)

    @property
    def url(self) -> str:
        """Where the page and the API are."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running ComfyUI."""
        if self._process is None:
            raise NotUsable("ComfyUI is not running.")
        return self._process.pid

    def __enter__(self) -> ComfyUIServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> float:
        """Start it and wait until it answers; gives the seconds that took.

        NotUsable where it ends early, stays silent, or could not load this pack.
        """
        began = time.monotonic()
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.comfyui.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=self._detached,
            )
        try:
            self._wait_until_it_answers(began + BOOT_SECONDS)
        except BaseException:
            self.stop()
            raise
        return time.monotonic() - began

    def stop(self, *, keep_folder: bool = False) -> None:
        """End the process by its id, politely first; then remove its temporary folder."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            _end(process)
        if not keep_folder:
            shutil.rmtree(self.base, ignore_errors=True)

    def kill(self) -> None:
        """End it at once, as a crash would; its folders stay until stop()."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        """All that it has printed so far."""
        try:
            return self.log_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _command(self) -> list[str]:
        main = str(self.comfyui.folder / "main.py")
        python = str(self.comfyui.python)
        if self._packages is None:
            command = [python, main]
        else:
            command = [python, "-c", _WITH_PACKAGES, str(self._packages), main]
        database = (self.base / "comfyui.db").as_posix()
        command += ["--listen", "127.0.0.1", "--port", str(self.port), "--disable-auto-launch"]
        command += ["--base-directory", str(self.base), "--user-directory", str(self.user)]
        command += ["--output-directory", str(self.output)]
        command += ["--database-url", f"sqlite:///{database}"]
        command += ["--disable-all-custom-nodes", "--whitelist-custom-nodes", PACK]
        if self.front_end is not None:
            command += ["--front-end-root", str(self.front_end)]
        return command if self.gpu else [*command, "--cpu"]

    def _wait_until_it_answers(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise NotUsable(f"ComfyUI ended while starting: {_last_words(self.log())}")
            if _answers(f"{self.url}/system_stats"):
                loaded = _answers(f"{self.url}/object_info/MAIGenerate", b"MAIGenerate")
                if self._with_pack and not loaded:
                    raise NotUsable(f"ComfyUI did not load the pack: {_import_error(self.log())}")
                return
            time.sleep(0.1)
        raise NotUsable(f"ComfyUI did not answer on {self.url} within {BOOT_SECONDS:.0f} s.")


def free_port() -> int:
    """A TCP port on the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def link_folder(target: Path, link: Path) -> None:
    """Make `link` lead to the folder `target`: a symbolic link, on Windows a junction.

    Where neither can be made the folder is copied, without what git ignores.
    """
    try:
        if os.name == "nt":
            subprocess.run(
                ["cmd", "/c", "mklink", "/J", str(link), str(target)],
                check=True,
                capture_output=True,
            )
        else:
            link.symlink_to(target, target_is_directory=True)
    except (OSError, subprocess.CalledProcessError):
        ignore = shutil.ignore_patterns(".git", ".venv", "output", "__pycache__", ".*_cache")
        shutil.copytree(target, link, ignore=ignore)


def _lay_out(base: Path, user: Path, output: Path, inputs: Iterable[Path]) -> None:
    for folder in (base / "custom_nodes", base / "input", base / "temp", user, output):
        folder.mkdir(parents=True, exist_ok=True)
    for source in inputs:
        shutil.copyfile(source, base / "input" / source.name)


def _child_environ(changes: Mapping[str, str | None]) -> dict[str, str]:
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    for name, value in changes.items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
    return environ


def _install_missing(comfyui: ComfyUI, packages: Path) -> Path:
    """The folder with the pack's requirements for that Python, installed there the first time."""
    requirements = (ROOT / "requirements.txt").read_bytes()
    tag = hashlib.sha256(str(comfyui.python).encode() + requirements).hexdigest()[:12]
    folder = packages / tag
    if folder.is_dir():
        return folder
    packages.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=packages))
    command = [sys.executable, "-m", "pip", "--python", str(comfyui.python), "install", "--quiet"]
    command += ["--target", str(unfinished), "-r", str(ROOT / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise NotUsable(f"pip could not install {comfyui.missing}: {_last_words(done.stderr)}")
    unfinished.rename(folder)
    return folder


def _answers(url: str, content: bytes = b"") -> bool:
    # Without the environment's proxies: a proxy can't reach this machine's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return content in answer.read()
    except (urllib.error.URLError, OSError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    # A shell that starts us in the background makes SIGINT ignored here and in every child.
    if os.name == "posix" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        process.send_signal(signal.SIGINT)
    else:
        process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _import_error(log: str) -> str:
    """ComfyUI's line on why the pack can't be loaded, without the folder names before it."""
    reasons = [line for line in log.splitlines() if PACK in line and "Adding" not in line]
    wanted = ("Error while calling comfy_entrypoint", "Cannot import")
    reasons = [line for line in reasons if line.startswith(wanted)]
    return reasons[0].split(f"{PACK}", 1)[1].split(": ", 1)[-1] if reasons else _last_words(log)
