"""Which failed deliveries are sent again, when, and how often."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import GitHubRefused, TransientError, UpstreamError
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.reconcile.hook_delivery import APP_HOOK, HookDelivery
from orchestrator.reconcile.redelivery import ACTIONS, LOOK_BACK, MOST, PAUSES, Redelivery, due
from orchestrator.runners.task import Origin, TaskState
from tests.builders import queued_job

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ORG_HOOK = "/orgs/acme/hooks/7"
REPO_HOOK = "/repos/acme/app/hooks/8"


def attempt(ago: timedelta = HOUR, guid: str = "g-1", **changes: Any) -> HookDelivery:
    """Return the first attempt of an event, which failed, with properties changed."""
    first = HookDelivery(1, guid, NOW - ago, "workflow_job", "queued", succeeded=False)
    return replace(first, **changes)


def tries(*ago: timedelta) -> list[HookDelivery]:
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
    before = [pause + (one + 1) * MINUTE for one in range(number)]
    early = due(tries(*before, pause - timedelta(microseconds=1)), NOW)
    (late,) = due(tries(*before, pause), NOW)
    assert early == []
    assert late.delivered_at == NOW - pause


def test_enough() -> None:
    """After the last redelivery nothing is tried any more."""
    assert due(tries(5 * HOUR, 4 * HOUR, 3 * HOUR, 2 * HOUR), NOW) == []


@pytest.mark.parametrize("position", range(3))
def test_success_ends_it(position: int) -> None:
    """An event of which any attempt succeeded is not sent again, whatever came before or after."""
    attempts = tries(5 * HOUR, 4 * HOUR, 3 * HOUR)
    attempts[position] = replace(attempts[position], succeeded=True)
    assert due(attempts, NOW) == []


def test_first_attempt_out_of_sight() -> None:
    """Where the list no longer reaches back to the first attempt, the others cannot be counted, and it ends."""
    assert due(tries(5 * HOUR, 4 * HOUR)[:-1], NOW) == []


def test_refused_ones_last() -> None:
    """What the receiver refused is sent again after the rest, so that a burst of it holds up nothing."""
    refused = [attempt(3 * HOUR, f"refused-{number}", refused=True) for number in range(MOST)]
    lost = [attempt(2 * HOUR, "lost-1"), attempt(1 * HOUR, "lost-2")]
    found = due([*lost, *refused], NOW)
    assert found[:2] == lost
    assert len(found) == MOST


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
    """Bounded, each event once, by its last attempt, in order; nothing that succeeded or was tried enough."""
    found = due(attempts, NOW)
    assert len(found) <= MOST
    assert len({one.guid for one in found}) == len(found)
    order = [(one.refused, one.delivered_at, one.id) for one in found]
    assert order == sorted(order)
    for one in found:
        same = [other for other in attempts if (other.guid, other.event) == (one.guid, "workflow_job")]
        same = [other for other in same if other.action in ACTIONS]
        assert one in same
        assert one.delivered_at == max(other.delivered_at for other in same)
        assert not any(other.succeeded for other in same)
        assert len(same) <= len(PAUSES)
        assert NOW - one.delivered_at >= PAUSES[0]


@given(_ATTEMPTS, st.randoms())
def test_order_does_not_matter(attempts: list[HookDelivery], random: Any) -> None:
    """Which events are sent again does not depend on the order of GitHub's list."""
    shuffled = list(attempts)
    random.shuffle(shuffled)
    few = len({one.guid for one in attempts}) <= MOST
    assert not few or {one.guid for one in due(attempts, NOW)} == {one.guid for one in due(shuffled, NOW)}


@given(
    st.timedeltas(MINUTE, 20 * MINUTE),
    st.integers(0, len(PAUSES) + 2),
    st.timedeltas(timedelta(0), 20 * MINUTE),
)
def test_pass_after_pass(every: timedelta, fails: int, begin: timedelta) -> None:
    """Over a day of passes an event is sent again until it succeeds, three times at most, and then never more."""
    attempts = [attempt(timedelta(0))]
    moment = NOW + begin
    while moment < NOW + timedelta(days=1):
        seen = [one for one in attempts if one.delivered_at >= moment - LOOK_BACK]
        attempts += [
            replace(one, id=len(attempts) + 1, delivered_at=moment, again=True, succeeded=len(attempts) >= fails)
            for one in due(seen, moment)
        ]
        moment += every
    assert len(attempts) - 1 == min(max(1, fails), len(PAUSES))


class FakeDeliveries:
    """The deliveries of some hooks; a hook or a delivery with an error raises it."""

    def __init__(self, hooks: Mapping[str, Sequence[HookDelivery] | UpstreamError]) -> None:
        self.hooks = hooks
        self.troubles: dict[str, UpstreamError] = {}
        self.asked: list[tuple[str, datetime]] = []
        self.sent: list[tuple[str, str]] = []

    def since(self, hook: str, moment: datetime) -> Iterator[HookDelivery]:
        """List them."""
        self.asked.append((hook, moment))
        found = self.hooks.get(hook, ())
        if isinstance(found, UpstreamError):
            raise found
        yield from found

    def redeliver(self, hook: str, delivery: HookDelivery) -> None:
        """Send one again."""
        if delivery.guid in self.troubles:
            raise self.troubles[delivery.guid]
        self.sent.append((hook, delivery.guid))


def told_by(hook: str | None) -> TaskState:
    """Return the task of a job that a hook told of."""
    event = workflow_job_event(json.dumps(queued_job()).encode())
    event = WorkflowJobEvent.model_validate({**event.model_dump(), "webhook": hook})
    return TaskState("runner-1-1", "pool", "waiting", NOW, origin=Origin(event=event, profile="ubuntu"))


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    """Return the level and the fields of each line."""
    return [(record.levelname, json.loads(record.getMessage())) for record in caplog.records]


@pytest.fixture(autouse=True)
def _log_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


class TestRedelivery:
    """The use case."""

    def test_hooks_in_view(self) -> None:
        """The App's hook and each hook that recent tasks name are looked after once, back to the same moment."""
        deliveries = FakeDeliveries({})
        tasks = [told_by(ORG_HOOK), told_by(None), told_by(REPO_HOOK), told_by(ORG_HOOK)]
        tasks.append(replace(tasks[0], origin=None))
        Redelivery(deliveries, app=True).run(tasks, NOW)
        assert deliveries.asked == [(hook, NOW - LOOK_BACK) for hook in (APP_HOOK, ORG_HOOK, REPO_HOOK)]

    def test_no_app(self) -> None:
        """Without an App nobody asks for its hook."""
        deliveries = FakeDeliveries({})
        Redelivery(deliveries, app=False).run([told_by(ORG_HOOK)], NOW)
        assert [hook for hook, _ in deliveries.asked] == [ORG_HOOK]

    def test_sent_again(self, caplog: pytest.LogCaptureFixture) -> None:
        """What is due is sent again, and one line says which, of which hook, and why."""
        deliveries = FakeDeliveries({ORG_HOOK: [attempt(guid="g-2", succeeded=True), attempt()]})
        Redelivery(deliveries, app=False).run([told_by(ORG_HOOK)], NOW)
        assert deliveries.sent == [(ORG_HOOK, "g-1")]
        line = {"pass": "redelivery", "result": "redelivered", "hook": ORG_HOOK, "delivery": "g-1"}
        assert logged(caplog) == [("WARNING", {**line, "reason": "it failed at 2026-11-25T11:00:00Z"})]

    @pytest.mark.parametrize(
        ("error", "level"), [(GitHubRefused("may the credentials?", 404), "INFO"), (TransientError("busy"), "WARNING")]
    )
    def test_one_hook_fails(self, caplog: pytest.LogCaptureFixture, error: UpstreamError, level: str) -> None:
        """A hook that cannot be asked about is reported and keeps none of the others waiting."""
        deliveries = FakeDeliveries({APP_HOOK: error, ORG_HOOK: [attempt()]})
        Redelivery(deliveries, app=True).run([told_by(ORG_HOOK)], NOW)
        assert deliveries.sent == [(ORG_HOOK, "g-1")]
        first, _ = logged(caplog)
        assert first == (
            level,
            {"pass": "redelivery", "result": "skipped", "hook": APP_HOOK, "reason": str(error)},
        )

    def test_one_delivery_refused(self, caplog: pytest.LogCaptureFixture) -> None:
        """A delivery that GitHub does not send again is reported and holds up none that are newer."""
        deliveries = FakeDeliveries({ORG_HOOK: [attempt(HOUR, "g-2"), attempt(2 * HOUR, "g-1")]})
        deliveries.troubles["g-1"] = GitHubRefused("GitHub refused it: 422", 422)
        Redelivery(deliveries, app=False).run([told_by(ORG_HOOK)], NOW)
        assert deliveries.sent == [(ORG_HOOK, "g-2")]
        level, line = logged(caplog)[0]
        assert (level, line["result"], line["delivery"]) == ("WARNING", "failed", "g-1")
        assert line["reason"] == "GitHub refused it: 422"
        assert line["why"] == "it failed at 2026-11-25T10:00:00Z"

    def test_bounded(self) -> None:
        """However many hooks have failed deliveries, one pass sends no more than its bound."""
        some = [attempt(guid=f"g-{number}") for number in range(MOST - 10)]
        deliveries = FakeDeliveries({APP_HOOK: some, ORG_HOOK: some, REPO_HOOK: some})
        Redelivery(deliveries, app=True).run([told_by(ORG_HOOK), told_by(REPO_HOOK)], NOW)
        assert [hook for hook, _ in deliveries.sent] == [APP_HOOK] * (MOST - 10) + [ORG_HOOK] * 10

    def test_busy(self, caplog: pytest.LogCaptureFixture) -> None:
        """When GitHub takes no more calls, the hook's other deliveries are left for the next pass."""
        deliveries = FakeDeliveries({ORG_HOOK: [attempt(HOUR, "g-2"), attempt(2 * HOUR, "g-1")]})
        deliveries.troubles["g-1"] = TransientError("no more calls in this minute")
        Redelivery(deliveries, app=False).run([told_by(ORG_HOOK)], NOW)
        assert deliveries.sent == []
        assert [(level, line["result"]) for level, line in logged(caplog)] == [("WARNING", "skipped")]
