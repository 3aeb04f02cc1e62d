"""What the runners of a month cost, by whom or what they were for (pure).

A task takes some of the slots of a node for some time, and so that part of the node's price. What a node costs while
none of its slots is in use belongs to nobody. It is the difference to what all nodes of the pool cost.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple, Self

from orchestrator.runners.task import TaskState, replacement_of

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_HOUR = 3600.0
UNKNOWN = "(not known)"


class By(StrEnum):
    """What the rows of a bill are."""

    REPOSITORY = "repository"
    PROFILE = "profile"
    POOL = "pool"


class Month(NamedTuple):
    """A month of UTC, as far as it has gone.

    Attributes:
        name: `2026-11`.
        start: its first moment.
        end: its last one, or now.
        is_over: whether it is.
    """

    name: str
    start: datetime
    end: datetime
    is_over: bool

    @classmethod
    def of(cls, text: str, now: datetime) -> Self:
        """Read a month.

        Args:
            text: `2026-11`.
            now: the time.

        Raises:
            ValueError: It is no month, or has not begun.
        """
        found = _MONTH.fullmatch(text)
        if found is None or found[1] == "0000" or found[1] == "9999":
            raise ValueError("is no month like 2026-11")
        year, number = int(found[1]), int(found[2])
        start = datetime(year, number, 1, tzinfo=UTC)
        end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        if start > now:
            raise ValueError("has not begun")
        return cls(text, start, min(end, now), end <= now)

    @property
    def hours(self) -> float:
        """How long it is so far."""
        return (self.end - self.start).total_seconds() / _HOUR


@dataclass(frozen=True)
class Use:
    """What one task has used.

    Attributes:
        pool: the pool's id.
        repository: whose job it was started for; empty if that is not known.
        profile: the name of its profile; empty if that is not known.
        slots: the slots of a node that it took.
        start: when it started; None if it never did.
        end: when it ended; None while it runs.
        outcome: `job`, `ended` or `failed` (see `TaskState.outcome`), or `running`.
        replaces: whether it took the place of a task before it.
        nodes_lost: how often its node was lost and Batch ran it again. Only the last run has a start and an end.
    """

    pool: str
    repository: str
    profile: str
    slots: int
    start: datetime | None
    end: datetime | None
    outcome: str
    replaces: bool
    nodes_lost: int

    @classmethod
    def of(cls, task: TaskState) -> Self:
        """Return what a task has used that Batch knows.

        Args:
            task: one that runs or has finished.
        """
        return cls(
            pool=task.pool,
            repository=task.repository,
            profile=task.profile,
            slots=task.slots,
            start=task.started_at,
            end=task.ended_at,
            outcome=task.outcome if task.state == "finished" else "running",
            replaces=replacement_of(task.task_id) > 0,
            nodes_lost=task.runs_before,
        )

    def is_in(self, month: Month) -> bool:
        """Whether it ran in a month, or ended in it without ever having run."""
        start, end = self.start or self.end, self.end or month.end
        return start is not None and start < month.end and end >= month.start

    def seconds_in(self, month: Month) -> float:
        """Return for how many seconds of a month it ran."""
        if self.start is None:
            return 0.0
        return max(0.0, (min(self.end or month.end, month.end) - max(self.start, month.start)).total_seconds())


@dataclass(frozen=True)
class Pool:
    """What is known of a pool.

    Attributes:
        price: of a node for an hour, in the operator's currency.
        slots: task slots of a node.
        node_hours: how many hours its nodes were there, all together; None if nobody knows.
        hours_unseen: for how many hours of the month nobody knows how many nodes there were.
    """

    price: float
    slots: int
    node_hours: float | None = None
    hours_unseen: float = 0.0


@dataclass(frozen=True)
class Row:
    """What one repository, profile or pool has used.

    Attributes:
        name: its name.
        tasks: how many tasks it had.
        failed: those of them that ended by themselves without a job.
        replaced: those that took the place of another one.
        nodes_lost: how often a node was lost under a task.
        slot_hours: the hours of its tasks, times their slots.
        node_hours: the same as parts of nodes.
        cost: what that cost.
    """

    name: str
    tasks: int = 0
    failed: int = 0
    replaced: int = 0
    nodes_lost: int = 0
    slot_hours: float = 0.0
    node_hours: float = 0.0
    cost: float = 0.0

    def plus(self, other: "Row") -> "Row":
        """Return both together, under this one's name."""
        return Row(
            self.name,
            self.tasks + other.tasks,
            self.failed + other.failed,
            self.replaced + other.replaced,
            self.nodes_lost + other.nodes_lost,
            self.slot_hours + other.slot_hours,
            self.node_hours + other.node_hours,
            self.cost + other.cost,
        )


@dataclass(frozen=True)
class Idle:
    """The part of a pool that no task used.

    Attributes:
        pool: the pool's id.
        node_hours: how many hours of nodes that were.
        cost: what they cost.
        hours_unseen: see `Pool`.
    """

    pool: str
    node_hours: float
    cost: float
    hours_unseen: float


@dataclass(frozen=True)
class Bill:
    """What the runners of a month cost.

    Attributes:
        month: the month.
        by: what the rows are.
        rows: those of tasks, the dearest first.
        idle: what belongs to nobody, by pool; empty if nobody knows.
    """

    month: Month
    by: By
    rows: tuple[Row, ...]
    idle: tuple[Idle, ...]

    @property
    def attributed(self) -> Row:
        """All tasks together."""
        total = Row("all tasks")
        for row in self.rows:
            total = total.plus(row)
        return total

    @property
    def cost(self) -> float:
        """What all of it cost: tasks, and nodes without tasks as far as they are known."""
        return self.attributed.cost + sum(idle.cost for idle in self.idle)


def reckon(uses: Iterable[Use], month: Month, by: By, pools: Mapping[str, Pool]) -> Bill:
    """Return the bill of a month.

    Args:
        uses: what tasks have used, each once; those outside the month are left out.
        month: the month.
        by: what the rows are.
        pools: each pool that tasks of the month used, and others that have nodes.
    """
    rows: dict[str, Row] = {}
    used = dict.fromkeys(pools, 0.0)
    for use in uses:
        if not use.is_in(month):
            continue
        pool, seconds = pools[use.pool], use.seconds_in(month)
        node_hours = seconds / _HOUR * use.slots / pool.slots
        used[use.pool] += node_hours
        key = {By.REPOSITORY: use.repository, By.PROFILE: use.profile, By.POOL: use.pool}[by] or UNKNOWN
        one = Row(
            key,
            1,
            int(use.outcome == "failed"),
            int(use.replaces),
            use.nodes_lost,
            seconds / _HOUR * use.slots,
            node_hours,
            node_hours * pool.price,
        )
        rows[key] = rows[key].plus(one) if key in rows else one
    idle = [
        Idle(name, rest, rest * pool.price, pool.hours_unseen)
        for name, pool in sorted(pools.items())
        if pool.node_hours is not None
        for rest in [max(0.0, pool.node_hours - used[name])]
    ]
    return Bill(month, by, tuple(sorted(rows.values(), key=lambda row: (-row.cost, row.name))), tuple(idle))


def node_hours(samples: Iterable[tuple[datetime, float]], month: Month) -> tuple[float, float]:
    """Return how many hours the nodes of a pool were there, and for how many hours nobody has counted them.

    Args:
        samples: the average number of nodes in each hour in which they were counted, and when it began.
        month: the month.
    """
    edges = {start: nodes for start, nodes in samples if start < month.end}
    total = seen = 0.0
    for start, nodes in edges.items():
        end = datetime.fromtimestamp(start.timestamp() + _HOUR, UTC)
        hours = max(0.0, (min(end, month.end) - max(start, month.start)).total_seconds() / _HOUR)
        total, seen = total + hours * nodes, seen + hours
    return total, max(0.0, month.hours - seen)
