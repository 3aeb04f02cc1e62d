"""Which workflow job is meant: read from what an operator pastes (pure)."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_JOB_PATH = re.compile(
    r"/([A-Za-z0-9._-]{1,100})/([A-Za-z0-9._-]{1,100})/(?:actions/runs/\d{1,19}(?:/attempts/\d{1,9})?/jobs?|runs|"
    r"actions/jobs)/(\d{1,19})/?"
)
_RUN_PATH = re.compile(r"/[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}/actions/runs/\d+(?:/attempts/\d+)?/?")
_ID = re.compile(r"[1-9]\d{0,18}")
_TASK = re.compile(r"runner-([1-9]\d{0,18})-\d+(?:-r\d+)?")
# GitHub numbers with 64 bits.
_MOST = 2**63


class ReferenceMalformed(ValueError):
    """The text names no workflow job; the message says what is expected."""


@dataclass(frozen=True)
class JobReference:
    """A workflow job.

    Attributes:
        job_id: its id.
        repository: `owner/name`; None where only the id is known.
    """

    job_id: int
    repository: str | None = None

    def __str__(self) -> str:
        return f"job {self.job_id}" + (f" of {self.repository}" if self.repository else "")


def parse_reference(text: str, web_url: str, api_url: str) -> JobReference:
    """Return the job that is named by its address in a browser or in the REST API, its id, or a task's id.

    Args:
        text: what the operator wrote.
        web_url: GitHub's address for people, without a trailing slash.
        api_url: the REST API's address, without a trailing slash.

    Raises:
        ReferenceMalformed: It names no job of this GitHub.
    """
    text = text.strip()
    if found := _ID.fullmatch(text) or _TASK.fullmatch(text):
        return _reference(found[found.lastindex or 0], None)
    try:
        address = urlsplit(text)
    except ValueError:
        address = urlsplit("")
    if address.scheme not in ("http", "https"):
        raise ReferenceMalformed(f"expected the address of a job ({web_url}/OWNER/NAME/actions/runs/RUN/job/JOB)")
    bases = {_base(web_url): "", _base(api_url): f"{urlsplit(api_url).path}/repos"}
    if address.netloc.lower() not in bases:
        raise ReferenceMalformed(f"the job is not at {web_url}, where this deployment's runners register")
    for base in (bases[address.netloc.lower()], ""):
        path = address.path.removeprefix(base)
        if found := _JOB_PATH.fullmatch(path):
            owner, name, job = found.groups()
            if {owner, name} & {".", ".."}:
                break
            return _reference(job, f"{owner}/{name}")
        if _RUN_PATH.fullmatch(path):
            raise ReferenceMalformed("this is a run: open one of its jobs and give that page's address")
    raise ReferenceMalformed(f"this is no job's address ({web_url}/OWNER/NAME/actions/runs/RUN/job/JOB)")


def _reference(job: str, repository: str | None) -> JobReference:
    if not 0 < int(job) < _MOST:
        raise ReferenceMalformed("GitHub has no job of this number")
    return JobReference(int(job), repository)


def _base(url: str) -> str:
    return urlsplit(url).netloc.lower()
