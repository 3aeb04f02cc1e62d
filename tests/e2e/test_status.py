"""The status page of the deployed shape, as an operator's browser asks for it."""

from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

from sandbox.batch.model import Pool
from sandbox.deployment import REPOSITORY, Deployment
from tests.e2e.helpers import pass_over
from tests.waiting import until


class Links(HTMLParser):
    """The links of a page.

    Attributes:
        found: their addresses.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a link."""
        self.found += [value or "" for name, value in attrs if tag == "a" and name == "href"]


def test_the_deployed_shape() -> None:
    """With the key in the address, the page is shown with its headers, and a job leads to its explanation."""
    with Deployment(pools=[Pool("still", scale="fixed")], settings={"UbuntuPool": "still"}) as deployment:
        url = f"{deployment.host.url}/api/status"
        assert requests.get(url, timeout=30).status_code == 401
        job = deployment.github.queue_job(REPOSITORY, ("self-hosted", "ubuntu-latest"))
        until(deployment.batch.task_bodies)
        pass_over(deployment)
        until(lambda: deployment.queue.blobs.contents)  # what the pass found is written at its very end
        shown = requests.get(url, params={"code": deployment.key}, timeout=30)
        assert (shown.status_code, shown.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert shown.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert (shown.headers["Referrer-Policy"], shown.headers["Cache-Control"]) == ("no-referrer", "no-store")
        link = next(link for link in Links(shown.text).found if str(job.id) in link)
        explained = requests.get(urljoin(shown.url, link), timeout=30)
        headers = {"x-functions-key": deployment.key, "Accept": "application/json"}
        told = requests.get(url, headers=headers, timeout=30)
    assert (explained.status_code, explained.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert (explained.headers["Referrer-Policy"], explained.headers["Cache-Control"]) == ("no-referrer", "no-store")
    assert explained.text.startswith("pool-")
    assert "the job was waits-for-slot: its runner waits for a free slot on still" in explained.text
    assert [one["job"] for one in told.json()["found"]["jobs"]] == [job.id]
    assert deployment.key not in told.text
