"""The status as a page."""

import base64
import hashlib
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.explain.facts import Unknown
from orchestrator.health.finding import fail
from orchestrator.reconcile.findings import Findings, JobState, Recorded
from orchestrator.status.facts import Status
from orchestrator.status.page import MOST_ROWS, REFRESH, Links, page
from orchestrator.status.style import HEADERS, STYLE
from tests.status_samples import (
    HOSTILE,
    LINUX,
    NOW,
    WINDOWS,
    ended,
    hostile_status,
    quiet_status,
    running,
    status,
    waiting_job,
)

VOID = {"meta", "link"}


class Outline(HTMLParser):
    """A page's elements, checked for being closed in their order.

    Attributes:
        elements: each with its attributes.
        text: all that is read, without the style.
    """

    def __init__(self, shown: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(shown)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close it."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take note of a text."""
        if "style" not in self._open:
            self.text += f"{data}\n"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def outline(shown: Status, links: Links | None = None) -> Outline:
    """Return the outline of a status's page."""
    return Outline(page(shown, links or Links()))


def only_jobs(*states: JobState) -> Status:
    """Return a status with jobs of these states."""
    jobs = tuple(waiting_job(number, state) for number, state in enumerate(states))
    return replace(quiet_status(), recorded=Recorded(NOW, Findings(at=NOW, jobs=jobs)))


class TestWhatItLoads:
    """Nothing comes from elsewhere, and nothing runs."""

    @pytest.mark.parametrize("shown", [status(), quiet_status(), hostile_status()], ids=["busy", "quiet", "hostile"])
    def test_nothing_from_elsewhere(self, shown: Status) -> None:
        """There is no script, no handler, no style but the one that the policy names, and no address but our own."""
        seen = outline(shown)
        names = {name for name, _ in seen.elements}
        assert not names & {"script", "img", "iframe", "object", "embed", "form", "base", "b"}
        for name, attributes in seen.elements:
            assert not [key for key in attributes if key.startswith("on") or key in ("style", "src", "srcset")]
            if "href" in attributes:
                address = urlsplit(attributes["href"] or "")
                allowed = {"": ("explain", "health", "status"), "data": (",",)}
                assert address.fragment == "content" or address.path in allowed[address.scheme], name
                assert address.netloc == ""

    def test_the_policy(self) -> None:
        """The policy names the hash of the style as it stands in the page."""
        style = re.search("<style>(.*?)</style>", page(status(), Links()), re.DOTALL)
        assert style is not None
        assert style[1] == STYLE
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        policy = HEADERS["Content-Security-Policy"]
        assert f"style-src 'sha256-{digest}'" in policy
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none';")
        assert (HEADERS["Referrer-Policy"], HEADERS["Cache-Control"]) == ("no-referrer", "no-store")

    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    def test_hostile_words(self, text: str) -> None:
        """What somebody chose to reach into the page is read as it was written."""
        shown = "".join(character if character.isprintable() else " " for character in text)
        assert shown[:300] in outline(hostile_status()).text


class TestLinks:
    """Where the page leads to."""

    def test_each_row_is_explained(self) -> None:
        """Each job and each runner has a link to its explanation; a job by its address, as it may have no task."""
        asked = [link["href"] or "" for link in outline(status()).all("a")]
        jobs = [parse_qs(urlsplit(link).query)["job"][0] for link in asked if link.startswith("explain?")]
        assert "https://github.com/acme/payments/actions/runs/10743561234/job/29679449527" in jobs
        assert {"runner-29679440001-1", "runner-29679430002-1"} <= set(jobs)
        assert len(jobs) == 5 + 2 + 4 + 4

    def test_without_a_key(self) -> None:
        """A key that is not in the request's address is not in the page."""
        assert all("code=" not in (link["href"] or "") for link in outline(status()).all("a"))

    def test_with_a_key(self) -> None:
        """A key of the request's address goes along to the function's own routes, whatever it holds."""
        key = 'a=b&c"><b>+/'
        links = [urlsplit(link["href"] or "") for link in outline(status(), Links(key)).all("a")]
        assert len(links) == 18
        assert all(parse_qs(link.query)["code"] == [key] for link in links if link.path)

    def test_refresh(self) -> None:
        """The page is asked for again every minute, unless whoever reads it has stopped that."""
        on, off = outline(status()), outline(status(), Links(refreshes=False))
        assert [meta.get("content") for meta in on.all("meta") if meta.get("http-equiv") == "refresh"] == [str(REFRESH)]
        assert [meta for meta in off.all("meta") if meta.get("http-equiv")] == []
        assert "status?refresh=off" in [link["href"] for link in on.all("a")]
        assert "status?" in [link["href"] for link in off.all("a")]


class TestForEverybody:
    """The page can be read without eyes, mouse or colours."""

    def test_structure(self) -> None:
        """It has a language, a title, one main part, headings in their order, and a way past the header."""
        seen = outline(status())
        assert seen.all("html") == [{"lang": "en"}]
        assert len(seen.all("title")) == len(seen.all("h1")) == len(seen.all("main")) == 1
        assert seen.all("a")[0] == {"class": "skip", "href": "#content"}
        levels = [int(name[1]) for name, _ in seen.elements if re.fullmatch("h[1-6]", name)]
        assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
        names = {attributes["aria-labelledby"] for attributes in seen.all("section")}
        assert names == {attributes["id"] for attributes in seen.all("h2")}

    def test_tables(self) -> None:
        """Each table has a caption, and heads that say what they are for."""
        seen = outline(status())
        assert len(seen.all("table")) == len(seen.all("caption")) == 6
        assert {head["scope"] for head in seen.all("th")} == {"col", "row"}
        assert all(cell["data-label"] for cell in seen.all("td"))

    def test_pictures(self) -> None:
        """Each picture has a text."""
        pictures = outline(status()).all("svg")
        assert len(pictures) == 2
        assert all("The last 24 hours of" in (picture["aria-label"] or "") for picture in pictures)

    def test_states_have_signs(self) -> None:
        """What is coloured has a sign as well."""
        seen = outline(status())
        for sign in (
            "✕ Problem",
            "! Attention",
            "! paused",
            "! over-quota",
            "✓ ran a job",
            "! without a job",
            "✕ alert",
        ):
            assert sign in seen.text
        assert "✓ Well" in outline(quiet_status()).text


class TestWhatItSays:
    """What stands in the page."""

    def test_a_busy_day(self) -> None:
        """Pools, times to a runner, points, passes and version are told."""
        text = outline(status()).text
        for words in (
            "Runners on acmerunners", "12:02:03 UTC", ", 1 min ago", "12:05 UTC", "3 of 4, at most 4; being resized",
            "11 of 15 in use", "ubuntu-latest: p50 41 s, p95 3 min (412 runners in 24 h)", "4,186",
            "running, at most 15", "exit code 75 (it could not register, or got no session)", "never started",
            "repository acme/archive", "The set-up was looked at 12 min ago.", "azure-batch-actions-runners 1.0.0",
        ):  # fmt: skip
            assert words in text

    def test_a_quiet_day(self) -> None:
        """Where there is nothing, that is said instead of an empty table."""
        text = outline(quiet_status()).text
        for words in ("No job waits.", "Nothing runs.", "Nothing has ended", "Nothing to complain of.", "unknown"):
            assert words in text
        assert "Reported jobs" not in text

    def test_no_pass(self) -> None:
        """Without a record the page says so, and why it could not be read."""
        assert "No pass is recorded." in outline(replace(quiet_status(), recorded=None)).text
        text = outline(replace(quiet_status(), recorded=Unknown("it answers 403"))).text
        assert "The last pass is not known." in text
        assert "What the last pass recorded cannot be read: it answers 403" in text

    def test_a_pass_that_could_not_look(self) -> None:
        """What is older than the last pass is told with its own age."""
        found = Findings(at=NOW - timedelta(hours=1)).not_renewed("Batch does not answer")
        text = outline(replace(quiet_status(), recorded=Recorded(NOW, found))).text
        assert "; what stands here was found 1 h 0 min ago" in text
        never = Findings().not_renewed("Batch does not answer")
        assert "what stands here" not in outline(replace(quiet_status(), recorded=Recorded(NOW, never))).text

    def test_pools(self) -> None:
        """A pool that is missing, silent or in trouble is told in its card."""
        text = outline(replace(quiet_status(), pools={LINUX: None, WINDOWS: Unknown("silence")})).text
        assert "Batch has no such pool" in text
        assert "not known: silence" in text
        assert "Formula error" in outline(hostile_status()).text

    def test_a_profile_that_never_ran(self) -> None:
        """Without a start there is no time to a runner."""
        assert "ubuntu-22.04: none in 24 h" in outline(status()).text

    def test_when_the_next_runner_is_due(self) -> None:
        """A job whose next runner has a time is told it; a pause says it in its own words."""
        due = waiting_job(1, JobState.IDLE_RUNNER, reason="theirs is idle", due_at=NOW)
        paused = waiting_job(2, JobState.PAUSED, reason="again at 12:03", due_at=NOW)
        unknown = waiting_job(3, JobState.SKIPPED, queued_at=None, reason="nobody knows")
        jobs = Findings(at=NOW, jobs=(due, paused, unknown))
        text = outline(replace(quiet_status(), recorded=Recorded(NOW, jobs))).text
        assert "theirs is idle; its next runner is due at 12:03" in text
        assert "again at 12:03\n" in text
        assert "not known" in text

    def test_failures_of_the_set_up(self) -> None:
        """A failure has its cure."""
        text = outline(replace(quiet_status(), warnings=(fail("queue", "403", "give it a role"),))).text
        assert "✕ fail" in text
        assert "give it a role" in text

    def test_many(self) -> None:
        """A table has an end, and says how much is not shown."""
        found = Findings(
            at=NOW,
            jobs=tuple(waiting_job(number, JobState.WAITS_FOR_SLOT) for number in range(MOST_ROWS + 7)),
            jobs_left_out=1000,
            running=tuple(running(number) for number in range(MOST_ROWS)),
            outcomes=(ended(1, repository=""),),
        )
        seen = outline(replace(quiet_status(), recorded=Recorded(NOW, found)))
        assert "1,007 more are not shown." in seen.text
        assert seen.text.count("more are not shown") == 1
        assert "unknown repository" in seen.text

    @pytest.mark.parametrize("state", JobState)
    def test_every_state(self, state: JobState) -> None:
        """Each state of a job is shown by its word."""
        assert state in outline(only_jobs(state)).text
