"""Two containers on one folder: process numbers and host names of their own prove nothing."""

from __future__ import annotations

import shutil
import subprocess
import threading

import pytest
from buyer_process import buyer, end
from client_harness import Harness, draw_after, generate, until

CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc"]


def _can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_unshare(), reason="needs `unshare` and the right to make namespaces")
def test_a_living_process_of_another_pid_namespace_is_never_called_dead(harness: Harness):
    """Seen from its own namespace, every number of the other one is free."""
    gate = threading.Event()
    harness.server.default = draw_after(lambda: gate.wait(20))
    outside = buyer(harness, [0])
    until(lambda: len(harness.server.requests) == 1, 10)
    inside = [buyer(harness, [0], command=CONTAINER) for _ in range(2)]
    with pytest.raises(subprocess.TimeoutExpired):
        inside[0].wait(3)
    assert harness.outcomes() == ["in flight"]
    gate.set()
    found = [end(child) for child in (outside, *inside)]
    assert sorted(float(str((each or [0])[0])) for each in found)[:2] == [0.0, 0.0]
    assert len(harness.server.billed) == 1
    harness.balance([generate(0)])
