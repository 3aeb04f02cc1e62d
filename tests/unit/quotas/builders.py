"""Jobs of several repositories, and settings that limit their runners."""

import json
from typing import Any

from orchestrator.config.profiles import Profile
from orchestrator.config.settings import Settings
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.runners.notes import Origin
from orchestrator.runners.task import TaskState, task_id
from tests.builders import queued_job, settings, task_state
from tests.unit.runners.fakes import NOW

GPU = {"name": "gpu", "labels": ["gpu"], "pool": "gpuPool", "image": "gpu:1"}
CPU = {"name": "cpu", "labels": ["cpu"], "pool": "cpuPool", "image": "cpu:1"}


def with_profiles(*profiles: dict[str, Any], **changes: str) -> Settings:
    """Return settings with these profiles."""
    return settings(RunnerProfiles=json.dumps(profiles), **changes)


def job_event(number: int, full_name: str = "acme/app", *labels: str, **changes: Any) -> WorkflowJobEvent:
    """Return the event of a job; `changes` are those of the job, `action` apart."""
    owner, name = full_name.split("/")
    action = changes.pop("action", "queued")
    job = queued_job(*labels)["workflow_job"] | {"id": number} | changes
    repository = queued_job()["repository"] | {"name": name, "full_name": full_name, "owner": {"login": owner}}
    payload = queued_job(action=action, workflow_job=job, repository=repository, organization={"login": owner})
    return workflow_job_event(json.dumps(payload).encode())


def task_of(number: int, full_name: str = "acme/app", profile: str = "gpu", state: Any = "running") -> TaskState:
    """Return the task of a job's runner."""
    event = job_event(number, full_name)
    return task_state(task_id(event.workflow_job), "gpuPool", state, NOW, origin=Origin(event=event, profile=profile))


def profile_of(configured: Settings, name: str) -> Profile:
    """Return a profile by its name."""
    return next(profile for profile in configured.profiles if profile.name == name)
