"""What a pass asks GitHub, and how soon it finds and starts jobs that no delivery told of: counted, on virtual time."""

import functools
import random
from collections.abc import Iterator, Sequence

from tests.benchmarks.canned import World
from tests.benchmarks.table import Row

# Jobs that are lost in each kind of repository, over one hour.
LOST = 40
HOUR = 12  # passes


def rows() -> Iterator[Row]:
    """Yield the rows that take seconds; a time is virtual."""
    yield from found(60)
    yield from calls()
    yield from wall_time()


def long_rows() -> Iterator[Row]:
    """Yield the rows that take minutes; a time is virtual."""
    yield from found(500, 5_000)
    yield from found(5_000, renewed=True)
    yield from many_runners()
    yield from many_lost_jobs()


def found(*counts: int, renewed: bool = False) -> Iterator[Row]:
    """How soon a lost job has a runner; one repository in ten has runs in the last day.

    Jobs are lost in the second hour of the first process that there ever was; or in the first hour of one that goes on
    after three hours.
    """
    begin, whose = (3 * HOUR, ", new process") if renewed else (HOUR, "")
    for way in ("App", "token"):
        for count in counts:
            names = _names(count)
            active, quiet = names[::10], [name for number, name in enumerate(names) if number % 10]
            world = World(names, frozenset(active), app=way == "App", limit=15_000 if way == "App" else 5_000)
            draw = random.Random(7)  # noqa: S311 - a drawing
            places = [(draw.choice(active), draw.choice(quiet)) for _ in range(LOST)]
            lose = functools.partial(_lose, world, places, begin)
            world.live(begin + 4 * HOUR, lose, least=begin + HOUR, new_process_at=begin if renewed else None)
            for kind, what in enumerate(("runs today", "quiet")):
                own = [job for job in world.lost if job % 2 == kind]
                yield Row(
                    f"{count} repositories, {way}{whose}, {what}: found, p95", world.found_after(own, 0.95), "min"
                )


def _lose(world: World, places: Sequence[tuple[str, str]], begin: int, number: int) -> None:
    """Lose an equal number of jobs before each pass of an hour."""
    for job, place in enumerate(places):
        if LOST * (number - begin) // HOUR <= job < LOST * (number - begin + 1) // HOUR:
            for kind, name in enumerate(place):
                world.lose(1_000_000 + 2 * job + kind, name)


def calls() -> Iterator[Row]:
    """The calls of a pass where not all fit."""
    names = _names(60)
    world = World(names, frozenset(names), runs=5, runners=2_000).live(12)
    note = f"and {(sum(world.calls) - sum(world.counted)) / len(world.calls):.0f} that are free"
    figure = sum(world.counted) / len(world.counted)
    yield Row("60 repositories, 2,000 runners, 5 runs each", figure, "calls", 312, note)
    yield Row("  passes that skipped the organization", sum(map(bool, world.skipped)), f"of {len(world.skipped)}")


def wall_time() -> Iterator[Row]:
    """How long a pass of 800 calls takes, in the second pass."""
    for accounts in (1, 3):
        names = [f"acme{number % accounts}/r{number}" for number in range(60)]
        world = World(names, frozenset(names), runs=10, runners=2_000 // accounts, app=True, limit=15_000).live(3)
        yield Row(f"a pass, {accounts} installation(s): {world.calls[-1]} calls", world.seconds[-1], "s")


def many_runners() -> Iterator[Row]:
    """Whether a pass decides anything where very many runners are registered."""
    names = _names(60)
    for count in (10_000, 50_000):
        for app in (True, False):
            world = World(names, frozenset(names), runners=count, app=app, limit=15_000 if app else 5_000).live(12)
            skipped, how = sum(map(bool, world.skipped)), "App" if app else "token"
            yield Row(f"{count} runners, {how}: blind passes", skipped, "of 12", note=f"{max(world.calls)} calls")


def many_lost_jobs() -> Iterator[Row]:
    """How long until 5,000 jobs that were lost at once have a runner."""
    for registration, app in (("token", False), ("jit", False), ("jit", True)):
        names, how = _names(20), "App" if app else "token"
        world = World(names, frozenset(names), registration=registration, app=app, limit=15_000 if app else 5_000)

        def lose(number: int, world: World = world, names: Sequence[str] = names) -> None:
            if number == 1:
                for job in range(5_000):
                    run = 2_000_000 + job // 20
                    world.lose(1_000_001 + job, names[run % 20], run)

        world.live(20, lose, least=2)
        yield Row(f"5,000 lost jobs, {how}, {registration}: all started", world.found_after(world.lost, 1.0), "min",
                  note=f"{len(world.started)} in {len(world.calls)} passes")  # fmt: skip


def _names(count: int) -> list[str]:
    return [f"acme/r{number:04d}" for number in range(count)]
