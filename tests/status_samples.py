"""A status as it may be, for the page's tests and for its picture in the docs."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestrator.explain.facts import PoolFacts, ServiceError
from orchestrator.health.finding import Finding, warn
from orchestrator.reconcile.findings import (
    Findings,
    Gap,
    JobState,
    OutcomeFinding,
    PoolFinding,
    ProfileFinding,
    Recorded,
    RunningFinding,
    Sample,
    WaitingJobFinding,
)
from orchestrator.status.facts import Status

NOW = datetime(2026, 11, 27, 12, 3, 20, tzinfo=UTC)
LOOKED_AT = NOW - timedelta(seconds=79)
PERIOD = timedelta(minutes=5)
LINUX, WINDOWS = "batchLinux", "batchWindows"


def minutes(count: float) -> timedelta:
    """Return so many minutes."""
    return timedelta(minutes=count)


def waiting_job(number: int, state: JobState, *, age: float = 4, **values: object) -> WaitingJobFinding:
    """Return a job that has waited for some minutes."""
    about = {
        "job": 29679449526 + number,
        "run": 10743561234,
        "repository": "acme/app",
        "profile": "ubuntu-latest",
        "queued_at": NOW - minutes(age),
        "state": state,
        "reason": "its runner waits for a free slot on batchLinux",
    }
    return WaitingJobFinding.model_validate(about | values)


def running(number: int, *, age: float = 7, repository: str = "acme/app", pool: str = LINUX) -> RunningFinding:
    """Return a runner that has run for some minutes."""
    profile = "ubuntu-latest" if pool == LINUX else "windows-latest"
    return RunningFinding(
        task=f"runner-{29679440000 + number}-1",
        pool=pool,
        repository=repository,
        profile=profile,
        started_at=NOW - minutes(age),
    )


def ended(number: int, exit_code: int | None = 0, *, age: float = 3, **values: object) -> OutcomeFinding:
    """Return a runner that ended some minutes ago."""
    about = {
        "task": f"runner-{29679430000 + number}-1",
        "pool": LINUX,
        "repository": "acme/app",
        "ended_at": NOW - minutes(age),
        "seconds": 412,
        "ran_a_job": exit_code == 0,
        "by_request": False,
        "exit_code": exit_code,
        "ending": "no exit code",
    }
    return OutcomeFinding.model_validate(about | values)


def day() -> tuple[Sample, ...]:
    """Return a working day: quiet at night, two busy times, and a queue in the second one."""
    samples = []
    for step in range(288):
        at = LOOKED_AT - minutes(5 * (287 - step))
        hour = at.hour + at.minute / 60
        busy = math.exp(-(((hour - 10.5) / 2.2) ** 2)) + 0.8 * math.exp(-(((hour - 15.5) / 2.6) ** 2))
        runs = round(14 * busy + 0.8 * math.sin(step / 2) ** 2)
        waits = max(0, round(9 * math.exp(-(((hour - 11.4) / 0.7) ** 2)) + 1.2 * busy * math.sin(step) ** 2))
        pools = {LINUX: (waits, min(runs, 15)), WINDOWS: (0, round(3 * busy))}
        samples.append(Sample(int(at.timestamp()), waits, pools))
    return tuple(samples)


def findings() -> Findings:
    """Return what a pass found on a busy day."""
    jobs: Sequence[WaitingJobFinding] = [
        waiting_job(
            1,
            JobState.PAUSED,
            age=38,
            repository="acme/payments",
            reason="4 runners were started for it, 4 ended without a job, the last one with exit code 75; "
            "the next one is started at 12:21 UTC or soon after",
            due_at=NOW + minutes(18),
            reported=True,
            alert=True,
        ),
        waiting_job(2, JobState.WAITS_FOR_SLOT, age=17, repository="acme/web", reported=True),
        waiting_job(3, JobState.WAITS_FOR_SLOT, age=6),
        waiting_job(
            4,
            JobState.STARTED,
            repository="acme/desktop-client",
            profile="windows-latest",
            reason="a runner was started just now, because no runner was started for it",
        ),
        waiting_job(5, JobState.OVER_QUOTA, repository="acme/web", reason="acme/web has 5 of its 5 runners"),
    ]
    pools = (
        PoolFinding(
            pool=LINUX,
            profiles=(
                ProfileFinding(profile="ubuntu-latest", started=412, p50=41, p95=190),
                ProfileFinding(profile="ubuntu-22.04"),
            ),
            waiting=2,
            running=11,
            slots=11,
        ),
        PoolFinding(
            pool=WINDOWS,
            profiles=(ProfileFinding(profile="windows-latest", started=37, p50=205, p95=410),),
            waiting=1,
            running=1,
            slots=1,
        ),
    )
    return Findings(
        at=LOOKED_AT,
        jobs=tuple(jobs),
        unserved={"ubuntu-latest": 1},
        running=(
            running(1, age=2),
            running(2, age=11, repository="acme/web"),
            running(3, age=24, repository="acme/infrastructure"),
            running(4, age=31, repository="acme/desktop-client", pool=WINDOWS),
        ),
        running_left_out=8,
        outcomes=(
            ended(1),
            ended(2, 75, age=5, repository="acme/payments", seconds=38),
            ended(3, age=9, repository="acme/web", seconds=1260),
            ended(4, None, age=14, by_request=True, seconds=None),
        ),
        gaps=(Gap(what="repository acme/archive", skipped=False, reason="GitHub cannot list the runs now: 502"),),
        pools=pools,
        requests_left=4186,
        samples=day(),
    )


def status() -> Status:
    """Return the status of that day."""
    linux = PoolFacts(LINUX, slots_per_node=5, nodes=3, target=4, steady=False, most_nodes=4)
    windows = PoolFacts(WINDOWS, slots_per_node=2, nodes=1, target=1, steady=True, most_nodes=4)
    warning: Finding = warn(
        "runner 2.338.0", "GitHub takes this version until 2026-12-09", "import the current image, set RunnerVersion"
    )
    return Status(
        now=NOW,
        recorded=Recorded(LOOKED_AT + timedelta(seconds=2), findings()),
        period=PERIOD,
        pools={LINUX: linux, WINDOWS: windows},
        warnings=(warning,),
        checked_at=NOW - minutes(12),
        account="acmerunners",
        web_url="https://github.com",
        version="1.0.0",
    )


def quiet_status() -> Status:
    """Return the status of a deployment where all is well and nothing happens."""
    recorded = Recorded(LOOKED_AT, Findings(at=LOOKED_AT))
    return replace(status(), recorded=recorded, warnings=(), checked_at=None)


# Names and words as somebody might choose them who wants to reach into the page.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title></head>",
    "&lt;b&gt;\u202egnp.exe\x00\x1b[2J",
    "javascript:alert(1)",
    "x" * 3000,
)


def hostile_status() -> Status:
    """Return a status in which every text is somebody's attempt."""
    jobs = [
        waiting_job(n, JobState.NOT_STARTED, repository=text, profile=text, reason=text, reported=True)
        for n, text in enumerate(HOSTILE)
    ]
    tasks = [running(n, repository=text).model_copy(update={"task": text}) for n, text in enumerate(HOSTILE)]
    outcomes = [ended(n, None, repository=text, ending=text, task=text) for n, text in enumerate(HOSTILE)]
    gaps = [Gap(what=text, skipped=True, reason=text) for text in HOSTILE]
    names = dict(enumerate(HOSTILE))
    profiles = tuple(ProfileFinding(profile=text) for text in HOSTILE)
    error = ServiceError(names[0], names[1])
    pool = PoolFacts(names[1], 1, 1, 2, steady=True, resize_errors=(error,), formula_error=error)
    found = findings().model_copy(
        update={
            "jobs": tuple(jobs),
            "running": tuple(tasks),
            "outcomes": tuple(outcomes),
            "gaps": tuple(gaps),
            "problem": names[0],
            "pools": (PoolFinding(pool=names[1], profiles=profiles, waiting=0, running=0, slots=0),),
            "samples": (Sample(int(LOOKED_AT.timestamp()), 1, {names[1]: (1, 2)}),),
        }
    )
    return replace(
        status(),
        recorded=Recorded(LOOKED_AT, found),
        pools={names[1]: pool},
        warnings=tuple(warn(text, text, text) for text in HOSTILE),
        account=names[0],
    )
