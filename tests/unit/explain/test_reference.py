"""What an operator pastes to name a job."""

import pytest

from orchestrator.explain.reference import JobReference, ReferenceMalformed, parse_reference

WEB = "https://github.com"
API = "https://api.github.com"


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/acme/app/actions/runs/107/job/42",
        " https://github.com/acme/app/actions/runs/107/job/42#step:3:1\n",
        "https://GitHub.com/acme/app/actions/runs/107/job/42/?pr=7",
        "https://github.com/acme/app/actions/runs/107/attempts/2/job/42",
        "https://github.com/acme/app/runs/42",
        "https://api.github.com/repos/acme/app/actions/jobs/42",
    ],
)
def test_addresses(text: str) -> None:
    """The addresses of a job in a browser and in the REST API name it with its repository."""
    assert parse_reference(text, WEB, API) == JobReference(42, "acme/app")


@pytest.mark.parametrize("text", ["42", "runner-42-1", "runner-42-2-r3"])
def test_ids(text: str) -> None:
    """A job's id and the id of a task name the job alone."""
    assert parse_reference(text, WEB, API) == JobReference(42)


def test_enterprise_server() -> None:
    """A GitHub Enterprise Server has its REST API below its own address."""
    web, api = "https://git.acme.example", "https://git.acme.example/api/v3"
    for text in (f"{web}/acme/app/actions/runs/107/job/42", f"{api}/repos/acme/app/actions/jobs/42"):
        assert parse_reference(text, web, api) == JobReference(42, "acme/app")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected the address"),
        ("42 or so", "expected the address"),
        ("-1", "expected the address"),
        ("ftp://github.com/acme/app/actions/runs/107/job/42", "expected the address"),
        ("https://[github.com/acme", "expected the address"),
        ("https://github.example/acme/app/actions/runs/107/job/42", "is not at https://github.com"),
        ("https://user@github.com/acme/app/actions/runs/107/job/42", "is not at https://github.com"),
        ("https://github.com/acme/app/actions/runs/107", "this is a run"),
        ("https://github.com/acme/app/actions/runs/107/attempts/2", "this is a run"),
        ("https://github.com/acme/app", "no job's address"),
        ("https://github.com/../app/actions/runs/107/job/42", "no job's address"),
        ("9999999999999999999", "no job of this number"),
        ("https://github.com/acme/app/actions/runs/107/job/9999999999999999999", "no job of this number"),
        ("https://github.com/acme/app/actions/runs/107/job/0", "no job of this number"),
    ],
)
def test_malformed(text: str, reason: str) -> None:
    """Anything else is refused with what is expected."""
    with pytest.raises(ReferenceMalformed, match=reason):
        parse_reference(text, WEB, API)


def test_shown() -> None:
    """A job is called by its id, and by its repository where that is known."""
    assert (str(JobReference(42)), str(JobReference(42, "acme/app"))) == ("job 42", "job 42 of acme/app")
