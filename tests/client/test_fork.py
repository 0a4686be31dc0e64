"""A client in a process that forks: the child has no thread of its own, and ends all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import os, sys
from pathlib import Path
from mai_image.mai.client import Client
from mai_image.mai.profiles import Profiles
from mai_image.mai.types import Generate
folder = Path(sys.argv[1])
client = Client(folder, Profiles(folder, {}))
pid = os.fork()
if pid == 0:
    future = client.submit(Generate("MAI-Image-2.6", "a fox", 1024, 1024))
    print(type(future.exception(5)).__name__, flush=True)
    client.close()
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
client.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_neither_hangs_at_its_end_nor_waits_for_calls_for_ever(tmp_path: Path):
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["CancelledCall", "3"], done.stderr
