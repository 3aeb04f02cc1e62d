"""What a pass has found, as the record keeps it for whoever asks between two passes (pure).

It is bounded, and holds no secret: no registration, no body of a delivery, no name that the writer of a workflow chose.
Texts come from GitHub and Batch all the same. Whoever shows them escapes them.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from orchestrator.runners.task import job_key_of

# How long the samples of passes are kept. Of those within one step the last one is.
SAMPLES_FOR = timedelta(hours=24)
SAMPLE_STEP = timedelta(minutes=5)
# How many of each are kept. What is left out is counted.
MOST_JOBS = 500
MOST_RUNNING = 200
MOST_OUTCOMES = 50
MOST_GAPS = 100
# Characters of a reason.
_REASON_LENGTH = 300

type Reason = Annotated[str, AfterValidator(lambda text: text[:_REASON_LENGTH])]


class JobState(StrEnum):
    """How a pass left a waiting job. `docs/reference.md` explains each; a test compares the two."""

    DELIVERY_EXPECTED = "delivery-expected"
    WAITS_FOR_SLOT = "waits-for-slot"
    RUNNER_STARTING = "runner-starting"
    IDLE_RUNNER = "idle-runner"
    STARTED = "started"
    NOT_STARTED = "not-started"
    NO_TIME = "no-time"
    PAUSED = "paused"
    OVER_QUOTA = "over-quota"
    NOT_ALLOWED = "not-allowed"
    SKIPPED = "skipped"


# Nothing serves a job of these states, and no rule speaks against a runner for it.
UNSERVED = frozenset({JobState.NOT_STARTED, JobState.NO_TIME, JobState.PAUSED})


class Prospect(NamedTuple):
    """What a waiting job can count on.

    Attributes:
        state: how the pass leaves it.
        reason: what it waits for, or why it has no runner.
        due_at: before when no (further) runner is started for it; None where the next pass may do so, or need not.
        task: the id of the task that serves it.
    """

    state: JobState
    reason: str
    due_at: datetime | None = None
    task: str | None = None


class _Finding(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        defer_build=True,
        alias_generator=to_camel,  # for the status page's JSON; the record has the names as they are here
        populate_by_name=True,
    )


class WaitingJobFinding(_Finding):
    """A queued job.

    Attributes:
        job: its id.
        run: the id of its run.
        repository: its repository's full name.
        profile: the profile that serves it.
        queued_at: since when it waits, if GitHub said so.
        state: how the pass left it.
        reason: what it waits for, or why it has no runner.
        due_at: as in `Prospect`.
        task: the id of the task that serves it.
        reported: whether the log reports it, because it waits for long.
        alert: whether that report asks a person to look.
    """

    job: int
    run: int
    repository: str
    profile: str
    queued_at: AwareDatetime | None = None
    state: JobState
    reason: Reason
    due_at: AwareDatetime | None = None
    task: str | None = None
    reported: bool = False
    alert: bool = False


class RunningFinding(_Finding):
    """A task that runs: a runner, with or without its job.

    Attributes:
        task: its id.
        pool: where it runs.
        repository: the full name of the repository that it was started for.
        profile: the profile's name; empty if the task does not say.
        started_at: when its container was started, if Batch says so.
    """

    task: str
    pool: str
    repository: str
    profile: str
    started_at: AwareDatetime | None = None


class OutcomeFinding(_Finding):
    """A task that has ended.

    Attributes:
        task: its id.
        pool: where it ran.
        repository: the full name of the repository that it was started for.
        ended_at: when it ended.
        seconds: how long its container ran; None if it was never started.
        ran_a_job: whether a job began in it.
        by_request: whether somebody ended it.
        exit_code: the image's, if it came so far.
        ending: how it ended, in words.
    """

    task: str
    pool: str
    repository: str
    ended_at: AwareDatetime
    seconds: int | None
    ran_a_job: bool
    by_request: bool
    exit_code: int | None = None
    ending: Reason


class Gap(_Finding):
    """Something that the pass does not know.

    Attributes:
        what: a scope, a repository, or how many repositories, in words.
        skipped: whether nothing could be decided there; else only a part of it was not looked at.
        reason: why.
    """

    what: str
    skipped: bool
    reason: Reason


class ProfileFinding(_Finding):
    """How soon the runners of a profile were started.

    Attributes:
        profile: its name.
        started: how many were started within a day.
        p50: of those, the seconds from the task's creation to its container's start: half were not slower.
        p95: nineteen of twenty were not slower.
    """

    profile: str
    started: int = 0
    p50: int | None = None
    p95: int | None = None


class PoolFinding(_Finding):
    """The tasks of a pool.

    Attributes:
        pool: its id.
        profiles: the profiles that use it.
        waiting: how many tasks wait for a slot.
        running: how many run.
        slots: how many slots those take that run.
    """

    pool: str
    profiles: tuple[ProfileFinding, ...]
    waiting: int
    running: int
    slots: int


class Sample(NamedTuple):
    """One pass of the day, for a curve.

    Attributes:
        at: epoch seconds.
        jobs: how many jobs waited.
        pools: the tasks that wait and that run, by pool.
    """

    at: int
    jobs: int
    pools: dict[str, tuple[int, int]]


class Findings(_Finding):
    """What a pass has found.

    Attributes:
        at: when it looked; None before the first pass.
        problem: why a later pass could not look, if the last one could not.
        jobs: the jobs that wait; first those that nothing serves, of these the one that waits longest.
        jobs_left_out: how many more there are.
        unserved: how many jobs nothing serves although they may have a runner, by profile; all of them count.
        running: the tasks that run, the latest first.
        running_left_out: how many more there are.
        outcomes: the tasks that ended last, the latest first.
        gaps: what it does not know.
        gaps_left_out: how many more there are.
        pools: the pools of all profiles.
        requests_left: how many requests GitHub has left for this hour, where it told.
        samples: those of the last day's passes, the oldest first.
    """

    at: AwareDatetime | None = None
    problem: Reason | None = None
    jobs: tuple[WaitingJobFinding, ...] = ()
    jobs_left_out: int = 0
    unserved: Mapping[str, int] = {}
    running: tuple[RunningFinding, ...] = ()
    running_left_out: int = 0
    outcomes: tuple[OutcomeFinding, ...] = ()
    gaps: tuple[Gap, ...] = ()
    gaps_left_out: int = 0
    pools: tuple[PoolFinding, ...] = ()
    requests_left: int | None = None
    samples: tuple[Sample, ...] = ()

    def after(self, earlier: "Findings") -> "Findings":
        """Return these with the samples of the day before them.

        Args:
            earlier: what the last record held.
        """
        oldest = 0.0 if self.at is None else (self.at - SAMPLES_FOR).timestamp()
        day = [*(sample for sample in earlier.samples if sample.at > oldest), *self.samples]
        steps = {sample.at // SAMPLE_STEP.seconds: sample for sample in day}
        return self.model_copy(update={"samples": tuple(steps.values())})

    def not_renewed(self, reason: str) -> "Findings":
        """Return these as a pass leaves them that could not look.

        Args:
            reason: why not.
        """
        return self.model_copy(update={"problem": reason[:_REASON_LENGTH]})


class Recorded(NamedTuple):
    """What the record tells whoever reads it between two passes.

    Attributes:
        written_at: when the pass ended.
        findings: what it found.
    """

    written_at: datetime
    findings: Findings


def counts_on(recorded: Recorded | None, profile: str, task: str, now: datetime, most_age: timedelta) -> bool:
    """Whether a pass found, not long ago, that another job than its own may need a task's runner.

    That is a job of the profile that nothing serves, or one that the pass left to this task.

    Args:
        recorded: the latest record; None if there is none that can be read.
        profile: the name of the task's profile.
        task: the task's id.
        now: the time.
        most_age: an older look counts as none.
    """
    if recorded is None or recorded.findings.at is None or now - recorded.findings.at >= most_age:
        return False
    if recorded.findings.unserved.get(profile, 0) > 0:
        return True
    own = job_key_of(task)
    return any(job.task == task and not own.startswith(f"runner-{job.job}-") for job in recorded.findings.jobs)
