"""The GitHub stand-in without its sockets: state, credentials and hooks behind one lock, steered from any thread."""

import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from sandbox.faults import FaultPlan
from sandbox.github.access import APP_PERMISSIONS, Access, App, Installation
from sandbox.github.hooks import Deliver, Delivery, Hook, Hooks, Post, post
from sandbox.github.limits import Budget
from sandbox.github.model import (
    WEBHOOK_KINDS,
    Event,
    Job,
    JobPlan,
    Repository,
    Run,
    Runner,
    RunnerGroup,
    Scope,
)
from sandbox.github.payloads import DEFAULT_BRANCH, Payloads
from sandbox.github.state import ActionsState
from sandbox.recording import Recorder

type Clock = Callable[[], float]
type Watcher = Callable[[Event], None]

# Where the stand-in's webhooks come from by default: addresses reserved for documentation.
HOOK_RANGES = ("192.0.2.0/24", "2001:db8::/32")


class GitHubCore:
    """What GitHub knows and does. Every method may be called from any thread.

    Attributes:
        faults: what goes wrong on the way to it.
        recorder: what passed over the wire.
        version_dates: of versions of the runner, as GitHub's answer has them; others have none.
        not_administered: accounts for which the person at the browser may register no App.
        runner_version_floor: runners that name a lower version are refused, if it is set.
    """

    def __init__(
        self,
        *,
        token: str | None = "ghp_sandbox",
        clock: Clock = time.time,
        budget: Budget | None = None,
        hook_ranges: Sequence[str] = HOOK_RANGES,
        seed: int | None = None,
        deliver: Deliver | None = None,
        send: Post = post,
    ) -> None:
        """Begin with an empty GitHub.

        Args:
            token: a personal access token that may do everything; None for no token.
            clock: tells the time in epoch seconds; chaos tests put a virtual one here.
            budget: the primary rate limit of each credential.
            hook_ranges: what `/meta` lists as the source of webhooks.
            seed: makes runner secrets repeatable.
            deliver: decides when and how often each webhook delivery is sent.
            send: carries a delivery to its receiver.
        """
        self.faults = FaultPlan()
        self.recorder = Recorder("github")
        self.clock = clock
        self.payloads = Payloads("http://github.localhost")
        self.hook_ranges = tuple(hook_ranges)
        self.version_dates: dict[str, dict[str, str]] = {}
        self.not_administered: set[str] = set()
        self.runner_version_floor: str | None = None
        self.budget = budget or Budget()
        self.lock = threading.RLock()
        self.state = ActionsState(seed=seed)
        self.access = Access()
        self.hooks = Hooks(clock, deliver=deliver, send=send)
        self._ids = itertools.count(201)
        self._watchers: list[Watcher] = []
        self._outbox: deque[Event] = deque()
        self._publishing = threading.RLock()
        if token is not None:
            self.access.add_token(token)

    @property
    def url(self) -> str:
        """The address that links in answers and payloads begin with; set it once the port is known."""
        return self.payloads.url

    @url.setter
    def url(self, url: str) -> None:
        self.payloads.url = url

    # Set-up --------------------------------------------------------------------------------------------------------

    def add_repository(
        self,
        full_name: str,
        *,
        private: bool = True,
        owner_type: Literal["Organization", "User"] = "Organization",
        enterprise: str | None = None,
    ) -> Repository:
        """Create a repository (one that is only mentioned is created too: private, of an organization)."""
        with self.lock:
            return self.state.add_repository(Repository(next(self._ids), full_name, private, owner_type, enterprise))

    def add_file(self, repository: str, path: str, content: str | bytes, *, ref: str = DEFAULT_BRANCH) -> None:
        """Put a file into a branch of a repository."""
        with self.lock:
            found = content.encode() if isinstance(content, str) else content
            self.state.add_file(self.state.repository(repository).full_name, ref, path, found)

    def add_runner_group(
        self,
        scope: Scope,
        name: str,
        *,
        public: bool = True,
        repositories: Iterable[str] | None = None,
        restricted: bool = False,
    ) -> RunnerGroup:
        """Create a runner group, or change the default one by its name.

        Args:
            scope: the organization or enterprise.
            name: the group's name.
            public: whether public repositories may use it.
            repositories: full names of those that may use it; None for all of the scope.
            restricted: whether it is for some workflows only. The stand-in tells so, and does not keep to it.
        """
        with self.lock:
            return self.state.add_group(scope, name, public=public, repositories=repositories, restricted=restricted)

    def add_token(
        self,
        token: str,
        *,
        scopes: Iterable[str] | None = None,
        permissions: Mapping[str, str] | None = None,
        accounts: Iterable[str] | None = None,
        expires_at: float | None = None,
    ) -> None:
        """Make a personal access token known; see `Access.add_token`."""
        with self.lock:
            self.access.add_token(
                token, scopes=scopes, permissions=permissions, accounts=accounts, expires_at=expires_at
            )

    def add_app(
        self,
        public_key: str,
        *,
        app_id: int | None = None,
        client_id: str | None = None,
        owner: str = "acme",
        owner_type: Literal["Organization", "User", "Enterprise"] = "Organization",
        slug: str | None = None,
        permissions: Mapping[str, str] | None = None,
    ) -> App:
        """Register a GitHub App by its public key (PEM), its owner and what it may do."""
        with self.lock:
            number = app_id or next(self._ids)
            app = App(
                number, client_id or f"Iv23{secrets.token_hex(8)}", slug or f"app-{number}", public_key, owner,
                owner_type, dict(APP_PERMISSIONS if permissions is None else permissions),
            )  # fmt: skip
            self.access.apps[number] = app
            return app

    def install(
        self,
        app: App,
        account: str,
        *,
        account_type: Literal["Organization", "User", "Enterprise"] = "Organization",
        repositories: Sequence[str] | None = None,
        permissions: Mapping[str, str] | None = None,
    ) -> Installation:
        """Install an App on an account, for all of its repositories or for some (full names)."""
        with self.lock:
            names = None if repositories is None else tuple(repositories)
            granted = dict(app.permissions if permissions is None else permissions)
            installation = Installation(next(self._ids), app, account, account_type, names, granted)
            self.access.installations[installation.id] = installation
            return installation

    def suspend(self, installation: Installation) -> None:
        """Suspend an installation: it stays listed, and gets no tokens."""
        with self.lock:
            self.access.installations[installation.id] = replace(installation, suspended_at=self.clock())

    def add_hook(
        self, url: str, secret: str | None, *, scope: Scope | None = None, app: App | None = None,
        events: Iterable[str] = ("workflow_job",), content_type: Literal["json", "form"] = "json",
        headers: Mapping[str, str] | None = None,
    ) -> Hook:  # fmt: skip
        """Configure a webhook at a scope, or that of an App, and ping it.

        Args:
            url: the receiver, with any `?code=…`.
            secret: signs the deliveries; None for none.
            scope: the repository or organization; None for the hook of `app`.
            app: the App whose hook it is.
            events: the events it asks for, besides `ping`.
            content_type: how the payload is wrapped.
            headers: request headers added to each delivery, for example a simulated source address.
        """
        hook = self.hooks.add(
            url, secret, events=events, scope=scope, app_id=app.id if app else None, content_type=content_type,
            headers=headers,
        )  # fmt: skip
        self.hooks.tell(hook, "ping", self.payloads.ping(hook))
        return hook

    # Steering ------------------------------------------------------------------------------------------------------

    def queue_job(
        self,
        repository: str,
        labels: Sequence[str],
        *,
        name: str = "build",
        duration_s: float = 0.1,
        environment: str | None = None,
    ) -> Job:
        """Start a run of one job; see `JobPlan`."""
        plan = JobPlan(tuple(labels), name=name, duration_s=duration_s, environment=environment)
        return self.queue_run(repository, [plan]).jobs[0]

    def queue_run(self, repository: str, plans: Sequence[JobPlan], *, workflow: str = "CI") -> Run:
        """Start a workflow run."""
        with self.changing() as now:
            return self.state.queue_run(repository, plans, now, workflow=workflow)

    def rerun(self, run_id: int) -> Run:
        """Start the next attempt of a finished run."""
        with self.changing() as now:
            return self.state.rerun(run_id, now)

    def approve(self, job_id: int) -> Job:
        """Let a job that waits for its environment proceed."""
        with self.changing() as now:
            return self.state.approve(job_id, now)

    def cancel_job(self, job_id: int) -> Job:
        """Cancel a job."""
        with self.changing() as now:
            return self.state.cancel(job_id, now)

    def tick(self) -> None:
        """Let GitHub do what it does on its own as time passes."""
        with self.changing() as now:
            self.state.tick(now)

    def redeliver(self, delivery: Delivery) -> Delivery:
        """Send a delivery once more, as the button does."""
        return self.hooks.redeliver(delivery)

    # Looking -------------------------------------------------------------------------------------------------------

    def job(self, job_id: int) -> Job:
        """Return a copy of a job as it is now."""
        with self.lock:
            return replace(self.state.job(job_id))

    @property
    def jobs(self) -> list[Job]:
        """Copies of all jobs, oldest first."""
        with self.lock:
            return [replace(job) for job in self.state.jobs.values()]

    @property
    def runners(self) -> list[Runner]:
        """Copies of all registered runners, oldest first."""
        with self.lock:
            return [replace(runner) for runner in self.state.runners.values()]

    @property
    def deliveries(self) -> list[Delivery]:
        """The webhook deliveries of the last three days, newest first."""
        return self.hooks.deliveries()

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` with every event from now on, in order; return what ends that.

        The watcher runs in the thread that caused the event, holds no lock of the state and may steer the stand-in.
        """
        with self.lock:
            self._watchers.append(watcher)

        def unsubscribe() -> None:
            with self.lock:
                self._watchers.remove(watcher)

        return unsubscribe

    # Inside --------------------------------------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[float]:
        """Hold the lock while the state changes; afterwards tell watchers and hooks what happened."""
        try:
            with self.lock:
                try:
                    yield self.clock()
                finally:
                    self._outbox.extend(self.state.take_events())
        finally:
            self._publish()

    def _publish(self) -> None:
        with self._publishing:
            while self._outbox:
                event = self._outbox.popleft()
                with self.lock:
                    watchers = list(self._watchers)
                for watcher in watchers:
                    watcher(event)
                if event.kind in WEBHOOK_KINDS:
                    self._tell_hooks(event)

    def _tell_hooks(self, event: Event) -> None:
        job = event.job
        if job is None:
            return
        with self.lock:
            run = self.state.run(job.run_id)
            installed = [i for i in self.access.installations.values() if i.covers(job.repository)]
        for hook in self.hooks.all:
            installation = next((i for i in installed if i.app.id == hook.app_id), None)
            if "workflow_job" not in hook.events or not (installation or hook.watches(job.repository)):
                continue
            payload = self.payloads.workflow_job(event, run, installation)
            self.hooks.tell(
                hook, "workflow_job", payload, repository_id=job.repository.id,
                installation_id=installation.id if installation else None,
            )  # fmt: skip
