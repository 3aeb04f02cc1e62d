"""An Azure Blob storage stand-in that `azure-storage-blob` talks to: block blobs that are written as a whole.

Source: Azure Blob Storage REST API: Create Container, Put Blob, Get Blob, Delete Blob, conditional headers.
"""

import itertools
import threading
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import web

# Raises an error if a request is not signed by the account.
type Authorize = Callable[[web.Request], None]


class BlobRefusal(Exception):
    """The service refuses.

    Attributes:
        status: the HTTP status.
        code: the error code, for example `BlobNotFound`.
    """

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class Blobs:
    """The blobs of one storage account. Safe under threads.

    Attributes:
        contents: the content of each blob, by `container/blob`. A test may change it: a blob has the ETag of its last
            write only.
    """

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self._containers: set[str] = set()
        self._etags: dict[str, str] = {}
        self._versions = itertools.count(1)
        self._lock = threading.Lock()

    def routes(self, prefix: str, authorize: Authorize) -> list[web.RouteDef]:
        """Return the routes below a path."""
        container = f"{prefix}/{{container}}"
        operations = [
            (web.put, container, self._create),
            (web.put, f"{container}/{{blob:.+}}", self._put),
            (web.get, f"{container}/{{blob:.+}}", self._get),
            (web.delete, f"{container}/{{blob:.+}}", self._delete),
        ]
        return [method(path, self._answering(operation, authorize)) for method, path, operation in operations]

    def _answering(
        self, operation: Callable[[web.Request, bytes], web.Response], authorize: Authorize
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def endpoint(request: web.Request) -> web.Response:
            body = await request.read()
            try:
                authorize(request)
                with self._lock:
                    response = operation(request, body)
            except BlobRefusal as refusal:
                response = web.Response(status=refusal.status, content_type="application/xml")
                if refusal.status != HTTPStatus.NOT_MODIFIED:
                    error = f"<Error><Code>{refusal.code}</Code><Message>refused</Message></Error>"
                    response.text = f"<?xml version='1.0'?>{error}"
                response.headers["x-ms-error-code"] = refusal.code
            response.headers["x-ms-version"] = request.headers.get("x-ms-version", "2025-11-05")
            return response

        return endpoint

    def add_container(self, name: str) -> None:
        """Create a container, as a deployment does."""
        self._containers.add(name)

    def _create(self, request: web.Request, _body: bytes) -> web.Response:
        name = request.match_info["container"]
        if name in self._containers:
            raise BlobRefusal(409, "ContainerAlreadyExists")
        self._containers.add(name)
        return web.Response(status=201)

    def _put(self, request: web.Request, body: bytes) -> web.Response:
        name = self._named(request)
        etag = self._etags.get(name) if name in self.contents else None
        match, none_match = request.headers.get("If-Match"), request.headers.get("If-None-Match")
        if none_match == "*" and etag is not None:
            raise BlobRefusal(409, "BlobAlreadyExists")
        if match is not None and match != etag:
            raise BlobRefusal(412, "ConditionNotMet")
        self.contents[name] = body
        self._etags[name] = f'"0x8D{next(self._versions):012X}"'
        return web.Response(status=201, headers=self._stamps(name))

    def _get(self, request: web.Request, _body: bytes) -> web.Response:
        name = self._existing(request)
        if request.headers.get("If-None-Match") == self._etags[name]:
            raise BlobRefusal(304, "ConditionNotMet")
        content = self.contents[name]
        headers = {**self._stamps(name), "x-ms-blob-type": "BlockBlob"}
        wanted = request.headers.get("x-ms-range", "").removeprefix("bytes=")
        if not wanted:
            return web.Response(status=200, body=content, headers=headers)
        first, _, last = wanted.partition("-")
        if int(first) >= len(content):
            raise BlobRefusal(416, "InvalidRange")
        part = content[int(first) : int(last or len(content)) + 1]
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
        return web.Response(status=206, body=part, headers=headers)

    def _delete(self, request: web.Request, _body: bytes) -> web.Response:
        del self.contents[self._existing(request)]
        return web.Response(status=202)

    def _existing(self, request: web.Request) -> str:
        name = self._named(request)
        if name not in self.contents:
            raise BlobRefusal(404, "BlobNotFound")
        return name

    def _named(self, request: web.Request) -> str:
        container = request.match_info["container"]
        if container not in self._containers:
            raise BlobRefusal(404, "ContainerNotFound")
        return f"{container}/{request.match_info['blob']}"

    def _stamps(self, name: str) -> dict[str, str]:
        return {"ETag": self._etags[name], "Last-Modified": formatdate(usegmt=True)}
