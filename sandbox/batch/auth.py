"""Checks Azure Batch's shared-key signatures the way the service does. Pure."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit

# Seconds that the date of a request may be off (documented: 15 minutes).
WINDOW = 15 * 60

_SIGNED_HEADERS = (
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-MD5",
    "Content-Type",
    "Date",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Unmodified-Since",
    "Range",
)


def string_to_sign(account: str, method: str, target: str, headers: Mapping[str, str]) -> str:
    """Return what the signature of a request covers.

    Args:
        account: the name of the account.
        method: the HTTP method.
        target: path and query exactly as sent.
        headers: the request headers; names in any case.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    lines = [method.upper(), *(lower.get(name.lower(), "") for name in _SIGNED_HEADERS)]
    if "ocp-date" in lower:
        lines[1 + _SIGNED_HEADERS.index("Date")] = ""
    lines += [f"{name}:{lower[name].strip()}" for name in sorted(lower) if name.startswith("ocp-")]
    parts = urlsplit(target)
    lines.append(f"/{account}{parts.path}")
    query: dict[str, str] = {}
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if value:
            query.setdefault(unquote(name), unquote(value))
    lines += [f"{name}:{query[name]}" for name in sorted(query)]
    return "\n".join(lines)


def shared_key_error(
    account: str, key: str, method: str, target: str, headers: Mapping[str, str], now: float
) -> str | None:
    """Return why a request is not authentic, None when it is.

    Args:
        account: the name of the account.
        key: its key, in base64.
        method: the HTTP method.
        target: path and query exactly as sent.
        headers: the request headers; names in any case.
        now: epoch seconds, against which the date of the request is held.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    kind, _, rest = lower.get("authorization", "").partition(" ")
    named, _, signature = rest.partition(":")
    if kind != "SharedKey" or not signature:
        return "the Authorization header is not of the form SharedKey account:signature"
    if named != account:
        return "the account is not this one"
    try:
        sent = parsedate_to_datetime(lower.get("ocp-date") or lower.get("date", "")).timestamp()
        given = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        return "the date or the signature is malformed"
    if abs(now - sent) > WINDOW:
        return "the date header is too old"
    text = string_to_sign(account, method, target, headers)
    wanted = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return None if hmac.compare_digest(given, wanted) else "signature mismatch"
