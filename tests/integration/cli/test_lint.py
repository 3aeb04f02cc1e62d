"""`lint`: workflows in a folder, and in a repository at GitHub."""

import json
import textwrap
from pathlib import Path

import pytest

from orchestrator.cli.main import run
from orchestrator.cli.workflow_lint.sources import WORKFLOWS
from sandbox.faults import Fault
from sandbox.github import GitHub
from tests.builders import environment

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "local.settings.json.example"
DOCS = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")

# What the page shows.
CI = """\
on: [push, workflow_dispatch]
jobs:
  test:
    strategy:
      matrix:
        os: [ubuntu-22.04, ubuntu-23.04]
    runs-on: [self-hosted, "${{ matrix.os }}"]
  database:
    runs-on: [self-hosted, ubuntu-latest]
    services:
      db:
        image: postgres
  any:
    runs-on: [self-hosted, linux]
  where:
    runs-on: ${{ vars.RUNNER || 'ubuntu-latest' }}
  deploy:
    uses: acme/shared/.github/workflows/deploy.yml@v1
"""


def write(folder: Path, content: str, name: str = "ci.yml") -> None:
    """Put a workflow into a repository's folder."""
    (folder / WORKFLOWS).mkdir(parents=True, exist_ok=True)
    (folder / WORKFLOWS / name).write_text(textwrap.dedent(content), encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, in which the command is called with the settings of the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_the_docs_show_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page shows what the command prints for the example's settings and for the workflow above."""
    write(here, CI)
    assert run(["lint", ".", "--settings", str(EXAMPLE)]) == 1
    said = capsys.readouterr()
    assert f"```text\n{said.out}```" in DOCS
    assert f"```yaml\n{CI.strip()}\n```" in DOCS
    assert said.err == ""


@pytest.mark.parametrize(
    ("runs_on", "options", "code"),
    [
        ("[self-hosted, ubuntu-latest]", [], 0),
        ("[self-hosted, tiny]", [], 1),
        ("[self-hosted, linux]", [], 0),
        ("[self-hosted, linux]", ["--strict"], 1),
        ("'${{ vars.X }}'", [], 0),
        ("'${{ vars.X }}'", ["--strict"], 1),
        ("[self-hosted, ubuntu-latest]", ["--strict", "--repository", "acme/app"], 0),
        ("[self-hosted, ubuntu-latest]", ["--repository", "acme/app", "--public"], 1),
        ("[", [], 2),
        ("''", [], 2),
    ],
)
def test_exit_codes(
    here: Path, runs_on: str, options: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors end with 1, warnings and notices with --strict as well, and a file that GitHub cannot use with 2."""
    write(here, f"on: push\njobs: {{a: {{runs-on: {runs_on}}}}}")
    assert run(["lint", ".", *options]) == code
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith("1 workflow: ")
    assert said.err == ""


def test_formats(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON and annotations hold the same; in a workflow's run the repository is known."""
    monkeypatch.setenv("GITHUB_REPOSITORY", "globex/app")
    monkeypatch.setenv("AllowedOrganizations", "acme")
    write(here, "on: push\njobs: {a: {runs-on: [self-hosted, ubuntu-latest]}}")
    for options in (["--json"], ["--format", "json"]):
        assert run(["lint", WORKFLOWS, *options]) == 1
        report = json.loads(capsys.readouterr().out)
        assert [finding["code"] for finding in report["findings"]] == ["refused"]
        assert report["findings"][0]["path"] == f"{WORKFLOWS}/ci.yml"
    assert run(["lint", f"{WORKFLOWS}/ci.yml", "--format", "github"]) == 1
    assert capsys.readouterr().out.startswith(f"::error file={WORKFLOWS}/ci.yml,line=2,col=21,title=refused::job a: ")
    write(here, "on: push\njobs: {a: {runs-on: ubuntu-latest}}")
    assert run(["lint", ".", "--format", "github"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: there is no such file or folder, and it is not OWNER/REPO"),
        (["."], ".: has no workflow"),
        ([".", "--repository", "acme"], "--repository: is not OWNER/NAME"),
        ([".", "--settings", "none.json"], "has no workflow"),
        ([".", "--public"], "--public: needs --repository"),
    ],
)
def test_called_wrongly(here: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be looked at is named in one sentence."""
    assert run(["lint", *arguments]) == 2
    said = capsys.readouterr()
    assert (message in said.err, said.out, list(here.iterdir())) == (True, "", [])


@pytest.fixture
def at_github(here: Path, github: GitHub, github_url: str, monkeypatch: pytest.MonkeyPatch) -> GitHub:
    """Return a GitHub that the command reaches with a token that may read files."""
    assert list(here.iterdir()) == []
    monkeypatch.setenv("GithubApiUrl", github_url)
    monkeypatch.setenv("GithubToken", "ghp_sandbox")
    return github


def test_a_repository(at_github: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    """Its workflows are read, also those of other repositories that they call, with few calls; nothing else is."""
    at_github.add_repository("acme/app")
    at_github.add_file("acme/app", f"{WORKFLOWS}/ci.yml", textwrap.dedent(CI))
    at_github.add_file("acme/app", f"{WORKFLOWS}/README.md", "x")
    called = "on: workflow_call\njobs: {deploy: {runs-on: [self-hosted, far]}}"
    at_github.add_file("acme/shared", ".github/workflows/deploy.yml", called, ref="v1")
    assert run(["lint", "acme/app", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["workflows"], len(at_github.recorder.calls)) == (2, 4)
    paths = {finding["path"] for finding in report["findings"]}
    assert paths == {f"{WORKFLOWS}/ci.yml", "acme/shared/.github/workflows/deploy.yml@v1"}


def test_a_public_repository(at_github: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    """GitHub says whether it is public, and a workflow that cannot be read of another repository is only said."""
    at_github.add_repository("acme/app", private=False)
    content = "on: push\njobs: {a: {runs-on: [self-hosted, linux]}, b: {uses: x/y/.github/workflows/z.yml@v1}}"
    at_github.add_file("acme/app", f"{WORKFLOWS}/ci.yml", content)
    assert run(["lint", "acme/app"]) == 1
    said = capsys.readouterr().out
    assert "gets no runner: the repository is public" in said
    assert "x/y/.github/workflows/z.yml@v1 are not looked at: GitHub shows no such file to the credential" in said


def test_no_workflow_at_github(at_github: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    """A repository without workflows, and one that is not there, are told apart."""
    at_github.add_repository("acme/app")
    assert run(["lint", "acme/app"]) == 2
    assert "acme/app: has no workflow in .github/workflows of its default branch" in capsys.readouterr().err
    assert run(["lint", "acme/none"]) == 3
    assert "may the credentials see that of repository acme/none?" in capsys.readouterr().err


def test_github_does_not_let_it(at_github: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    """A credential that may not read files is told which permission that takes."""
    at_github.add_repository("acme/app")
    at_github.access.revoke("ghp_sandbox")
    at_github.access.add_token("ghp_sandbox", permissions={"metadata": "read"})
    assert run(["lint", "acme/app"]) == 3
    assert "Contents: read" in capsys.readouterr().err
    at_github.faults.add(Fault("status", times=None))
    assert run(["lint", "acme/app"]) == 3
    assert capsys.readouterr().out == ""
