"""The facts about one job and what they mean, as a person reads them and as a program does (pure).

The document is made first, and the text from it, so both say the same. Nothing in it is secret: no registration, no
body of a delivery, no webhook's address.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from orchestrator.config.profiles import Profile
from orchestrator.explain.facts import DeliverySearch, Facts, JobFacts, PoolFacts, Unknown
from orchestrator.explain.next_pass import next_pass
from orchestrator.explain.verdict import Conclusion
from orchestrator.jobs.admission import Ignored, Refused
from orchestrator.jobs.profile_match import candidates
from orchestrator.runners.exit_codes import meaning
from orchestrator.runners.task import TaskState

# How a line of the text begins: what it is about, and when that was.
_ABOUT, _AT = 9, 21

# So many lines of a task's output are shown.
_OUTPUT_LINES = 12

type Document = Mapping[str, object]


def document(facts: Facts | None, conclusion: Conclusion, profiles: Sequence[Profile] = ()) -> Document:
    """Return the whole report as JSON has it.

    Args:
        facts: what is known; None where nothing could be asked.
        conclusion: what that means.
        profiles: all of them.
    """
    return {
        "job": None if facts is None else str(facts.reference),
        "verdict": conclusion.verdict.value,
        "sentence": _clean(conclusion.sentence),
        "advice": _clean(conclusion.advice),
        "next": _clean((facts and next_pass(facts, conclusion.verdict)) or "") or None,
        "facts": [] if facts is None else list(_entries(facts, profiles)),
    }


def text(report: Document) -> str:
    """Return a document as it is read: the verdict first, then what to do, then the facts in order.

    Args:
        report: a document, perhaps as another machine sent it.
    """
    lines = [f"{report.get('verdict')}: {report.get('sentence')}", f"What to do: {report.get('advice')}"]
    if report.get("next"):
        lines.append(f"Next: {report['next']}")
    entries = report.get("facts")
    lines += [""] if entries else []
    for entry in entries if isinstance(entries, list) else []:
        at = str(entry.get("at") or "").replace("T", " ").replace("+00:00", "Z")
        lines.append(f"{entry.get('about'):{_ABOUT}} {at:{_AT}} {entry.get('says')}")
    return _clean("\n".join(lines), keep="\n") + "\n"


def _entries(facts: Facts, profiles: Sequence[Profile]) -> Iterator[Document]:
    """Yield one entry for each fact, from GitHub's word to the delivery."""
    yield from _job(facts)
    yield from _rules(facts, profiles)
    if isinstance(facts.tasks, Unknown):
        yield _entry("task", _not_known(facts.tasks))
    else:
        for task in facts.tasks:
            yield _task(task)
        yield from _output(facts)
        if not facts.tasks and facts.profile is not None:
            yield _entry("task", "none")
    yield from _pool(facts)
    yield from _runner(facts)
    yield from _delivery(facts)
    if isinstance(facts.job, JobFacts) and facts.job.points_left is not None:
        left = facts.job.points_left
        yield _entry("limit", f"{left} requests to GitHub are left in this hour", left=left)


def _job(facts: Facts) -> Iterator[Document]:
    job = facts.job
    if isinstance(job, Unknown):
        yield _entry("GitHub", _not_known(job))
    elif job is None:
        yield _entry("GitHub", f"does not find {facts.reference}")
    else:
        about = job.event.workflow_job
        ending = f" with {about.conclusion}" if about.conclusion else ""
        run = f"; its run is {job.run_status}" if job.run_status else ""
        says = f"{job.status}{ending}{run}; labels {', '.join(about.labels) or 'none'}"
        yield _entry("GitHub", says, about.created_at, status=job.status, conclusion=about.conclusion)
        if job.started_at is not None:
            yield _entry("GitHub", f"taken by {about.runner_name or 'a runner'}", job.started_at)
        if job.completed_at is not None:
            yield _entry("GitHub", "ended", job.completed_at)


def _rules(facts: Facts, profiles: Sequence[Profile]) -> Iterator[Document]:
    if isinstance(facts.admission, Ignored | Refused):
        yield _entry("profile", facts.admission.reason, profile=None)
    if facts.profile is not None:
        profile = facts.profile
        yield _entry("profile", f"{profile.name}: pool {profile.pool}, image {profile.image}", profile=profile.name)
    if isinstance(facts.job, JobFacts):
        event = facts.job.event
        for candidate in candidates(profiles, event.workflow_job.labels, event.repository.full_name):
            if candidate.profile != facts.profile:
                yield _entry("profile", f"not {candidate.profile.name}: {candidate.why_not}")
    for about, rule in (("account", facts.account), ("group", facts.group), ("quota", facts.quota)):
        if rule is not None:
            yield _entry(about, rule if isinstance(rule, str) else _not_known(rule))
    if facts.profile is not None and facts.group is None:
        yield _entry("group", "nothing speaks against the repository")


def _task(task: TaskState) -> Document:
    at = {"waiting": task.created_at, "running": task.started_at, "finished": task.ended_at}[task.state]
    says = {"waiting": "waits for a free slot", "running": "runs its container", "finished": "ended"}[task.state]
    reasons = [meaning(task.exit_code)] if task.exit_code is not None else []
    reasons += [task.failure] if task.failure else []
    reasons += [f"Batch ran it {task.runs_before} times before"] if task.runs_before else []
    return _entry(
        "task",
        f"{task.task_id} {says}" + (f": {'; '.join(reasons)}" if reasons else ""),
        at,
        task=task.task_id,
        state=task.state,
        exitCode=task.exit_code,
        failure=task.failure,
    )


def _output(facts: Facts) -> Iterator[Document]:
    output = facts.output
    if isinstance(output, Unknown):
        yield _entry("output", _not_known(output))
    elif output is not None:
        lines = (*output.stdout, *output.stderr)
        yield _entry("output", f"all of it: {output.place}", place=output.place, lines=list(lines))
        yield from (_entry("", f"  {line}") for line in lines[-_OUTPUT_LINES:])


def _pool(facts: Facts) -> Iterator[Document]:
    pool = facts.pool
    if isinstance(pool, Unknown):
        yield _entry("pool", _not_known(pool))
    elif pool is not None:
        most = f", at most {pool.most_nodes}" if pool.most_nodes is not None else ""
        size = f"{pool.nodes} of {pool.target} nodes{most}, {pool.slots_per_node} slots each"
        says = f"{pool.pool}: {size}; {'steady' if pool.steady else 'being resized'}"
        yield _entry("pool", says, pool=pool.pool, nodes=pool.nodes, target=pool.target, most=pool.most_nodes)
        yield from (_entry("pool", f"resize error: {error}", code=error.code) for error in pool.resize_errors)
        yield from _formula(pool)
        yield from _nodes(pool)
    elif facts.profile is not None:
        yield _entry("pool", f"Batch has no pool {facts.profile.pool}")


def _formula(pool: PoolFacts) -> Iterator[Document]:
    if pool.formula_error is not None:
        yield _entry("pool", f"formula error: {pool.formula_error}", pool.evaluated_at, code=pool.formula_error.code)
    elif pool.evaluated_at is not None:
        yield _entry("pool", "its formula was evaluated", pool.evaluated_at)


def _nodes(pool: PoolFacts) -> Iterator[Document]:
    if pool.nodes_unknown is not None:
        yield _entry("nodes", f"not known: {pool.nodes_unknown}")
    if pool.nodes_by_state:
        states = ", ".join(f"{count} {state}" for state, count in sorted(pool.nodes_by_state.items()))
        yield _entry("nodes", states, states=dict(pool.nodes_by_state))
    if pool.node_error is not None:
        yield _entry("nodes", str(pool.node_error), code=pool.node_error.code)


def _runner(facts: Facts) -> Iterator[Document]:
    runner, task = facts.runner, facts.latest_task
    if isinstance(runner, Unknown):
        yield _entry("runner", _not_known(runner))
    elif runner is not None:
        says = f"{runner.name}: {'online' if runner.online else 'offline'}, {'busy' if runner.busy else 'idle'}"
        yield _entry("runner", says, online=runner.online, busy=runner.busy)
    elif task is not None and task.state == "running":
        yield _entry("runner", "not registered")


def _delivery(facts: Facts) -> Iterator[Document]:
    search = facts.delivery
    if isinstance(search, Unknown):
        yield _entry("delivery", _not_known(search))
    elif search is not None:
        yield _searched(search)


def _searched(search: DeliverySearch) -> Document:
    found = search.found
    if found is None:
        reached = "none since the job was queued" if search.complete else "not among the latest ones"
        return _entry("delivery", reached, complete=search.complete)
    words = " ".join(filter(None, [str(found.status) if found.status else "no answer", found.result]))
    says = f"answered with {words}" if found.status else words
    says += f": {found.reason}" if found.reason else ""
    return _entry("delivery", says, found.delivered_at, status=found.status, result=found.result)


def _entry(about: str, says: str, at: datetime | None = None, **values: object) -> Document:
    return {"about": about, "says": _clean(says), "at": None if at is None else at.isoformat("T", "seconds"), **values}


def _not_known(unknown: Unknown) -> str:
    return f"not known: {unknown.reason}"


def _clean(words: str, keep: Iterable[str] = ()) -> str:
    """Return words of others without what could steer a terminal."""
    return "".join(c if c.isprintable() or c in keep else " " for c in words)
