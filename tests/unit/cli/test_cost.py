"""What the runners of a month cost: reckoned, and shown."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.cost import in_workspace
from orchestrator.cli.cost.picture import svg
from orchestrator.cli.cost.reckoning import UNKNOWN, By, Idle, Month, Pool, Use, node_hours, reckon
from orchestrator.cli.cost.report import as_csv, document, text
from orchestrator.errors import TransientError
from tests.builders import task_state
from tests.queries import problems

NOW = datetime(2026, 12, 10, 12, tzinfo=UTC)
NOVEMBER = Month.of("2026-11", NOW)
POOLS = {"linux": Pool(0.2, 5), "windows": Pool(0.4, 2)}
HOUR = timedelta(hours=1)


def use(**values: Any) -> Use:
    """Return a task that took one slot of the Linux pool for an hour in November."""
    usual: dict[str, Any] = {
        "pool": "linux", "repository": "acme/app", "profile": "ubuntu-latest", "slots": 1, "outcome": "job",
        "start": NOVEMBER.start + HOUR, "end": NOVEMBER.start + 2 * HOUR, "replaces": False, "nodes_lost": 0,
    }  # fmt: skip
    return Use(**usual | values)


class TestMonth:
    """Months are of UTC."""

    def test_over(self) -> None:
        """A month that is over has its whole length, also across a year's end and in a leap year."""
        assert (NOVEMBER.start, NOVEMBER.end) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
        assert NOVEMBER.is_over
        assert Month.of("2025-12", NOW).end == datetime(2026, 1, 1, tzinfo=UTC)
        assert Month.of("2024-02", NOW).hours == 29 * 24

    def test_so_far(self) -> None:
        """The month that goes on ends now, and its first moment belongs to it."""
        december = Month.of("2026-12", NOW)
        assert (december.end, december.is_over) == (NOW, False)
        assert Month.of("2026-11", NOVEMBER.start).hours == 0

    @pytest.mark.parametrize(
        ("text", "words"),
        [("2026-13", "no month"), ("2026-1", "no month"), ("november", "no month"), ("", "no month"),
         ("0000-01", "no month"), ("9999-12", "no month"), ("2027-01", "has not begun")],
    )  # fmt: skip
    def test_no_month(self, text: str, words: str) -> None:
        """What is no month, or has not begun, is refused."""
        with pytest.raises(ValueError, match=words):
            Month.of(text, NOW)


class TestUse:
    """What a task has used."""

    def test_of_a_task(self) -> None:
        """Batch's words about a task become what it used."""
        task = task_state(
            "runner-1-1-r2", "linux", "finished", NOW, started_at=NOW, ended_at=NOW + HOUR, exit_code=75, slots=2,
            repository="acme/app", profile="big", runs_before=1,
        )  # fmt: skip
        assert Use.of(task) == Use(
            "linux", "acme/app", "big", 2, NOW, NOW + HOUR, "failed", replaces=True, nodes_lost=1
        )
        running = Use.of(task_state("runner-1-1", "linux", "running", NOW, started_at=NOW))
        assert (running.outcome, running.end, running.replaces) == ("running", None, False)

    @pytest.mark.parametrize(
        ("changes", "hours"),
        [
            ({}, 1),
            ({"start": NOVEMBER.start - HOUR}, 2),
            ({"end": NOVEMBER.end + HOUR, "start": NOVEMBER.end - HOUR}, 1),
            ({"end": None, "start": NOVEMBER.end - HOUR}, 1),
            ({"start": None}, 0),
            ({"start": NOVEMBER.start - 2 * HOUR, "end": NOVEMBER.start - HOUR}, None),
            ({"start": NOVEMBER.end, "end": None}, None),
            ({"start": None, "end": None}, None),
        ],
    )
    def test_in_the_month(self, changes: dict[str, Any], hours: float | None) -> None:
        """Of a task over the month's edge the part within it counts; one that never started counts without time."""
        one = use(**changes)
        assert one.is_in(NOVEMBER) is (hours is not None)
        assert hours is None or one.seconds_in(NOVEMBER) == hours * 3600


uses = st.builds(
    Use,
    pool=st.sampled_from(sorted(POOLS)),
    repository=st.sampled_from(["", "acme/app", "acme/web"]),
    profile=st.sampled_from(["", "a", "b"]),
    slots=st.integers(1, 2),
    start=st.none() | st.floats(-168, 840).map(lambda hours: NOVEMBER.start + hours * HOUR),
    end=st.none(),
    outcome=st.sampled_from(["job", "ended", "failed"]),
    replaces=st.booleans(),
    nodes_lost=st.integers(0, 2),
)
ended = st.builds(
    lambda one, hours: Use(**{**one.__dict__, "end": (one.start or NOVEMBER.start) + timedelta(hours=hours)}),
    uses,
    st.floats(0, 200),
)


class TestReckoning:
    """Who pays."""

    def test_a_part_of_a_node(self) -> None:
        """A slot of five for an hour is a fifth of a node's price; a whole node is all of it."""
        bill = reckon([use(), use(slots=5, repository="acme/web")], NOVEMBER, By.REPOSITORY, POOLS)
        assert [(row.name, row.slot_hours, row.node_hours) for row in bill.rows] == [
            ("acme/web", 5.0, 1.0), ("acme/app", 1.0, 0.2),
        ]  # fmt: skip
        assert [row.cost for row in bill.rows] == [pytest.approx(0.2), pytest.approx(0.04)]
        assert bill.cost == pytest.approx(0.24)

    def test_counts(self) -> None:
        """Failed tasks, those that replaced others, and lost nodes are counted; what is not known has a name."""
        tasks = [use(outcome="failed"), use(replaces=True, nodes_lost=2), use(profile="")]
        rows = reckon(tasks, NOVEMBER, By.PROFILE, POOLS).rows
        assert [(row.name, row.tasks, row.failed, row.replaced, row.nodes_lost) for row in rows] == [
            ("ubuntu-latest", 2, 1, 1, 2), (UNKNOWN, 1, 0, 0, 0),
        ]  # fmt: skip

    def test_idle(self) -> None:
        """What the pool's nodes cost beyond its tasks belongs to nobody; it is never less than nothing."""
        pools = {"linux": Pool(0.2, 5, 10.0, 3.0), "windows": Pool(0.4, 2), "other": Pool(1.0, 1, 0.0)}
        bill = reckon([use(slots=5)], NOVEMBER, By.POOL, pools)
        linux, other = bill.idle
        assert (linux.pool, linux.node_hours, linux.hours_unseen) == ("linux", 9.0, 3.0)
        assert linux.cost == pytest.approx(1.8)
        assert other == Idle("other", 0.0, 0.0, 0.0)
        assert bill.cost == pytest.approx(2.0)

    @given(st.lists(ended, max_size=20))
    def test_every_way_to_the_same_sum(self, tasks: list[Use]) -> None:
        """By repository, by profile and by pool the same tasks, hours and money come together."""
        totals = [reckon(tasks, NOVEMBER, by, POOLS).attributed for by in By]
        first, *others = [(row.tasks, row.failed, row.replaced, row.nodes_lost) for row in totals]
        assert others == [first, first]
        hours, *others_hours = [(row.slot_hours, row.node_hours, row.cost) for row in totals]
        assert others_hours == [pytest.approx(hours), pytest.approx(hours)]

    @given(st.lists(ended, max_size=20))
    def test_months_add_up(self, tasks: list[Use]) -> None:
        """A task over a month's edge costs in both months together what it costs as a whole."""
        months = [Month.of(name, datetime(2027, 1, 1, tzinfo=UTC)) for name in ("2026-10", "2026-11", "2026-12")]
        split = sum(reckon(tasks, month, By.POOL, POOLS).cost for month in months)
        whole = sum(
            (one.end - one.start).total_seconds() / 3600 * one.slots / POOLS[one.pool].slots * POOLS[one.pool].price
            for one in tasks
            if one.start is not None and one.end is not None
        )
        assert split == pytest.approx(whole)

    def test_hours_of_nodes(self) -> None:
        """An hour's average counts for the part of the hour that is in the month; what was not counted is told."""
        start = datetime(2026, 12, 10, 10, tzinfo=UTC)
        december = Month.of("2026-12", NOW - timedelta(minutes=30))
        samples = [(start, 2.0), (start + HOUR, 4.0), (start + 2 * HOUR, 9.0), (NOVEMBER.start, 7.0)]
        total, unseen = node_hours(samples, december)
        assert (total, unseen) == (2 + 4 * 0.5, december.hours - 1.5)


BILL = reckon(
    [use(slots=5), use(repository="acme/<web>" + "w" * 40, outcome="failed")],
    NOVEMBER,
    By.REPOSITORY,
    {"linux": Pool(1.2, 5, 3.0)},
)


class TestShown:
    """A bill for people and programs."""

    def test_text(self) -> None:
        """A table, with a bar that is as long as the row is dear."""
        bill = reckon([use(slots=5), use(repository="acme/web")], NOVEMBER, By.REPOSITORY, {"linux": Pool(1.2, 5, 3.0)})
        assert text(bill) == "\n".join(
            [
                "2026-11, UTC",
                "",
                "repository   tasks  failed  replaced  lost  slot hours  node hours  cost",
                "acme/app         1       0         0     0         5.0         1.0  1.20  " + "█" * 30,
                "acme/web         1       0         0     0         1.0         0.2  0.24  " + "█" * 6,
                "all tasks        2       0         0     0         6.0         1.2  1.44",
                "idle: linux                                                    1.8  2.16",
                "together                                                            3.60",
            ]
        )

    def test_text_of_a_month_that_goes_on(self) -> None:
        """It says so; and without prices there are no bars, and without nodes no sum beyond the tasks."""
        pools = {"linux": Pool(0.0, 5)}
        bill = reckon([use(start=NOW - HOUR, end=NOW)], Month.of("2026-12", NOW), By.POOL, pools)
        lines = text(bill).splitlines()
        assert lines[0] == "2026-12 so far, UTC"
        assert len(lines) == 5
        assert "█" not in text(bill)

    def test_csv(self) -> None:
        """Every row is one of the bill, with the month; names are quoted as CSV demands."""
        rows = list(csv.DictReader(io.StringIO(as_csv(BILL))))
        assert [row["repository"] for row in rows] == [BILL.rows[0].name, BILL.rows[1].name, "(idle: linux)"]
        assert rows[0] == {
            "month": "2026-11", "repository": "acme/app", "tasks": "1", "failed": "0", "replaced": "0",
            "nodes_lost": "0", "slot_hours": "5.0", "node_hours": "1.0", "cost": "1.2",
        }  # fmt: skip
        assert rows[2]["tasks"] == ""

    def test_for_a_program(self) -> None:
        """Everything is there, unrounded as far as it matters, with who knew it and what is missing."""
        found = document(BILL, "batch", ["a note"])
        assert (found["source"], found["by"], found["notes"], found["cost"]) == ("batch", "repository", ["a note"], 3.6)
        assert found["idle"] == [{"pool": "linux", "nodeHours": 1.8, "cost": 2.16, "hoursUnseen": 0.0}]
        without = reckon([use()], NOVEMBER, By.POOL, {"linux": Pool(1.0, 1)})
        assert document(without, "batch", [])["idle"] is None

    def test_picture(self) -> None:
        """The picture is well-formed, has a bar for each row and for idle nodes, and cuts long names."""
        drawn = ET.fromstring(svg(BILL))  # noqa: S314 - our own text
        texts = [element.text or "" for element in drawn.iter() if element.tag.endswith("}text")]
        assert any(name.startswith("acme/<web>") and name.endswith("…") for name in texts)
        kinds = [element.get("class") for element in drawn.iter() if element.tag.endswith("}rect")]
        assert kinds == ["page", "task", "task", "idle"]

    def test_picture_of_nothing(self) -> None:
        """Without any cost there are no bars to compare, and still a picture."""
        assert "0.00 together" in svg(reckon([], NOVEMBER, By.POOL, {}))


class TestWorkspace:
    """What the log says of a month."""

    @pytest.mark.parametrize("query", [in_workspace.RUNNERS, in_workspace.NODES])
    def test_queries(self, query: str) -> None:
        """The queries name lines and fields that the log has."""
        assert problems(query) == []

    def test_runners(self) -> None:
        """A line `runner ended` becomes what the task used; it may end some days after the month."""
        line = {
            "pool": "linux", "task": "runner-1-1-r1", "repository": "acme/app", "profile": "big", "slots": 2,
            "created_at": "2026-11-02T09:59:00+00:00", "started_at": "2026-11-02T10:00:00+00:00",
            "ended_at": "2026-11-02T11:00:00+00:00", "outcome": "job", "runs_before": 1,
        }  # fmt: skip
        asked: list[str] = []

        def ask(_query: str, timespan: str) -> list[dict[str, Any]]:
            asked.append(timespan)
            return [line, {**line, "started_at": None, "ended_at": None, "outcome": "failed"}]

        ran, never = in_workspace.uses(NOVEMBER, ask)
        start = datetime(2026, 11, 2, 10, tzinfo=UTC)
        assert ran == Use("linux", "acme/app", "big", 2, start, start + HOUR, "job", replaces=True, nodes_lost=1)
        assert (never.start, never.end) == (None, start - timedelta(minutes=1))
        assert asked == ["2026-11-01T00:00:00Z/2026-12-07T00:00:00Z"]

    def test_pools(self) -> None:
        """Each pool has its slots and the hours of its nodes."""
        hours = [{"pool": "linux", "hour": f"2026-11-01T0{hour}:00:00Z", "nodes": 1.5, "slots": 4} for hour in range(3)]
        found = in_workspace.pools(NOVEMBER, lambda _query, _timespan: hours)
        assert found == {"linux": (4, 4.5, 717.0)}

    @pytest.mark.parametrize("row", [{}, {"pool": "linux", "hour": "2026-11-01T00:00:00", "nodes": 1, "slots": 1}])
    def test_another_form(self, row: dict[str, Any]) -> None:
        """A line of another form, or without its time's zone, is told as such."""
        with pytest.raises(TransientError, match="not of the form"):
            in_workspace.pools(NOVEMBER, lambda _query, _timespan: [row])
