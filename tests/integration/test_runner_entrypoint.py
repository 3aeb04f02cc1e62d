"""The runner images' entrypoint as a process, over a program that plays the runner, against a GitHub over a socket."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.faults import Fault
from sandbox.github import GitHub
from sandbox.github.model import Job
from tests.claim_door import CLAIM, Door, door, granted, refused
from tests.image.harness import ENTRYPOINT, Mutation, queue, registration
from tests.waiting import until


@contextmanager
def started(
    folder: Path, github: GitHub, url: str, python: str = sys.executable, **changes: str
) -> Iterator[subprocess.Popen[str]]:
    """Start a runner on a Python, from the entrypoint in the folder if there is one; end it with the test."""
    entrypoint = folder / "entrypoint" if (folder / "entrypoint").exists() else ENTRYPOINT
    home = folder / "runner"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "Runner.Listener").symlink_to(ENTRYPOINT.parents[1] / "sandbox" / "runner.py")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "GHR_HOME": str(home),
        "GHR_USER": "root",  # nobody else may be there
        "SANDBOX_GITHUB_URL": f"{url}/acme",
        **registration(github, url),
        **changes,
    }
    command = [python, "-I", "-S", str(entrypoint)]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def without(folder: Path, old: str, new: str) -> None:
    """Give this test an entrypoint of its own, in which something of its life cycle is different."""
    shutil.copytree(ENTRYPOINT, folder / "entrypoint", ignore=shutil.ignore_patterns("__pycache__"))
    Mutation("lifecycle.py", old, new).apply(folder / "entrypoint")


def leave_once_it_listens(folder: Path) -> None:
    """Let the idle limit be the moment of the listener's session, however slow the machine is."""
    without(
        folder,
        "self._stop.number or time.monotonic() > deadline:\n                left",
        "self._logs.had_session:\n                left",
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return how a runner ended: its exit code, and the reason in its last line, which names the same code."""
    output, _ = process.communicate(timeout=30)
    last = output.splitlines()[-1]
    prefix = f"ghr: exit code {process.returncode}: "
    assert last.startswith(prefix), output
    return process.returncode, last.removeprefix(prefix)


def the_job(github: GitHub) -> Job:
    """Return the one job."""
    (job,) = github.jobs
    return job


def test_a_job(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A runner registers as it was told, runs one job with its hooks, and ends with 0; GitHub has removed it."""
    hook = tmp_path / "started.sh"
    hook.write_text(f"echo began > {tmp_path}/hook", encoding="utf-8")
    queue(github, f"run: pwd > {tmp_path}/where; env > {tmp_path}/environment")
    seen: list[tuple[str, list[str], bool]] = []
    github.subscribe(
        lambda event: (
            seen.append((event.runner.name, [label.name for label in event.runner.labels], event.runner.ephemeral))
            if event.kind == "runner_registered" and event.runner
            else None
        )
    )
    changes = {"ACTIONS_RUNNER_HOOK_JOB_STARTED": str(hook), "GHR_LABELS": "self-hosted,linux,x64,gpu"}
    with started(tmp_path, github, github_url, **changes) as process:
        assert ended(process) == (0, "a job ran")
    assert seen == [("runner-1-1", ["self-hosted", "Linux", "X64", "gpu"], True)]
    assert (the_job(github).conclusion, github.runners) == ("success", [])
    assert (tmp_path / "hook").exists()
    assert (tmp_path / "where").read_text(encoding="utf-8").strip() == str(tmp_path / "runner" / "_work")
    assert "GHR_" not in (tmp_path / "environment").read_text(encoding="utf-8")


def test_a_job_that_fails(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A job's failure is GitHub's to tell: the container ends with 0 all the same."""
    queue(github, "run: exit 3")
    with started(tmp_path, github, github_url) as process:
        assert ended(process) == (0, "a job ran")
    assert the_job(github).conclusion == "failure"


@pytest.mark.parametrize("jit", [False, True])
def test_no_job(jit: bool, github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A runner without a job leaves with 69; what it registered itself is removed, what the orchestrator did is not."""
    changes = {**registration(github, github_url, jit=True), "GHR_TOKEN": ""} if jit else {}
    leave_once_it_listens(tmp_path)
    with started(tmp_path, github, github_url, **changes) as process:
        code, reason = ended(process)
    left = "the orchestrator removes its registration" if jit else "its registration was removed"
    assert (code, reason) == (69, f"no job came in 10 minutes; {left}")
    assert len(github.runners) == (1 if jit else 0)


def test_removed_from_outside(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A runner whose registration somebody removes ends with 69 as well."""
    with started(tmp_path, github, github_url) as process:
        until(lambda: [runner for runner in github.runners if runner.listening])
        with github.changing() as now:
            github.state.remove(github.runners[0].id, now)
        assert ended(process) == (
            69, "no job was run: the registration was removed from outside, or the job was taken back",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"GHR_TOKEN": "wrong"}, 75, "the runner was not registered: the lines above say why"),
        ({"GHR_URL": "http://127.0.0.1:9/acme"}, 75, "the runner was not registered: the lines above say why"),
        ({"GHR_EXPIRES_AT": "2020-01-01T00:00:00Z"}, 75,
         "the registration expired while this task waited: nothing was tried"),
        ({"SANDBOX_RUNNER_VERSION": "2.328.0"}, 7, "GitHub refuses this version of the runner"),
        ({"SANDBOX_RUNNER_VERSION": "2.328.0", "SANDBOX_RUNNER_REFUSAL": "out_of_date"}, 7,
         "GitHub refuses this version of the runner"),
        ({"GHR_GROUP": "Gruppe für Länder & Bünde"}, 78,
         "GHR_GROUP names a runner group that GitHub does not have for this address"),
        ({"SANDBOX_RUNNER_BREAKS": "after-registering"}, 75,
         "the runner was not registered: the lines above say why; its registration was removed"),
        ({"GHR_TOKEN": ""}, 78, "none of GHR_TOKEN, GHR_JITCONFIG and GHR_CLAIM is set"),
        ({"GHR_TOKEN": "", "GHR_CLAIM": CLAIM}, 78, "GHR_CLAIM_URL is missing"),
        ({"GHR_URL": "github.com/acme"}, 78, "GHR_URL is malformed"),
    ],
)  # fmt: skip
def test_never_a_runner(
    changes: Mapping[str, str], code: int, reason: str, github: GitHub, github_url: str, tmp_path: Path
) -> None:
    """What keeps a runner from registering is told apart by the code, and nothing is left at GitHub."""
    github.runner_version_floor = "2.329.0"
    with started(tmp_path, github, github_url, **changes) as process:
        assert ended(process) == (code, reason)
    assert github.runners == []


@pytest.mark.parametrize("jit", [False, True])
def test_a_job_service_that_is_never_reached(jit: bool, github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A runner without a session is no runner for which no job came: 75, with the end of the runner's own log."""
    changes = {**registration(github, github_url, jit=True), "GHR_TOKEN": ""} if jit else {}
    changes |= {"GHR_IDLE_MINUTES": "0.01", "SANDBOX_BROKER_URL": "http://127.0.0.1:9/acme"}
    with started(tmp_path, github, github_url, **changes) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 75
    last = output.splitlines()[-1]
    assert "GitHub's job service was never reached" in last
    assert "*.actions.githubusercontent.com" in last
    assert re.search(r"^    \[.*Runner connect error: .*Retrying until reconnected\.$", output, re.MULTILINE)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_version_that_gets_no_jobs(at_once: bool, github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A registered runner's version is refused for its session, where the log alone says why, or later, by a code."""
    given = registration(github, github_url, jit=True)
    if at_once:
        github.runner_version_floor = "2.339.0"
    else:
        github.faults.add(Fault("status", "GET /_runner/message", status=403, body='{"error": "version"}'))
    with started(tmp_path, github, github_url, **given, GHR_TOKEN="") as process:
        assert ended(process) == (
            7, "GitHub refuses this version of the runner; the orchestrator removes its registration",
        )  # fmt: skip


def test_a_job_that_was_taken_back(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A listener whose job GitHub took back says nothing and gets no other: it is ended, long before its limit."""
    github.faults.add(Fault("status", "POST /_runner/jobs/*/started", status=409, body='{"error": "taken"}'))
    queue(github)
    without(tmp_path, "LAST_CHANCE = 30.0", "LAST_CHANCE = 0.2")
    with started(tmp_path, github, github_url, GHR_IDLE_MINUTES="60") as process:
        code, reason = ended(process)
    assert (code, reason.split(";")[0]) == (69, "GitHub gave the runner a job and took it back")


def test_no_runner_updates_itself(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """GitHub makes a JIT configuration with updates on; the entrypoint switches them off, so the job is run."""
    queue(github)
    given = registration(github, github_url, jit=True)
    with started(tmp_path, github, github_url, **given, GHR_TOKEN="", SANDBOX_RUNNER_UPDATE="1") as process:
        assert ended(process) == (0, "a job ran")


def test_a_registration_that_is_gone(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """If GitHub knows the runner no more when it leaves, there is nothing to wait for."""
    github.faults.add(Fault("status", "POST /_runner/remove", status=404, body='{"error": "Not Found"}'))
    leave_once_it_listens(tmp_path)
    with started(tmp_path, github, github_url) as process:
        assert ended(process) == (69, "no job came in 10 minutes; its registration was gone already")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_while_idle(number: int, code: int, github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A signal without a job: the registration is removed, and the runner leaves."""
    with started(tmp_path, github, github_url) as process:
        until(lambda: [runner for runner in github.runners if runner.listening])
        process.send_signal(number)
        assert ended(process) == (code, "stopped before a job came; its registration was removed")
    assert github.runners == []


def test_stopped_during_a_job(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A signal during a job: the runner ends the job, reports it as failed, and GitHub removes the runner."""
    queue(github, f"run: touch {tmp_path}/began; exec sleep 60")
    with started(tmp_path, github, github_url) as process:
        until((tmp_path / "began").exists)
        process.terminate()
        assert ended(process) == (71, "stopped during a job, which the runner ended and reported")
    assert (the_job(github).conclusion, github.runners) == ("failure", [])


def test_a_runner_that_is_killed_during_its_job(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """If the listener dies (no memory, say), the code says that a job was broken off."""
    queue(github, "run: kill -9 $PPID")
    with started(tmp_path, github, github_url) as process:
        assert ended(process) == (71, "the runner broke off during a job (its code is -9)")


def test_a_job_comes_while_the_runner_leaves(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A job that GitHub assigns at the idle limit is done: the removal is refused, and the runner stays for it."""
    held: list[int] = []
    with started(tmp_path, github, github_url, GHR_IDLE_MINUTES="0.05") as process:
        until(lambda: [runner for runner in github.runners if runner.listening])
        listener = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()[0])

        def stopped() -> bool:
            state = Path(f"/proc/{listener}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            if state == "T" and not held:
                held.append(queue(github))
            return state != "T" and bool(held)

        until(stopped)
        assert ended(process) == (0, "a job ran")
    assert the_job(github).conclusion == "success"


def claiming(asked: Door) -> dict[str, str]:
    """Return what a container gets instead of a token."""
    return {"GHR_TOKEN": "", "GHR_URL": "", "GHR_CLAIM": CLAIM, "GHR_CLAIM_URL": asked.url}


def test_a_claim(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A claim becomes a runner that runs its job; a time that belongs to tokens says nothing of it."""
    queue(github, f"run: env > {tmp_path}/environment")
    with door(refused(503, "not_yet", Retry_After="1"), granted(registration(github, github_url, jit=True))) as asked:
        changes = claiming(asked) | {"GHR_EXPIRES_AT": "2020-01-01T00:00:00Z"}
        with started(tmp_path, github, github_url, **changes) as process:
            output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert (the_job(github).conclusion, github.runners) == ("success", [])
    (nonce,) = set(asked.nonces)
    for place in (output, (tmp_path / "environment").read_text(encoding="utf-8")):
        assert not [hidden for hidden in (CLAIM, nonce, asked.url) if hidden in place]


def test_a_claim_without_a_job(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """A runner that was made for a claim is the orchestrator's to remove."""
    leave_once_it_listens(tmp_path)
    with (
        door(granted({**registration(github, github_url, jit=True), "GHR_IDLE_MINUTES": "3"})) as asked,
        started(tmp_path, github, github_url, **claiming(asked)) as process,
    ):
        assert ended(process) == (69, "no job came in 3 minutes; the orchestrator removes its registration")


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (401, 78, "the function refuses the claim (a_word)"),
        (403, 78, "the function refuses to answer this container (a_word)"),
        (409, 77, "the claim was used before, and not by this container (a_word)"),
        (410, 69, "no job needs this runner any more (a_word)"),
        (503, 75, "no registration within GHR_CLAIM_WAIT: the function answers 503 (a_word)"),
    ],
)
def test_a_claim_that_is_refused(
    status: int, code: int, reason: str, github: GitHub, github_url: str, tmp_path: Path
) -> None:
    """Each refusal has its exit code, and nothing is registered."""
    with (
        door(refused(status, "a_word", Retry_After="60")) as asked,
        started(tmp_path, github, github_url, **claiming(asked), GHR_CLAIM_WAIT="59") as process,
    ):
        assert ended(process) == (code, reason)
    assert github.runners == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_before_a_claim_is_answered(
    number: int, code: int, github: GitHub, github_url: str, tmp_path: Path
) -> None:
    """A signal ends a container that still waits for its registration."""
    with (
        door(refused(503, "not_yet", Retry_After="60")) as asked,
        started(tmp_path, github, github_url, **claiming(asked)) as process,
    ):
        until(lambda: asked.asked)
        process.send_signal(number)
        assert ended(process) == (code, "stopped while asking for a registration")


@pytest.mark.parametrize("claims", [False, True])
@pytest.mark.parametrize("version", ["3.6", "3.8", "3.10", "3.12"])
def test_the_pythons_of_the_images(version: str, claims: bool, github: GitHub, github_url: str, tmp_path: Path) -> None:
    """The entrypoint runs on the Pythons that Ubuntu 18.04, 20.04, 22.04 and 24.04 have, where they are installed."""
    candidates = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    works = (
        str(python) for python in candidates
        if python and subprocess.run([python, "-c", ""], capture_output=True, timeout=30, check=False).returncode == 0  # noqa: S603
    )  # fmt: skip
    found = next(works, None)
    if found is None:
        pytest.skip(f"Python {version} is not installed")
    queue(github)
    given = granted(registration(github, github_url, jit=True)) if claims else refused(410, "not_asked")
    with (
        door(given) as asked,
        started(tmp_path, github, github_url, found, **(claiming(asked) if claims else {})) as process,
    ):
        assert ended(process) == (0, "a job ran")


def test_what_is_logged(github: GitHub, github_url: str, tmp_path: Path) -> None:
    """The runner's own log has its arguments, and no secret; neither has the output."""
    queue(github)
    given = registration(github, github_url)
    with started(tmp_path, github, github_url, **given) as process:
        output, _ = process.communicate(timeout=30)
    logs = "".join(file.read_text(encoding="utf-8") for file in (tmp_path / "runner" / "_diag").glob("Runner_*"))
    assert "configure --unattended --ephemeral --disableupdate --replace --url" in logs
    assert given["GHR_TOKEN"] not in logs + output
