"""`make demo`: three queued jobs get three runners. `make run` (`--keep`) keeps it all up afterwards."""

import argparse
import base64
import hashlib
import hmac
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.batch.containers import ContainerExecutor
from sandbox.deployment import GITHUB_ADDRESS, REPOSITORY, Deployment
from sandbox.functions.front import CLIENT_ADDRESS
from sandbox.github.model import Event, Job

JOBS = (("self-hosted", "ubuntu-18.04"), ("self-hosted", "ubuntu-latest"), ("self-hosted", "windows-latest"))
# What each job must run on: pool and tag of the image.
EXPECTED = {
    "ubuntu-18.04": ("batchLinux", "ubuntu-18.04-actionsrunner"),
    "ubuntu-latest": ("batchLinux", "ubuntu-24.04-actionsrunner"),
    "windows-latest": ("batchWindows", "windows-core-ltsc2022-actionsrunner"),
}
BY_HAND = "by-hand/app"
PATIENCE = 60.0  # seconds until a job counts as lost
HTTP_OK = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if every job ran where it should."""
    parser = argparse.ArgumentParser(description="three queued jobs get three runners, on this machine alone")
    parser.add_argument("--keep", action="store_true", help="keep everything up until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="port of the function (default: a free one)")
    parser.add_argument("--image", help="run the tasks in containers of this image, by podman, and not as processes")
    options = parser.parse_args(arguments)
    executor = ContainerExecutor(options.image) if options.image else None
    print("Starting GitHub, Azure Batch, a storage queue and the Functions host on loopback ports ...")
    settings = {"RunnerRegistration": "claim"}
    with Deployment(settings=settings, host_port=options.port, connect_hook=False, executor=executor) as deployment:
        story = Story(deployment)
        story.tell_where_everything_is()
        deployment.connect_hook()
        outcome = story.run_jobs()
        if options.keep:
            story.wait_for_ctrl_c()
        return outcome


@dataclass
class Line:
    """What is known of one job so far."""

    job: Job
    at: dict[str, float] = field(default_factory=dict)
    runner: str = ""


class Story:
    """Tells what happens, as it happens, and remembers it for the summary."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._lines: dict[int, Line] = {}
        self._told: dict[str, str] = {}
        self._claims_told = 0
        deployment.github.subscribe(self._hear)

    def tell_where_everything_is(self) -> None:
        """Print the addresses."""
        own = self._deployment
        print(f"  GitHub      {own.github.url}")
        print(f"  Azure Batch {own.batch_url}   pools batchLinux, batchWindows: no machine yet")
        print(f"  queue       {own.queue_url}")
        print(f"  function    {own.host.url}/api/ProvideActionsRunner\n")

    def run_jobs(self) -> int:
        """Queue the jobs, wait for them and print the summary; return 0 if all is as it should be."""
        github = self._deployment.github
        for labels in JOBS:
            github.queue_job(REPOSITORY, labels, name=f"use {labels[1]}", duration_s=0.5)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and any(job.status != "completed" for job in github.jobs):
            self._tell_news()
            time.sleep(0.05)
        self._tell_news()
        problems = list(self._problems())
        self._summary()
        for problem in problems:
            print(f"FAILED: {problem}")
        print("" if problems else "All three jobs got their runner, on the right pool, with the right image.")
        return 1 if problems else 0

    def wait_for_ctrl_c(self) -> None:
        """Print what can be done, and wait."""
        with tempfile.TemporaryDirectory() as folder:
            print(self._curl(Path(folder) / "delivery.json"))
            print("\nPress Ctrl-C to end.")
            stopped = threading.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stopped.set())
            while not stopped.wait(0.1):
                self._tell_news()
        print("Stopping ...")

    def _hear(self, event: Event) -> None:
        """Take note of what GitHub says of a job."""
        if event.job is None:
            return
        with self._lock:
            line = self._lines.setdefault(event.job.id, Line(event.job))
            line.at.setdefault(event.kind, time.monotonic())
            if event.runner is not None:
                line.runner = event.runner.name
        words = {
            "queued": f"waits for a runner with {', '.join(event.job.labels)}",
            "in_progress": f"runs on {line.runner}",
            "completed": f"completed: {event.job.conclusion}",
        }
        if event.kind in words:
            self._tell("job", event.job.id, words[event.kind])

    def _tell_news(self) -> None:
        """Print what is new of claims and tasks."""
        self._tell_claims()
        self._tell_tasks()

    def _tell_claims(self) -> None:
        """Print each claim that was answered."""
        claims = self._deployment.gateway.recorder.exchanges
        for claim in claims[self._claims_told :]:
            fetched = claim["status"] == HTTP_OK
            words = "fetched its registration: its task holds none" if fetched else f"was answered {claim['status']}"
            self._tell("claim", _claimant(claim), f"its container {words}")
        self._claims_told = len(claims)

    def _tell_tasks(self) -> None:
        """Print each task that has come to a new state."""
        for name, task in self._deployment.batch.task_bodies().items():
            if self._told.get(name) == task["state"]:
                continue
            self._told[name] = task["state"]
            words = {
                "active": f"created on {task['poolId']}, waits for a machine: {_image(task)}",
                "running": f"runs on {task['poolId']}",
                "completed": f"ended with exit code {task['exitCode']}",
            }
            self._tell("task", name, words[task["state"]])

    def _tell(self, kind: str, name: object, words: str) -> None:
        print(f"{time.monotonic() - self._started:6.2f} s  {kind:5s} {name!s:22s} {words}", flush=True)

    def _problems(self) -> Iterator[str]:
        """Say what is not as it should be."""
        tasks = self._deployment.batch.task_bodies()
        for job in self._deployment.github.jobs:
            label = job.labels[1]
            task = tasks.get(f"runner-{job.id}-{job.run_attempt}")
            if task is None:
                answers = [d.answer for d in self._deployment.github.deliveries if d.event == "workflow_job"]
                yield f"{label}: no task was created; GitHub got {[a.body for a in answers if a and a.code != HTTP_OK]}"
                continue
            pool, tag = EXPECTED[label]
            if (task["poolId"], _image(task).rpartition(":")[2]) != (pool, tag):
                yield f"{label}: its task is on {task['poolId']} with {_image(task)}, not on {pool} with {tag}"
            if (job.status, job.conclusion) != ("completed", "success"):
                yield f"{label}: the job is {job.status} after {PATIENCE:.0f} s"
            if not {"GHR_TOKEN", "GHR_JITCONFIG"}.isdisjoint(each["name"] for each in task["environmentSettings"]):
                yield f"{label}: a credential is in its task"

    def _summary(self) -> None:
        tasks = self._deployment.batch.task_bodies()
        print(f"\n{'job':16s} {'task':22s} {'pool':13s} {'image':52s} {'runner':22s} {'waited':>7s} {'ran':>6s}")
        for line in self._lines.values():
            task = tasks.get(f"runner-{line.job.id}-{line.job.run_attempt}", {})
            if not task:
                continue
            at = line.at
            waited, ran = at.get("in_progress", 0) - at["queued"], at.get("completed", 0) - at.get("in_progress", 0)
            print(
                f"{line.job.labels[1]:16s} {task['id']:22s} {task['poolId']:13s} {_image(task):52s} "
                f"{line.runner:22s} {waited:6.2f}s {ran:5.2f}s"
            )
        github = [call for call in self._deployment.github.recorder.calls if "/_runner/" not in call]
        print(f"\n{len(github)} calls to GitHub, {len(self._deployment.batch.recorder.calls)} to Azure Batch.")

    def _curl(self, file: Path) -> str:
        """Queue a job of an organization without a webhook; return the command that delivers it by hand."""
        own = self._deployment
        events: list[Event] = []
        end = own.github.subscribe(events.append)
        job = own.github.queue_job(BY_HAND, ("self-hosted", "ubuntu-latest"), name="by hand", duration_s=0.5)
        end()
        payload = own.github.payloads.workflow_job(events[0], own.github.state.run(job.run_id), None)
        file.write_text(json.dumps(payload), encoding="utf-8")
        signature = hmac.new(own.secret.encode(), file.read_bytes(), hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "workflow_job",
            "X-GitHub-Delivery": "by-hand",
            "X-Hub-Signature-256": f"sha256={signature}",
            CLIENT_ADDRESS: GITHUB_ADDRESS,
        }
        options = " ".join(f"-H '{name}: {value}'" for name, value in headers.items())
        command = f"curl -i {options} --data-binary @{file} '{own.webhook_url}'"
        return f"\nDeliver that job yourself (a second time it exists already):\n\n{command}"


def _claimant(exchange: Mapping[str, Any]) -> str:
    """The task that a claim is for."""
    payload = json.loads(exchange["body"])["claim"].split(".")[1]
    task: str = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["task"]
    return task


def _image(task: Mapping[str, Any]) -> str:
    """The image of a task without its registry."""
    name: str = task["containerSettings"]["imageName"]
    return name.partition("/")[2]


if __name__ == "__main__":
    sys.exit(main())
