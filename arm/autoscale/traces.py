"""Made-up workloads: when jobs are queued, and how long they run. The same name and seed make the same jobs."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

# When each trace begins: midnight of a Monday.
START = datetime(2024, 1, 8, tzinfo=UTC).timestamp()
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SHORTEST, LONGEST = 20.0, 6 * HOUR


@dataclass(frozen=True)
class Job:
    """A workflow job.

    Attributes:
        queued: seconds since the trace's beginning.
        duration: seconds from its first step to its end.
        after: the number of the job that must end first (`needs`), if one must; it is queued then.
    """

    queued: float
    duration: float
    after: int | None = None


@dataclass(frozen=True)
class Trace:
    """A workload; it begins at midnight of a Monday, UTC.

    Attributes:
        name: which workload.
        jobs: in any order.
        span: seconds for which a pool is looked at, at least.
    """

    name: str
    jobs: list[Job]
    span: float


class _Draw:
    """Random jobs."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)  # noqa: S311 - not for secrets

    def duration(self, median: float, spread: float) -> float:
        """Return a duration in seconds: log-normal, `spread` is the standard deviation of its logarithm."""
        return min(LONGEST, max(SHORTEST, self.random.lognormvariate(math.log(median), spread)))

    def times(self, per_hour: Callable[[float], float], most: float, until: float) -> list[float]:
        """Return times of a Poisson process whose rate changes, by thinning one with the highest rate (`most`)."""
        found, time = [], 0.0
        while (time := time + self.random.expovariate(most / HOUR)) < until:
            if self.random.uniform(0, most) < per_hour(time):
                found.append(time)
        return found

    def single(self, times: list[float], median: float, spread: float) -> list[Job]:
        """Return a job for each of these times."""
        return [Job(time, self.duration(median, spread)) for time in times]

    def matrix(self, at: float, count: int, median: float, spread: float) -> list[Job]:
        """Return jobs that are queued within ten seconds."""
        return [Job(at + self.random.uniform(0, 10), self.duration(median, spread)) for _ in range(count)]


def _in_hours(time: float, start: float, end: float) -> bool:
    return start <= time % DAY / HOUR < end


def _is_workday(time: float) -> bool:
    return time % (7 * DAY) < 5 * DAY


def _day(time: float, start: float, end: float, most: float) -> float:
    """Return a rate that is highest in the middle of the working hours, and a quarter of that at both their ends."""
    from_middle = (time % DAY / HOUR - (start + end) / 2) / ((end - start) / 2)
    return most * (1 - 0.75 * from_middle**2) if abs(from_middle) < 1 else 0.0


def _office_hours(draw: _Draw) -> tuple[list[Job], float]:
    """A week: up to 30 jobs an hour from 8 to 18, of about 5 minutes; hardly any at the weekend."""
    times = draw.times(lambda time: _day(time, 8, 18, 30) if _is_workday(time) else 0.3, 30, 7 * DAY)
    return draw.single(times, 5 * MINUTE, 0.7), 7 * DAY


def _matrix_64(draw: _Draw) -> tuple[list[Job], float]:
    """One matrix of 64 jobs of about 8 minutes."""
    return draw.matrix(10 * HOUR, 64, 8 * MINUTE, 0.35), 16 * HOUR


def _matrix_256(draw: _Draw) -> tuple[list[Job], float]:
    """One matrix of 256 jobs of about 8 minutes."""
    return draw.matrix(10 * HOUR, 256, 8 * MINUTE, 0.35), 16 * HOUR


def _nightly_batch(draw: _Draw) -> tuple[list[Job], float]:
    """Five days: 40 jobs of about 20 minutes at 2 o'clock, one short job an hour from 8 to 18."""
    jobs = [job for day in range(5) for job in draw.matrix(day * DAY + 2 * HOUR, 40, 20 * MINUTE, 0.5)]
    times = draw.times(lambda time: float(_in_hours(time, 8, 18)), 1, 5 * DAY)
    return jobs + draw.single(times, 4 * MINUTE, 0.6), 5 * DAY


def _long_jobs(draw: _Draw) -> tuple[list[Job], float]:
    """Three days: jobs of about 90 minutes, three an hour from 7 to 19, else one in an hour and a half."""
    times = draw.times(lambda time: 3.0 if _in_hours(time, 7, 19) else 0.7, 3, 3 * DAY)
    return draw.single(times, 90 * MINUTE, 0.5), 3 * DAY + 6 * HOUR


def _trickle(draw: _Draw) -> tuple[list[Job], float]:
    """Four days: one job of about 3 minutes an hour, day and night."""
    return draw.single(draw.times(lambda _: 1.0, 1, 4 * DAY), 3 * MINUTE, 0.6), 4 * DAY


def _release_day(draw: _Draw) -> tuple[list[Job], float]:
    """One day: up to 20 jobs an hour and seven matrices of 30 to 80 jobs."""
    jobs = draw.single(draw.times(lambda time: _day(time, 7, 20, 20), 20, DAY), 5 * MINUTE, 0.7)
    for hour, count in ((8.5, 40), (10.2, 64), (11.0, 30), (13.7, 80), (15.1, 48), (16.4, 64), (18.0, 30)):
        jobs += draw.matrix(hour * HOUR, count, 7 * MINUTE, 0.5)
    return jobs, 28 * HOUR


def _two_timezones(draw: _Draw) -> tuple[list[Job], float]:
    """A week: two teams, up to 18 jobs an hour each from 7 to 16 and from 14 to 23."""

    def rate(time: float) -> float:
        return _day(time, 7, 16, 18) + _day(time, 14, 23, 18) if _is_workday(time) else 0.5

    return draw.single(draw.times(rate, 36, 7 * DAY), 6 * MINUTE, 0.7), 7 * DAY


def _flaky_spikes(draw: _Draw) -> tuple[list[Job], float]:
    """Five days: up to 8 jobs an hour, now and then 8 to 30 at once, and every seventh job is run again."""
    times = draw.times(lambda time: _day(time, 7, 19, 8) if _is_workday(time) else 0.3, 8, 5 * DAY)
    jobs = draw.single(times, 5 * MINUTE, 0.6)
    for time in draw.times(lambda time: 0.45 if _in_hours(time, 8, 18) else 0.05, 0.45, 5 * DAY):
        jobs += draw.matrix(time, draw.random.randint(8, 30), 6 * MINUTE, 0.5)
    again = [number for number in range(len(jobs)) if draw.random.random() < 1 / 7]
    for number in again:
        end = jobs[number].queued + jobs[number].duration
        jobs.append(Job(end + draw.random.uniform(2, 12) * MINUTE, jobs[number].duration))
    return jobs, 5 * DAY


def _pipeline(draw: _Draw) -> tuple[list[Job], float]:
    """Five days: up to 3 workflows an hour of a build, then 6 to 14 tests, then a deployment after the longest one."""
    jobs: list[Job] = []
    for time in draw.times(lambda time: _day(time, 8, 18, 3) if _is_workday(time) else 0.1, 3, 5 * DAY):
        build = len(jobs)
        jobs.append(Job(time, draw.duration(4 * MINUTE, 0.4)))
        tests = [draw.duration(7 * MINUTE, 0.5) for _ in range(draw.random.randint(6, 14))]
        jobs += [Job(time, duration, build) for duration in tests]
        jobs.append(Job(time, draw.duration(2 * MINUTE, 0.4), build + 1 + tests.index(max(tests))))
    return jobs, 5 * DAY


WORKLOADS: dict[str, Callable[[_Draw], tuple[list[Job], float]]] = {
    "office_hours": _office_hours,
    "matrix_64": _matrix_64,
    "matrix_256": _matrix_256,
    "nightly_batch": _nightly_batch,
    "long_jobs": _long_jobs,
    "trickle": _trickle,
    "release_day": _release_day,
    "two_timezones": _two_timezones,
    "flaky_spikes": _flaky_spikes,
    "pipeline": _pipeline,
}


def make(name: str, seed: int) -> Trace:
    """Return a workload's trace; another seed makes other jobs of the same kind."""
    jobs, span = WORKLOADS[name](_Draw(f"{name}/{seed}"))
    return Trace(name, [Job(round(job.queued, 1), round(job.duration, 1), job.after) for job in jobs], span)
