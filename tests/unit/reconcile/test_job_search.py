"""Which repositories a pass asks about, in which order, and what is left alone if an answer is missing."""

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.errors import CallsSpent, GitHubRefused, TransientError
from orchestrator.jobs.accounts import AccountRule
from orchestrator.reconcile.job_search import (
    CALLS_PER_REPOSITORY,
    LISTED_EVERY,
    LONGEST_RUN,
    NEVER_LOOKED_INTO,
    ONE_PAGE,
    REFUSALS_HEEDED,
    SINCE_YESTERDAY,
    WHOLE_LOOK_EVERY,
    WHOLE_LOOKS,
)
from orchestrator.runners.installed import ListedRepository
from orchestrator.runners.notes import Origin
from tests.builders import queued_job, settings
from tests.unit.reconcile.fakes import FakeUpstream
from tests.unit.reconcile.passes import NOW, FakePasses, event, task


@pytest.fixture
def passes() -> FakePasses:
    """Return passes without jobs and tasks."""
    return FakePasses()


@pytest.fixture
def upstream(passes: FakePasses) -> FakeUpstream:
    """Return what the passes ask."""
    return passes.upstream


type Lines = list[tuple[str, dict[str, Any]]]


class TestInView:
    """Which repositories are asked about."""

    def test_of_recent_tasks(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """A repository with a task is asked about, and what waits there without a task gets a runner."""
        upstream.jobs["acme/app"] = [event(1), event(2)]
        passes.run(task(1))
        assert upstream.done == ["start runner-2-1"]

    def test_of_tasks_that_are_gone(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """Repositories whose tasks someone deleted with the Batch job are looked at for another day."""
        passes.run(task(1, "finished"))
        upstream.jobs["acme/app"] = [event(2)]
        passes.run()
        assert upstream.done == ["start runner-2-1"]
        passes.clock.advance(timedelta(hours=24))
        passes.run()
        assert upstream.asked == [("acme/app", None)] * 2

    def test_of_settings_and_installations(self) -> None:
        """Repositories of the settings are asked about, and those of the App's installations."""
        passes = FakePasses(settings(ReconcileRepositories="acme/named,other/named"), app=True)
        upstream = passes.upstream
        upstream.installed = {"acme": 7}
        upstream.lists = {"acme": [ListedRepository("acme/installed", False, None)]}
        upstream.jobs = {"acme/named": [event(1, "acme/named")], "acme/installed": [event(2, "acme/installed")]}
        passes.run()
        assert upstream.asked == [("acme/installed", 7), ("acme/named", 7), ("other/named", None)]
        assert sorted(upstream.done) == ["start runner-1-1", "start runner-2-1"]

    def test_an_app_that_was_installed_again(self) -> None:
        """The installation that GitHub names now is used, and not the one of a task's notes."""
        passes = FakePasses(app=True)
        upstream = passes.upstream
        upstream.installed = {"acme": 10}
        passes.run(task(1, origin=Origin(event=event(1, installation={"id": 9}), profile="p")))
        assert upstream.asked == [("acme/app", 10)]

    def test_no_strangers(self) -> None:
        """Accounts that may have no runners are not asked after, wherever they come from, and get none."""
        passes = FakePasses(settings(ReconcileRepositories="evil-corp/named"), app=True)
        upstream = passes.upstream
        upstream.rule = AccountRule(frozenset({"acme"}))
        upstream.installed = {"evil-corp": 7, "acme": 8}
        upstream.lists = {name: [ListedRepository(f"{name}/app", False, None)] for name in upstream.installed}
        upstream.jobs = {f"evil-corp/{name}": [event(1, f"evil-corp/{name}")] for name in ("named", "installed", "app")}
        passes.run(task(2, "finished", "evil-corp/app"))
        assert upstream.asked == [("acme/app", 8)]
        assert upstream.whole_lists == ["acme"]
        assert [access.scope.name for access in upstream.listed_for] == []
        assert upstream.done == []

    def test_strangers_of_an_earlier_pass(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """An account that may have no runners any more is not asked after because of what is remembered."""
        passes.run(task(1, "finished"))
        upstream.rule = AccountRule(frozenset({"other"}))
        upstream.asked.clear()
        passes.run()
        assert upstream.asked == []

    def test_nobody_knows_who_is_a_stranger(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """While GitHub does not say whose jobs may have runners, nothing is asked and only overdue tasks are ended."""
        upstream.errors["account rule"] = TransientError("GitHub is not reachable")
        upstream.jobs["acme/app"] = [event(2)]
        overdue = task(1, "running", started_at=NOW - timedelta(hours=9), max_hours=7)
        passes.run(overdue)
        assert (upstream.asked, upstream.listed_for) == ([], [])
        assert upstream.done == ["end running runner-1-1"]
        assert log_lines[0] == (
            "WARNING",
            {
                "pass": "reconciliation",
                "result": "skipped",
                "what": "whose jobs may have runners",
                "reason": "GitHub is not reachable",
            },
        )

    def test_the_installation_of_a_task(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """If a delivery named the App's installation, it is used."""
        origin = Origin(event=event(1, installation={"id": 9}), profile="p")
        passes.run(task(1, origin=origin), task(2, origin=origin))
        assert upstream.asked == [("acme/app", 9)]
        assert [access.installation for access in upstream.listed_for] == [9]

    def test_a_task_without_notes(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """A task that does not name its job puts no repository into view."""
        passes.run(task(1, origin=None))
        assert upstream.asked == []
        assert upstream.done == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"workflow_job": queued_job("self-hosted", "gone")["workflow_job"]},
            {"workflow_job": queued_job("ubuntu-latest")["workflow_job"]},
            {"repository": queued_job()["repository"] | {"private": False, "visibility": "public"}},
        ],
    )
    def test_what_is_not_ours(self, passes: FakePasses, upstream: FakeUpstream, changes: dict[str, Any]) -> None:
        """Jobs that no profile serves, and jobs of public repositories, are ignored, as by the webhook."""
        upstream.jobs["acme/app"] = [event(1, **changes)]
        passes.run(task(9, "finished"))
        assert upstream.done == []

    def test_the_same_job_twice(self) -> None:
        """If a repository is named in two spellings, its jobs count once."""
        passes = FakePasses(settings(ReconcileRepositories="Acme/App"))
        upstream = passes.upstream
        upstream.jobs = {"acme/app": [event(1)], "Acme/App": [event(1)]}
        passes.run(task(9, "finished"))
        assert upstream.done == ["start runner-1-1"]

    def test_listed(self) -> None:
        """With a token, an organization's own list puts its repositories into view: those that may have runners."""
        passes = FakePasses(settings(AllowedOrganizations="acme", AllowedRepositories="acme/a*"))
        upstream = passes.upstream
        upstream.lists = {
            "acme": [
                ListedRepository("acme/app", False, None),
                ListedRepository("acme/a-public-one", True, None),
                ListedRepository("acme/not-allowed", False, None),
            ]
        }
        passes.run()
        assert upstream.asked == [("acme/app", None)]

    def test_no_longer_listed(self) -> None:
        """A repository that the list does not name any more is forgotten when it is no longer active."""
        passes = FakePasses(settings(AllowedOrganizations="acme"))
        upstream = passes.upstream
        upstream.lists = {"acme": [ListedRepository(name, False, None) for name in ("acme/app", "acme/old")]}
        passes.run(task(9, "finished"))
        upstream.lists = {}
        upstream.asked.clear()
        passes.run()
        assert upstream.asked == [("acme/app", None)]

    def test_an_organization_that_is_not_listed(self, log_lines: Lines) -> None:
        """A list that GitHub refuses is asked for again after an hour; known repositories are looked into."""
        passes = FakePasses(settings(AllowedOrganizations="mona", ReconcileRepositories="mona/app"))
        upstream = passes.upstream
        upstream.errors["the list of mona"] = GitHubRefused("GitHub refused it: 404", 404)
        for _ in range(3):
            passes.run()
        passes.clock.advance(LISTED_EVERY)
        passes.run()
        assert upstream.whole_lists == ["mona"] * 2
        assert upstream.asked == [("mona/app", None)] * 4
        assert [line["what"] for _, line in log_lines if line["result"] == "skipped"] == [
            "the repositories of mona"
        ] * 2

    def test_no_list_for_a_while(self) -> None:
        """If GitHub does not tell the list now, what is known of it is used, and the next pass asks again."""
        passes = FakePasses(settings(AllowedOrganizations="acme"))
        upstream = passes.upstream
        upstream.lists = {"acme": [ListedRepository("acme/app", False, None)]}
        passes.run()
        upstream.errors["the list of acme"] = TransientError("502")
        passes.run()
        passes.run()
        assert upstream.asked == [("acme/app", None)] * 3
        assert upstream.whole_lists == ["acme"] * 3

    @pytest.mark.parametrize(("account", "has_pushes"), [("acme", True), ("mona", False)])
    def test_a_long_list(self, account: str, has_pushes: bool) -> None:
        """A list of several pages is read once an hour; in between an organization's last pushes are."""
        passes = FakePasses(settings(AllowedOrganizations=account), app=True)
        upstream = passes.upstream
        names = [f"{account}/r{number:03d}" for number in range(ONE_PAGE + 1)]
        upstream.users = {"mona"}
        upstream.installed = {account: 7}
        upstream.lists = {account: [ListedRepository(name, False, None) for name in names]}
        passes.run()
        upstream.pushed = {account: [ListedRepository(name, False, NOW) for name in (names[50], f"{account}/alien")]}
        upstream.asked.clear()
        passes.clock.advance(timedelta(minutes=5))
        passes.run()
        assert upstream.whole_lists == [account]
        assert (upstream.asked[0] == (names[50], 7)) == has_pushes
        assert (f"{account}/alien", 7) not in upstream.asked
        passes.clock.advance(LISTED_EVERY)
        passes.run()
        assert upstream.whole_lists == [account] * 2


# A pass has the time for half of so many calls; what it has no time to see the end of is looked into again.
CROWD = 2 * 720 - 1


def many(count: int) -> list[str]:
    """Return the names of so many repositories."""
    return [f"acme/r{number:04d}" for number in range(count)]


class TestOrder:
    """Which repositories come first where not all can be asked about."""

    @pytest.fixture
    def crowd(self) -> FakePasses:
        """Return passes that have time for half of some hundred repositories: each takes a quarter of a second."""
        names = many(CROWD)
        passes = FakePasses(settings(AllowedOrganizations="acme"))
        passes.upstream.lists = {"acme": [ListedRepository(name, False, None) for name in names]}
        return passes

    def test_all_have_their_turn(self, crowd: FakePasses, log_lines: Lines) -> None:
        """What one pass has no time for comes first in the next, and the log says how much that is."""
        crowd.run()
        first = [name for name, _ in crowd.upstream.asked]
        crowd.upstream.asked.clear()
        crowd.run()
        second = [name for name, _ in crowd.upstream.asked]
        assert len(first) == len(second) == 720
        assert sorted({*first, *second}) == many(CROWD)
        (skipped, _) = [line for _, line in log_lines if line["result"] == "skipped"]
        assert (skipped["what"], skipped["reason"]) == (f"{CROWD - 719} of {CROWD} repositories", "its time is over")

    def test_where_something_happens(self, crowd: FakePasses) -> None:
        """A repository with runners, one whose runner has failed and one that was active today come before the rest."""
        tasks = [
            task(1, "waiting", many(CROWD)[1100]),
            task(2, "finished", many(CROWD)[1101], exit_code=75, ended_at=NOW),
            task(3, "finished", many(CROWD)[1102]),
        ]
        for _ in range(2):
            crowd.upstream.asked.clear()
            crowd.run(*tasks)
            assert [name for name, _ in crowd.upstream.asked][:2] == many(CROWD)[1100:1102]
            assert (many(CROWD)[1102], None) in crowd.upstream.asked

    def test_nobody_waits_for_ever(self, crowd: FakePasses) -> None:
        """While active repositories alone take the time of every pass, the others have their turn all the same."""
        names = many(CROWD)
        crowd.upstream.lists = {
            "acme": [ListedRepository(name, False, NOW if number < 1400 else None) for number, name in enumerate(names)]
        }
        for _ in range(12):
            crowd.run()
        assert {name for name, _ in crowd.upstream.asked} == set(names)

    def test_no_more_calls(self, crowd: FakePasses, log_lines: Lines) -> None:
        """When a limit is used up, the repositories that are left are no errors; nothing of theirs is ended."""
        spent = CallsSpent("this pass has had its share", retry_after=300)
        crowd.upstream.errors = {"acme/r0001": spent, "the end of acme/r0000": spent, "the end of acme/r0002": spent}
        tasks = [task(1, "waiting", "acme/r0001"), task(2, "waiting", "acme/r0000"), task(3, labels=("x",))]
        crowd.upstream.jobs["acme/r0000"] = [event(5, "acme/r0000")]
        crowd.run(*tasks)
        assert crowd.upstream.done == ["start runner-5-1"]
        (skipped,) = [line for _, line in log_lines if line["result"] == "skipped"]
        assert skipped["reason"] == "this pass has had its share"
        assert crowd.progress.of("acme/r0001").looked_at == NOW - NEVER_LOOKED_INTO

    def test_look_backs(self) -> None:
        """Of many repositories, active ones are asked for new runs, and for all at times; quiet ones for five weeks."""
        names = many(WHOLE_LOOKS + 1)
        passes = FakePasses(settings(AllowedOrganizations="acme"))
        pushed = {names[1]: NOW}
        passes.upstream.lists = {"acme": [ListedRepository(name, False, pushed.get(name)) for name in names]}
        own = task(1, "waiting", names[0])
        active: list[timedelta | None] = []
        for pause in (timedelta(), WHOLE_LOOK_EVERY, timedelta(minutes=5)):
            passes.clock.advance(pause)
            passes.upstream.look_backs.clear()
            passes.run(own)
            active.append(passes.upstream.look_backs.pop(names[1], None))
            assert passes.upstream.look_backs == dict.fromkeys(names[2:], LONGEST_RUN)
        assert active == [SINCE_YESTERDAY, None, SINCE_YESTERDAY]

    def test_what_looks_have_kept(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """The next look into a repository is given what the one before has kept."""
        for _ in range(2):
            passes.run(task(1), task(2, repository="acme/lib"))
        assert upstream.etags == {name: {"asked": name} for name in ("acme/app", "acme/lib")}


class TestTrouble:
    """If something could not be asked."""

    def test_of_one_repository(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """If one repository's jobs are unknown, the others of its organization are served, and a line says so."""
        upstream.jobs = {"acme/app": [event(1)], "other/app": [event(2, "other/app")]}
        upstream.errors["acme/lib"] = TransientError("GitHub answered 502")
        passes.run(task(8, "finished"), task(9, repository="acme/lib"), task(7, "finished", "other/app"))
        assert sorted(upstream.done) == ["start runner-1-1", "start runner-2-1"]
        skipped = [line for _, line in log_lines if line["result"] == "skipped"]
        assert skipped == [{"pass": "reconciliation", "result": "skipped", "repository": "acme/lib",
                            "reason": "GitHub answered 502"}]  # fmt: skip

    def test_what_expires(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """What expires is replaced although the jobs of its repository are unknown, for as long as a job may wait."""
        upstream.errors["acme/lib"] = TransientError("GitHub answered 502")
        soon = NOW + timedelta(minutes=5)
        two_days_old = Origin(event=event(2, "Acme/lib", "2026-11-23T11:50:00Z"), profile="p")
        public = Origin(event=event(3, "acme/lib", repository=event(3, "acme/lib").repository.model_dump()
                                    | {"private": False, "visibility": "public"}), profile="p")  # fmt: skip
        passes.run(
            task(1, repository="acme/lib", expires_at=soon),
            task(2, repository="acme/lib", expires_at=soon, origin=two_days_old),
            task(3, repository="acme/lib", expires_at=soon, origin=public),
            task(4, "finished", repository="acme/lib"),
            task(5, repository="acme/app", expires_at=soon),
            task(6, expires_at=soon, origin=None),
        )
        assert upstream.done == ["start runner-1-1-r1", "end runner-1-1"]

    def test_many_runs_of_one_repository(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """A repository with many runs takes its share of the calls, leaves the others theirs, and ends nothing."""
        upstream.further_calls = {"acme/evil": 500, "acme/app": 2}
        upstream.jobs = {"acme/app": [event(1)], "acme/evil": [event(2, "acme/evil")]}
        passes.run(task(8, "finished", "acme/evil"), task(9, "finished"), task(7, labels=("x",)))
        assert sorted(upstream.done) == ["start runner-1-1", "start runner-2-1"]
        assert upstream.order.count("acme/evil") == CALLS_PER_REPOSITORY + 1
        (skipped,) = [line for _, line in log_lines if line["result"] == "skipped"]
        assert skipped["repository"] == "acme/evil"
        assert skipped["reason"] == f"it takes more than {CALLS_PER_REPOSITORY} calls; the next pass goes on"

    def test_exactly_its_share(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """A repository that takes exactly its share is complete: what is left over is ended."""
        upstream.further_calls = {"acme/app": CALLS_PER_REPOSITORY - 1}
        passes.run(task(7))
        assert upstream.done == ["end runner-7-1"]
        assert [line["result"] for _, line in log_lines] == ["ended", "done"]

    def test_too_many_runs(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """If GitHub does not list all runs of a repository, the jobs that are known are served all the same."""
        upstream.jobs["acme/app"] = [event(1)]
        upstream.errors["the end of acme/app"] = TransientError("more unfinished runs than GitHub lists")
        passes.run(task(8, "finished"), task(9, labels=("x",)))
        assert upstream.done == ["start runner-1-1"]

    def test_refused_for_good(self, log_lines: Lines) -> None:
        """A repository that is refused for long holds up no other one; that is said once, and its own tasks stay."""
        passes = FakePasses(settings(ReconcileRepositories="acme/gone"))
        upstream = passes.upstream
        upstream.errors["acme/gone"] = GitHubRefused("GitHub refused it: 404", 404)
        own, surplus = task(1, repository="acme/gone"), task(2)
        for _ in range(REFUSALS_HEEDED - 1):
            passes.run(own, surplus)
        assert upstream.done == []
        assert len([line for _, line in log_lines if line["result"] == "skipped"]) == REFUSALS_HEEDED - 1
        for _ in range(3):
            passes.run(own, surplus)
        assert upstream.done == ["end runner-2-1"] * 3
        *_, last = [line for _, line in log_lines if line["result"] == "skipped"]
        assert last["reason"] == (
            f"GitHub refused it: 404; after {REFUSALS_HEEDED} refusals it holds up no other repository any more"
        )
        assert len([line for _, line in log_lines if line["result"] == "skipped"]) == REFUSALS_HEEDED
        del upstream.errors["acme/gone"]  # it is there again, and may be refused again
        passes.run(own, surplus)
        upstream.errors["acme/gone"] = GitHubRefused("GitHub refused it: 404", 404)
        upstream.done.clear()
        passes.run(own, surplus)
        assert upstream.done == []

    def test_a_repository_that_is_gone(self, passes: FakePasses, upstream: FakeUpstream) -> None:
        """If GitHub refuses to list a repository's jobs, others get their runners; only no waiting task is ended."""
        upstream.jobs = {"acme/app": [event(1)]}
        upstream.errors["acme/gone"] = GitHubRefused("GitHub refused it: 404", 404)
        passes.run(task(8, "finished"), task(9, repository="acme/gone", labels=("x",)))
        assert upstream.done == ["start runner-1-1"]

    def test_one_that_is_only_named(self, log_lines: Lines) -> None:
        """While a repository of the settings cannot be looked at, no task of its organization is ended."""
        passes = FakePasses(settings(ReconcileRepositories="acme/named,elsewhere/named"))
        upstream = passes.upstream
        upstream.errors = dict.fromkeys(("acme/named", "elsewhere/named"), GitHubRefused("404", 404))
        passes.run(task(1))
        assert upstream.done == []
        assert [line["repository"] for _, line in log_lines if line["result"] == "skipped"] == [
            "acme/named", "elsewhere/named",
        ]  # fmt: skip

    def test_of_an_enterprise(self, log_lines: Lines) -> None:
        """Runners of an enterprise may serve any repository: if one cannot be asked about, no task is ended."""
        passes = FakePasses(
            settings(RunnerScope="enterprise", GithubEnterprise="big", ReconcileRepositories="acme/other")
        )
        upstream = passes.upstream
        upstream.errors["acme/other"] = TransientError("GitHub is not reachable")
        passes.run(task(1, url="https://github.com/enterprises/big"))
        assert upstream.done == []
        assert [line["result"] for _, line in log_lines] == ["skipped", "done"]

    def test_runners_are_unknown(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """Without any answer about runners nothing is decided."""
        upstream.jobs["acme/app"] = [event(1)]
        upstream.errors = dict.fromkeys(("acme", "names in acme"), TransientError("GitHub does not answer"))
        passes.run(task(9))
        assert upstream.done == []
        assert log_lines[-1][1]["actions"] == {"skipped": 1}

    def test_installations_are_unknown(self, log_lines: Lines) -> None:
        """Without the list of installations the other repositories are still asked about."""
        passes = FakePasses(app=True)
        upstream = passes.upstream
        upstream.jobs["acme/app"] = [event(1)]
        upstream.errors["installations"] = TransientError("GitHub does not answer")
        passes.run(task(9, "finished"))
        assert upstream.done == ["start runner-1-1"]
        assert log_lines[0][1]["what"] == "the App's installations"

    def test_one_action_fails(self, passes: FakePasses, upstream: FakeUpstream, log_lines: Lines) -> None:
        """What cannot be done is logged with both reasons, and the rest is done."""
        upstream.jobs["acme/app"] = [event(1), event(2)]
        upstream.errors["runner-1-1"] = TransientError("Batch cannot add a task now: 503")
        passes.run(task(9, "finished"))
        assert upstream.done == ["start runner-2-1"]
        (failed,) = [line for _, line in log_lines if line["result"] == "failed"]
        assert failed == {
            "pass": "reconciliation", "result": "failed", "action": "start runner",
            "why": "no runner was started for it", "reason": "Batch cannot add a task now: 503", "job": 1,
            "repository": "acme/app",
        }  # fmt: skip
