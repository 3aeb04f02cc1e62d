"""Which failed deliveries are sent again, when, and how often."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import GitHubRefused, TransientError, UpstreamError
from orchestrator.jobs.event import ACTIONS, WorkflowJobEvent
from orchestrator.reconcile.hook_delivery import APP_HOOK, HookDelivery
from orchestrator.reconcile.progress import Progress
from orchestrator.reconcile.redelivery import (
    GONE_FOR,
    LOOK_BACK,
    PAUSES,
    READ_AGAIN,
    REDELIVERIES_PER_PASS,
    REPOSITORY_HOOKS_PER_PASS,
    Redelivery,
    due,
)
from orchestrator.runners.notes import Origin, TaskNotes
from orchestrator.runners.task import TaskState
from tests.builders import queued_job
from tests.unit.reconcile.fakes import FakeDeliveries

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ORG_HOOK = "/orgs/acme/hooks/7"
REPO_HOOK = "/repos/acme/app/hooks/8"


def attempt(ago: timedelta = HOUR, guid: str = "g-1", **changes: Any) -> HookDelivery:
    """Return the first attempt of an event, which failed, with properties changed."""
    first = HookDelivery(1, guid, NOW - ago, "workflow_job", "queued", succeeded=False)
    return replace(first, **changes)


def failed_attempts(*ago: timedelta) -> list[HookDelivery]:
    """Return the failed attempts of one event, as GitHub lists them, newest first."""
    return [
        attempt(pause, id=number, again=number > 1)
        for number, pause in reversed(list(enumerate(sorted(ago, reverse=True), 1)))
    ]


def test_one_failure() -> None:
    """A delivery that failed a while ago is sent again; nothing else is."""
    failed = attempt()
    assert due([failed, attempt(guid="g-2", succeeded=True)], NOW) == [failed]
    assert due([], NOW) == []


@pytest.mark.parametrize(
    ("event", "action", "is_due"),
    [
        ("workflow_job", "queued", True),
        ("workflow_job", "completed", True),
        ("workflow_job", "in_progress", False),
        ("workflow_job", "waiting", False),
        ("workflow_job", None, False),
        ("ping", None, False),
        ("push", "queued", False),
    ],
)
def test_events(event: str, action: str | None, is_due: bool) -> None:
    """Only what the orchestrator acts on is worth another try."""
    assert bool(due([attempt(event=event, action=action)], NOW)) == is_due


@pytest.mark.parametrize("number", range(len(PAUSES)))
def test_pauses(number: int) -> None:
    """Each further attempt is made its pause after the last one, not a moment before."""
    pause = PAUSES[number]
    before = [pause + (count + 1) * MINUTE for count in range(number)]
    early = due(failed_attempts(*before, pause - timedelta(microseconds=1)), NOW)
    (late,) = due(failed_attempts(*before, pause), NOW)
    assert early == []
    assert late.delivered_at == NOW - pause


def test_last_attempt() -> None:
    """After the last redelivery there is no further attempt."""
    assert due(failed_attempts(5 * HOUR, 4 * HOUR, 3 * HOUR, 2 * HOUR), NOW) == []


@pytest.mark.parametrize("position", range(3))
def test_success_ends_it(position: int) -> None:
    """An event of which any attempt succeeded is not sent again, whatever came before or after."""
    attempts = failed_attempts(5 * HOUR, 4 * HOUR, 3 * HOUR)
    attempts[position] = replace(attempts[position], succeeded=True)
    assert due(attempts, NOW) == []


def test_first_attempt_out_of_sight() -> None:
    """If the list does not reach back to the first attempt, the attempts cannot be counted, and none is made."""
    assert due(failed_attempts(5 * HOUR, 4 * HOUR)[:-1], NOW) == []


def test_refused_ones_last() -> None:
    """Refused deliveries are sent again last, so that a burst of them does not hold up the others."""
    refused = [attempt(3 * HOUR, f"refused-{number}", refused=True) for number in range(REDELIVERIES_PER_PASS)]
    lost = [attempt(2 * HOUR, "lost-1"), attempt(1 * HOUR, "lost-2")]
    found = due([*lost, *refused], NOW)
    assert found[:2] == lost
    assert len(found) == REDELIVERIES_PER_PASS


_ATTEMPTS = st.lists(
    st.builds(
        HookDelivery,
        st.integers(1, 10**12),
        st.sampled_from(["a", "b", "c", *(f"g-{number}" for number in range(80))]),
        st.timedeltas(-MINUTE, LOOK_BACK).map(lambda ago: NOW - ago),
        st.sampled_from(["workflow_job", "workflow_job", "push"]),
        st.sampled_from([*ACTIONS, "in_progress", None]),
        succeeded=st.sampled_from([False, False, False, True]),
        again=st.booleans(),
        refused=st.booleans(),
    ),
    max_size=120,
)


@given(_ATTEMPTS)
def test_whatever_the_list(attempts: list[HookDelivery]) -> None:
    """A limited number is repeated, each event once, in order; none that succeeded or was tried often enough."""
    repeated = due(attempts, NOW)
    assert len(repeated) <= REDELIVERIES_PER_PASS
    assert len({attempt.guid for attempt in repeated}) == len(repeated)
    order = [(attempt.refused, attempt.delivered_at, attempt.id) for attempt in repeated]
    assert order == sorted(order)
    relevant = [attempt for attempt in attempts if attempt.event == "workflow_job" and attempt.action in ACTIONS]
    for last in repeated:
        same_event = [attempt for attempt in relevant if attempt.guid == last.guid]
        assert last in same_event
        assert last.delivered_at == max(attempt.delivered_at for attempt in same_event)
        assert not any(attempt.succeeded for attempt in same_event)
        assert len(same_event) <= len(PAUSES)
        assert NOW - last.delivered_at >= PAUSES[0]


@given(_ATTEMPTS, st.randoms())
def test_order_does_not_matter(attempts: list[HookDelivery], random: Any) -> None:
    """Which events are sent again does not depend on the order of GitHub's list."""
    shuffled = list(attempts)
    random.shuffle(shuffled)
    few = len({attempt.guid for attempt in attempts}) <= REDELIVERIES_PER_PASS
    assert not few or {again.guid for again in due(attempts, NOW)} == {again.guid for again in due(shuffled, NOW)}


@given(
    st.timedeltas(MINUTE, 20 * MINUTE),
    st.integers(0, len(PAUSES) + 2),
    st.timedeltas(timedelta(0), 20 * MINUTE),
)
def test_pass_after_pass(every: timedelta, fails: int, begin: timedelta) -> None:
    """Over a day of passes an event is sent again until it succeeds, three times at most."""
    attempts = [attempt(timedelta(0))]
    moment = NOW + begin
    while moment < NOW + timedelta(days=1):
        listed = [attempt for attempt in attempts if attempt.delivered_at >= moment - LOOK_BACK]
        attempts += [
            replace(last, id=len(attempts) + 1, delivered_at=moment, again=True, succeeded=len(attempts) >= fails)
            for last in due(listed, moment)
        ]
        moment += every
    assert len(attempts) - 1 == min(max(1, fails), len(PAUSES))


def delivered_by(hook: str | None) -> TaskState:
    """Return the task of a job that a webhook delivered."""
    event = workflow_job_event(json.dumps(queued_job()).encode())
    event = WorkflowJobEvent.model_validate({**event.model_dump(), "webhook": hook})
    return TaskState(
        "runner-1-1", "pool", "waiting", NOW, notes=TaskNotes(origin=Origin(event=event, profile="ubuntu"))
    )


type Lines = list[tuple[str, dict[str, Any]]]


class TestRedelivery:
    """The use case."""

    def test_hooks_in_view(self) -> None:
        """The App's webhook and each one that a recent task names are listed once, back to the same moment."""
        deliveries = FakeDeliveries({})
        tasks = [delivered_by(ORG_HOOK), delivered_by(None), delivered_by(REPO_HOOK), delivered_by(ORG_HOOK)]
        tasks.append(replace(tasks[0], notes=TaskNotes()))
        Redelivery(deliveries, app=True).run(tasks, NOW, Progress())
        assert deliveries.asked == [(hook, NOW - LOOK_BACK) for hook in (APP_HOOK, ORG_HOOK, REPO_HOOK)]

    def test_no_app(self) -> None:
        """Without an App its webhook is not listed."""
        deliveries = FakeDeliveries({})
        Redelivery(deliveries, app=False).run([delivered_by(ORG_HOOK)], NOW, Progress())
        assert [hook for hook, _ in deliveries.asked] == [ORG_HOOK]

    def test_sent_again(self, log_lines: Lines) -> None:
        """What is due is sent again, and one line says which delivery, of which webhook, and why."""
        deliveries = FakeDeliveries({ORG_HOOK: [attempt(guid="g-2", succeeded=True), attempt()]})
        Redelivery(deliveries, app=False).run([delivered_by(ORG_HOOK)], NOW, Progress())
        assert deliveries.sent == [(ORG_HOOK, "g-1")]
        line = {"pass": "redelivery", "result": "redelivered", "hook": ORG_HOOK, "delivery": "g-1"}
        assert log_lines == [("WARNING", {**line, "reason": "it failed at 2026-11-25T11:00:00Z"})]

    @pytest.mark.parametrize(
        ("error", "level"), [(GitHubRefused("may the credentials?", 404), "INFO"), (TransientError("busy"), "WARNING")]
    )
    def test_one_hook_fails(self, log_lines: Lines, error: UpstreamError, level: str) -> None:
        """A webhook that cannot be listed is reported, and does not hold up the others."""
        deliveries = FakeDeliveries({APP_HOOK: error, ORG_HOOK: [attempt()]})
        Redelivery(deliveries, app=True).run([delivered_by(ORG_HOOK)], NOW, Progress())
        assert deliveries.sent == [(ORG_HOOK, "g-1")]
        first, _ = log_lines
        assert first == (
            level,
            {"pass": "redelivery", "result": "skipped", "hook": APP_HOOK, "reason": str(error)},
        )

    def test_a_hook_that_is_gone(self, log_lines: Lines) -> None:
        """A webhook that GitHub does not know is said once, and asked for again after an hour."""
        deliveries = FakeDeliveries({ORG_HOOK: GitHubRefused("not found", 404), REPO_HOOK: GitHubRefused("no", 403)})
        redelivery, tasks = Redelivery(deliveries, app=False), [delivered_by(ORG_HOOK), delivered_by(REPO_HOOK)]
        for ago in (GONE_FOR, MINUTE, timedelta()):
            redelivery.run(tasks, NOW - ago, Progress())
        hooks = [hook for hook, _ in deliveries.asked]
        assert (hooks.count(ORG_HOOK), hooks.count(REPO_HOOK)) == (2, 3)
        assert len(log_lines) == 5

    def test_one_delivery_refused(self, log_lines: Lines) -> None:
        """A delivery that GitHub does not send again is reported, and does not hold up newer ones."""
        deliveries = FakeDeliveries({ORG_HOOK: [attempt(HOUR, "g-2"), attempt(2 * HOUR, "g-1")]})
        deliveries.errors["g-1"] = GitHubRefused("GitHub refused it: 422", 422)
        Redelivery(deliveries, app=False).run([delivered_by(ORG_HOOK)], NOW, Progress())
        assert deliveries.sent == [(ORG_HOOK, "g-2")]
        level, line = log_lines[0]
        assert (level, line["result"], line["delivery"]) == ("WARNING", "failed", "g-1")
        assert line["reason"] == "GitHub refused it: 422"
        assert line["why"] == "it failed at 2026-11-25T10:00:00Z"

    def test_only_what_is_new(self) -> None:
        """A pass reads what came since the last one, and knows the failed attempts of before."""
        progress, redelivery = Progress(), Redelivery(deliveries := FakeDeliveries({}), app=False)
        tasks = [delivered_by(ORG_HOOK)]
        first = attempt(timedelta(seconds=30), id=1)
        deliveries.hooks = {ORG_HOOK: [first, attempt(HOUR, guid="g-2", id=2, succeeded=True)]}
        redelivery.run(tasks, NOW, progress)
        assert deliveries.sent == []
        assert progress.hooks[ORG_HOOK].failed == [first]
        deliveries.hooks = {}
        redelivery.run(tasks, NOW + 5 * MINUTE, progress)
        assert deliveries.sent == [(ORG_HOOK, "g-1")]
        newest = NOW - timedelta(seconds=30)
        assert deliveries.asked == [(ORG_HOOK, NOW - LOOK_BACK), (ORG_HOOK, newest - READ_AGAIN)]
        again = replace(first, id=3, delivered_at=NOW + 5 * MINUTE, again=True, succeeded=True)
        deliveries.hooks = {ORG_HOOK: [again]}
        redelivery.run(tasks, NOW + 10 * MINUTE, progress)
        assert progress.hooks[ORG_HOOK].failed == []
        assert len(deliveries.sent) == 1

    def test_a_clock_that_is_late(self) -> None:
        """GitHub's clock may be behind ours: what it lists next is newer than what it listed last, and is read."""
        progress, redelivery = Progress(), Redelivery(deliveries := FakeDeliveries({}), app=False)
        failed = attempt(HOUR, id=1)
        deliveries.hooks = {ORG_HOOK: [failed]}
        redelivery.run([delivered_by(ORG_HOOK)], NOW, progress)
        deliveries.hooks = {ORG_HOOK: [replace(failed, id=2, delivered_at=NOW - HOUR + MINUTE, succeeded=True), failed]}
        redelivery.run([delivered_by(ORG_HOOK)], NOW + 11 * MINUTE, progress)
        assert len(deliveries.sent) == 1

    def test_many_repositories(self) -> None:
        """A pass asks for some of the repositories' webhooks, by turns, and for the App's and organizations' always."""
        hooks = [f"/repos/acme/app-{number}/hooks/1" for number in range(2 * REPOSITORY_HOOKS_PER_PASS + 1)]
        tasks = [delivered_by(hook) for hook in [*hooks, ORG_HOOK]]
        deliveries = FakeDeliveries(dict.fromkeys(hooks[::3], GitHubRefused("may the credentials?", 403)))
        progress = Progress()
        turns: list[set[str]] = []
        for number in range(3):
            deliveries.asked.clear()
            # Each pass is another process: what the turns are stands in what is kept.
            Redelivery(deliveries, app=True).run(tasks, NOW + number * 5 * MINUTE, progress)
            turns.append({hook for hook, _ in deliveries.asked})
        assert [len(turn) for turn in turns] == [REPOSITORY_HOOKS_PER_PASS + 2] * 3
        assert all({APP_HOOK, ORG_HOOK} <= turn for turn in turns)
        assert set().union(*turns) == {*hooks, APP_HOOK, ORG_HOOK}

    def test_a_first_look_that_failed(self) -> None:
        """After a first look that failed, the next one is a first look again: it also lists what failed long ago."""
        progress, deliveries = Progress(), FakeDeliveries({REPO_HOOK: TransientError("busy")})
        tasks, redelivery = [delivered_by(REPO_HOOK)], Redelivery(deliveries, app=False)
        redelivery.run(tasks, NOW, progress)
        deliveries.hooks = {REPO_HOOK: [attempt()]}
        redelivery.run(tasks, NOW + MINUTE, progress)
        assert deliveries.asked == [(REPO_HOOK, NOW - LOOK_BACK), (REPO_HOOK, NOW + MINUTE - LOOK_BACK)]
        assert deliveries.sent == [(REPO_HOOK, "g-1")]

    @pytest.mark.parametrize(("later", "kept"), [(LOOK_BACK - MINUTE, True), (LOOK_BACK, False)])
    def test_a_hook_that_no_task_names(self, later: timedelta, *, kept: bool) -> None:
        """What is known of a webhook is forgotten when no task names it and its deliveries are too old."""
        progress, redelivery = Progress(), Redelivery(FakeDeliveries({ORG_HOOK: [attempt()]}), app=True)
        redelivery.run([delivered_by(ORG_HOOK)], NOW, progress)
        redelivery.run([], NOW + later, progress)
        assert (ORG_HOOK in progress.hooks) is kept
        assert APP_HOOK in progress.hooks

    def test_what_is_too_old(self) -> None:
        """A failed attempt is forgotten when deliveries of its time are no longer looked for."""
        progress, redelivery = Progress(), Redelivery(FakeDeliveries({ORG_HOOK: [attempt()]}), app=False)
        redelivery.run([delivered_by(ORG_HOOK)], NOW, progress)
        redelivery.run([delivered_by(ORG_HOOK)], NOW + LOOK_BACK, progress)
        assert progress.hooks[ORG_HOOK].failed == []

    def test_bounded(self) -> None:
        """However many webhooks have failed deliveries, one pass sends no more than its limit."""
        some = [attempt(guid=f"g-{number}") for number in range(REDELIVERIES_PER_PASS - 10)]
        deliveries = FakeDeliveries({APP_HOOK: some, ORG_HOOK: some, REPO_HOOK: some})
        Redelivery(deliveries, app=True).run([delivered_by(ORG_HOOK), delivered_by(REPO_HOOK)], NOW, Progress())
        assert [hook for hook, _ in deliveries.sent] == [APP_HOOK] * (REDELIVERIES_PER_PASS - 10) + [ORG_HOOK] * 10

    def test_busy(self, log_lines: Lines) -> None:
        """When GitHub takes no more calls, the webhook's other deliveries are left for the next pass."""
        deliveries = FakeDeliveries({ORG_HOOK: [attempt(HOUR, "g-2"), attempt(2 * HOUR, "g-1")]})
        deliveries.errors["g-1"] = TransientError("no more calls in this minute")
        Redelivery(deliveries, app=False).run([delivered_by(ORG_HOOK)], NOW, Progress())
        assert deliveries.sent == []
        assert [(level, line["result"]) for level, line in log_lines] == [("WARNING", "skipped")]
