"""Asks the orchestrator's function for the runner's registration, where a task carries a claim and no credential.

The claim is worth one JIT configuration, for the container that shows it first. README.md in the folder above has the
answers as a table.
"""

import json
import os
import random
import re
import ssl
import threading
import time
import urllib.request
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from contract import (
    BAD_SETTINGS,
    CLAIM_USED,
    NO_JOB,
    NOT_REGISTERED,
    SIGNALLED,
    Ended,
    Settings,
    jit_files,
    say,
)
from lifecycle import TICK, StopRequest

# Seconds for a request as a whole, from the look-up of the host's name to the last byte of the answer.
REQUEST_LIMIT = 60.0
# Bytes of an answer that are read; a JIT configuration has a few thousand.
ANSWER_LIMIT = 1 << 18
# Seconds. Each pause is random between 0 and a limit that begins with the first, doubles, and ends with the second.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
# Seconds that the function may put off a container for.
LONGEST_RETRY_AFTER = 120.0

_OK = 200
# These answers are final: the exit code of each, and what it means.
_FINAL = {
    400: (BAD_SETTINGS, "the function does not understand this image's request"),
    401: (BAD_SETTINGS, "the function refuses the claim"),
    403: (BAD_SETTINGS, "the function refuses to answer this container"),
    409: (CLAIM_USED, "the claim was used before, and not by this container"),
    410: (NO_JOB, "no job needs this runner any more"),
    413: (BAD_SETTINGS, "the claim is too long for the function"),
}
# No claim and no nonce is such a word.
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class Answer(NamedTuple):
    """What came of one request.

    Attributes:
        status: of HTTP, 0 without an answer.
        content: the answer's JSON, empty if it is no object.
        retry_after: seconds until the function wants to be asked again, None if it does not say.
        trouble: why there is no answer.
    """

    status: int
    content: Mapping[str, Any] = {}
    retry_after: Optional[float] = None
    trouble: str = ""

    @property
    def code(self) -> str:
        """The function's own word for its refusal, empty without one."""
        code = self.content.get("code")
        return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def redeem(claim: str, settings: Settings, stop: StopRequest) -> Dict[str, str]:
    """Return the variables that the function gives for a claim; ask until it does, or says that it never will.

    Every request of a container has the same nonce, which tells the function that an answer was lost on its way.

    Raises:
        Ended: 69, 77 or 78, the function has refused; 75, the time is over; 128 and more, a signal came.
    """
    say("asking for a registration")
    body = json.dumps({"claim": claim, "nonce": os.urandom(32).hex()}).encode()
    deadline = time.monotonic() + settings.claim_wait_s
    attempt = 0
    while True:
        answer = _ask(settings.claim_url, body, min(REQUEST_LIMIT, deadline - time.monotonic()), stop)
        found = environment_in(answer)
        if found is not None:
            return found
        refusal = describe(answer)
        # Without the function's word the answer is somebody else's: a proxy's, or the platform's while it starts.
        if answer.status in _FINAL and answer.code:
            raise Ended(_FINAL[answer.status][0], refusal)
        seconds = pause(attempt, answer.retry_after, random.random())  # noqa: S311 - no secret
        if time.monotonic() + seconds >= deadline:
            raise Ended(NOT_REGISTERED, f"no registration within GHR_CLAIM_WAIT: {refusal}")
        say(f"{refusal}; asking again in {seconds:.1f} seconds")
        _sleep(seconds, stop)
        attempt += 1


def pause(attempt: int, retry_after: Optional[float], chance: float) -> float:
    """Return the seconds until the next request, so that containers that were put off together come back one by one.

    Args:
        attempt: 0 after the first request.
        retry_after: what the function asks for, which is kept, with up to half as much more.
        chance: a random number from 0 to 1.
    """
    if retry_after:
        return min(retry_after, LONGEST_RETRY_AFTER) * (1 + chance / 2)
    return float(min(FIRST_PAUSE * 2 ** min(attempt, 16), LONGEST_PAUSE) * chance)


def environment_in(answer: Answer) -> Optional[Dict[str, str]]:
    """Return the variables in an answer, None if it has no registration that can be used."""
    found = answer.content.get("environment")
    if answer.status != _OK or not isinstance(found, dict):
        return None
    if not all(name.startswith("GHR_") and isinstance(value, str) for name, value in found.items()):
        return None
    try:
        jit_files(found.get("GHR_JITCONFIG", ""))
    except Ended:
        return None
    return found


def describe(answer: Answer) -> str:
    """Return what an answer without a registration means, in words that hold nothing of the claim."""
    if answer.trouble:
        return answer.trouble
    if not answer.code:
        return f"an answer {answer.status} that is not the function's"
    if answer.status in _FINAL:
        return f"{_FINAL[answer.status][1]} ({answer.code})"
    return f"the function answers {answer.status} ({answer.code})"


def _ask(url: str, body: bytes, limit: float, stop: StopRequest) -> Answer:
    """Send a request, in a thread: time-outs of sockets begin anew with every byte, and so would never come.

    A thread that is left behind ends with its connection. Nothing that it knows is in sight of a job.
    """
    answers: List[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(_request(url, body)), daemon=True)
    thread.start()
    deadline = time.monotonic() + limit
    while not answers:
        _heed(stop)
        if time.monotonic() > deadline:
            return Answer(0, trouble="no answer in time")
        thread.join(TICK)
    return answers[0]


def _request(url: str, body: bytes) -> Answer:
    """Send a request by the proxy that the environment names. Only what is added here happens: no redirect is followed.

    Certificates are checked, by the system's authorities or those in SSL_CERT_FILE.
    """
    try:
        opener = urllib.request.OpenerDirector()
        if url.startswith("http:"):  # to this machine, so by no proxy
            opener.add_handler(urllib.request.HTTPHandler())
        else:
            opener.add_handler(urllib.request.ProxyHandler())
            opener.add_handler(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
        request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310
        with opener.open(request, timeout=REQUEST_LIMIT) as response:
            return _read(response.status, response.headers.get("Retry-After", ""), response.read(ANSWER_LIMIT))
    except OSError as error:
        return Answer(0, trouble="no answer: " + _UNPRINTABLE.sub("?", str(getattr(error, "reason", error)))[:200])
    except Exception as error:  # noqa: BLE001 - its text could hold what was sent
        return Answer(0, trouble="no answer: " + type(error).__name__)


def _read(status: int, retry_after: str, body: bytes) -> Answer:
    try:
        content = json.loads(body.decode())
    except (ValueError, RecursionError):
        content = None
    return Answer(
        status,
        content if isinstance(content, dict) else {},
        float(retry_after) if _SECONDS.fullmatch(retry_after) else None,
    )


def _sleep(seconds: float, stop: StopRequest) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        _heed(stop)
        time.sleep(TICK)


def _heed(stop: StopRequest) -> None:
    if stop.number:
        raise Ended(SIGNALLED + stop.number, "stopped while asking for a registration")
