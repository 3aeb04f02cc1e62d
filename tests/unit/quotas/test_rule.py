"""How many runners a repository, or a profile, may have at once."""

from typing import Any

import pytest

from orchestrator.config.settings import Settings
from orchestrator.quotas.rule import Quota, limited_pools, quotas_of, slots_of, warnings, without_effect
from tests.unit.quotas.builders import CPU, GPU, job_event, profile_of, task_of, with_profiles

OWN_GROUP = {"repositories": ["acme/app", "acme/lib-*"], "runnerGroup": "App"}
PER_REPOSITORY = {"MaxRunnersPerRepository": "3"}


def quotas(configured: Settings, full_name: str = "Acme/App") -> tuple[Quota, ...]:
    """Return the quotas of a job that the profile `gpu` serves."""
    return quotas_of(job_event(1, full_name), profile_of(configured, "gpu"), configured)


class TestReason:
    """Why a job has to wait."""

    def test_room(self) -> None:
        """While a repository has fewer runners than it may have, nothing holds its next job."""
        slots = slots_of([task_of(1), task_of(2, "acme/other"), task_of(3, state="finished")])
        assert Quota(2, repository="acme/app").reason(slots) is None

    def test_a_repository(self) -> None:
        """Runners that wait and runners that run count, and the reason names them."""
        slots = slots_of([task_of(1), task_of(2, "acme/other"), task_of(3, "ACME/App", state="waiting")])
        assert Quota(2, repository="acme/app").reason(slots) == (
            "acme/app has 2 of 2 runners (MaxRunnersPerRepository): runner-1-1, runner-3-1"
        )

    def test_many_holders(self) -> None:
        """Of many holders a few are named, and the others counted."""
        slots = slots_of(task_of(number) for number in range(1, 9))
        reason = Quota(7, repository="acme/app").reason(slots)
        assert reason is not None
        assert reason.startswith("acme/app has 8 of 7 runners (MaxRunnersPerRepository): runner-1-1, ")
        assert reason.endswith("runner-5-1 and 3 more")

    def test_a_profile(self) -> None:
        """The runners of a profile count together, and the reason says which repositories have them."""
        tasks = [task_of(1), task_of(2, "acme/lib"), task_of(3, "acme/lib"), task_of(4, profile="cpu")]
        assert Quota(3, profile="gpu").reason(slots_of(tasks)) == (
            "profile gpu has 3 of 3 runners (maxRunners): acme/lib 2, acme/app 1"
        )

    def test_a_task_that_does_not_say(self) -> None:
        """A task that does not say which job it was started for counts for nobody."""
        task = task_of(1)
        assert slots_of([type(task)(task.task_id, task.pool, task.state, task.created_at)]) == []


class TestWhereItTakesEffect:
    """A quota takes effect only where GitHub gives the runners to nobody else."""

    @pytest.mark.parametrize(
        ("gpu", "changes", "effective"),
        [
            ({}, {"RunnerScope": "repository"}, True),
            ({}, {}, False),
            ({}, {"RunnerScope": "enterprise", "GithubEnterprise": "big"}, False),
            (OWN_GROUP, {}, True),
            (OWN_GROUP, {"RunnerScope": "enterprise", "GithubEnterprise": "big"}, True),
            ({"repositories": ["acme/app"]}, {}, False),
            ({"repositories": ["acme/app"]}, {"RunnerGroup": "App"}, False),
            ({"runnerGroup": "App"}, {}, False),
            (OWN_GROUP | {"runnerGroup": "Default"}, {}, False),
        ],
    )
    def test_scopes_and_groups(self, gpu: dict[str, Any], changes: dict[str, str], *, effective: bool) -> None:
        """It needs repository runners, or a group that no profile uses for other repositories."""
        configured = with_profiles(GPU | {"maxRunners": 4} | gpu, CPU, **PER_REPOSITORY, **changes)
        expected = (Quota(3, repository="acme/app"), Quota(4, profile="gpu")) if effective else ()
        assert quotas(configured) == expected

    @pytest.mark.parametrize(
        ("other", "effective"),
        [
            (CPU, True),
            (CPU | {"runnerGroup": "Others"}, True),
            (CPU | OWN_GROUP, True),
            (CPU | OWN_GROUP | {"runnerGroup": "APP", "repositories": ["acme/LIB-*", "acme/app"]}, True),
            (CPU | OWN_GROUP | {"repositories": ["acme/app"]}, False),
            (CPU | {"runnerGroup": "app"}, False),
        ],
    )
    def test_another_profile_of_the_group(self, other: dict[str, Any], *, effective: bool) -> None:
        """A group of two profiles is for the same repositories in both, in whatever order and case."""
        assert bool(quotas(with_profiles(GPU | OWN_GROUP | {"maxRunners": 1}, other))) == effective

    def test_a_users_repository(self) -> None:
        """Where there is no organization the runner registers in the repository, so the quota takes effect."""
        configured = with_profiles(GPU, **PER_REPOSITORY)
        event = job_event(1).model_copy(update={"organization": None})
        assert quotas_of(event, configured.profiles[0], configured) == (Quota(3, repository="acme/app"),)

    def test_no_quota(self) -> None:
        """Without a setting there is no limit, and nothing to warn of."""
        configured = with_profiles(GPU, RunnerScope="repository")
        assert quotas(configured) == ()
        assert without_effect(job_event(1), configured.profiles[0], configured) is None
        assert warnings(configured) == []


class TestWarnings:
    """What a setting does not do is said."""

    def test_at_start(self) -> None:
        """Each profile whose quota takes no effect has its warning, with the settings and the remedy."""
        configured = with_profiles(GPU | OWN_GROUP, CPU | {"maxRunners": 2}, **PER_REPOSITORY)
        (warning,) = warnings(configured)
        assert warning.startswith("MaxRunnersPerRepository and maxRunners of profile cpu takes no effect")
        assert "RunnerScope=repository" in warning
        assert warnings(with_profiles(GPU, RunnerScope="repository", **PER_REPOSITORY)) == []

    def test_for_a_job(self) -> None:
        """A job whose runner is not limited although a setting says so is told, and others are not."""
        configured = with_profiles(GPU | OWN_GROUP | {"maxRunners": 1}, CPU | {"maxRunners": 2})
        cpu = without_effect(job_event(1), profile_of(configured, "cpu"), configured)
        assert cpu is not None
        assert cpu.startswith("maxRunners takes no effect in an organization or enterprise")
        assert without_effect(job_event(1), profile_of(configured, "gpu"), configured) is None


def test_pools_to_count_on() -> None:
    """Only the pools are listed whose runners count against a quota."""
    assert limited_pools(with_profiles(GPU | {"maxRunners": 1}, CPU)) == {"gpuPool"}
    assert limited_pools(with_profiles(GPU, CPU, **PER_REPOSITORY)) == {"gpuPool", "cpuPool"}
    assert limited_pools(with_profiles(GPU, CPU)) == set()
