"""The forms that single app settings must have (pure).

Each function returns the value as it is used, or raises a ValueError that says what the value must be without quoting
it.
"""

import base64
import binascii
import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from orchestrator.config.private_key import normalized
from orchestrator.egress import proxy_url

# The route where containers claim their registration.
CLAIM_ROUTE = "/api/ClaimRunner"


def url(text: str) -> str:
    """Check a base URL and drop its trailing slash."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not an http(s) URL")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a plain URL: no user, query or fragment")
    return text.rstrip("/")


def batch_url(text: str) -> str:
    """Check the address of a Batch account, which may come without `https://`."""
    return secure_url(text if "://" in text else f"https://{text}")


def secure_url(text: str) -> str:
    """Check a base URL to which secrets may be sent."""
    text = url(text)
    if text.startswith("http://") and not _is_loopback(urlsplit(text)):
        raise ValueError("may be http:// only for a loopback address")
    return text


def claim_url(text: str) -> str:
    """Check the address where containers claim their registration."""
    text = secure_url(text)
    # As the runner image takes it.
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+/[A-Za-z0-9._~/-]+", text):
        raise ValueError(
            f"must be this site's address with the route, like https://NAME.azurewebsites.net{CLAIM_ROUTE}"
        )
    return text


def container_url(text: str) -> str:
    """Check the address of a blob container."""
    text = secure_url(text)
    if not re.search(r"[^/]/[a-z0-9](-?[a-z0-9]){2,62}$", text):
        raise ValueError("must be the URL of a blob container, like https://NAME.blob.core.windows.net/CONTAINER")
    return text


def identity_id(text: str) -> str:
    """Check the resource id of a managed identity."""
    named = "/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.ManagedIdentity/userAssignedIdentities/[^/]+"
    if not re.fullmatch(named, text, re.IGNORECASE):
        raise ValueError("must be the resource id of a user-assigned managed identity")
    return text


def _is_loopback(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def registry(text: str) -> str:
    """Check the login server of a registry, and drop what it has in common with a URL."""
    host = text.removeprefix("https://").rstrip("/")
    if not re.fullmatch(r"[A-Za-z0-9.-]+(:\d+)?", host):
        raise ValueError("must be the login server of a registry, like NAME.azurecr.io")
    return host


def token(secret: SecretStr) -> SecretStr:
    """Take what can stand in a header; a secret that was pasted in two lines cannot."""
    if not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
        raise ValueError("holds white space or other characters that no token has")
    return secret


def claim_key(secret: SecretStr) -> SecretStr:
    """Take a key that nobody guesses, and that no white space at its ends makes another one."""
    if not re.fullmatch(r"[!-~]{32,}", secret.get_secret_value()):
        raise ValueError("must have at least 32 printable characters, and no white space")
    return secret


def app_key(secret: SecretStr) -> SecretStr:
    """Check a GitHub App's private key, and give it the form that it is used in."""
    return SecretStr(normalized(secret.get_secret_value()))


def proxy(secret: SecretStr) -> SecretStr:
    """Check the address of a proxy."""
    return SecretStr(proxy_url(secret.get_secret_value()))


def account_key(secret: SecretStr) -> SecretStr:
    """Check the key of a Batch account."""
    try:
        base64.b64decode(secret.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not the key of a Batch account (base64)") from None
    return secret


def globs(text: str) -> tuple[str, ...]:
    """Split globs on `owner/name`, in lower case."""
    found = tuple(glob.strip().lower() for glob in text.split(",") if glob.strip())
    if not all(re.fullmatch(r"[a-z0-9._*?-]+/[a-z0-9._*?-]+", glob) for glob in found):
        raise ValueError("must be globs on owner/name, separated by commas")
    return found


def logins(text: str) -> tuple[str, ...]:
    """Split logins of accounts, in lower case."""
    found = tuple(login.strip().lower() for login in text.split(",") if login.strip())
    # A list of nothing must not count as no list at all, which admits all accounts.
    if not found or not all(re.fullmatch(r"[a-z0-9._-]+", login) for login in found):
        raise ValueError("must be logins of organizations or users, separated by commas")
    return found


def repositories(text: str) -> tuple[str, ...]:
    """Split full names of repositories."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not all(re.fullmatch(r"(?!\.{1,2}/)[A-Za-z0-9._-]+/(?!\.{1,2}\Z)[A-Za-z0-9._-]+", name) for name in names):
        raise ValueError("must be owner/name, separated by commas")
    return names
