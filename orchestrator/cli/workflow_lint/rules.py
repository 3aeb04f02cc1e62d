"""What becomes of one job here, by the labels that it asks for (pure). It decides as the function does."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.cli.workflow_lint.expression import Data, Unknown, as_text, is_known
from orchestrator.cli.workflow_lint.finding import Code, Remark
from orchestrator.config.profiles import HOSTED_PREFIXES, Profile, asks_for_self_hosted
from orchestrator.config.settings import Settings
from orchestrator.jobs.admission import Admitted, Ignored, Refused, admit, profile_of
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.jobs.profile_match import candidates

# The group that runners join where a profile names none, and what may stand before the name of a group.
_DEFAULT_GROUP = "default"
_LEVELS = ("org/", "organization/", "ent/", "enterprise/")


@dataclass(frozen=True)
class Ask:
    """What a job asks for.

    Attributes:
        labels: the labels that are known.
        group: the runner group; None without one.
        has_more: whether it asks for labels, or a group, that cannot be known.
    """

    labels: tuple[str, ...]
    group: str | None = None
    has_more: bool = False

    def __str__(self) -> str:
        labels = f"[{', '.join([*self.labels, *['?'] * self.has_more])}]"
        return labels if self.group is None else f"{labels} in the group {self.group}"


class RunsOnMalformed(Exception):
    """GitHub takes the value for no `runs-on`."""


@dataclass(frozen=True)
class Outcome:
    """What becomes of a job.

    Attributes:
        profile: the profile that takes it, None if none does.
        remarks: what is to be said about it.
    """

    profile: Profile | None
    remarks: Sequence[Remark] = ()


@dataclass(frozen=True)
class Home:
    """Whose workflows these are.

    Attributes:
        repository: `owner/name`; empty if it is not known.
        is_public: whether anybody can see it.
    """

    repository: str = ""
    is_public: bool = False


def ask_of(value: Data) -> Ask | None:
    """Return what a value of `runs-on` asks for; None if that cannot be known.

    Args:
        value: a label, a list of labels, or a mapping with `group` and `labels`.

    Raises:
        RunsOnMalformed: GitHub refuses it.
    """
    if isinstance(value, Unknown):
        return None
    if not isinstance(value, dict):
        return _labels(value)
    properties = {name.lower(): each for name, each in value.items()}
    if unexpected := sorted(properties.keys() - {"group", "labels"}):
        raise RunsOnMalformed(f"runs-on has no {unexpected[0]}: group and labels are what it may have")
    group, labels = properties.get("group"), properties.get("labels")
    if group in (None, ""):
        return _labels(labels)
    if isinstance(group, (list, dict)):
        raise RunsOnMalformed("the group of runs-on is no text")
    ask = Ask(()) if labels in (None, "", []) else _labels(labels)
    if ask is None or isinstance(group, Unknown):
        return Ask(ask.labels if ask else (), None if isinstance(group, Unknown) else as_text(group), has_more=True)
    return Ask(ask.labels, as_text(group), ask.has_more)


def _labels(value: Data) -> Ask | None:
    if isinstance(value, Unknown):
        return None
    values = value if isinstance(value, list) else [value]
    known = tuple(as_text(label) for label in values if is_known(label))
    if not values or "" in known:
        raise RunsOnMalformed("runs-on is empty, or one of its labels")
    if any(isinstance(label, (list, dict)) for label in values):
        raise RunsOnMalformed("a label of runs-on is no text")
    return Ask(known, has_more=len(known) < len(values))


def outcome_of(ask: Ask, settings: Settings, home: Home) -> Outcome:
    """Return what becomes of a job.

    Args:
        ask: what it asks for.
        settings: the function's.
        home: whose workflow it belongs to.
    """
    if ask.has_more:
        return _in_part_known(ask, settings)
    if not ask.labels:
        reason = f"the job asks for the group {ask.group} alone: no delivery names it, so no runner is started for it"
        return Outcome(None, [Remark(Code.GROUP_ONLY, reason, "name a label of a profile beside the group")])
    answer = _admission(ask, settings, home)
    if isinstance(answer, Refused):
        return Outcome(None, [Remark(Code.REFUSED, f"{ask} gets no runner: {answer.reason}")])
    if isinstance(answer, Ignored):
        return Outcome(None, _nobody(ask, answer.reason))
    return Outcome(answer, [*_wrong_group(ask, answer, settings), *_others(ask, answer, settings, home)])


def container_remark(what: str) -> Remark:
    """Return what is said of a job that asks for a container.

    Args:
        what: what it uses.
    """
    hint = "see docs/containers-in-jobs.md for the way out"
    return Remark(Code.CONTAINER, f"{what} needs a container runtime, which a job here has not", hint)


def _in_part_known(ask: Ask, settings: Settings) -> Outcome:
    """Judge a job some of whose labels are unknown: where nobody serves the others, nobody serves all of them."""
    served = any(profile.serves(ask.labels) for profile in settings.profiles)
    if served or not asks_for_self_hosted(ask.labels):
        return Outcome(None, [Remark(Code.UNKNOWN, f"{ask} cannot be known in full")])
    reason = f"no profile offers all of the labels {', '.join(ask.labels)}, whatever the others are"
    return Outcome(None, [Remark(Code.UNSERVED, f"{ask} finds no runner: {reason}")])


def _admission(ask: Ask, settings: Settings, home: Home) -> Profile | Ignored | Refused:
    if not home.repository:  # its rules cannot be asked, and the labels alone decide
        return profile_of(ask.labels, "", settings)
    owner, _, name = home.repository.partition("/")
    repository = {
        "name": name, "full_name": home.repository, "owner": {"login": owner}, "private": not home.is_public,
    }  # fmt: skip
    job = {"id": 1, "run_id": 1, "labels": ask.labels}
    payload = {"action": "queued", "workflow_job": job, "repository": repository}
    answer = admit(WorkflowJobEvent.model_validate(payload), settings)
    return answer.profile if isinstance(answer, Admitted) else answer


def _nobody(ask: Ask, reason: str) -> list[Remark]:
    if asks_for_self_hosted(ask.labels):
        return [Remark(Code.UNSERVED, f"{ask} finds no runner: {reason}", _hint(ask))]
    if all(label.lower().startswith(HOSTED_PREFIXES) for label in ask.labels):
        return []  # a machine of GitHub's
    return [Remark(Code.ELSEWHERE, f"{ask} gets no runner from here: {reason}", _hint(ask))]


def _hint(ask: Ask) -> str:
    joined = next((label for label in ask.labels if "," in label or " " in label), None)
    if joined is None:
        return ""
    return f"{joined!a} is one label; a list of labels is written [{', '.join(joined.replace(',', ' ').split())}]"


def _wrong_group(ask: Ask, profile: Profile, settings: Settings) -> list[Remark]:
    """Say so if the profile's runners are in another group than the job asks for: GitHub gives them no such job."""
    if ask.group is None:
        return []
    wanted = ask.group.lower()
    wanted = next((wanted.removeprefix(level) for level in _LEVELS if wanted.startswith(level)), wanted)
    own = profile.runner_group if settings.runner_scope != "repository" else None
    if wanted == (own or _DEFAULT_GROUP).lower():
        return []
    where = f"the group {own}" if own else "GitHub's default group"
    reason = f"the job asks for the group {ask.group}, and the runners of profile {profile.name} are in {where}"
    return [Remark(Code.GROUP, f"{reason}: it finds no runner", "change one of the two (runnerGroup of the profile)")]


def _others(ask: Ask, profile: Profile, settings: Settings, home: Home) -> list[Remark]:
    found = candidates(settings.profiles, ask.labels, home.repository)
    others = [each.profile.name for each in found if each.takes and each.profile != profile]
    if not others:
        return []
    message = f"{ask} gets profile {profile.name}, and would also fit {', '.join(others)}"
    return [Remark(Code.SEVERAL, message, "name a label that only one of them has, if another one is meant")]
