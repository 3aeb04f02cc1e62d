"""Asks of every job of every workflow what becomes of it, also of workflows that are called (pure but for `Files`).

Source: GitHub docs, "Reuse workflows".
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from orchestrator.cli.workflow_lint.document import Malformed, Place, Value
from orchestrator.cli.workflow_lint.expression import (
    UNKNOWN,
    Contexts,
    Data,
    ExpressionMalformed,
    OneOf,
    Partial,
    as_text,
    condition,
    distinct,
    possible,
    truth,
)
from orchestrator.cli.workflow_lint.finding import SEVERITY, Code, Finding, Remark, Severity
from orchestrator.cli.workflow_lint.matrix import MatrixMalformed, combinations
from orchestrator.cli.workflow_lint.rules import Home, RunsOnMalformed, ask_of, container_remark, outcome_of
from orchestrator.cli.workflow_lint.workflow import CALL, Input, Job, Workflow, workflow_of
from orchestrator.config.settings import Settings

# Workflows that call each other in a row. GitHub allows ten.
MOST_LEVELS = 10
# Looks into called workflows in all.
MOST_CALLS = 1_000
# What a run's number stands for in a label such as `run-${{ github.run_id }}`.
_SOME_RUN = {"run_id": 1, "run_number": 1, "run_attempt": 1}

_REMOTE = re.compile(r"([\w.-]+/[\w.-]+)/(\.github/workflows/[^/@]+\.ya?ml)@(.+)")
_LOCAL = re.compile(r"\./(\.github/workflows/[^/]+\.ya?ml)")


@dataclass(frozen=True)
class Source:
    """Where a workflow's file is.

    Attributes:
        path: its path in the repository.
        repository: `owner/name` of another repository; empty for the one that is looked at.
        ref: the branch, tag or commit there.
    """

    path: str
    repository: str = ""
    ref: str = ""

    def __str__(self) -> str:
        return f"{self.repository}/{self.path}@{self.ref}" if self.repository else self.path


class NotRead(Exception):
    """A file is not read; the message says why, after its name."""


class Missing(NotRead):
    """There is no such file."""


class Files(Protocol):
    """Reads workflows."""

    def shown(self, path: str) -> str:
        """Return how a file of the repository is called in findings."""

    def read(self, source: Source) -> str:
        """Return a file's content.

        Raises:
            NotRead: It is not looked at, or there is none.
            Malformed: It is no text.
        """


@dataclass(frozen=True)
class JobOutcome:
    """A job, and what becomes of it.

    Attributes:
        path: the file.
        place: where the job stands.
        job: its name in the file.
        labels: what it asks for.
        profile: the profile that takes it; None if none does.
    """

    path: str
    place: Place
    job: str
    labels: tuple[str, ...]
    profile: str | None


@dataclass
class Report:
    """What was found.

    Attributes:
        workflows: how many files were looked at.
        findings: what is to be said, file by file from the top.
        jobs: what becomes of each job, for each set of labels that it may ask for.
    """

    workflows: int = 0
    findings: list[Finding] = field(default_factory=list)
    jobs: list[JobOutcome] = field(default_factory=list)

    def count(self, severity: Severity) -> int:
        """Return how many findings are as bad as this."""
        return sum(finding.severity is severity for finding in self.findings)


def lint(paths: Sequence[str], files: Files, settings: Settings, home: Home) -> Report:
    """Look at workflows.

    Args:
        paths: their paths in the repository.
        files: reads them, and those that they call.
        settings: the function's.
        home: whose workflows they are.
    """
    linter = _Linter(files, settings, home)
    for path in paths:
        linter.begin(Source(path))
    linter.look_at_all()
    return linter.report()


# The workflows on the way to a call, the first caller first.
type Callers = tuple[Source, ...]


class _CallMalformed(Exception):
    """GitHub does not make this call."""


@dataclass(frozen=True)
class _Case:
    """One of the values that a part of a job may have.

    Attributes:
        contexts: what is known in it.
        certain: whether the job takes this value, and not one of several.
    """

    contexts: Contexts
    certain: bool


class _Linter:
    def __init__(self, files: Files, settings: Settings, home: Home) -> None:
        self._workflows: dict[Source, Workflow | None] = {}
        self._files = files
        self._settings = settings
        self._home = home
        self._seen: set[tuple[Source, str]] = set()
        self._found: dict[tuple[Source, Place, str, Remark], bool] = {}
        self._jobs: dict[JobOutcome, None] = {}
        owner = home.repository.partition("/")[0]
        named = {"repository": home.repository, "repository_owner": owner} if owner else {}
        self._github = Partial({**_SOME_RUN, **named})

    def report(self) -> Report:
        findings = [
            _finding(self._shown(source), place, job, remark, certain=certain)
            for (source, place, job, remark), certain in self._found.items()
        ]
        findings.sort(key=lambda finding: (finding.path, finding.place, finding.remark.code))
        jobs = sorted(self._jobs, key=lambda job: (job.path, job.place, job.labels))
        return Report(len(self._workflows), findings, jobs)

    def begin(self, source: Source) -> None:
        """Read a workflow of the repository; say so if that cannot be done."""
        try:
            self._load(source)
        except NotRead as error:
            self._say(source, Place(1, 1), "", Remark(Code.NOT_READ, f"the workflow is not looked at: {error}"))

    def _load(self, source: Source) -> Workflow | None:
        """Read a workflow once; None if it cannot be used, which is said then.

        Raises:
            NotRead: It is not looked at, or there is none.
        """
        if source not in self._workflows:
            try:
                self._workflows[source] = workflow_of(self._files.read(source))
            except Malformed as error:
                self._workflows[source] = None
                self._say(source, error.place, "", Remark(Code.WORKFLOW if error.is_yaml else Code.YAML, error.message))
        return self._workflows[source]

    def look_at_all(self) -> None:
        """Look at every workflow: those that only others call, by their calls."""
        found = [(source, workflow) for source, workflow in self._workflows.items() if workflow is not None]
        uses = [_text(job.uses) for _, workflow in found for job in workflow.jobs if job.uses]
        called = {Source(local[1]) for each in uses if (local := _LOCAL.fullmatch(each))}
        later = [(source, workflow) for source, workflow in found if workflow.triggers == {CALL} and source in called]
        for source, workflow in found:
            if (source, workflow) not in later:
                self._look(source, workflow, _own_inputs(workflow), (source,))
        seen = {source for source, _ in self._seen}
        for source, workflow in later:
            if source not in seen:  # they call each other only
                self._look(source, workflow, _own_inputs(workflow), (source,))

    def _look(self, source: Source, workflow: Workflow, inputs: Mapping[str, Data], callers: Callers) -> None:
        """Look at every job of a workflow that has these inputs."""
        key = (source, repr(sorted(inputs.items())))
        if key in self._seen:  # it would say the same again
            return
        if len(self._seen) >= MOST_CALLS:
            message = f"no more than {MOST_CALLS} calls of workflows are looked into"
            self._say(source, Place(1, 1), "", Remark(Code.NOT_READ, message))
            return
        self._seen.add(key)
        contexts = {"github": self._github, "inputs": dict(inputs)}
        for job in workflow.jobs:
            place = job.place
            try:
                if job.condition is not None:
                    place = job.condition.place
                    if condition(_text(job.condition), contexts) is False:
                        continue
                place = job.matrix.place if job.matrix is not None else place
                for case in _cases(job, contexts):
                    place = job.place
                    if job.uses is not None:
                        place = job.uses.place
                        self._follow(source, job, job.uses, case, callers)
                    else:
                        place = job.runs_on.place
                        self._judge(source, job, case)
            except (ExpressionMalformed, MatrixMalformed, RunsOnMalformed) as error:
                self._say(source, place, job.name, Remark(Code.WORKFLOW, str(error)))

    def _judge(self, source: Source, job: Job, case: _Case) -> None:
        runs_on = job.runs_on
        values = possible(runs_on, case.contexts)
        certain = case.certain and len(values) == 1
        for value in values:
            try:
                ask = ask_of(value)
            except RunsOnMalformed:
                if certain:
                    raise
                continue
            if ask is None:
                written = f": {_text(runs_on)}" if isinstance(runs_on, Value) else ""
                self._say(source, runs_on.place, job.name, Remark(Code.UNKNOWN, f"runs-on cannot be known{written}"))
                continue
            outcome = outcome_of(ask, self._settings, self._home)
            for remark in outcome.remarks:
                self._say(source, runs_on.place, job.name, remark, certain=certain)
            profile = None if outcome.profile is None else outcome.profile.name
            if not ask.has_more:
                self._jobs[JobOutcome(self._shown(source), job.place, job.name, ask.labels, profile)] = None
            if profile is not None:
                self._look_for_containers(source, job, case, certain=certain)

    def _look_for_containers(self, source: Source, job: Job, case: _Case, *, certain: bool) -> None:
        for name, element in (("container", job.container), ("services", job.services)):
            if element is None:
                continue
            asks = {_asks(value, name) for value in possible(element, case.contexts)}
            if asks - {False}:
                sure = certain and asks == {True}
                self._say(source, job.keys[name], job.name, container_remark(f"{name}:"), certain=sure)
        for place in job.container_steps:
            self._say(source, place, job.name, container_remark("an image as an action"), certain=certain)

    def _follow(self, source: Source, job: Job, uses: Value, case: _Case, callers: Callers) -> None:
        """Look into the workflow that a job calls."""
        try:
            target, workflow = self._called(_text(uses), source, callers)
        except Missing:
            self._say(source, uses.place, job.name, Remark(Code.WORKFLOW, f"there is no workflow {_text(uses)}"))
        except NotRead as error:
            message = f"the jobs of {_text(uses)} are not looked at: {error}"
            self._say(source, uses.place, job.name, Remark(Code.NOT_READ, message))
        except _CallMalformed as error:
            self._say(source, uses.place, job.name, Remark(Code.WORKFLOW, str(error)))
        else:
            if workflow is not None:
                self._look(target, workflow, _given_inputs(workflow, job, case.contexts), (*callers, target))

    def _called(self, uses: str, source: Source, callers: Callers) -> tuple[Source, Workflow | None]:
        """Return the workflow that a job calls; without its content if it cannot be used, which is said then.

        Raises:
            NotRead: It is not looked at, or there is none.
            _CallMalformed: GitHub does not make this call.
        """
        target = _target(uses, source)
        if target in callers:
            raise _CallMalformed(f"the workflow {target} calls itself")
        if len(callers) >= MOST_LEVELS:
            raise _CallMalformed(f"more than {MOST_LEVELS} workflows call each other in a row")
        workflow = self._load(target)
        if workflow is not None and CALL not in workflow.triggers:
            raise _CallMalformed(f"{target} cannot be called: it is not on {CALL}")
        return target, workflow

    def _say(self, source: Source, place: Place, job: str, remark: Remark, *, certain: bool = True) -> None:
        key = (source, place, job, remark)
        self._found[key] = certain or self._found.get(key, False)

    def _shown(self, source: Source) -> str:
        return str(source) if source.repository else self._files.shown(source.path)


def _finding(path: str, place: Place, job: str, remark: Remark, *, certain: bool) -> Finding:
    """Return what is said in the end: what only some values of expressions lead to is no error."""
    severity = SEVERITY[remark.code]
    if certain:
        return Finding(path, place, job, remark, severity)
    message = f"{remark.message} (if the expressions come to that)"
    return Finding(path, place, job, replace(remark, message=message), min(severity, Severity.WARNING))


def _text(element: Value) -> str:
    return as_text(element.value)


def _cases(job: Job, contexts: Contexts) -> Iterator[_Case]:
    """Yield what the matrix makes of a job."""
    if job.matrix is None:
        yield _Case({**contexts, "matrix": {}}, certain=True)
        return
    matrices = possible(job.matrix, contexts)
    for matrix in matrices:
        try:
            found = combinations(matrix)
        except MatrixMalformed:
            if len(matrices) == 1:
                raise
            continue  # `fromJSON(… || '[]')`: the job's condition leaves such a value out
        for row in found.rows:
            yield _Case({**contexts, "matrix": row}, certain=found.certain and len(matrices) == 1)


def _asks(value: Data, name: str) -> bool | None:
    """Whether a value of `container` or `services` asks for an image; None if that is unknown."""
    if name == "services" and isinstance(value, dict):
        asks = {_asks(service, "container") for service in value.values()}
        return None if True not in asks and None in asks else True in asks
    if isinstance(value, dict):
        value = value.get("image", "")
    return truth(value)


def _target(uses: str, source: Source) -> Source:
    """Return which workflow a job calls."""
    if found := _LOCAL.fullmatch(uses):
        return Source(found[1], source.repository, source.ref)
    if found := _REMOTE.fullmatch(uses):
        return Source(found[2], found[1], found[3])
    forms = "./.github/workflows/FILE.yml nor OWNER/REPO/.github/workflows/FILE.yml@REF"
    raise _CallMalformed(f"{uses} is neither {forms}")


def _own_inputs(workflow: Workflow) -> Mapping[str, Data]:
    """Return the inputs of a workflow that nobody calls here: whatever its own events can give."""
    absent = [None] if len(workflow.triggers) > 1 else []
    found: dict[str, list[Data]] = {}
    for inputs in workflow.inputs.values():
        for name, declared in inputs.items():
            found.setdefault(name, []).extend([*_any_of(declared), *absent])
    return {name: OneOf(distinct(values)) for name, values in found.items()}


def _any_of(declared: Input) -> Sequence[Data]:
    match declared.kind:
        case "boolean":
            return (True, False)
        case "choice":
            return [value for option in declared.options for value in possible(option, {})] or (UNKNOWN,)
    return (UNKNOWN,) if declared.default is None else (*possible(declared.default, {}), UNKNOWN)


def _given_inputs(workflow: Workflow, job: Job, contexts: Contexts) -> Mapping[str, Data]:
    """Return the inputs that a workflow gets from a job that calls it."""
    found: dict[str, Data] = {}
    for name, declared in workflow.inputs[CALL].items():
        given = job.arguments.get(name)
        if given is not None:
            found[name] = OneOf(possible(given, contexts))
        elif declared.default is not None:
            found[name] = OneOf(possible(declared.default, {}))
        else:
            found[name] = {"boolean": False, "number": 0}.get(declared.kind, "")
    return found
