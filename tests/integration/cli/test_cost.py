"""`cost`: what Batch and the log workspace know, and what is said when they do not."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.task_runs import TaskRuns
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.cli.commands import cost as command
from orchestrator.cli.cost.in_workspace import NODES, RUNNERS
from orchestrator.cli.main import run
from orchestrator.errors import TransientError
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.faults import Fault
from tests.azure_cli import AzureCli
from tests.batch_tasks import NoExecutor, task
from tests.fakes import ManualClock

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
JSON = {"Content-Type": "application/json"}
WORKSPACE = "00000000-0000-0000-0000-000000000001"
# Batch tells ids of pools apart without case.
PRICES = '{"Linux": 0.2, "gone": 1}'


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """Return the time, for Batch and for the command."""
    clock = ManualClock(NOW - timedelta(hours=3))
    monkeypatch.setattr(command, "utc_now", clock)
    return clock


@pytest.fixture
def executor() -> NoExecutor:
    """Return what runs the tasks."""
    return NoExecutor()


@pytest.fixture
def batch(clock: ManualClock, executor: NoExecutor, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Return an account with a pool that has a node of two slots; its clock need not be that of the requests."""
    monkeypatch.setattr("sandbox.batch.auth.WINDOW", timedelta.max.total_seconds())
    pools = [Pool("Linux", scale="fixed", slots_per_node=2, start_delay_s=0, nodes=1), Pool("windows", "windows")]
    return Batch(pools, executor=executor, clock=lambda: clock().timestamp())


@pytest.fixture
def settings(tmp_path: Path, batch: Batch, batch_url: str) -> Path:
    """Return a file with the settings that Batch is asked with, and prices: no credential for GitHub is among them."""
    values = {
        "BatchAccountUrl": batch_url, "BatchAccountName": batch.account, "BatchAccountKey": batch.key,
        "ContainerRegistryServer": "r.azurecr.io", "UbuntuPool": "Linux", "PoolPrices": PRICES,
    }  # fmt: skip
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"Values": values}), encoding="utf-8")
    return file


@pytest.fixture
def cost(settings: Path) -> Callable[..., int]:
    """Return what runs the command for November."""
    return lambda *options: run(["cost", "--settings", str(settings), "--month", "2026-11", *options])


@pytest.fixture
def history(batch: Batch, tasks: RunnerTasks, executor: NoExecutor, clock: ManualClock) -> None:
    """Let a task run for an hour, one fail, and one go on."""
    profile = "run 1 job 1 attempt 1 profile big"
    for name, repository, exit_code in (
        ("runner-1-1", "acme/app", 0), ("runner-2-1-r1", "acme/web", 75), ("runner-3-1", "acme/app", None),
    ):  # fmt: skip
        started = len(executor.runs)
        tasks.add(task(pool="Linux", task_id=name, display_name=f"{repository} {profile}", slots=2))
        while len(executor.runs) == started:  # a node starts in one step, and its task in another
            batch.tick()
        clock.advance(timedelta(hours=1))
        if exit_code is not None:
            executor.end(exit_code)
            batch.tick()
    tasks.add(task(pool="Linux", task_id="runner-4-1"))  # it waits
    tasks.add(task(pool="Linux", task_id="somebodys"))


class TestBatch:
    """What Batch knows."""

    @pytest.mark.usefixtures("history")
    def test_table(self, cost: Callable[..., int], batch: Batch, capsys: pytest.CaptureFixture[str]) -> None:
        """Tasks that ended and that run are priced by their hours and slots; what is missing is said on stderr."""
        batch.recorder.clear()
        assert cost() == 0
        shown = capsys.readouterr()
        assert shown.out == "\n".join(
            [
                "2026-11 so far, UTC",
                "",
                "repository  tasks  failed  replaced  lost  slot hours  node hours  cost",
                "acme/app        2       0         0     0         4.0         2.0  0.40  " + "█" * 30,
                "acme/web        1       1         1     0         2.0         1.0  0.20  " + "█" * 15,
                "all tasks       3       1         1     0         6.0         3.0  0.60",
                "",
            ]
        )
        assert shown.err.splitlines() == [
            "Nodes without tasks are not counted: Batch keeps no history of them. --workspace asks the log.",
            "Batch keeps tasks for seven days: those that ended before 2026-11-13 12:00 UTC are missing.",
        ]
        assert all(call.startswith("GET ") for call in batch.recorder.calls)
        assert len(batch.recorder.calls) == 4

    @pytest.mark.usefixtures("history")
    def test_other_forms(self, cost: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """CSV and JSON hold the same sums, whatever the rows are; a picture is drawn beside them."""
        assert cost("--csv", "--by", "profile") == 0
        (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
        assert (row["profile"], row["tasks"], row["cost"]) == ("big", "3", "0.6")
        picture = tmp_path / "cost.svg"
        assert cost("--json", "--by", "pool", "--svg", str(picture)) == 0
        shown = json.loads(capsys.readouterr().out)
        assert (shown["source"], shown["rows"][0]["name"], shown["cost"]) == ("batch", "Linux", 0.6)
        assert "0.60 together" in picture.read_text(encoding="utf-8")

    def test_nothing(self, cost: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
        """A month without runners is an answer, and no success."""
        assert cost() == 1
        assert capsys.readouterr().out == "There were no runners in 2026-11.\n"

    def test_a_month_that_has_just_begun(
        self, cost: Callable[..., int], clock: ManualClock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """In its first days Batch knows the whole month."""
        clock.now = datetime(2026, 11, 3, tzinfo=UTC)
        assert cost() == 1
        assert "are missing" not in capsys.readouterr().err

    def test_long_ago(self, cost: Callable[..., int], clock: ManualClock, capsys: pytest.CaptureFixture[str]) -> None:
        """A month of which Batch has forgotten everything is refused, with the way to know more."""
        clock.now = datetime(2026, 12, 8, tzinfo=UTC)
        assert cost() == 2
        assert "--workspace asks the log" in capsys.readouterr().err

    @pytest.mark.usefixtures("history")
    def test_no_price(self, cost: Callable[..., int], settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A pool without a price is named."""
        settings.write_text(settings.read_text(encoding="utf-8").replace("Linux", "other"), encoding="utf-8")
        assert cost() == 2
        assert capsys.readouterr().err == "Error: PoolPrices: has no price for the pool linux\n"

    @pytest.mark.usefixtures("history")
    def test_a_pool_that_is_gone(
        self, cost: Callable[..., int], batch: Batch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without the pool nobody says what part of a node a task took."""
        body = '{"code": "PoolNotFound"}'
        batch.faults.add(Fault("status", status=404, body=body, headers=JSON, match="GET /pools/*"))
        assert cost() == 3
        assert "Batch has no pool Linux any more" in capsys.readouterr().err

    def test_no_rights(self, cost: Callable[..., int], batch: Batch, capsys: pytest.CaptureFixture[str]) -> None:
        """A refusal and silence are told as such, each with the exit code of Azure's failures."""
        batch.faults.add(Fault("status", status=403, body='{"code": "AuthorizationFailure"}', headers=JSON))
        assert cost() == 3
        assert "has the identity a role" in capsys.readouterr().err
        batch.faults.add(Fault("status", status=503))
        assert cost() == 3

    def test_a_job_that_goes_away(self, batch: Batch, tasks: RunnerTasks, batch_account: BatchAccount) -> None:
        """A Batch job that is deleted while it is read has no tasks; a list that breaks off is an error."""
        tasks.add(task())
        runs = TaskRuns(batch_account)
        body = '{"code": "JobNotFound"}'
        for _ in range(2):
            batch.faults.add(Fault("status", status=404, body=body, headers=JSON, match="GET /jobs/*/tasks"))
        assert runs.since(NOW - timedelta(days=7)) == []
        batch.faults.add(Fault("status", status=503, match="GET /jobs/*/tasks"))
        with pytest.raises(TransientError):
            runs.since(NOW - timedelta(days=7))


def ended(number: int, **values: Any) -> dict[str, Any]:
    """Return a line about a runner of an hour."""
    line = {
        "task": f"runner-{number}-1", "pool": "linux", "repository": "acme/app", "profile": "big", "slots": 1,
        "created_at": "2026-09-02T09:59:00+00:00", "started_at": "2026-09-02T10:00:00+00:00",
        "ended_at": "2026-09-02T11:00:00+00:00", "outcome": "job", "runs_before": 0, "line": "runner ended",
    }  # fmt: skip
    return line | values


def counted(hours: int = 720, **values: Any) -> list[dict[str, Any]]:
    """Return how many nodes there were in the first hours of September."""
    start = datetime(2026, 9, 1, tzinfo=UTC)
    line = {"pool": "linux", "nodes": 0.01, "slots": 2} | values
    return [{**line, "hour": (start + timedelta(hours=hour)).isoformat()} for hour in range(hours)]


class TestWorkspace:
    """What the log knows."""

    @pytest.fixture
    def cost(self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
        """Return what asks the workspace for September, with nothing but the prices in the environment."""
        clock.now = NOW
        monkeypatch.setenv("PoolPrices", PRICES)
        return lambda *options: run(["cost", "--workspace", WORKSPACE, *(options or ("--month", "2026-09"))])

    def test_idle_nodes(self, cost: Callable[..., int], az: AzureCli, capsys: pytest.CaptureFixture[str]) -> None:
        """Longer ago than Batch remembers, with what nodes without tasks cost; the rest of a split task is left out."""
        az.finds([ended(1), ended(2, started_at="2026-08-31T23:00:00+00:00", ended_at="2026-09-01T01:00:00+00:00")],
                 counted())  # fmt: skip
        assert cost() == 0
        shown = capsys.readouterr()
        assert [line.split() for line in shown.out.splitlines()[3:]] == [
            ["acme/app", "2", "0", "0", "0", "2.0", "1.0", "0.20", "█" * 30],
            ["all", "tasks", "2", "0", "0", "0", "2.0", "1.0", "0.20"],
            ["idle:", "Linux", "6.2", "1.24"],
            ["together", "1.44"],
        ]
        assert shown.err == ""
        runners, nodes = az.calls
        assert (runners[-1], nodes[-1]) == (RUNNERS, NODES)
        assert runners[runners.index("--timespan") + 1] == "2026-09-01T00:00:00Z/2026-10-07T00:00:00Z"

    def test_what_is_missing(self, cost: Callable[..., int], az: AzureCli, capsys: pytest.CaptureFixture[str]) -> None:
        """Hours without a pass, and a month that goes on, are said."""
        az.finds([ended(1)], counted(700))
        assert cost() == 0
        assert "In 20 of 720 hours no pass told of Linux" in capsys.readouterr().err
        az.finds([], [])
        assert cost("--month", "2026-11") == 1
        assert "Runners that run now are not counted" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("rows", "nodes", "code", "words"),
        [
            ([ended(1)], [], 3, "no line that tells how many slots a node of Linux has"),
            ([ended(1)], counted(slots=0), 3, "no line that tells how many slots a node of Linux has"),
            ([ended(1, pool="other")], counted(), 2, "PoolPrices: has no price for the pool other"),
            ([], counted(pool="other"), 2, "PoolPrices: has no price for the pool other"),
            ([{"pool": "linux"}], counted(), 3, "not of the form"),
        ],
    )
    def test_trouble(
        self, cost: Callable[..., int], az: AzureCli, capsys: pytest.CaptureFixture[str],
        rows: list[Any], nodes: list[Any], code: int, words: str,
    ) -> None:  # fmt: skip
        """What the log does not tell, or tells in another form, is said in a sentence."""
        az.finds(rows, nodes)
        assert cost() == code
        assert words in capsys.readouterr().err

    def test_not_logged_in(self, cost: Callable[..., int], az: AzureCli, capsys: pytest.CaptureFixture[str]) -> None:
        """What the Azure CLI says is told."""
        az.prints("ERROR: Please run 'az login'")
        az.ends_with(1)
        assert cost() == 3
        assert "Please run 'az login'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--month", "2026-13"], "--month: is no month"),
        (["--month", "2999-01"], "--month: has not begun"),
        (["--month", "2026-01", "--csv", "--json"], "--csv: and --json exclude each other"),
        (["--month", "2026-01", "--by", "team"], "team"),
        ([], "--month"),
    ],
)
def test_called_wrongly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """A wrong month, form or row is refused before anything is asked."""
    monkeypatch.setenv("PoolPrices", PRICES)
    assert run(["cost", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "value", ["", "0.192", "[]", '{"a": true}', '{"a": -1}', '{"a": NaN}', '{"a b": 1}', '{"a": "1"}', "a typo"]
)
def test_no_prices(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str) -> None:
    """Without prices there is nothing to reckon, and what is no price is refused by the setting's name."""
    monkeypatch.setenv("PoolPrices", value)
    assert run(["cost", "--month", "2026-01"]) == 2
    words = "is no JSON object of pools and prices" if value else "is missing"
    assert f"PoolPrices: {words}" in capsys.readouterr().err


@pytest.mark.usefixtures("history")
def test_a_picture_that_cannot_be_written(
    cost: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be written is named."""
    assert cost("--svg", str(tmp_path)) == 2
    assert "cannot be written" in capsys.readouterr().err
