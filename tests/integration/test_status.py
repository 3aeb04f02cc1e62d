"""The status page between the stand-ins: what it costs, who may see it, and what a browser makes of it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from orchestrator.application import Application
from orchestrator.result import Result
from orchestrator.runtime import Runtime
from orchestrator.status.facts import Status
from orchestrator.status.page import Links, page
from orchestrator.status.style import HEADERS
from sandbox.batch import Batch
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.server import Server
from tests.builders import delivery, queued_job
from tests.chromium import Tab, chromium, look
from tests.status_samples import hostile_status, quiet_status, status

type Make = Callable[..., Application]


@pytest.fixture
def own_settings() -> dict[str, str]:
    """Return the settings of these applications."""
    return {
        "UbuntuPool": "still",
        "WindowsPool": "windows",
        "AllowedOrganizations": "acme",
    }


def shown(application: Application, **query: str) -> str:
    """Return the page."""
    answer = asyncio.run(application.status({"accept": "text/html"}, query))
    assert (answer.status, answer.media_type, answer.headers) == (200, "text/html", HEADERS)
    return answer.text


def told(application: Application) -> dict[str, Any]:
    """Return the status for a program."""
    answer = asyncio.run(application.status({"accept": "application/json"}, {}))
    assert (answer.status, answer.media_type, answer.headers) == (200, "application/json", HEADERS)
    found: dict[str, Any] = json.loads(answer.text)
    return found


def queue_a_job(application: Application, github: GitHub) -> int:
    """Have a job whose runner waits, and make a pass; return the job's id."""
    job = github.queue_job("acme/app", ["self-hosted", "ubuntu-latest"])
    payload = queued_job(workflow_job={**queued_job()["workflow_job"], "id": job.id, "run_id": job.run_id})
    assert asyncio.run(application.receive(*delivery(payload))).status == 201
    application.reconcile()
    return job.id


def test_what_a_pass_has_seen(make: Make, github: GitHub) -> None:
    """A job that waits is shown as the last pass left it, to people and programs, and leads to its explanation."""
    application = make()
    job = queue_a_job(application, github)
    found = told(application)
    (waiting,) = found["found"]["jobs"]
    assert (waiting["job"], waiting["repository"], waiting["state"]) == (job, "acme/app", "waits-for-slot")
    assert found["pools"]["still"]["nodes"] == 0
    assert found["found"]["pools"][0]["waiting"] == 1
    text = shown(application)
    assert f"explain?job={github.url.replace(':', '%3A').replace('/', '%2F')}%2Facme%2Fapp%2Factions" in text
    assert "waits-for-slot" in text
    assert "1 running" not in text


def test_what_it_costs(make: Make, github: GitHub, batch: Batch) -> None:
    """A hundred viewers cost one call for each pool and none to GitHub; another process reads the record once."""
    queue_a_job(make(), github)
    application = make()
    asked, calls = len(batch.recorder.calls), len(github.recorder.calls)
    pages = {shown(application) for _ in range(100)}
    assert len(pages) == 1
    assert len(batch.recorder.calls) == asked + 2
    assert len(github.recorder.calls) == calls


def test_keys(make: Make) -> None:
    """A key of one viewer's address stands in that one's links alone."""
    application = make()
    assert "health?full=1&amp;code=k%26ey" in shown(application, code="k&ey")
    assert "code=" not in shown(application)
    assert 'http-equiv="refresh"' not in shown(application, refresh="off")


def test_before_the_first_pass(make: Make) -> None:
    """Without a record the page says that there is none."""
    assert told(make())["lastPass"] is None


def test_batch_is_silent(make: Make, batch: Batch) -> None:
    """A Batch that does not answer is told, and the page is shown all the same."""
    batch.faults.add(Fault("status", "GET /pools/*", times=None, status=503))
    assert "Pool still could not be asked" in shown(make())


def test_the_set_up(make: Make) -> None:
    """What a look at the set-up has found is shown to those who come after it."""
    assert told(make(WindowsPool="nowhere"))["checkedAt"] is None
    application = make(WindowsPool="nowhere")
    asyncio.run(application.health({}, full=False))
    found = told(application)
    assert {one["item"]: one["state"] for one in found["warnings"]}["pool nowhere"] == "fail"
    assert found["checkedAt"] is not None


class NoThreads(Executor):
    """Threads that are all busy."""

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        """Begin nothing."""
        return Future()


def test_who_may_see_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody from elsewhere than `OperatorSources`; nobody while settings are wrong; later, where too many ask."""
    foreign = {"x-forwarded-for": "198.51.100.7:1"}
    answer = asyncio.run(make(OperatorSources="192.0.2.0/24").status(foreign, {}))
    assert (answer.status, answer.body["result"]) == (403, Result.REFUSED)
    answer = asyncio.run(make(GithubToken="").status({}, {}))
    assert (answer.status, answer.body["result"]) == (500, Result.MISCONFIGURED)
    monkeypatch.setattr("orchestrator.application.EXPLAIN_DEADLINE", 0.01)
    answer = asyncio.run(make(runtime=Runtime(explain_threads=NoThreads())).status({}, {}))
    assert (answer.status, answer.body["result"]) == (503, Result.FAILED)


# In a browser --------------------------------------------------------------------------------------------------------

SHOWN = {"/busy": status(), "/quiet": quiet_status(), "/hostile": hostile_status()}
# What a narrow page must not do, and what a reader meets who goes on by the key alone.
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
FOCUS = "[document.activeElement.tagName, document.activeElement.textContent, document.activeElement.href || '']"


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Serve pages with the headers that go along with them; return the site's address."""

    async def answer(request: web.Request) -> web.Response:
        shown: Status = SHOWN[request.path]
        return web.Response(text=page(shown, Links("k&ey")), content_type="text/html", headers=HEADERS)

    def application() -> web.Application:
        served = web.Application()
        served.router.add_get("/{page}", answer)
        return served

    with Server(application()) as server:
        yield server.url


@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed here")
class TestBrowser:
    """What a headless Chromium makes of the page."""

    @pytest.mark.parametrize("width", [360, 768, 1440])
    def test_at_a_width(self, site: str, tmp_path: Path, width: int) -> None:
        """Nothing goes beyond the edge, light or dark; the browser has no complaint, and asks for nothing more."""

        async def see(tab: Tab) -> list[tuple[int, int]]:
            widths = []
            for path in SHOWN:
                for scheme in ("light", "dark"):
                    await tab.open(f"{site}{path}", width, 900, scheme)
                    widths.append(tuple(await tab.evaluate(WIDTHS)))
            assert tab.complaints == []
            assert {address for address in tab.requested if not address.startswith("data:")} == {
                f"{site}{path}" for path in SHOWN
            }
            return widths

        assert set(look(tmp_path, see)) == {(width, width)}

    def test_focus(self, site: str, tmp_path: Path) -> None:
        """The key leads to every link once, in the order of the page, the way past its header first."""

        async def see(tab: Tab) -> tuple[list[list[str]], list[str]]:
            await tab.open(f"{site}/busy", 1440, 900)
            links = await tab.evaluate("[...document.querySelectorAll('a')].map(link => link.textContent)")
            met = []
            for _ in links:
                await tab.press_tab()
                met.append(await tab.evaluate(FOCUS))
            return met, links

        met, links = look(tmp_path, see)
        assert [text for _, text, _ in met] == links
        assert links[0] == "Skip to the content"
        assert met[1][2].endswith("/status?refresh=off&code=k%26ey")

    def test_the_style_is_applied(self, site: str, tmp_path: Path) -> None:
        """The policy lets the page's own style through, and the reader's scheme decides about its colours."""
        background = "getComputedStyle(document.body).backgroundColor"

        async def see(tab: Tab) -> list[str]:
            found = []
            for scheme in ("light", "dark"):
                await tab.open(f"{site}/busy", 768, 900, scheme)
                found.append(await tab.evaluate(background))
            return found

        assert look(tmp_path, see) == ["rgb(246, 247, 249)", "rgb(17, 21, 27)"]

    def test_contrast(self, site: str, tmp_path: Path) -> None:
        """Every text stands out from what is behind it, light or dark: 4.5 to 1 at least (WCAG 2.2, 1.4.3)."""

        async def see(tab: Tab) -> list[str]:
            found: list[str] = []
            for scheme in ("light", "dark"):
                await tab.open(f"{site}/busy", 1440, 900, scheme)
                found += await tab.evaluate(_TOO_FAINT)
            return found

        assert look(tmp_path, see) == []


_TOO_FAINT = """
(() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim()) continue;
    const [one, other] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) faint.push(`${walker.currentNode.data}: ${ratio}`);
  }
  return faint;
})()
"""
