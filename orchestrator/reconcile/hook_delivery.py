"""One attempt by GitHub to deliver an event to a webhook (pure)."""

from dataclasses import dataclass
from datetime import datetime

# Names the App's own webhook where the REST path of a hook is expected.
APP_HOOK = "/app/hook"


@dataclass(frozen=True)
class HookDelivery:
    """One attempt to deliver an event.

    Attributes:
        id: the attempt's.
        guid: the event's: the same for all attempts (`X-GitHub-Delivery`).
        delivered_at: when the attempt was made.
        event: the event's name, such as `workflow_job`.
        action: the event's action, such as `queued`, if it has one.
        succeeded: whether the receiver accepted it.
        again: whether it is a redelivery: not the first attempt.
        refused: whether the receiver answered with a 4xx.
    """

    id: int
    guid: str
    delivered_at: datetime
    event: str
    action: str | None
    succeeded: bool
    again: bool = False
    refused: bool = False
