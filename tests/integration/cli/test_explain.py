"""`explain`: asking the function, or GitHub and Batch; exit codes, and watching."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import operator_client
from orchestrator.cli.commands import explain
from orchestrator.cli.main import run
from orchestrator.explain.verdict import OVER, WORKS, Verdict
from tests.builders import environment
from tests.operator_site import Site

JOB = "https://github.com/acme/app/actions/runs/1/job/2"


def report(verdict: str) -> dict[str, Any]:
    """Return what the function says."""
    return {"job": "job 2", "verdict": verdict, "sentence": "it is so", "advice": "Nothing.", "next": None, "facts": []}


@pytest.fixture
def site() -> Iterator[Site]:
    """Serve the function."""
    with Site().served("explain") as site:
        yield site


@pytest.fixture
def ask(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return what runs the command against the function, which answers with these; nothing is waited for."""
    monkeypatch.setenv("OPERATOR_KEY", " k3y ")
    monkeypatch.setattr("time.sleep", lambda _: None)

    def asked(*answers: tuple[int, str] | str, options: tuple[str, ...] = ()) -> int:
        site.answers = [(200, json.dumps(report(answer))) if isinstance(answer, str) else answer for answer in answers]
        return run(["explain", JOB, "--url", f"{site.url}/", *options])

    return asked


def test_text_and_json(ask: Callable[..., int], site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """The function's report is printed for a person, or as it came; the key goes into a header."""
    assert ask("running") == 0
    assert capsys.readouterr().out == "running: it is so\nWhat to do: Nothing.\n"
    assert ask("running", options=("--json",)) == 0
    assert json.loads(capsys.readouterr().out) == report("running")
    assert site.asked[0] == {"Accept": "application/json", "x-functions-key": "k3y", "job": JOB}


@pytest.mark.parametrize("verdict", Verdict)
def test_exit_code(ask: Callable[..., int], verdict: Verdict) -> None:
    """The exit code says whether nothing is wrong, a person must act, or nothing can be told."""
    assert ask(verdict) == (3 if verdict == Verdict.CANNOT_TELL else 0 if verdict in WORKS else 1)
    assert verdict not in OVER or verdict in WORKS or verdict == Verdict.NOT_FOUND


def test_a_verdict_of_a_later_release(ask: Callable[..., int]) -> None:
    """A verdict that this release does not know is one that a person must see."""
    assert ask("on-the-moon") == 1


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ((400, '{"reason": "this is a run"}'), 2, "JOB: this is a run"),
        ((401, ""), 3, "refuses the key in OPERATOR_KEY"),
        ((403, '{"reason": "not among OperatorSources"}'), 3, "not among OperatorSources"),
        ((403, "<html>"), 3, "admits no calls from this network"),
        ((404, ""), 3, "has no function that explains"),
        ((503, '{"result": "failed", "reason": "not done within 25 s"}'), 3, "answers with 503: not done within 25 s"),
        ((302, ""), 3, "answers with 302"),
        ((200, "<html>"), 3, "answers with 200"),
        ((200, "{}"), 3, "answers with 200"),
        ((400, "{}"), 3, "answers with 400"),
    ],
)
def test_refusals(
    ask: Callable[..., int], answer: tuple[int, str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the function answers, one sentence says what it means."""
    assert ask(answer) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert "k3y" not in said.err


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A function that does not answer is told as such."""
    monkeypatch.setenv("OPERATOR_KEY", "k3y")
    assert run(["explain", JOB, "--url", "http://127.0.0.1:9"]) == 3
    assert "127.0.0.1:9 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["example.com", "http://example.com", "https://u:p@example.com", "https://[", "ftp://x"]
)
def test_no_address(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The key is sent nowhere but to an https:// address."""
    monkeypatch.setenv("OPERATOR_KEY", "k3y")
    assert run(["explain", JOB, "--url", url]) == 2
    assert "--url: is not an https:// address" in capsys.readouterr().err


def test_no_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the key the function is not asked."""
    monkeypatch.delenv("OPERATOR_KEY", raising=False)
    assert run(["explain", JOB, "--url", "https://example.com"]) == 2
    assert "OPERATOR_KEY: is missing" in capsys.readouterr().err


def test_watch(ask: Callable[..., int], site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Changes are printed until the job waits no more; a question that fails is asked again."""
    answers = ("pool-growing", "pool-growing", (503, ""), "runner-starting", "running", "completed")
    assert ask(*answers, options=("--watch",)) == 0
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.out.splitlines() if "it is so" in line] == [
        "pool-growing", "runner-starting", "running",
    ]  # fmt: skip
    assert "answers with 503" in said.err
    assert len(site.asked) == 5


def test_watching_ends(ask: Callable[..., int], site: Site) -> None:
    """It does not watch for ever."""
    assert ask("runner-idle", options=("--watch", "--minutes", "1")) == 1
    assert len(site.asked) == 1 + 60 / explain.WATCH_EVERY


def test_interrupted(ask: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends watching with 130."""

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    assert ask("pool-growing", options=("--watch",)) == 130


@pytest.mark.parametrize(
    ("job", "values", "words"),
    [
        ("https://gitlab.com/x", {}, "JOB: the job is not at https://github.com"),
        (JOB, {"GithubToken": ""}, "GithubToken: is missing"),
        (JOB, {"GithubToken": "", "AzureWebJobsStorage": ""}, "Error: GithubToken: is missing (or set GithubAppId"),
    ],
)
def test_asked_from_here(
    job: str, values: dict[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the function's address its settings are read, with the credentials for GitHub and Batch."""
    (tmp_path / "settings.json").write_text(json.dumps({"Values": environment(**values)}), encoding="utf-8")
    assert run(["explain", job, "--settings", str(tmp_path / "settings.json")]) == 2
    assert words in capsys.readouterr().err


def test_the_way_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The machine's proxy is used, and what it may not be is told."""
    egress = operator_client.egress_of({"https_proxy": "proxy:8080", "HTTPS_PROXY": "other:1", "NO_PROXY": "a.example"})
    assert egress.proxy_for("https://b.example") == "http://proxy:8080"
    assert egress.proxy_for("https://a.example") is None
    monkeypatch.setenv("OPERATOR_KEY", "k3y")
    monkeypatch.setenv("https_proxy", "socks5://x")
    assert run(["explain", JOB, "--url", "https://example.com"]) == 2
    assert "HTTPS_PROXY: is not the URL of an HTTP proxy" in capsys.readouterr().err
