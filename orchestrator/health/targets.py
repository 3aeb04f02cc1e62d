"""What must be reachable from where the function runs, by its settings (pure)."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.config.settings import PUBLIC_API, Settings
from orchestrator.health.facts import Target

# What must get out of the network, by who calls it.
EGRESS: Sequence[Mapping[str, Any]] = json.loads(
    Path(__file__).parents[1].joinpath("config", "egress.json").read_text(encoding="utf-8")
)
# What only a node or the deployment itself needs is not asked from the function: it says nothing there.
_ASKED = ("function", "runners")
_PUBLIC_HOSTS = ("github.com", "githubusercontent.com", "ghcr.io")
_SIGN_IN = "login.microsoftonline.com"
_HTTPS = 443


def targets(settings: Settings, entries: Iterable[Mapping[str, Any]]) -> Sequence[Target]:
    """Return what is to be tried, each host once.

    A pattern such as `*.blob.core.windows.net` names no host. GitHub's public hosts count only where the public GitHub
    is used, and the sign-in only where no keys are.

    Args:
        settings: the app settings.
        entries: those of `config/egress.json`.
    """
    found: dict[str, Target] = {}
    for target in _targets(settings, entries):
        found.setdefault(target.url, target)
    return list(found.values())


def _targets(settings: Settings, entries: Iterable[Mapping[str, Any]]) -> Iterator[Target]:
    yield Target(_origin(settings.github_api_url), "function", "GitHub's API")
    yield Target(_origin(settings.github_web_url), "runners", "registration, jobs, and the repository")
    with_keys = settings.batch_account_key is not None and settings.azure_web_jobs_storage.connection_string is not None
    for entry in entries:
        if entry["who"] not in _ASKED:
            continue
        for host in entry["hosts"]:
            of_github = host.endswith(_PUBLIC_HOSTS)
            if "*" in host or (of_github and settings.github_api_url != PUBLIC_API) or (host == _SIGN_IN and with_keys):
                continue
            scheme = "https" if entry["port"] == _HTTPS else "tcp"
            port = "" if entry["port"] == _HTTPS else f":{entry['port']}"
            needed = entry["when"] == "always"
            if needed or entry["who"] == "runners":
                yield Target(f"{scheme}://{host}{port}", entry["who"], entry["why"], needed)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
