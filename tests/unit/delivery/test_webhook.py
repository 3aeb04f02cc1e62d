"""From bytes and headers to a verified event."""

import json
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.delivery.webhook import (
    FORM,
    JSON,
    DeliveryHeaders,
    action_of,
    event_about_a_runner,
    json_payload,
    ping_event,
    verify_signature,
    webhook_of,
    workflow_job_event,
)
from orchestrator.errors import ContentTypeUnknown, DeliveryMalformed, SignatureInvalid
from orchestrator.jobs.event import WorkflowJob
from tests.builders import queued_job, sign


class TestSignature:
    """`verify_signature`."""

    def test_example_of_githubs_documentation(self) -> None:
        """The example that GitHub documents verifies."""
        verify_signature(
            b"Hello, World!",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            [b"It's a Secret to Everybody"],
        )

    @given(body=st.binary(max_size=300), secrets=st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=2))
    def test_any_configured_secret_will_do(self, body: bytes, secrets: list[str]) -> None:
        """While a secret is being replaced, a signature made with either verifies."""
        for secret in secrets:
            verify_signature(body, sign(body, secret), [s.encode() for s in secrets])

    @given(body=st.binary(max_size=100), signature=st.text(max_size=100))
    def test_nothing_else_does(self, body: bytes, signature: str) -> None:
        """No other text passes, and none raises anything but the refusal."""
        with pytest.raises(SignatureInvalid):
            verify_signature(body, signature, [b"secret"])

    @given(body=st.binary(min_size=1, max_size=200), data=st.data())
    def test_a_changed_byte_is_noticed(self, body: bytes, data: st.DataObject) -> None:
        """One changed byte of the body breaks the signature."""
        at = data.draw(st.integers(0, len(body) - 1))
        changed = body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :]
        with pytest.raises(SignatureInvalid):
            verify_signature(changed, sign(body, "secret"), [b"secret"])

    @pytest.mark.parametrize("change", [str.upper, lambda s: s[:-1], lambda s: s + "0", lambda s: s[7:], lambda _: ""])
    def test_the_form_counts(self, change: Any) -> None:
        """A right digest in a wrong form does not pass."""
        with pytest.raises(SignatureInvalid):
            verify_signature(b"body", change(sign(b"body", "secret")), [b"secret"])

    def test_no_secret_verifies_nothing(self) -> None:
        """Without a secret nothing is genuine."""
        with pytest.raises(SignatureInvalid):
            verify_signature(b"", sign(b"", ""), [])


class TestHeaders:
    """`DeliveryHeaders.parse`."""

    RIGHT: ClassVar = {
        "x-github-event": "workflow_job",
        "x-github-delivery": "b2f4b1e0-0000-11ef-8000-000000000000",
        "content-type": "application/json; charset=utf-8",
        "x-hub-signature-256": "sha256=00",
    }

    def test_right(self) -> None:
        """GitHub's headers are read, the content type without its parameters."""
        headers = DeliveryHeaders.parse(self.RIGHT)
        assert headers.event == "workflow_job"
        assert headers.delivery == self.RIGHT["x-github-delivery"]
        assert headers.content_type == JSON
        assert headers.signature == "sha256=00"

    @pytest.mark.parametrize("name", ["x-github-event", "x-github-delivery"])
    @pytest.mark.parametrize("value", ["", "a b", "ä", "a\nb", "x" * 101])
    def test_missing_or_malformed(self, name: str, value: str) -> None:
        """A delivery without its event or id, or with characters that could forge a log line, is refused."""
        with pytest.raises(DeliveryMalformed, match="X-GitHub"):
            DeliveryHeaders.parse({**self.RIGHT, name: value})

    @pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml", "multipart/form-data"])
    def test_content_type(self, content_type: str) -> None:
        """Only the two content types that GitHub offers are taken."""
        with pytest.raises(ContentTypeUnknown):
            DeliveryHeaders.parse({**self.RIGHT, "content-type": content_type})

    def test_no_signature(self) -> None:
        """A delivery without a SHA-256 signature is not genuine, even with a SHA-1 one."""
        headers = {k: v for k, v in self.RIGHT.items() if k != "x-hub-signature-256"}
        with pytest.raises(SignatureInvalid):
            DeliveryHeaders.parse({**headers, "x-hub-signature": "sha1=00"})


class TestWebhookOf:
    """`webhook_of`."""

    @pytest.mark.parametrize(
        ("target", "hook_id", "organization", "path"),
        [
            ("organization", "7", {"login": "acme"}, "/orgs/acme/hooks/7"),
            ("organization", "7", None, None),
            ("repository", "8", None, "/repos/acme/app/hooks/8"),
            ("integration", "9", {"login": "acme"}, None),
            ("repository", "", None, None),
            ("repository", "8/../9", None, None),
            ("repository", "\u0663", None, None),
        ],
    )
    def test_path(self, target: str, hook_id: str, organization: Any, path: str | None) -> None:
        """The hook is known by its REST path where the headers name an organization's or a repository's."""
        headers = {"x-github-hook-id": hook_id, "x-github-hook-installation-target-type": target}
        event = workflow_job_event(json.dumps(queued_job(organization=organization)).encode())
        assert webhook_of(headers, event) == path


class TestCreatedAt:
    """`WorkflowJob.created_at`."""

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2026-11-25T12:00:00Z", datetime(2026, 11, 25, 12, tzinfo=UTC)),
            ("2026-11-25T13:00:00+01:00", datetime(2026, 11, 25, 12, tzinfo=UTC)),
            ("2026-11-25T12:00:00", datetime(2026, 11, 25, 12, tzinfo=UTC)),
            (datetime(2026, 11, 25, 12, tzinfo=UTC), datetime(2026, 11, 25, 12, tzinfo=UTC)),
            ("yesterday", None),
            (None, None),
            (7, None),
        ],
    )
    def test_moment(self, text: object, moment: datetime | None) -> None:
        """A job's time is read in any zone; one that cannot be read costs no runner."""
        job = queued_job()["workflow_job"] | {"created_at": text}
        assert WorkflowJob.model_validate(job).created_at == moment


class TestPayload:
    """`json_payload`, `action_of` and the events."""

    def test_form(self) -> None:
        """A form's `payload` comes out as the JSON that it holds."""
        text = json.dumps({"action": "queued", "text": "ä & = + %"})
        assert json_payload(urlencode({"payload": text}).encode(), FORM) == text.encode()

    @pytest.mark.parametrize(
        "body", [b"", b"{}", b"a=1", b"payload=1&payload=2", b"\xff", b"payload=%ff", b"payload=1&" + b"a=1&" * 50]
    )
    def test_malformed_form(self, body: bytes) -> None:
        """What is not a form with one `payload` is refused."""
        with pytest.raises(DeliveryMalformed):
            json_payload(body, FORM)

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"action": 1}', b"[" * 100_000])
    def test_not_an_object(self, body: bytes) -> None:
        """What is not a JSON object, however deep, is refused."""
        with pytest.raises(DeliveryMalformed):
            action_of(body)

    def test_action(self) -> None:
        """The action is read from a payload that has nothing else of what a job needs."""
        assert action_of(b'{"action": "completed"}') == "completed"
        assert action_of(b"{}") == ""

    @pytest.mark.parametrize("action", ["in_progress", "waiting", "", "something-new"])
    @pytest.mark.parametrize("payload", [{}, {"workflow_job": {}}, queued_job()])
    def test_other_actions(self, action: str, payload: dict[str, Any]) -> None:
        """Of an action that asks for nothing, no more is asked than that it is one."""
        assert event_about_a_runner(json.dumps({**payload, "action": action}).encode()) is None

    @pytest.mark.parametrize("action", ["queued", "completed"])
    def test_an_action_about_a_runner(self, action: str) -> None:
        """An action that asks for a runner, or for its end, is refused without a job, and else becomes an event."""
        event = event_about_a_runner(json.dumps(queued_job(action=action)).encode())
        assert event == workflow_job_event(json.dumps(queued_job(action=action)).encode())
        with pytest.raises(DeliveryMalformed, match="workflow_job"):
            event_about_a_runner(json.dumps({"action": action}).encode())

    @pytest.mark.parametrize(("action", "read"), [("in_progress", False), ("waiting", False), ("queued", True)])
    def test_as_github_writes_it(self, action: str, *, read: bool) -> None:
        """GitHub writes the action first and without blanks; a body that asks for nothing is then not parsed."""
        body = b'{"action":"%s","workflow_job":' % action.encode()
        if read:
            with pytest.raises(DeliveryMalformed):
                event_about_a_runner(body)
        else:
            assert event_about_a_runner(body) is None

    def test_workflow_job(self) -> None:
        """A queued job's payload becomes an event; what is not needed is not looked at."""
        event = workflow_job_event(json.dumps(queued_job("self-hosted", installation={"id": 7, "x": 1})).encode())
        assert event.workflow_job.id == 29679449526
        assert event.workflow_job.labels == ("self-hosted",)
        assert event.repository.full_name == "acme/app"
        assert event.organization is not None
        assert event.organization.login == "acme"
        assert event.installation is not None
        assert event.installation.id == 7

    @pytest.mark.parametrize(
        ("repository", "public"),
        [
            ({"private": True, "visibility": "private"}, False),
            ({"private": True, "visibility": "internal"}, False),
            ({"private": True}, False),
            ({"private": False, "visibility": "public"}, True),
            ({"private": False}, True),
            ({}, True),
            ({"private": True, "visibility": "public"}, True),
            ({"private": True, "visibility": "enterprise-wide"}, False),
            ({"private": True, "visibility": "x" * 5000}, False),
            ({"private": True, "visibility": 7}, False),
            ({"private": False, "visibility": "enterprise-wide"}, True),
        ],
    )
    def test_public(self, repository: dict[str, Any], public: bool) -> None:
        """A repository counts as private only if the payload says so without contradiction."""
        names = {"name": "app", "full_name": "acme/app", "owner": {"login": "acme"}}
        payload = queued_job(repository={**names, **repository})
        assert workflow_job_event(json.dumps(payload).encode()).repository.is_public is public

    @pytest.mark.parametrize(
        "name",
        ["..", ".", "a/b/c", "a b/c", "acme", "/app", "acme/", "acme/..", "acme/app\n", "ä/b", "../app", "./app"],
    )
    def test_names_that_would_climb_out_of_a_url(self, name: str) -> None:
        """A repository name that is none never gets near a URL."""
        repository = {"name": "app", "full_name": name, "owner": {"login": "acme"}, "private": True}
        with pytest.raises(DeliveryMalformed, match=r"repository\.full_name"):
            workflow_job_event(json.dumps(queued_job(repository=repository)).encode())

    @pytest.mark.parametrize("login", ["..", "a/b", "", "a\n", "a?b", "a" * 101])
    def test_logins_that_would_climb_out_of_a_url(self, login: str) -> None:
        """An organization's login that is none never gets near a URL."""
        with pytest.raises(DeliveryMalformed, match=r"organization\.login"):
            workflow_job_event(json.dumps(queued_job(organization={"login": login})).encode())

    @pytest.mark.parametrize(
        "job",
        [{}, {"id": "x", "run_id": 1, "labels": []}, {"id": 0, "run_id": 1, "labels": []}, {"id": 1, "run_id": 1}],
    )
    def test_a_job_without_what_a_runner_needs(self, job: dict[str, Any]) -> None:
        """The refusal names the property that is missing or wrong, and not its value."""
        with pytest.raises(DeliveryMalformed, match=r"workflow_job\.(id|labels)"):
            workflow_job_event(json.dumps(queued_job(workflow_job=job)).encode())

    @pytest.mark.parametrize(
        "webhook", ["/repos/../app/hooks/1", "/orgs/./hooks/1", "/orgs/a/b/hooks/1", "/repos/a/hooks/1"]
    )
    def test_hooks_that_would_climb_out_of_a_url(self, webhook: str) -> None:
        """The path of a hook that no delivery names never gets near a URL."""
        with pytest.raises(DeliveryMalformed, match="webhook"):
            workflow_job_event(json.dumps(queued_job(webhook=webhook)).encode())

    @pytest.mark.parametrize("name", ["name", "conclusion", "runner_name"])
    @pytest.mark.parametrize("value", ["x" * 5000, "", None, 7, ["a"], {"a": 1}, "ä\0\U0001f600" * 500])
    def test_what_is_for_the_eye_refuses_nothing(self, name: str, value: Any) -> None:
        """A property that decides nothing is cut where it is long, and not looked at where it is no text."""
        job = queued_job()["workflow_job"] | {name: value}
        read = getattr(workflow_job_event(json.dumps(queued_job(workflow_job=job)).encode()).workflow_job, name)
        assert value[: len(read)] == read if isinstance(value, str) else read is None
        assert len(read or "") <= 1000

    def test_a_long_runner_name_is_a_runner(self) -> None:
        """A job with a runner of an endless name had its runner."""
        job = queued_job()["workflow_job"] | {"runner_name": "x" * 5000}
        assert workflow_job_event(json.dumps(queued_job(workflow_job=job)).encode()).workflow_job.had_runner

    def test_ping(self) -> None:
        """A ping says which events its hook sends."""
        assert ping_event(b'{"zen": "...", "hook": {"events": ["push"]}}').hook.events == ("push",)
        assert ping_event(b"{}").hook.events == ()

    @given(st.binary(max_size=100))
    def test_no_body_raises_anything_else(self, body: bytes) -> None:
        """Whatever the bytes, the only failure is the refusal."""
        for content_type in (JSON, FORM):
            try:
                payload = json_payload(
                    b"payload=" + quote_plus(body).encode() if content_type == FORM else body, content_type
                )
                event_about_a_runner(payload)
            except DeliveryMalformed:
                pass
