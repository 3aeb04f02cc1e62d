"""`check`: asking the function, or asking GitHub and Azure from here; exit codes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import run
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.server import Server
from sandbox.storage_queue import QueueService
from tests.batch_tasks import NoExecutor
from tests.builders import environment
from tests.operator_site import Site


def report(state: str, *, answered: bool = True) -> dict[str, Any]:
    """Return what the function says."""
    checks = [{"item": "queue", "state": state, "says": "it is so", "cure": ""}]
    return {"state": state, "answered": answered, "checks": checks}


@pytest.fixture
def site() -> Iterator[Site]:
    """Serve the function."""
    with Site().served("health") as site:
        yield site


@pytest.fixture
def check(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return what runs the command against the function, which answers so."""
    monkeypatch.setenv("OPERATOR_KEY", " k3y ")

    def checked(status: int, body: object, *options: str) -> int:
        site.answers = [(status, body if isinstance(body, str) else json.dumps(body))]
        return run(["check", "--url", f"{site.url}/", *options])

    return checked


def test_text_and_json(check: Callable[..., int], site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """The function's whole report is printed for a person, or as it came; the key goes into a header."""
    assert check(200, report("ok")) == 0
    assert capsys.readouterr().out == "ok         queue  it is so\nok\n"
    assert check(200, report("ok"), "--json") == 0
    assert json.loads(capsys.readouterr().out) == report("ok")
    assert site.asked[0] == {"Accept": "application/json", "x-functions-key": "k3y", "full": "1"}


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, report("ok"), 0),
        (200, report("warn"), 0),
        (200, report("not asked"), 0),
        (200, report("warn", answered=False), 3),
        (503, report("fail"), 1),
        (503, report("fail", answered=False), 1),
    ],
)
def test_exit_code(check: Callable[..., int], status: int, body: object, code: int) -> None:
    """A failure is 1, a question without an answer 3, and everything else 0."""
    assert check(status, body) == code


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, "", "refuses the key in OPERATOR_KEY"),
        (403, '{"reason": "not among OperatorSources"}', "not among OperatorSources"),
        (403, "<html>", "admits no calls from this network"),
        (404, "", "has no route for this"),
        (503, '{"reason": "not done within 25 s"}', "answers with 503: not done within 25 s"),
        (302, "", "answers with 302"),
        (200, "[]", "answers with 200"),
    ],
)
def test_refusals(
    check: Callable[..., int], status: int, body: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever else the function answers, one sentence says what it means, and the command ends with 3."""
    assert check(status, body) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert "k3y" not in said.err


def test_no_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key in the environment nothing is asked."""
    monkeypatch.delenv("OPERATOR_KEY", raising=False)
    assert run(["check", "--url", "https://f.example"]) == 2
    assert "OPERATOR_KEY: is missing" in capsys.readouterr().err


def test_from_here(github: GitHub, github_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--url` GitHub and Azure are asked from here, with the settings of a file."""
    batch, queue = Batch([Pool("linux")], executor=NoExecutor()), QueueService()
    with Server(batch.application) as batch_server, Server(queue.application) as queue_server:
        values = environment(
            AzureWebJobsStorage=queue.connection_string(queue_server.url),
            BatchAccountUrl=batch_server.url, BatchAccountName=batch.account, BatchAccountKey=batch.key,
            UbuntuPool="linux", WindowsPool="", GithubApiUrl=github_url, GithubToken="ghp_sandbox",
            AllowedOrganizations="acme", AllowedSources="10.0.0.0/8",
        )  # fmt: skip
        github.add_repository("acme/app")
        file = tmp_path / "local.settings.json"
        file.write_text(json.dumps({"Values": values}), encoding="utf-8")
        assert run(["check", "--settings", str(file)]) == 0
        assert "ok         pool linux" in capsys.readouterr().out
        batch.faults.add(Fault("drop", times=None))
        assert run(["check", "--settings", str(file)]) == 3
        assert "check --url" in capsys.readouterr().out


@pytest.mark.parametrize("storage", ["", "AccountName=;"])
def test_wrong_settings(storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong settings are a finding like any other."""
    file = tmp_path / "local.settings.json"
    file.write_text(json.dumps({"Values": environment(AzureWebJobsStorage=storage)}), encoding="utf-8")
    assert run(["check", "--settings", str(file), "--json"]) == 1
    (line,) = json.loads(capsys.readouterr().out)["checks"]
    assert (line["item"], line["state"]) == ("settings", "fail")
    assert "AzureWebJobsStorage" in line["says"]
