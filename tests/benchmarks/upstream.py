"""Calls to GitHub and Azure Batch for one queued job, counted on the wire."""

import json
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from orchestrator.application import Application
from orchestrator.config.settings import Settings
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.result import Result
from sandbox.batch import Batch
from sandbox.batch.model import Pool
from sandbox.github import GitHub
from sandbox.server import Server
from tests.benchmarks.table import Row
from tests.builders import environment, queued_job

LEAST = 1  # the task itself


def rows() -> Iterator[Row]:
    """Count for each way to a registration: the first job of a process, and every one after it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    app = {"GithubToken": "", "GithubAppId": "4711", "GithubAppPrivateKey": private}
    claims = {"ClaimKey": "k" * 32, "ClaimUrl": "https://site.example/api/ClaimRunner", "ClaimSources": "198.51.100.20"}
    claim = claims | {"RunnerRegistration": "claim"}
    ways = {
        "token of somebody's": {"GithubToken": "ghp_sandbox"},
        "token of somebody's, JIT": {"GithubToken": "ghp_sandbox", "RunnerRegistration": "jit"},
        "token of somebody's, claim": {"GithubToken": "ghp_sandbox"} | claim,
        "GitHub App": app,
        "GitHub App, JIT": app | {"RunnerRegistration": "jit"},
        "GitHub App, claim": app | claim,
    }
    for way, settings in ways.items():
        first, then = _count(settings, public)
        yield Row(f"{way}: first job", first, "calls", LEAST)
        yield Row(f"{way}: every job after it", then, "calls", LEAST)


def _count(changes: dict[str, str], public_key: str) -> tuple[int, int]:
    github, batch = GitHub(), Batch([Pool("batchLinux", scale="fixed")])
    github.install(github.add_app(public_key, app_id=4711), "acme")
    with Server(github.application) as api, Server(batch.application) as account:
        own = environment(
            GithubApiUrl=api.url, BatchAccountUrl=account.url, BatchAccountName=batch.account,
            BatchAccountKey=batch.key, **changes,
        )  # fmt: skip
        application, settings = Application(own), Settings.from_environment(own)
        counts = []
        for number in (1, 2):
            job = queued_job()["workflow_job"] | {"id": number}
            event = workflow_job_event(json.dumps(queued_job(workflow_job=job)).encode())
            admission = admit(event, settings)
            assert isinstance(admission, Admitted)
            before = len(github.recorder.calls) + len(batch.recorder.calls)
            assert application._upstream().handle(event, admission.profile).result == Result.CREATED
            counts.append(len(github.recorder.calls) + len(batch.recorder.calls) - before)
        return counts[0], counts[1]
