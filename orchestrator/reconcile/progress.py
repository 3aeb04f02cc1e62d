"""How far the passes have come: what the next one goes on from (pure).

It says where to look next, and what need not be read twice. No decision depends on it: if it is lost, the next pass
begins anew and only takes longer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.reconcile.hook_delivery import HookDelivery

# How long after its last sign of activity a repository counts as active. GitHub lets no job wait longer for a runner.
ACTIVE_FOR = timedelta(hours=24)


@dataclass
class RepositoryProgress:
    """What is known of one repository.

    Attributes:
        active_at: when something last happened there: a push, a task, a queued job.
        looked_at: when GitHub was last asked for its queued jobs.
        searched_at: when all of its unfinished runs were last asked for, however old they are.
        etags: see `github.workflow_jobs.WorkflowJobs.queued`.
    """

    active_at: datetime | None = None
    looked_at: datetime | None = None
    searched_at: datetime | None = None
    etags: dict[str, str] = field(default_factory=dict)

    def is_active(self, now: datetime) -> bool:
        """Whether something happened within the last day."""
        return self.active_at is not None and now - self.active_at < ACTIVE_FOR

    def seen(self, at: datetime | None) -> None:
        """Take note that something happened."""
        if at is not None and (self.active_at is None or at > self.active_at):
            self.active_at = at


@dataclass
class HookProgress:
    """What is known of one webhook's deliveries.

    Attributes:
        read_until: when the newest attempt that was read had been made, by GitHub's clock; None if none was read yet.
        failed: the attempts of every event that may have to be sent again.
        asked_at: when its list was last asked for, by our clock.
    """

    read_until: datetime | None = None
    failed: list[HookDelivery] = field(default_factory=list)
    asked_at: datetime | None = None


@dataclass
class Progress:
    """What one pass hands to the next.

    Attributes:
        repositories: by full name, in lower case.
        listed: when the repositories of an account were last listed as a whole, by its login in lower case.
        hooks: by the hook's REST path.
    """

    repositories: dict[str, RepositoryProgress] = field(default_factory=dict)
    listed: dict[str, datetime] = field(default_factory=dict)
    hooks: dict[str, HookProgress] = field(default_factory=dict)

    def of(self, repository: str) -> RepositoryProgress:
        """Return what is known of a repository, to be added to."""
        return self.repositories.setdefault(repository.lower(), RepositoryProgress())

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON's own types."""
        return {
            "repositories": {
                name: [*map(_seconds, (known.active_at, known.looked_at, known.searched_at)), known.etags]
                for name, known in self.repositories.items()
            },
            "listed": {account: _seconds(at) for account, at in self.listed.items()},
            "hooks": {
                hook: {
                    "read_until": _seconds(known.read_until),
                    "failed": [_written(one) for one in known.failed],
                    "asked_at": _seconds(known.asked_at),
                }
                for hook, known in self.hooks.items()
            },
        }

    @classmethod
    def from_json(cls, written: Any) -> "Progress":
        """Read what `to_json` returned; anything else counts as nothing known."""
        try:
            return cls(
                {str(name): _repository(*known) for name, known in written["repositories"].items()},
                {str(account): _known(at) for account, at in written["listed"].items()},
                {str(hook): _hook(known) for hook, known in written["hooks"].items()},
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            return cls()


def _written(delivery: HookDelivery) -> dict[str, Any]:
    return {**vars(delivery), "delivered_at": _seconds(delivery.delivered_at)}


def _read(written: Mapping[str, Any]) -> HookDelivery:
    return HookDelivery(**{**written, "delivered_at": _known(written["delivered_at"])})


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else _known(seconds)


def _repository(
    active_at: float | None, looked_at: float | None, searched_at: float | None, etags: Mapping[str, str] | None = None
) -> RepositoryProgress:
    kept = {str(question): str(etag) for question, etag in (etags or {}).items()}
    return RepositoryProgress(_moment(active_at), _moment(looked_at), _moment(searched_at), kept)


def _hook(written: Mapping[str, Any]) -> HookProgress:
    failed = [_read(one) for one in written["failed"]]
    return HookProgress(_moment(written["read_until"]), failed, _moment(written.get("asked_at")))


def _known(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
