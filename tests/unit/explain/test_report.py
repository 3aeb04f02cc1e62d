"""What is shown of the facts about a job."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import SettingsError
from orchestrator.explain.facts import (
    DeliveryFacts,
    DeliverySearch,
    Facts,
    JobFacts,
    LogTail,
    NextPass,
    PoolFacts,
    ServiceError,
    Unknown,
)
from orchestrator.explain.reference import JobReference
from orchestrator.explain.report import document, text
from orchestrator.explain.verdict import conclude, misconfigured
from orchestrator.jobs.admission import Admitted, Ignored, admit
from orchestrator.reconcile.findings import Findings, JobState, Recorded, WaitingJobFinding
from orchestrator.runners.exit_codes import MEANINGS
from orchestrator.runners.registered import Runner
from tests.builders import queued_job, settings, task_state

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 27, 12, 5, tzinfo=UTC)
QUEUED = NOW - timedelta(minutes=4)
TASK = "runner-29679449526-1"
CONFIGURED = settings()
IDLE_PASS = "Next: a pass, every 5 minutes, has nothing to do for this job"
UNKNOWN = Unknown("it does not answer")


def job(status: str = "queued", *labels: str, **values: Any) -> JobFacts:
    """Return what GitHub says of a job."""
    payload = queued_job(*labels)
    payload["workflow_job"] |= {"created_at": QUEUED.isoformat()} | values
    return JobFacts(workflow_job_event(json.dumps(payload).encode()), status, "queued", points_left=4986)


def facts(**changes: Any) -> Facts:
    """Return the facts about a job whose task waits for a node, with these changed."""
    known = job()
    admission = admit(known.event, CONFIGURED)
    assert isinstance(admission, Admitted)
    pool = PoolFacts(
        "batchLinux",
        slots_per_node=5,
        nodes=0,
        target=1,
        steady=True,
        most_nodes=10,
        resize_errors=(ServiceError("AccountCoreQuotaReached", "The account has reached its core quota"),),
        evaluated_at=NOW - timedelta(minutes=2),
    )
    described = Facts(
        NOW,
        JobReference(29679449526, "acme/app"),
        job=known,
        admission=admission,
        profile=admission.profile,
        tasks=(task_state(TASK, "batchLinux", "waiting", QUEUED + timedelta(seconds=2)),),
        pool=pool,
        next_pass=NextPass(None, timedelta(minutes=5)),
    )
    return replace(described, **changes)


def shown(**changes: Any) -> list[str]:
    """Return the lines that a person reads, without the spaces between their columns."""
    known = facts(**changes)
    lines = text(document(known, conclude(known), CONFIGURED.profiles)).splitlines()
    return [re.sub(" {2,}", " ", line) for line in lines]


def test_the_docs_show_it() -> None:
    """The page shows what is printed for a pool that gets no node."""
    looked_at = NOW - timedelta(seconds=120)
    found = WaitingJobFinding(
        job=29679449526,
        run=10743561234,
        repository="acme/app",
        profile="ubuntu-latest",
        state=JobState.WAITS_FOR_SLOT,
        reason="its runner waits for a free slot on batchLinux",
    )
    recorded = Recorded(looked_at + timedelta(seconds=1), Findings(at=looked_at, jobs=(found,)))
    known = facts(next_pass=NextPass.of(recorded, timedelta(minutes=5)))
    printed = text(document(known, conclude(known), CONFIGURED.profiles))
    assert f"```text\n{printed}```" in (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"job": None}, "GitHub does not find job 29679449526 of acme/app"),
        ({"job": UNKNOWN}, "GitHub not known: it does not answer"),
        (
            {"job": replace(job("in_progress", runner_name="r"), started_at=NOW)},
            "GitHub 2026-11-27 12:05:00Z taken by r",
        ),
        ({"job": replace(job("in_progress"), started_at=NOW)}, "GitHub 2026-11-27 12:05:00Z taken by a runner"),
        ({"job": replace(job("completed"), completed_at=NOW)}, "GitHub 2026-11-27 12:05:00Z ended"),
        (
            {"job": replace(job("completed", conclusion="failure"), run_status=None)},
            "GitHub 2026-11-27 12:01:00Z completed with failure; labels self-hosted, ubuntu-latest",
        ),
        ({"admission": Ignored("no labels"), "profile": None}, "profile no labels"),
        ({}, "profile not ubuntu-22.04: lacks ubuntu-latest"),
        ({"account": "the account is not allowed"}, "account the account is not allowed"),
        ({"group": UNKNOWN}, "group not known: it does not answer"),
        ({}, "group nothing speaks against the repository"),
        ({"quota": "acme/app has 1 of 1 runners"}, "quota acme/app has 1 of 1 runners"),
        ({"tasks": UNKNOWN}, "task not known: it does not answer"),
        ({"tasks": ()}, "task none"),
        (
            {"tasks": (task_state(TASK, "batchLinux", "waiting", QUEUED, runs_before=2),)},
            f"task 2026-11-27 12:01:00Z {TASK} waits for a free slot: Batch ran it 2 times before",
        ),
        (
            {"tasks": (task_state(TASK, "p", "finished", QUEUED, ended_at=NOW, exit_code=75, failure="Failed: no"),)},
            f"task 2026-11-27 12:05:00Z {TASK} ended: exit code 75 ({MEANINGS[75]}); Failed: no",
        ),
        ({"pool": UNKNOWN}, "pool not known: it does not answer"),
        ({"pool": None}, "pool Batch has no pool batchLinux"),
        (
            {"pool": PoolFacts("p", 1, 2, 2, steady=False, formula_error=ServiceError("Wrong", "x"), evaluated_at=NOW)},
            "pool p: 2 of 2 nodes, 1 slots each; being resized",
        ),
        (
            {"pool": PoolFacts("p", 1, 2, 2, steady=False, formula_error=ServiceError("Wrong", "x"), evaluated_at=NOW)},
            "pool 2026-11-27 12:05:00Z formula error: Wrong: x",
        ),
        (
            {"pool": PoolFacts("p", 1, 2, 2, steady=True, nodes_by_state={"unusable": 1, "idle": 1})},
            "nodes 1 idle, 1 unusable",
        ),
        ({"pool": PoolFacts("p", 1, 2, 2, steady=True, node_error=ServiceError("DiskFull", ""))}, "nodes DiskFull"),
        ({"pool": PoolFacts("p", 1, 2, 2, steady=True, nodes_unknown="403")}, "nodes not known: 403"),
        ({"runner": UNKNOWN}, "runner not known: it does not answer"),
        ({"runner": Runner(7, "r", online=True, busy=True, labels=frozenset())}, "runner r: online, busy"),
        ({"runner": Runner(7, "r", online=False, busy=False, labels=frozenset())}, "runner r: offline, idle"),
        ({"tasks": (task_state(TASK, "p", "running", QUEUED, started_at=NOW),)}, "runner not registered"),
        ({"delivery": UNKNOWN}, "delivery not known: it does not answer"),
        ({"delivery": DeliverySearch(None, complete=True)}, "delivery none since the job was queued"),
        ({"delivery": DeliverySearch(None, complete=False)}, "delivery not among the latest ones"),
        (
            {"delivery": DeliverySearch(DeliveryFacts(NOW, 202, "kept", "GitHub is away"), complete=True)},
            "delivery 2026-11-27 12:05:00Z answered with 202 kept: GitHub is away",
        ),
        (
            {"delivery": DeliverySearch(DeliveryFacts(NOW, 0), complete=True)},
            "delivery 2026-11-27 12:05:00Z no answer",
        ),
        ({}, "limit 4986 requests to GitHub are left in this hour"),
    ],
)
def test_lines(changes: dict[str, Any], line: str) -> None:
    """Each fact has its line, with its time where it has one, and what is not known is said."""
    assert line in shown(**changes)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, IDLE_PASS),
        (
            {"tasks": (), "delivery": DeliverySearch(None, complete=True)},
            "Next: a pass, every 5 minutes, starts a runner if the job still waits and nothing serves it",
        ),
        (
            {"tasks": (), "delivery": DeliverySearch(DeliveryFacts(NOW, 502), complete=True)},
            "Next: a pass, every 5 minutes, has the delivery sent again",
        ),
        (
            {"next_pass": NextPass(QUEUED, timedelta(minutes=5))},
            f"{IDLE_PASS}; the last one ended at 2026-11-27 12:01:00Z, 4 min ago",
        ),
    ],
)
def test_next(changes: dict[str, Any], line: str) -> None:
    """What the next pass does is said, and how old the last one's word is."""
    assert shown(**changes)[2] == line


def test_nothing_is_left_out() -> None:
    """Without a profile, a pass or a known limit, what there is stands alone."""
    lines = shown(job=None, profile=None, admission=None, tasks=(), pool=None, next_pass=None)
    assert lines[2:] == ["", "GitHub does not find job 29679449526 of acme/app"]


def test_wrong_settings() -> None:
    """While settings are wrong there are no facts, and the verdict names the settings."""
    report = document(None, misconfigured(SettingsError.of("GithubToken", "is missing")))
    assert report["facts"] == []
    assert text(report).splitlines()[0].endswith("GithubToken: is missing")
    assert len(text(report).splitlines()) == 2


def test_words_of_others() -> None:
    """What somebody else wrote cannot steer the terminal of whoever reads it."""
    lines = shown(delivery=DeliverySearch(DeliveryFacts(NOW, 500, "failed", "\x1b[2Jno\nthing"), complete=True))
    assert lines[-2].endswith("failed: [2Jno thing")


def test_output() -> None:
    """The last lines of a task's output are shown, and where all of it is; what is not known is said."""
    many = LogTail(tuple(f"line {number}" for number in range(20)), ("oops",), "https://x/logs/job/task")
    lines = shown(output=many)
    start = lines.index("output all of it: https://x/logs/job/task")
    assert lines[start + 1 : start + 13] == [*(f" line {number}" for number in range(9, 20)), " oops"]
    known = facts(output=many)
    (entry,) = [one for one in document(known, conclude(known))["facts"] if one["about"] == "output"]  # type: ignore[attr-defined]
    assert entry["lines"] == [*many.stdout, "oops"]
    assert "output not known: it does not answer" in shown(output=UNKNOWN)
