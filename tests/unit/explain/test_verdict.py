"""What the facts about a job mean."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import SettingsError
from orchestrator.explain.facts import (
    DeliveryFacts,
    DeliverySearch,
    Facts,
    JobFacts,
    NextPass,
    PoolFacts,
    ServiceError,
    Unknown,
)
from orchestrator.explain.reference import JobReference
from orchestrator.explain.verdict import Verdict, conclude, misconfigured
from orchestrator.jobs.admission import Admitted, Ignored, Refused, admit
from orchestrator.runners.registered import Runner
from orchestrator.runners.task import TaskState
from tests.builders import queued_job, settings, task_state

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=3)
LONG_AGO = NOW - timedelta(hours=2)
SILENT = Unknown("Batch does not answer")
FORBIDDEN = Unknown("403", refused=True)
POOL = PoolFacts("batchLinux", slots_per_node=5, nodes=2, target=2, steady=True, most_nodes=2)
BROKEN = ServiceError("FailedStartTask", "exit code 1")


def job(status: str = "queued", **values: Any) -> JobFacts:
    """Return what GitHub says of a job; what the job itself says may be given beside the run's status."""
    run_status = values.pop("run_status", "queued")
    payload = queued_job()
    payload["workflow_job"] |= values
    return JobFacts(workflow_job_event(json.dumps(payload).encode()), status, run_status)


def task(state: str = "waiting", number: int = 0, created_at: datetime = EARLIER, **values: Any) -> TaskState:
    """Return a task of the job."""
    name = "runner-29679449526-1" + (f"-r{number}" if number else "")
    return task_state(name, "batchLinux", state, created_at, **values)


def answered(status: int, result: str | None = None, reason: str | None = None) -> DeliverySearch:
    """Return a delivery with its answer."""
    return DeliverySearch(DeliveryFacts(EARLIER, status, result, reason), complete=True)


def facts(**values: Any) -> Facts:
    """Return the facts about a queued job that a profile serves, with these changed."""
    known = job()
    admission = admit(known.event, settings())
    assert isinstance(admission, Admitted)
    period = timedelta(minutes=5)
    return replace(
        Facts(
            NOW,
            JobReference(29679449526, "acme/app"),
            job=known,
            admission=admission,
            profile=admission.profile,
            pool=POOL,
            next_pass=NextPass(NOW - timedelta(minutes=1), period),
        ),
        **values,
    )


def runner(*, online: bool = True, busy: bool = False) -> Runner:
    """Return the task's runner."""
    return Runner(7, "runner-29679449526-1", online, busy, frozenset())


def pool(**values: Any) -> PoolFacts:
    """Return a pool with these facts changed."""
    return replace(POOL, **values)


RUNNING = task("running", started_at=EARLIER)
OLD_RUNNING = task("running", started_at=LONG_AGO, created_at=LONG_AGO)


def ended(**values: Any) -> TaskState:
    """Return a task that ended a moment ago."""
    return task("finished", **{"started_at": EARLIER, "ended_at": NOW, **values})


SITUATIONS: Mapping[str, tuple[Mapping[str, Any], Verdict, str]] = {
    "no such job": ({"job": None}, Verdict.NOT_FOUND, "does not find job 29679449526 of acme/app"),
    "GitHub silent": ({"job": SILENT}, Verdict.CANNOT_TELL, "Batch does not answer"),
    "GitHub refuses": ({"job": FORBIDDEN}, Verdict.UPSTREAM_REFUSED, "may not be read: 403"),
    "cancelled": ({"job": job("completed", conclusion="cancelled")}, Verdict.CANCELLED, "before a runner had taken it"),
    "cancelled later": (
        {"job": job("completed", conclusion="cancelled", runner_id=7, runner_name="r")},
        Verdict.CANCELLED,
        "after the runner r had begun it",
    ),
    "completed": (
        {"job": job("completed", conclusion="failure", runner_name="r")},
        Verdict.COMPLETED,
        "ended with failure, on the runner r",
    ),
    "running": ({"job": job("in_progress")}, Verdict.RUNNING, "a runner runs the job"),
    "zombie": ({"job": job(run_status="completed")}, Verdict.COMPLETED, "its run has ended"),
    "approval": ({"job": job("waiting")}, Verdict.WAITING_AT_GITHUB, r"\(waiting\)"),
    "concurrency": ({"job": job("pending"), "tasks": (RUNNING,)}, Verdict.WAITING_AT_GITHUB, r"\(pending\)"),
    "no profile": ({"admission": Ignored("no labels")}, Verdict.NOT_OURS, "no labels"),
    "public": ({"admission": Refused("it is public")}, Verdict.NOT_ALLOWED, "it is public"),
    "account": ({"account": "the account evil is not allowed"}, Verdict.NOT_ALLOWED, "evil"),
    "group": ({"group": "the runner group X admits no app"}, Verdict.RUNNER_NOT_ADMITTED, "group X"),
    "Batch silent": ({"tasks": SILENT}, Verdict.CANNOT_TELL, "the job's tasks is not known"),
    "Batch refuses": ({"tasks": FORBIDDEN}, Verdict.UPSTREAM_REFUSED, "the job's tasks may not be read"),
    "pool missing": ({"tasks": (task(),), "pool": None}, Verdict.POOL_MISSING, "no pool batchLinux"),
    "pool unknown": ({"tasks": (task(),), "pool": SILENT}, Verdict.CANNOT_TELL, "the pool batchLinux"),
    "too many slots": (
        {"tasks": (task(slots=6),)},
        Verdict.NEVER_FITS,
        "needs 6 slots, and a node of batchLinux has 5",
    ),
    "evicted": ({"tasks": (task(runs_before=1),)}, Verdict.NODE_LOST, "was lost"),
    "nodes start": (
        {"tasks": (task(),), "pool": pool(nodes_by_state={"running": 1, "starting": 1})},
        Verdict.POOL_GROWING,
        "2 of 2 nodes, 1 of which cannot take tasks yet",
    ),
    "no nodes ever": (
        {"tasks": (task(),), "pool": pool(nodes=0, target=0, most_nodes=0)},
        Verdict.POOL_FULL,
        "0 of 0 nodes, and may have none",
    ),
    "formula": (
        {"tasks": (task(),), "pool": pool(formula_error=ServiceError("AutoScalingFormulaEvaluationError", ""))},
        Verdict.POOL_CANNOT_GROW,
        "fails: AutoScalingFormulaEvaluationError$",
    ),
    "quota of Azure": (
        {
            "tasks": (task(),),
            "pool": pool(nodes=0, resize_errors=(ServiceError("AccountCoreQuotaReached", "no cores"),)),
        },
        Verdict.POOL_CANNOT_GROW,
        "0 of 2 nodes, and Azure gives no more: AccountCoreQuotaReached: no cores",
    ),
    "old resize error": (
        {"tasks": (task(),), "pool": pool(resize_errors=(BROKEN,))},
        Verdict.POOL_FULL,
        "2 of 2 nodes, its most",
    ),
    "broken nodes": (
        {"tasks": (task(),), "pool": pool(nodes_by_state={"starttaskfailed": 2}, node_error=BROKEN)},
        Verdict.NODE_BROKEN,
        "unusable: FailedStartTask: exit code 1",
    ),
    "broken nodes, no reason": (
        {"tasks": (task(),), "pool": pool(nodes_by_state={"unusable": 2})},
        Verdict.NODE_BROKEN,
        "is unusable$",
    ),
    "growing": ({"tasks": (task(),), "pool": pool(nodes=0, steady=False)}, Verdict.POOL_GROWING, "0 of 2 nodes"),
    "formula is due": (
        {"tasks": (task(),), "pool": pool(nodes=0, target=0, evaluated_at=NOW - timedelta(minutes=2))},
        Verdict.POOL_GROWING,
        "in 3 minutes",
    ),
    "formula unknown": ({"tasks": (task(),), "pool": pool(most_nodes=None)}, Verdict.POOL_GROWING, "in 5 minutes"),
    "full": ({"tasks": (task(),)}, Verdict.POOL_FULL, r"its most \(2\)"),
    "registers": ({"tasks": (RUNNING,)}, Verdict.RUNNER_STARTING, "has not registered yet"),
    "claims": (
        {"tasks": (task("running", started_at=EARLIER, registration="claim"),)},
        Verdict.RUNNER_STARTING,
        "has not claimed its registration yet",
    ),
    "connects": (
        {"tasks": (task("running"),), "runner": runner(online=False)},
        Verdict.RUNNER_STARTING,
        "not online yet",
    ),
    "never registered": ({"tasks": (OLD_RUNNING,)}, Verdict.RUNNER_OFFLINE, "120 minutes, but its runner has not"),
    "never claimed": (
        {"tasks": (task("running", started_at=LONG_AGO, created_at=LONG_AGO, registration="claim"),)},
        Verdict.RUNNER_OFFLINE,
        "120 minutes, but its runner has not claimed",
    ),
    "claim used": ({"tasks": (ended(exit_code=77),)}, Verdict.RUNNER_FAILED, "another container had used its claim"),
    "offline": (
        {"tasks": (OLD_RUNNING,), "runner": runner(online=False)},
        Verdict.RUNNER_OFFLINE,
        "registered but not online",
    ),
    "runner unknown": ({"tasks": (RUNNING,), "runner": SILENT}, Verdict.CANNOT_TELL, "is online is not known"),
    "busy": ({"tasks": (RUNNING,), "runner": runner(busy=True)}, Verdict.TAKEN_BY_OTHER, "runs another one"),
    "idle": ({"tasks": (RUNNING,), "runner": runner()}, Verdict.RUNNER_IDLE, "online and idle"),
    "ran another": ({"tasks": (ended(exit_code=0),)}, Verdict.TAKEN_BY_OTHER, "ran another job"),
    "no image": (
        {"tasks": (ended(failure="the image cannot be pulled: ContainerInvalidImage: x"),)},
        Verdict.IMAGE_NOT_PULLED,
        "ContainerInvalidImage",
    ),
    "version": ({"tasks": (ended(exit_code=7),)}, Verdict.RUNNER_VERSION_REFUSED, "exit code 7"),
    "no job came": ({"tasks": (ended(exit_code=69),)}, Verdict.STARTS_NEXT_PASS, "no job came"),
    "ended by hand": (
        {"tasks": (ended(ended_by_request=True, failure="TaskEnded"),)},
        Verdict.STARTS_NEXT_PASS,
        "ended on request",
    ),
    "not registered": (
        {"tasks": (ended(exit_code=75),)},
        Verdict.RUNNER_FAILED,
        r"exit code 75 \(it could not register",
    ),
    "wrong settings": ({"tasks": (ended(exit_code=78),)}, Verdict.RUNNER_FAILED, r"exit code 78 \(a variable"),
    "no exit code": ({"tasks": (ended(failure="TaskX: y"),)}, Verdict.RUNNER_FAILED, "without a job: TaskX: y"),
    "held": (
        {"quota": "acme/app has 1 of 1 runners", "delivery": answered(202, "waits")},
        Verdict.OVER_QUOTA,
        "1 of 1",
    ),
    "was held": ({"delivery": answered(202, "waits", "full")}, Verdict.OVER_QUOTA, "202 waits: full"),
    "kept": ({"delivery": answered(202, "kept", "503")}, Verdict.KEPT, "202 kept: 503"),
    "was misconfigured": ({"delivery": answered(500, "misconfigured")}, Verdict.MISCONFIGURED, "500 misconfigured"),
    "no answer": ({"delivery": answered(0)}, Verdict.DELIVERY_FAILED, "no answer"),
    "bad gateway": ({"delivery": answered(502)}, Verdict.DELIVERY_FAILED, "with 502$"),
    "unsigned": (
        {"delivery": answered(401, "refused", "signature")},
        Verdict.DELIVERY_REFUSED,
        "401 refused: signature",
    ),
    "upstream": ({"delivery": answered(500, "failed", "no role")}, Verdict.UPSTREAM_REFUSED, "500 failed: no role"),
    "task gone": ({"delivery": answered(201, "created")}, Verdict.STARTS_NEXT_PASS, "there is no task now"),
    "none": ({"delivery": DeliverySearch(None, complete=True)}, Verdict.NO_DELIVERY, "sent no delivery"),
    "not reached": ({"delivery": DeliverySearch(None, complete=False)}, Verdict.CANNOT_TELL, "among the latest"),
    "not looked for": ({}, Verdict.CANNOT_TELL, "not found"),
    "deliveries closed": ({"delivery": FORBIDDEN}, Verdict.CANNOT_TELL, "delivery was answered is not known: 403"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_situations(situation: str) -> None:
    """Each situation has its verdict, and the sentence says what it rests on."""
    changes, verdict, sentence = SITUATIONS[situation]
    concluded = conclude(facts(**changes))
    assert concluded.verdict == verdict
    assert re.search(sentence, concluded.sentence)
    assert concluded.advice.endswith(".")


def test_every_verdict_has_a_situation() -> None:
    """No verdict is out of reach."""
    of_settings = misconfigured(SettingsError([("GithubToken", "is missing"), ("GithubToken", "is wrong")]))
    assert {verdict for _, verdict, _ in SITUATIONS.values()} | {of_settings.verdict} == set(Verdict)
    assert "GithubToken: is missing" in of_settings.sentence
    assert of_settings.advice.startswith("Mend the app settings GithubToken;")


def test_the_latest_task_decides() -> None:
    """A task that runs says more than one that waits, and that one more than those that ended; then the number."""
    first, second = ended(exit_code=75), replace(ended(exit_code=78), task_id="runner-29679449526-1-r2")
    waits = task(number=1)
    assert facts(tasks=(second, first)).latest_task is second
    assert facts(tasks=(first, second, waits)).latest_task is waits
    assert facts(tasks=(RUNNING, waits, second)).latest_task is RUNNING
    assert facts(tasks=SILENT).latest_task is None


@pytest.mark.parametrize(
    ("last_at", "when"),
    [
        (NOW - timedelta(minutes=1), " in 4 minutes."),
        (NOW - timedelta(minutes=4, seconds=30), " in a minute."),
        (NOW - timedelta(minutes=6), " at any moment."),
        (None, "starts another runner."),
    ],
)
def test_next_pass(last_at: datetime | None, when: str) -> None:
    """The advice says when the next pass is, where that is known."""
    known = NextPass(last_at, timedelta(minutes=5))
    assert conclude(facts(tasks=(ended(exit_code=69),), next_pass=known)).advice.endswith(when)


def test_a_task_without_a_visible_job() -> None:
    """Where GitHub does not show the job, its tasks still say what is wrong."""
    for unseen in (None, SILENT):
        assert conclude(facts(job=unseen, admission=None, tasks=(task(slots=6),))).verdict == Verdict.NEVER_FITS
    assert conclude(facts(tasks=(ended(exit_code=69),), next_pass=None)).advice.endswith("starts another runner.")


def test_nothing_visible() -> None:
    """Where neither GitHub nor Batch tells, GitHub's word comes first."""
    assert conclude(facts(job=None, tasks=SILENT)).verdict == Verdict.NOT_FOUND
    assert "GitHub is away" in conclude(facts(job=Unknown("GitHub is away"), tasks=SILENT)).sentence


def test_a_number_without_an_address() -> None:
    """Where a job's number alone leads nowhere, its address is asked for."""
    bare = Facts(NOW, JobReference(7))
    assert conclude(bare).verdict == Verdict.NOT_FOUND
    for concluded in (conclude(bare), conclude(replace(bare, tasks=SILENT))):
        assert concluded.advice.startswith("Give the job's address")
