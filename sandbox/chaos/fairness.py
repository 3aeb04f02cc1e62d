"""What one organization's greed may cost another one: the scenario `greedy`, beside the same without it."""

import functools
from dataclasses import replace

from sandbox.chaos.operator_setup import LINUX_POOL
from sandbox.chaos.options import Options
from sandbox.chaos.report import quantile
from sandbox.chaos.workload import GREEDY, ORGANIZATION
from sandbox.chaos.world import World, simulate

# A slot for the greedy organization, then one for the modest one.
SLOTS = 2


def simulate_fairness(options: Options) -> World:
    """Run the scenario `greedy`, and hold the modest organization's waits against those it has alone."""
    limit = wait_alone(options)
    world = simulate(options)
    limit += time_of_slots(world)
    if wait(world) > limit:
        what = f"95 % of the waits are at most {wait(world):.0f} s, where {limit:.0f} s are enough"
        world.invariants.violate("a modest organization has its turn", what)
    return world


@functools.cache
def wait_alone(options: Options) -> float:
    """Return the `wait` without the greedy organization."""
    return wait(simulate(replace(options, scenarios=options.scenarios - {"greedy"})))


def wait(world: World) -> float:
    """Return the 95th percentile of the seconds until a runner took a job of the modest organization."""
    records = world.ledger.of_owner(ORGANIZATION)
    return quantile(sorted((record.taken_at or 0.0) - (record.queued_at or 0.0) for record in records), 0.95)


def time_of_slots(world: World) -> float:
    """Return the longest time in which two slots became free while the greedy organization's jobs waited for some."""
    last = max(record.taken_at or 0.0 for record in world.ledger.of_owner(GREEDY))
    free = [at for at, pool in world.containers.ended if pool == LINUX_POOL and at <= last]
    return max(later - earlier for earlier, later in zip(free, free[SLOTS:], strict=False))
