"""Asks the function why a job waits: this works from outside the private network."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import requests

from orchestrator.bounded_http import bounded_session
from orchestrator.egress import DIRECT, Egress, no_proxy_entries, proxy_url
from orchestrator.errors import SettingsError, TransientError, UpstreamRefused

# Seconds to connect, and seconds until the answer begins and in all: the function may take 25.
TIMEOUTS = (5.0, 30.0)
TOTAL_TIMEOUT = 40.0


def egress_of(environment: Mapping[str, str]) -> Egress:
    """Return how calls leave this machine's network: `HTTPS_PROXY` and `NO_PROXY`, in either case.

    Args:
        environment: the process's.

    Raises:
        SettingsError: `HTTPS_PROXY` is no HTTP proxy.
    """
    proxy, without = (
        environment.get(name.lower()) or environment.get(name, "") for name in ("HTTPS_PROXY", "NO_PROXY")
    )
    try:
        return Egress(proxy_url(proxy) if proxy else None, no_proxy_entries(without))
    except ValueError as error:
        raise SettingsError.of("HTTPS_PROXY", str(error)) from None


def ask(site: str, key: str, job: str, egress: Egress = DIRECT) -> Mapping[str, object]:
    """Return the function's report on a job.

    Args:
        site: the function's address, `https://NAME.azurewebsites.net`.
        key: opens it.
        job: the job's address or id.
        egress: the way out.

    Raises:
        SettingsError: The address is none, or the function does not understand which job is meant.
        UpstreamError: The function does not answer, or refuses.
    """
    answer, host = asked(site, "explain", {"job": job}, key, egress)
    return _report(answer, host)


def asked(
    site: str, route: str, query: Mapping[str, str], key: str, egress: Egress = DIRECT
) -> tuple[requests.Response, str]:
    """Return what a route for operators answers, and the host that it is at.

    Args:
        site: the function's address, `https://NAME.azurewebsites.net`.
        route: the route's name.
        query: the request's parameters.
        key: opens it.
        egress: the way out.

    Raises:
        SettingsError: The address is none.
        TransientError: The function does not answer.
    """
    try:
        address = urlsplit(site)
    except ValueError:
        address = urlsplit("")
    local = address.scheme == "http" and address.hostname in ("127.0.0.1", "localhost")
    if not address.hostname or address.username or not (address.scheme == "https" or local):
        raise SettingsError.of("--url", "is not an https:// address")
    url = f"{address.scheme}://{address.netloc}/api/{route}"
    headers = {"Accept": "application/json", "x-functions-key": key}
    try:
        # A redirect would be handed the key.
        answer = bounded_session(TOTAL_TIMEOUT, egress).get(
            url, params=query, headers=headers, timeout=TIMEOUTS, allow_redirects=False
        )
    except requests.RequestException as error:
        raise TransientError(f"{address.netloc} does not answer ({type(error).__name__})") from None
    return answer, address.netloc


def _report(answer: requests.Response, host: str) -> Mapping[str, object]:
    try:
        body: Any = answer.json()
    except ValueError:
        body = None
    reason = body.get("reason") if isinstance(body, dict) else None
    if answer.status_code == HTTPStatus.OK and isinstance(body, dict) and isinstance(body.get("verdict"), str):
        return body
    if answer.status_code == HTTPStatus.BAD_REQUEST and reason:
        raise SettingsError.of("JOB", str(reason))
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise UpstreamRefused(f"{host} refuses the key in OPERATOR_KEY")
    if answer.status_code == HTTPStatus.FORBIDDEN:
        raise UpstreamRefused(reason or f"{host} admits no calls from this network: look at its access restrictions")
    if answer.status_code == HTTPStatus.NOT_FOUND:
        raise UpstreamRefused(
            f"{host} has no function that explains: is the address right, and its release new enough?"
        )
    raise TransientError(f"{host} answers with {answer.status_code}" + (f": {reason}" if reason else ""))
