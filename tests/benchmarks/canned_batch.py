"""A Batch that answers from lists made beforehand, in a process of its own, so that its work is not in the figures."""

import contextlib
import json
import multiprocessing
import re
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from orchestrator.azure.batch_jobs import job_id
from orchestrator.delivery.webhook import workflow_job_event
from orchestrator.runners.notes import Origin, TaskNotes
from tests.builders import queued_job

PAGE = 1000
POOL = "linux"
ORGANIZATIONS = 5
# Of a hundred tasks, so many wait, and so many run; all others finished within the last day.
WAIT, RUN = 2, 3


class CannedBatch:
    """What one server holds, and what was asked of it.

    Attributes:
        url: its address.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def asked(self) -> tuple[list[str], int]:
        """Return the lists that were asked for, and how many bytes the answers had, since this was called last."""
        with urllib.request.urlopen(f"{self.url}/asked") as answer:  # noqa: S310 - our own server
            found: tuple[list[str], int] = json.load(answer)
        return found

    def body(self, path: str) -> bytes:
        """Return the body of one answer."""
        with urllib.request.urlopen(self.url + path) as answer:  # noqa: S310 - our own server
            content: bytes = answer.read()
        return content


@contextlib.contextmanager
def canned_batch(tasks: int, repositories: int, *, jit: bool = False) -> Iterator[CannedBatch]:
    """Serve so many tasks of the last day, of so many repositories in five organizations."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs, tasks, repositories, jit), daemon=True)
    server.start()
    theirs.close()
    try:
        yield CannedBatch(ours.recv())
    finally:
        server.terminate()
        server.join()


def _serve(pipe: Connection, tasks: int, repositories: int, jit: bool) -> None:
    jobs = _jobs(tasks, repositories, "jit" if jit else "token")
    asked: list[str] = []
    sent = [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(b"", 201)

        def do_GET(self) -> None:
            if self.path == "/asked":
                self._answer(json.dumps([asked, sent[0]]).encode())
                asked.clear()
                sent[0] = 0
                return
            body = json.dumps(_listed(jobs, self.path, f"http://{self.headers['Host']}")).encode()
            if "/tasks" in self.path:
                asked.append(self.path)
            sent[0] += len(body)
            self._answer(body)

        def _answer(self, body: bytes, status: int = 200) -> None:
            head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)  # in one write, so that no acknowledgement is waited for

        def log_message(self, *_arguments: object) -> None:
            return

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(f"http://127.0.0.1:{httpd.server_port}")
    httpd.serve_forever()


def _listed(jobs: dict[str, list[dict[str, Any]]], path: str, root: str) -> dict[str, Any]:
    parts = urlsplit(path)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.path == "/jobs":
        return {"value": [{"id": job, "poolInfo": {"poolId": POOL}} for job in jobs]}
    rows = [row for row in jobs[parts.path.split("/")[2]] if _matches(row, query.get("$filter", ""))]
    skip = int(query.get("$skiptoken", 0))
    names = query["$select"].split(",")
    found: dict[str, Any] = {
        "value": [{name: row[name] for name in names if name in row} for row in rows[skip : skip + PAGE]]
    }
    if skip + PAGE < len(rows):
        query["$skiptoken"] = str(skip + PAGE)
        following = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        found["odata.nextLink"] = f"{root}{parts.path}?{following}"
    return found


def _matches(row: dict[str, Any], clause: str) -> bool:
    if clause.startswith("id eq"):
        return row["id"] in re.findall("'([^']*)'", clause)
    state = re.search("state eq '([a-z]+)'", clause)
    since = re.search("ge DateTime'([^']+)'", clause)
    until = re.search("lt DateTime'([^']+)'", clause)
    return (
        (state is None or row["state"] == state[1])
        and (since is None or row["stateTransitionTime"] >= since[1])
        and (until is None or row["stateTransitionTime"] < until[1])
    )


def _jobs(tasks: int, repositories: int, kind: Any) -> dict[str, list[dict[str, Any]]]:
    now = datetime.now(UTC)
    jobs: dict[str, list[dict[str, Any]]] = {job_id(POOL, f"org{n}", "normal"): [] for n in range(ORGANIZATIONS)}
    for number in range(tasks):
        owner = f"org{number % ORGANIZATIONS}"
        name = f"service-{number % repositories}"
        state = "active" if number % 100 < WAIT else "running" if number % 100 < WAIT + RUN else "completed"
        changed = now - (timedelta(hours=23.9) * number / tasks if state == "completed" else timedelta(minutes=3))
        jobs[job_id(POOL, owner, "normal")].append(_task(number + 30_000_000_000, owner, name, state, changed, kind))
    return jobs


def _task(job: int, owner: str, name: str, state: str, changed: datetime, kind: Any) -> dict[str, Any]:
    payload = queued_job()
    payload["workflow_job"] |= {"id": job, "run_id": job // 7, "created_at": _text(changed - timedelta(minutes=6))}
    payload["repository"] |= {"name": name, "full_name": f"{owner}/{name}", "owner": {"login": owner}}
    payload |= {
        "organization": {"login": owner},
        "installation": {"id": 7_000_000},
        "webhook": f"/orgs/{owner}/hooks/1",
    }
    notes = TaskNotes(
        url=f"https://github.com/{owner}", name=f"runner-{job}-1", labels=("self-hosted", "ubuntu-latest"),
        idle_minutes=10, registration=kind, expires_at=changed + timedelta(hours=1),
        origin=Origin(event=workflow_job_event(json.dumps(payload).encode()), profile="linux"),
    )  # fmt: skip
    secret = "A" * (4096 if kind == "jit" else 29)
    info: dict[str, Any] = {"retryCount": 0, "requeueCount": 0}
    if state != "active":
        info["startTime"] = _text(changed - timedelta(minutes=4))
    if state == "completed":
        info |= {"endTime": _text(changed), "exitCode": 0, "result": "success", "containerInfo": {
            "containerId": "4" * 64, "state": "exited", "error": "",
        }}  # fmt: skip
    return {
        "id": f"runner-{job}-1", "displayName": f"{owner}/{name} run {job // 7} job {job} attempt 1", "state": state,
        "creationTime": _text(changed - timedelta(minutes=5)), "stateTransitionTime": _text(changed),
        "executionInfo": info, "requiredSlots": 1,
        "constraints": {"maxWallClockTime": "PT7H", "retentionTime": "P7D", "maxTaskRetryCount": 0},
        "environmentSettings": [{"name": n, "value": value} for n, value in notes.environment(secret).items()],
    }  # fmt: skip


def _text(moment: datetime) -> str:
    """Return a moment as Batch writes it: in UTC, with seven digits after the second."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}1Z"
