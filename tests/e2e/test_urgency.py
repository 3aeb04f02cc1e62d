"""Which calls to GitHub a job waits for, and which the control loop makes in the background."""

import re
from typing import Any

import pytest

from orchestrator.github.client import GitHubClient
from sandbox.chaos.options import Options
from sandbox.chaos.world import simulate

NEEDED_BY_A_JOB = re.compile(
    r"POST .*/(generate-jitconfig|registration-token|access_tokens)"
    r"|GET .*/(app|meta|installation|runner-groups|jobs/\d+|runs/\d+)"
)


def test_urgency(monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts a runner may use all of GitHub's limits; what the control loop looks at leaves a part of them."""
    call = GitHubClient.call
    in_background: dict[bool, set[str]] = {False: set(), True: set()}

    def noted(self: GitHubClient, method: str, path: str, **options: Any) -> Any:
        in_background[options.get("background", False)].add(f"{method} {path}")
        return call(self, method, path, **options)

    monkeypatch.setattr(GitHubClient, "call", noted)
    simulate(Options(20, 5, trouble=False))
    assert [each for each in in_background[False] if not NEEDED_BY_A_JOB.fullmatch(each)] == []
    assert [each for each in in_background[True] if NEEDED_BY_A_JOB.fullmatch(each)] == []
    assert any(each.endswith("/generate-jitconfig") for each in in_background[False])
    for end in ("/app/installations", "/installation/repositories", "/hook/deliveries", "/actions/runs", "/runners"):
        assert any(each.endswith(end) for each in in_background[True]), end
