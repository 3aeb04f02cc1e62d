"""What the facts about one job mean (pure).

GitHub's word about the job comes first, then the settings' rules, then its tasks, then its delivery: the first of them
that is not fine is the verdict.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus

from orchestrator.errors import SettingsError
from orchestrator.explain.facts import BROKEN_NODE_STATES, DeliveryFacts, Facts, JobFacts, PoolFacts, Unknown
from orchestrator.jobs.admission import Ignored, Refused
from orchestrator.reconcile.plan import may_start
from orchestrator.result import Result
from orchestrator.runners.exit_codes import ImageExitCode, meaning
from orchestrator.runners.task import IMAGE_NOT_PULLED, TaskState


class Verdict(StrEnum):
    """Why a job waits, or what became of it. `docs/reference.md` explains each; a test compares the two."""

    NOT_OURS = "not-ours"
    NOT_ALLOWED = "not-allowed"
    RUNNER_NOT_ADMITTED = "runner-not-admitted"
    MISCONFIGURED = "misconfigured"
    UPSTREAM_REFUSED = "upstream-refused"
    DELIVERY_FAILED = "delivery-failed"
    DELIVERY_REFUSED = "delivery-refused"
    NO_DELIVERY = "no-delivery"
    KEPT = "kept"
    OVER_QUOTA = "over-quota"
    STARTS_NEXT_PASS = "starts-next-pass"  # noqa: S105 - no password
    POOL_MISSING = "pool-missing"
    POOL_GROWING = "pool-growing"
    POOL_FULL = "pool-full"
    POOL_CANNOT_GROW = "pool-cannot-grow"
    NEVER_FITS = "never-fits"
    NODE_BROKEN = "node-broken"
    NODE_LOST = "node-lost"
    IMAGE_NOT_PULLED = "image-not-pulled"
    RUNNER_FAILED = "runner-failed"
    RUNNER_VERSION_REFUSED = "runner-version-refused"
    RUNNER_STARTING = "runner-starting"
    RUNNER_OFFLINE = "runner-offline"
    RUNNER_IDLE = "runner-idle"
    TAKEN_BY_OTHER = "taken-by-other"
    WAITING_AT_GITHUB = "waiting-at-github"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    NOT_FOUND = "not-found"
    CANNOT_TELL = "cannot-tell"


# Nothing more is to be waited for.
OVER = frozenset({Verdict.RUNNING, Verdict.COMPLETED, Verdict.CANCELLED, Verdict.NOT_FOUND})
# Nobody needs to do anything: it goes on by itself, it is over, or it waits for what it was told to wait for.
WORKS = (OVER - {Verdict.NOT_FOUND}) | {
    Verdict.KEPT, Verdict.OVER_QUOTA, Verdict.STARTS_NEXT_PASS, Verdict.POOL_GROWING, Verdict.POOL_FULL,
    Verdict.NODE_LOST, Verdict.RUNNER_STARTING, Verdict.TAKEN_BY_OTHER, Verdict.WAITING_AT_GITHUB,
}  # fmt: skip


@dataclass(frozen=True)
class Conclusion:
    """What the facts mean.

    Attributes:
        verdict: the word for it.
        sentence: why, in one sentence.
        advice: what a person should do.
    """

    verdict: Verdict
    sentence: str
    advice: str


# States of a node that will take tasks, in Batch's words.
_COMING = ("creating", "starting", "waitingforstarttask", "rebooting", "reimaging")
# How often the formula is evaluated: Batch allows no less.
_FORMULA_PERIOD = timedelta(minutes=5)
_NOTHING = "Nothing: it goes on by itself."


def conclude(facts: Facts) -> Conclusion:
    """Return why the job waits, or what became of it.

    Args:
        facts: what is known.
    """
    for stage in _STAGES:
        conclusion = stage(facts)
        if conclusion is not None:
            return conclusion
    return _without_delivery(facts)


def misconfigured(error: SettingsError) -> Conclusion:
    """Return why every job waits while app settings are missing or wrong.

    Args:
        error: names them.
    """
    names = ", ".join(dict.fromkeys(name for name, _ in error.problems))
    return Conclusion(
        Verdict.MISCONFIGURED,
        f"the function answers every delivery with 500, because its settings are wrong: {error}",
        f"Mend the app settings {names}; GitHub's failed deliveries are then sent again within a pass.",
    )


def _of_github(facts: Facts) -> Conclusion | None:
    """GitHub's word on the job; None if the job is queued, or GitHub says nothing and there are tasks to look at."""
    job = facts.job
    has_tasks = facts.latest_task is not None
    if facts.reference.repository is None and not facts.tasks:
        return Conclusion(
            Verdict.NOT_FOUND, f"no task on Batch was started for {facts.reference}", "Give the job's address instead."
        )
    if job is None and not has_tasks and facts.reference.repository is not None:
        return Conclusion(
            Verdict.NOT_FOUND,
            f"GitHub does not find {facts.reference}: it does not exist, or these credentials may not see it",
            "Check the address. The credentials need Actions: read on the repository.",
        )
    if isinstance(job, Unknown) and not has_tasks:
        return _unknown(job, f"what GitHub says of {facts.reference}")
    return _of_status(job) if isinstance(job, JobFacts) else None


def _of_status(job: JobFacts) -> Conclusion | None:
    about = job.event.workflow_job
    runner = f"the runner {about.runner_name}" if about.runner_name else "a runner"
    if job.status == "completed" and about.conclusion == "cancelled":
        had = f"after {runner} had begun it" if about.had_runner else "before a runner had taken it"
        return Conclusion(Verdict.CANCELLED, f"the job was cancelled {had}", "Run it again if it is still wanted.")
    if job.status == "completed":
        return Conclusion(Verdict.COMPLETED, f"the job ended with {about.conclusion}, on {runner}", "Nothing.")
    if job.status == "in_progress":
        return Conclusion(Verdict.RUNNING, f"{runner} runs the job", "Nothing.")
    if job.run_status == "completed":
        return Conclusion(
            Verdict.COMPLETED, "its run has ended, although the job still says that it is queued", "Run it again."
        )
    if job.status != "queued":
        return Conclusion(
            Verdict.WAITING_AT_GITHUB,
            f"GitHub holds the job back itself ({job.status}): it waits for an approval, a timer or its concurrency "
            "group, and no runner can help",
            "Look at the run's page: it says who may approve, or which run has the concurrency group.",
        )
    return None


def _of_rules(facts: Facts) -> Conclusion | None:
    """What the settings and the runner group say; None if the job may have a runner."""
    match facts.admission:
        case Ignored(reason):
            return Conclusion(
                Verdict.NOT_OURS,
                f"no profile serves the job: {reason}",
                "Change the job's runs-on, or the labels of a profile in RunnerProfiles.",
            )
        case Refused(reason):
            return Conclusion(
                Verdict.NOT_ALLOWED,
                f"the settings allow the job no runner: {reason}",
                "Change the setting that the sentence names, if the job is to run here.",
            )
        case _:
            pass
    if isinstance(facts.account, str):
        return Conclusion(
            Verdict.NOT_ALLOWED, facts.account, "Name the account in AllowedOrganizations, if it is yours."
        )
    if isinstance(facts.group, str):
        return Conclusion(
            Verdict.RUNNER_NOT_ADMITTED,
            facts.group,
            "Add the repository to the runner group at GitHub, if it may be there.",
        )
    return None


def _of_tasks(facts: Facts) -> Conclusion | None:
    """What became of the job's tasks; None if it has none."""
    if isinstance(facts.tasks, Unknown):
        conclusion = _unknown(facts.tasks, "what Batch says of the job's tasks")
        known = facts.reference.repository is not None
        return conclusion if known else replace(conclusion, advice="Give the job's address instead of its number.")
    task = facts.latest_task
    if task is None:
        return None
    if task.state == "waiting":
        return _of_waiting(facts, task)
    return _of_running(facts, task) if task.state == "running" else _of_ended(facts, task)


def _of_waiting(facts: Facts, task: TaskState) -> Conclusion:
    pool = facts.pool
    if pool is None:
        return Conclusion(
            Verdict.POOL_MISSING,
            f"Batch has no pool {task.pool}, for which {task.task_id} waits",
            "Create the pool, or name another one in the profile (UbuntuPool, WindowsPool, RunnerProfiles).",
        )
    if isinstance(pool, Unknown):
        return _unknown(pool, f"what Batch says of the pool {task.pool}, for which {task.task_id} waits")
    if task.slots > pool.slots_per_node:
        return Conclusion(
            Verdict.NEVER_FITS,
            f"{task.task_id} needs {task.slots} slots, and a node of {task.pool} has {pool.slots_per_node}",
            "Lower the profile's slots, or give the pool larger nodes.",
        )
    if task.runs_before > 0:
        return Conclusion(
            Verdict.NODE_LOST,
            f"the node of {task.task_id} was lost, and Batch runs the task again on another one",
            "Nothing. With Spot nodes this is the price; dedicated nodes are not taken away.",
        )
    return _of_pool(facts, task, pool)


def _of_pool(facts: Facts, task: TaskState, pool: PoolFacts) -> Conclusion:
    usable = pool.nodes - sum(pool.nodes_by_state.get(state, 0) for state in BROKEN_NODE_STATES)
    size = f"{pool.pool} has {pool.nodes} of {pool.target} nodes"
    if pool.formula_error is not None:
        return Conclusion(
            Verdict.POOL_CANNOT_GROW,
            f"the autoscale formula of {pool.pool} fails: {pool.formula_error}",
            "Mend the pool's formula: deploy it anew, or read docs/autoscale.md.",
        )
    if pool.resize_errors and pool.nodes < pool.target:
        errors = "; ".join(map(str, pool.resize_errors))
        return Conclusion(
            Verdict.POOL_CANNOT_GROW,
            f"{size}, and Azure gives no more: {errors}",
            "Ask for more quota of the VM family, or choose another size or region; Spot may be short for hours.",
        )
    if pool.nodes > 0 and usable <= 0:
        error = f": {pool.node_error}" if pool.node_error else ""
        return Conclusion(
            Verdict.NODE_BROKEN,
            f"every node of {pool.pool} is unusable{error}",
            "Read the start task's output on the node, then reimage or remove the nodes.",
        )
    coming = sum(pool.nodes_by_state.get(state, 0) for state in _COMING)
    if coming or pool.nodes < pool.target or not pool.steady:
        also = f", {coming} of which cannot take tasks yet" if coming else ""
        return Conclusion(
            Verdict.POOL_GROWING, f"{size}{also}, and {task.task_id} waits for one of those that come", _NOTHING
        )
    if pool.most_nodes is None or pool.nodes < pool.most_nodes:
        since = pool.evaluated_at or facts.now
        due = since + _FORMULA_PERIOD - facts.now
        return Conclusion(
            Verdict.POOL_GROWING,
            f"{size}, and the autoscale formula looks at what waits in {_minutes(due)}",
            f"{_NOTHING} PoolBoost=resize does not wait for the formula.",
        )
    others = f"its most ({pool.most_nodes}), and other runners have all of their slots"
    return Conclusion(
        Verdict.POOL_FULL,
        f"{size}, {others if pool.most_nodes else 'and may have none'}",
        "Wait, or raise the pool's most nodes.",
    )


def _of_running(facts: Facts, task: TaskState) -> Conclusion:
    runner = facts.runner
    name = task.notes.name or task.task_id
    if isinstance(runner, Unknown):
        return _unknown(runner, f"whether the runner of {task.task_id} is online")
    is_new = may_start(task, facts.now)
    if runner is None or not runner.online:
        claims = task.notes.registration == "claim"
        how = (
            "is registered but not online"
            if runner
            else "has not claimed its registration"
            if claims
            else "has not registered"
        )
        if is_new:
            return Conclusion(
                Verdict.RUNNER_STARTING, f"the container of {task.task_id} runs, and its runner {how} yet", _NOTHING
            )
        return Conclusion(
            Verdict.RUNNER_OFFLINE,
            f"the container of {task.task_id} has run for {_minutes(facts.now - (task.started_at or facts.now))}, but "
            f"its runner {how}",
            "Read the task's output; look whether the nodes reach GitHub (docs/network.md has the list)"
            + (" and ClaimUrl, and what the log's lines named claim say." if claims else "."),
        )
    if runner.busy:
        return Conclusion(
            Verdict.TAKEN_BY_OTHER,
            f"the runner {name} was started for this job and runs another one: GitHub gives a job to any runner with "
            "its labels",
            f"Nothing: a pass starts another runner{_when(facts)}.",
        )
    return Conclusion(
        Verdict.RUNNER_IDLE,
        f"the runner {name} is online and idle, and GitHub does not give it the job",
        "Look at the runner group's repositories and workflows at GitHub, and at GitHub's status page.",
    )


def _of_ended(facts: Facts, task: TaskState) -> Conclusion:
    again = f"Nothing: while the job waits, a pass starts another runner{_when(facts)}."
    if task.ran_a_job:
        return Conclusion(
            Verdict.TAKEN_BY_OTHER,
            f"{task.task_id} ran another job: GitHub gives a job to any runner with its labels",
            again,
        )
    if task.exit_code is None and (task.failure or "").startswith(IMAGE_NOT_PULLED):
        return Conclusion(
            Verdict.IMAGE_NOT_PULLED,
            f"{task.task_id} did not start: {task.failure}",
            "Import the image into the registry under the name that the profile has; docs/deploy.md has the command.",
        )
    if task.exit_code == ImageExitCode.VERSION_REFUSED:
        return Conclusion(
            Verdict.RUNNER_VERSION_REFUSED,
            f"{task.task_id} ended with exit code 7: GitHub refuses the runner's version",
            "Import the current image and set RunnerVersion to its runner.",
        )
    if task.ended_by_request or task.exit_code == ImageExitCode.NO_JOB:
        how = "was ended on request" if task.ended_by_request else "left, because no job came in its time"
        return Conclusion(Verdict.STARTS_NEXT_PASS, f"{task.task_id} {how}, and the job still waits", again)
    ending = task.ending if task.exit_code is None else meaning(task.exit_code)
    return Conclusion(
        Verdict.RUNNER_FAILED,
        f"{task.task_id} ended without a job: {ending}",
        f"Read the task's output. A pass starts another runner, after pauses that grow to half an hour{_when(facts)}.",
    )


def _of_quota(facts: Facts) -> Conclusion | None:
    if isinstance(facts.quota, str):
        return Conclusion(
            Verdict.OVER_QUOTA, facts.quota, "Wait until one of these ends, or raise the limit that the sentence names."
        )
    return None


def _of_delivery(facts: Facts) -> Conclusion | None:
    """How the job's delivery was answered; None if there was none, or it does not say why there is no task."""
    if facts.delivery is None or isinstance(facts.delivery, Unknown) or facts.delivery.found is None:
        return None
    found = facts.delivery.found
    why = f": {found.reason}" if found.reason else ""
    answered = f"the job's delivery was answered with {found.status} {found.result or ''}".rstrip() + why
    by_result = _BY_RESULT.get(found.result or "")
    if by_result is not None:
        verdict, advice = by_result
        return Conclusion(verdict, answered, advice + _when(facts) + ".")
    return _of_answer(facts, found, answered)


def _of_answer(facts: Facts, found: DeliveryFacts, answered: str) -> Conclusion:
    if found.status == 0:
        return Conclusion(
            Verdict.DELIVERY_FAILED,
            "GitHub got no answer to the job's delivery",
            f"Look whether the function runs and GitHub reaches it. A pass has it sent again{_when(facts)}.",
        )
    if HTTPStatus.BAD_REQUEST <= found.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Conclusion(
            Verdict.DELIVERY_REFUSED,
            answered,
            "Compare the webhook's secret, its address with the function key, and the address restrictions.",
        )
    if found.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        refused = found.status == HTTPStatus.INTERNAL_SERVER_ERROR and found.result == Result.FAILED
        return Conclusion(
            Verdict.UPSTREAM_REFUSED if refused else Verdict.DELIVERY_FAILED,
            answered,
            "Mend what the sentence names." if refused else f"A pass has it sent again{_when(facts)}.",
        )
    return Conclusion(
        Verdict.STARTS_NEXT_PASS,
        f"{answered}, and there is no task now",
        f"Nothing: a pass starts a runner{_when(facts)}.",
    )


# What a delivery's answer says by its word alone, and the advice up to when the next pass is.
_BY_RESULT: Mapping[str, tuple[Verdict, str]] = {
    Result.KEPT: (Verdict.KEPT, "Nothing: it is tried again by itself; at the latest a pass looks after it"),
    Result.WAITS: (Verdict.OVER_QUOTA, "Nothing: it starts when others end, or in a pass"),
    Result.MISCONFIGURED: (Verdict.MISCONFIGURED, "Mend the app settings; a pass has the delivery sent again"),
}


def _without_delivery(facts: Facts) -> Conclusion:
    search = facts.delivery
    if isinstance(search, Unknown):  # not asking is no fault of the set-up: deliveries need a right of their own
        return _unknown(replace(search, refused=False), "how the job's delivery was answered")
    if search is None or not search.complete:
        return Conclusion(
            Verdict.CANNOT_TELL,
            "the job has no task, and its delivery was not found among the latest ones",
            f"Look at the webhook's Recent Deliveries. A pass that sees the repository starts a runner{_when(facts)}.",
        )
    return Conclusion(
        Verdict.NO_DELIVERY,
        "GitHub sent no delivery for the job to this function",
        "Look whether the webhook covers the repository and sends Workflow jobs. A pass that sees the repository "
        f"starts a runner{_when(facts)}.",
    )


_STAGES: tuple[Callable[[Facts], Conclusion | None], ...] = (_of_github, _of_rules, _of_tasks, _of_quota, _of_delivery)


def _unknown(unknown: Unknown, what: str) -> Conclusion:
    if unknown.refused:
        return Conclusion(
            Verdict.UPSTREAM_REFUSED, f"{what} may not be read: {unknown.reason}", "Mend the credential or its role."
        )
    return Conclusion(Verdict.CANNOT_TELL, f"{what} is not known: {unknown.reason}", "Ask again in a minute.")


def _when(facts: Facts) -> str:
    """When the next pass is, to be put after a verb; empty if that is not known."""
    if facts.next_pass is None or facts.next_pass.last_at is None:
        return ""
    due = facts.next_pass.last_at + facts.next_pass.period - facts.now
    return f" in {_minutes(due)}" if due > timedelta(0) else " at any moment"


def _minutes(span: timedelta) -> str:
    minutes = max(1, -(-int(span.total_seconds()) // 60))
    return f"{minutes} minutes" if minutes > 1 else "a minute"
