"""The emulator as Azure's resource manager: tokens, api-versions, pages, errors, deployments."""

from __future__ import annotations

import pytest
from mai_image.emulator.azure_account import SUBSCRIPTION, AiResource, Deployed

ACCOUNTS = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.CognitiveServices/accounts"
ACCOUNT = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/emulator-rg/providers/"
    "Microsoft.CognitiveServices/accounts/emulator"
)
VERSION = "api-version=2024-10-01"


@pytest.fixture
def manager(started):
    """An emulator whose client has a token for the resource manager, and no key."""
    client = started()
    client.service.grant("arm-token", manager=True)
    del client.http.headers["api-key"]
    client.http.headers["authorization"] = "Bearer arm-token"
    return client


def code(answer):
    return answer.status_code, answer.json()["error"]["code"]


def test_a_login_finds_its_way_from_the_subscriptions_to_the_deployments(manager):
    (subscription,) = manager.http.get("/subscriptions?api-version=2022-12-01").json()["value"]
    assert subscription["subscriptionId"] == SUBSCRIPTION
    (account,) = manager.http.get(f"{ACCOUNTS}?{VERSION}").json()["value"]
    assert account["kind"] == "AIServices"
    assert account["properties"]["endpoint"] == f"{manager.service.url}/"
    found = manager.http.get(f"{account['id']}/deployments?{VERSION}").json()["value"]
    first = found[0]["properties"]
    assert first["model"]["format"] == "Microsoft"
    assert first["rateLimits"] == [{"key": "request", "renewalPeriod": 60, "count": 2}]


def test_it_wants_a_token_for_itself(manager):
    url = "/subscriptions?api-version=2022-12-01"
    manager.service.grant("ai-token")
    wrong = {"authorization": "Bearer ai-token"}
    assert code(manager.http.get(url, headers=wrong)) == (401, "InvalidAuthenticationTokenAudience")
    assert code(manager.http.get(url, headers={"authorization": "Bearer x"})) == (
        401, "InvalidAuthenticationToken",
    )  # fmt: skip
    assert code(manager.http.get(url, headers={"authorization": ""})) == (
        401, "AuthenticationFailed",
    )  # fmt: skip
    assert manager.generate({"authorization": "Bearer arm-token"}).status_code == 401


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", "MissingApiVersionParameter"),
        ("?api-version=2022-12-01", "InvalidApiVersionParameter"),
        ("?api-version=", "InvalidApiVersionParameter"),
    ],
)
def test_every_request_names_its_api_version(manager, query, error):
    assert code(manager.http.get(f"{ACCOUNTS}{query}")) == (400, error)


def test_long_lists_come_in_pages(manager):
    manager.service.azure.page = 2
    url, names = f"{ACCOUNT}/models?{VERSION}", []
    while url:
        answer = manager.http.get(url).json()
        assert 1 <= len(answer["value"]) <= 2
        names += [one["name"] for one in answer["value"]]
        url = answer.get("nextLink", "")
    assert len(names) == len(set(names)) > 6


@pytest.mark.parametrize(
    ("change", "url", "error"),
    [
        (lambda one: one.refused.add("accounts"), ACCOUNTS, (403, "AuthorizationFailed")),
        (lambda one: one.refused.add("models"), f"{ACCOUNT}/models", (403, "AuthorizationFailed")),
        (lambda one: one.resources.clear(), f"{ACCOUNT}/models", (404, "ResourceNotFound")),
        (
            lambda one: setattr(one, "tenant", "another"), ACCOUNTS,
            (401, "InvalidAuthenticationTokenTenant"),
        ),
        (lambda one: None, ACCOUNTS.replace("1111", "9999"), (404, "SubscriptionNotFound")),
    ],
)  # fmt: skip
def test_what_a_login_may_not_see_is_the_services_error(manager, change, url, error):
    change(manager.service.azure.subscriptions[SUBSCRIPTION])
    assert code(manager.http.get(f"{url}?{VERSION}")) == error


def body(model, version, **sku):
    named = {"format": "Microsoft", "name": model, "version": version}
    return {
        "sku": {"name": "GlobalStandard", "capacity": 1, **sku},
        "properties": {"model": named},
    }


def test_a_new_deployment_is_made_and_then_serves_images(manager):
    url = f"{ACCOUNT}/deployments/mine?{VERSION}"
    made = manager.http.put(url, json=body("MAI-Image-2.6", "2026-07-31"))
    assert (made.status_code, made.json()["properties"]["provisioningState"]) == (201, "Creating")
    states = {manager.http.get(url).json()["properties"]["provisioningState"] for _ in range(3)}
    assert states == {"Creating", "Succeeded"}
    assert manager.generate({"api-key": "emulator"}, model="mine").status_code == 200


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"properties": {}}, "InvalidRequestContent"),
        ([], "InvalidRequestContent"),
        (body("MAI-Image-2.6", "1999-01-01"), "DeploymentModelNotSupported"),
        (body("MAI-Image-9", "2026-07-31"), "DeploymentModelNotSupported"),
        (body("MAI-Image-2.6", "2026-07-31", name="Standard"), "InvalidResourceProperties"),
    ],
)
def test_a_deployment_that_cant_be_is_refused(manager, wanted, error):
    answer = manager.http.put(f"{ACCOUNT}/deployments/mine?{VERSION}", json=wanted)
    assert code(answer) == (400, error)


def test_a_deployment_that_is_deleted_serves_no_image(manager):
    resource = manager.service.azure.subscriptions[SUBSCRIPTION].resources["emulator"]
    del resource.deployments["MAI-Image-2.6"]
    assert manager.generate({"api-key": "emulator"}).status_code == 404


def test_a_fault_strikes_the_resource_manager_alone(manager):
    manager.service.manager_fault("status=503 body=html first=1")
    assert manager.http.get("/subscriptions?api-version=2022-12-01").status_code == 503
    assert manager.http.get("/subscriptions?api-version=2022-12-01").status_code == 200


def test_a_second_resource_can_be_added(manager):
    subscription = manager.service.azure.subscriptions[SUBSCRIPTION]
    added = subscription.add(AiResource("Second", endpoint="https://x.services.ai.azure.com"))
    added.deployments["d"] = Deployed("MAI-Image-2.7", rpm=6)
    assert len(manager.http.get(f"{ACCOUNTS}?{VERSION}").json()["value"]) == 2
