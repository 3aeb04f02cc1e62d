"""A pass as a whole: no step depends on another."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.errors import SettingsError, TransientError, UpstreamError
from orchestrator.reconcile.control_loop import ControlLoop
from orchestrator.reconcile.findings import Findings, Sample
from orchestrator.reconcile.finished_tasks import FinishedTasks
from orchestrator.reconcile.memory import PassMemory, decode
from orchestrator.reconcile.progress import Progress
from orchestrator.runners.task import TaskState
from tests.fakes import ManualClock, MemoryStore

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)

type Lines = list[tuple[str, dict[str, Any]]]


class FakeSteps:
    """What a pass goes through; each step notes what it was given, and may fail."""

    def __init__(self) -> None:
        self.tasks: list[TaskState] = []
        self.store = MemoryStore()
        self.memory = PassMemory(self.store)
        self.tasks_error: Exception | None = None
        self.requests: list[bytes] = []
        self.queue_error: UpstreamError | None = None
        self.step_errors: dict[str, Exception] = {}
        self.begun: list[int] = []
        self.progress: list[Progress] = []
        self.calls: list[tuple[str, Sequence[TaskState], datetime]] = []

    def run_pass(self) -> None:
        """Make a pass."""
        ControlLoop(
            self.list_tasks,
            ["batchLinux"],
            begin=lambda: self.begun.append(len(self.calls)),
            redeliver=lambda tasks, now, progress: self.note("redelivery", tasks, now, progress),
            reconcile=self.reconcile,
            watches=[
                lambda tasks, now: self.note("boundary", tasks, now),
                lambda tasks, now: self.note("runner version", tasks, now),
            ],
            given_up=self.given_up,
            memory=self.memory,
            clock=ManualClock(NOW),
        ).run()

    def list_tasks(self, pools: Iterable[str], now: datetime, known: FinishedTasks) -> Sequence[TaskState]:
        """List the tasks."""
        assert (list(pools), now) == (["batchLinux"], NOW)
        assert known is self.memory.finished
        if self.tasks_error:
            raise self.tasks_error
        return self.tasks

    def reconcile(self, tasks: Sequence[TaskState], now: datetime, progress: Progress) -> Findings:
        """Compare demand with supply."""
        self.note("reconciliation", tasks, now, progress)
        return Findings(at=now, samples=(Sample(int(now.timestamp()), 1, {}),))

    def note(self, step: str, tasks: Sequence[TaskState], now: datetime, progress: Progress | None = None) -> None:
        """Take note of a step."""
        self.progress += [progress] if progress else []
        self.calls.append((step, tasks, now))
        if step in self.step_errors:
            raise self.step_errors[step]

    def given_up(self) -> Iterator[bytes]:
        """Yield the given-up requests."""
        yield from self.requests
        if self.queue_error:
            raise self.queue_error


@pytest.fixture
def steps() -> FakeSteps:
    """Return steps that find nothing to do."""
    return FakeSteps()


def test_a_pass(steps: FakeSteps, log_lines: Lines) -> None:
    """All steps get the tasks, the log reports each given-up request, and the memory is kept for the next pass."""
    steps.tasks = [TaskState("runner-1-1", "batchLinux", "waiting", NOW)]
    steps.requests = [b'{"a": "request"}']
    steps.run_pass()
    names = ["redelivery", "reconciliation", "boundary", "runner version"]
    assert steps.calls == [(name, steps.tasks, NOW) for name in names]
    assert steps.begun == [0]
    assert steps.progress[0] is steps.progress[1]
    record = decode(steps.store.content or b"")
    assert (record.written_at, record.progress) == (NOW, Progress().to_json())
    assert record.findings == Findings(at=NOW, samples=(Sample(int(NOW.timestamp()), 1, {}),))
    fields = {"pass": "control loop", "result": "given up", "message": '{"a": "request"}'}
    assert log_lines == [("CRITICAL", fields)]


def test_runners_that_ended(steps: FakeSteps, log_lines: Lines) -> None:
    """The log tells of each runner that is seen to have ended, once: not again while Batch does not answer."""
    steps.memory.finished.new = [TaskState("runner-1-1", "batchLinux", "finished", NOW)]
    steps.run_pass()
    steps.tasks_error = TransientError("Batch cannot list the tasks now: 503")
    steps.run_pass()
    assert [line["task"] for _, line in log_lines if "task" in line] == ["runner-1-1"]


def test_two_tasks_of_one_id(steps: FakeSteps) -> None:
    """Tasks of one id in two Batch jobs are two tasks: a pass sees both, and can end one."""
    steps.tasks = [TaskState("runner-1-1", "batchLinux", "waiting", NOW, batch_job=job) for job in ("one", "other")]
    steps.run_pass()
    assert steps.calls[1] == ("reconciliation", steps.tasks, NOW)


def test_batch_does_not_answer(steps: FakeSteps, log_lines: Lines) -> None:
    """Without the tasks nothing is compared, but failed deliveries are still redelivered; the log says why."""
    steps.tasks = [TaskState("runner-1-1", "batchLinux", "waiting", NOW)]
    steps.tasks_error = TransientError("Batch cannot list the tasks now: 503")
    steps.run_pass()
    assert steps.calls == [("redelivery", (), NOW), ("boundary", (), NOW), ("runner version", (), NOW)]
    fields = {"pass": "control loop", "result": "skipped", "reason": "Batch cannot list the tasks now: 503"}
    assert log_lines == [("WARNING", fields)]


def test_a_listing_that_cannot_be_read(steps: FakeSteps, log_lines: Lines) -> None:
    """Whatever a listing of Batch's trips over, the other steps are done, and the error is raised at the end."""
    steps.tasks_error = TypeError("not a list")
    steps.requests = [b"{}"]
    with pytest.raises(ExceptionGroup) as caught:
        steps.run_pass()
    assert caught.value.exceptions == (steps.tasks_error,)
    assert steps.calls == [("redelivery", (), NOW), ("boundary", (), NOW), ("runner version", (), NOW)]
    assert [line["result"] for _, line in log_lines] == ["given up"]


def test_the_queue_does_not_answer(steps: FakeSteps, log_lines: Lines) -> None:
    """A queue that does not answer fails no pass."""
    steps.queue_error = TransientError("the queue does not do its part: 503")
    steps.run_pass()
    assert len(steps.calls) == 4
    fields = {"pass": "control loop", "result": "skipped", "reason": "the queue does not do its part: 503"}
    assert log_lines == [("WARNING", fields)]


def test_unexpected_errors(steps: FakeSteps, log_lines: Lines) -> None:
    """An unexpected error of one step does not stop the others, and is raised at the end."""
    steps.step_errors = {
        "redelivery": SettingsError([("GithubAppPrivateKey", "is no key")]),
        "reconciliation": KeyError(1),
    }
    steps.requests = [b"{}"]
    with pytest.raises(ExceptionGroup) as caught:
        steps.run_pass()
    assert caught.value.exceptions == tuple(steps.step_errors.values())
    assert [step for step, *_ in steps.calls] == ["redelivery", "reconciliation", "boundary", "runner version"]
    assert [line["result"] for _, line in log_lines] == ["given up"]


def test_findings_of_an_earlier_pass(steps: FakeSteps) -> None:
    """What an earlier pass found stays with its own time while passes cannot look, and the record says why."""
    earlier = NOW - timedelta(minutes=5)
    day = Sample(int(earlier.timestamp()), 3, {"batchLinux": (1, 2)})
    steps.memory.findings = Findings(at=earlier, samples=(day,))
    steps.tasks_error = TransientError("Batch cannot list the tasks now: 503")
    steps.run_pass()
    silent = decode(steps.store.content or b"").findings
    assert silent == Findings(at=earlier, samples=(day,), problem="Batch cannot list the tasks now: 503")
    steps.tasks_error, steps.step_errors = None, {"reconciliation": KeyError(1)}
    with pytest.raises(ExceptionGroup):
        steps.run_pass()
    assert "something unexpected" in (decode(steps.store.content or b"").findings.problem or "")
    steps.step_errors.clear()
    steps.run_pass()
    found = decode(steps.store.content or b"").findings
    assert (found.at, found.problem, found.samples[0]) == (NOW, None, day)
    assert len(found.samples) == 2
