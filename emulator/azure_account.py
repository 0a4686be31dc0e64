"""What the emulated login can see in Azure: tenants, subscriptions, AI resources, deployments.

`AzureAccount.usual` is one of each, which leads to this emulator; tests add to it and take away.
Not for several threads at once, but between two requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..mai.models import CATALOGUE
from .options import Options

TENANT = "72f988bf-0000-0000-0000-000000000001"
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"

USUAL_RPM = 2
"""Requests a minute at the lowest tier (Microsoft's table for MAI-Image-2.6)."""


@dataclass
class Deployed:
    """One deployment: its model's format, name and version, its quota and its state."""

    model: str
    rpm: float = USUAL_RPM
    version: str = ""
    format: str = "Microsoft"
    state: str = "Succeeded"
    looks: int = 0
    """How often it is still "Creating" when it is looked at."""


@dataclass
class AiResource:
    """One resource. `endpoint` "" is the emulator itself; `deployable` are models by name, each
    with the day from which it is retired, "" for none."""

    name: str
    group: str = "emulator-rg"
    location: str = "swedencentral"
    kind: str = "AIServices"
    endpoint: str = ""
    deployments: dict[str, Deployed] = field(default_factory=dict)
    deployable: dict[str, str] = field(default_factory=lambda: dict.fromkeys(CATALOGUE, ""))


@dataclass
class AzureSubscription:
    """One subscription with its resources by name. `refused` are the things that its user has no
    role for: "accounts", "deployments", "models", "create"."""

    id: str
    name: str
    tenant: str = TENANT
    state: str = "Enabled"
    resources: dict[str, AiResource] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)

    def add(self, resource: AiResource) -> AiResource:
        """One more resource."""
        self.resources[resource.name.lower()] = resource
        return resource


@dataclass
class AzureAccount:
    """All that a login sees. `page` is how many items one answer has; `tenants` are names by id;
    the token is for `tenant`, and subscriptions of another one answer 401."""

    subscriptions: dict[str, AzureSubscription] = field(default_factory=dict)
    tenants: dict[str, str] = field(default_factory=lambda: {TENANT: "Emulator"})
    tenant: str = TENANT
    page: int = 100

    @classmethod
    def usual(cls, options: Options) -> AzureAccount:
        """One subscription with one resource, which has the emulator's deployments."""
        account = cls(page=options.page_size)
        resource = account.add(AzureSubscription(SUBSCRIPTION, "Emulator")).add(
            AiResource("emulator")
        )
        for name, model in options.deployments.items():
            rpm = options.rpm_by_deployment.get(name, options.rpm)
            version = CATALOGUE[model].version
            resource.deployments[name] = Deployed(model, rpm or USUAL_RPM, version)
        return account

    def add(self, subscription: AzureSubscription) -> AzureSubscription:
        """One more subscription."""
        self.subscriptions[subscription.id.lower()] = subscription
        return subscription

    def served(self, name: str) -> str | None:
        """The model of a deployment of this emulator; None where it has no such deployment."""
        for subscription in self.subscriptions.values():
            for resource in subscription.resources.values():
                found = resource.deployments.get(name)
                if found and not resource.endpoint and found.model in CATALOGUE:
                    return found.model
        return None


def deployment_item(base: str, name: str, deployed: Deployed) -> Mapping[str, object]:
    """A deployment as the resource manager shows it."""
    creating = deployed.looks > 0
    deployed.looks = max(0, deployed.looks - 1)
    return {
        "id": f"{base}/deployments/{name}",
        "type": "Microsoft.CognitiveServices/accounts/deployments",
        "name": name,
        "sku": {"name": "GlobalStandard", "capacity": 1},
        "properties": {
            "model": {
                "format": deployed.format,
                "name": deployed.model,
                "version": deployed.version,
            },
            "provisioningState": "Creating" if creating else deployed.state,
            "rateLimits": [{"key": "request", "renewalPeriod": 60, "count": deployed.rpm}],
        },
    }


def model_item(name: str, retires: str) -> Mapping[str, object]:
    """A model that can be deployed, as the resource manager shows it."""
    known = CATALOGUE.get(name)
    shown: dict[str, object] = {
        "format": "Microsoft",
        "name": name,
        "version": known.version if known else "2027-01-01",
        "isDefaultVersion": True,
        "lifecycleStatus": "Preview",
        "skus": [{"name": "GlobalStandard", "capacity": {"default": 1, "maximum": 10}}],
    }
    return {**shown, "deprecation": {"inference": retires}} if retires else shown
