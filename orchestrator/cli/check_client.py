"""Asks the function how its set-up is: it sees what nobody outside the private network can."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import requests

from orchestrator.cli.explain_client import asked
from orchestrator.egress import DIRECT, Egress
from orchestrator.errors import TransientError, UpstreamRefused


def ask(site: str, key: str, key_name: str, egress: Egress = DIRECT) -> Mapping[str, object]:
    """Return the function's report on its set-up.

    Args:
        site: the function's address, `https://NAME.azurewebsites.net`.
        key: opens it.
        key_name: where the key came from, for messages.
        egress: the way out.

    Raises:
        SettingsError: The address is none.
        UpstreamError: The function does not answer, or refuses.
    """
    answer, host = asked(site, "health", {"full": "1"}, key, egress)
    body = _object(answer)
    if isinstance(body.get("checks"), list) and isinstance(body.get("state"), str):
        return body
    reason = str(body.get("reason") or "")
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise UpstreamRefused(f"{host} refuses the key in {key_name}")
    if answer.status_code == HTTPStatus.FORBIDDEN:
        raise UpstreamRefused(reason or f"{host} admits no calls from this network: look at its access restrictions")
    if answer.status_code == HTTPStatus.NOT_FOUND:
        raise UpstreamRefused(f"{host} has no route for this: is the address right, and its release new enough?")
    raise TransientError(f"{host} answers with {answer.status_code}" + (f": {reason}" if reason else ""))


def _object(answer: requests.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
