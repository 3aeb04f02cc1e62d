"""The answers of Batch: lists page by page, with an end; and as plain mappings where the SDK's models cost too much."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from azure.batch import BatchClient
from azure.core.paging import ItemPaged
from azure.core.pipeline import PipelineResponse
from azure.core.rest import HttpRequest

from orchestrator.errors import TransientError

# A list with more pages than this has a page that leads back. Batch puts up to 1,000 entries on a page.
MOST_PAGES = 200
_API_VERSION = "2025-06-01"


def entries[T](listed: ItemPaged[T]) -> Iterator[T]:
    """Return the entries of a list, each page when it is needed.

    Args:
        listed: as the SDK returns it.

    Raises:
        TransientError: The list has no end.
    """
    for number, page in enumerate(listed.by_page()):
        if number == MOST_PAGES:
            raise TransientError("Batch's list has no end")
        yield from page


def answer(client: BatchClient, path: str, query: Mapping[str, str]) -> Any:
    """Return the JSON of an answer: what the SDK sends and authorizes, without its models.

    Args:
        client: the SDK's client.
        path: of what is asked for.
        query: `$select`, `$filter` and the like.

    Raises:
        AzureError: Batch refuses, or does not answer.
        ValueError: it is no JSON.
    """
    words = urlencode({**query, "api-version": _API_VERSION}, quote_via=quote)
    request = HttpRequest("GET", f"{path}?{words}", headers={"Accept": "application/json"})
    # As a stream, because the SDK would read the JSON of any other answer for itself. The hook reads the answer before
    # the SDK looks for an error in it.
    return json.loads(client.send_request(request, stream=True, raw_response_hook=_read).content)


def pages(client: BatchClient, path: str, query: Mapping[str, str]) -> Iterator[list[Mapping[str, Any]]]:
    """Return a list, page by page, each when it is needed.

    Args:
        client: the SDK's client.
        path: of the list.
        query: see `answer`.

    Raises:
        TransientError: The list has no end.
        AzureError: see `answer`.
        LookupError, TypeError, ValueError: it is no list.
    """
    for _ in range(MOST_PAGES + 1):
        page = answer(client, path, query)
        if not isinstance(page["value"], list):
            raise TypeError
        yield page["value"]
        following = page.get("odata.nextLink")
        if not following:
            return
        # Of the link only what follows the host: the credential is for the account alone.
        parts = urlsplit(following)
        path, query = parts.path, dict(parse_qsl(parts.query))
    raise TransientError("Batch's list has no end")


def _read(response: PipelineResponse[Any, Any]) -> None:
    response.http_response.read()
