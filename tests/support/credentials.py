"""Images that c2pa-python signs for a test, with a certificate that is made for it."""

from __future__ import annotations

import functools
import io
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SIGNER = "Test Service"

MANIFEST = {
    "claim_generator_info": [{"name": "test", "version": "1"}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/"
                        "trainedAlgorithmicMedia",
                    }
                ]
            },
        }
    ],
}

_OF_ROOT = """basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
"""

_OF_SIGNER = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=emailProtection
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


def signed(data: bytes, kind: str, remote: bool | str = False) -> bytes:
    """An image ("png", "jpeg", "webp") with a valid manifest, in it or at an address alone.

    The test is skipped where c2pa-python or openssl isn't installed.
    """
    c2pa = pytest.importorskip("c2pa", reason="c2pa-python isn't installed")
    chain, key = _signer()
    info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain, private_key=key, ta_url=None)
    builder = c2pa.Builder(MANIFEST)
    if remote:
        builder.set_no_embed()
        builder.set_remote_url(remote if isinstance(remote, str) else "http://127.0.0.1:9/a.c2pa")
    out = io.BytesIO()
    builder.sign(c2pa.Signer.from_info(info), f"image/{kind}", io.BytesIO(data), out)
    return out.getvalue()


@contextmanager
def listening() -> Iterator[tuple[str, list[Any]]]:
    """An address on this machine, and who has connected to it."""
    asked: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            try:
                while True:
                    asked.append(server.accept())
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/manifest.c2pa", asked


@functools.cache
def _signer() -> tuple[bytes, bytes]:
    """A chain of two certificates and the key of the first, as PEM."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, isn't installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def openssl(*words: str) -> None:
            subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

        (folder / "root.ext").write_text(_OF_ROOT)
        (folder / "leaf.ext").write_text(_OF_SIGNER)
        for one, subject in (("root", "/O=Test/CN=Root"), ("leaf", f"/O={SIGNER}/CN=Signer")):
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-out", f"{one}.key")  # fmt: skip
            openssl("req", "-new", "-key", f"{one}.key", "-subj", subject, "-out", f"{one}.csr")
        openssl("x509", "-req", "-in", "root.csr", "-signkey", "root.key", "-days", "30",
                "-extfile", "root.ext", "-out", "root.pem")  # fmt: skip
        of_root = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial")
        openssl("x509", "-req", "-in", "leaf.csr", *of_root, "-days", "20",
                "-extfile", "leaf.ext", "-out", "leaf.pem")  # fmt: skip
        chain = (folder / "leaf.pem").read_bytes() + (folder / "root.pem").read_bytes()
        return chain, (folder / "leaf.key").read_bytes()
