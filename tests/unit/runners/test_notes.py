"""The notes of a runner's task: every `GHR_*` variable."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.jobs.event import WorkflowJobEvent
from orchestrator.runners.notes import Origin, TaskNotes
from tests.builders import queued_job

CONTRACT = Path(__file__).parents[3] / "runner-images" / "entrypoint" / "contract.py"


def event(**changes: object) -> WorkflowJobEvent:
    """Return a queued job's event, without the job's name, which the notes leave out."""
    job = queued_job()["workflow_job"] | {"name": None}
    return workflow_job_event(json.dumps(queued_job(workflow_job=job, **changes)).encode())


EVENTS = [event(), event(organization=None, installation={"id": 5}), event(action="completed", webhook=None)]
LABELS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:=+/@-]{0,20}", fullmatch=True)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given above
NOTES = st.builds(
    TaskNotes,
    url=st.sampled_from(["", "https://github.com/acme", "https://github.com/enterprises/big"]),
    name=st.sampled_from(["", "runner-7-1", "runner-7-1-r2-00ff"]),
    labels=st.lists(LABELS, max_size=5).map(tuple),
    group=st.none() | st.sampled_from(["Batch", "a group (1)"]),
    idle_minutes=st.none() | st.floats(0.001, 1440),
    registration=st.sampled_from(["token", "jit", "claim"]),
    claim_url=st.none() | st.just("https://f.example/api/ClaimRunner"),
    expires_at=st.none() | TIMES.map(lambda moment: moment.replace(microsecond=0)),
    origin=st.none() | st.sampled_from(EVENTS).map(lambda found: Origin(event=found, profile="ubuntu-latest")),
)


@given(NOTES)
def test_round_trip(notes: TaskNotes) -> None:
    """What a task says about its runner is read back as it was written."""
    assert TaskNotes.read(notes.environment("s3cret")) == notes


@given(NOTES)
def test_the_secret_stands_in_one_variable(notes: TaskNotes) -> None:
    """The registration stands in the variable of its kind and nowhere else, and is not read back."""
    environment = notes.environment("s3cret")
    name = {"token": "GHR_TOKEN", "jit": "GHR_JITCONFIG", "claim": "GHR_CLAIM"}[notes.registration]
    assert [found for found, value in environment.items() if "s3cret" in value] == [name]
    assert "s3cret" not in repr(TaskNotes.read(environment))


def test_the_image_knows_every_variable() -> None:
    """The runner image's contract names each variable that a task may hold, notes to ourselves apart."""
    full = TaskNotes("u", "n", ("a",), "g", 1, "token", datetime.now(UTC), Origin(event=event(), profile="p"))
    jit, claim = TaskNotes(registration="jit"), TaskNotes(registration="claim", claim_url="https://f.example/x")
    written = {*full.environment("s"), *jit.environment("s"), *claim.environment("s")}
    known = set(re.findall(r"GHR_[A-Z_]+", CONTRACT.read_text(encoding="utf-8")))
    assert written - {"GHR_ORIGIN"} <= known


def test_the_name_of_a_job_is_left_out() -> None:
    """A workflow's author chooses the job's name, and it does not reach the task."""
    named = workflow_job_event(json.dumps(queued_job()).encode())
    assert named.workflow_job.name == "build"
    assert "build" not in TaskNotes(origin=Origin(event=named, profile="p")).environment("s")["GHR_ORIGIN"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"profile": "x", "event": {"action": "queued"}}'])
def test_what_is_malformed_is_not_said(text: str) -> None:
    """Variables that hold something else count as not said: tasks of other releases, or somebody's edits."""
    notes = TaskNotes.read({"GHR_ORIGIN": text, "GHR_EXPIRES_AT": text, "GHR_IDLE_MINUTES": text})
    assert notes == TaskNotes()


def test_a_time_without_zone_is_utc() -> None:
    """A time that names no zone is taken for UTC."""
    notes = TaskNotes.read({"GHR_EXPIRES_AT": "2026-11-25T13:00:00"})
    assert notes.expires_at == datetime(2026, 11, 25, 13, tzinfo=UTC)


def test_the_delivery_is_told_to_the_container() -> None:
    """The container learns which delivery asked for it, and the notes keep it; a job that a pass found has none."""
    told = event().model_copy(update={"delivery": "d-1"})
    environment = TaskNotes(origin=Origin(event=told, profile="p")).environment("s")
    assert environment["GHR_DELIVERY"] == "d-1"
    kept = TaskNotes.read(environment).origin
    assert kept is not None
    assert kept.event.delivery == "d-1"
    assert "GHR_DELIVERY" not in TaskNotes(origin=Origin(event=event(), profile="p")).environment("s")
