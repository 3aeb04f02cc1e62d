"""Jobs as passes see them."""

import json
from datetime import datetime

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.admission import Admitted, admit
from orchestrator.reconcile.view import WaitingJob
from tests.builders import queued_job, settings

SETTINGS = settings()


def waiting_job(number: int, *labels: str, queued_at: datetime | None, attempt: int = 1) -> WaitingJob:
    """Return a job of `acme/app`; the labels default to those of `queued_job`."""
    job = queued_job(*labels)["workflow_job"] | {"id": number, "run_attempt": attempt}
    if queued_at is not None:
        job["created_at"] = queued_at.isoformat()
    event = workflow_job_event(json.dumps(queued_job(workflow_job=job)).encode())
    admission = admit(event, SETTINGS)
    assert isinstance(admission, Admitted)
    return WaitingJob(event, admission.profile, frozenset(event.workflow_job.labels))
