"""A GitHub App from its manifest to its first delivery: the commands, a browser, and GitHub's stand-in."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests

from orchestrator.cli.github_app.manifest import NOT_YET_CONNECTED
from orchestrator.cli.main import run
from sandbox.faults import Fault
from sandbox.github import GitHub
from tests.browser import Browser
from tests.contracts import CHECKER, assert_kept

DOCS = (Path(__file__).parents[3] / "docs" / "command-line.md").read_text(encoding="utf-8")
HOOK_URL = "https://runners.example.com/api/ProvideActionsRunner?code=function-key"


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Browser:
    """Return the browser that the command opens; pauses between tries take no time."""
    browser = Browser()
    monkeypatch.setattr("webbrowser.open", browser.open)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return browser


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the App's parameters go."""
    return tmp_path / "app.json"


@pytest.fixture
def create(github_url: str, file: Path) -> Callable[..., int]:
    """Return what runs `app create` for the organization `acme`, with further options."""
    common = ["app", "create", "--organization", "acme", "--github-url", github_url, "--output", str(file)]
    return lambda *options: run([*common, *options])


def parameters(file: Path) -> dict[str, Any]:
    """Return the values in a parameters file."""
    found = json.loads(file.read_text(encoding="utf-8"))["parameters"]
    return {name: parameter["value"] for name, parameter in found.items()}


def test_create_and_connect(
    github: GitHub, github_url: str, browser: Browser, create: Callable[..., int], file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The App is registered as asked, its file deploys the function, and its webhook signs what it sends there."""
    github.add_repository("acme/app")
    assert create() == 0
    assert [status for status, _ in browser.answers] == [200, 200, 302, 200]
    assert "Go back to the terminal" in browser.page
    (app,) = github.access.apps.values()
    assert (app.slug, app.owner) == ("runners-acme", "acme")
    assert app.permissions == {"metadata": "read", "organization_self_hosted_runners": "write", "actions": "read"}
    (hook,) = github.hooks.all
    assert (hook.url, hook.events) == (NOT_YET_CONNECTED, frozenset({"workflow_job"}))
    found = parameters(file)
    assert set(found) == {"githubAppId", "githubAppPrivateKey", "githubWebhookSecret", "appSettings"}
    assert (found["githubAppId"], found["githubWebhookSecret"]) == (str(app.id), hook.secret)
    assert found["appSettings"] == {"GithubApiUrl": f"{github_url}/api/v3"}
    assert jwt.decode(jwt.encode({}, found["githubAppPrivateKey"], "RS256"), app.public_key, ["RS256"]) == {}
    created = capsys.readouterr()
    shown = created.out.replace(github_url, "https://github.com").replace(str(file), "github-app.parameters.json")
    assert f"```text\n{shown}```" in DOCS

    assert run(["app", "connect", HOOK_URL, "--parameters", str(file)]) == 0
    (hook,) = github.hooks.all
    assert (hook.url, hook.secret, hook.content_type) == (HOOK_URL, found["githubWebhookSecret"], "json")
    connected = capsys.readouterr()
    assert connected.err == ""
    assert f"```text\n{connected.out}```" in DOCS
    said = created.out + created.err + connected.out
    for secret in (hook.secret, "function-key", found["githubAppPrivateKey"][64:128]):
        assert secret
        assert secret not in said
    if CHECKER.exists():
        pages = ("/settings/", "/app-manifests/")  # the checker's schema lacks the latter
        exchanges = [e for e in github.recorder.exchanges if not any(page in e["path"] for page in pages)]
        assert {exchange["method"] for exchange in exchanges} == {"PATCH", "GET"}
        assert_kept(exchanges, tmp_path)


def test_only_the_owner_reads_the_file(
    browser: Browser, create: Callable[..., int], file: Path, tmp_path: Path
) -> None:
    """The file is the owner's alone whatever the umask, and nothing else is left in its folder."""
    assert browser.answers == []
    before = os.umask(0)
    try:
        assert create() == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_options(
    github: GitHub, github_url: str, browser: Browser, create: Callable[..., int], file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Scope, webhook and name are as asked, the person may change the name, and --json prints no secret."""
    browser.name = "our runners"
    assert create("--runner-scope", "repository", "--webhook-url", HOOK_URL, "--name", "x", "--json") == 0
    (app,) = github.access.apps.values()
    assert app.permissions == {"metadata": "read", "administration": "write", "actions": "read"}
    assert [hook.url for hook in github.hooks.all] == [HOOK_URL]
    assert parameters(file)["appSettings"]["RunnerScope"] == "repository"
    assert json.loads(capsys.readouterr().out) == {
        "id": str(app.id),
        "slug": "our-runners",
        "url": f"{github_url}/apps/our-runners",
        "installUrl": f"{github_url}/apps/our-runners/installations/new",
        "parametersFile": str(file),
    }


def test_a_personal_account(
    github: GitHub, github_url: str, browser: Browser, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an organization the App is the person's own, for repository runners; a known webhook needs no connect."""
    browser.name = "my-runners"
    options = ["--github-url", github_url, "--output", str(file), "--webhook-url", HOOK_URL]
    assert run(["app", "create", *options]) == 0
    assert browser.page
    (app,) = github.access.apps.values()
    assert (app.owner, "administration" in app.permissions) == ("mona", True)
    assert "app connect" not in capsys.readouterr().out


def test_a_file_is_not_overwritten(
    github: GitHub, browser: Browser, create: Callable[..., int], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An existing file stays as it is, before anybody goes to GitHub; --force replaces it."""
    file.write_text("mine", encoding="utf-8")
    assert create() == 2
    assert "exists already (--force replaces it)" in capsys.readouterr().err
    assert (file.read_text(encoding="utf-8"), browser.answers, github.access.apps) == ("mine", [], {})
    assert create("--force") == 0
    assert "githubAppId" in parameters(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_that_is_not_there(
    browser: Browser, create: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the file cannot be written, nobody is sent to GitHub."""
    assert create("--output", str(tmp_path / "none" / "app.json")) == 2
    assert "cannot be written (No such file or directory)" in capsys.readouterr().err
    assert browser.answers == []


def test_a_file_that_appears_meanwhile(
    browser: Browser, create: Callable[..., int], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What somebody else wrote meanwhile stays; the person is told that the App must be deleted, and where."""
    browser.before_coming_back = lambda _: file.write_text("mine", encoding="utf-8")
    assert create() == 3
    assert "cannot be written (File exists)" in (said := capsys.readouterr().err)
    assert "Delete runners-acme at http" in said
    assert (file.read_text(encoding="utf-8"), list(tmp_path.iterdir())) == ("mine", [file])


def test_strangers_get_nothing(browser: Browser, create: Callable[..., int], file: Path) -> None:
    """Wrong names, addresses, states and codes are refused and save nothing; GitHub's own answer counts once."""
    refused: list[int] = []
    again: list[str] = []

    def ask(address: str, host: str | None = None) -> None:
        refused.append(requests.get(address, headers={"Host": host} if host else None, timeout=10).status_code)

    def attack(back: str) -> None:
        again.append(back)
        parts = urlsplit(back)
        base, key = f"{parts.scheme}://{parts.netloc}", parts.path.split("/")[1]
        came = f"/{key}/registered"
        state = parts.query.rpartition("&")[2]
        for path in ("/", "/favicon.ico", f"/{key}x", "/registered?state=x&code=y", f"{came}/x"):
            ask(base + path)
        for query in ("code=stolen", "code=stolen&state=guessed", f"{state}&code=a/../b"):
            ask(f"{base}{came}?{query}")
        for host in ("localhost", "evil.example", parts.netloc.replace("127.0.0.1", "localhost")):
            ask(back, host)
        refused.append(requests.post(back, timeout=10).status_code)
        assert requests.get(back, timeout=10).status_code == 200
        assert not file.exists()

    browser.before_coming_back = attack
    assert create() == 0
    assert refused == [404] * 5 + [403, 403, 400] + [421] * 3 + [501]
    assert browser.answers[-1] == (410, again[0])
    assert file.exists()


def test_the_page_is_kept_to_itself(browser: Browser, create: Callable[..., int]) -> None:
    """The page is stored nowhere, shown in no frame, runs no script, and tells nobody its address."""
    pages: list[requests.Response] = []
    browser.before_coming_back = lambda back: pages.append(requests.get(back.partition("/registered")[0], timeout=10))
    assert create() == 0
    headers = pages[0].headers
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert "Python" not in headers["Server"]
    assert "<script" not in pages[0].text


def test_a_code_that_has_expired(
    github: GitHub, browser: Browser, create: Callable[..., int], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person who comes back after GitHub's hour is told so, and where the App can be deleted."""
    now = github.clock()
    browser.before_coming_back = lambda _: setattr(github, "clock", lambda: now + 3601)
    assert create() == 3
    said = capsys.readouterr().err
    assert "GitHub does not know the code: it serves once, and for an hour. Delete the App at http" in said
    assert "/organizations/acme/settings/apps and begin again" in said
    assert not file.exists()


def test_github_is_down_for_a_moment(github: GitHub, browser: Browser, create: Callable[..., int], file: Path) -> None:
    """Where GitHub does not answer at first, the code is tried again, because it is the only way to the App's key."""
    github.faults.add(Fault("status", "POST *conversions", times=2), Fault("drop", "POST *conversions", times=1))
    assert create() == 0
    assert browser.page
    assert file.exists()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "POST *conversions", times=None),
        Fault("status", "POST *conversions", times=None, status=422, body='{"message": "Validation Failed"}'),
        Fault("status", "POST *conversions", times=None, status=201, body='{"id": 1}'),
        Fault("status", "POST *conversions", times=None, status=201, body="[]"),
    ],
)
def test_github_gives_no_app(
    github: GitHub, browser: Browser, create: Callable[..., int], file: Path, fault: Fault,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Without the App nothing is saved, and the message does not hold the code, with which others could get the key."""
    codes: list[str] = []
    browser.before_coming_back = lambda back: codes.append(back.partition("code=")[2].partition("&")[0])
    github.faults.add(fault)
    assert create() == 3
    said = capsys.readouterr().err
    assert "Delete the App at http" in said
    assert codes[0]
    assert codes[0] not in said
    assert not file.exists()


def test_github_makes_no_secret(github: GitHub, browser: Browser, create: Callable[..., int], file: Path) -> None:
    """Where GitHub gives no webhook secret, one is made; `app connect` tells it to GitHub."""
    answer = {"id": 7, "slug": "x", "html_url": "http://x", "pem": "key", "webhook_secret": None}
    github.faults.add(Fault("status", "POST *conversions", status=201, body=json.dumps(answer)))
    assert create() == 0
    assert browser.page
    assert len(parameters(file)["githubWebhookSecret"]) == 64


def test_no_rights(
    github: GitHub, browser: Browser, create: Callable[..., int], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GitHub refuses a person who does not administer the organization; the command ends when its time is over."""
    github.not_administered.add("acme")
    assert create("--minutes", "0") == 3
    assert browser.answers[-1][0] == 404
    assert "the browser did not come back from GitHub in time" in capsys.readouterr().err
    assert not file.exists()


def test_a_name_that_is_taken(github: GitHub, browser: Browser, create: Callable[..., int]) -> None:
    """GitHub refuses a name that another App has, on its own page."""
    assert create() == 0
    assert create("--force", "--minutes", "0") == 3
    assert browser.answers[-1][0] == 422
    assert len(github.access.apps) == 1


def test_a_port_that_is_taken(
    browser: Browser, create: Callable[..., int], github_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port that another program has is named, nobody is sent to GitHub, and nothing stays behind."""
    assert create("--port", str(urlsplit(github_url).port)) == 2
    assert "--port: cannot be opened" in capsys.readouterr().err
    assert (browser.answers, list(tmp_path.iterdir())) == ([], [])


def test_without_a_browser(browser: Browser, create: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """With --no-browser the address is printed to stderr, and nothing is opened."""
    assert create("--no-browser", "--minutes", "0") == 3
    said = capsys.readouterr()
    assert "Register the App in a browser on this machine: http://127.0.0.1:" in said.err
    assert (said.out, browser.answers) == ("", [])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("status", "* /api/v3/app/hook/config", times=None), "GitHub answered 503"),
        (Fault("drop", "* /api/v3/app/hook/config", times=None), "GitHub is not reachable"),
        (
            Fault("status", "PATCH *", status=422, body='{"message": "Validation Failed"}'),
            "GitHub refused PATCH /app/hook/config: 422 (Validation Failed)",
        ),
        (Fault("status", "GET *", status=200, body='{"url": "https://other.example"}'), "holds no configuration"),
        (
            Fault("status", "GET *", status=200, body='{"url": "https://other.example", "content_type": "json"}'),
            "shows another",
        ),
    ],
)
def test_connecting_fails(
    github: GitHub, browser: Browser, create: Callable[..., int], file: Path, fault: Fault, message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """What GitHub does not do, or shows otherwise than asked, is said without the function's key."""
    assert create() == 0
    assert browser.page
    github.faults.add(fault)
    assert run(["app", "connect", HOOK_URL, "--parameters", str(file)]) == 3
    said = capsys.readouterr().err
    assert message in said
    assert "function-key" not in said


def test_an_address_that_is_written_otherwise(
    github: GitHub, browser: Browser, create: Callable[..., int], file: Path
) -> None:
    """GitHub may show the same address with its key encoded in another way."""
    assert create() == 0
    assert browser.page
    shown = {"url": "https://H.example/api?code=a%3D%3D", "content_type": "json", "insecure_ssl": 0}
    github.faults.add(Fault("status", "GET *", status=200, body=json.dumps(shown)))
    assert run(["app", "connect", "https://h.example/api?code=a==", "--parameters", str(file)]) == 0


def test_an_app_that_is_gone(
    github: GitHub, browser: Browser, create: Callable[..., int], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An App that was deleted at GitHub is reported in GitHub's words."""
    assert create() == 0
    assert browser.page
    github.access.apps.clear()
    assert run(["app", "connect", HOOK_URL, "--parameters", str(file)]) == 3
    assert "404 (Integration not found)" in capsys.readouterr().err
