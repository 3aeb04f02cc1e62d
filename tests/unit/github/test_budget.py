"""How many calls GitHub takes, and who goes first."""

import heapq
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import TransientError
from orchestrator.github.budget import (
    LONGEST_WAIT,
    POINTS_PER_MINUTE,
    POINTS_PERIOD,
    REMEMBERED_CREDENTIALS,
    Budget,
    points,
)

NOW = 1_790_000_000.0
WHO = "Bearer ghp_secret"
BACKGROUND_POINTS = POINTS_PER_MINUTE // 2


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime.fromtimestamp(NOW, UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> Budget:
    """Return the budget of a process that has just begun."""
    return Budget(clock)


def limits(remaining: int, *, limit: int = 5000, reset: float = NOW + 600, **changes: str) -> dict[str, str]:
    """Return the headers of an answer."""
    values = {"limit": limit, "remaining": remaining, "reset": int(reset)}
    return {f"x-ratelimit-{name}": str(value) for name, value in {**values, **changes}.items()}


def wait_of(budget: Budget, who: str = WHO, method: str = "GET", *, background: bool = True) -> float | None:
    """Make a call; return how long it must wait, None if it may be made."""
    try:
        budget.spend(who, method, background=background)
    except TransientError as error:
        return error.retry_after
    return None


@pytest.mark.parametrize(
    ("method", "cost"), [("GET", 1), ("HEAD", 1), ("OPTIONS", 1), ("POST", 5), ("PATCH", 5), ("PUT", 5), ("DELETE", 5)]
)
def test_points(method: str, cost: int) -> None:
    """A call that changes something costs five points, another one."""
    assert points(method) == cost


class TestReserve:
    """The primary limit: the last quarter is for the calls that a job waits for."""

    @pytest.mark.parametrize(("remaining", "wait"), [(1251, None), (1250, 600), (1, 600), (0, 600)])
    def test_background(self, budget: Budget, remaining: int, wait: float | None) -> None:
        """A background call stops at the reserve until GitHub's reset; a call that a job waits for does not."""
        budget.learn(WHO, limits(remaining), None)
        assert wait_of(budget) == wait
        assert wait_of(budget, background=False) is None

    def test_ends_with_the_hour(self, budget: Budget, clock: Clock) -> None:
        """From the moment of the reset on, what was known of the last hour holds nobody up."""
        budget.learn(WHO, limits(0), None)
        clock.advance(599)
        assert wait_of(budget) == 1
        clock.advance(1)
        assert wait_of(budget) is None

    def test_latest_answer_counts(self, budget: Budget) -> None:
        """GitHub's last word counts, also when it is better news."""
        budget.learn(WHO, limits(0), None)
        budget.learn(WHO, limits(4000), None)
        assert wait_of(budget) is None

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            limits(0, limit=0, resource="core") | {"x-ratelimit-limit": "many"},
            limits(0) | {"x-ratelimit-remaining": "-1"},
            limits(0) | {"x-ratelimit-reset": ""},
            limits(0) | {"x-ratelimit-reset": "²"},
        ],
    )
    def test_no_limits_told(self, budget: Budget, headers: dict[str, str]) -> None:
        """Without headers, as an enterprise server answers, or with odd ones, nothing is held back."""
        budget.learn(WHO, headers, None)
        assert wait_of(budget) is None

    def test_odd_headers_do_not_forget(self, budget: Budget) -> None:
        """An answer without limits, a proxy's perhaps, does not make the last ones forgotten."""
        budget.learn(WHO, limits(0), None)
        budget.learn(WHO, {}, None)
        assert wait_of(budget) == 600

    def test_another_resource(self, budget: Budget) -> None:
        """The limit of another resource is not mistaken for that of these calls, neither way."""
        budget.learn(WHO, limits(0, resource="actions_runner_registration"), None)
        assert wait_of(budget) is None
        budget.learn(WHO, limits(0, resource="core"), None)
        budget.learn(WHO, limits(9999, resource="actions_runner_registration"), None)
        assert wait_of(budget) == 600

    def test_each_credential(self, budget: Budget) -> None:
        """One credential's limit holds no other up."""
        budget.learn(WHO, limits(0), None)
        assert wait_of(budget, "Bearer other") is None

    def test_requests_left(self, budget: Budget, clock: Clock) -> None:
        """The credential with the fewest is told; none where nothing is known, and none of an hour that is over."""
        assert budget.requests_left() is None
        budget.spend(WHO, "GET", background=False)
        assert budget.requests_left() is None
        budget.learn(WHO, limits(4000), None)
        budget.learn("Bearer other", limits(900, reset=NOW + 60), None)
        assert budget.requests_left() == 900
        clock.advance(61)
        assert budget.requests_left() == 4000


class TestPoints:
    """The points per minute."""

    def test_half_in_the_background(self, budget: Budget) -> None:
        """Background calls get half of a minute's points; those that a job waits for get all that is left."""
        for _ in range(BACKGROUND_POINTS):
            assert wait_of(budget) is None
        assert wait_of(budget) == POINTS_PERIOD
        for _ in range((POINTS_PER_MINUTE - BACKGROUND_POINTS) // 5):
            assert wait_of(budget, method="POST", background=False) is None
        assert wait_of(budget, background=False) == POINTS_PERIOD

    def test_next_minute(self, budget: Budget, clock: Clock) -> None:
        """A minute after its first call there are new points."""
        for _ in range(BACKGROUND_POINTS):
            budget.spend(WHO, "GET", background=True)
        clock.advance(POINTS_PERIOD - 1)
        assert wait_of(budget) == 1
        clock.advance(1)
        assert wait_of(budget) is None

    def test_refused_costs_nothing(self, budget: Budget) -> None:
        """A call that is not made is not counted."""
        for _ in range(BACKGROUND_POINTS - 1):
            budget.spend(WHO, "GET", background=True)
        for _ in range(1000):
            assert wait_of(budget, method="POST") == POINTS_PERIOD
        assert wait_of(budget) is None

    def test_a_burst_takes_turns(self, budget: Budget, clock: Clock) -> None:
        """Calls that found a minute's points spent are told to come when they can be made, and hardly one in vain."""
        start, due = clock.now, [(0.0, number) for number in range(2000)]
        tries = [0] * 2000
        while due:
            seconds, number = heapq.heappop(due)
            clock.now = max(clock.now, start + timedelta(seconds=seconds))
            tries[number] += 1
            wait = wait_of(budget, method="POST", background=False)
            if wait is not None:
                heapq.heappush(due, (seconds + wait, number))
        assert clock.now - start <= timedelta(seconds=(2000 / 180 + 1) * POINTS_PERIOD)
        assert sum(tries) <= 180 + 2 * 1820 + 20

    def test_no_promise_beyond_an_hour(self, budget: Budget) -> None:
        """However many calls wait, none is told to wait for longer than any limit lasts."""
        waits = [wait_of(budget, method="POST", background=False) for _ in range(20_000)]
        assert max(wait for wait in waits if wait) == LONGEST_WAIT

    def test_clock_set_back(self, budget: Budget, clock: Clock) -> None:
        """A clock that is set back by a day holds nobody up for a day."""
        for _ in range(BACKGROUND_POINTS):
            budget.spend(WHO, "GET", background=True)
        clock.advance(-86_400)
        assert wait_of(budget) is None

    @given(st.lists(st.tuples(st.floats(0, 90), st.sampled_from(["GET", "POST"]), st.booleans()), max_size=60))
    def test_never_more(self, calls: list[tuple[float, str, bool]]) -> None:
        """No minute holds more points than its limit, nor do background calls get more than half of them."""
        clock = Clock()
        budget = Budget(clock, points_per_minute=20)
        minute, spent = datetime.fromtimestamp(0, UTC), 0
        for pause, method, background in calls:
            clock.advance(pause)
            if clock.now - minute >= timedelta(seconds=POINTS_PERIOD):
                minute, spent = clock.now, 0
            wait = wait_of(budget, method=method, background=background)
            fits = spent + points(method) <= (10 if background else 20)
            assert (wait is None) == fits
            assert wait is None or 0 < wait <= (POINTS_PERIOD if background else LONGEST_WAIT)
            spent += points(method) if fits else 0


class TestSilence:
    """After a rate limit's answer."""

    def test_all_wait(self, budget: Budget, clock: Clock) -> None:
        """No call is made until the wait is over, whoever waits for it; the error names what is left of the wait."""
        budget.learn(WHO, {}, 60)
        with pytest.raises(TransientError) as caught:
            budget.spend(WHO, "GET", background=False)
        assert "secret" not in str(caught.value)
        clock.advance(20)
        assert (wait_of(budget), wait_of(budget, background=False)) == (40, 40)
        clock.advance(40)
        assert wait_of(budget) is None

    def test_longest_counts(self, budget: Budget) -> None:
        """A shorter wait, which an answer under way may bring, does not shorten a longer one."""
        budget.learn(WHO, {}, 60)
        budget.learn(WHO, {}, 5)
        budget.learn(WHO, {}, None)
        assert wait_of(budget) == 60

    def test_no_longer_than_an_hour(self, budget: Budget) -> None:
        """A wait of years, which no limit of GitHub's asks for, is none of years."""
        budget.learn(WHO, {}, float("9" * 400))
        assert wait_of(budget) == LONGEST_WAIT

    def test_each_credential(self, budget: Budget) -> None:
        """One credential's silence is not the others'."""
        budget.learn(WHO, {}, 60)
        assert wait_of(budget, "") is None


class TestUsage:
    """What was used since somebody asked last."""

    def test_calls_and_points(self, budget: Budget) -> None:
        """Calls and points are counted over all credentials, and from each question to the next."""
        budget.spend(WHO, "GET", background=True)
        budget.spend("Bearer another", "POST", background=False)
        assert budget.usage() == {"calls": 2, "points": 6, "requests_left": None}
        assert budget.usage() == {"calls": 0, "points": 0, "requests_left": None}

    def test_what_is_left(self, budget: Budget, clock: Clock) -> None:
        """The credential with the least left counts, as long as its hour lasts."""
        budget.learn(WHO, limits(4000), None)
        budget.learn("Bearer another", limits(17, reset=NOW + 60), None)
        assert budget.usage()["requests_left"] == 17
        clock.advance(61)
        assert budget.usage()["requests_left"] == 4000


class TestAccounts:
    """What is remembered."""

    def test_bounded(self, budget: Budget) -> None:
        """However many tokens come and go, the limits of no more than the last ones are kept."""
        for number in range(3 * REMEMBERED_CREDENTIALS):
            budget.spend(f"token-{number}", "GET", background=True)
            budget.learn(f"token-{number}", {}, 60)
        assert len(budget._accounts) == REMEMBERED_CREDENTIALS
        assert wait_of(budget, f"token-{3 * REMEMBERED_CREDENTIALS - 1}") == 60

    def test_in_use_stays(self, budget: Budget) -> None:
        """The credential that is used all the time is not the one that is forgotten."""
        budget.learn(WHO, limits(0), None)
        for number in range(3 * REMEMBERED_CREDENTIALS):
            budget.spend(f"token-{number}", "GET", background=True)
            assert wait_of(budget, WHO) == 600

    def test_threads(self, budget: Budget) -> None:
        """Threads that call at the same time get no more points together than one would alone."""
        granted: list[str] = []
        begin = threading.Barrier(8)

        def work() -> None:
            begin.wait()
            granted.extend("x" for _ in range(200) if wait_of(budget, background=False) is None)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(granted) == POINTS_PER_MINUTE
