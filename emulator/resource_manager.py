"""Azure Resource Manager as far as `mai-image init` and `doctor` need it (api-versions as in
Microsoft's reference): who may see what, pages, and its errors.

- GET /subscriptions and /tenants, api-version 2022-12-01
- GET …/providers/Microsoft.CognitiveServices/accounts, api-version 2024-10-01, and below an
  account GET deployments, deployments/{name} and models, PUT deployments/{name}

It wants a token for the resource manager itself: one for the AI services is another audience. The
names in its paths have no case.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from .answers import Answer, json_answer
from .azure_account import (
    AiResource,
    AzureSubscription,
    Deployed,
    deployment_item,
    model_item,
)
from .refusals import Refusal
from .state import ServedRequest

SUBSCRIPTIONS_VERSION = "2022-12-01"
ACCOUNTS_VERSION = "2024-10-01"

ACCOUNTS_PATH = "/subscriptions/{subscription}/providers/{provider}/accounts"
ACCOUNT_PATH = (
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/{provider}/accounts/{account}"
)

PROVIDER = "Microsoft.CognitiveServices"


def manager_envelope(refused: Refusal) -> object:
    """The JSON of an error."""
    return {"error": {"code": refused.code, "message": refused.message}}


async def answer_subscriptions(request: ServedRequest) -> Answer:
    """GET /subscriptions."""
    await _check(request, SUBSCRIPTIONS_VERSION)
    items = [
        {
            "id": f"/subscriptions/{one.id}",
            "subscriptionId": one.id,
            "tenantId": one.tenant,
            "displayName": one.name,
            "state": one.state,
        }
        for one in request.state.azure.subscriptions.values()
    ]
    return _page(request, items)


async def answer_tenants(request: ServedRequest) -> Answer:
    """GET /tenants."""
    await _check(request, SUBSCRIPTIONS_VERSION)
    tenants = request.state.azure.tenants
    return _page(
        request,
        [
            {"id": f"/tenants/{tenant}", "tenantId": tenant, "displayName": name}
            for tenant, name in tenants.items()
        ],
    )


async def answer_accounts(request: ServedRequest) -> Answer:
    """GET …/accounts."""
    await _check(request, ACCOUNTS_VERSION)
    subscription = _subscription(request, "accounts")
    items = []
    for one in subscription.resources.values():
        endpoint = one.endpoint or request.origin
        items.append(
            {
                "id": _account_id(subscription, one),
                "name": one.name,
                "type": f"{PROVIDER}/accounts",
                "kind": one.kind,
                "location": one.location,
                "sku": {"name": "S0"},
                "properties": {
                    "endpoint": f"{endpoint}/",
                    "endpoints": {"AI Foundry API": f"{endpoint}/"},
                    "provisioningState": "Succeeded",
                },
            }
        )
    return _page(request, items)


async def answer_deployments(request: ServedRequest) -> Answer:
    """GET …/deployments."""
    await _check(request, ACCOUNTS_VERSION)
    base, resource = _account(request, "deployments")
    return _page(request, [deployment_item(base, *named) for named in resource.deployments.items()])


async def answer_models(request: ServedRequest) -> Answer:
    """GET …/models."""
    await _check(request, ACCOUNTS_VERSION)
    _, resource = _account(request, "models")
    return _page(request, [model_item(*named) for named in resource.deployable.items()])


async def answer_deployment(request: ServedRequest) -> Answer:
    """GET …/deployments/{name}."""
    await _check(request, ACCOUNTS_VERSION)
    base, resource = _account(request, "deployments")
    name = request.http.match_info["name"]
    if name not in resource.deployments:
        raise Refusal(404, "ResourceNotFound", f"The deployment '{name[:100]}' was not found.")
    return json_answer(200, deployment_item(base, name, resource.deployments[name]))


async def answer_new_deployment(request: ServedRequest) -> Answer:
    """PUT …/deployments/{name}: a new one is "Creating" at first."""
    await _check(request, ACCOUNTS_VERSION)
    base, resource = _account(request, "create")
    name = request.http.match_info["name"]
    try:
        body = json.loads(await request.http.read())
        model, sku = body["properties"]["model"], body["sku"]
        asked = (str(model["format"]), str(model["name"]), str(model["version"]))
        capacity = sku["capacity"]
    except (ValueError, TypeError, KeyError):
        message = "The request content was invalid and could not be deserialized."
        raise Refusal(400, "InvalidRequestContent", message) from None
    request.entry.fields = {"deployment": name, "model": asked[1], "sku": sku.get("name")}
    offered = {
        (str(one["format"]), str(one["name"]), str(one["version"]))
        for one in (model_item(*named) for named in resource.deployable.items())
    }
    if asked not in offered:
        message = f"The model {str(asked)[:200]} is not supported here."
        raise Refusal(400, "DeploymentModelNotSupported", message)
    if sku.get("name") != "GlobalStandard" or capacity != 1:
        raise Refusal(400, "InvalidResourceProperties", "The sku is not supported by the model.")
    is_new = name not in resource.deployments
    resource.deployments[name] = Deployed(asked[1], version=asked[2], looks=2)
    return json_answer(
        201 if is_new else 200, deployment_item(base, name, resource.deployments[name])
    )


async def _check(request: ServedRequest, version: str) -> None:
    """The order is the service's: token, api-version; then a fault that was asked for."""
    request.state.access.check_manager(request.http.headers)
    given = request.http.query.get("api-version")
    if given is None:
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise Refusal(400, "MissingApiVersionParameter", message)
    if given != version:
        message = f"The api-version '{given[:40]}' is invalid; supported is '{version}'."
        raise Refusal(400, "InvalidApiVersionParameter", message)
    state = request.state
    await request.apply_fault(state.fault_counts.choose({"manager": state.manager_fault}))


def _subscription(request: ServedRequest, wanted: str) -> AzureSubscription:
    info, azure = request.http.match_info, request.state.azure
    if info["provider"].lower() != PROVIDER.lower():
        raise Refusal(404, "InvalidResourceNamespace", "The resource namespace is invalid.")
    found = azure.subscriptions.get(info["subscription"].lower())
    if found is None:
        message = f"The subscription '{info['subscription'][:60]}' could not be found."
        raise Refusal(404, "SubscriptionNotFound", message)
    if found.tenant != azure.tenant:
        message = "The access token is from the wrong issuer. It must match the tenant."
        raise Refusal(401, "InvalidAuthenticationTokenTenant", message)
    if wanted in found.refused:
        message = (
            f"The client does not have authorization to perform action '{PROVIDER}/{wanted}' over "
            f"scope '/subscriptions/{found.id}' or the scope is invalid."
        )
        raise Refusal(403, "AuthorizationFailed", message)
    return found


def _account(request: ServedRequest, wanted: str) -> tuple[str, AiResource]:
    """The id of the account that the path names, and the account."""
    subscription, info = _subscription(request, wanted), request.http.match_info
    found = subscription.resources.get(info["account"].lower())
    if found is None or found.group.lower() != info["group"].lower():
        message = f"The Resource '{PROVIDER}/accounts/{info['account'][:60]}' was not found."
        raise Refusal(404, "ResourceNotFound", message)
    return _account_id(subscription, found), found


def _account_id(subscription: AzureSubscription, resource: AiResource) -> str:
    return ACCOUNT_PATH.format(
        subscription=subscription.id,
        group=resource.group,
        provider=PROVIDER,
        account=resource.name,
    )


def _page(request: ServedRequest, items: Sequence[Mapping[str, object]]) -> Answer:
    """One page, and the address of the next one in nextLink."""
    query = request.http.query
    try:
        start = int(query.get("$skiptoken", "0"))
    except ValueError:
        raise Refusal(400, "InvalidSkipToken", "The skip token is invalid.") from None
    end = start + request.state.azure.page
    answer: dict[str, object] = {"value": list(items[start:end])}
    if end < len(items):
        more = urlencode({"api-version": query["api-version"], "$skiptoken": str(end)})
        answer["nextLink"] = f"{request.origin}{request.http.path}?{more}"
    return json_answer(200, answer)
