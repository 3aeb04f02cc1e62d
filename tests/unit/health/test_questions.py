"""Questions side by side: what an error means, and that nobody waits for one that hangs."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from orchestrator.errors import CredentialRejected, SettingsError, TransientError, UpstreamError, UpstreamRefused
from orchestrator.health.finding import Finding, State, ok
from orchestrator.health.questions import Question, Questions
from tests.fakes import ManualClock


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Return threads for two questions."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


def raising(error: Exception) -> list[Finding]:
    """Be a question that is answered so."""
    raise error


@pytest.mark.parametrize(
    ("error", "needed", "state", "answered"),
    [
        (UpstreamRefused("no"), True, State.FAIL, True),
        (UpstreamRefused("no"), False, State.NOT_ASKED, True),
        (TransientError("silence"), True, State.NOT_ASKED, False),
        (CredentialRejected("401"), False, State.FAIL, True),
        (SettingsError.of("GithubAppPrivateKey", "is no key"), True, State.FAIL, True),
    ],
)
def test_errors(threads: ThreadPoolExecutor, error: UpstreamError, needed: bool, state: State, answered: bool) -> None:
    """A refusal fails what is needed, and a credential that is not believed always fails; silence says nothing."""
    questions = [
        Question("first", lambda: raising(error), "mend it", needed=needed),
        Question("second", lambda: [ok("second", "fine")]),
    ]
    first, second = Questions(ManualClock(), threads).ask(questions, timedelta(seconds=60))
    assert (first.item, first.state, first.says, first.answered) == ("first", state, str(error), answered)
    assert second == ok("second", "fine")
    assert (first.cure == "mend it") == answered


def test_a_question_that_hangs(threads: ThreadPoolExecutor) -> None:
    """What was not answered in time is told as such; the others are told all the same."""
    answer = threading.Event()

    def hanging() -> list[Finding]:
        answer.wait()
        return []

    questions = [Question("hangs", hanging), Question("works", lambda: [ok("works", "fine")])]
    try:
        hangs = Questions(ManualClock(), threads).ask(questions[:1], timedelta(0))
        works = Questions(ManualClock(), threads).ask(questions[1:], timedelta(seconds=60))
    finally:
        answer.set()
    assert [(line.says, line.answered) for line in hangs] == [("no answer came in time", False)]
    assert works == [ok("works", "fine")]
