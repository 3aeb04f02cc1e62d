"""What a workflow's file says of its jobs (pure).

Source: GitHub docs, "Workflow syntax for GitHub Actions".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.cli.workflow_lint.document import Element, List, Malformed, Place, Table, Value, read

CALL = "workflow_call"
DISPATCH = "workflow_dispatch"


@dataclass(frozen=True)
class Input:
    """An input of a workflow.

    Attributes:
        kind: `string`, `boolean`, `number`, `choice` or `environment`.
        default: its default, None without one.
        options: what a `choice` can be.
    """

    kind: str = "string"
    default: Element | None = None
    options: Sequence[Element] = ()


@dataclass(frozen=True)
class Job:
    """A job as it is written.

    Attributes:
        name: its key.
        place: where its key stands.
        runs_on: which runner it asks for; of a job that calls a workflow the same as `uses`.
        uses: the workflow that it calls instead.
        arguments: the inputs that it gives the workflow.
        matrix: its `strategy.matrix`.
        condition: its `if`.
        keys: where each of its keys stands.
        container: its `container`.
        services: its `services`.
        container_steps: where steps use an image of a registry as their action.
    """

    name: str
    place: Place
    runs_on: Element
    uses: Value | None = None
    arguments: Mapping[str, Element] = field(default_factory=dict)
    matrix: Element | None = None
    condition: Value | None = None
    keys: Mapping[str, Place] = field(default_factory=dict)
    container: Element | None = None
    services: Element | None = None
    container_steps: Sequence[Place] = ()


@dataclass(frozen=True)
class Workflow:
    """A workflow.

    Attributes:
        jobs: its jobs.
        triggers: the events that it runs on.
        inputs: the inputs of each event that has some, by their names in lower case.
    """

    jobs: Sequence[Job]
    triggers: frozenset[str]
    inputs: Mapping[str, Mapping[str, Input]]


def workflow_of(text: str) -> Workflow:
    """Read a workflow.

    Args:
        text: the file's content.

    Raises:
        Malformed: GitHub takes it for no workflow.
    """
    root = read(text)
    if not isinstance(root, Table):
        raise _no(Place(1, 1) if root is None else root.place, "the file holds no workflow")
    events, jobs = root.get("on"), root.get("jobs")
    if events is None:
        raise _no(root.place, "the workflow has no on")
    if jobs is None:
        raise _no(root.place, "the workflow has no jobs")
    if not isinstance(jobs, Table) or not jobs.entries:
        raise _no(root.keys["jobs"], "jobs is no mapping with jobs")
    return Workflow(
        [_job(name, jobs.keys[name], element) for name, element in jobs.entries.items()],
        _triggers(events),
        {event: _inputs(events, event) for event in (CALL, DISPATCH)},
    )


def _no(place: Place, message: str) -> Malformed:
    return Malformed(place, message, is_yaml=True)


def _job(name: str, place: Place, element: Element) -> Job:
    if not isinstance(element, Table):
        raise _no(place, f"job {name} is no mapping")
    runs_on, uses = element.get("runs-on"), element.get("uses")
    work = uses if runs_on is None else runs_on
    if work is None or (runs_on is not None and uses is not None):
        raise _no(place, f"job {name} needs runs-on, or uses, and not both")
    if uses is not None and not (isinstance(uses, Value) and isinstance(uses.value, str)):
        raise _no(uses.place, f"uses of job {name} is no text")
    strategy, arguments, condition = element.get("strategy"), element.get("with"), element.get("if")
    return Job(
        name,
        place,
        work,
        uses,
        {key.lower(): value for key, value in arguments.entries.items()} if isinstance(arguments, Table) else {},
        strategy.get("matrix") if isinstance(strategy, Table) else None,
        condition if isinstance(condition, Value) else None,
        element.keys,
        element.get("container"),
        element.get("services"),
        _container_steps(element.get("steps")),
    )


def _container_steps(steps: Element | None) -> list[Place]:
    found = []
    for step in steps.items if isinstance(steps, List) else ():
        uses = step.get("uses") if isinstance(step, Table) else None
        if isinstance(uses, Value) and isinstance(uses.value, str) and uses.value.startswith("docker://"):
            found.append(uses.place)
    return found


def _triggers(events: Element) -> frozenset[str]:
    if isinstance(events, Table):
        return frozenset(events.entries)
    named = events.items if isinstance(events, List) else [events]
    return frozenset(str(event.value) for event in named if isinstance(event, Value))


def _inputs(events: Element, event: str) -> dict[str, Input]:
    trigger = events.get(event) if isinstance(events, Table) else None
    inputs = trigger.get("inputs") if isinstance(trigger, Table) else None
    if not isinstance(inputs, Table):
        return {}
    return {name.lower(): _input(element) for name, element in inputs.entries.items()}


def _input(element: Element) -> Input:
    if not isinstance(element, Table):
        return Input()
    kind, options = element.get("type"), element.get("options")
    return Input(
        str(kind.value) if isinstance(kind, Value) else "string",
        element.get("default"),
        options.items if isinstance(options, List) else (),
    )
