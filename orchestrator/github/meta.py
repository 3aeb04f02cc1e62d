"""The addresses that GitHub sends webhooks from.

Source: GitHub REST API, "Get GitHub meta information". GitHub Enterprise Server has no such list of its own.
"""

import ipaddress
from http import HTTPStatus

from orchestrator.delivery.hook_ranges import PublishedRanges
from orchestrator.github.client import GitHubClient, array, expecting, text


def published_hook_ranges(client: GitHubClient, authorization: str | None, etag: str | None) -> PublishedRanges:
    """Ask GitHub for its `hooks` ranges.

    Args:
        client: makes the call.
        authorization: the value of the Authorization header, or None.
        etag: of the last answer. With it, a list that has not changed costs nothing of the rate limit.

    Raises:
        UpstreamError: GitHub does not answer, or its answer holds no list of networks.
    """
    headers = {"If-None-Match": etag} if etag else None
    response = client.call("GET", "/meta", authorization=authorization, headers=headers)
    if etag and response.status == HTTPStatus.NOT_MODIFIED:
        return PublishedRanges(None, etag)
    with expecting("GitHub's /meta holds no list of hook ranges (on GHES set AllowedSources to CIDRs)"):
        networks = tuple(ipaddress.ip_network(text(cidr)) for cidr in array(response.json["hooks"]))
        if not networks:
            raise ValueError
    return PublishedRanges(networks, response.headers.get("etag"))
