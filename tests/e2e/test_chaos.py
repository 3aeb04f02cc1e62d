"""Everything goes wrong at once, in virtual time: nothing is lost and nothing is left over, and each check can fail."""

import functools
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

import orchestrator.azure.tasks
import orchestrator.delivery.receiver
import orchestrator.github.session
import orchestrator.reconcile.plan
import orchestrator.runners.provisioning
import sandbox.chaos.operator_setup
import sandbox.chaos.simulated_containers
import sandbox.chaos.world
from orchestrator.application import Application
from orchestrator.azure.batch_jobs import former_job_id
from orchestrator.azure.pools import PoolClient
from orchestrator.delivery.answer import Answer
from orchestrator.github.client import GitHubClient
from orchestrator.reconcile.action import RemoveRunner
from orchestrator.reconcile.view import ScopeView
from orchestrator.runners.boundary import Boundary
from sandbox.chaos.__main__ import main
from sandbox.chaos.fairness import simulate_fairness
from sandbox.chaos.operator_setup import set_up
from sandbox.chaos.options import Options
from sandbox.chaos.report import Report, stories
from sandbox.chaos.scenarios import STRANGER, UNFINISHED
from sandbox.chaos.workload import GREEDY, ORGANIZATION, OUTSIDE
from sandbox.chaos.world import World, simulate

SERVED = "every queued job is served"
SURPLUS = "no more runners than jobs"
LEFT_OVER = "nothing is left over"
NOBODY = "nothing for nobody"
FAIRNESS = "a modest organization has its turn"
FOREIGN = "nothing foreign is touched"
CALLS = "calls stay within the budget"
SECRETS = "no secret in the log"
SECRETS_IN_BATCH = "no secret in Batch"
ANSWERS = "answers are documented"
MISTAKES = "no mistake of ours"
AUTOSCALE = "autoscale is on at the end"
MAXIMUM = "no pool above its maximum"


def holds(world: World) -> None:
    """Fail with the story of what broke, and with what repeats it."""
    assert not world.ledger.broken, f"{stories(world.ledger.violations)}\n\nAgain: {world.options.command}"


def test_a_thousand_jobs() -> None:
    """A thousand jobs, with every kind of trouble there is: each invariant holds."""
    world = simulate(Options(jobs=1000, seed=4))
    holds(world)
    report = Report.of(world, 0.0)
    assert report.jobs >= 1000
    assert report.lost == report.left_over == 0
    assert report.restarts > 0
    for kind in (
        "webhook: connection failed", "webhook: never sent", "webhook: sent twice", "webhook: minutes late",
        "node taken away", "foreign runner comes by", "container never starts", "runner dies while working",
        "github: answer lost after commit", "batch: answer lost after commit", "queue: answer lost after commit",
        "github: 429 with retry-after", "github: 403 primary limit", "batch: 500", "re-run", "cancelled while queued",
    ):  # fmt: skip
        assert report.faults[kind] > 0, kind
    assert any(kind.startswith("process killed before POST") for kind in report.faults)
    assert any(kind.startswith("process killed after POST") for kind in report.faults)


@pytest.mark.parametrize("seed", [2, 5, 20, 54])
def test_other_modes(seed: int) -> None:
    """JIT configurations, claims, runners per repository, an App and two instances of the function fare no worse."""
    holds(simulate(Options(jobs=60, seed=seed)))


def test_boost() -> None:
    """With the boost pools grow at once, whatever dies half way, and their formulas decide again at the end."""
    world = simulate(Options(jobs=60, seed=1, boost=True))
    holds(world)
    assert world.batch.resizes > 0


@pytest.mark.parametrize("claim", [False, True])
def test_without_trouble(claim: bool) -> None:
    """Where nothing goes wrong each job costs a task, no pass starts or ends anything, and nothing is left over."""
    world = simulate(Options(jobs=60, seed=0, trouble=False, claim=claim))
    holds(world)
    report = Report.of(world, 0.0)
    # Each asks once for requests that were given up, and once for each queue's length.
    assert report.upstream_calls["queue"] == 3 * report.passes
    assert report.surplus_peak == 0
    assert {
        line for record in world.ledger.records.values() for _, line in record.lines if '"action":' in line
    } == set()


def test_many_repositories() -> None:
    """Among more repositories than a pass looks into as a whole, within GitHub's limits, lost jobs are found."""
    world = simulate(Options(jobs=30, seed=84, repositories=61))
    holds(world)
    report = Report.of(world, 0.0)
    assert report.found_max_s >= report.found_p50_s > 0
    assert report.restarts > 0
    assert report.calls_per_job > 0
    assert not any(report.limited.values())


def test_it_repeats() -> None:
    """The same seed tells the same story, to the microsecond."""
    first, second = (
        [(at, record.job_id) for record in world.ledger.records.values() for at, _ in record.lines]
        for world in (simulate(Options(jobs=15, seed=3)), simulate(Options(jobs=15, seed=3)))
    )
    assert first == second


class TestScenarios:
    """What happens beside what the seed draws."""

    def test_stranger(self) -> None:
        """An organization of somebody else's that installed the App gets no runner."""
        world = simulate(Options(10, 6, scenarios=frozenset({"stranger"})))
        holds(world)
        assert any(job.repository.owner == STRANGER for job in world.github.jobs)

    @pytest.mark.parametrize(
        ("scenario", "seed", "fault"),
        [
            ("outage", 4, "batch: outage errors"),
            ("cancels", 0, "cancelled while queued"),
            ("registry", 0, "image cannot be pulled"),
            ("evictions", 1, "node evicted"),
            ("evictions", 32, "node evicted"),
            ("thief", 0, "claim stolen"),
            ("clock", 4, None),
        ],
    )
    def test_nothing_is_lost(self, scenario: str, seed: int, fault: str | None) -> None:
        """Whatever a scenario takes away, every job that GitHub lists as queued is served and nothing is left over."""
        world = simulate(Options(12, seed, trouble=False, scenarios=frozenset({scenario})))
        holds(world)
        assert fault is None or world.faults[fault] > 0

    def test_unfinished(self) -> None:
        """Five hundred runs of one repository that wait for an approval cost no other job its runner."""
        world = simulate(Options(20, 4, scenarios=frozenset({"unfinished"})))
        holds(world)
        assert sum(run.status == "waiting" for run in world.github.state.runs.values()) >= UNFINISHED

    def test_outside(self) -> None:
        """A repository that the runner group does not admit gets no task, so no node starts for it."""
        world = simulate(Options(10, 5, scenarios=frozenset({"outside"})))
        holds(world)
        assert any(job.repository.full_name == OUTSIDE and job.status == "queued" for job in world.github.jobs)

    def test_greedy(self) -> None:
        """An organization that queues far more than fits costs another one the time of two slots at most."""
        world = simulate_fairness(Options(20, 7, trouble=False, scenarios=frozenset({"greedy"})))
        holds(world)
        assert len(world.ledger.of_owner(GREEDY)) > len(world.ledger.of_owner(ORGANIZATION)) > 0


class TestEachCheckCanFail:
    """A net that is switched off, or a mistake that is made on purpose, is found by its invariant."""

    def test_lost(self) -> None:
        """Without passes, jobs whose deliveries were lost wait for ever, and what died is never cleared away."""
        world = simulate(Options(80, 0, frozenset({"control loop"}), settles_in=1800))
        assert world.ledger.broken[SERVED] > 0
        assert world.ledger.violations[0].story

    def test_redelivery_and_queue(self) -> None:
        """Redelivery and the queue each save jobs that nothing else would."""
        lost = {}
        for net in ("none of them", "redelivery", "queue"):
            world = simulate(Options(80, 8, frozenset({"reconciliation", net}), settles_in=900))
            lost[net] = world.ledger.broken.get(SERVED, 0)
        assert lost["none of them"] < lost["redelivery"]
        assert lost["none of them"] < lost["queue"]

    def test_left_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Runners that died stay registered where nobody removes them."""
        monkeypatch.setattr(sandbox.chaos.simulated_containers, "DIES_IDLE", 0.3)
        monkeypatch.setattr(orchestrator.reconcile.plan, "_removals", lambda *_: [])
        assert LEFT_OVER in simulate(Options(40, 12)).ledger.broken

    def test_surplus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pass that takes no account of what was started already starts it all again."""
        monkeypatch.setattr(orchestrator.reconcile.plan, "assign", lambda *_, **__: {})
        assert SURPLUS in simulate(Options(60, 3, settles_in=600)).ledger.broken

    def test_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Admitting the jobs of public repositories, whatever settings and runner group say, shows."""
        monkeypatch.setattr("orchestrator.jobs.admission._refusal", lambda *_: None)
        monkeypatch.setattr(Boundary, "refusal", lambda *_: None)
        assert NOBODY in simulate(Options(20, 24, trouble=False)).ledger.broken

    def test_stranger(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Runners for an organization that may have none show."""
        monkeypatch.setattr(sandbox.chaos.operator_setup, "ALLOWED", {"stranger": f"acme,{STRANGER}"})
        options = Options(5, 6, trouble=False, scenarios=frozenset({"stranger"}))
        assert NOBODY in simulate(options).ledger.broken

    def test_outside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Runners for a repository that the group does not admit show."""
        monkeypatch.setattr(Boundary, "refusal", lambda *_: None)
        assert NOBODY in simulate(Options(5, 4, trouble=False, scenarios=frozenset({"outside"}))).ledger.broken

    def test_fairness(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One Batch job for all organizations lets a modest one wait behind a greedy one."""
        monkeypatch.setattr(orchestrator.azure.tasks, "job_id", lambda pool, *_: former_job_id(pool))
        options = Options(20, 7, trouble=False, scenarios=frozenset({"greedy"}))
        assert FAIRNESS in simulate_fairness(options).ledger.broken

    def test_foreign(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Removing every runner that is offline, whosever it is, shows."""

        def removals(view: ScopeView, _now: object) -> list[RemoveRunner]:
            offline = [runner for runner in view.runners if not runner.online]
            return [RemoveRunner(view.access, runner, "it is offline") for runner in offline]

        monkeypatch.setattr(orchestrator.reconcile.plan, "_removals", removals)
        assert FOREIGN in simulate(Options(10, 0, trouble=False)).ledger.broken

    def test_calls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lists that are asked for entry by entry show in the number of calls."""
        monkeypatch.setattr(orchestrator.github.session, "PAGE_SIZE", 1)
        assert CALLS in simulate(Options(120, 0, trouble=False)).ledger.broken

    @pytest.mark.parametrize("seed", [0, 1])
    def test_secrets(self, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        """A token or JIT configuration in a log line is seen, though nobody told the watch which one it is."""
        call = GitHubClient.call

        def telling(self: GitHubClient, *arguments: Any, **options: Any) -> Any:
            answer = call(self, *arguments, **options)
            logging.getLogger("orchestrator").info("GitHub says %s", answer.json)
            return answer

        monkeypatch.setattr(GitHubClient, "call", telling)
        assert SECRETS in simulate(Options(5, seed, trouble=False)).ledger.broken

    @pytest.mark.parametrize("kind", ["token", "jit"])
    def test_secrets_in_batch(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        """A registration in a task is seen, where tasks are to hold none."""

        def with_secrets(*arguments: Any, **options: Any) -> dict[str, str]:
            return set_up(*arguments, **options) | {"RunnerRegistration": kind}

        monkeypatch.setattr(sandbox.chaos.world, "set_up", with_secrets)
        assert SECRETS_IN_BATCH in simulate(Options(5, 0, trouble=False, claim=True)).ledger.broken

    def test_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An answer that the documentation does not know of is seen."""
        monkeypatch.setattr(
            orchestrator.delivery.receiver, "_ignored", lambda _reason: Answer(204, {"result": "nothing"})
        )
        assert ANSWERS in simulate(Options(5, 0, trouble=False)).ledger.broken

    def test_autoscale(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A boost that never switches autoscale on again is seen."""
        monkeypatch.setattr(PoolClient, "enable_autoscale", lambda *_: None)
        assert AUTOSCALE in simulate(Options(20, 0, trouble=False, boost=True)).ledger.broken

    def test_maximum(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A boost beyond what a pool may have is seen."""
        monkeypatch.setattr(sandbox.chaos.world, "FORMULA", "maxNodes = 100;")
        assert MAXIMUM in simulate(Options(200, 0, trouble=False, boost=True)).ledger.broken

    def test_escaped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An exception that the application lets out of a timer function is seen."""
        monkeypatch.setattr(Application, "reconcile", _broken_once(Application.reconcile))
        assert MISTAKES in simulate(Options(5, 0, trouble=False)).ledger.broken

    def test_mistakes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An unexpected exception in the application is seen, and yet loses no job."""
        monkeypatch.setattr(
            orchestrator.runners.provisioning,
            "_runner_task",
            _broken_once(orchestrator.runners.provisioning._runner_task),
        )
        broken = simulate(Options(10, 0, trouble=False)).ledger.broken
        assert MISTAKES in broken
        assert SERVED not in broken


class TestCommandLine:
    """`python -m sandbox.chaos`."""

    @pytest.mark.parametrize(
        ("switches", "line"),
        [
            ([], "queued to task"),
            (["--boost"], "pool resizes"),
            (["--repositories", "5"], "5 repositories"),
        ],
    )
    def test_figures(self, capsys: pytest.CaptureFixture[str], switches: list[str], line: str) -> None:
        """Without a broken invariant it ends with 0 and tells the figures."""
        assert main(["--jobs", "5", "--seed", "0", *switches]) == 0
        assert line in capsys.readouterr().out

    def test_broken(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """With one it ends with 1, and tells the story and how to repeat it."""
        monkeypatch.setattr(
            orchestrator.delivery.receiver, "_ignored", lambda _reason: Answer(204, {"result": "nothing"})
        )
        assert main(["--jobs", "5", "--seed", "0", "--json"]) == 1
        output = capsys.readouterr()
        figures = json.loads(output.out)
        assert (figures["left_over"], figures["upstream_calls"]) == (
            0,
            sum(figures["upstream_calls_by_service"].values()),
        )
        assert "BROKEN: answers are documented" in output.err
        assert "python -m sandbox.chaos --jobs 5 --seed 0" in output.err


def _broken_once[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    failures = [ZeroDivisionError("on purpose")]

    @functools.wraps(function)
    def broken(*arguments: P.args, **options: P.kwargs) -> T:
        if failures:
            raise failures.pop()
        return function(*arguments, **options)

    return broken
