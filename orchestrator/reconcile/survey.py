"""From what a pass knows and did to what the record keeps of it (pure)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from heapq import nlargest
from math import ceil

from orchestrator.config.settings import Settings
from orchestrator.reconcile.action import Action, Hold, Pause, ReplaceTask, StartRunner, Wait
from orchestrator.reconcile.findings import (
    MOST_GAPS,
    MOST_JOBS,
    MOST_OUTCOMES,
    MOST_RUNNING,
    UNSERVED,
    Findings,
    JobState,
    OutcomeFinding,
    PoolFinding,
    ProfileFinding,
    Prospect,
    RunningFinding,
    Sample,
    WaitingJobFinding,
)
from orchestrator.reconcile.pass_ import Pass
from orchestrator.reconcile.view import WaitingJob
from orchestrator.result import Result
from orchestrator.runners.task import TaskState

# Tasks that were started within this time count for the times to a runner.
_STARTED_WITHIN = timedelta(hours=24)

# How a job is left that was to get a runner, by what the start came to; any other result started one.
_WITHOUT_RUNNER = {
    None: JobState.NO_TIME,
    Result.FAILED: JobState.NOT_STARTED,
    Result.REFUSED: JobState.NOT_ALLOWED,
    Result.WAITS: JobState.OVER_QUOTA,
}


def survey(current: Pass, settings: Settings, requests_left: int | None) -> Findings:
    """Return what a pass found and did.

    Args:
        current: the pass, at its end.
        settings: the app settings.
        requests_left: how many requests GitHub has left for this hour; None if that is not known.
    """
    jobs = sorted(_jobs(current), key=lambda job: (job.state not in UNSERVED, job.queued_at or current.now, job.job))
    running = [task for task in current.tasks if task.state == "running"]
    ended = [(task.ended_at, task) for task in current.tasks if task.state == "finished" and task.ended_at is not None]
    pools = _pools(current, settings)
    counts = {pool.pool: (pool.waiting, pool.running) for pool in pools}
    return Findings(
        at=current.now,
        jobs=tuple(jobs[:MOST_JOBS]),
        jobs_left_out=max(0, len(jobs) - MOST_JOBS),
        unserved=Counter(job.profile for job in jobs if job.state in UNSERVED),
        running=tuple(_running(task) for task in nlargest(MOST_RUNNING, running, key=lambda task: task.created_at)),
        running_left_out=max(0, len(running) - MOST_RUNNING),
        outcomes=tuple(_outcome(task, at) for at, task in nlargest(MOST_OUTCOMES, ended, key=lambda one: one[0])),
        gaps=tuple(current.gaps[:MOST_GAPS]),
        gaps_left_out=max(0, len(current.gaps) - MOST_GAPS),
        pools=tuple(pools),
        requests_left=requests_left,
        samples=(Sample(int(current.now.timestamp()), len(jobs), counts),),
    )


def _jobs(current: Pass) -> Iterator[WaitingJobFinding]:
    """Yield the jobs that the pass knows to be queued; without those that turned out to be gone."""
    settled = _settled(current)
    reported = {job.job_key: alert for one in current.settled for job, alert in _reported(one.action)}
    for facts in current.scopes.values():
        unknown = Prospect(JobState.SKIPPED, facts.problem or "its scope was not looked at")
        for key, job in facts.jobs.items():
            prospect = settled.get(key, current.prospects.get(key, unknown))
            if prospect is not None:
                yield _job(job, prospect, reported.get(key))
    for job, reason in current.refused:
        yield _job(job, Prospect(JobState.NOT_ALLOWED, reason), None)


def _settled(current: Pass) -> dict[str, Prospect | None]:
    """Return what the pass has done about jobs, by job key; None for a job that is gone."""
    found: dict[str, Prospect | None] = {}
    for action, result, reason in current.settled:
        if isinstance(action, Hold):
            found |= {job.job_key: Prospect(JobState.OVER_QUOTA, reason) for job in action.jobs}
        elif isinstance(action, (StartRunner, ReplaceTask)):
            if result == Result.GONE:
                found[action.job.job_key] = None
            elif isinstance(action, StartRunner) or result not in _WITHOUT_RUNNER:
                state = _WITHOUT_RUNNER.get(result, JobState.STARTED)
                why = f"a runner was started just now, because {reason}" if state == JobState.STARTED else reason
                found[action.job.job_key] = Prospect(state, why)
            # else its task could not be replaced, and still serves it
    return found


def _reported(action: Action) -> Iterable[tuple[WaitingJob, bool]]:
    """Return the jobs that an action reports, each with whether a person is asked to look at it."""
    match action:
        case Pause(jobs, alert):
            return [(job, alert and place == 0) for place, job in enumerate(jobs)]
        case Hold(jobs):
            return [(job, False) for job in jobs]
        case Wait(job):
            return [(job, False)]
        case _:
            return ()


def _job(job: WaitingJob, prospect: Prospect, alert: bool | None) -> WaitingJobFinding:
    about = job.event.workflow_job
    return WaitingJobFinding(
        job=about.id,
        run=about.run_id,
        repository=job.event.repository.full_name,
        profile=job.profile.name,
        queued_at=about.created_at,
        state=prospect.state,
        reason=prospect.reason,
        due_at=prospect.due_at,
        task=prospect.task,
        reported=alert is not None,
        alert=bool(alert),
    )


def _running(task: TaskState) -> RunningFinding:
    return RunningFinding(
        task=task.task_id,
        pool=task.pool,
        repository=task.repository,
        profile=task.notes.origin.profile if task.notes.origin else "",
        started_at=task.started_at,
    )


def _outcome(task: TaskState, ended_at: datetime) -> OutcomeFinding:
    return OutcomeFinding(
        task=task.task_id,
        pool=task.pool,
        repository=task.repository,
        ended_at=ended_at,
        seconds=None if task.started_at is None else round((ended_at - task.started_at).total_seconds()),
        ran_a_job=task.ran_a_job,
        by_request=task.ended_by_request,
        exit_code=task.exit_code,
        ending=task.ending,
    )


def _pools(current: Pass, settings: Settings) -> list[PoolFinding]:
    """Return the pools of all profiles."""
    waiting: Counter[str] = Counter()
    running: Counter[str] = Counter()
    slots: Counter[str] = Counter()
    times: dict[tuple[str, str], list[float]] = {}
    since = current.now - _STARTED_WITHIN
    for task in current.tasks:
        if task.state == "waiting":
            waiting[task.pool] += 1
        elif task.state == "running":
            running[task.pool] += 1
            slots[task.pool] += task.slots
        if task.started_at is not None and task.started_at >= since:
            times.setdefault((task.pool, task.profile), []).append((task.started_at - task.created_at).total_seconds())
    profiles: dict[str, list[ProfileFinding]] = {}
    for profile in settings.profiles:
        seconds = sorted(times.get((profile.pool, profile.name), ()))
        found = ProfileFinding(
            profile=profile.name,
            started=len(seconds),
            p50=_percentile(seconds, 50),
            p95=_percentile(seconds, 95),
        )
        profiles.setdefault(profile.pool, []).append(found)
    return [
        PoolFinding(
            pool=pool,
            profiles=tuple(found),
            waiting=waiting[pool],
            running=running[pool],
            slots=slots[pool],
        )
        for pool, found in profiles.items()
    ]


def _percentile(seconds: Sequence[float], percent: int) -> int | None:
    """Return the nearest-rank percentile of sorted values, in whole seconds; None where there is no value."""
    if not seconds:
        return None
    return max(0, round(seconds[ceil(len(seconds) * percent / 100) - 1]))
