"""`az login` on this machine: a program `az` that gives tokens for one audience each."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from mai_image.emulator import Emulator

MANAGER = "https://management.azure.com"
SERVICES = "https://cognitiveservices.azure.com"

ARM_TOKEN = "canary-arm-token-0123456789"
IMAGE_TOKEN = "canary-image-token-0123456789"

PROGRAM = """#!{python} -S
import sys, time
words = sys.argv[1:]
if words[:2] != ["account", "get-access-token"] or {refuse}:
    sys.exit("ERROR: Please run 'az login' to setup account.")
with open({log!r}, "a") as log:
    log.write(" ".join(words) + chr(10))
tokens = {tokens}
resource = words[words.index("--resource") + 1]
if resource not in tokens:
    sys.exit("ERROR: AADSTS500011: The resource principal was not found.")
ends = int(time.time()) + 3600
print('{{"accessToken": "%s", "expires_on": %d, "tokenType": "Bearer"}}' % (tokens[resource], ends))
"""

VARIABLES = ("AZURE_", "MAI_", "MSI_", "IDENTITY_", "IMDS_")


def log_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, service: Emulator | None, *, refuse: bool = False
) -> Path:
    """Be somebody who has run `az login` and nothing else; the file that lists az's calls.

    With `refuse` az is installed, but nobody has logged in.
    """
    for name in [name for name in os.environ if name.startswith(VARIABLES)]:
        monkeypatch.delenv(name)
    programs = folder / "programs"
    programs.mkdir()
    log = programs / "calls.txt"
    tokens = {MANAGER: ARM_TOKEN, SERVICES: IMAGE_TOKEN}
    text = PROGRAM.format(python=sys.executable, log=str(log), tokens=tokens, refuse=refuse)
    (programs / "az").write_text(text)
    (programs / "az").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    # No machine of Azure's: the chain needn't look for an identity of its own.
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    if service is not None:
        service.grant(ARM_TOKEN, manager=True)
        service.grant(IMAGE_TOKEN)
    return log
