"""The Batch jobs that the orchestrator creates: two per pool at most, told apart by their ids."""


def job_id(pool: str) -> str:
    """Return the id of the Batch job that holds a pool's runner tasks."""
    return f"github-runner-{pool}"


def note_id(pool: str) -> str:
    """Return the id of the Batch job that saves a pool's autoscale formula while the pool is boosted."""
    return f"github-boost-{pool}"
