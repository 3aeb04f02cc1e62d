"""One attempt of GitHub's to deliver an event to a webhook (pure)."""

from dataclasses import dataclass
from datetime import datetime

# Names the App's own webhook where a hook's REST path is expected.
APP_HOOK = "/app/hook"


@dataclass(frozen=True)
class HookDelivery:
    """One attempt to deliver an event.

    Attributes:
        id: the attempt's.
        guid: the event's: the same for all attempts (`X-GitHub-Delivery`).
        again: whether it was not the first one.
        refused: whether the receiver was there and answered with a 4xx.
    """

    id: int
    guid: str
    delivered_at: datetime
    event: str
    action: str | None
    succeeded: bool
    again: bool = False
    refused: bool = False
