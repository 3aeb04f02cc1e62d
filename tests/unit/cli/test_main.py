"""How every command ends: its exit code, and what goes to stdout and stderr."""

import io
import runpy
import sys

import pytest

from orchestrator.cli.main import run
from orchestrator.cli.output import ExitCode, exit_code, say
from orchestrator.errors import GitHubRefused, SettingsError, TransientError
from tests.fakes import Terminal


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0), (["app", "--help"], 0), (["app", "create", "--help"], 0),
        (["nothing"], 2), (["app", "create", "--nothing"], 2), (["app", "create", "--port", "x"], 2),
        (["app", "create", "--runner-scope", "enterprise"], 2), (["app", "connect"], 2),
    ],
)  # fmt: skip
def test_help_and_usage(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Help is a result and ends with 0; a wrong call is explained on stderr and ends with 2."""
    assert run(arguments) == code
    said = capsys.readouterr()
    assert bool(said.out) is (code == 0)
    assert ("Error: " in said.err) is (code == 2)


def test_an_enterprise_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of `app create` says that an enterprise's App cannot be made this way."""
    run(["app", "create", "--help"])
    assert "An App that an enterprise owns cannot be made this way" in capsys.readouterr().out


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What stops a command is said in one line on stderr, without a traceback."""
    assert run(["app", "create", "--organization", "a/b"]) == 2
    assert capsys.readouterr() == ("", "Error: --organization: is not the login of an organization\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError.of("a", "is wrong"), ExitCode.USAGE),
        (TransientError("later"), ExitCode.UPSTREAM),
        (GitHubRefused("no", 403), ExitCode.UPSTREAM),
    ],
)
def test_exit_codes(error: SettingsError | TransientError | GitHubRefused, code: ExitCode) -> None:
    """What the operator got wrong ends with 2, and what GitHub or Azure did not do with 3."""
    assert exit_code(error) is code


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command with 130, as shells expect."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.cli.github_app.parameters.read", interrupted)
    assert run(["app", "connect", "https://h"]) == 130


def test_text_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets, addresses and long lines come out unchanged and without colours, on a terminal as well."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    text = "[bold]x[/bold] :smile: 12 " + "https://example.com/" * 20
    say(text)
    assert terminal.getvalue() == text + "\n"


def test_an_address_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`app connect -` reads the address from standard input, so that its key is in no list of processes."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("not an address\n"))
    monkeypatch.setattr("orchestrator.cli.github_app.parameters.read", lambda _: None)
    assert run(["app", "connect", "-"]) == 2
    assert capsys.readouterr().err == "Error: URL: is not an https:// address\n"


def test_an_address_without_a_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An address without the function's key is used, with a note."""
    monkeypatch.setattr("orchestrator.cli.github_app.parameters.read", lambda _: None)
    monkeypatch.setattr("orchestrator.cli.github_app.registration.connect", lambda *_: None)
    assert run(["app", "connect", "https://h/api"]) == 0
    assert "holds no key" in capsys.readouterr().err


def test_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m orchestrator` runs the command line and ends with its exit code."""
    monkeypatch.setattr(sys, "argv", ["orchestrator", "nothing"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("orchestrator", run_name="__main__")
    assert ended.value.code == 2
