"""The two steps of an operator: register an App, and connect it when the function is there."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from orchestrator.cli.github_app.loopback import Loopback
from orchestrator.cli.github_app.manifest import Wish
from orchestrator.cli.github_app.parameters import AppParameters, new_file, settings_for
from orchestrator.errors import TransientError, UpstreamError, UpstreamRefused
from orchestrator.github.app_registration import AppHook, NewApp, registered_app
from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import AppCredential
from orchestrator.github.session import GitHubSession

# Seconds to wait before each further try to get the App for the code. Without an answer its key would be lost.
PAUSES = (1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Registered:
    """An App that was registered and saved.

    Attributes:
        app_id: its id.
        slug: its name in addresses.
        html_url: its page.
        file: where its secrets are.
    """

    app_id: str
    slug: str
    html_url: str
    file: Path

    @property
    def install_url(self) -> str:
        """Where it is installed."""
        return f"{self.html_url}/installations/new"


def register(
    wish: Wish,
    file: Path,
    *,
    force: bool,
    port: int,
    patience: timedelta,
    show: Callable[[str], None],
    sleep: Callable[[float], None],
) -> Registered:
    """Have a person register an App in the browser, and save what GitHub gives for it.

    Args:
        wish: the App.
        file: where its secrets go.
        force: whether they may replace a file.
        port: the port of the page that the person begins at; 0 for any.
        patience: how long the person may take.
        show: brings the person to an address.
        sleep: waits some seconds.

    Raises:
        SettingsError: The file cannot be written, or the port not be opened.
        UpstreamError: Nobody came back from the browser, or GitHub does not give the App.
    """
    with new_file(file, force=force) as write, Loopback(wish, port) as loopback:
        show(loopback.address)
        code = loopback.code(patience.total_seconds())
        client = GitHubClient(wish.api_url)
        try:
            app = _patiently(lambda: registered_app(client, code), sleep)
        except UpstreamError as error:
            raise UpstreamRefused(f"{error}. Delete the App at {wish.apps_url} and begin again") from None
        parameters = AppParameters(
            app_id=app.app_id,
            private_key=app.private_key,
            webhook_secret=app.webhook_secret or secrets.token_hex(32),
            settings=settings_for(wish.github_url, wish.scope),
        )
        try:
            write(parameters.text())
        except OSError as error:
            reason = f"{file} cannot be written ({error.strerror}), and GitHub does not give the App's key again"
            raise UpstreamRefused(f"{reason}. Delete {app.slug} at {wish.apps_url} and begin again") from None
    return Registered(app.app_id, app.slug, app.html_url, file)


def connect(parameters: AppParameters, url: str) -> None:
    """Have the App's deliveries sent to the function, and make sure that GitHub has it so.

    Args:
        parameters: the App.
        url: the function's address, with its key.

    Raises:
        UpstreamError: GitHub does not do it.
        SettingsError: The private key cannot be used.
    """
    client = GitHubClient(parameters.api_url)
    credential = AppCredential(client, parameters.app_id, parameters.private_key)
    hook = AppHook(GitHubSession(client, credential))
    hook.connect(url, parameters.webhook_secret)
    config = hook.config()
    if (_parts(config.url), config.content_type, config.verifies_tls) != (_parts(url), "json", True):
        raise UpstreamRefused("GitHub took the webhook's address, but shows another: look at the App's settings")


def _parts(url: str) -> tuple[object, ...]:
    """Take an address apart, so that it is equal to itself however its key is encoded."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower(), parts.path, parse_qsl(parts.query)


def _patiently(ask: Callable[[], NewApp], sleep: Callable[[float], None]) -> NewApp:
    for pause in PAUSES:
        try:
            return ask()
        except TransientError:
            sleep(pause)
    return ask()
