"""What is said of a workflow: where, how bad, what, and what to do about it (pure)."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from orchestrator.cli.workflow_lint.document import Place


class Severity(IntEnum):
    """How bad a finding is.

    Attributes:
        NOTICE: something was not looked at, or cannot be known.
        WARNING: it may be meant so.
        ERROR: a job gets no runner, or fails on it.
    """

    NOTICE = 1
    WARNING = 2
    ERROR = 3


class Code(StrEnum):
    """What is wrong. `docs/reference.md` explains each to operators."""

    YAML = "yaml"
    WORKFLOW = "workflow"
    UNSERVED = "unserved"
    REFUSED = "refused"
    GROUP = "group"
    CONTAINER = "container"
    ELSEWHERE = "elsewhere"
    GROUP_ONLY = "group-only"
    SEVERAL = "several"
    UNKNOWN = "unknown"
    NOT_READ = "not-read"


SEVERITY: dict[Code, Severity] = {
    Code.YAML: Severity.ERROR,
    Code.WORKFLOW: Severity.ERROR,
    Code.UNSERVED: Severity.ERROR,
    Code.REFUSED: Severity.ERROR,
    Code.GROUP: Severity.ERROR,
    Code.CONTAINER: Severity.ERROR,
    Code.ELSEWHERE: Severity.WARNING,
    Code.GROUP_ONLY: Severity.WARNING,
    Code.SEVERAL: Severity.WARNING,
    Code.UNKNOWN: Severity.NOTICE,
    Code.NOT_READ: Severity.NOTICE,
}
# Those about a file that GitHub cannot use at all.
OF_FILES = frozenset({Code.YAML, Code.WORKFLOW})


@dataclass(frozen=True)
class Remark:
    """What is said, without where.

    Attributes:
        code: its kind.
        message: what is wrong.
        hint: what to do; empty where the message says it.
    """

    code: Code
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that is said of a workflow.

    Attributes:
        path: the file.
        place: where in it.
        job: the job's name in the file; empty for what concerns the file.
        remark: what is said.
        severity: how bad it is.
    """

    path: str
    place: Place
    job: str
    remark: Remark
    severity: Severity
