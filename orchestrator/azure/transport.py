"""How every client of Azure makes its calls: within time-outs, once, and without following a redirect."""

from typing import Any, NamedTuple

from azure.core.pipeline.transport import RequestsTransport

from orchestrator.bounded_http import bounded_session
from orchestrator.egress import Egress

# Bytes of an answer that are read at a time. The SDK's own 4 KiB cost a pass more than reading the JSON does.
BLOCK = 64 * 1024


class TimeOuts(NamedTuple):
    """How long one call may take.

    Attributes:
        connect: seconds to connect.
        read: seconds between bytes of the answer.
        total: seconds for one answer in all.
    """

    connect: float
    read: float
    total: float


def bounded(time_outs: TimeOuts, egress: Egress) -> dict[str, Any]:
    """Return the options of an SDK's client that bound each of its calls.

    The SDK's own retries are off: they would sleep through a delivery's deadline, for as long as the service asks.
    Whoever makes the call repeats it. No service of these redirects; a proxy that does is not believed.

    Args:
        time_outs: of each call.
        egress: the way out.
    """
    transport = RequestsTransport(
        session=bounded_session(time_outs.total, egress),
        session_owner=False,
        connection_timeout=time_outs.connect,
        read_timeout=time_outs.read,
        connection_data_block_size=BLOCK,
    )
    return {"transport": transport, "retry_total": 0, "permit_redirects": False}
