"""No repository takes more than half of a minute's registrations while others wait."""

from datetime import timedelta

import pytest

from orchestrator.errors import TransientError
from orchestrator.jobs.event import Installation
from orchestrator.quotas.registration_share import RegistrationShare
from tests.fakes import ManualClock
from tests.unit.quotas.builders import job_event


class Share:
    """A share of ten registrations a minute, under a clock that a test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.share = RegistrationShare(10, self.clock)

    def take(self, full_name: str, installation: int | None = None) -> float | None:
        """Take one; return how long the repository must wait, None if it need not."""
        about = Installation(id=installation) if installation is not None else None
        event = job_event(1, full_name).model_copy(update={"installation": about})
        try:
            self.share.take(event)
        except TransientError as error:
            return error.retry_after
        return None

    def take_many(self, full_name: str, count: int) -> int:
        """Ask for many; return how many were had."""
        return sum(self.take(full_name) is None for _ in range(count))


@pytest.fixture
def share() -> Share:
    """Return a share of which nothing is taken."""
    return Share()


def test_alone(share: Share) -> None:
    """While nobody else asks, a repository may take all."""
    assert share.take_many("acme/greedy", 30) == 30


def test_half(share: Share) -> None:
    """From the moment when another repository asks, nobody has more than half of a minute's registrations."""
    assert share.take("acme/modest") is None
    assert share.take_many("acme/greedy", 30) == 5
    assert share.take_many("Acme/Greedy", 1) == 0
    assert share.take_many("acme/modest", 30) == 4


def test_how_long(share: Share) -> None:
    """The error says when the repository's next registration is due."""
    share.take("acme/modest")
    for _ in range(5):
        share.take("acme/greedy")
        share.clock.advance(timedelta(seconds=2))
    assert share.take("acme/greedy") == 50
    share.clock.advance(timedelta(seconds=49))
    assert share.take("acme/greedy") == 1
    share.clock.advance(timedelta(seconds=1))
    assert share.take("acme/greedy") is None
    assert share.take("acme/greedy") == 2


def test_who_took_more_before(share: Share) -> None:
    """A repository that took more while it was alone waits until it is below its half."""
    assert share.take_many("acme/greedy", 8) == 8
    share.clock.advance(timedelta(seconds=30))
    assert share.take("acme/modest") is None
    assert share.take("acme/greedy") == 30


def test_who_asks_no_more(share: Share) -> None:
    """A repository that came back for its registration, or asks no more, holds nobody up after a minute and a half."""
    share.take("acme/modest")
    share.clock.advance(timedelta(seconds=89))
    assert share.take_many("acme/greedy", 9) == 5
    share.clock.advance(timedelta(seconds=1))
    assert share.take_many("acme/greedy", 9) == 9


def test_each_installation_for_itself(share: Share) -> None:
    """GitHub counts by installation, so the repositories of another one are nobody's rivals."""
    assert share.take("other/app", 7) is None
    assert share.take_many("acme/greedy", 30) == 30
