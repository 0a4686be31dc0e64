"""Azure's resource manager made of raw sockets, whose answers a test replaces."""

from __future__ import annotations

import json
from collections.abc import Callable

from scripted_server import Connection, ReceivedRequest, Scripted

ID = "11111111-2222-3333-4444-555555555555"
ACCOUNT = f"/subscriptions/{ID}/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"
ENDPOINT = "https://a.services.ai.azure.com"

GOOD: dict[str, object] = {
    "subscriptions": {"value": [{"subscriptionId": ID, "displayName": "S", "tenantId": "t"}]},
    "accounts": {
        "value": [
            {
                "id": ACCOUNT,
                "kind": "AIServices",
                "location": "westus",
                "properties": {"endpoint": f"{ENDPOINT}/"},
            }
        ]
    },
    "deployments": {
        "value": [
            {
                "name": "d",
                "properties": {
                    "model": {
                        "format": "Microsoft",
                        "name": "MAI-Image-2.7",
                        "version": "2026-11-17",
                    },
                    "rateLimits": [{"key": "request", "renewalPeriod": 10, "count": 1}],
                },
            }
        ]
    },
}


class Manager:
    """A resource manager whose answers a test may replace, by the last part of their paths."""

    def __init__(self) -> None:
        self.answers: dict[str, object] = dict(GOOD)
        self.raw: dict[str, Callable[[Connection], None]] = {}
        self.server = Scripted(default=self.behave)
        self.tokens: list[str] = []
        self.paths: list[str] = []

    def behave(self, connection: Connection, request: ReceivedRequest) -> None:
        path = request.path.partition("?")[0]
        self.paths.append(request.path)
        self.tokens.append(request.headers.get("authorization", ""))
        part = path.rpartition("/")[2]
        if part in self.raw:
            self.raw[part](connection)
        elif part in self.answers:
            connection.answer(200, json.dumps(self.answers[part]).encode())
        else:
            error = {"error": {"code": "ResourceNotFound", "message": "not here"}}
            connection.answer(404, json.dumps(error).encode())
