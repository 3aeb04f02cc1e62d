"""The queries over the log, read by Microsoft's own parser, and run on lines of the log."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import log_workspace
from orchestrator.cli.cost import in_workspace
from tests.npm import package
from tests.queries import stored

# Azure Monitor's tables of traces: as Application Insights has it, and as the workspace has it.
TABLES = {
    "traces": "timestamp:datetime, message:string, severityLevel:int",
    "AppTraces": "TimeGenerated:datetime, Message:string, SeverityLevel:int",
}
QUERIES = {
    **stored(),
    "cost: runners": in_workspace.RUNNERS,
    "cost: nodes": in_workspace.NODES,
    "explain": log_workspace.query(42),
}
NOW = datetime.now(UTC).replace(microsecond=0)

# Runs queries on a table of traces, which has both names. DuckDB is no Kusto: what both have is compared.
ENGINE = """
import json, sys, duckdb_kql
given = json.load(sys.stdin)
connection = duckdb_kql.connect()
connection.sql("CREATE TABLE traces (timestamp TIMESTAMP, message VARCHAR, severityLevel INT)")
for at, line in given["lines"]:
    connection.execute("INSERT INTO traces VALUES (?, ?, 1)", [at, line])
connection.sql("CREATE VIEW AppTraces AS SELECT timestamp TimeGenerated, message Message FROM traces")
found = {}
for name, query in given["queries"].items():
    result = duckdb_kql.kql(connection, query)
    columns = [column[0] for column in result.description]
    found[name] = [dict(zip(columns, row)) for row in result.fetchall()]
print(json.dumps(found, default=str))
"""
ENGINE_PACKAGES = ("duckdb-kql==1.1.2", "duckdb==2.0.1")


def lines() -> list[tuple[str, str]]:
    """Return an hour's log: each line with its time, as the database takes it."""
    started, ended = NOW - timedelta(minutes=50), NOW - timedelta(minutes=4)
    runner: dict[str, Any] = {
        "line": "runner ended", "pool": "linux", "repository": "acme/app", "profile": "big", "slots": 1,
        "started_at": started.isoformat(), "ended_at": ended.isoformat(), "outcome": "job", "runs_before": 0,
        "reason": "exit code 0",
    }  # fmt: skip
    said: list[tuple[int, dict[str, Any]]] = [
        (20, {"line": "pool", "pool": "linux", "nodes": 0, "target": 1, "slots": 5, "waiting": 3, "running": 0,
              "reason": "AccountCoreQuotaReached"}),
        (5, {"line": "pool", "pool": "linux", "nodes": 2, "target": 2, "slots": 5, "waiting": 1, "running": 2}),
        (5, {"line": "pool", "pool": "windows", "nodes": 0, "target": 1, "slots": 2, "waiting": 1, "running": 0,
             "reason": "OverconstrainedAllocation"}),
        (20, {"line": "pass", "jobs": 3, "longest_wait_s": 900, "ms": 8}),
        (5, {"line": "pass", "jobs": 2, "longest_wait_s": 2000, "ms": 9}),
        (20, {"line": "queues", "kept": 2, "given_up": 0}),
        (5, {"line": "queues", "kept": 0, "given_up": 1}),
        (4, {"line": "usage", "calls": 7, "points": 11, "requests_left": None}),
        (4, {"line": "usage", "calls": 1, "points": 5, "requests_left": 4000}),
        (6, {"line": "retry", "job": 1, "repository": "acme/app", "result": "given up"}),
        (6, {"line": "retry", "job": 42, "repository": "acme/app", "result": "kept"}),
        (6, {"line": "runner version", "version": "2.330.0", "result": "expires", "reason": "soon"}),
        (6, {"line": "runner version", "message": "it is behind"}),
        (6, {"line": "claim", "task": "runner-1-1", "pool": "linux", "status": 200, "result": "created"}),
        (6, {"line": "claim", "task": "runner-1-1", "pool": "linux", "status": 409, "result": "refused", "code": "used",
             "forwarded_for": "10.0.0.9"}),
        (6, {"line": "delivery", "result": "created", "status": 201, "ms": 300}),
        (600, {"line": "delivery", "result": "refused", "status": 401, "ms": 3, "reason": "signature"}),
        *[(3, {"line": "delivery", "result": "refused", "status": 401, "ms": 3, "reason": "signature"})] * 12,
        *((4, {**runner, "task": f"runner-{wait}-1", "created_at": (started - timedelta(seconds=wait)).isoformat()})
          for wait in (10, 20, 300, 10)),
        (4, {**runner, "task": "runner-2-1", "created_at": started.isoformat(), "started_at": None, "runs_before": 1,
             "outcome": "failed", "reason": "the image cannot be pulled"}),
    ]  # fmt: skip
    plain = (NOW.strftime("%Y-%m-%d %H:%M:%S"), "no JSON: Host started")
    return [plain, *((f"{NOW - timedelta(minutes=ago):%Y-%m-%d %H:%M:%S}", json.dumps(line)) for ago, line in said)]


@pytest.fixture(scope="module")
def understood() -> dict[str, dict[str, Any]]:
    """Return what Microsoft's parser says of each query, and of a wrong one."""
    home = package("@kusto/language-service-next", "12.4.1")
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    given = json.dumps({"tables": TABLES, "queries": {**QUERIES, "wrong": "traces | where nothing == 1"}})
    command = ["node", str(Path(__file__).parents[1] / "kusto.js"), str(home)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, list[dict[str, Any]]]:
    """Return what each query finds in the log."""
    uv = Path(sys.executable).with_name("uv")
    with_packages = [part for each in ENGINE_PACKAGES for part in ("--with", each)]
    command = [str(uv), "run", "--quiet", "--no-project", "--python", sys.executable, *with_packages, "python", "-c"]
    given = json.dumps({"lines": lines(), "queries": QUERIES})
    done = subprocess.run(  # noqa: S603 - a fixed command
        [*command, ENGINE], input=given, capture_output=True, text=True, timeout=300, check=False
    )
    if "Traceback" not in done.stderr and done.returncode:
        pytest.skip(f"the engine cannot be fetched: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr[-2000:]
    answers: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("name", QUERIES)
def test_parsed(understood: dict[str, dict[str, Any]], name: str) -> None:
    """Each query is right in Kusto's eyes, and each column of its result has a type."""
    assert understood[name]["problems"] == []
    assert understood[name]["columns"]
    assert "unknown" not in understood[name]["columns"].values()


def test_a_wrong_query_is_seen(understood: dict[str, dict[str, Any]]) -> None:
    """The parser knows the columns, and not only the words of the language."""
    assert understood["wrong"]["problems"] != []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alert-given-up", [{"job": "1", "repository": "acme/app"}]),
        ("alert-waits", [{"longest_wait_s": 2000, "jobs": 2}]),
        ("alert-pool-cannot-grow", [{"pool": "windows", "reason": "OverconstrainedAllocation", "nodes": 0}]),
        ("alert-runner-version", [{"version": "2.330.0", "reason": "soon"}]),
        ("alert-no-pass", [{"ms": 8}, {"ms": 9}]),
        ("alert-refused-deliveries", [{"recent": 12, "before": 1, "reason": "signature"}]),
        ("alert-poison-queue", [{"given_up": 1}]),
        ("alert-claim-used-twice", [{"task": "runner-1-1", "pool": "linux", "forwarded_for": "10.0.0.9"}]),
        ("time-to-runner", [{"profile": "big", "p50": 10, "p95": 300, "runners": 4}]),
        ("outcomes", [{"outcome": "job", "runners": 4}, {"outcome": "failed", "runners": 1, "nodes_lost": 1}]),
        ("failures", [{"pool": "linux", "profile": "big", "reason": "the image cannot be pulled", "runners": 1}]),
        ("answers", [{"result": "refused", "deliveries": 13}, {"result": "created", "deliveries": 1, "p95_ms": 300}]),
        ("calls", [{"calls": 8, "points": 16}]),
        ("requests-left", [{"requests_left": 4000}]),
    ],
)
def test_run(found: dict[str, list[dict[str, Any]]], name: str, expected: list[dict[str, Any]]) -> None:
    """A query finds what it is to find in the log, and nothing else."""
    assert len(found[name]) == len(expected)
    for row, wanted in zip(found[name], expected, strict=True):
        assert {column: row[column] for column in wanted} == wanted


def test_the_days_picture(found: dict[str, list[dict[str, Any]]]) -> None:
    """Nodes and tasks are told for each pool at each time, the earliest first."""
    for name, columns in {"nodes": {"nodes"}, "waiting": {"waiting"}, "running": {"running"}}.items():
        rows = found[name]
        assert set(rows[0]) == {"pool", "timestamp", *columns}
        assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)
        assert {row["pool"] for row in rows} == {"linux", "windows"}
    assert [row["nodes"] for row in found["nodes"] if row["pool"] == "linux"] == [0, 2]
    assert [row["jobs"] for row in found["longest-wait"]] == [3, 2]


def test_what_the_cost_is_made_of(found: dict[str, list[dict[str, Any]]]) -> None:
    """Each runner comes once, though a pass told of one twice, and each pool has its average of each hour."""
    runners = [json.loads(row["Message"]) for row in found["cost: runners"]]
    assert sorted(line["task"] for line in runners) == ["runner-10-1", "runner-2-1", "runner-20-1", "runner-300-1"]
    nodes = [json.loads(row["Message"]) for row in found["cost: nodes"]]
    assert {line["pool"] for line in nodes} == {"linux", "windows"}
    assert {line["slots"] for line in nodes if line["pool"] == "linux"} == {5}
    assert [json.loads(row["Message"])["result"] for row in found["explain"]] == ["kept"]
