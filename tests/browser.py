"""A person's browser on GitHub's pages, as far as registering a GitHub App needs one."""

from collections.abc import Callable
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests


class Form(HTMLParser):
    """The form of a page.

    Attributes:
        action: where it is posted to.
        fields: what it holds.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of the form and its fields."""
        values = dict(attrs)
        if tag == "form":
            self.action = values["action"] or ""
        if tag == "input":
            self.fields[values["name"] or ""] = values["value"] or ""


class Browser:
    """A person's browser, as `webbrowser.open`: it follows the page to GitHub, and GitHub's redirect back.

    Attributes:
        answers: of every page, as status and address.
        name: what the person calls the App; None to leave it.
        before_coming_back: is called with the address that GitHub sends the browser back to.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []
        self.name: str | None = None
        self.before_coming_back: Callable[[str], object] = lambda _: None
        self.page = ""

    def open(self, address: str) -> bool:
        """Begin at an address; return whether the person got back to this machine."""
        page = self._see(requests.get(address, timeout=10))
        for _ in range(2):
            form = Form(page.text)
            if self.name is not None and "name" in form.fields:
                form.fields["name"] = self.name
            target = urljoin(page.url, form.action)
            page = self._see(requests.post(target, data=form.fields, allow_redirects=False, timeout=10))
            if page.status_code >= 400:
                return False
        back = page.headers["Location"]
        self.before_coming_back(back)
        self.page = self._see(requests.get(back, timeout=10)).text
        return True

    def _see(self, page: requests.Response) -> requests.Response:
        self.answers.append((page.status_code, page.url))
        return page
