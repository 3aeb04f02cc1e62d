"""From bytes and headers to a verified event (pure).

Source: GitHub docs, "Validating webhook deliveries" and "Webhook events and payloads".
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qs

from pydantic import ValidationError

from orchestrator.errors import ContentTypeUnknown, DeliveryMalformed, SignatureInvalid
from orchestrator.jobs.event import ACTIONS, Payload, WorkflowJobEvent

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
# How a body begins whose action is another.
_ASKS_FOR_NOTHING = re.compile(rb'\{"action":"(?!(?:%s)")[a-z_]+"' % "|".join(ACTIONS).encode())


class Hook(Payload):
    """The webhook that a `ping` announces."""

    events: tuple[str, ...] = ()


class PingEvent(Payload):
    """What the orchestrator reads of a `ping` delivery."""

    hook: Hook = Hook()


class _Action(Payload):
    action: str = ""


class DeliveryHeaders(NamedTuple):
    """The headers of a delivery, checked for presence and form, not yet for truth."""

    event: str
    delivery: str
    content_type: str
    signature: str

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> "DeliveryHeaders":
        """Read them from a request's headers, by names in lower case.

        Raises:
            DeliveryMalformed: `X-GitHub-Event` or `X-GitHub-Delivery` is missing or not plain text.
            ContentTypeUnknown: The body is neither JSON nor a form.
            SignatureInvalid: There is no SHA-256 signature.
        """
        event = headers.get("x-github-event", "")
        delivery = headers.get("x-github-delivery", "")
        for name, value in (("X-GitHub-Event", event), ("X-GitHub-Delivery", delivery)):
            if not _is_token(value):
                raise DeliveryMalformed(f"the header {name} is missing or malformed")
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in (JSON, FORM):
            raise ContentTypeUnknown(f"the content type must be {JSON} (recommended) or {FORM}")
        signature = headers.get("x-hub-signature-256", "")
        if not signature:
            raise SignatureInvalid("the header X-Hub-Signature-256 is missing: give the webhook its secret")
        return cls(event, delivery, content_type, signature)


def verify_signature(body: bytes, signature: str, secrets: Sequence[bytes]) -> None:
    """Check the HMAC-SHA256 of the raw body in constant time.

    Args:
        body: the body exactly as received.
        signature: `sha256=` and 64 hexadecimal digits.
        secrets: the webhook secret, and the previous one while it is being replaced.

    Raises:
        SignatureInvalid: It was made with none of the secrets.
    """
    # Compared as bytes, because compare_digest raises on text that is not ASCII. Every secret is tried, so the time
    # does not tell which one matched.
    given = signature.encode("utf-8", "surrogatepass")
    matches = [
        hmac.compare_digest(given, b"sha256=" + hmac.digest(secret, body, "sha256").hex().encode())
        for secret in secrets
    ]
    if not any(matches):
        raise SignatureInvalid("the signature does not match: is the webhook's secret the one configured here?")


def is_signed(headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes]) -> bool:
    """Whether a request carries a signature that `verify_signature` accepts.

    Args:
        headers: the request's headers; looked up by names in lower case.
        body: the body exactly as received.
        secrets: as for `verify_signature`.
    """
    try:
        verify_signature(body, headers.get("x-hub-signature-256", ""), secrets)
    except SignatureInvalid:
        return False
    return True


def json_payload(body: bytes, content_type: str) -> bytes:
    """Return the JSON text of a delivery, out of its form field where it came as a form.

    Raises:
        DeliveryMalformed: The form has no `payload`.
    """
    if content_type == JSON:
        return body
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, errors="strict", max_num_fields=10)
    except (UnicodeDecodeError, ValueError):
        raise DeliveryMalformed("the body is not a form") from None
    if len(fields.get("payload", ())) != 1:
        raise DeliveryMalformed("the form must hold the field payload once")
    return fields["payload"][0].encode()


def action_of(payload: bytes) -> str:
    """Return the payload's `action` ("" where it has none), without asking more of it.

    Raises:
        DeliveryMalformed: The payload is not a JSON object.
    """
    return _validate(_Action, payload).action


def workflow_job_event(payload: bytes) -> WorkflowJobEvent:
    """Return the validated `workflow_job` event.

    Raises:
        DeliveryMalformed: The payload lacks what a job's runner needs; the message says which property.
    """
    return _validate(WorkflowJobEvent, payload)


def event_about_a_runner(payload: bytes) -> WorkflowJobEvent | None:
    """Return the validated `workflow_job` event; None, whatever else it holds, for an action that asks for nothing.

    GitHub writes the action first, so most deliveries that ask for nothing need not be parsed.

    Raises:
        DeliveryMalformed: The payload is not a JSON object, or lacks what a job's runner needs.
    """
    if _ASKS_FOR_NOTHING.match(payload):
        return None
    try:
        event = workflow_job_event(payload)
    except DeliveryMalformed:
        if action_of(payload) in ACTIONS:
            raise
        return None
    return event if event.action in ACTIONS else None


def webhook_of(headers: Mapping[str, str], event: WorkflowJobEvent) -> str | None:
    """Return the REST path of the organization's or repository's hook that sent the event; None for an App's.

    Source: GitHub docs, "Webhook events and payloads", delivery headers.
    """
    hook_id, target = headers.get("x-github-hook-id", ""), headers.get("x-github-hook-installation-target-type")
    if not (hook_id.isascii() and hook_id.isdecimal()):
        return None
    if target == "organization" and event.organization is not None:
        return f"/orgs/{event.organization.login}/hooks/{hook_id}"
    if target == "repository":
        return f"/repos/{event.repository.full_name}/hooks/{hook_id}"
    return None


def ping_event(payload: bytes) -> PingEvent:
    """Return the `ping` event.

    Raises:
        DeliveryMalformed: The payload is not a JSON object.
    """
    return _validate(PingEvent, payload)


def _validate[P: Payload](model: type[P], payload: bytes) -> P:
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the payload"
        raise DeliveryMalformed(f"{where}: {first['msg']}") from None


def _is_token(text: str) -> bool:
    """Whether the text is what GitHub puts into its headers: short, and safe to repeat in a log."""
    return 0 < len(text) <= 100 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()  # noqa: PLR2004 - generous
