"""The workloads: the same for everybody, and what their descriptions say."""

from collections import Counter

import pytest

from arm.autoscale.traces import DAY, HOUR, LONGEST, SHORTEST, WORKLOADS, make


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_seed_decides(name: str) -> None:
    """The same seed gives the same jobs, another seed others."""
    assert make(name, 1) == make(name, 1)
    assert make(name, 1) != make(name, 2)


@pytest.mark.parametrize("name", WORKLOADS)
def test_jobs_that_can_be(name: str) -> None:
    """Every job is queued in the trace, runs for a possible time, and needs at most a job before it."""
    trace = make(name, 1)
    assert trace.jobs
    for number, job in enumerate(trace.jobs):
        assert 0 <= job.queued < trace.span
        assert SHORTEST <= job.duration <= LONGEST
        assert job.after is None or job.after < number


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("office_hours", 1000, 1250),
        ("matrix_64", 64, 64),
        ("matrix_256", 256, 256),
        ("nightly_batch", 225, 275),
        ("long_jobs", 105, 165),
        ("trickle", 85, 107),
        ("release_day", 500, 600),
        ("two_timezones", 1100, 1350),
        ("flaky_spikes", 600, 1100),
        ("pipeline", 1000, 1700),
    ],
)
def test_how_many(name: str, least: int, most: int) -> None:
    """There are about as many jobs as the rates say, on the mean of ten draws."""
    assert least <= sum(len(make(name, seed).jobs) for seed in range(10)) / 10 <= most


def test_office_hours() -> None:
    """Most jobs come in the middle of the day, and hardly any at night or at the weekend."""
    hours = Counter(int(job.queued % DAY / HOUR) for job in make("office_hours", 1).jobs if job.queued < 5 * DAY)
    assert hours[12] > hours[8] > hours[3]
    weekend = [job for job in make("office_hours", 1).jobs if job.queued >= 5 * DAY]
    assert len(weekend) < 40


def test_pipelines() -> None:
    """Each build is followed by 6 to 14 tests, and the longest of them by one deployment."""
    jobs = make("pipeline", 1).jobs
    builds = [number for number, job in enumerate(jobs) if job.after is None]
    for build in builds:
        tests = [number for number, job in enumerate(jobs) if job.after == build]
        assert 6 <= len(tests) <= 14
        longest = max(tests, key=lambda number: jobs[number].duration)
        assert [number for number, job in enumerate(jobs) if job.after in tests] == [tests[-1] + 1]
        assert jobs[tests[-1] + 1].after == longest
