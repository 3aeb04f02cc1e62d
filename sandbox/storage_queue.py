"""An Azure Queue storage stand-in that `azure-storage-queue` and the Functions host talk to; its account has blobs too.

Source: Azure Queue Storage REST API, and "Authorize with Shared Key".
"""

import base64
import hashlib
import hmac
import itertools
import secrets
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import unquote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from aiohttp import web
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import ContainerClient

from sandbox.faults import FaultPlan
from sandbox.recording import Recorder
from sandbox.storage_blob import BlobRefusal, Blobs

WEEK = 7 * 86_400
LARGEST = 65_536  # bytes of a message's text, encoded
XML = "application/xml"


class QueueRefusal(Exception):
    """The service refuses.

    Attributes:
        status: the HTTP status.
        code: the error code, for example `QueueNotFound`.
    """

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass
class Message:
    """One message; it is there for readers from `visible_at` on."""

    id: str
    text: str
    inserted_at: float
    expires_at: float
    visible_at: float
    dequeue_count: int = 0
    receipt: str = field(default_factory=lambda: secrets.token_urlsafe(12))


class QueueService:
    """One storage account's queues. Safe under threads.

    Args:
        clock: epoch seconds; a test that owns it need not wait for messages to appear.

    Attributes:
        account: its name.
        key: the account's key.
        faults: what goes wrong on the way to it.
        recorder: what passed over the wire.
        blobs: the account's blobs.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.account = "sandbox"
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.faults = FaultPlan()
        self.recorder = Recorder("queue")
        self.blobs = Blobs()
        self._clock = clock
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._queues: dict[str, dict[str, Message]] = {}

    @property
    def application(self) -> web.Application:
        """A new aiohttp application that serves these queues."""
        application = web.Application(middlewares=[self.recorder.middleware, self.faults.middleware])
        application.add_routes(self.blobs.routes(f"/blob/{self.account}", self._authorize_blobs))
        queue = "/{account}/{queue}"
        application.add_routes(
            [
                web.put(queue, self._answering(self._create)),
                web.delete(queue, self._answering(self._delete_queue)),
                web.get(queue, self._answering(self._properties)),
                web.post(f"{queue}/messages", self._answering(self._put)),
                web.get(f"{queue}/messages", self._answering(self._get)),
                web.delete(f"{queue}/messages", self._answering(self._clear)),
                web.put(f"{queue}/messages/{{id}}", self._answering(self._update)),
                web.delete(f"{queue}/messages/{{id}}", self._answering(self._delete)),
            ]
        )
        return application

    def connection_string(self, url: str) -> str:
        """Return the connection string for the address that the application is served at."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account};AccountKey={self.key};"
            f"QueueEndpoint={url}/{self.account};BlobEndpoint={url}/blob/{self.account};"
        )

    def upload(self, container_url: str, path: str, content: bytes) -> None:
        """Write a blob by a call of its own, as a node does.

        Raises:
            AzureError: The service does not take it.
        """
        credential = AzureNamedKeyCredential(self.account, self.key)
        with ContainerClient.from_container_url(container_url, credential=credential, retry_total=0) as container:
            container.upload_blob(path, content, overwrite=True)

    def texts(self, queue: str) -> list[str]:
        """Return the texts of a queue's messages, visible or not, oldest first (nothing where there is no queue)."""
        with self._lock:
            return [message.text for message in self._live(queue)] if queue in self._queues else []

    def due(self, queue: str) -> bool:
        """Whether a queue has a message that a reader would get now."""
        now = self._clock()
        with self._lock:
            return queue in self._queues and any(message.visible_at <= now for message in self._live(queue))

    def _answering(
        self, operation: Callable[[web.Request, str], web.Response]
    ) -> Callable[..., Awaitable[web.Response]]:
        async def endpoint(request: web.Request) -> web.Response:
            body = await request.text()
            try:
                self._authorize(request)
                with self._lock:
                    response = operation(request, body)
            except QueueRefusal as refusal:
                text = f"<?xml version='1.0'?><Error><Code>{refusal.code}</Code><Message>refused</Message></Error>"
                response = web.Response(status=refusal.status, text=text, content_type=XML)
                response.headers["x-ms-error-code"] = refusal.code
            response.headers["x-ms-request-id"] = str(uuid.uuid4())
            response.headers["x-ms-version"] = request.headers.get("x-ms-version", "2025-11-05")
            return response

        return endpoint

    def _authorize(self, request: web.Request) -> None:
        expected = f"SharedKey {self.account}:{signature(request, self.account, self.key)}"
        if not hmac.compare_digest(expected.encode(), request.headers.get("Authorization", "").encode()):
            raise QueueRefusal(403, "AuthenticationFailed")

    def _authorize_blobs(self, request: web.Request) -> None:
        try:
            self._authorize(request)
        except QueueRefusal as refusal:
            raise BlobRefusal(refusal.status, refusal.code) from None

    def _create(self, request: web.Request, _body: str) -> web.Response:
        name = request.match_info["queue"]
        status = 204 if name in self._queues else 201
        self._queues.setdefault(name, {})
        return web.Response(status=status)

    def _delete_queue(self, request: web.Request, _body: str) -> web.Response:
        self._messages(request)
        del self._queues[request.match_info["queue"]]
        return web.Response(status=204)

    def _properties(self, request: web.Request, _body: str) -> web.Response:
        count = len(self._live(self._existing(request)))
        return web.Response(status=200, headers={"x-ms-approximate-messages-count": str(count)})

    def _put(self, request: web.Request, body: str) -> web.Response:
        messages, now = self._messages(request), self._clock()
        try:
            text = ET.fromstring(body).findtext("MessageText")  # noqa: S314 - our own SDK's
        except ET.ParseError:
            text = None
        if text is None:
            raise QueueRefusal(400, "InvalidXmlDocument")
        if len(text.encode()) > LARGEST:
            raise QueueRefusal(413, "RequestBodyTooLarge")
        ttl = _number(request, "messagettl", WEEK, -1)
        visible_at = now + _number(request, "visibilitytimeout", 0, 0, WEEK)
        message = Message(f"{next(self._ids):032x}", text, now, now + (ttl if ttl > 0 else 1e9), visible_at)
        messages[message.id] = message
        return _listing([message], with_text=False, status=201)

    def _get(self, request: web.Request, _body: str) -> web.Response:
        now = self._clock()
        visible = [message for message in self._live(self._existing(request)) if message.visible_at <= now]
        chosen = visible[: _number(request, "numofmessages", 1, 1, 32)]
        if request.query.get("peekonly") == "true":
            return _listing(chosen, peek=True)
        hidden = _number(request, "visibilitytimeout", 30, 1, WEEK)
        for message in chosen:
            message.visible_at = now + hidden
            message.dequeue_count += 1
            message.receipt = secrets.token_urlsafe(12)
        return _listing(chosen)

    def _update(self, request: web.Request, body: str) -> web.Response:
        message = self._received(request)
        message.visible_at = self._clock() + _number(request, "visibilitytimeout", 30, 0, WEEK)
        message.receipt = secrets.token_urlsafe(12)
        if body:
            message.text = ET.fromstring(body).findtext("MessageText") or ""  # noqa: S314 - our own SDK's
        next_visible = formatdate(message.visible_at, usegmt=True)
        headers = {"x-ms-popreceipt": message.receipt, "x-ms-time-next-visible": next_visible}
        return web.Response(status=204, headers=headers)

    def _delete(self, request: web.Request, _body: str) -> web.Response:
        message = self._received(request)
        del self._messages(request)[message.id]
        return web.Response(status=204)

    def _clear(self, request: web.Request, _body: str) -> web.Response:
        self._messages(request).clear()
        return web.Response(status=204)

    def _existing(self, request: web.Request) -> str:
        name = request.match_info["queue"]
        if name not in self._queues or request.match_info["account"] != self.account:
            raise QueueRefusal(404, "QueueNotFound")
        return name

    def _messages(self, request: web.Request) -> dict[str, Message]:
        return self._queues[self._existing(request)]

    def _received(self, request: web.Request) -> Message:
        message = self._messages(request).get(request.match_info["id"])
        if message is None:
            raise QueueRefusal(404, "MessageNotFound")
        if message.receipt != request.query.get("popreceipt"):
            raise QueueRefusal(400, "PopReceiptMismatch")
        return message

    def _live(self, queue: str) -> list[Message]:
        now, messages = self._clock(), self._queues[queue]
        for message in [message for message in messages.values() if message.expires_at <= now]:
            del messages[message.id]
        return list(messages.values())


def signature(request: web.Request, account: str, key: str) -> str:
    """Return what the Authorization header of a request must end with."""
    headers = request.headers
    length = headers.get("Content-Length", "")
    lines = [
        request.method,
        *(headers.get(name, "") for name in ("Content-Encoding", "Content-Language")),
        "" if length == "0" else length,
        *(headers.get(name, "") for name in ("Content-MD5", "Content-Type", "Date", "If-Modified-Since", "If-Match")),
        *(headers.get(name, "") for name in ("If-None-Match", "If-Unmodified-Since", "Range")),
    ]
    own = sorted((name.lower(), value.strip()) for name, value in headers.items() if name.lower().startswith("x-ms-"))
    lines += [f"{name}:{value}" for name, value in own]
    query = "".join(f"\n{name.lower()}:{value}" for name, value in sorted(request.query.items()))
    text = "\n".join(lines) + f"\n/{account}{unquote(request.raw_path.partition('?')[0])}{query}"
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


def _number(request: web.Request, name: str, default: int, low: int, high: int = 2**31 - 1) -> int:
    """Read a whole number of the query string."""
    try:
        value = int(request.query.get(name, default))
    except ValueError:
        raise QueueRefusal(400, "InvalidQueryParameterValue") from None
    if not low <= value <= high:
        raise QueueRefusal(400, "OutOfRangeQueryParameterValue")
    return value


def _listing(messages: list[Message], *, with_text: bool = True, peek: bool = False, status: int = 200) -> web.Response:
    parts = ["<?xml version='1.0' encoding='utf-8'?><QueueMessagesList>"]
    for message in messages:
        parts.append(f"<QueueMessage><MessageId>{message.id}</MessageId>")
        parts.append(f"<InsertionTime>{formatdate(message.inserted_at, usegmt=True)}</InsertionTime>")
        parts.append(f"<ExpirationTime>{formatdate(message.expires_at, usegmt=True)}</ExpirationTime>")
        if not peek:
            parts.append(f"<PopReceipt>{message.receipt}</PopReceipt>")
            parts.append(f"<TimeNextVisible>{formatdate(message.visible_at, usegmt=True)}</TimeNextVisible>")
        if with_text:
            parts.append(f"<DequeueCount>{message.dequeue_count}</DequeueCount>")
            parts.append(f"<MessageText>{escape(message.text)}</MessageText>")
        parts.append("</QueueMessage>")
    return web.Response(status=status, text="".join([*parts, "</QueueMessagesList>"]), content_type=XML)
