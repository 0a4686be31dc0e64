"""`mai-image init --azure`: a profile out of what a login finds in Azure by itself.

Subscriptions, AI resources and their deployments are listed; a person picks, or there is only one.
Whatever is missing ends with the command that mends it, and a deployment is made where it is asked
for.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ..mai.auth import METHODS, Entra, Network
from ..mai.errors import InputError
from ..mai.models import CATALOGUE, DEFAULT_MODEL, Model
from ..mai.profiles import Profiles
from ..mai.types import Usage
from .azure_items import (
    DeployableModel,
    FoundryResource,
    ImageDeployment,
    Subscription,
    printable,
    quoted,
)
from .model_list import unpublished_price
from .questions import Questions
from .resource_manager import SKU, ManagerError, ResourceManager, Survey, parse_manager

REGIONS = "West Central US, East US, West US, West Europe, Sweden Central, South India, UAE North"
"""Where MAI image models can be deployed (Microsoft's documentation)."""

SQUARE_TOKENS = Usage(image_out=1024)
"""Of an image of 1024 x 1024; a prompt adds a hundredth of a cent or two."""

AGAIN = "then run this command again."

Found = tuple[FoundryResource, list[ImageDeployment]]


def add_azure_options(parser: argparse.ArgumentParser) -> None:
    """How to find the account, and what to make in it."""
    add = parser.add_argument
    add("--azure", nargs="?", const="", choices=["", *METHODS], metavar="METHOD",
        help="find resource and deployments by Entra ID (az login, …)")  # fmt: skip
    add("--subscription", metavar="NAME", help="only this subscription: its name or its id")
    add("--resource", metavar="NAME", help="this AI resource: its name or its id")
    add("--create", metavar="MODEL[=NAME]", help="make a deployment of this model; asks first")
    add("--resource-manager", metavar="URL", help="of another cloud, such as AzureUSGovernment")
    add("--yes", action="store_true", help="ask nothing")


def sign_in_method(arguments: argparse.Namespace) -> str:
    """How to sign in: as --azure or --entra say. A tenant can be named to the Azure CLI alone."""
    method = arguments.azure or arguments.entra or "default"
    named = arguments.tenant_id and "tenant_id" not in METHODS[method].settings
    return "azure_cli" if named and method == "default" else str(method)


def find_account(
    arguments: argparse.Namespace, profiles: Profiles, network: Network, asks: Questions | None
) -> dict[str, Any]:
    """The settings that the login's account gives: endpoint, deployments, requests a minute.

    `asks` asks a person, None where nobody can be asked. Raises a MaiError.
    """
    host = parse_manager(arguments.resource_manager, network)
    entra = Entra(
        sign_in_method(arguments),
        arguments.client_id,
        arguments.tenant_id,
        scope=host.scope,
        proxy=network.proxy if network.proxy_address else None,
    )
    with ResourceManager(host, profiles.sign_in(entra)) as azure:
        azure.sign_in()
        found = _pick(azure, arguments, asks)
        if arguments.create or not _callable(found[1]):
            found = (found[0], _deploy(azure, found, arguments, asks))
    return account_settings(*found, endpoint=arguments.endpoint)


def account_settings(
    resource: FoundryResource, deployments: Sequence[ImageDeployment], endpoint: str | None
) -> dict[str, Any]:
    """A resource and its deployments as settings of a profile; `endpoint` is a gateway's."""
    if not (endpoint or resource.endpoint):
        raise ManagerError(
            f"The resource {printable(resource.name)} names no endpoint of Azure's own.",
            "Give it by --endpoint URL, if a key may go there.",
        )
    by_model: dict[str, list[str]] = {}
    for one in _usable(deployments):
        by_model.setdefault(one.model, []).append(one.name)
    return {
        "service": "foundry",
        "endpoint": endpoint or resource.endpoint,
        "deployments": by_model,
        "requests_a_minute": rates_setting(account_rates(_usable(deployments))),
    }


def account_rates(deployments: Sequence[ImageDeployment]) -> dict[str, float]:
    """Requests a minute by model, the least of its deployments; without those not known."""
    rates: dict[str, float] = {}
    for one in deployments:
        if one.rpm is not None:
            rates[one.model] = min(one.rpm, rates.get(one.model, one.rpm))
    return rates


def rates_setting(rates: dict[str, float]) -> float | dict[str, float] | None:
    """`requests_a_minute` as it stands in profiles.toml: one number where all are alike."""
    values = set(rates.values())
    return values.pop() if len(values) == 1 else rates or None


def _usable(deployments: Sequence[ImageDeployment]) -> list[ImageDeployment]:
    return [one for one in deployments if one.is_ready and one.is_known]


def _callable(deployments: Sequence[ImageDeployment]) -> list[ImageDeployment]:
    """Those that still make images: a retired model's deployment is listed, but answers no more."""
    return [one for one in _usable(deployments) if not CATALOGUE[one.model].is_retired]


# What is there


def _pick(azure: ResourceManager, arguments: argparse.Namespace, asks: Questions | None) -> Found:
    """The resource to use, with its deployments."""
    named = arguments.subscription
    if not named and (arguments.resource or "").startswith("/"):
        named = [*arguments.resource.split("/"), "", "", ""][2]
    survey = azure.survey(_subscriptions(azure, named))
    _show(survey)
    found = _named(survey, arguments.resource)
    if not found:
        raise _nothing_found(azure, survey)
    ready = [one for one in found if _callable(one[1])]
    found = found if arguments.create else ready or found
    if len(found) == 1:
        return found[0]
    names = {one[0].id: f"{printable(one[0].name)}, {_where(one[0])}" for one in found}
    if asks is None or arguments.yes:
        listed = "; ".join(names.values())
        raise InputError(
            f"There are {len(found)} AI resources to choose from: {listed}.",
            "Give --resource NAME, and --subscription NAME where names are alike.",
        )
    chosen = asks.choice("Which resource?", names)
    return next(one for one in found if one[0].id == chosen)


def _subscriptions(azure: ResourceManager, named: str | None) -> list[Subscription]:
    """Those to look into; one that is disabled is told and left out."""
    all_of_them = azure.subscriptions()
    if not all_of_them:
        raise ManagerError(
            "This login sees no subscription." + _tenants(azure),
            f"Run `az login --tenant ID` for the tenant that has your resource, {AGAIN} Without "
            "any role there, have an owner run `az role assignment create --assignee YOU --role "
            '"Cognitive Services User" --scope /subscriptions/ID`.',
        )
    wanted = [
        one
        for one in all_of_them
        if named is None or named.lower() in (one.id.lower(), one.name.lower())
    ]
    if not wanted:
        listed = ", ".join(f"{printable(one.name)} ({one.id})" for one in all_of_them[:20])
        raise InputError(
            f"This login sees no subscription {printable(named or '')!r}.{_tenants(azure)}",
            f"It sees: {listed}. For another tenant run `az login --tenant ID`, {AGAIN}",
        )
    usable = [one for one in wanted if one.usable]
    for one in wanted:
        if not one.usable:
            print(f"  ! the subscription {printable(one.name)} is disabled: left out")
    if not usable:
        raise ManagerError(
            "Every subscription that this login sees is disabled.",
            f"Enable one in the Azure portal, or run `az login --tenant ID`, {AGAIN}",
        )
    return usable


def _tenants(azure: ResourceManager) -> str:
    """A sentence about the login's tenants, where there are several."""
    tenants = azure.tenants()
    if len(tenants) < 2:
        return ""
    listed = ", ".join(f"{printable(name) or '?'} ({tenant})" for tenant, name in tenants[:10])
    return f" It belongs to {len(tenants)} tenants and sees one at a time: {listed}."


def _show(survey: Survey) -> None:
    """Print what was found, and what could not be read."""
    shown = None
    for resource, deployments in survey.found:
        if resource.subscription != shown:
            shown = resource.subscription
            print(f"{printable(shown.name)} ({shown.id})")
        print(f"  {printable(resource.name)}, {printable(resource.location)}")
        for deployment in deployments:
            print(f"    {deployment}")
        if not deployments:
            print("    no MAI image model is deployed")
    for problem in survey.problems:
        print(f"  ! {problem}")


def _named(survey: Survey, name: str | None) -> list[Found]:
    """The resources of that name or id, all without one."""
    if name is None:
        return survey.found
    wanted = name.lower().rstrip("/")
    found = [one for one in survey.found if wanted in (one[0].name.lower(), one[0].id.lower())]
    if not found and survey.found:
        listed = ", ".join(printable(one[0].name) for one in survey.found[:20])
        raise InputError(f"There is no AI resource {printable(name)!r}.", f"There are: {listed}.")
    return found


def _nothing_found(azure: ResourceManager, survey: Survey) -> ManagerError:
    """The error where no resource can be used: the first refusal, or that there is none."""
    if survey.problems:
        return survey.problems[0]
    return ManagerError(
        "No subscription of this login has an AI resource (kind AIServices)." + _tenants(azure),
        "Make one: `az cognitiveservices account create --name NAME --resource-group GROUP --kind "
        f"AIServices --sku S0 --location swedencentral --custom-domain NAME`, {AGAIN} Regions with "
        f"MAI image models: {REGIONS}.",
    )


def _where(resource: FoundryResource) -> str:
    return f"{printable(resource.location)}, in {printable(resource.subscription.name)}"


# What is to be made


def _deploy(
    azure: ResourceManager, found: Found, arguments: argparse.Namespace, asks: Questions | None
) -> list[ImageDeployment]:
    """The resource's deployments with the new one, which is made where somebody agrees."""
    resource, deployments = found
    wanted, _, name = (arguments.create or DEFAULT_MODEL).partition("=")
    meant = CATALOGUE.find(wanted)
    wanted = meant.name if meant else wanted.strip()
    there = [one for one in _usable(deployments) if one.model == wanted]
    if there and not name:
        print(f"{wanted} is deployed already: {printable(there[0].name)}")
        return deployments
    for one in deployments:
        is_meant = arguments.create is None or (one.model == wanted and name in ("", one.name))
        if is_meant and one.is_known and one.is_coming:
            print(f"{printable(one.name)} is being deployed: waiting for it")
            return [*deployments, azure.wait_for(resource, one.name)]
    try:
        model = _deployable(azure, resource, wanted)
    except ManagerError as error:
        if arguments.create is not None or error.status is None:
            raise
        # Which models there are can't be read, but that none is deployed is known.
        guess = DeployableModel(wanted, CATALOGUE[wanted].version, (), None)
        raise _no_deployment(azure, found, guess) from None
    if arguments.create is None and (asks is None or arguments.yes):
        raise _no_deployment(azure, found, model)
    name = name or wanted
    if azure.has_deployment(resource, name):
        raise InputError(
            f"{printable(resource.name)} has a deployment {printable(name)!r} already.",
            f"Give the new one another name: --create {wanted}=NAME; or delete that one first: "
            f"`{resource.az('deployment delete', f'--deployment-name {quoted(name)}')}`.",
        )
    if not _agrees(resource, wanted, name, asks, yes=arguments.yes):
        raise _no_deployment(azure, found, model)
    made = azure.create(resource, name, model)
    print(f"{printable(made.name)} is deployed.")
    return [*deployments, made]


def _agrees(
    resource: FoundryResource, wanted: str, name: str, asks: Questions | None, *, yes: bool
) -> bool:
    """Shows the price; whether the deployment may be made. InputError where nobody can say."""
    print(price_of_images(CATALOGUE[wanted]))
    if yes:
        return True
    if asks is None:
        raise InputError("--create asks first, and nobody is here to ask.", "Give --yes too.")
    named = "" if name == wanted else f" as {printable(name)}"
    return asks.agreed(f"Deploy {wanted}{named} on {printable(resource.name)} now?")


def _deployable(azure: ResourceManager, resource: FoundryResource, wanted: str) -> DeployableModel:
    """The model as the resource can deploy it, its usual or newest version."""
    known = CATALOGUE.get(wanted)
    if known is None or known.is_retired:
        why = known.retirement_note() if known else f"There is no model {printable(wanted)!r}."
        names = ", ".join(name for name, one in CATALOGUE.items() if not one.is_retired)
        raise InputError(why, f"Choose one of: {names}.")
    models = azure.models(resource)
    able = [one for one in models if one.name == wanted and (SKU in one.skus or not one.skus)]
    if not able:
        names = ", ".join(dict.fromkeys(printable(one.name) for one in models)) or "no MAI model"
        raise ManagerError(
            f"The resource {printable(resource.name)} in {printable(resource.location)} can't "
            f"deploy {wanted}; it can deploy: {names}.",
            f"Choose one of these, or a resource in another region ({REGIONS}): see "
            f"`{resource.az('list-models')}`.",
        )
    return max(able, key=lambda one: (one.is_default, one.version))


def _no_deployment(azure: ResourceManager, found: Found, model: DeployableModel) -> ManagerError:
    resource, deployments = found
    what = "has no deployment of a MAI image model"
    if deployments:
        what = f"has no deployment that can be called: {'; '.join(map(str, deployments))}"
    command = resource.az(
        "deployment create",
        f"--deployment-name {model.name} --model-name {model.name} --model-format Microsoft",
        f"--model-version {quoted(model.version)} --sku-name {SKU} --sku-capacity 1",
    )
    return ManagerError(
        f"The resource {printable(resource.name)} {what}." + _tenants(azure),
        f"Make one: `mai-image init --azure --create {model.name}`, or `{command}`, {AGAIN} Both "
        "need the role Cognitive Services Contributor.",
    )


def price_of_images(model: Model) -> str:
    """What images of a model cost, for whoever is asked whether to deploy it."""
    price = model.price
    rates = f"{price.text_in:g} / {price.image_in:g} / {price.image_out:g} USD per 1M tokens"
    about = "" if model.price_known else f" ({unpublished_price(model)})"
    return (
        f"{model.name}: ${model.cost(SQUARE_TOKENS):.4f} for an image of 1024 x 1024, {rates} of "
        f"text in, image in, image out{about}. The deployment itself costs nothing."
    )
