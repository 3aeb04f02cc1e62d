"""A claim, and the task that carries it."""

from datetime import UTC, datetime, timedelta

from orchestrator.runners.claim import CLAIM_LIFE, Claim, sign
from orchestrator.runners.scope import Scope, ScopeAccess

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
STARTED = NOW - timedelta(seconds=20)
KEY = "a-key-of-claims-that-nobody-guesses"
TASK = "runner-29679449526-1"
ACCESS = ScopeAccess(Scope("organization", "acme"), None)
CLAIM = Claim(
    TASK, "github-runner-linux-acme-normal-00112233", "linux", ACCESS, ("self-hosted", "linux"), "Batch",
    NOW + CLAIM_LIFE,
)  # fmt: skip
TEXT = sign(CLAIM, KEY.encode())
