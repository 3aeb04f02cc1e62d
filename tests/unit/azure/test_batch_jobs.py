"""The ids of Batch jobs, and the list of those that are known."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from azure.batch.models import BatchJob
from azure.core.paging import ItemPaged
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.azure.batch_jobs import PRIORITIES, KnownJobs, former_job_id, job_id, list_jobs, possible_job_ids
from orchestrator.config.profiles import Priority
from tests.fakes import ManualClock

POOLS = st.from_regex(r"[A-Za-z0-9_-]{1,50}", fullmatch=True)
LOGINS = st.from_regex(r"[A-Za-z0-9._-]{1,100}", fullmatch=True)
KEYS = st.tuples(POOLS, LOGINS, st.sampled_from(sorted(PRIORITIES)))
MINUTE = timedelta(minutes=1)


def test_readable() -> None:
    """An id names pool, account and priority."""
    assert re.fullmatch(r"github-runner-batchLinux-acme-high-[0-9a-f]{8}", job_id("batchLinux", "Acme", "high"))


def test_stable() -> None:
    """An id is the same in every release: tasks of the release before must be found."""
    assert job_id("batchLinux", "acme", "normal") == "github-runner-batchLinux-acme-normal-9cd1bb7d"


@given(KEYS)
def test_ids_that_batch_takes(key: tuple[str, str, Priority]) -> None:
    """Whatever pool and account are, Batch takes the id, and it is not the one of an earlier version."""
    name = job_id(*key)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert name.lower() != former_job_id(key[0]).lower()
    assert name.lower() in possible_job_ids(key[0], key[1])


@given(KEYS, KEYS)
def test_unambiguous(one: tuple[str, str, Priority], other: tuple[str, str, Priority]) -> None:
    """Two ids are the same, compared without case, only for the same pool, account and priority."""
    same = [part.lower() for part in one] == [part.lower() for part in other]
    assert (job_id(*one).lower() == job_id(*other).lower()) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a-b", "c"), ("a", "b-c")),
        (("pool", "a.b"), ("pool", "a-b")),
        (("pool", "a-low"), ("pool-a", "low")),
        (("p" * 50, "acme"), ("p" * 50, "other")),
        (("pool", "a" * 39 + "1"), ("pool", "a" * 39 + "2")),
    ],
)
def test_what_looks_alike(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Hyphens, cut endings and characters that an id cannot hold lead to no confusion."""
    assert job_id(*one, "low") != job_id(*other, "low")


class FakeClient:
    """The SDK, as far as it lists jobs."""

    def list_jobs(self, **_options: object) -> ItemPaged[BatchJob]:
        """Return a pool's job, and one that makes a pool of its own."""
        found = [
            BatchJob({"id": "github-runner-x", "poolInfo": {"poolId": "Linux"}}),
            BatchJob({"id": "github-runner-auto", "poolInfo": {"autoPoolSpecification": {}}}),
        ]
        return ItemPaged(lambda _token: found, lambda page: (None, iter(page)))


def test_a_job_without_a_pool() -> None:
    """A Batch job of somebody else that makes its own pool is left out."""
    client: Any = FakeClient()
    assert list_jobs(client) == {"linux": ["github-runner-x"]}


class FakeList:
    """The account's list of Batch jobs."""

    def __init__(self, jobs: Mapping[str, Sequence[str]]) -> None:
        self.jobs = jobs
        self.calls = 0

    def __call__(self) -> Mapping[str, Sequence[str]]:
        """Return the list."""
        self.calls += 1
        return self.jobs


def test_known_jobs() -> None:
    """The list is read when it is too old for what it is needed for; a pool's id is compared without case."""
    clock, listed = ManualClock(), FakeList({"linux": ["one"]})
    jobs = KnownJobs(listed, clock)
    assert jobs.known("linux") == ()
    assert jobs.of("Linux", MINUTE) == ["one"]
    clock.advance(MINUTE)
    assert (jobs.of("linux", MINUTE), listed.calls) == (["one"], 1)
    listed.jobs = {"linux": ["one", "two"]}
    clock.advance(MINUTE)
    assert (jobs.of("linux", 2 * MINUTE), listed.calls) == (["one"], 1)
    assert (jobs.of("linux", MINUTE), listed.calls) == (["one", "two"], 2)
    assert jobs.of("windows", MINUTE) == ()


def test_a_new_job_is_known() -> None:
    """A Batch job that this process has created is known at once, and once."""
    jobs = KnownJobs(FakeList({}), ManualClock())
    for name in ("One", "one", "two"):
        jobs.add("Linux", name)
    assert jobs.known("linux") == ["One", "two"]
