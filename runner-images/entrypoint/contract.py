"""What the orchestrator and the image agree on: variables, exit codes, and what a job may see of them (pure).

README.md in the folder above has it as a table. Standard library only; Python 3.6 or newer, which is what Ubuntu 18.04
has: so there are no dataclasses here, and some annotations are strings.
"""

import base64
import binascii
import json
import os
import re
from datetime import datetime, timedelta, timezone
from typing import Dict, Mapping, NamedTuple, Optional

JOB_RAN = 0
VERSION_REFUSED = 7
NO_JOB = 69
BROKEN = 70
JOB_BROKEN_OFF = 71
NOT_REGISTERED = 75
CLAIM_USED = 77
BAD_SETTINGS = 78
SIGNALLED = 128

# Every variable that belongs to us, to the runner's own input or to Batch: none of a job's business.
SCRUBBED = ("GHR_", "ACTIONSRUNNER_", "ACTIONS_RUNNER_INPUT_", "AZ_BATCH_")
# What a container can register with. The first of them that is given counts.
SECRETS = ("GHR_JITCONFIG", "GHR_TOKEN", "GHR_CLAIM")
# The names of the original runner images, in capitals.
ALIASES = {
    "GHR_URL": "ACTIONSRUNNER_URL",
    "GHR_TOKEN": "ACTIONSRUNNER_TOKEN",
    "GHR_NAME": "ACTIONSRUNNER_AGENT",
    "GHR_LABELS": "ACTIONSRUNNER_LABELS",
    "GHR_GROUP": "ACTIONSRUNNER_POOL",
    "GHR_EPHEMERAL": "ACTIONSRUNNER_DISPOSE",
    "GHR_WORK": "ACTIONSRUNNER_WORK",
}

# Labels and names are chosen by whoever writes a workflow: what passes here means nothing to a shell, an option parser
# or a path.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DELIVERY = re.compile(r"[A-Za-z0-9-]{1,100}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=+/@-]{0,99}")
# A group is named by an organization's owner, in any language.
_GROUP = re.compile(r"[^\x00-\x20\x7f-][^\x00-\x1f\x7f]{0,99}")
_WORK = re.compile(r"[A-Za-z0-9_./\\][A-Za-z0-9_.:/\\ -]*")
_URL = re.compile(r"https?://[A-Za-z0-9.:-]+/[A-Za-z0-9._/-]+")
# A claim goes over TLS, and without it to this machine alone. There is no user and no query: they could be secrets.
_CLAIM_URL = re.compile(
    r"(https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])|http://(localhost|127\.\d+\.\d+\.\d+|\[::1\]))(:\d{1,5})?/[A-Za-z0-9._~/-]+"
)
_SECRET = re.compile(r"[\x21-\x7e]+")
_JIT_FILE = re.compile(r"\.[a-z_]+")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|([+-])(\d\d):?(\d\d))")


class Ended(Exception):
    """The container is over.

    Attributes:
        code: the exit code.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Settings(NamedTuple):
    """What the container is told, without its secret."""

    url: str
    name: str
    labels: str
    group: str
    work: str
    idle_s: float
    stop_s: float
    expires_at: Optional[float]
    user: str
    home: str
    allow_sudo: bool
    claim_url: str
    claim_wait_s: float


class Secret:
    """A registration token or a JIT configuration, which nothing but the runner's own program may see, or a claim.

    Attributes:
        value: empty once it is forgotten.
        jit: whether it is a JIT configuration.
        claim: whether it is a claim, with which the orchestrator is asked for a JIT configuration.
    """

    def __init__(self, value: str, jit: bool = False, claim: bool = False) -> None:
        self.value = value
        self.jit = jit
        self.claim = claim

    def forget(self) -> None:
        """Keep it no longer: from here on a job may look around."""
        self.value = ""


def say(text: str) -> None:
    """Tell the operator: Batch keeps this as the task's stdout.txt."""
    print("ghr: " + text, flush=True)


def read_settings(environment: Mapping[str, str], home: str) -> Settings:
    """Read and check every setting.

    Args:
        environment: names in any case, as Windows has them in capitals.
        home: where the runner is installed, unless the environment says so.

    Raises:
        Ended: 78, one of them is missing or malformed.
    """
    given = _Given(environment)
    labels = [label.strip() for label in given.text("GHR_LABELS").split(",") if label.strip()]
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise Ended(BAD_SETTINGS, "GHR_LABELS holds a label with characters that no label may have")
    if not given.truth("GHR_EPHEMERAL", True):
        raise Ended(BAD_SETTINGS, "GHR_EPHEMERAL is false: these images run one job and end")
    return Settings(
        url=given.matching("GHR_URL", _URL, required=given.secret_name() in ("", "GHR_TOKEN")),
        name=given.matching("GHR_NAME", _NAME) or f"runner-{os.getpid()}",
        labels=",".join(labels),
        group=given.matching("GHR_GROUP", _GROUP),
        work=given.matching("GHR_WORK", _WORK) or "_work",
        idle_s=60 * given.number("GHR_IDLE_MINUTES", 10),
        stop_s=given.number("GHR_STOP_TIMEOUT", 60),
        expires_at=given.moment("GHR_EXPIRES_AT"),
        user=given.matching("GHR_USER", _NAME) or "runner",
        home=given.text("GHR_HOME") or home,
        allow_sudo=given.truth("GHR_ALLOW_SUDO", False),
        claim_url=given.matching("GHR_CLAIM_URL", _CLAIM_URL, required=given.secret_name() == "GHR_CLAIM"),
        claim_wait_s=given.number("GHR_CLAIM_WAIT", 600),
    )


def introduction(environment: Mapping[str, str], name: str) -> str:
    """Return the first line: which runner this is, and which delivery asked for it, if the environment says so."""
    delivery = _Given(environment).text("GHR_DELIVERY")
    return f"runner {name}" + (f", for delivery {delivery}" if _DELIVERY.fullmatch(delivery) else "")


def read_secret(environment: Mapping[str, str]) -> Secret:
    """Return the JIT configuration, or else the registration token, or else the claim.

    Raises:
        Ended: 78, there is none, or what there is cannot be one.
    """
    given = _Given(environment)
    name = given.secret_name()
    if not name:
        raise Ended(BAD_SETTINGS, "none of GHR_TOKEN, GHR_JITCONFIG and GHR_CLAIM is set")
    value = given.text(name)
    if not _SECRET.fullmatch(value):
        raise Ended(BAD_SETTINGS, f"{name} holds characters that it cannot have")
    return Secret(value, jit=name == "GHR_JITCONFIG", claim=name == "GHR_CLAIM")


class _Given:
    """An environment, read by our names or their aliases. A value never shows in an error."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._values = {name.upper(): value.strip() for name, value in environment.items()}

    def text(self, name: str) -> str:
        return self._values.get(name) or self._values.get(ALIASES.get(name, name), "")

    def secret_name(self) -> str:
        return next((name for name in SECRETS if self.text(name)), "")

    def matching(self, name: str, pattern: "re.Pattern[str]", required: bool = False) -> str:
        value = self.text(name)
        if required and not value:
            raise Ended(BAD_SETTINGS, f"{name} is missing")
        if value and not pattern.fullmatch(value):
            raise Ended(BAD_SETTINGS, f"{name} is malformed")
        return value

    def number(self, name: str, default: float) -> float:
        try:
            value = float(self.text(name) or default)
        except ValueError:
            value = -1
        if not 0 < value < float("inf"):
            raise Ended(BAD_SETTINGS, f"{name} is not a number above 0")
        return value

    def truth(self, name: str, default: bool) -> bool:
        value = self.text(name).lower()
        if value in ("", "1", "true", "yes", "0", "false", "no"):
            return value in ("1", "true", "yes") if value else default
        raise Ended(BAD_SETTINGS, f"{name} is neither true nor false")

    def moment(self, name: str) -> Optional[float]:
        value = self.text(name)
        if not value:
            return None
        found = _TIME.fullmatch(value)
        try:
            moment = datetime.strptime(found.group(1), "%Y-%m-%dT%H:%M:%S") if found else None  # noqa: DTZ007
        except ValueError:
            moment = None
        if found is None or moment is None:
            raise Ended(BAD_SETTINGS, f"{name} is no ISO 8601 time with an offset")
        hours, minutes = int(found.group(3) or 0), int(found.group(4) or 0)
        offset = timedelta(hours=hours, minutes=minutes) * (-1 if found.group(2) == "-" else 1)
        return (moment - offset).replace(tzinfo=timezone.utc).timestamp()


def job_environment(environment: Mapping[str, str], secret: str) -> Dict[str, str]:
    """Return what the runner and its job may see: neither our settings, nor Batch's, nor any copy of the secret."""
    return {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith(SCRUBBED) and secret not in value
    }


def jit_files(config: str) -> Dict[str, bytes]:
    """Return the files that a JIT configuration holds, by their names, with self-update switched off.

    Source: actions/runner, Runner.cs: base64 of JSON, file name -> base64 of its content; ConfigurationStore.cs:
    `DisableUpdate` in `.runner`. GitHub is asked for no such thing when it makes the configuration, and an update would
    come with every job once a newer runner is out.

    Raises:
        Ended: 78, it is none.
    """
    try:
        files = {
            str(name): base64.b64decode(content, validate=True)
            for name, content in json.loads(base64.b64decode(config, validate=True).decode()).items()
        }
        runner = {
            name: value
            for name, value in json.loads(files[".runner"].decode("utf-8-sig")).items()
            if name.lower() != "disableupdate"
        }
    except (binascii.Error, ValueError, TypeError, AttributeError, KeyError):
        raise Ended(BAD_SETTINGS, "GHR_JITCONFIG is no JIT configuration") from None
    if not all(_JIT_FILE.fullmatch(name) for name in files):
        raise Ended(BAD_SETTINGS, "GHR_JITCONFIG is no JIT configuration")
    files[".runner"] = json.dumps(dict(runner, DisableUpdate="True")).encode()
    return files


def jit_config(files: Mapping[str, bytes]) -> str:
    """Return the JIT configuration that holds these files."""
    content = {name: base64.b64encode(data).decode() for name, data in files.items()}
    return base64.b64encode(json.dumps(content).encode()).decode()
