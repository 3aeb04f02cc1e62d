"""What most tests need: app settings that are right, and deliveries as GitHub signs them."""

import functools
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from orchestrator.config.settings import Settings
from orchestrator.runners.notes import TaskNotes
from orchestrator.runners.task import TaskState

SECRET = "a-webhook-secret"
GITHUB_ADDRESS = "140.82.115.10"

ENVIRONMENT: Mapping[str, str] = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "BatchAccountUrl": "https://acct.westeurope.batch.azure.com",
    "BatchAccountName": "acct",
    "BatchAccountKey": "a2V5",
    "ContainerRegistryServer": "registry.azurecr.io",
    "UbuntuPool": "batchLinux",
    "WindowsPool": "batchWindows",
    "GithubToken": "ghp_token",
    "GithubWebhookSecret": SECRET,
}


def environment(**changes: str) -> dict[str, str]:
    """Return app settings that are right, with these changed; an empty one counts as absent."""
    return {**ENVIRONMENT, **changes}


def settings(**changes: str) -> Settings:
    """Return the settings read from `environment(**changes)`."""
    return Settings.from_environment(environment(**changes))


def queued_job(*labels: str, **changes: Any) -> dict[str, Any]:
    """Return the payload of a queued job of `acme/app`, with top-level properties changed."""
    job = {
        "id": 29679449526,
        "run_id": 10743561234,
        "run_attempt": 1,
        "name": "build",
        "status": "queued",
        "labels": list(labels or ("self-hosted", "ubuntu-latest")),
        "runner_id": None,
    }
    payload: dict[str, Any] = {
        "action": "queued",
        "workflow_job": job,
        "repository": {
            "name": "app",
            "full_name": "acme/app",
            "owner": {"login": "acme"},
            "private": True,
            "visibility": "private",
        },
        "organization": {"login": "acme"},
    }
    return {**payload, **changes}


NOTES = {field.name for field in fields(TaskNotes)}


def task_state(task_id: str, pool: str, state: Any, created_at: datetime, /, **values: Any) -> TaskState:
    """Return what Batch says of a task; fields of its notes may be given beside its own."""
    notes = {key: value for key, value in values.items() if key in NOTES}
    own = {key: value for key, value in values.items() if key not in NOTES}
    return TaskState(task_id, pool, state, created_at, notes=TaskNotes(**notes), **own)


@functools.cache
def private_key() -> str:
    """Return a GitHub App's private key in PEM form."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def sign(body: bytes, secret: str = SECRET) -> str:
    """Return the `X-Hub-Signature-256` of a body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def delivery(
    payload: object, *, event: str = "workflow_job", secret: str = SECRET, **headers: str | None
) -> tuple[dict[str, str], bytes]:
    """Return headers (names in lower case) and body of a delivery as GitHub sends it through App Service.

    Args:
        payload: the JSON payload, or the body itself.
        event: the event's name.
        secret: signs it.
        headers: changed headers, `_` for `-`; None takes one away.
    """
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    sent: dict[str, str | None] = {
        "content-type": "application/json",
        "user-agent": "GitHub-Hookshot/0000000",
        "x-github-event": event,
        "x-github-delivery": str(uuid.uuid4()),
        "x-github-hook-id": "1",
        "x-hub-signature-256": sign(body, secret),
        "x-forwarded-for": f"{GITHUB_ADDRESS}:51234",
    }
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return {name: value for name, value in sent.items() if value is not None}, body
