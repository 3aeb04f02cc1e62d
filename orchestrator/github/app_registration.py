"""How a GitHub App begins: registered from a manifest, then told where its webhook goes.

Source: GitHub docs, "Registering a GitHub App from a manifest"; REST API, "GitHub Apps" and "GitHub App webhooks".
"""

from dataclasses import dataclass, field
from http import HTTPStatus

from orchestrator.errors import GitHubRefused, TransientError
from orchestrator.github.client import GitHubClient, Response, expecting, text
from orchestrator.github.session import GitHubSession

_HOOK = "/app/hook/config"


@dataclass(frozen=True)
class NewApp:
    """An App as GitHub hands it over, once.

    Attributes:
        app_id: its id.
        slug: its name in addresses.
        html_url: its page.
        private_key: in PEM form.
        webhook_secret: signs its deliveries; None if GitHub made none.
    """

    app_id: str
    slug: str
    html_url: str
    private_key: str = field(repr=False)
    webhook_secret: str | None = field(repr=False)


def registered_app(client: GitHubClient, code: str) -> NewApp:
    """Exchange the code that GitHub sent back with the browser for the App.

    Args:
        client: makes the call, which needs no credential.
        code: serves once, within an hour. Whoever has it can get the App's key, so no error names it.

    Raises:
        TransientError: GitHub does not answer as it should. The code may still be good.
        GitHubRefused: GitHub does not know the code, or no longer.
    """
    try:
        response = client.call("POST", f"/app-manifests/{code}/conversions", authorization=None)
    except TransientError as error:
        raise TransientError(str(error).replace(code, "CODE"), retry_after=error.retry_after) from None
    except GitHubRefused as error:
        if error.status == HTTPStatus.NOT_FOUND:
            reason = "GitHub does not know the code: it serves once, and for an hour"
            raise GitHubRefused(reason, error.status) from None
        raise GitHubRefused(str(error).replace(code, "CODE"), error.status) from None
    with expecting("GitHub's answer holds no App"):
        body = response.json
        secret = body.get("webhook_secret")
        return NewApp(
            app_id=str(int(body["id"])),
            slug=text(body["slug"]),
            html_url=text(body["html_url"]),
            private_key=text(body["pem"]),
            webhook_secret=None if secret is None else text(secret),
        )


@dataclass(frozen=True)
class HookConfig:
    """Where an App's deliveries go.

    Attributes:
        url: the receiver. Its query may hold a key.
        content_type: `json` or `form`.
        verifies_tls: whether GitHub checks the receiver's certificate.
    """

    url: str = field(repr=False)
    content_type: str
    verifies_tls: bool


class AppHook:
    """The webhook of the App itself.

    Args:
        session: makes the calls, with the App's credential.
    """

    def __init__(self, session: GitHubSession) -> None:
        self._session = session

    def config(self) -> HookConfig:
        """Return where the deliveries go.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        return _config(self._session.call("GET", _HOOK, None))

    def connect(self, url: str, secret: str) -> None:
        """Have deliveries sent to an address as JSON, signed with a secret, over verified TLS.

        Raises:
            UpstreamError: GitHub does not do it.
        """
        wanted = {"url": url, "content_type": "json", "insecure_ssl": "0", "secret": secret}
        self._session.call("PATCH", _HOOK, None, json=wanted)


def _config(response: Response) -> HookConfig:
    with expecting("GitHub's answer holds no configuration of a webhook"):
        body = response.json
        # A number or its text: the schema allows both.
        verifies = str(body.get("insecure_ssl", "0")) == "0"
        return HookConfig(text(body["url"]), text(body["content_type"]), verifies)
