"""Why a job gets the profile that it gets, profile by profile (pure). `admission` says which one that is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.config.profiles import Profile, unacceptable_label
from orchestrator.jobs.admission import MOST_LABELS


@dataclass(frozen=True)
class Candidate:
    """One profile, held against a job.

    Attributes:
        profile: the profile.
        takes: whether it takes the job. The first that does wins.
        missing_labels: labels of the job that it does not offer, or that nobody may.
        wants_self_hosted: whether it offers all of the labels, but serves only jobs that say `self-hosted` as well.
        wrong_repository: whether it serves other repositories only.
    """

    profile: Profile
    takes: bool
    missing_labels: tuple[str, ...]
    wants_self_hosted: bool
    wrong_repository: bool

    @property
    def why_not(self) -> str:
        """Why the job did not get it, to be put after its name."""
        if self.takes:
            return "takes it too, but comes later"
        reasons = [f"lacks {', '.join(self.missing_labels)}"] if self.missing_labels else []
        if self.wants_self_hosted:
            reasons.append("serves only jobs that say self-hosted")
        if self.wrong_repository:
            reasons.append(f"serves only {', '.join(self.profile.repositories)}")
        return "; ".join(reasons) or "offers all of the labels"


def candidates(profiles: Iterable[Profile], labels: Sequence[str], repository: str) -> tuple[Candidate, ...]:
    """Hold every profile against a job, in order.

    Args:
        profiles: all of them.
        labels: the job's.
        repository: `owner/name`; empty for one that no profile names.
    """
    return tuple(_candidate(profile, labels, repository) for profile in profiles)


def _candidate(profile: Profile, labels: Sequence[str], repository: str) -> Candidate:
    fits, is_for = profile.takes(labels), profile.is_for(repository)
    # A wildcard may cover a label that no runner of ours is started with.
    missing = tuple(label for label in labels if unacceptable_label([label]) or profile.missing([label]))
    return Candidate(
        profile=profile,
        takes=fits and is_for and not missing and len(labels) <= MOST_LABELS,
        missing_labels=missing,
        wants_self_hosted=bool(labels) and not missing and not fits,
        wrong_repository=not is_for,
    )
