"""How the runner images' entrypoint asks for a registration with a claim, over sockets."""

import base64
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import claim
import contract
import lifecycle
import pytest

from tests.claim_door import CLAIM, Door, Reply, door, granted, refused
from tests.tls import server_context
from tests.waiting import until

JIT = base64.b64encode(json.dumps({".runner": base64.b64encode(b"{}").decode()}).encode()).decode()
GRANTED = granted({"GHR_URL": "https://github.com/acme", "GHR_JITCONFIG": JIT})


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause for next to nothing, and know of no proxy but the test's."""
    monkeypatch.setattr(claim, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(claim, "LONGEST_PAUSE", 0.001)
    monkeypatch.setattr(claim, "TICK", 0.01)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def redeem(url: str, *, wait: str = "60", stop: lifecycle.StopRequest | None = None) -> dict[str, str]:
    """Redeem a claim."""
    environment = {"GHR_CLAIM": CLAIM, "GHR_CLAIM_URL": url, "GHR_CLAIM_WAIT": wait}
    settings = contract.read_settings(environment, "/opt/runner")
    return claim.redeem(CLAIM, settings, stop or lifecycle.StopRequest())


def refusal(url: str, *, wait: str = "60", stop: lifecycle.StopRequest | None = None) -> tuple[int, str]:
    """Return how a claim ends that is not redeemed: the exit code and the reason."""
    with pytest.raises(contract.Ended) as ended:
        redeem(url, wait=wait, stop=stop)
    assert CLAIM not in str(ended.value)
    return ended.value.code, str(ended.value)


def trouble(url: str) -> str:
    """Return why one request got no answer."""
    return claim._request(url, b"{}").trouble


def test_granted() -> None:
    """The claim and a nonce go by POST as JSON; what comes back is what the runner registers with."""
    with door(GRANTED) as asked:
        assert redeem(asked.url) == {"GHR_URL": "https://github.com/acme", "GHR_JITCONFIG": JIT}
    ((method, path, kind, content),) = asked.asked
    assert (method, path, kind) == ("POST", "/api/ClaimRunner", "application/json")
    assert set(content) == {"claim", "nonce"}
    assert content["claim"] == CLAIM
    assert re.fullmatch("[0-9a-f]{64}", content["nonce"])


@pytest.mark.parametrize(("status", "code"), [(400, 78), (401, 78), (403, 78), (409, 77), (410, 69), (413, 78)])
def test_refused(status: int, code: int) -> None:
    """A final answer ends the container after one request, with the function's own word."""
    with door(refused(status, "its_word")) as asked:
        found = refusal(asked.url)
    assert (found[0], found[1].endswith("(its_word)"), len(asked.asked)) == (code, True, 1)


@pytest.mark.parametrize(
    "reply",
    [
        refused(429, "too_often"),
        refused(500, "broken"),
        refused(503, "not_running_yet"),
        Reply(403, b"<html>This web app is stopped.</html>"),
        Reply(403, {"code": f"{CLAIM} is no plain word"}),
        Reply(404),
        Reply(200, b"not JSON"),
        Reply(200, b"\xff"),
        Reply(200, b"[" * 100_000),
        Reply(200, []),
        Reply(200, {"environment": []}),
        granted({}),
        granted({"GHR_JITCONFIG": "no JIT configuration"}),
        granted({"GHR_JITCONFIG": JIT, "PATH": "/bin"}),
        Reply(200, {"environment": {"GHR_JITCONFIG": JIT, "GHR_NAME": 1}}),
        Reply(200, b" " * claim.ANSWER_LIMIT + json.dumps(GRANTED.content).encode()),
    ],
    ids=range(16),
)  # fmt: skip
def test_asked_again(reply: Reply, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not final, not the function's or of no use is asked again, with the same nonce, and said each time."""
    with door(reply, reply, GRANTED) as asked:
        assert redeem(asked.url)["GHR_JITCONFIG"] == JIT
    assert len(asked.nonces) == 3
    assert len(set(asked.nonces)) == 1
    said = capsys.readouterr().out
    assert said.count("; asking again in ") == 2
    assert CLAIM not in said


def test_each_container_has_a_nonce_of_its_own() -> None:
    """A container that starts again is another one for the function."""
    with door(GRANTED) as asked:
        redeem(asked.url)
        redeem(asked.url)
    assert len(set(asked.nonces)) == 2


def test_no_redirect_is_followed() -> None:
    """The claim goes where it was sent, and nowhere else."""
    with door(GRANTED) as elsewhere:
        moved = [Reply(status, headers={"Location": elsewhere.url}) for status in (301, 302, 303, 307, 308)]
        with door(*moved, refused(410, "not_wanted")) as asked:
            assert refusal(asked.url)[0] == 69
    assert (len(asked.asked), elsewhere.asked) == (6, [])


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the next request would come too late, the container ends with 75, and the reason tells the last trouble."""
    with door(GRANTED) as asked:
        url = asked.url
    monkeypatch.setattr(claim, "pause", lambda *_: 61.0)
    assert refusal(url, wait="60") == (
        75, "no registration within GHR_CLAIM_WAIT: no answer: [Errno 111] Connection refused",
    )  # fmt: skip


def test_put_off_beyond_its_time() -> None:
    """A container that is asked to come back after its time does not wait for that."""
    with door(refused(503, "busy", Retry_After="100")) as asked:
        assert refusal(asked.url, wait="99") == (
            75, "no registration within GHR_CLAIM_WAIT: the function answers 503 (busy)",
        )  # fmt: skip
    assert len(asked.asked) == 1


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_trickles(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request ends at its limit, although each byte comes in time; the next one gets its answer."""
    monkeypatch.setattr(claim, "REQUEST_LIMIT", 0.5)
    with door(Reply(200, trickles=part), GRANTED) as asked:
        assert redeem(asked.url)["GHR_JITCONFIG"] == JIT
    assert len(asked.asked) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (21, 143)])
@pytest.mark.parametrize("reply", [Reply(200, trickles="body"), refused(503, "busy", Retry_After="50")])
def test_stopped(number: int, code: int, reply: Reply) -> None:
    """A signal ends the wait for an answer, and the pause after one; Windows' own signals count as SIGTERM."""
    stop = lifecycle.StopRequest()
    with door(reply) as asked:
        ended: list[tuple[int, str]] = []
        waits = threading.Thread(target=lambda: ended.append(refusal(asked.url, wait="600", stop=stop)))
        waits.start()
        until(lambda: asked.asked)
        stop(number, None)
        waits.join(30)
        assert ended == [(code, "stopped while asking for a registration")]


class TestTls:
    """Which servers are trusted, and the way to them."""

    @pytest.fixture
    def secure(self, tmp_path: Path) -> Iterator[Door]:
        """Serve a door whose certificate a company's authority has signed."""
        with door(GRANTED, context=server_context(tmp_path, tmp_path / "corp.crt")) as asked:
            yield asked

    def test_an_authority_of_ones_own(self, secure: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """SSL_CERT_FILE names who is trusted; without it the server is a stranger, and gets no claim."""
        assert "certificate verify failed" in trouble(secure.url)
        assert secure.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "corp.crt"))
        assert redeem(secure.url)["GHR_JITCONFIG"] == JIT

    def test_another_name(self, secure: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A trusted certificate of another host is none of this one's."""
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "corp.crt"))
        assert "certificate verify failed" in trouble(secure.url.replace("localhost", "127.0.0.1"))
        assert secure.asked == []

    @pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
    def test_a_proxy(self, name: str, secure: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment's proxy is asked for the way, unless NO_PROXY has the host; it never sees the claim."""
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "corp.crt"))
        with door(Reply(407)) as proxy:
            monkeypatch.setenv(name, proxy.url.removesuffix("/api/ClaimRunner"))
            assert trouble(secure.url) == "no answer: Tunnel connection failed: 407 Proxy Authentication Required"
            host = secure.url.removeprefix("https://").removesuffix("/api/ClaimRunner")
            assert proxy.asked == [("CONNECT", host, None, None)]
            monkeypatch.setenv("no_proxy", ".corp,localhost")
            assert redeem(secure.url)["GHR_JITCONFIG"] == JIT
        assert len(proxy.asked) == 1

    def test_no_proxy_without_tls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What goes to this machine in plain text is shown to no proxy."""
        with door(Reply(502)) as proxy, door(GRANTED) as asked:
            monkeypatch.setenv("http_proxy", proxy.url)
            assert redeem(asked.url)["GHR_JITCONFIG"] == JIT
        assert proxy.asked == []
