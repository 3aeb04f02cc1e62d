"""How the Batch service writes: bodies, pages, errors, versions.

Source: Azure Batch service REST API 2025-06-01.
"""

import functools
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from aiohttp import web

from sandbox.batch.model import BatchRefusal, Job, Json, Pool, Task

MEDIA_TYPE = "application/json;odata=minimalmetadata"
PAGE = 1000
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def read_body(request: web.Request, text: str) -> Json:
    """Read a JSON body; without one there is nothing in it."""
    if not text:
        return {}
    if not request.content_type.startswith("application/json"):
        raise BatchRefusal("InvalidHeaderValue", HeaderName="Content-Type")
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise BatchRefusal("InvalidRequestBody")
    return body


def validate(body: Json, known: frozenset[str], required: tuple[str, ...]) -> None:
    """Refuse a body that lacks what it must have, or holds what the service does not know."""
    for name in required:
        if name not in body:
            raise BatchRefusal("MissingRequiredProperty", PropertyName=name)
    if unknown := set(body) - known:
        raise BatchRefusal("InvalidRequestBody", Reason=f"unknown property {min(unknown)}")
    if not _ID.fullmatch(str(body["id"])):
        raise BatchRefusal("InvalidPropertyValue", PropertyName="id")


def page(request: web.Request, kind: str, rows: list[Json]) -> web.Response:
    """Filter, cut to size and select, with a link to the next page."""
    rows = list(filter(_predicate(request.query.get("$filter")), rows))
    size, skip = int(request.query.get("maxresults", PAGE)), int(request.query.get("$skiptoken", 0))
    select = [name for name in request.query.get("$select", "").split(",") if name]
    shown = [{name: row[name] for name in select if name in row} if select else row for row in rows[skip : skip + size]]
    body: Json = {"value": shown}
    if skip + size < len(rows):
        query = {**request.query, "$skiptoken": str(skip + size)}
        body["odata.nextLink"] = str(request.url.with_query(query))
    return json_answer(request, kind, body)


def _predicate(expression: str | None) -> Callable[[Json], bool]:
    """Read the filters that tasks are listed with: equality, prefix and time, joined by `and` or by `or`."""
    if expression is None:
        return lambda _row: True
    ways = [[_clause(part.strip(" ()")) for part in way.split(" and ")] for way in expression.split(" or ")]
    return lambda row: any(all(holds(row) for holds in way) for way in ways)


def _clause(text: str) -> Callable[[Json], bool]:
    if found := re.fullmatch(r"(\w+) eq '([^']*)'", text):
        name, value = found.groups()
        return lambda row: str(row.get(name)) == value
    if found := re.fullmatch(r"startswith\((\w+), ?'([^']*)'", text):
        name, value = found.groups()
        return lambda row: str(row.get(name)).startswith(value)
    if found := re.fullmatch(r"(\w+) (lt|ge) DateTime'([^']*)'", text):
        name, wanted, moment = found[1], found[2] == "lt", datetime.fromisoformat(found[3])
        return lambda row: (datetime.fromisoformat(str(row.get(name))) < moment) == wanted
    raise BatchRefusal("InvalidQueryParameterValue", QueryParameterName="$filter")


def json_answer(request: web.Request, kind: str, body: Json, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON answer as the service writes it."""
    text = json.dumps({"odata.metadata": f"{root(request)}/$metadata#{kind}", **body})
    own = {**(headers or {}), "Content-Type": MEDIA_TYPE}
    return web.Response(status=200, body=text.encode(), headers=own)


def error_answer(request: web.Request, refusal: BatchRefusal) -> web.Response:
    """Return an error as the service writes it."""
    kind = "Microsoft.Azure.Batch.Protocol.Entities.Container.errors/@Element"
    body: dict[str, Any] = {
        "odata.metadata": f"{root(request)}/$metadata#{kind}",
        "code": refusal.code,
        "message": {
            "lang": "en-US",
            "value": f"Refused: {refusal.code}.\nRequestId:{uuid.uuid4()}\nTime:{timestamp(time.time())}",
        },
    }
    if refusal.details:
        body["values"] = [{"key": name, "value": value} for name, value in refusal.details.items()]
    return web.Response(status=refusal.status, body=json.dumps(body).encode(), headers={"Content-Type": MEDIA_TYPE})


def root(request: web.Request) -> str:
    """Return the account's address."""
    return f"{request.scheme}://{request.host}"


def etag(what: Job | Task | Pool) -> str:
    """Return the version of a thing as the service writes it."""
    return f"0x8D{what.version:X}"


def stamps(what: Job | Task | Pool) -> dict[str, str]:
    """Return the headers that say which version of a thing this is."""
    changed = what.created_at if isinstance(what, Pool) else what.changed_at
    return {"ETag": f'"{etag(what)}"', "Last-Modified": formatdate(changed, usegmt=True)}


@functools.cache  # a listing of a thousand tasks tells thousands of times
def timestamp(moment: float) -> str:
    """Return a moment as the service writes it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
