"""The entrypoint's contract, its rules that no stand-in can provoke, and its Windows branches."""

import base64
import errno
import json
import os
import re
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import claim
import contract
import lifecycle
import pytest
import runner_logs
import systems
from pydantic import TypeAdapter, ValidationError

from orchestrator.config.profiles import GroupName
from tests.waiting import until

ROOT = Path(__file__).parents[2]
TOKEN = "AABBCCDDEEFF"
TEXTS = {
    name: found["text"]
    for name, found in json.loads((ROOT / "sandbox" / "runner_texts.json").read_text(encoding="utf-8")).items()
}
SESSION = TEXTS["session"]
REMOVING = TEXTS["removing_failed"]
GIVEN: Mapping[str, str] = {"GHR_URL": "https://github.com/acme", "GHR_TOKEN": TOKEN, "GHR_NAME": "runner-1-1"}
JIT = base64.b64encode(json.dumps({".runner": base64.b64encode(b"{}").decode()}).encode()).decode()


def settings(**changes: str) -> contract.Settings:
    """Return settings with these variables changed."""
    return contract.read_settings({**GIVEN, **changes}, "/opt/runner")


class TestSettings:
    """`read_settings` and `read_secret`."""

    def test_defaults(self) -> None:
        """Address and secret are enough."""
        found = settings()
        assert (found.url, found.name, found.work, found.labels) == (
            "https://github.com/acme",
            "runner-1-1",
            "_work",
            "",
        )
        assert (found.idle_s, found.stop_s, found.expires_at, found.user) == (600, 60, None, "runner")
        assert (found.home, found.allow_sudo) == ("/opt/runner", False)

    def test_the_original_names(self) -> None:
        """The original images' names work, in any case; ours win; an empty variable counts as absent."""
        found = contract.read_settings(
            {
                "ActionsRunner_URL": "https://github.com/acme/app", "ActionsRunner_AGENT": "a",
                "ACTIONSRUNNER_LABELS": "x, y,",
                "ActionsRunner_POOL": "Batch", "ActionsRunner_WORK": "/w", "ActionsRunner_DISPOSE": "True",
                "GHR_NAME": "b", "GHR_LABELS": "", "ActionsRunner_TOKEN": "t",
            },
            "/opt/runner",
        )  # fmt: skip
        assert found[:5] == ("https://github.com/acme/app", "b", "x,y", "Batch", "/w")
        assert contract.read_secret({"ActionsRunner_TOKEN": "t"}).value == "t"

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("GHR_URL", "", "GHR_URL is missing"),
            ("GHR_URL", "https://user:pass@github.com/acme", "GHR_URL is malformed"),
            ("GHR_URL", "--url", "GHR_URL is malformed"),
            ("GHR_NAME", "--replace", "GHR_NAME is malformed"),
            ("GHR_NAME", "a b", "GHR_NAME is malformed"),
            ("GHR_NAME", "x" * 65, "GHR_NAME is malformed"),
            ("GHR_GROUP", "-x", "GHR_GROUP is malformed"),
            ("GHR_WORK", "--x", "GHR_WORK is malformed"),
            ("GHR_LABELS", "a,$(id)", "GHR_LABELS holds a label"),
            ("GHR_LABELS", "a,--x", "GHR_LABELS holds a label"),
            ("GHR_EPHEMERAL", "false", "GHR_EPHEMERAL is false"),
            ("GHR_EPHEMERAL", "perhaps", "GHR_EPHEMERAL is neither"),
            ("GHR_IDLE_MINUTES", "0", "GHR_IDLE_MINUTES is not a number"),
            ("GHR_IDLE_MINUTES", "soon", "GHR_IDLE_MINUTES is not a number"),
            ("GHR_STOP_TIMEOUT", "inf", "GHR_STOP_TIMEOUT is not a number"),
            ("GHR_EXPIRES_AT", "tomorrow", "GHR_EXPIRES_AT is no ISO"),
            ("GHR_EXPIRES_AT", "2026-11-25T12:00:00", "GHR_EXPIRES_AT is no ISO"),
            ("GHR_EXPIRES_AT", "2026-13-25T12:00:00Z", "GHR_EXPIRES_AT is no ISO"),
            ("GHR_CLAIM_WAIT", "-1", "GHR_CLAIM_WAIT is not a number"),
            ("GHR_CLAIM_URL", "ftp://site.example/api/ClaimRunner", "GHR_CLAIM_URL is malformed"),
            ("GHR_CLAIM_URL", "http://site.example/api/ClaimRunner", "GHR_CLAIM_URL is malformed"),
            ("GHR_CLAIM_URL", "http://127.0.0.1.example/api/ClaimRunner", "GHR_CLAIM_URL is malformed"),
            ("GHR_CLAIM_URL", "https://user:pass@site.example/api/ClaimRunner", "GHR_CLAIM_URL is malformed"),
            ("GHR_CLAIM_URL", "https://site.example/api/ClaimRunner?code=key", "GHR_CLAIM_URL is malformed"),
            ("GHR_CLAIM_URL", "https://site.example", "GHR_CLAIM_URL is malformed"),
        ],
    )
    def test_wrong(self, name: str, value: str, said: str) -> None:
        """What is wrong ends with 78 and is named, without its value."""
        with pytest.raises(contract.Ended, match=said) as ended:
            settings(**{name: value})
        assert ended.value.code == 78
        assert len(value) < 6 or value not in str(ended.value)

    @pytest.mark.parametrize(
        "text",
        [
            "2026-11-25T12:00:00Z",
            "2026-11-25T12:00:00.123456Z",
            "2026-11-25T12:00:00+00:00",
            "2026-11-25T14:30:00+02:30",
            "2026-11-25T04:00:00.000-08:00",
            "2026-11-25T04:00:00-0800",
        ],
    )
    def test_moments(self, text: str) -> None:
        """ISO 8601 with any offset, as GitHub and the orchestrator write it."""
        assert settings(GHR_EXPIRES_AT=text).expires_at == 1795608000

    def test_secrets(self) -> None:
        """A JIT configuration wins over a token, and needs no address; without either nothing starts."""
        found = contract.read_secret({"GHR_TOKEN": "t", "GHR_JITCONFIG": JIT})
        assert (found.value, found.jit) == (JIT, True)
        assert contract.read_settings({"GHR_JITCONFIG": JIT}, "/").url == ""
        with pytest.raises(contract.Ended, match="none of GHR_TOKEN, GHR_JITCONFIG and GHR_CLAIM is set") as ended:
            contract.read_secret({"GHR_TOKEN": " "})
        assert ended.value.code == 78
        with pytest.raises(contract.Ended, match="GHR_TOKEN holds characters") as ended:
            contract.read_secret({"GHR_TOKEN": "a\nb"})
        assert TOKEN not in repr(contract.read_secret(GIVEN))

    @pytest.mark.parametrize(
        "url",
        [
            "https://site.example/api/ClaimRunner",
            "https://site.example:8443/api/ClaimRunner",
            "https://[fd00::4]/api/ClaimRunner",
            "http://localhost:7071/api/ClaimRunner",
            "http://127.0.0.2/api/ClaimRunner",
            "http://[::1]:7071/api/ClaimRunner",
        ],
    )
    def test_a_claim(self, url: str) -> None:
        """A claim needs no address of GitHub's, but the one where it is redeemed: by TLS, or at this machine."""
        given = {"GHR_CLAIM": "c", "GHR_CLAIM_URL": url}
        found = contract.read_settings(given, "/")
        secret = contract.read_secret(given)
        assert (found.url, found.claim_url, found.claim_wait_s) == ("", url, 600)
        assert (secret.value, secret.claim, secret.jit) == ("c", True, False)

    def test_a_claim_without_an_address(self) -> None:
        """A claim that nobody redeems ends with 78, and so does one that can be none; neither shows."""
        with pytest.raises(contract.Ended, match="GHR_CLAIM_URL is missing") as ended:
            contract.read_settings({"GHR_CLAIM": "c"}, "/")
        assert ended.value.code == 78
        with pytest.raises(contract.Ended, match=r"GHR_CLAIM holds characters that it cannot have$") as ended:
            contract.read_secret({"GHR_CLAIM": "v1.a b"})
        assert ended.value.code == 78

    def test_what_counts_more_than_a_claim(self) -> None:
        """Where the environment holds what registers, nobody is asked for it."""
        for name in ("GHR_TOKEN", "GHR_JITCONFIG"):
            secret = contract.read_secret({"GHR_CLAIM": "c", name: "s"})
            assert (secret.value, secret.claim) == ("s", False)

    def test_what_a_job_may_see(self) -> None:
        """Everything but ours, Batch's, the runner's inputs, and copies of the secret."""
        environment = {
            **GIVEN, "PATH": "/bin", "GHR_ORIGIN": "{}", "AZ_BATCH_JOB_ID": "j", "actionsrunner_url": "u",
            "ACTIONS_RUNNER_INPUT_PAT": "p", "COPY": f"x{TOKEN}x", "ACTIONS_RUNNER_HOOK_JOB_STARTED": "/h",
        }  # fmt: skip
        left = {"PATH": "/bin", "ACTIONS_RUNNER_HOOK_JOB_STARTED": "/h"}
        assert contract.job_environment(environment, TOKEN) == left

    @pytest.mark.parametrize(
        "content",
        ["", "no base64!", base64.b64encode(b"[]").decode(), base64.b64encode(b"{}").decode(),
         base64.b64encode(json.dumps({"../x": "e30="}).encode()).decode(),
         base64.b64encode(json.dumps({".runner": "?"}).encode()).decode(),
         base64.b64encode(json.dumps({".credentials": "e30="}).encode()).decode(),
         base64.b64encode(json.dumps({".runner": "W10="}).encode()).decode(),
         base64.b64encode(json.dumps({".runner": "e30=", "../x": "e30="}).encode()).decode(),
         base64.b64encode(json.dumps({".runner": 1}).encode()).decode()],
    )  # fmt: skip
    def test_no_jit_configuration(self, content: str) -> None:
        """What is no JIT configuration, or would write elsewhere, ends with 78."""
        with pytest.raises(contract.Ended, match="is no JIT configuration") as ended:
            contract.jit_files(content)
        assert ended.value.code == 78

    @pytest.mark.parametrize(
        "given", ["{}", '{"disableUpdate": false}', '\ufeff{"DisableUpdate": "False", "AgentName": "a"}']
    )
    def test_no_self_update(self, given: str) -> None:
        """Whatever a JIT configuration says of updates, its runner makes none; the rest stays as GitHub wrote it."""
        files = {".runner": given.encode(), ".credentials": b"\x00"}
        found = contract.jit_files(contract.jit_config(files))
        rest = {"AgentName": "a"} if "AgentName" in given else {}
        assert json.loads(found[".runner"]) == {**rest, "DisableUpdate": "True"}
        assert found[".credentials"] == b"\x00"

    @pytest.mark.parametrize("name", ["Batch", "Länder & Bünde/Süd", "日本", "(a)"])
    def test_groups(self, name: str) -> None:
        """A group has any name that an organization can give it; entrypoint and orchestrator agree on that."""
        assert settings(GHR_GROUP=name).group == name
        assert default_group(name) == name

    @pytest.mark.parametrize("name", ["-x", "a\tb", "a\nb", "\x7f"])
    def test_no_group(self, name: str) -> None:
        """What would be an option or has control characters is no name."""
        with pytest.raises(contract.Ended, match="GHR_GROUP is malformed"):
            settings(GHR_GROUP=name)
        with pytest.raises(ValidationError, match="pattern"):
            default_group(name)


def default_group(name: str) -> object:
    """Return a runner group as the orchestrator's settings read it."""
    return TypeAdapter(GroupName).validate_python(name)


class TestClaim:
    """What `redeem` makes of answers; how it gets them: tests/integration/test_runner_claim.py."""

    @pytest.mark.parametrize(
        ("attempt", "retry_after", "chance", "seconds"),
        [
            (0, None, 0.0, 0.0), (0, None, 1.0, 1.0), (1, None, 1.0, 2.0), (4, None, 0.5, 8.0), (5, None, 1.0, 30.0),
            (10_000, None, 1.0, 30.0), (9, 2.0, 0.0, 2.0), (0, 2.0, 1.0, 3.0), (0, 9e8, 1.0, 180.0),
            (0, 0.0, 1.0, 1.0),
        ],
    )  # fmt: skip
    def test_pauses(self, attempt: int, retry_after: float | None, chance: float, seconds: float) -> None:
        """A pause is anything up to a growing limit; what the function asks for is kept, but not for ever."""
        assert claim.pause(attempt, retry_after, chance) == seconds

    @pytest.mark.parametrize(
        ("given", "seconds"), [("2", 2.0), ("", None), ("soon", None), ("-1", None), ("9" * 10, None), ("inf", None)]
    )
    def test_retry_after(self, given: str, seconds: float | None) -> None:
        """Only a number of seconds counts."""
        assert claim._read(503, given, b"").retry_after == seconds

    @pytest.mark.parametrize("code", [f"v1.{'x' * 20}", "a b", "a\nb", "0" * 64, "x" * 64, 7, None])
    def test_no_word(self, code: object) -> None:
        """What is no plain word is not repeated: it could be what was sent."""
        assert claim.describe(claim.Answer(403, {"code": code})) == "an answer 403 that is not the function's"


class Script:
    """Plays `Linux` or `Windows`: programs are entries of a list, and what is asked of the system is noted."""

    listener = "Runner.Listener"

    def __init__(self, **answers: Sequence[tuple[int, str]]) -> None:
        self.answers = {name: list(found) for name, found in answers.items()}
        self.asked: list[str] = []
        self.before_poll: Callable[[], None] = lambda: None
        self.holds = self.logs = True

    def start(self, command: Sequence[str], **options: Any) -> Any:
        """Note the call, with whether it has the token; play what is next for it."""
        has_token = "ACTIONS_RUNNER_INPUT_TOKEN" in options["env"]
        self.asked.append(f"{command[1]}{' with the token' if has_token else ''}")
        assert not any(TOKEN in argument for argument in command)
        left = self.answers[command[1]]
        code, said = left.pop(0) if len(left) > 1 else left[0]
        if options["stdout"] is not None:
            options["stdout"].write(said.encode())
        elif self.logs:
            runner_log(Path(options["cwd"]), said)
        return Program(code, listens=command[1] == "run")

    def poll(self, process: "Program") -> int | None:
        """Return the code, -1 for a program that runs until it is interrupted."""
        if process.listens:
            self.before_poll()
        return None if process.returncode < 0 else process.returncode

    def take_jit(self, _secret: object, _home: str) -> dict[str, str]:
        """Place nothing."""
        self.asked.append("place the files")
        return {}

    def interrupt(self, process: "Program") -> None:
        """End the program."""
        self.asked.append("interrupt")
        process.returncode = 0

    def hold(self, _process: object) -> bool:
        """Note it."""
        self.asked.append("hold")
        return self.holds

    def has_child(self, _process: object) -> bool:
        """Return False: what plays here starts nothing."""
        return False

    def release(self, _process: object) -> None:
        """Note it."""
        self.asked.append("release")

    def kill(self, process: "Program") -> None:
        """End the program."""
        self.asked.append("kill")
        process.returncode = 137


class Program:
    """A program that ends with a code; one with -1 does not by itself."""

    def __init__(self, code: int, *, listens: bool) -> None:
        self.returncode = code
        self.listens = listens


class TestLifecycle:
    """`Runner`, on a system that plays."""

    @pytest.fixture(autouse=True)
    def hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wait for nothing."""
        for name in ("TICK", "RETRY_PAUSE", "NAME_PAUSE", "REMOVAL_LIMIT", "REGISTRATION_LIMIT", "LAST_CHANCE"):
            monkeypatch.setattr(lifecycle, name, 0.01)

    def run(
        self,
        home: Path,
        script: Script | systems.Linux,
        *,
        signalled: int = 0,
        listening: bool = False,
        job: bool = False,
        **changes: str,
    ) -> tuple[int, str]:
        """Run one runner, which gets a signal at once or while it listens; return the exit code and the reason."""
        given = {**GIVEN, "GHR_HOME": str(home), "GHR_IDLE_MINUTES": "0.0005", "GHR_STOP_TIMEOUT": "0.05", **changes}
        stop = lifecycle.StopRequest()
        if signalled and not listening:
            stop(signalled, None)
        if job and isinstance(script, Script):
            script.before_poll = lambda: worker_log(home)
        if listening and isinstance(script, Script):
            script.before_poll = lambda: stop(signalled, None)
        secret = contract.read_secret(given)
        runner = lifecycle.Runner(contract.read_settings(given, ""), secret, {}, script, stop)  # type: ignore[arg-type]
        with pytest.raises(contract.Ended) as ended:
            runner.run()
        self.forgotten = not secret.value
        return ended.value.code, str(ended.value)

    def test_idle(self, tmp_path: Path) -> None:
        """The listener is held while the token is used to remove it, and only then ends."""
        script = Script(configure=[(0, "")], run=[(-1, SESSION)], remove=[(0, "")])
        assert self.run(tmp_path, script) == (69, "no job came in 0.0005 minutes; its registration was removed")
        assert script.asked == [
            "configure with the token", "run", "hold", "remove with the token", "interrupt", "release",
        ]  # fmt: skip

    def test_idle_and_github_does_not_let_it_go(self, tmp_path: Path) -> None:
        """If the removal is refused, the runner listens once more before it leaves."""
        script = Script(configure=[(0, "")], run=[(-1, SESSION)], remove=[(1, REMOVING)])
        code, reason = self.run(tmp_path, script)
        assert (code, lifecycle.LEFT_BEHIND in reason) == (69, True)
        held = ["hold", "remove with the token"]
        assert script.asked[2:] == [*held, "release", *held, "interrupt", "release"]

    def test_idle_where_nothing_can_be_held(self, tmp_path: Path) -> None:
        """On Windows the listener ends first, so that no job runs beside the token."""
        script = Script(configure=[(0, "")], run=[(-1, SESSION)], remove=[(0, "")])
        script.holds = False
        assert self.run(tmp_path, script) == (69, "no job came in 0.0005 minutes; its registration was removed")
        assert script.asked == ["configure with the token", "run", "hold", "interrupt", "remove with the token"]

    def test_a_job_at_the_last_moment(self, tmp_path: Path) -> None:
        """A job that came before the hold is left alone, and the token is not used beside it."""
        script = Script(configure=[(0, "")], run=[(-1, SESSION)], remove=[(0, "")])
        runs = []
        original = script.hold

        def hold(process: Program) -> bool:
            worker_log(tmp_path)
            runs.append(process)
            return original(process)

        def end() -> None:
            if runs and "release" in script.asked:
                runs[0].returncode = 0

        script.hold, script.before_poll = hold, end  # type: ignore[method-assign, assignment]
        assert self.run(tmp_path, script) == (0, "a job ran")
        assert script.asked == ["configure with the token", "run", "hold", "release"]

    def test_a_worker_that_has_no_log_yet(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A child of the listener is a job, before it has written anything: the token is not used beside it."""
        monkeypatch.setattr(lifecycle, "REGISTRATION_LIMIT", 60.0)  # a real program, on a machine that may be slow
        (tmp_path / "bin").mkdir()
        listener = tmp_path / "bin" / "Runner.Listener"
        listener.write_text('#!/bin/sh\ntouch "$1"\nif [ "$1" = run ]; then sleep 2; exit 0; fi\n', encoding="utf-8")
        listener.chmod(0o755)
        assert self.run(tmp_path, systems.Linux(), GHR_IDLE_MINUTES="0.015") == (0, "a job ran")
        assert [name for name in ("configure", "run", "remove") if (tmp_path / name).exists()] == ["configure", "run"]

    def test_a_jit_runner_removes_nothing(self, tmp_path: Path) -> None:
        """It is the orchestrator who removes it."""
        script = Script(run=[(-1, SESSION)])
        code, reason = self.run(tmp_path, script, GHR_JITCONFIG=JIT)
        assert (code, reason) == (69, "no job came in 0.0005 minutes; the orchestrator removes its registration")
        assert script.asked == ["place the files", "run", "hold", "interrupt", "release"]

    def test_expired(self, tmp_path: Path) -> None:
        """Past its time nothing is tried."""
        script = Script()
        code, reason = self.run(tmp_path, script, GHR_EXPIRES_AT="2020-01-01T00:00:00Z")
        assert (code, "expired while this task waited" in reason) == (75, True)
        assert script.asked == []

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            (TEXTS["update_required"].format(floor="2.329.0"), 7),
            (TEXTS["out_of_date"], 7),
            (TEXTS["deprecated"].format(version="2.300.0"), 7),
            (TEXTS["no_group"].format(group="Batch"), 78),
            (TEXTS["http"].format(status="NotFound", method="POST", url="https://api.github.com/x", request="1"), 75),
        ],
    )
    def test_not_registered(self, tmp_path: Path, said: str, code: int) -> None:
        """A refused version is told from other refusals, which are worth another try; nothing is to be removed."""
        script = Script(configure=[(1, said)])
        assert self.run(tmp_path, script)[0] == code
        assert script.asked == ["configure with the token"]

    def test_the_token_is_not_said(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What the runner says while it registers is printed, and kept after the node; the token in it is masked."""
        self.run(tmp_path, Script(configure=[(1, f"{SESSION} {TOKEN}!")]))
        said = capsys.readouterr().out
        assert f"{SESSION} ***!" in said
        assert TOKEN not in said

    @pytest.mark.parametrize(("configured", "last"), [(False, "kill"), (True, "remove with the token")])
    def test_a_registration_that_hangs(self, tmp_path: Path, configured: bool, last: str) -> None:
        """It is killed at its limit; what it had registered by then is given back."""
        script = Script(configure=[(-1, "")], remove=[(0, "")])
        if configured:
            (tmp_path / ".runner").touch()
        code, reason = self.run(tmp_path, script)
        assert (code, lifecycle.REMOVED in reason, script.asked[-1]) == (75, configured, last)

    @pytest.mark.parametrize(
        "said",
        [
            TEXTS["nothing_to_remove"],
            TEXTS["http"].format(status="NotFound", method="Delete", url="https://api.github.com/x", request="1"),
        ],
    )
    def test_nothing_to_remove(self, tmp_path: Path, said: str) -> None:
        """If GitHub knows the runner no more, its listener gets no last chance, and the end says so."""
        script = Script(configure=[(0, "")], run=[(-1, SESSION)], remove=[(0, said)])
        assert self.run(tmp_path, script) == (69, f"no job came in 0.0005 minutes; {lifecycle.GONE_ALREADY}")
        assert script.asked.count("hold") == 1

    def test_a_removal_that_broke_before_it_began(self, tmp_path: Path) -> None:
        """A removal that says nothing of removing is tried once more, as its log's name may have been taken."""
        script = Script(configure=[(0, "")], run=[(-1, SESSION)], remove=[(1, "in use"), (0, "")])
        assert self.run(tmp_path, script) == (69, f"no job came in 0.0005 minutes; {lifecycle.REMOVED}")
        assert script.asked.count("remove with the token") == 2

    @pytest.mark.parametrize("logs", [True, False])
    def test_never_a_session(self, tmp_path: Path, logs: bool, capsys: pytest.CaptureFixture[str]) -> None:
        """A listener that never reached the job service ends with 75, and shows the end of its log, if it has one."""
        said = TEXTS["connect_error"].format(now="now", reason="no route")
        script = Script(configure=[(0, "")], run=[(-1, said)], remove=[(0, "")])
        script.logs = logs
        code, reason = self.run(tmp_path, script)
        assert (code, "never reached" in reason, lifecycle.REMOVED in reason) == (75, True, True)
        assert (f"    {said}" in capsys.readouterr().out) == logs

    def test_a_job_that_was_taken_back(self, tmp_path: Path) -> None:
        """A listener that lost its job is ended soon, and that is no lack of jobs."""
        script = Script(configure=[(0, "")], run=[(-1, f"{SESSION}\n{TEXTS['skipping']}")], remove=[(0, "")])
        found = self.run(tmp_path, script, GHR_IDLE_MINUTES="60")
        assert found == (69, f"GitHub gave the runner a job and took it back; {lifecycle.REMOVED}")

    def test_a_version_refused_in_the_log_alone(self, tmp_path: Path) -> None:
        """The listener's 1 is a refused version if its log says so."""
        text = TEXTS["deprecated"].format(version="2.330.0")
        script = Script(configure=[(0, "")], run=[(1, text)], remove=[(0, "")])
        assert self.run(tmp_path, script)[0] == 7

    def test_a_listener_that_starts_again_has_its_files(self, tmp_path: Path) -> None:
        """A JIT configuration is handed over once: the runner could not write its files a second time."""
        script = Script(run=[(2, ""), (0, "")])
        handed: list[bool] = []
        original = script.start

        def start(command: Sequence[str], **options: Any) -> Any:
            handed.append("ACTIONS_RUNNER_INPUT_JITCONFIG" in options["env"])
            return original(command, **options)

        script.start = start  # type: ignore[method-assign]
        script.take_jit = lambda *_: {"ACTIONS_RUNNER_INPUT_JITCONFIG": JIT}  # type: ignore[method-assign]
        self.run(tmp_path, script, GHR_JITCONFIG=JIT, GHR_IDLE_MINUTES="1")
        assert handed == [True, False]

    @pytest.mark.parametrize(("code", "ended"), [(7, 7), (1, 75), (5, 75)])
    def test_a_listener_that_cannot_listen(self, tmp_path: Path, code: int, ended: int) -> None:
        """Its code tells why, and its registration is removed."""
        script = Script(configure=[(0, "")], run=[(code, "")], remove=[(0, "")])
        found = self.run(tmp_path, script)
        assert (found[0], "its registration was removed" in found[1]) == (ended, True)
        assert script.asked[-1] == "remove with the token"

    def test_a_passing_error(self, tmp_path: Path) -> None:
        """A listener that asks for it starts again, until the idle limit."""
        script = Script(configure=[(0, "")], run=[(2, ""), (3, ""), (0, "")])
        found = self.run(tmp_path, script, GHR_IDLE_MINUTES="1")
        assert found == (69, "no job was run: the registration was removed from outside, or the job was taken back")
        assert script.asked == ["configure with the token", "run", "run", "run"]
        forever = Script(configure=[(0, "")], run=[(2, "")], remove=[(0, "")])
        assert self.run(tmp_path, forever)[0] == 75

    def test_a_job(self, tmp_path: Path) -> None:
        """From the job's first moment the token is forgotten; the listener's 0 is ours."""
        script = Script(configure=[(0, "")], run=[(0, "")])
        assert self.run(tmp_path, script, job=True) == (0, "a job ran")
        assert script.asked == ["configure with the token", "run"]

    def test_a_listener_that_breaks_during_a_job(self, tmp_path: Path) -> None:
        """Its exit code says that a job had begun."""
        script = Script(configure=[(0, "")], run=[(-9 + 146, "")])
        assert self.run(tmp_path, script, job=True) == (71, "the runner broke off during a job (its code is 137)")

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (21, 143)])
    def test_a_signal_while_idle(self, tmp_path: Path, number: int, code: int) -> None:
        """The runner leaves at once, removed or not; Windows' own signals count as SIGTERM."""
        script = Script(configure=[(0, "")], run=[(-1, SESSION)], remove=[(0, ""), (1, REMOVING)])
        for left in ("its registration was removed", lifecycle.LEFT_BEHIND):
            found = self.run(tmp_path, script, signalled=number, listening=True, GHR_IDLE_MINUTES="1")
            assert found == (code, f"stopped before a job came; {left}")
            assert script.asked[-4:] == ["hold", "remove with the token", "interrupt", "release"]

    @pytest.mark.parametrize("code", [0, 2])
    def test_a_signal_that_the_listener_heard_too(self, tmp_path: Path, code: int) -> None:
        """If the listener has ended by itself meanwhile, its registration is removed all the same."""
        script = Script(configure=[(0, "")], run=[(code, "")], remove=[(0, "")])
        found = self.run(tmp_path, script, signalled=15, listening=True, GHR_IDLE_MINUTES="1")
        assert found == (143, "stopped before a job came; its registration was removed")
        assert script.asked == ["configure with the token", "run", "remove with the token"]

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_a_signal_while_registering(self, tmp_path: Path, number: int, code: int) -> None:
        """A registration under way is finished, and then taken back."""
        script = Script(configure=[(0, "")], remove=[(0, "")])
        (tmp_path / ".runner").touch()
        found = self.run(tmp_path, script, signalled=number, GHR_IDLE_MINUTES="1")
        assert found == (code, "stopped while registering; its registration was removed")

    def test_a_signal_before_anything_was_registered(self, tmp_path: Path) -> None:
        """There is nothing to remove then."""
        script = Script(configure=[(1, "")])
        assert self.run(tmp_path, script, signalled=15) == (143, "stopped while registering; nothing was registered")
        assert script.asked == ["configure with the token"]

    @pytest.mark.parametrize("code", [0, 2])
    def test_a_signal_that_the_listener_heard_too_during_a_job(self, tmp_path: Path, code: int) -> None:
        """If the listener has ended by itself meanwhile, the exit code still says that a job had begun."""
        script = Script(run=[(code, "")])
        found = self.run(tmp_path, script, signalled=15, job=True, GHR_JITCONFIG=JIT)
        assert found == (71, "stopped during a job, which the runner ended and reported")

    def test_a_signal_during_a_job(self, tmp_path: Path) -> None:
        """The runner ends the job and reports; the token is gone by then and nothing is removed."""
        script = Script(run=[(-1, SESSION)])
        found = self.run(tmp_path, script, signalled=15, job=True, GHR_JITCONFIG=JIT)
        assert found == (71, "stopped during a job, which the runner ended and reported")
        assert script.asked == ["place the files", "run", "interrupt"]
        assert self.forgotten

    def test_a_runner_that_does_not_end(self, tmp_path: Path) -> None:
        """It is killed after its time."""
        script = Script(run=[(-1, SESSION)])
        script.interrupt = lambda process: script.asked.append("interrupt")  # type: ignore[method-assign]  # noqa: ARG005
        found = self.run(tmp_path, script, signalled=15, job=True, GHR_JITCONFIG=JIT)
        assert found == (71, "stopped during a job, which the runner did not end in time: it was killed")
        assert script.asked[-1] == "kill"

    def test_a_program_that_is_not_there(self, tmp_path: Path) -> None:
        """An image without its runner says so."""
        settings = contract.read_settings({**GIVEN, "GHR_HOME": str(tmp_path)}, "")
        runner = lifecycle.Runner(
            settings, contract.read_secret(GIVEN), {}, systems.Linux(), lifecycle.StopRequest()
        )  # fmt: skip
        with pytest.raises(contract.Ended, match="does not start: No such file") as ended:
            runner.run()
        assert ended.value.code == 70

    @pytest.mark.parametrize(
        ("broken", "left"),
        [({"run"}, "its registration was removed"), ({"run", "remove"}, lifecycle.LEFT_BEHIND)],
    )
    def test_a_listener_that_does_not_start(self, tmp_path: Path, broken: set[str], left: str) -> None:
        """What was registered is given back if the listener cannot start, and the end says whether that worked."""
        script = Script(configure=[(0, "")], remove=[(0, "")])
        original = script.start

        def start(command: Sequence[str], **options: Any) -> Any:
            if command[1] in broken:
                raise OSError(errno.ENOMEM, "Cannot allocate memory")
            return original(command, **options)

        script.start = start  # type: ignore[method-assign]
        reason = f"the runner's program does not start: Cannot allocate memory; {left}"
        assert self.run(tmp_path, script) == (70, reason)


def worker_log(home: Path) -> None:
    """Leave what a job's worker leaves first."""
    (home / "_diag").mkdir(exist_ok=True)
    (home / "_diag" / "Worker_20261125-120000-utc.log").touch()


def runner_log(home: Path, text: str, name: str = "Runner_20261125-120000-utc.log") -> None:
    """Let the listener log something."""
    (home / "_diag").mkdir(exist_ok=True)
    with (home / "_diag" / name).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


class TestRunnerLogs:
    """`RunnerLogs`."""

    def test_what_was_there_before(self, tmp_path: Path) -> None:
        """What another call has logged tells nothing of the listener, also in a file that the listener goes on with."""
        runner_log(tmp_path, SESSION)
        logs = runner_logs.RunnerLogs(str(tmp_path))
        logs.skip()
        logs.look()
        assert not logs.had_session
        runner_log(tmp_path, TEXTS["listening"])
        logs.look()
        assert logs.had_session

    def test_a_line_in_two_parts(self, tmp_path: Path) -> None:
        """A line counts when all of it is there."""
        logs = runner_logs.RunnerLogs(str(tmp_path))
        (tmp_path / "_diag").mkdir()
        file = tmp_path / "_diag" / "Runner_1-utc.log"
        for part, known in (("[now INFO] Session cre", False), ("ated.", False), ("\n", True)):
            with file.open("a", encoding="utf-8") as stream:
                stream.write(part)
            logs.look()
            assert logs.had_session == known

    def test_a_log_that_cannot_be_read(self, tmp_path: Path) -> None:
        """It tells nothing, and the others are read all the same."""
        (tmp_path / "_diag" / "Runner_1-utc.log").mkdir(parents=True)
        (tmp_path / "_diag" / "Runner_2-utc.log").symlink_to(tmp_path / "nowhere")
        runner_log(tmp_path, SESSION, "Runner_3-utc.log")
        logs = runner_logs.RunnerLogs(str(tmp_path))
        logs.look()
        assert logs.had_session

    def test_what_is_shown(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The end of the listener's log, not of a later call's; indented, cut, and without the secret."""
        logs = runner_logs.RunnerLogs(str(tmp_path))
        for number in range(runner_logs.TAIL + 1):
            runner_log(tmp_path, f"line {number} {TOKEN} ü{'x' * runner_logs.WIDTH}")
        logs.look()
        runner_log(tmp_path, "removed", "Runner_20991125-120000-utc.log")
        logs.show(TOKEN)
        first, *lines = capsys.readouterr().out.splitlines()
        assert first == "ghr: the end of the runner's own log, Runner_20261125-120000-utc.log:"
        assert 0 < len(lines) <= runner_logs.TAIL
        assert all(line.startswith("    ") and len(line) <= runner_logs.WIDTH + 4 for line in lines)
        assert lines[-1].startswith(f"    line {runner_logs.TAIL} *** ü")
        assert not any(TOKEN in line for line in lines)

    def test_what_is_not_shown(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Nothing where there is no log, and nothing once a job may have written to it."""
        logs = runner_logs.RunnerLogs(str(tmp_path))
        logs.show(TOKEN)
        runner_log(tmp_path, "text")
        worker_log(tmp_path)
        logs.show(TOKEN)
        assert capsys.readouterr().out == ""


class TestWindows:
    """The Windows branches, with the system's calls replaced."""

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Return what is asked of Windows."""
        made: list[Any] = []
        monkeypatch.setattr(subprocess, "Popen", lambda command, **options: made.append((command, options)))
        monkeypatch.setattr(subprocess, "call", lambda command, **_: made.append(command))
        return made

    def test_programs(self, calls: list[Any]) -> None:
        """The listener starts in a process group of its own, without a shell; killing takes its children along."""
        windows = systems.Windows()
        windows.start(["C:\\runner\\bin\\Runner.Listener.exe", "run"], env={})
        windows.kill(Process(calls))  # type: ignore[arg-type]
        started, killed = calls
        assert started == (["C:\\runner\\bin\\Runner.Listener.exe", "run"], {"creationflags": 0x200, "env": {}})
        assert killed == ["taskkill", "/T", "/F", "/PID", "4711"]

    def test_signals(self, calls: list[Any]) -> None:
        """Ctrl-Break goes to the listener's group; holding it is not to be had."""
        windows = systems.Windows()
        process: Any = Process(calls)
        assert not windows.hold(process)
        windows.interrupt(process)
        assert calls == [getattr(signal, "CTRL_BREAK_EVENT", 1)]
        assert windows.poll(process) == 3

    def test_jit_configuration(self, tmp_path: Path) -> None:
        """It is checked, and left to the runner, which encrypts the key in it; no file is placed."""
        windows = systems.Windows()
        taken = windows.take_jit(contract.Secret(JIT, jit=True), str(tmp_path))
        files = contract.jit_files(taken["ACTIONS_RUNNER_INPUT_JITCONFIG"])
        assert json.loads(files[".runner"]) == {"DisableUpdate": "True"}
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(contract.Ended, match="no JIT"):
            windows.take_jit(contract.Secret("x", jit=True), str(tmp_path))

    def test_the_end_of_the_container(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What Python's handler writes on Windows' own thread goes into a full pipe: the handler does not return."""
        given: list[int] = []
        monkeypatch.setattr(signal, "set_wakeup_fd", given.append)
        systems.Windows().outlast_end()
        (descriptor,) = given
        until(lambda: not select.select([], [descriptor], [], 0)[1])
        writer = threading.Thread(target=os.write, args=(descriptor, b"\x15"), daemon=True)
        writer.start()
        writer.join(0.1)
        assert writer.is_alive()

    def test_the_images_time_to_end(self) -> None:
        """Windows gives the container the time that the entrypoint needs with its default settings."""
        dockerfile = (Path(systems.__file__).parents[1] / "windows" / "Dockerfile").read_text(encoding="utf-8")
        (seconds,) = re.findall(r"ProcessShutdownTimeoutSeconds /t REG_DWORD /d (\d+)", dockerfile)
        (milliseconds,) = re.findall(r"WaitToKillServiceTimeout /t REG_SZ /d (\d+)", dockerfile)
        assert int(milliseconds) == 1000 * int(seconds)
        assert int(seconds) > settings().stop_s + lifecycle.REMOVAL_LIMIT

    def test_nobody_to_become(self) -> None:
        """There is no root to drop; the environment stays as it is."""
        environment: MutableMapping[str, str] = {"Path": "C:\\Windows"}
        systems.Windows().become(settings(), environment)
        assert environment == {"Path": "C:\\Windows"}

    def test_where_the_runner_is(self) -> None:
        """The program's name and folder are Windows' own."""
        assert (systems.Windows.home, systems.Windows.listener) == ("C:\\runner", "Runner.Listener.exe")


class Process:
    """A process of Windows."""

    pid = 4711

    def __init__(self, calls: list[Any]) -> None:
        self._calls = calls

    def send_signal(self, number: int) -> None:
        """Note it."""
        self._calls.append(number)

    def poll(self) -> int:
        """It has ended."""
        return 3


class TestLinux:
    """What Linux is asked, where containers do not show it."""

    def test_jit_files_are_private(self, tmp_path: Path) -> None:
        """The files of a JIT configuration are the runner's alone, and never written through a link."""
        linux = systems.Linux()
        assert linux.take_jit(contract.Secret(JIT, jit=True), str(tmp_path)) == {}
        assert json.loads((tmp_path / ".runner").read_bytes()) == {"DisableUpdate": "True"}
        assert (tmp_path / ".runner").stat().st_mode & 0o777 == 0o600
        with pytest.raises(FileExistsError):
            linux.take_jit(contract.Secret(JIT, jit=True), str(tmp_path))

    def test_orphans(self) -> None:
        """A child that is not the listener is collected on the way, as process 1 must."""
        linux = systems.Linux()
        other = os.posix_spawn("/bin/true", ["true"], {})
        process = linux.start(["/bin/sh", "-c", "exit 3"])
        os.waitid(os.P_PID, other, os.WEXITED | os.WNOWAIT)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert linux.poll(process) == 3
        with pytest.raises(ChildProcessError):
            os.waitpid(other, 0)

    @pytest.mark.parametrize(("command", "has_child"), [("sleep 60; true", True), ("exec sleep 60", False)])
    def test_a_child(self, command: str, has_child: bool) -> None:
        """A held program has stopped when `hold` returns; its child is found, and there is none without one."""
        linux = systems.Linux()
        process = linux.start(["/bin/sh", "-c", command])
        stat = Path(f"/proc/{process.pid}/stat")
        until(lambda: linux.has_child(process) or "(sleep)" in stat.read_text(encoding="utf-8"))
        assert linux.hold(process)
        assert stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"
        assert linux.has_child(process) == has_child
        linux.kill(process)
        until(lambda: linux.poll(process) == -9)

    def test_held_after_its_end(self) -> None:
        """Holding what has ended waits for nothing."""
        linux = systems.Linux()
        process = linux.start(["/bin/true"])
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert linux.hold(process)
        assert linux.poll(process) == 0

    def test_killed(self) -> None:
        """What a signal ended has a negative code; killing what has ended is no trouble."""
        linux = systems.Linux()
        process = linux.start(["/bin/sleep", "60"])
        linux.kill(process)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert linux.poll(process) == -9
        linux.kill(process)


@pytest.mark.parametrize(
    ("delivery", "said"),
    [("", "runner r-1"), ("72d3162e-cc78", "runner r-1, for delivery 72d3162e-cc78"), ("a\nghr: b", "runner r-1")],
)
def test_introduction(delivery: str, said: str) -> None:
    """The first line names the runner and its delivery; what no delivery is called stays out of it."""
    assert contract.introduction({"GHR_DELIVERY": delivery}, "r-1") == said
