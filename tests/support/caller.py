"""A process that makes one exchange and prints what came: `caller.py ENDPOINT TIMEOUT`."""

from __future__ import annotations

import asyncio
import hashlib
import sys

from mai_image.mai.auth import Headers, KeyCredential, Secret
from mai_image.mai.errors import MaiError
from mai_image.mai.http import HttpRequest, NotSentError, Transport
from mai_image.mai.profiles import Profile


async def exchange(endpoint: str, timeout: float) -> str:
    """The answer's status and the hash of its body, or the error's type and first line."""
    key = KeyCredential(lambda: Secret("a-key-0123456789"), "a test")
    profile = Profile("test", "foundry", endpoint, key, timeout=timeout, connect_timeout=timeout)
    transport = Transport()
    try:
        headers = Headers(await key.headers())
        request = HttpRequest("POST", f"{endpoint}/x", json={})
        answer = await transport.exchange(request, headers, profile)
    except (MaiError, NotSentError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    finally:
        await transport.close()
    return f"{answer.status} {hashlib.sha256(answer.body).hexdigest()}"


sys.stdout.write(asyncio.run(exchange(sys.argv[1], float(sys.argv[2]))))
