"""The status as a page: one HTML document that loads nothing and runs nothing (pure).

What stands in it comes from repositories, from GitHub and from Batch, so every text goes through `markup`.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from orchestrator.explain.facts import PoolFacts, Unknown
from orchestrator.reconcile.findings import (
    UNSERVED,
    JobState,
    OutcomeFinding,
    PoolFinding,
    ProfileFinding,
    RunningFinding,
    WaitingJobFinding,
)
from orchestrator.runners.exit_codes import meaning
from orchestrator.status.chart import chart
from orchestrator.status.facts import Level, Remark, Status, counted, remarks, span
from orchestrator.status.markup import Child, Markup, element, joined
from orchestrator.status.style import STYLE

# Seconds after which a browser asks again.
REFRESH = 60
# Rows of a table. How many more there are is said.
MOST_ROWS = 100

# Characters of a text that may stay on one line of a narrow page.
_SHORT = 24

# Each level has a sign and a word of its own, so that no colour needs to be seen.
_SIGNS = {Level.OK: "✓ Well", Level.ATTENTION: "! Attention", Level.PROBLEM: "✕ Problem"}
_STATE_LEVELS = {
    **dict.fromkeys(JobState, Level.OK),
    **dict.fromkeys(UNSERVED, Level.ATTENTION),
    JobState.SKIPPED: Level.ATTENTION,
    JobState.OVER_QUOTA: Level.ATTENTION,
    JobState.NOT_ALLOWED: Level.ATTENTION,
}


class Links(NamedTuple):
    """How the page's links are written.

    Attributes:
        code: the function key that the request had in its address; None if it had none there.
        refreshes: whether the page is asked for again by itself.
    """

    code: str | None = None
    refreshes: bool = True

    def to(self, route: str, **query: str) -> str:
        """Return the relative address of one of this function's routes, with the key that this page was asked with."""
        return f"{route}?{urlencode(query | ({'code': self.code} if self.code else {}))}"


def page(status: Status, links: Links) -> str:
    """Return the page.

    Args:
        status: what it shows.
        links: how its links are written.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("title", f"Runners on {status.account}"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        *([element("meta", http_equiv="refresh", content=str(REFRESH))] if links.refreshes else ()),
        element("link", rel="icon", href="data:,"),
        element("style", Markup(STYLE)),
    )
    body = element(
        "body",
        element("a", "Skip to the content", class_="skip", href="#content"),
        _header(status, links),
        element("main", *_sections(status, links), id="content", tabindex="-1"),
        element("footer", *_footer(status)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _header(status: Status, links: Links) -> Markup:
    at = status.last_pass_at
    words: list[Child] = ["No pass is recorded. " if status.recorded is None else "The last pass is not known. "]
    if at is not None:
        words = ["The last pass ended at ", _time(at), f", {span(status.now - at)} ago"]
        looked_at = status.findings.at
        if status.findings.problem is not None and looked_at is not None:
            words += [f"; what stands here was found {span(status.now - looked_at)} ago"]
        words += [". "]
    words += ["The next one begins at ", _time(status.next_pass_at, "%H:%M"), ". "]
    said, other, query = (
        ("This page refreshes every minute. ", "Stop that", {"refresh": "off"})
        if links.refreshes
        else ("This page does not refresh. ", "Refresh every minute", {})
    )
    words += [element("span", said, element("a", other, href=links.to("status", **query)), class_="refresh")]
    return element("header", element("h1", f"Runners on {status.account}"), element("p", *words, class_="quiet"))


def _footer(status: Status) -> Iterator[Markup]:
    yield element("p", f"azure-batch-actions-runners {status.version}")
    yield element(
        "p", "Put together at ", _time(status.now), ". Times are UTC. With Accept: application/json this is JSON."
    )


def _sections(status: Status, links: Links) -> Iterator[Markup]:
    found = status.findings
    yield element(
        "ul", *map(_remark, remarks(status)), class_="remarks", role="list", aria_label="What needs attention"
    )
    yield _figures(status)
    yield _section("Pools", element("div", *(_pool(status, name) for name in status.pools), class_="pools"))
    waiting = [_waiting(job, status, links) for job in found.jobs]
    yield _section(
        "Jobs that wait",
        _table(
            "As the last pass left them; first those that have no runner",
            ("Job", "Profile", "Waits for", "State", "Why"),
            waiting,
            left_out=found.jobs_left_out,
            none="No job waits.",
        ),
    )
    if status.reported:
        yield _section("Reported jobs", _reported(status, links))
    yield _section(
        "Running",
        _table(
            "Runners whose container runs; the latest first",
            ("Runner for", "Profile", "Pool", "Runs for"),
            [_running(task, status, links) for task in found.running],
            left_out=found.running_left_out,
            none="Nothing runs.",
        ),
    )
    yield _section(
        "Ended lately",
        _table(
            "The runners that ended last. Each was started for the job of its row, and may have run another one",
            ("Runner for", "Outcome", "Ran for", "Ended"),
            [_outcome(task, status, links) for task in found.outcomes],
            none="Nothing has ended within a day.",
        ),
    )
    if found.gaps:
        yield _section("What the pass could not see", _gaps(status))
    yield _section("Set-up", _set_up(status, links))


def _section(title: str, *children: Child) -> Markup:
    name = title.lower().replace(" ", "-")
    return element("section", element("h2", title, id=name), *children, aria_labelledby=name)


def _remark(remark: Remark) -> Markup:
    return element("li", element("strong", _SIGNS[remark.level], class_=remark.level), remark.says, class_=remark.level)


def _figures(status: Status) -> Markup:
    found = status.findings
    left = found.requests_left
    figures = (
        ("Jobs that wait", f"{len(found.jobs) + found.jobs_left_out:,}"),
        ("Without a runner", f"{sum(found.unserved.values()):,}"),
        ("Runners that run", f"{len(found.running) + found.running_left_out:,}"),
        ("GitHub requests left", "unknown" if left is None else f"{left:,}"),
    )
    return element(
        "dl", *(element("div", element("dt", name), element("dd", says)) for name, says in figures), class_="figures"
    )


# Pools ---------------------------------------------------------------------------------------------------------------


def _pool(status: Status, name: str) -> Markup:
    tasks = next((pool for pool in status.findings.pools if pool.pool == name), None)
    entries = [joined(element("dt", what), element("dd", says)) for what, says in _size(status.pools[name], tasks)]
    listed = element("dl", *entries, *(_tasks(tasks) if tasks is not None else ()))
    return element("article", element("h3", name), listed, _day(status, name), class_="card")


def _size(pool: PoolFacts | Unknown | None, tasks: PoolFinding | None) -> Iterator[tuple[str, str]]:
    if pool is None:
        yield "Nodes", "Batch has no such pool"
    elif isinstance(pool, Unknown):
        yield "Nodes", f"not known: {pool.reason}"
    else:
        most = f", at most {pool.most_nodes}" if pool.most_nodes is not None else ""
        yield "Nodes", f"{pool.nodes} of {pool.target}{most}" + ("" if pool.steady else "; being resized")
        slots = pool.nodes * pool.slots_per_node
        yield "Slots", f"{tasks.slots} of {slots} in use" if tasks is not None else f"{slots}"
        for error in pool.resize_errors:
            yield "Resize error", str(error)
        if pool.formula_error is not None:
            yield "Formula error", str(pool.formula_error)


def _tasks(tasks: PoolFinding) -> Iterator[Markup]:
    yield element("dt", "Runners")
    yield element("dd", f"{tasks.running} running, {tasks.waiting} waiting")
    yield element("dt", "Time to runner")
    for profile in tasks.profiles:
        yield element("dd", f"{profile.profile}: {_times(profile)}")


def _times(profile: ProfileFinding) -> str:
    if profile.p50 is None or profile.p95 is None:
        return "none in 24 h"
    p50, p95 = (span(timedelta(seconds=seconds)) for seconds in (profile.p50, profile.p95))
    return f"p50 {p50}, p95 {p95} ({counted(profile.started, 'runner')} in 24 h)"


def _day(status: Status, name: str) -> Markup:
    drawn = chart(status.findings.samples, name, status.now)
    if drawn is None:
        return element("p", "No pass of the last day is recorded.", class_="quiet")
    lines = (("solid", f"running, at most {drawn.most_running}"), ("dashed", f"waiting, at most {drawn.most_waiting}"))
    keys = [element("span", element("i", class_=line), what, class_="key") for line, what in lines]
    scale = element("div", element("span", "24 h ago"), element("span", "now"), class_="scale")
    return element("figure", drawn.picture, scale, element("figcaption", *keys))


# Rows ----------------------------------------------------------------------------------------------------------------


def _waiting(job: WaitingJobFinding, status: Status, links: Links) -> list[Child]:
    level = _STATE_LEVELS[job.state]
    state = (
        element("span", job.state, class_="state")
        if level == Level.OK
        else element("span", f"! {job.state}", class_=f"state {level}")
    )
    # A pause says itself when it ends.
    due = (
        "" if job.due_at is None or job.state == JobState.PAUSED else f"; its next runner is due at {job.due_at:%H:%M}"
    )
    return [
        _explained(status.address(job), job.repository, str(job.job), links),
        _tight(job.profile),
        _age(job.queued_at, status.now),
        state,
        job.reason + due,
    ]


def _reported(status: Status, links: Links) -> Markup:
    rows: list[Sequence[Child]] = [
        [
            _explained(status.address(job), job.repository, str(job.job), links),
            element("span", "✕ alert", class_="state problem")
            if job.alert
            else element("span", "! warning", class_="state attention"),
            _age(job.queued_at, status.now),
            job.reason,
        ]
        for job in status.reported
    ]
    return _table("Jobs that the log reports, because they wait for long", ("Job", "Line", "Waits for", "Why"), rows)


def _running(task: RunningFinding, status: Status, links: Links) -> list[Child]:
    return [
        _explained(task.task, task.repository, task.task, links),
        _tight(task.profile or "not known"),
        _tight(task.pool),
        _age(task.started_at, status.now),
    ]


def _outcome(task: OutcomeFinding, status: Status, links: Links) -> list[Child]:
    level, how = Level.ATTENTION, "! without a job"
    if task.ran_a_job:
        level, how = Level.OK, "✓ ran a job"
    elif task.by_request:
        level, how = Level.OK, "ended on request"
    why = task.ending if task.exit_code is None else meaning(task.exit_code)
    says: Child = element("span", how, class_=f"state {level}")
    return [
        _explained(task.task, task.repository, task.task, links),
        says if level == Level.OK else joined(says, f" {why}"),
        _tight("never started" if task.seconds is None else span(timedelta(seconds=task.seconds))),
        _tight(f"{span(status.now - task.ended_at)} ago"),
    ]


def _gaps(status: Status) -> Markup:
    rows: list[Sequence[Child]] = [
        [gap.what, "nothing was decided" if gap.skipped else "a part is missing", gap.reason]
        for gap in status.findings.gaps
    ]
    caption = "Left for the next pass; jobs there may be missing above"
    return _table(caption, ("What", "How much", "Why"), rows, left_out=status.findings.gaps_left_out)


def _set_up(status: Status, links: Links) -> Markup:
    whole = element("a", "Look at the whole set-up now", href=links.to("health", full="1"))
    since = (
        "Only the settings were looked at, since nobody has asked this process for more. "
        if status.checked_at is None
        else f"The set-up was looked at {span(status.now - status.checked_at)} ago. "
    )
    rows: list[Sequence[Child]] = [
        [
            one.item,
            element("span", "✕ fail", class_="state problem")
            if one.state == "fail"
            else element("span", "! warn", class_="state attention"),
            one.says,
            one.cure or "none is needed at once",
        ]
        for one in status.warnings
    ]
    table = _table(
        "What is not as it should be", ("Part", "State", "Found", "Cure"), rows, none="Nothing to complain of."
    )
    return joined(element("p", since, whole, ".", class_="quiet"), table)


# Parts ---------------------------------------------------------------------------------------------------------------


def _table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Child]],
    *,
    left_out: int = 0,
    none: str = "",
) -> Markup:
    """Return a table whose first column names the row. Its roles are named: a narrow page shows it as blocks."""
    if not rows:
        return element("p", none, class_="quiet")
    head = element("tr", *(element("th", name, scope="col", role="columnheader") for name in columns), role="row")
    table = element(
        "table",
        element("caption", caption),
        element("thead", head, role="rowgroup"),
        element("tbody", *(_row(columns, row) for row in rows[:MOST_ROWS]), role="rowgroup"),
        class_="table",
        role="table",
    )
    more = left_out + max(0, len(rows) - MOST_ROWS)
    return joined(table, element("p", f"{more:,} more are not shown.", class_="quiet")) if more else table


def _row(columns: Sequence[str], row: Sequence[Child]) -> Markup:
    name, *cells = row
    return element(
        "tr",
        element("th", name, scope="row", role="rowheader"),
        *(
            element("td", cell, role="cell", data_label=f"{label}:")
            for label, cell in zip(columns[1:], cells, strict=True)
        ),
        role="row",
    )


def _explained(reference: str, repository: str, number: str, links: Links) -> Markup:
    """Return a link to the page that explains a job."""
    return element("a", repository or "unknown repository", f" {number}", href=links.to("explain", job=reference))


def _age(since: datetime | None, now: datetime) -> Child:
    return _tight("not known" if since is None else span(now - since))


def _tight(text: str) -> Child:
    """Return a text that stays on one line, unless it is longer than names usually are."""
    return element("span", text, class_="tight") if len(text) <= _SHORT else text


def _time(at: datetime, form: str = "%H:%M:%S") -> Markup:
    in_utc = at.astimezone(UTC)
    return element("time", f"{in_utc:{form}} UTC", datetime=in_utc.isoformat("T", "seconds"))
