"""Stand-ins on loopback ports, shared by the integration tests."""

from collections.abc import Iterator, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import settings

from orchestrator.github.client import GitHubClient
from orchestrator.github.credentials import PersonalToken
from orchestrator.github.session import GitHubSession
from orchestrator.lines import Line
from orchestrator.log import Log, said
from sandbox.github import GitHub
from sandbox.server import Server
from tests.logs import undocumented

settings.register_profile("untimed", deadline=None)  # how fast an example is depends on what else the machine does
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _lines_are_listed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which a line of the log has a field that `orchestrator.lines` does not list for it."""
    write, write_error, strange = Log.__call__, Log.exception, list[str]()

    def note(line: Line, fields: Mapping[str, object]) -> None:
        found = undocumented(line, said(fields))
        strange.extend(f"{line}: {name}" for name in sorted(found))

    def checked(log: Log, level: int, line: Line, /, **fields: object) -> None:
        note(line, fields)
        write(log, level, line, **fields)

    def checked_error(log: Log, **fields: object) -> None:
        note(Line.ERROR, fields)
        write_error(log, **fields)

    monkeypatch.setattr(Log, "__call__", checked)
    monkeypatch.setattr(Log, "exception", checked_error)
    yield
    assert strange == []


@pytest.fixture
def github() -> GitHub:
    """Return a GitHub of its own, not served yet."""
    return GitHub()


@pytest.fixture
def github_url(github: GitHub) -> Iterator[str]:
    """Serve it; return the address of its API."""
    with Server(github.application) as server:
        github.url = server.url
        yield server.url


@pytest.fixture
def session(github: GitHub, github_url: str) -> GitHubSession:
    """Return a session with a personal access token that may do everything; there is a repository `acme/app`."""
    github.add_repository("acme/app")
    return GitHubSession(GitHubClient(github_url), PersonalToken("ghp_sandbox"))


@pytest.fixture(scope="session")
def app_keys() -> tuple[str, str]:
    """Return a GitHub App's private and public key in PEM form."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return private, public
