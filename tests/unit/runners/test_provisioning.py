"""One queued workflow job -> one runner task."""

import contextlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.config.settings import Settings, TaskLogs
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import TransientError, UpstreamRefused
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.result import Result
from orchestrator.runners import provisioning
from orchestrator.runners.claim import read
from orchestrator.runners.earlier_tasks import MOST_TASKS
from orchestrator.runners.notes import TaskNotes
from orchestrator.runners.outcome import Outcome
from orchestrator.runners.registration import Registration, another_name
from orchestrator.runners.scope import Scope, ScopeAccess
from orchestrator.runners.task import TaskState
from tests.builders import queued_job, settings, task_state
from tests.unit.runners.fakes import NOW, OWN, OpenBoundary, Registry, TaskList, provision, provisioner


def test_a_task_with_all_that_the_image_reads() -> None:
    """The task runs the profile's image on its pool, with the environment that the runner image reads."""
    registry, tasks = Registry(), TaskList()
    done = provision(registry, tasks, configured=settings(RunnerGroup="Batch", RunnerIdleMinutes="4", JobMaxHours="3"))
    (task,) = tasks.added
    assert (done.result, done.task_id, done.pool) == (Result.CREATED, "runner-29679449526-1", "batchLinux")
    assert (done.profile.name, done.profile.image) == ("ubuntu-latest", task.image)
    assert tasks.created == ["batchLinux"]
    assert task.image == "registry.azurecr.io/githubactions-runner:ubuntu-24.04-actionsrunner"
    assert (task.pool, task.os, task.slots, task.max_hours, task.run_options) == ("batchLinux", "linux", 1, 3, "")
    assert task.display_name == "acme/app run 10743561234 job 29679449526 attempt 1 profile ubuntu-latest"
    assert task.environment == {
        "GHR_URL": "https://github.com/acme",
        "GHR_NAME": "runner-29679449526-1",
        "GHR_LABELS": "self-hosted,linux,x64,ubuntu-latest,ubuntu-24.04",
        "GHR_GROUP": "Batch",
        "GHR_EPHEMERAL": "true",
        "GHR_IDLE_MINUTES": "4",
        "GHR_EXPIRES_AT": "2026-11-25T13:00:00Z",
        "GHR_ORIGIN": task.environment["GHR_ORIGIN"],
        "GHR_TOKEN": "s3cret",
    }
    origin = TaskNotes.read(task.environment).origin
    assert origin is not None
    assert (origin.profile, origin.event.workflow_job.id) == ("ubuntu-latest", 29679449526)
    assert registry.asked == [
        (
            ScopeAccess(Scope("organization", "acme"), None),
            "runner-29679449526-1",
            ("self-hosted", "linux", "x64", "ubuntu-latest", "ubuntu-24.04"),
            "Batch",
        )
    ]


def test_the_profiles_variables() -> None:
    """The container gets the profile's variables beside the runner's own."""
    tasks = TaskList()
    provision(Registry(), tasks, configured=settings(RunnerEnvironment='{"https_proxy": "http://proxy.corp:3128"}'))
    assert tasks.added[0].environment["https_proxy"] == "http://proxy.corp:3128"
    assert tasks.added[0].environment["GHR_TOKEN"] == "s3cret"


def test_where_the_output_goes() -> None:
    """The task says where its output is kept, if the settings do."""
    identity = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/pools"
    url = "https://logs.blob.core.windows.net/task-logs"
    configured = settings(TaskLogsContainerUrl=url, TaskLogsIdentity=identity)
    tasks, without = TaskList(), TaskList()
    provision(Registry(), tasks, configured=configured)
    provision(Registry(), without)
    assert (tasks.added[0].logs, without.added[0].logs) == (TaskLogs(url, identity), None)


def test_whose_turn_it_is() -> None:
    """The task says which account it is for, how its profile ranks, and since when the job waits."""
    written = [{"name": "p", "pool": "batchLinux", "image": "image:x", "priority": "high"}]
    configured = settings(RunnerProfiles=json.dumps(written))
    tasks = TaskList()
    for job in ({}, {"created_at": "2026-11-25T11:59:00Z"}):
        tasks.existing.clear()
        about = queued_job()["workflow_job"] | job
        provision(Registry(), tasks, configured=configured, workflow_job=about | {"labels": ["self-hosted"]})
    told = [(task.account, task.priority, task.queued_at) for task in tasks.added]
    assert told == [("acme", "high", None), ("acme", "high", NOW - timedelta(minutes=1))]


def test_windows_and_no_group() -> None:
    """A Windows job goes to the Windows pool; without a group nothing is said about one."""
    tasks = TaskList()
    provision(Registry(), tasks, "self-hosted", "windows-latest", installation={"id": 5})
    assert (tasks.added[0].pool, tasks.added[0].os) == ("batchWindows", "windows")
    assert "GHR_GROUP" not in tasks.added[0].environment


@pytest.mark.parametrize(
    ("label", "setting", "option", "kind"),
    [
        ("ubuntu-latest", "token", None, "token"),
        ("ubuntu-latest", "jit", None, "jit"),
        ("windows-latest", "token", None, "jit"),
        ("windows-latest", "jit", None, "jit"),
        ("ubuntu-latest", "token", "jit", "jit"),
        ("ubuntu-latest", "jit", "token", "token"),
        ("windows-latest", "jit", "token", "token"),
    ],
)
def test_the_profile_chooses_the_registration(label: str, setting: str, option: str | None, kind: str) -> None:
    """A Windows runner gets a JIT configuration, whatever the setting, unless its own profile asks for a token."""
    system = label.partition("-")[0].replace("ubuntu", "linux")
    profile = {"name": "p", "labels": [label], "os": system, "pool": "p", "image": "i"}
    profiles = json.dumps([profile | ({"registration": option} if option else {})])
    configured = settings(RunnerRegistration=setting, RunnerProfiles=profiles)
    registries = {"token": Registry(), "jit": Registry(kind="jit")}
    tasks = TaskList()
    provision(registries["token"], tasks, "self-hosted", label, configured=configured, jit=registries["jit"])
    assert [name for name, registry in registries.items() if registry.asked] == [kind]
    secrets = {"GHR_TOKEN": "token", "GHR_JITCONFIG": "jit"}
    assert [secrets[name] for name in tasks.added[0].environment if name in secrets] == [kind]


def test_a_registration_is_withdrawn_where_it_was_made() -> None:
    """What a Windows runner registered with is given back by JIT's registrar."""
    tasks, jit = TaskList(OWN), Registry(kind="jit")
    provision(token := Registry(), tasks, "self-hosted", "windows-latest", jit=jit)
    assert (token.withdrawn, jit.withdrawn) == ([], [7])


@pytest.mark.parametrize("registration", ["token", "jit"])
@pytest.mark.parametrize(
    ("changes", "scope", "group"),
    [
        ({}, "organization", "Prod"),
        ({"RunnerScope": "repository"}, "organization", None),
        ({}, "user", None),
        ({"RunnerScope": "enterprise", "GithubEnterprise": "big"}, "user", "Prod"),
    ],
)
def test_groups(registration: str, changes: dict[str, str], scope: str, group: str | None) -> None:
    """A runner of a repository joins no group, in either registration; others join the one of the settings."""
    registry, tasks = Registry(), TaskList()
    configured = settings(RunnerGroup="Prod", RunnerRegistration=registration, **changes)
    owner = {"login": "acme"} if scope == "organization" else None
    provision(registry, tasks, configured=configured, organization=owner)
    assert tasks.added[0].environment.get("GHR_GROUP") == group
    assert [asked[3] for asked in registry.asked] == [group]


def test_a_lost_answer_takes_the_other_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a call's answer was lost, its repetition finds the name taken by itself: that is tried again, not given up."""
    monkeypatch.setattr(provisioning, "another_name", lambda name: f"{name}-1b5f")
    registry = Registry("runner-29679449526-1", "runner-29679449526-1-1b5f")
    with pytest.raises(TransientError, match="runner-29679449526-1-1b5f"):
        provision(registry, TaskList())


def test_the_same_job_twice_makes_one_task() -> None:
    """The second time the task is found to exist, and a registration made for it is given back."""
    registry, tasks = Registry(), TaskList()
    assert provision(registry, tasks).result == Result.CREATED
    again = provision(registry, tasks)
    assert (again.result, again.task_id) == (Result.EXISTS, "runner-29679449526-1")
    assert len(tasks.added) == 1
    assert registry.withdrawn == [7]


class TestAnOldDelivery:
    """A delivery that is sent again long after the job was queued."""

    def serve(self, answer: bool | None, **job: Any) -> tuple[Outcome, list[int]]:
        """Serve a job; return what was done, and which jobs GitHub was asked after."""
        asked: list[int] = []

        def ask(event: WorkflowJobEvent) -> bool | None:
            asked.append(event.workflow_job.id)
            return answer

        changed = queued_job()["workflow_job"] | job
        event = workflow_job_event(json.dumps(queued_job(workflow_job=changed)).encode())
        admission = admit(event, settings())
        assert isinstance(admission, Admitted)
        return provisioner(Registry(), TaskList(), asked=ask).handle(event, admission.profile), asked

    @pytest.mark.parametrize(
        ("answer", "result"), [(True, Result.CREATED), (False, Result.GONE), (None, Result.CREATED)]
    )
    def test_github_is_asked(self, answer: bool | None, result: str) -> None:
        """A job that waits no longer gets no runner; one that GitHub may not be asked after gets it."""
        done, asked = self.serve(answer, created_at="2026-11-25T11:00:00Z")
        assert (done.result, asked) == (result, [29679449526])

    @pytest.mark.parametrize("created_at", ["2026-11-25T11:58:00Z", None, "soon"])
    def test_github_is_not_asked(self, created_at: str | None) -> None:
        """A fresh delivery, or one that does not say how old its job is, costs no call."""
        done, asked = self.serve(False, created_at=created_at)
        assert (done.result, asked) == (Result.CREATED, [])


@pytest.mark.parametrize("registration", ["jit", "token"])
def test_a_repository_that_has_to_let_others_go_first(registration: str) -> None:
    """While it is not its turn, no runner is registered; a registration token serves all, so nobody waits for it."""

    def not_now(event: WorkflowJobEvent) -> None:
        raise TransientError(f"not the turn of {event.repository.full_name}", retry_after=30)

    registry, tasks, configured = Registry(), TaskList(), settings(RunnerRegistration=registration)
    event = workflow_job_event(json.dumps(queued_job()).encode())
    use_case = provisioner(registry, tasks, configured, take_share=not_now)
    if registration == "token":
        assert use_case.start(event, configured.profiles[0]).result == Result.CREATED
        return
    with pytest.raises(TransientError, match="not the turn of acme/app"):
        use_case.start(event, configured.profiles[0])
    assert (registry.asked, tasks.added) == ([], [])


class TestATaskThatExists:
    """A `queued` delivery of a job that has a task already."""

    def serve(
        self,
        *states: TaskState,
        is_queued: bool | None = True,
        age: timedelta = timedelta(0),
        registry: Registry | None = None,
        start: int | None = None,
    ) -> tuple[Outcome, TaskList, int]:
        """Serve the job; return the outcome, the tasks, and how often GitHub was asked after the job."""
        tasks = TaskList(*(state.task_id for state in states))
        tasks.states = {state.task_id: state for state in states}
        asked: list[WorkflowJobEvent] = []

        def ask(event: WorkflowJobEvent) -> bool | None:
            asked.append(event)
            return is_queued

        job = queued_job()["workflow_job"] | {"created_at": (NOW - age).isoformat()}
        event = workflow_job_event(json.dumps(queued_job(workflow_job=job)).encode())
        admission = admit(event, settings())
        assert isinstance(admission, Admitted)
        use_case = provisioner(registry or Registry(), tasks, asked=ask)
        profile = admission.profile
        done = use_case.handle(event, profile) if start is None else use_case.start(event, profile, start)
        return done, tasks, len(asked)

    @pytest.mark.parametrize("age", [timedelta(0), timedelta(hours=2)])
    @pytest.mark.parametrize(
        ("how", "story"),
        [
            ({"exit_code": 69}, "ended without a job: exit code 69"),
            ({"exit_code": 75}, "ended without a job: exit code 75"),
            ({}, "ended without a job: no exit code"),
            ({"failure": "ContainerInvalidImage"}, "ended without a job: ContainerInvalidImage"),
            ({"ended_by_request": True}, "was ended on request"),
            ({"exit_code": 0}, "ran a job, perhaps another one"),
        ],
    )
    def test_it_ended(self, age: timedelta, how: dict[str, Any], story: str) -> None:
        """If its task is over and GitHub says that the job waits, the next runner starts at once."""
        done, tasks, asked = self.serve(ended(0, **how), age=age)
        assert (done.result, done.task_id, asked) == (Result.CREATED, f"{OWN}-r1", 1)
        assert done.reason == f"{OWN} {story}"
        assert [task.task_id for task in tasks.added] == [f"{OWN}-r1"]

    def test_several_ended(self) -> None:
        """The number after the last task is taken, and the answer tells of that task."""
        done, _, _ = self.serve(ended(0, exit_code=69), ended(1, exit_code=75), ended(2, exit_code=78))
        assert (done.result, done.task_id) == (Result.CREATED, f"{OWN}-r3")
        assert done.reason == f"{OWN}-r2 ended without a job: exit code 78"

    @pytest.mark.parametrize(
        ("state", "story"),
        [
            (TaskState(OWN, "batchLinux", "waiting", NOW), "waits for a free slot"),
            (TaskState(OWN, "batchLinux", "running", NOW), "runs"),
        ],
    )
    @pytest.mark.parametrize("number", [0, 1])
    def test_it_may_serve(self, number: int, state: TaskState, story: str) -> None:
        """While a task of the job waits or runs, nothing starts, and GitHub is not asked."""
        name = f"{OWN}-r1" if number else OWN
        earlier = [ended(0, exit_code=0)] if number else []
        done, tasks, asked = self.serve(*earlier, replace(state, task_id=name))
        assert (done.result, done.task_id, done.reason, asked) == (Result.EXISTS, name, f"{name} {story}", 0)
        assert tasks.added == []

    @pytest.mark.parametrize("code", [69, 0])
    @pytest.mark.parametrize("age", [timedelta(0), timedelta(hours=2)])
    def test_a_late_copy(self, age: timedelta, code: int) -> None:
        """A copy of a delivery whose job no longer waits starts nothing, however old the job is."""
        done, tasks, _ = self.serve(ended(0, exit_code=code), is_queued=False, age=age)
        assert (done.result, tasks.added) == (Result.GONE, [])

    @pytest.mark.parametrize(
        ("how", "result"),
        [
            ({"exit_code": 75}, Result.CREATED),
            ({"ended_by_request": True}, Result.EXISTS),
            ({"exit_code": 0}, Result.EXISTS),
        ],
    )
    def test_github_may_not_be_asked(self, how: dict[str, Any], result: Result) -> None:
        """If GitHub may not be asked, its delivery counts, unless the job was probably cancelled, or has run."""
        done, _, _ = self.serve(ended(0, **how), is_queued=None)
        assert done.result == result

    def test_jit(self) -> None:
        """The name of the runner that ended may still be taken; the next one has another."""
        done, _, _ = self.serve(ended(0, exit_code=75), registry=Registry(OWN))
        assert (done.result, done.task_id) == (Result.CREATED, f"{OWN}-r1")

    def test_somebody_deletes_it(self) -> None:
        """A task that is gone when it is looked for is left to the next pass."""

        class Deleting(TaskList):
            def state(self, pool: str, task_id: str, *, account: str) -> TaskState | None:
                self.existing.discard(task_id)
                return super().state(pool, task_id, account=account)

        assert provision(Registry(), Deleting(OWN)).result == Result.EXISTS

    @pytest.mark.parametrize("code", [69, 0])
    @pytest.mark.parametrize(
        ("is_queued", "result"), [(True, Result.CREATED), (None, Result.CREATED), (False, Result.GONE)]
    )
    def test_of_a_pass(self, code: int, is_queued: bool | None, result: Result) -> None:
        """A pass has seen that the job waits: where a task that it did not know is over, the next number is taken."""
        done, tasks, asked = self.serve(ended(0, exit_code=75), ended(1, exit_code=code), start=1, is_queued=is_queued)
        assert (done.result, asked) == (result, 1)
        assert tasks.looked_up == [f"{OWN}-r1", f"{OWN}-r2"]
        assert [task.task_id for task in tasks.added] == ([] if is_queued is False else [f"{OWN}-r2"])

    def test_many(self) -> None:
        """A look at the tasks has an end."""
        many = [ended(number, exit_code=75) for number in range(MOST_TASKS + 1)]
        done, tasks, _ = self.serve(*many)
        assert (done.result, done.task_id) == (Result.EXISTS, f"{OWN}-r{MOST_TASKS}")
        assert len(tasks.looked_up) == MOST_TASKS

    def test_another_process_is_faster(self) -> None:
        """Two copies of one delivery start one runner."""
        tasks = TaskList(OWN)
        tasks.states = {OWN: ended(0, exit_code=75)}
        assert [provision(Registry(), tasks).task_id for _ in range(2)] == [f"{OWN}-r1"] * 2
        assert len(tasks.added) == 1


def ended(number: int, **how: Any) -> TaskState:
    """Return a task of the job that has ended."""
    name = f"{OWN}-r{number}" if number else OWN
    return task_state(name, "batchLinux", "finished", NOW, started_at=NOW, ended_at=NOW, **how)


def test_a_second_attempt_is_another_task() -> None:
    """A re-run of the job gets a runner of its own."""
    tasks = TaskList("runner-29679449526-1")
    job = queued_job()["workflow_job"] | {"run_attempt": 2}
    assert provision(Registry(), tasks, workflow_job=job).task_id == "runner-29679449526-2"


def test_a_name_that_is_taken_by_the_jobs_own_runner() -> None:
    """If GitHub knows the runner and Batch its task, there is nothing to do."""
    registry, tasks = Registry("runner-29679449526-1"), TaskList("runner-29679449526-1")
    assert provision(registry, tasks).result == Result.EXISTS
    assert len(registry.asked) == 1


def test_a_name_that_is_taken_by_a_runner_without_task() -> None:
    """If an earlier try got no further than its registration, the task starts under another name."""
    registry, tasks = Registry("runner-29679449526-1"), TaskList()
    assert provision(registry, tasks).result == Result.CREATED
    name = registry.asked[-1][1]
    assert name.startswith("runner-29679449526-1-")
    assert tasks.added[0].environment["GHR_NAME"] == name
    assert tasks.added[0].task_id == "runner-29679449526-1"


@pytest.mark.parametrize(
    ("trouble", "withdrawn"), [(UpstreamRefused("Batch refuses it"), [7]), (TransientError("no answer"), [])]
)
def test_no_task(trouble: Exception, withdrawn: list[int]) -> None:
    """A registration is given back if Batch refuses the task; not if the task may have been created all the same."""
    registry, tasks = Registry(), TaskList()
    tasks.trouble = trouble
    with pytest.raises(type(trouble)):
        provision(registry, tasks)
    assert registry.withdrawn == withdrawn


def test_a_withdrawal_that_fails_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be given back is logged, and the job is served all the same."""
    registry, tasks = Registry(), TaskList("runner-29679449526-1")
    registry.withdrawal = TransientError("GitHub is not reachable")
    assert provision(registry, tasks).result == Result.EXISTS
    assert "GitHub is not reachable" in caplog.text


@pytest.mark.parametrize("boundary", [OpenBoundary(account="it is a stranger"), OpenBoundary(job="not in the group")])
def test_a_job_that_may_have_no_runner(boundary: OpenBoundary) -> None:
    """It is refused with the reason before anybody registers; GitHub and Batch are not asked."""
    registry, tasks = Registry(), TaskList()
    event = workflow_job_event(json.dumps(queued_job()).encode())
    admission = admit(event, settings())
    assert isinstance(admission, Admitted)
    done = provisioner(registry, tasks, boundary=boundary).handle(event, admission.profile)
    assert (done.result, done.reason) == (Result.REFUSED, boundary.account or boundary.job)
    assert done.task_id == "runner-29679449526-1"
    assert (registry.asked, tasks.added) == ([], [])


def test_a_stranger_costs_no_question() -> None:
    """An old delivery of a strange account is refused without asking GitHub after its job."""

    def ask(_event: WorkflowJobEvent) -> bool:
        raise AssertionError

    old = queued_job()["workflow_job"] | {"created_at": "2026-11-25T11:00:00Z"}
    event = workflow_job_event(json.dumps(queued_job(workflow_job=old)).encode())
    admission = admit(event, settings())
    assert isinstance(admission, Admitted)
    boundary = OpenBoundary(account="it is a stranger")
    done = provisioner(Registry(), TaskList(), asked=ask, boundary=boundary).handle(event, admission.profile)
    assert done.result == Result.REFUSED


def test_the_end_of_a_strangers_job() -> None:
    """The end of a strange account's job ends no task, and Batch is not asked for any."""
    tasks = TaskList()
    tasks.states[OWN] = TaskState(OWN, "batchLinux", "waiting", NOW)
    ended = queued_job()["workflow_job"] | {"conclusion": "cancelled"}
    event = workflow_job_event(json.dumps(queued_job(action="completed", workflow_job=ended)).encode())
    admission = admit(event, settings())
    assert isinstance(admission, Admitted)
    stranger = provisioner(Registry(), tasks, boundary=OpenBoundary(account="it is a stranger"))
    done = stranger.handle(event, admission.profile)
    assert (done.result, done.reason, tasks.ended) == (Result.LEFT, "it is a stranger", [])


def test_secrets_do_not_show() -> None:
    """Neither a task nor a registration shows its secrets."""
    tasks = TaskList()
    provision(Registry(), tasks)
    assert "s3cret" not in repr(tasks.added[0])
    assert "s3cret" not in repr(Registration("token", "s3cret", NOW))


def test_another_name() -> None:
    """Another name is within GitHub's 64 characters, and not the same again."""
    assert len(another_name("x" * 64)) <= 64
    assert len({another_name("runner-1-1") for _ in range(20)}) > 10


CLAIMS = {
    "ClaimKey": "k" * 32,
    "ClaimUrl": "https://f.example/api/ClaimRunner",
    "ClaimSources": "10.1.0.0/16",
}
CLAIMING = settings(**CLAIMS, RunnerRegistration="claim")


def queued_for(label: str, age: timedelta) -> WorkflowJobEvent:
    """Return a job that was queued some time ago."""
    job = queued_job("self-hosted", label)["workflow_job"] | {"created_at": (NOW - age).isoformat()}
    return workflow_job_event(json.dumps(queued_job(workflow_job=job)).encode())


@pytest.mark.parametrize("label", ["ubuntu-latest", "windows-latest"])
def test_a_claim(label: str) -> None:
    """A task that claims asks GitHub for nothing, takes no share of the registrations, and never expires."""
    registry, tasks, asked = Registry(), TaskList(), list[WorkflowJobEvent]()
    event = queued_for(label, timedelta(0))
    admission = admit(event, CLAIMING)
    assert isinstance(admission, Admitted)

    def is_queued(event: WorkflowJobEvent) -> bool:
        asked.append(event)
        return True

    starter = provisioner(registry, tasks, CLAIMING, is_queued, take_share=asked.append)
    assert starter.handle(event, admission.profile).result == Result.CREATED
    (task,) = tasks.added
    notes = TaskNotes.read(task.environment)
    assert (notes.registration, notes.expires_at, notes.name) == ("claim", None, OWN)
    assert notes.claim_url == task.environment["GHR_CLAIM_URL"] == "https://f.example/api/ClaimRunner"
    assert not {"GHR_TOKEN", "GHR_JITCONFIG"} & set(task.environment)
    claim = read(task.environment["GHR_CLAIM"], CLAIMING.claim_keys, NOW)
    assert (claim.task_id, claim.pool, claim.labels) == (OWN, task.pool, notes.labels)
    assert claim.access == ScopeAccess(Scope("organization", "acme"), None)
    assert (registry.asked, asked) == ([], [])


@pytest.mark.parametrize(("says", "result"), [(True, "created"), (None, "created"), (False, "gone")])
def test_an_old_delivery_of_a_claim(says: bool | None, result: str) -> None:
    """A job that was queued long ago gets a task that claims unless GitHub says that it does not wait any more."""
    event = queued_for("ubuntu-latest", timedelta(hours=3))
    admission = admit(event, CLAIMING)
    assert isinstance(admission, Admitted)
    starter = provisioner(Registry(), TaskList(), CLAIMING, lambda _: says)
    assert starter.handle(event, admission.profile).result == result


def test_a_silent_github_delays_no_claim() -> None:
    """Where GitHub does not say whether an old job waits, a task that claims is created, and no other one is."""

    def silent(_event: WorkflowJobEvent) -> bool:
        raise TransientError("GitHub does not answer")

    event = queued_for("ubuntu-latest", timedelta(hours=3))
    cases: list[tuple[Settings, int]] = [(CLAIMING, 1), (settings(), 0)]
    for configured, number in cases:
        admission, tasks = admit(event, configured), TaskList()
        assert isinstance(admission, Admitted)
        starter = provisioner(Registry(), tasks, configured, silent)
        with contextlib.suppress(TransientError):
            starter.handle(event, admission.profile)
        assert len(tasks.added) == number


def test_a_claim_that_nobody_needs() -> None:
    """Where the job has its task already there is nothing to give back."""
    registry, tasks = Registry(), TaskList(OWN)
    assert provision(registry, tasks, configured=CLAIMING).result == Result.EXISTS
    refused = TaskList()
    refused.trouble = UpstreamRefused("no")
    with pytest.raises(UpstreamRefused):
        provision(registry, refused, configured=CLAIMING)
    assert (registry.asked, registry.withdrawn) == ([], [])


def test_only_the_profile_that_claims() -> None:
    """A task of another registration says nothing of claims, whatever is set."""
    registry, tasks = Registry(), TaskList()
    provision(registry, tasks, configured=settings(**CLAIMS))
    assert not {"GHR_CLAIM", "GHR_CLAIM_URL"} & set(tasks.added[0].environment)
