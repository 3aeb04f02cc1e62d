"""The status as a program reads it (pure)."""

from collections.abc import Mapping

from orchestrator.explain.facts import PoolFacts, Unknown
from orchestrator.status.facts import Status, remarks

type Document = Mapping[str, object]


def document(status: Status) -> Document:
    """Return the status as JSON has it: times as texts, spans in seconds.

    Args:
        status: what is known.
    """
    found = status.findings
    last_at = status.last_pass_at
    level = remarks(status)[0].level
    return {
        "state": level.value,
        "remarks": [{"level": one.level.value, "says": one.says} for one in remarks(status)],
        "version": status.version,
        "account": status.account,
        "now": status.now.isoformat("T", "seconds"),
        "lastPass": None if last_at is None else last_at.isoformat("T", "seconds"),
        "lastPassAge": None if last_at is None else round((status.now - last_at).total_seconds()),
        "nextPass": status.next_pass_at.isoformat("T", "seconds"),
        "pools": {name: _pool(pool) for name, pool in status.pools.items()},
        "warnings": [
            {"item": one.item, "state": one.state.value, "says": one.says, "cure": one.cure} for one in status.warnings
        ],
        "checkedAt": None if status.checked_at is None else status.checked_at.isoformat("T", "seconds"),
        "found": found.model_dump(mode="json", by_alias=True),
    }


def _pool(pool: PoolFacts | Unknown | None) -> Document:
    if pool is None:
        return {"exists": False}
    if isinstance(pool, Unknown):
        return {"unknown": pool.reason}
    return {
        "nodes": pool.nodes,
        "target": pool.target,
        "most": pool.most_nodes,
        "slotsPerNode": pool.slots_per_node,
        "steady": pool.steady,
        "resizeErrors": [str(error) for error in pool.resize_errors],
        "formulaError": None if pool.formula_error is None else str(pool.formula_error),
    }
