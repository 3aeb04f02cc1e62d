"""The Batch client against a Batch that answers over a socket and checks its signatures."""

import base64
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from azure.core.credentials import AccessToken, AzureNamedKeyCredential
from azure.core.exceptions import ClientAuthenticationError

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.batch_jobs import job_id
from orchestrator.azure.paging import MOST_PAGES
from orchestrator.azure.tasks import TIME_OUTS, RunnerTasks
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.errors import TransientError, UpstreamRefused
from orchestrator.reconcile.finished_tasks import FinishedTasks
from orchestrator.runners.notes import Origin, TaskNotes
from sandbox.batch import Batch
from sandbox.faults import Fault
from tests.batch_tasks import task
from tests.builders import queued_job
from tests.logs import fields_of
from tests.waiting import until

JOB = job_id("linux", "acme", "normal")
JOB_STILL = job_id("still", "acme", "normal")
ADD = f"POST /jobs/{JOB}/tasks"
JSON = {"Content-Type": "application/json;odata=minimalmetadata"}


class TestAdd:
    """`RunnerTasks.add`."""

    def test_what_batch_is_told(self, batch: Batch, tasks: RunnerTasks) -> None:
        """The task runs the image's entrypoint, sees nothing of the node, and ends with its limit."""
        assert tasks.add(task(run_options="--memory 2g", slots=2, max_hours=1.5))
        body = batch.task_bodies()["runner-1-1"]
        assert body["commandLine"] == ""
        assert body["containerSettings"] == {
            "imageName": "acme.azurecr.io/githubactions-runner:x",
            "containerRunOptions": "--rm --memory 2g",
            "workingDirectory": "containerImageDefault",
            "containerHostBatchBindMounts": [],
        }
        assert body["userIdentity"] == {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}
        assert body["environmentSettings"] == [{"name": "GHR_TOKEN", "value": "s3cret"}]
        assert body["constraints"] == {
            "maxWallClockTime": "PT5400S", "retentionTime": "P7D", "maxTaskRetryCount": 0,
        }  # fmt: skip
        assert (body["requiredSlots"], body["jobId"], body["poolId"]) == (2, JOB, "linux")

    def test_a_task_that_calls_docker(self, batch: Batch, tasks: RunnerTasks) -> None:
        """A pool that is not made for containers gets a command line, for an administrator, and no settings."""
        assert tasks.add(task(pool="plain", launch="docker"))
        body = batch.task_bodies()["runner-1-1"]
        assert body["commandLine"] == (
            "docker run --rm --name runner-1-1 -e GHR_TOKEN acme.azurecr.io/githubactions-runner:x"
        )
        assert "containerSettings" not in body
        assert body["userIdentity"] == {"autoUser": {"scope": "pool", "elevationLevel": "admin"}}
        assert body["environmentSettings"] == [
            {"name": "GHR_TOKEN", "value": "s3cret"},
            {"name": "DOCKER_CONFIG", "value": "/etc/docker/client"},
        ]

    def test_windows_runs_elevated(self, batch: Batch, tasks: RunnerTasks) -> None:
        """Batch refuses a Windows container that is not an administrator's."""
        assert tasks.add(task(pool="windows", os="windows"))
        assert batch.task_bodies()["runner-1-1"]["userIdentity"]["autoUser"]["elevationLevel"] == "admin"

    def test_calls(self, batch: Batch, tasks: RunnerTasks) -> None:
        """The job is made when it is missing; after that each task is one call."""
        tasks.add(task())
        tasks.add(task(task_id="runner-2-1"))
        assert batch.recorder.calls == [f"{ADD} -> 404", "POST /jobs -> 201", f"{ADD} -> 201", f"{ADD} -> 201"]

    def test_exists(self, tasks: RunnerTasks) -> None:
        """The same id a second time is no error."""
        assert tasks.add(task())
        assert not tasks.add(task())
        assert not tasks.add(task(task_id="RUNNER-1-1"))

    def test_two_creators_race(self, batch: Batch, tasks: RunnerTasks) -> None:
        """If another worker has made the job meanwhile, the task is added all the same."""
        tasks.add(task())
        batch.faults.add(Fault("status", ADD, status=404, body='{"code": "JobNotFound"}', headers=JSON))
        assert tasks.add(task(task_id="runner-2-1"))
        assert "POST /jobs -> 409" in batch.recorder.calls

    def test_a_job_that_disappears(self, batch: Batch, tasks: RunnerTasks) -> None:
        """A job that is gone again as soon as it was made is transient trouble."""
        batch.faults.add(Fault("status", ADD, times=2, status=404, body='{"code": "JobNotFound"}', headers=JSON))
        with pytest.raises(TransientError, match="disappeared"):
            tasks.add(task())

    def test_a_job_being_deleted(self, batch: Batch, tasks: RunnerTasks) -> None:
        """While somebody deletes the job the trouble is transient, and afterwards the job is made anew."""
        tasks.add(task())
        batch.end_job(JOB, delete_after=0.2)
        with pytest.raises(TransientError, match="JobBeingDeleted"):
            tasks.add(task(task_id="runner-2-1"))
        until(lambda: not batch.task_bodies())
        assert tasks.add(task(task_id="runner-2-1"))
        assert list(batch.task_bodies()) == ["runner-2-1"]

    def test_a_job_that_was_ended(self, batch: Batch, tasks: RunnerTasks) -> None:
        """A job that somebody ended is deleted and made anew; until then the trouble is transient."""
        tasks.add(task())
        batch.end_job(JOB)
        batch.faults.add(Fault("status", "DELETE *", status=500))
        with pytest.raises(TransientError, match="was ended, and Batch cannot delete it now: 500"):
            tasks.add(task(task_id="runner-2-1"))
        with pytest.raises(TransientError, match="being made anew"):
            tasks.add(task(task_id="runner-2-1"))
        with pytest.raises(TransientError, match="JobBeingDeleted"):
            tasks.add(task(task_id="runner-2-1"))
        until(lambda: not batch.task_bodies())
        assert tasks.add(task(task_id="runner-2-1"))

    def test_a_lost_answer(self, batch: Batch, tasks: RunnerTasks) -> None:
        """If the answer was lost after the task was taken, it counts as created by us."""
        tasks.add(task())
        batch.faults.add(Fault("lost_answer", ADD))
        assert tasks.add(task(task_id="runner-2-1"))
        assert batch.recorder.calls[-1] == f"{ADD} -> 409"

    @pytest.mark.parametrize(
        ("fault", "wait"),
        [
            (Fault("status", status=503), None),
            (Fault("status", status=500), None),
            (Fault("status", status=429, headers={"Retry-After": "7"}), 7),
            (Fault("status", status=429, headers={"Retry-After": "soon"}), None),
            (Fault("status", status=408), None),
            (Fault("drop", times=2), None),
            (Fault("status", status=404), None),
            (Fault("status", status=400, body="<html>a proxy's page</html>"), None),
            (Fault("status", status=403, body="<html>a proxy's page</html>"), None),
            (Fault("status", status=407, body='{"error": "no"}'), None),
            (Fault("status", status=400, body='{"code": {"a": 1}, "message": 7}', headers=JSON), None),
            (Fault("status", status=200, body="<html>a proxy's page</html>"), None),
            (Fault("status", status=202), None),
            (Fault("status", status=204), None),
            (Fault("status", status=301, headers={"Location": "/elsewhere"}), None),
            (Fault("status", status=307, headers={"Location": "/elsewhere"}), None),
            (Fault("cut", status=201, headers=JSON, body="{"), None),
        ],
    )
    def test_transient(self, batch: Batch, tasks: RunnerTasks, fault: Fault, wait: float | None) -> None:
        """What is not Batch's own refusal may pass; only a broken connection is tried a second time."""
        batch.faults.add(fault)
        with pytest.raises(TransientError) as caught:
            tasks.add(task())
        assert caught.value.retry_after == wait
        assert batch.faults.hits == (2 if fault.kind == "drop" else 1)

    def test_no_answer(self, batch: Batch, batch_account: BatchAccount) -> None:
        """An answer that does not come in time is transient trouble, and not tried again at once."""
        batch.faults.add(Fault("latency", seconds=1))
        tasks = RunnerTasks(batch_account, time_outs=TIME_OUTS._replace(read=0.2))
        with pytest.raises(TransientError, match="does not answer"):
            tasks.add(task())
        assert batch.faults.hits == 1

    def test_an_answer_without_end(self, batch: Batch, batch_account: BatchAccount) -> None:
        """An answer that comes byte by byte is given up in time, and not tried again at once."""
        batch.faults.add(Fault("trickle", seconds=0.02))
        tasks = RunnerTasks(batch_account, time_outs=TIME_OUTS._replace(total=0.2))
        with pytest.raises(TransientError, match="does not answer"):
            tasks.add(task())
        assert batch.faults.hits == 1

    def test_nobody_there(self) -> None:
        """A refused connection is transient trouble."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        tasks = RunnerTasks(BatchAccount(address, AzureNamedKeyCredential("a", base64.b64encode(b"k").decode())))
        with pytest.raises(TransientError, match="does not answer"):
            tasks.add(task())

    def test_wrong_key(self, batch: Batch, batch_url: str) -> None:
        """A wrong key is permanent trouble that says where to look, and does not repeat the key."""
        key = base64.b64encode(b"wrong").decode()
        with pytest.raises(UpstreamRefused, match="BatchAccountKey") as caught:
            RunnerTasks(BatchAccount(batch_url, AzureNamedKeyCredential(batch.account, key))).add(task())
        assert key not in str(caught.value)

    @pytest.mark.parametrize("changes", [{"pool": "plain"}, {"pool": "windows", "os": "linux"}])
    def test_what_does_not_fit_the_pool(self, tasks: RunnerTasks, changes: dict[str, str]) -> None:
        """What Batch itself refuses is permanent trouble with Batch's own words, and without the environment."""
        with pytest.raises(UpstreamRefused, match="400 InvalidPropertyValue") as caught:
            tasks.add(task(**changes))
        assert "s3cret" not in str(caught.value)

    def test_the_job_cannot_be_made(self, batch: Batch, tasks: RunnerTasks) -> None:
        """Trouble with creating the job is understood in the same way."""
        batch.faults.add(Fault("status", "POST /jobs", status=503), Fault("drop", "POST /jobs"))
        with pytest.raises(TransientError, match="create a job now: 503"):
            tasks.add(task())
        with pytest.raises(TransientError, match="create a job"):
            tasks.add(task())


class TestState:
    """`RunnerTasks.state`."""

    def test_what_is_known(self, tasks: RunnerTasks) -> None:
        """A task is found with its notes, whatever its state; no job or no task is no error."""
        assert tasks.state("still", "runner-1-1") is None
        job = queued_job()["workflow_job"] | {"name": None}
        event = workflow_job_event(json.dumps(queued_job(workflow_job=job)).encode())
        notes = TaskNotes(
            url="https://github.com/acme", name="runner-1-1", labels=("self-hosted", "GPU"), idle_minutes=10,
            expires_at=datetime(2026, 11, 25, 12, tzinfo=UTC), origin=Origin(event=event, profile="gpu"),
        )  # fmt: skip
        tasks.add(task(pool="still", environment=notes.environment("s3cret"), max_hours=1.5))
        found = tasks.state("still", "runner-1-1")
        assert found is not None
        assert (found.state, found.pool, found.notes) == ("waiting", "still", notes)
        assert found.labels == {"self-hosted", "gpu"}
        assert found.max_hours == 1.5
        assert found.created_at.tzinfo is not None
        assert "s3cret" not in repr(found)
        assert tasks.state("still", "runner-2-1") is None

    def test_trouble(self, batch: Batch, tasks: RunnerTasks) -> None:
        """If Batch does not tell, that is trouble and not a no."""
        batch.faults.add(Fault("status", status=503), Fault("drop"))
        for _ in range(2):
            with pytest.raises(TransientError, match="look for a task"):
                tasks.state("linux", "runner-1-1")

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirected(self, batch: Batch, tasks: RunnerTasks, status: int) -> None:
        """The credential follows no redirect, and what would be found there is not believed."""
        batch.faults.add(Fault("status", status=status, headers={"Location": "/elsewhere"}))
        tasks._places.remember("still", "runner-1-1", JOB)
        with pytest.raises(TransientError, match=f"look for a task now: {status}"):
            tasks.state("still", "runner-1-1")
        assert not any("/elsewhere" in call for call in batch.recorder.calls)


class TestEndWaiting:
    """`RunnerTasks.end_waiting`."""

    def test_waiting(self, batch: Batch, tasks: RunnerTasks) -> None:
        """A task that waits is ended and stays known, so that it is not made again."""
        tasks.add(task(pool="still"))
        assert tasks.end_waiting("still", "runner-1-1")
        assert batch.task_bodies()["runner-1-1"]["state"] == "completed"
        assert not tasks.end_waiting("still", "runner-1-1")
        assert not tasks.add(task(pool="still"))

    def test_running(self, batch: Batch, tasks: RunnerTasks) -> None:
        """A task that runs is left alone."""
        tasks.add(task())
        until(lambda: batch.task_bodies()["runner-1-1"]["state"] == "running")
        assert not tasks.end_waiting("linux", "runner-1-1")
        assert batch.task_bodies()["runner-1-1"]["state"] == "running"

    def test_nothing_there(self, tasks: RunnerTasks) -> None:
        """Without job or task there is nothing to end."""
        assert not tasks.end_waiting("still", "runner-1-1")
        tasks.add(task(pool="still"))
        assert not tasks.end_waiting("still", "runner-2-1")

    def test_it_ends_meanwhile(self, batch: Batch, tasks: RunnerTasks) -> None:
        """A task that ends between the look and the order needs none."""
        tasks.add(task(pool="still"))
        batch.faults.add(
            Fault("status", "POST */terminate", status=409, body='{"code": "TaskCompleted"}', headers=JSON)
        )
        assert not tasks.end_waiting("still", "runner-1-1")

    def test_trouble(self, batch: Batch, tasks: RunnerTasks) -> None:
        """If Batch does not answer, that is transient trouble."""
        batch.faults.add(Fault("status", status=503), Fault("drop"))
        for _ in range(2):
            with pytest.raises(TransientError, match="end a task"):
                tasks.end_waiting("still", "runner-1-1")


class TestListed:
    """`RunnerTasks.listed`, `live`, `end` and `delete`."""

    def test_states(self, batch: Batch, tasks: RunnerTasks) -> None:
        """Waiting, running and finished tasks are told apart; what is no runner's task is left out."""
        for name in ("runner-1-1", "runner-2-1", "runner-3-1-r1", "by-hand"):
            tasks.add(task(task_id=name, pool="still"))
        tasks.add(task(task_id="runner-4-1"))
        tasks.end("still", "runner-2-1")
        until(lambda: batch.task_bodies()["runner-4-1"]["state"] == "running")
        found = {
            one.task_id: one for one in tasks.listed(["still", "linux", "windows"], datetime.now(UTC), FinishedTasks())
        }
        assert {name: one.state for name, one in found.items()} == {
            "runner-1-1": "waiting", "runner-2-1": "finished", "runner-3-1-r1": "waiting", "runner-4-1": "running",
        }  # fmt: skip
        assert found["runner-2-1"].ended_by_request
        assert not found["runner-2-1"].failed
        assert found["runner-4-1"].started_at is not None
        live = {one.task_id: one.state for pool in ("still", "linux", "windows") for one in tasks.live(pool)}
        assert live == {"runner-1-1": "waiting", "runner-3-1-r1": "waiting", "runner-4-1": "running"}

    def test_a_finished_task_is_read_once(self, batch: Batch, tasks: RunnerTasks) -> None:
        """A task that finished is known with its repository's notes, and no environment is read for it again."""
        known = FinishedTasks()
        urls = ("https://github.com/acme", "https://github.com/other")
        for number, url in enumerate(urls):
            tasks.add(task(task_id=f"runner-{number}-1", pool="still", environment={"GHR_URL": url}))
            assert {one.notes.url for one in tasks.listed(["still"], datetime.now(UTC), known)} == set(
                urls[: number + 1]
            )
            tasks.end("still", f"runner-{number}-1")
        tasks.add(task(task_id="runner-2-1", pool="still", display_name="by hand"))
        tasks.end("still", "runner-2-1")
        batch.recorder.clear()
        found = {one.task_id: one.notes.url for one in tasks.listed(["still"], datetime.now(UTC), known)}
        assert found == {"runner-0-1": urls[1], "runner-1-1": urls[1], "runner-2-1": ""}
        assert not any("id eq" in unquote(call["url"]) for call in batch.recorder.exchanges)

    def test_the_newest_task_tells_of_its_repository(self, tasks: RunnerTasks) -> None:
        """Where no task of a repository is known, the environment of its newest finished one is read."""
        for number in range(3):
            tasks.add(task(task_id=f"runner-{number}-1", pool="still", environment={"GHR_URL": f"url {number}"}))
            tasks.end("still", f"runner-{number}-1")
        found = tasks.listed(["still"], datetime.now(UTC), FinishedTasks())
        assert {one.notes.url for one in found} == {"url 2"}

    def test_a_task_that_was_created_again(self, tasks: RunnerTasks) -> None:
        """What is known of a living task does not count for another one of its id."""
        known = FinishedTasks()
        for url in ("old", "new"):
            tasks.add(task(pool="still", environment={"GHR_URL": url}))
            for _ in range(2):
                assert [one.notes.url for one in tasks.listed(["still"], datetime.now(UTC), known)] == [url]
            tasks.delete("still", "runner-1-1")

    def test_tasks_without_end(self, batch: Batch, batch_url: str, tasks: RunnerTasks) -> None:
        """A list of tasks whose next page is itself ends with an error, too."""
        tasks.add(task(pool="still"))
        link = f"{batch_url}/jobs/{JOB_STILL}/tasks?api-version=2025-06-01"
        body = json.dumps({"value": [], "odata.nextLink": link})
        batch.faults.add(Fault("status", "GET */tasks", status=200, body=body, headers=JSON, times=None))
        with pytest.raises(TransientError, match="has no end"):
            tasks.live("still")
        assert batch.faults.hits == MOST_PAGES + 1

    def test_several_pages(self, batch: Batch, tasks: RunnerTasks) -> None:
        """A list goes on at the address that the page before names, on the account's own host."""
        for number in (1, 2):
            tasks.add(task(task_id=f"runner-{number}-1", pool="still"))
        body = json.dumps(
            {"value": [], "odata.nextLink": f"https://elsewhere.invalid/jobs/{JOB_STILL}/tasks?$select=id"}
        )
        batch.faults.add(Fault("status", "GET */tasks", status=200, body=body, headers=JSON))
        with pytest.raises(TransientError, match="list the tasks: KeyError"):
            tasks.live("still")

    def test_age(self, tasks: RunnerTasks) -> None:
        """A finished task is listed for a day, and again when its retention is over."""
        tasks.add(task(pool="still"))
        tasks.end("still", "runner-1-1")
        seen = [
            bool(list(tasks.listed(["still"], datetime.now(UTC) + timedelta(days=days), FinishedTasks())))
            for days in (0, 2, 6.9, 7.1)
        ]
        assert seen == [True, False, False, True]

    def test_very_many_past_their_retention(self, batch: Batch, batch_url: str, tasks: RunnerTasks) -> None:
        """However long the list of tasks past their retention, a pass reads two pages of it, and goes on."""
        tasks.add(task(pool="still"))
        link = f"{batch_url}/jobs/{JOB_STILL}/tasks?api-version=2025-06-01"
        body = json.dumps({"value": [], "odata.nextLink": link})
        batch.faults.add(Fault("status", "GET */tasks", skip=3, status=200, body=body, headers=JSON, times=None))
        assert len(tasks.listed(["still"], datetime.now(UTC), FinishedTasks())) == 1
        assert batch.faults.hits == 2

    def test_none_past_their_retention(
        self, batch: Batch, tasks: RunnerTasks, caplog: pytest.LogCaptureFixture
    ) -> None:
        """If Batch does not list the tasks past their retention, a pass goes on without them, and the log says so."""
        tasks.add(task(pool="still"))
        batch.faults.add(Fault("status", "GET */tasks", skip=3))
        assert len(tasks.listed(["still"], datetime.now(UTC), FinishedTasks())) == 1
        assert batch.faults.hits == 1
        fields = fields_of(caplog.records[-1].getMessage())
        assert fields["result"] == "skipped"
        assert fields["what"] == f"the tasks of {JOB_STILL} that are past their retention"

    def test_end_and_delete(self, batch: Batch, tasks: RunnerTasks) -> None:
        """A task is ended and forgotten; doing it again, or without a job, is fine."""
        tasks.end("still", "runner-1-1")
        tasks.delete("still", "runner-1-1")
        tasks.add(task(pool="still"))
        for _ in range(2):
            tasks.end("still", "runner-1-1")
        assert batch.task_bodies()["runner-1-1"]["state"] == "completed"
        for _ in range(2):
            tasks.delete("still", "runner-1-1")
        assert batch.task_bodies() == {}

    @pytest.mark.parametrize(
        ("what", "ask"),
        [
            ("list the Batch jobs", lambda tasks: list(tasks.listed(["still"], datetime.now(UTC), FinishedTasks()))),
            ("end a task", lambda tasks: tasks.end("still", "runner-1-1")),
            ("delete a task", lambda tasks: tasks.delete("still", "runner-1-1")),
        ],
    )
    def test_trouble(self, batch: Batch, tasks: RunnerTasks, what: str, ask: Callable[[RunnerTasks], object]) -> None:
        """If Batch does not answer, that is transient trouble."""
        tasks.add(task(pool="still"))
        batch.faults.add(Fault("status", status=503), Fault("drop"))
        for _ in range(2):
            with pytest.raises(TransientError, match=what):
                ask(tasks)

    @pytest.mark.parametrize(
        "body",
        [
            "<html>a proxy's page</html>", "", "[", "null", "7", "[]", '{"value": null}', '{"value": 7}',
            '{"value": [7]}', '{"value": [{"id": "runner-1-1", "creationTime": "soon"}]}', '{"value": ' + "[" * 200_000,
        ],
    )  # fmt: skip
    def test_a_list_of_another_shape(self, batch: Batch, tasks: RunnerTasks, body: str) -> None:
        """A list that is not Batch's is transient trouble."""
        tasks.add(task(pool="still"))
        batch.faults.add(Fault("status", "GET */tasks", status=200, body=body, headers=JSON))
        with pytest.raises(TransientError, match="list the tasks"):
            list(tasks.listed(["still"], datetime.now(UTC), FinishedTasks()))

    def test_a_list_without_end(self, batch: Batch, batch_url: str, tasks: RunnerTasks) -> None:
        """A list whose next page is itself ends with an error."""
        link = f"{batch_url}/jobs/{JOB}/tasks?api-version=2025-06-01"
        body = json.dumps({"value": [], "odata.nextLink": link})
        batch.faults.add(Fault("status", status=200, body=body, headers=JSON, times=None))
        with pytest.raises(TransientError, match="has no end"):
            list(tasks.listed(["still"], datetime.now(UTC), FinishedTasks()))
        assert batch.faults.hits == MOST_PAGES + 1

    def test_notes_of_somebody_else(self, tasks: RunnerTasks) -> None:
        """A task whose notes cannot be read is listed without them."""
        tasks.add(task(pool="still", environment={"GHR_ORIGIN": "{}", "GHR_EXPIRES_AT": "soon"}))
        (found,) = tasks.listed(["still"], datetime.now(UTC), FinishedTasks())
        assert found.notes == TaskNotes()


class NoToken:
    """An Entra ID credential that gives no token."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        """Fail as azure-identity does."""
        raise ClientAuthenticationError("the identity endpoint is not ready")


def test_no_entra_id_token() -> None:
    """While the identity gives no token the trouble is transient: a new function's identity takes a while."""
    with pytest.raises(TransientError, match="no Entra ID token"):
        RunnerTasks(BatchAccount("https://127.0.0.1:9", NoToken())).add(task())
