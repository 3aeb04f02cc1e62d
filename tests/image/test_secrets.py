"""What a hostile job gets to see, and that each rule which hides something is needed: without it the job sees it."""

import pytest

from sandbox.github import GitHub
from sandbox.github.model import Scope
from tests.claim_door import CLAIM
from tests.image.harness import PYTHON, Attack, Kind, Mutation, Place, attack

SCOPE = Scope("organization", "acme")
PLACES = ["process", "container"]
HIDE_PROCESS = Mutation("systems.py", "control(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0", "not control")
NO_NEW_PRIVILEGES = Mutation("systems.py", "control(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)", "pass")
DROP_ROOT = Mutation("systems.py", "        os.setuid(entry.pw_uid)\n", "")
SCRUB_NAMES = Mutation("contract.py", "not name.upper().startswith(SCRUBBED)", "name")
SCRUB_VALUES = Mutation("contract.py", " and secret not in value", "")
TOKEN_BY_ENVIRONMENT = Mutation(
    "lifecycle.py", "self._call(arguments, REG", 'self._call(arguments + ["--token", self._secret.value], REG'
)
LISTENER_WITHOUT_TOKEN = Mutation(
    "lifecycle.py", "dict(self._environment, **extra)", "dict(self._environment, T=self._secret.value, **extra)"
)
JIT_BY_FILES = Mutation(
    "systems.py", "        return {}\n", '        return {"ACTIONS_RUNNER_INPUT_JITCONFIG": secret.value}\n'
)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    """Return where the entrypoint runs; build the image if that is a container."""
    if request.param == "container":
        request.getfixturevalue("image")
    elif PYTHON is None:
        pytest.skip("as root, this needs a Python that other users may run: /usr/bin/python3")
    found: Place = request.param
    return found


def status(text: str, field: str) -> str:
    """Return a field of a /proc/PID/status."""
    return next(line.split()[1] for line in text.splitlines() if line.startswith(f"{field}:"))


def assert_ran(found: Attack) -> None:
    """Check that the job ran to its end."""
    assert (found.code, found.output.splitlines()[-1]) == (0, "ghr: exit code 0: a job ran"), found.output
    assert found.seen["own"]


@pytest.mark.parametrize("kind", ["token", "jit", "claim"])
def test_the_secret_is_nowhere(place: Place, kind: Kind, github: GitHub, github_url: str) -> None:
    """No token, JIT configuration or claim is in any environment, argument, memory or file that a job can read."""
    found = attack(place, github, github_url, kind=kind)
    assert_ran(found)
    assert found.leaks == set()
    assert not [secret for secret in found.secrets if secret in found.output]
    assert found.seen["entrypoint"]["environ"] == found.seen["entrypoint"]["memory"] == "PermissionError"
    assert status(found.seen["entrypoint"]["uid"], "Uid") == str(found.seen["uid"]) != "0"
    assert status(found.seen["status"], "NoNewPrivs") == "1"
    # The credentials of its own runner are the job's to read, as everywhere; they end with the job.
    (credentials,) = [text for path, text in found.seen["files"].items() if path.endswith("/.credentials")]
    assert "clientId" in credentials
    assert github.runners == []


def test_what_else_is_none_of_its_business(place: Place, github: GitHub, github_url: str) -> None:
    """Our settings, the orchestrator's notes, Batch's variables and other copies of the token do not reach a job."""
    more = {"GHR_ORIGIN": '{"job": 1}', "AZ_BATCH_NODE_ID": "node", "ActionsRunner_URL": "https://x.test/x"}
    found = attack(place, github, github_url, environment=more)
    assert_ran(found)
    names = {name.upper() for name in found.seen["own"]}
    assert not [name for name in names if name.startswith(("GHR_", "AZ_BATCH", "ACTIONSRUNNER_"))]
    assert "PermissionError" in found.seen["shadow"]


@pytest.mark.parametrize(
    ("mutation", "kind", "place_of_leak"),
    [
        (HIDE_PROCESS, "token", "environment of a process"),
        (HIDE_PROCESS, "jit", "environment of a process"),
        (HIDE_PROCESS, "claim", "environment of a process"),
        (SCRUB_NAMES, "claim", "own environment"),
        (TOKEN_BY_ENVIRONMENT, "token", "files of the runner"),
        (LISTENER_WITHOUT_TOKEN, "token", "environment of a process"),
        (JIT_BY_FILES, "jit", "environment of a process"),
        (JIT_BY_FILES, "claim", "environment of a process"),
    ],
)
def test_each_rule_is_needed(
    place: Place, mutation: Mutation, kind: Kind, place_of_leak: str, github: GitHub, github_url: str
) -> None:
    """Without the rule the job finds the secret, so the test above would say so."""
    found = attack(place, github, github_url, kind=kind, mutation=mutation)
    assert_ran(found)
    assert place_of_leak in found.leaks


@pytest.mark.parametrize("kind", ["token", "claim"])
def test_a_copy_of_the_secret(place: Place, kind: Kind, github: GitHub, github_url: str) -> None:
    """A copy of the secret in a variable of another name is taken away as well; without that rule the job has it."""
    token, _ = github.access.runner_token(SCOPE, github.clock())
    given = {"GHR_TOKEN": token, "OLD_NAME": f"token={token}"} if kind == "token" else {"OLD_NAME": f"claim={CLAIM}"}
    assert "OLD_NAME" not in attack(place, github, github_url, kind=kind, environment=given).seen["own"]
    without = attack(place, github, github_url, kind=kind, environment=given, mutation=SCRUB_VALUES)
    assert without.seen["own"]["OLD_NAME"] == given["OLD_NAME"]


def test_names_are_scrubbed(place: Place, github: GitHub, github_url: str) -> None:
    """Without the rule for names the job sees what the orchestrator noted."""
    found = attack(place, github, github_url, environment={"GHR_ORIGIN": "notes"}, mutation=SCRUB_NAMES)
    assert found.seen["own"]["GHR_ORIGIN"] == "notes"


@pytest.mark.usefixtures("full_image")
def test_the_larger_image(github: GitHub, github_url: str) -> None:
    """The larger image hides what the smaller one does."""
    found = attack("larger", github, github_url, kind="claim")
    assert_ran(found)
    assert found.leaks == set()


def test_no_new_privileges(place: Place, github: GitHub, github_url: str) -> None:
    """Programs of the job may become root by their set-user-id bit without the rule, or if the image allows sudo."""
    field = "NoNewPrivs"
    assert status(attack(place, github, github_url, mutation=NO_NEW_PRIVILEGES).seen["status"], field) == "0"
    allowed = attack(place, github, github_url, environment={"GHR_ALLOW_SUDO": "true"})
    assert (status(allowed.seen["status"], field), allowed.leaks) == ("0", set())


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(("user", "uid"), [("0", 1001), ("54321", 54321)])
def test_whoever_the_container_runs_as(user: str, uid: int, github: GitHub, github_url: str) -> None:
    """Root becomes the image's user; any other user stays, also one that the image does not know."""
    found = attack("container", github, github_url, options=("--user", user))
    assert_ran(found)
    assert (found.seen["uid"], found.leaks) == (uid, set())


@pytest.mark.usefixtures("image")
def test_root_is_dropped(github: GitHub, github_url: str) -> None:
    """Without the rule the job is root, and reads what is root's."""
    found = attack("container", github, github_url, options=("--user", "0"), mutation=DROP_ROOT)
    assert found.seen["uid"] == 0
    assert "root:" in found.seen["shadow"]
