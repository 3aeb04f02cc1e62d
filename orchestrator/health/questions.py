"""Questions asked side by side, none for longer than somebody waits; what an error means for the line it concerns."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from typing import NamedTuple

from orchestrator.clock import Clock
from orchestrator.errors import CredentialRejected, SettingsError, TransientError, UpstreamError
from orchestrator.health.finding import Finding, fail, not_asked

# What may be tried where nobody answers.
ASK_FROM_INSIDE = "is the service up? From outside a private network ask the function: check --url"


class Question(NamedTuple):
    """One question.

    Attributes:
        item: what its line is about.
        ask: asks it, and returns what the answer means.
        cure: what to do about a refusal.
        needed: whether runners start only if it is not refused; else it may be left unasked.
    """

    item: str
    ask: Callable[[], Iterable[Finding]]
    cure: str = ""
    needed: bool = True


class Questions:
    """Asks questions. Safe under threads.

    Args:
        clock: the time.
        threads: each makes one call at a time.
    """

    def __init__(self, clock: Clock, threads: Executor) -> None:
        self._clock = clock
        self._threads = threads

    def ask(self, questions: Sequence[Question], patience: timedelta) -> list[Finding]:
        """Return the lines of all questions, in their order.

        Args:
            questions: what is asked.
            patience: after this, what was not answered is told as such. A call that hangs goes on alone.
        """
        end = self._clock() + patience
        futures = [self._threads.submit(_answered, question) for question in questions]
        pairs = zip(questions, futures, strict=True)
        return [line for question, future in pairs for line in self._lines(question, future, end)]

    def _lines(self, question: Question, future: "Future[list[Finding]]", end: datetime) -> Sequence[Finding]:
        try:
            return future.result(max(0.0, (end - self._clock()).total_seconds()))
        except TimeoutError:
            future.cancel()
            return [not_asked(question.item, "no answer came in time", ASK_FROM_INSIDE, answered=False)]


def _answered(question: Question) -> list[Finding]:
    try:
        return list(question.ask())
    except (SettingsError, CredentialRejected) as error:
        return [fail(question.item, str(error), question.cure)]
    except TransientError as error:
        return [not_asked(question.item, str(error), ASK_FROM_INSIDE, answered=False)]
    except UpstreamError as error:
        line = fail if question.needed else not_asked
        return [line(question.item, str(error), question.cure)]
