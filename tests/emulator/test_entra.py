"""The emulator as Entra ID and as the managed-identity endpoint."""

from __future__ import annotations

import pytest

SCOPE = "https://cognitiveservices.azure.com/.default"
TOKEN = "/some-tenant/oauth2/v2.0/token"
IDENTITY = "/msi/token?api-version=2019-08-01&resource=https://cognitiveservices.azure.com"
IMDS = "/metadata/identity/oauth2/token?resource=https://cognitiveservices.azure.com"


def form(**changes):
    fields = {
        "grant_type": "client_credentials",
        "client_id": "c",
        "client_secret": "emulator",
        "scope": SCOPE,
    }
    return {**fields, **changes}


def request_token(client, way):
    if way == "secret":
        return client.http.post(TOKEN, data=form())
    if way == "app service":
        return client.http.get(IDENTITY, headers={"X-IDENTITY-HEADER": "emulator"})
    return client.http.get(IMDS, headers={"Metadata": "true"})


def status(client, token):
    client.http.headers.pop("api-key", None)
    return client.generate({"authorization": f"Bearer {token}"}, prompt=None).status_code


@pytest.mark.parametrize("way", ["secret", "app service", "virtual machine"])
def test_a_token_is_accepted_until_its_end(started, way):
    now = [0.0]
    client = started(clock=lambda: now[0], token_life=60.0)
    granted = request_token(client, way).json()
    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 60)
    assert status(client, granted["access_token"]) == 400
    now[0] = 60.0
    assert status(client, granted["access_token"]) == 401


def test_every_token_is_another_one(client):
    assert len({request_token(client, "secret").json()["access_token"] for _ in range(3)}) == 3


def test_a_token_may_end_before_it_says(started):
    client = started(token_life=60.0, token_expires_in=3600.0)
    assert request_token(client, "secret").json()["expires_in"] == 3600


@pytest.mark.parametrize(
    ("changes", "code", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"scope": "https://graph.microsoft.com/.default"}, 400, "invalid_scope"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_a_wrong_request_for_a_token_gets_entras_error(client, changes, code, error):
    answer = client.http.post(TOKEN, data=form(**changes))
    assert (answer.status_code, answer.json()["error"]) == (code, error)
    assert "AADSTS" in answer.json()["error_description"]


def test_managed_identities_want_their_header_and_the_right_resource(client):
    http = client.http
    assert http.get(IDENTITY).status_code == 401
    assert http.get(IDENTITY, headers={"X-IDENTITY-HEADER": "x"}).status_code == 401
    assert http.get(IMDS).status_code == 400
    other = IMDS.replace("cognitiveservices", "graph")
    assert http.get(other, headers={"Metadata": "true"}).status_code == 400


def test_no_secret_is_in_the_log(client):
    for way in ("secret", "app service", "virtual machine"):
        token = request_token(client, way).json()["access_token"]
        assert token not in repr(client.service.log.entries)
    assert "client_secret" not in repr(client.service.log.entries)


@pytest.mark.parametrize(
    ("fault", "code", "body"),
    [
        ("status=404", 404, b"temporarily_unavailable"),
        ("status=503 body=html", 503, b"<html>"),
        ("answer=html", 200, b"<html>"),
        ("answer=wrong-shape", 200, b'{"token": 1}'),
        ("answer=empty-body", 200, b""),
    ],
)
def test_a_fault_strikes_the_requests_for_tokens_only(client, fault, code, body):
    client.service.token_fault(fault + " first=1")
    answer = request_token(client, "app service")
    assert answer.status_code == code
    assert body in answer.content
    assert client.generate().status_code == 200
    assert "access_token" in request_token(client, "app service").json()


def test_discovery_names_the_token_endpoint_of_the_same_origin(client):
    found = client.http.get("/t1/v2.0/.well-known/openid-configuration").json()
    assert found["token_endpoint"] == f"{client.service.url}/t1/oauth2/v2.0/token"
