"""Asks the function's routes for operators: this works from outside the private network."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import requests

from orchestrator.bounded_http import bounded_session
from orchestrator.cli.address import plain_url
from orchestrator.egress import Egress, no_proxy_entries, proxy_url
from orchestrator.errors import SettingsError, TransientError, UpstreamError, UpstreamRefused

# Where the function's key is: in no list of processes.
KEY = "OPERATOR_KEY"
# Seconds to connect, and seconds until the answer begins and in all: the function may take 25.
TIMEOUTS = (5.0, 30.0)
TOTAL_TIMEOUT = 40.0


@dataclass(frozen=True)
class Reply:
    """What a route has answered.

    Attributes:
        status: the HTTP status.
        body: the JSON object; empty if it is none.
        host: where the function is.
    """

    status: int
    body: Mapping[str, object]
    host: str

    @property
    def reason(self) -> str:
        """The answer's `reason`, if it has one."""
        return str(self.body.get("reason") or "")

    def refusal(self, no_route: str) -> UpstreamError:
        """Return what an answer means that is no report.

        Args:
            no_route: what to say of a function without this route.
        """
        match self.status:
            case HTTPStatus.UNAUTHORIZED:
                return UpstreamRefused(f"{self.host} refuses the key in {KEY}")
            case HTTPStatus.FORBIDDEN:
                closed = f"{self.host} admits no calls from this network: look at its access restrictions"
                return UpstreamRefused(self.reason or closed)
            case HTTPStatus.NOT_FOUND:
                hint = "is the address right, and its release new enough?"
                return UpstreamRefused(f"{self.host} has no {no_route}: {hint}")
            case _:
                return TransientError(f"{self.host} answers with {self.status}" + (self.reason and f": {self.reason}"))


class OperatorClient:
    """Asks one function.

    Args:
        site: the function's address, `https://NAME.azurewebsites.net`.
        environment: the process's: it holds the key, and may name a proxy.

    Raises:
        SettingsError: The key is missing, or `HTTPS_PROXY` is no HTTP proxy.
    """

    def __init__(self, site: str, environment: Mapping[str, str]) -> None:
        self._site = site
        self._key = environment.get(KEY, "").strip()
        if not self._key:
            raise SettingsError.of(KEY, "is missing in the environment: the function's key")
        self._egress = egress_of(environment)

    def get(self, route: str, query: Mapping[str, str]) -> Reply:
        """Return what a route answers.

        Args:
            route: the route's name.
            query: the request's parameters.

        Raises:
            SettingsError: The address is none.
            TransientError: The function does not answer.
        """
        address = urlsplit(plain_url("--url", self._site, query=True))
        url = f"{address.scheme}://{address.netloc}/api/{route}"
        headers = {"Accept": "application/json", "x-functions-key": self._key}
        try:
            # A redirect would be handed the key.
            answer = bounded_session(TOTAL_TIMEOUT, self._egress).get(
                url, params=query, headers=headers, timeout=TIMEOUTS, allow_redirects=False
            )
        except requests.RequestException as error:
            raise TransientError(f"{address.netloc} does not answer ({type(error).__name__})") from None
        return Reply(answer.status_code, _object(answer), address.netloc)


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


def _object(answer: requests.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
