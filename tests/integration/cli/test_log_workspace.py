"""`explain --workspace`: the Azure CLI is asked, and what it prints is shown."""

import json

import pytest

from orchestrator.cli import log_workspace
from orchestrator.cli.main import run
from tests.azure_cli import AzureCli

WORKSPACE = "00000000-0000-0000-0000-00000000000A"
JOB = "https://github.example/acme/app/actions/runs/1/job/42"
ROWS = [
    {"TableName": "PrimaryResult", "TimeGenerated": "2026-09-01T10:00:00.5Z",
     "Message": json.dumps({"job": 42, "result": "created", "task": "runner-42-1"})},
    {"TableName": "PrimaryResult", "TimeGenerated": "2026-09-01T10:20:00Z",
     "Message": json.dumps({"pass": "reconciliation", "task": "runner-42-1", "action": "end", "result": "ended",
                            "reason": "too\u0007 many"})},
]  # fmt: skip


@pytest.fixture(autouse=True)
def _rows(az: AzureCli) -> None:
    az.prints(json.dumps(ROWS))


def test_lines(az: AzureCli, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines about the job are asked for and shown in their order, without control characters."""
    assert run(["explain", JOB, "--workspace", WORKSPACE, "--days", "30"]) == 0
    assert capsys.readouterr().out == (
        "2026-09-01 10:00:00Z  created runner-42-1\n"
        "2026-09-01 10:20:00Z  reconciliation end ended runner-42-1: too  many\n"
    )
    (arguments,) = az.calls
    assert arguments[:3] == ["monitor", "log-analytics", "query"]
    assert arguments[arguments.index("--workspace") + 1] == WORKSPACE
    assert arguments[arguments.index("--timespan") + 1] == "P30D"
    assert arguments[-1] == log_workspace.query(42)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A program gets each line with all of its fields."""
    assert run(["explain", "42", "--workspace", WORKSPACE, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["job"] == 42
    assert shown["lines"][0] == {
        "at": "2026-09-01T10:00:00.500000+00:00", "job": 42, "result": "created", "task": "runner-42-1",
    }  # fmt: skip


def test_none(az: AzureCli, capsys: pytest.CaptureFixture[str]) -> None:
    """No line is an answer, and no success."""
    az.prints("[]")
    assert run(["explain", "42", "--workspace", WORKSPACE]) == 1
    assert capsys.readouterr().out == "The workspace has no line about job 42 in the last 90 days.\n"


@pytest.mark.parametrize("out", ["", "{}x", '{"a": 1}', "[1]", '[{"Message": "x"}]', '[{"Message": "[]"}]'])
def test_odd_output(az: AzureCli, capsys: pytest.CaptureFixture[str], out: str) -> None:
    """Output of another shape is told as such."""
    az.prints(out)
    assert run(["explain", "42", "--workspace", WORKSPACE]) == 3
    assert capsys.readouterr().err == "Error: what the Azure CLI printed cannot be understood\n"


@pytest.mark.parametrize(
    ("out", "reason"), [("\nERROR: Please run 'az login'\nmore", "ERROR: Please run 'az login'"), ("", "no reason")]
)
def test_a_refusal(az: AzureCli, capsys: pytest.CaptureFixture[str], out: str, reason: str) -> None:
    """What the Azure CLI says first is the reason."""
    az.prints(out)
    az.ends_with(1)
    assert run(["explain", "42", "--workspace", WORKSPACE]) == 3
    assert capsys.readouterr().err == f"Error: the Azure CLI does not read the workspace: {reason}\n"


def test_no_azure_cli(az: AzureCli, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no Azure CLI, that is said."""
    az.program.unlink()
    assert run(["explain", "42", "--workspace", WORKSPACE]) == 3
    assert "is not installed" in capsys.readouterr().err


def test_too_long(az: AzureCli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An Azure CLI that does not end is given up."""
    az.write("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(log_workspace, "PATIENCE", 0.1)
    assert run(["explain", "42", "--workspace", WORKSPACE]) == 3
    assert "was not done within 0.1 s" in capsys.readouterr().err


@pytest.mark.parametrize("workspace", ["", "logs", "--help", f"{WORKSPACE}0"])
def test_no_workspace(az: AzureCli, capsys: pytest.CaptureFixture[str], workspace: str) -> None:
    """What is no workspace's id is refused before anything is asked."""
    assert run(["explain", JOB, "--workspace", workspace]) == 2
    assert capsys.readouterr().err == "Error: --workspace: is not the id (a GUID) of a Log Analytics workspace\n"
    assert az.calls == []


def test_no_job(az: AzureCli, capsys: pytest.CaptureFixture[str]) -> None:
    """What names no job is refused before anything is asked."""
    assert run(["explain", "something", "--workspace", WORKSPACE]) == 2
    assert "JOB" in capsys.readouterr().err
    assert az.calls == []
