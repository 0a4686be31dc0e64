"""Credentials, paths, request ids and the log."""

from __future__ import annotations

import json
import socket

import pytest

CANARY = "canary-9f3b7c"


@pytest.mark.parametrize(
    "headers",
    [
        {"api-key": "wrong"},
        {"api-key": ""},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer"},
        {"authorization": "Basic ZW11bGF0b3I="},
        {},
    ],
)
@pytest.mark.parametrize("path", ["/mai/v1/images/generations", "/mai/v1/images/edits"])
def test_a_wrong_or_missing_credential_is_a_401_before_anything_is_read(client, path, headers):
    client.http.headers.pop("api-key")
    answer = client.http.post(path, content=b"{", headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, set(error)) == (401, {"code", "message", "details"})
    assert client.service.log.entries[-1].fields == {}


def test_a_good_key_and_an_empty_object_miss_a_parameter(client):
    answer = client.http.post("/mai/v1/images/generations", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (
        400,
        "missing_required_parameter",
    )


def test_the_deployment_is_looked_up_before_the_parameters_are_checked(client):
    answer = client.http.post("/mai/v1/images/generations", json={"model": "none", "seed": 1})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "DeploymentNotFound")


def test_a_token_is_accepted_until_its_end_or_its_revocation(started):
    now = [100.0]
    client = started(clock=lambda: now[0], tokens=("forever",))
    client.http.headers.pop("api-key")
    client.service.grant("short", 10)
    client.service.grant("other", 10)

    def status(token):
        return client.generate({"authorization": f"Bearer {token}"}, prompt=None).status_code

    assert [status("forever"), status("short"), status("other")] == [400, 400, 400]
    client.service.revoke("other")
    assert status("other") == 401
    now[0] += 10
    assert [status("forever"), status("short")] == [400, 401]


def test_a_gateway_s_header_can_carry_the_key(started):
    client = started(key_header="Ocp-Apim-Subscription-Key", key=CANARY)
    assert client.generate(prompt=None).status_code == 401
    header = {"ocp-apim-subscription-key": CANARY}
    assert client.generate(header, prompt=None).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", "404"),
        ("GET", "/mai/v1/nothing", "404"),
        ("GET", "/mai/v1/images/generations", "404"),
        ("POST", "/mai/v1/images/generations/", "404"),
        ("POST", "/openai/v1/images/generations", "unknown_model"),
        ("POST", "/openai/deployments/MAI-Image-2.6/images/generations", "api_not_supported"),
    ],
)
def test_a_wrong_path_is_a_404_in_the_envelope(client, method, path, code):
    answer = client.http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)


def test_every_answer_has_request_ids_of_its_own_and_the_client_s_id(client):
    answers = [
        client.generate({"x-ms-client-request-id": "mine"}, prompt=None),
        client.http.get("/nothing"),
        client.generate(width=768, height=768),
    ]
    ids = [answer.headers["apim-request-id"] for answer in answers]
    assert ids == [answer.headers["x-ms-request-id"] for answer in answers]
    assert ids == [entry.request_id for entry in client.service.log.entries]
    assert len(set(ids)) == 3
    assert answers[0].headers["x-ms-client-request-id"] == "mine"


def test_the_log_has_the_requests_and_the_bill_in_usd(client, file):
    client.generate(prompt="fox", width=1024, height=1024)
    client.edit(file(64, 64), prompt="night")
    client.generate(seed=3)
    log = client.http.get("/emulator/log").json()
    first, second, third = log["requests"]
    assert first["fields"] == {
        "model": "MAI-Image-2.6",
        "prompt": "fox",
        "width": 1024,
        "height": 1024,
    }
    assert (first["status"], first["billed"], first["size"]) == (200, True, [1024, 1024])
    assert first["billed_usd"] == pytest.approx((1 * 5 + 1024 * 38) / 1e6)
    assert second["files"] == [
        {
            "field": "image",
            "filename": "0.png",
            "media_type": "image/png",
            "bytes": len(file(64, 64)),
            "width": 64,
            "height": 64,
        }
    ]
    assert (third["status"], third["code"]) == (400, "unsupported_request_argument")
    assert (third["billed"], third["billed_usd"]) == (False, 0)
    assert (log["count"], log["billed"]) == (3, 2)
    assert log["billed_usd"] == pytest.approx(first["billed_usd"] + second["billed_usd"])


def test_the_key_is_in_no_log_and_no_repr(started):
    client = started(key=CANARY, tokens=(CANARY + "t",))
    client.generate({"api-key": CANARY})
    client.http.post(f"/mai/v1/images/generations?api-key={CANARY}", json={})
    client.generate({"api-key": "", "authorization": f"Bearer {CANARY}t"})
    log = client.http.get("/emulator/log", headers={"api-key": CANARY})
    seen = json.dumps(log.json()) + repr(client.service.options)
    assert '"count": 3' in seen
    assert CANARY not in seen


def test_clearing_the_log_forgets_the_requests_and_the_bill(client):
    client.generate(width=768, height=768)
    client.service.log.clear()
    log = client.service.log
    assert (log.entries, log.billed, log.billed_usd) == ((), 0, 0.0)


LOG = "/emulator/log"


@pytest.mark.parametrize(
    "headers", [{}, {"api-key": ""}, {"api-key": "x"}, {"api-key": "emulator"}]
)
def test_the_log_with_its_prompts_is_for_the_key_alone(started, headers):
    client = started(key=CANARY, tokens=("t",))
    client.http.headers.pop("api-key")
    client.generate({"api-key": CANARY}, prompt="a secret garden")
    for more in ({}, {"authorization": "Bearer t"}, {"authorization": f"Bearer {CANARY}"}):
        answer = client.http.get(LOG, headers={**headers, **more})
        assert answer.status_code == 401
        assert "garden" not in answer.text
    assert "garden" in client.http.get(LOG, headers={"api-key": CANARY}).text
    assert client.http.get(LOG, params={"key": CANARY, "api-key": CANARY}).status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1:1",
        "127.0.0.1",
        "localhost",
        "evil@127.0.0.1:{port}",
        "127.0.0.1:{port}@evil.example",
        "127.0.0.1:{port}/",
        "127.0.0.1:{port}?",
        "127.0.0.1:99999999",
        "[::1",
        "192.168.1.5:{port}",
        "",
    ],
)
@pytest.mark.parametrize("built_in", [True, False])
def test_a_name_that_was_led_to_this_machine_gets_nothing(started, host, built_in):
    client = started(built_in=built_in)
    headers = {"host": host.format(port=client.service.port)}
    answers = [
        client.generate(headers),
        client.http.get(LOG, headers=headers),
        client.http.get("/metadata/identity/oauth2/token", headers={"Metadata": "true", **headers}),
    ]
    assert {answer.status_code for answer in answers} <= {400, 403}
    assert not client.service.log.entries


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "127.8.9.1", "[::1]"])
def test_every_name_of_this_machine_with_the_port_is_taken(started, host):
    client = started(built_in=True)
    headers = {"host": f"{host}:{client.service.port}"}
    assert client.generate(headers, prompt=None).status_code == 400


def test_a_request_with_two_host_headers_gets_nothing(client):
    good = f"127.0.0.1:{client.service.port}"
    with socket.create_connection(("127.0.0.1", client.service.port), timeout=10) as raw:
        raw.sendall(
            f"GET {LOG} HTTP/1.1\r\nHost: {good}\r\nHost: evil.example\r\n"
            "api-key: emulator\r\nConnection: close\r\n\r\n".encode()
        )
        status = raw.makefile("rb").readline()
    assert status.split()[1] in (b"400", b"403")


def test_the_built_in_emulator_plays_the_image_endpoints_and_nothing_else(started, file):
    client = started(key=CANARY, built_in=True, directives=False)
    client.http.headers["api-key"] = CANARY
    assert client.generate(width=768, height=768).status_code == 200
    assert client.edit(file(64, 64)).status_code == 200
    client.http.headers["metadata"] = "true"
    for path in (
        LOG,
        "/emulator/fault",
        "/emulator/images/x.png",
        "/msi/token",
        "/metadata/identity/oauth2/token",
        "/t/v2.0/.well-known/openid-configuration",
    ):
        assert client.http.get(path).status_code == 404, path
    order = "/microsoft-mai-image-2-5/v1/microsoft-mai-image-2-5-request"
    assert client.http.post(order, json={"prompt": "a fox"}).status_code == 404


@pytest.mark.parametrize(
    "prompt", ["[[fault status=500]]", "blockprompt", "[[fault answer=huge]]", "[[lattency 9]]"]
)
def test_without_directives_a_prompt_is_nothing_but_a_prompt(started, prompt, decode):
    client = started(directives=False)
    answer = client.generate(
        {"x-emulator-fault": "status=500"}, prompt=prompt, width=768, height=768
    )
    assert decode(answer).size == (768, 768)
    assert client.service.log.entries[-1].fault is None
