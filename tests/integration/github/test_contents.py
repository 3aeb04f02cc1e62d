"""A repository and its files, as the GitHub stand-in serves them."""

import json

import pytest

from orchestrator.errors import GitHubRefused, TransientError, UpstreamRefused
from orchestrator.github.client import GitHubClient
from orchestrator.github.contents import Contents
from orchestrator.github.credentials import AppCredential, PersonalToken
from orchestrator.github.session import GitHubSession
from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.access import APP_PERMISSIONS

FOLDER = ".github/workflows"


@pytest.fixture
def contents(session: GitHubSession) -> Contents:
    """Return what reads files with a token that may."""
    return Contents(session)


@pytest.mark.parametrize("private", [True, False])
def test_repository(github: GitHub, contents: Contents, private: bool) -> None:
    """A repository says how it is called, and who can see it."""
    github.add_repository("acme/App", private=private)
    assert contents.repository("acme/app") == ("acme/App", not private)


def test_internal_is_not_public(github: GitHub, contents: Contents) -> None:
    """A repository that its enterprise can see is not public; one that says it is public is."""
    for private, visibility, public in ((True, "internal", False), (True, "public", True)):
        body = {"full_name": "acme/app", "private": private, "visibility": visibility}
        github.faults.add(Fault("status", status=200, body=json.dumps(body)))
        assert contents.repository("acme/app").is_public is public


def test_files(github: GitHub, contents: Contents) -> None:
    """A folder lists its files with their sizes and not its folders; a file has the content of the ref."""
    for path in ("a.yml", "b c.yml", "deep/x.yml"):
        github.add_file("acme/app", f"{FOLDER}/{path}", "on: push\n")
    github.add_file("acme/app", f"{FOLDER}/a.yml", "on: pull_request\n", ref="v1")
    assert contents.folder("acme/app", FOLDER) == {f"{FOLDER}/a.yml": 9, f"{FOLDER}/b c.yml": 9}
    assert contents.file("acme/app", f"{FOLDER}/b c.yml") == b"on: push\n"
    assert contents.file("acme/app", f"{FOLDER}/a.yml", "v1") == b"on: pull_request\n"
    assert contents.file("acme/app", f"{FOLDER}/a.yml", "v2") is None
    assert contents.folder("acme/app", "none") == {}


def test_a_large_file(github: GitHub, contents: Contents) -> None:
    """GitHub gives no content of a file above 1 MiB, which is said."""
    github.add_file("acme/app", "big.yml", "#" * (1024 * 1024 + 1))
    with pytest.raises(UpstreamRefused, match="larger than 1 MiB"):
        contents.file("acme/app", "big.yml")


def test_rights(github: GitHub, github_url: str, app_keys: tuple[str, str]) -> None:
    """An App needs Contents: read, which the function itself does not: the refusal says so."""
    github.add_file("acme/app", "a.yml", "on: push")
    app = github.add_app(app_keys[1])
    github.install(app, "acme")
    client = GitHubClient(github_url)
    contents = Contents(GitHubSession(client, AppCredential(client, str(app.id), app_keys[0])))
    assert contents.repository("acme/app").full_name == "acme/app"
    with pytest.raises(GitHubRefused, match=r"not accessible by integration.*takes the permission Contents: read"):
        contents.file("acme/app", "a.yml")
    more = github.add_app(app_keys[1], permissions={**APP_PERMISSIONS, "contents": "read"})
    github.access.installations.clear()
    github.install(more, "acme")
    allowed = Contents(GitHubSession(client, AppCredential(client, str(more.id), app_keys[0])))
    assert allowed.file("acme/app", "a.yml") == b"on: push"


def test_refusals(github: GitHub, github_url: str, contents: Contents) -> None:
    """A repository that is not there, a bad token and another refusal are no missing file."""
    with pytest.raises(GitHubRefused, match="404"):
        contents.repository("acme/none")
    with pytest.raises(TransientError, match="401"):
        Contents(GitHubSession(GitHubClient(github_url), PersonalToken("bad"))).file("acme/app", "a.yml")
    github.faults.add(Fault("status", status=451, body='{"message": "Repository access blocked"}'))
    with pytest.raises(GitHubRefused, match="451"):
        contents.file("acme/app", "a.yml")


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"encoding": "base64", "content": 1}', '{"encoding": "base64", "content": "a"}']
)
def test_another_shape(github: GitHub, contents: Contents, body: str) -> None:
    """An answer of another shape is transient trouble."""
    for ask in (lambda: contents.file("acme/app", "a"), lambda: contents.repository("acme/app")):
        github.faults.add(Fault("status", status=200, body=body))
        with pytest.raises(TransientError, match="GitHub's answer"):
            ask()
    github.faults.add(Fault("status", status=200, body='{"a": 1}'))
    with pytest.raises(TransientError, match="lists no files"):
        contents.folder("acme/app", "a")
