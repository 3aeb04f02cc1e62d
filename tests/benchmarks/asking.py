"""What a pass asks GitHub, and how soon it finds and starts jobs that no delivery told of: counted, on virtual time."""

import functools
import random
from collections.abc import Iterator, Sequence

from tests.benchmarks.canned import World
from tests.benchmarks.table import Row

# Jobs that are lost in each kind of repository, over the second hour.
LOST = 40


def rows() -> Iterator[Row]:
    """Yield all rows; the unit of a time is virtual."""
    yield from found()
    yield from calls()
    yield from wall_time()
    yield from many_runners()
    yield from many_lost_jobs()


def found(counts: Sequence[int] = (60, 500, 5_000), ways: Sequence[str] = ("App", "token")) -> Iterator[Row]:
    """How soon a lost job has a runner; one repository in ten has runs in the last day."""
    for way in ways:
        for count in counts:
            names = _names(count)
            active, quiet = names[::10], [name for number, name in enumerate(names) if number % 10]
            world = World(names, frozenset(active), app=way == "App", limit=15_000 if way == "App" else 5_000)
            draw = random.Random(7)  # noqa: S311 - a drawing
            places = [(draw.choice(active), draw.choice(quiet)) for _ in range(LOST)]
            world.live(60, functools.partial(_lose, world, places), least=24)
            for kind, what in enumerate(("runs today", "quiet")):
                own = [job for job in world.lost if job % 2 == kind]
                yield Row(f"{count} repositories, {way}, {what}: found, p95", world.found_after(own, 0.95), "min")


def _lose(world: World, places: Sequence[tuple[str, str]], number: int) -> None:
    """Lose an equal number of jobs before each pass of the second hour."""
    for job, place in enumerate(places):
        if LOST * (number - 12) // 12 <= job < LOST * (number - 11) // 12:
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
