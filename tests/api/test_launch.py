"""One click into the course: who gets in, and what everybody else is told."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from api import launch as launch_module
from db.session import get_engine, transaction
from domain.student_view import failure_reference
from partners.base import Click, FormPost, Launch, Partner, Redirect
from partners.errors import CredentialsWrong, OutcomeUnknown, PartnerError, RateLimited, Refused, RetryLater
from partners.registry import get_partner
from settings import get_settings
from tests.api.conftest import HTML, OTHER, Logs, bearer, make_enrollment, run

TARGET = "https://partner.example/launch?key=canary-launch-key"


@dataclass
class FakePartner(Partner):
    """Mints what it is told to, and remembers what it was asked."""

    outcome: Launch | PartnerError = field(default_factory=lambda: Redirect(TARGET, None))
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)

    def launch(self, external_enrollment_id: str, click: Click) -> Launch:
        self.asked.append((external_enrollment_id, click.return_url, click.key))
        with transaction() as session:
            open_transactions = text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND state = 'idle in transaction' AND pid <> pg_backend_pid()"
            )
            self.connections.append(session.execute(open_transactions).scalar_one())
        if isinstance(self.outcome, PartnerError):
            raise self.outcome
        return self.outcome


@pytest.fixture
def partner(monkeypatch: pytest.MonkeyPatch) -> FakePartner:
    fake = FakePartner()
    monkeypatch.setattr(launch_module, "get_partner", lambda provider_type: fake)
    return fake


@pytest.fixture
def tiny_sandbox(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, str]]]:
    """A server that speaks one call of the sandbox's protocol; gives (path, idempotency key, return URL) of each."""
    calls: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            calls.append((self.path, self.headers["Idempotency-Key"], body["return_url"]))
            answer = json.dumps({"url": f"https://partner.example/launch/{len(calls)}", "expires_at": None})
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *args: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("SANDBOX_URL", f"http://127.0.0.1:{server.server_port}")
        get_settings.cache_clear()
        get_partner.cache_clear()
        yield calls
        server.shutdown()
    get_partner.cache_clear()


@pytest.mark.parametrize("status", ["active", "completed"])
def test_the_owner_is_sent_into_the_course(client: FlaskClient, partner: FakePartner, status: str) -> None:
    seat = make_enrollment(status, external_enrollment_id="seat-1")
    headers = bearer()
    answer = client.get(f"/api/partner-launch/{seat}", headers=headers)
    assert (answer.status_code, answer.headers["Location"]) == (302, TARGET)
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    client.get(f"/api/partner-launch/{seat.upper()}", headers=headers)
    (first_id, return_url, first_key), (_, _, second_key) = partner.asked
    assert (first_id, return_url) == ("seat-1", "http://testserver/dashboard")
    assert first_key != second_key


def test_no_transaction_is_open_while_the_partner_is_asked(client: FlaskClient, partner: FakePartner) -> None:
    client.get(f"/api/partner-launch/{make_enrollment()}", headers=bearer())
    assert partner.connections == [0]
    assert get_engine().pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_partner_that_wants_a_form_gets_one_button_that_goes_there_only(
    client: FlaskClient, partner: FakePartner
) -> None:
    partner.outcome = FormPost("https://tool.example:8443/lti?x=1&y=2", {"id_token": 'a"<b>', "state": "s"})
    answer = client.get(f"/api/partner-launch/{make_enrollment()}", headers={**bearer(), **HTML})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert 'action="https://tool.example:8443/lti?x=1&amp;y=2"' in page
    assert 'name="id_token" value="a&#34;&lt;b&gt;"' in page
    assert "form-action https://tool.example:8443;" in answer.headers["Content-Security-Policy"]
    assert (answer.headers["Referrer-Policy"], answer.headers["Cache-Control"]) == ("no-referrer", "no-store")


def test_what_is_no_web_address_is_not_followed(client: FlaskClient, partner: FakePartner) -> None:
    seat, headers = make_enrollment(), bearer()
    for action in ("javascript:alert(1)", "https://a.example; script-src *", "//a.example/x", "https://[a"):
        for partner.outcome in (FormPost(action, {}), Redirect(action, None)):
            answer = client.get(f"/api/partner-launch/{seat}", headers=headers)
            assert (answer.status_code, answer.get_json()["code"]) == (502, "partner_unavailable"), action
            assert "form-action 'self';" in answer.headers["Content-Security-Policy"]


def test_an_unknown_id_is_not_found(client: FlaskClient, partner: FakePartner) -> None:
    headers = bearer()
    for wrong in (str(uuid.UUID(int=0)), "nonsense", "1", "' OR 1=1", "%00"):
        answer = client.get(f"/api/partner-launch/{wrong}", headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "enrollment_not_found"), wrong


def test_another_students_enrolment_stays_shut(client: FlaskClient, partner: FakePartner) -> None:
    seat = make_enrollment("active", student=OTHER)
    for headers in (bearer(), bearer("ops", "ana@example.com")):
        answer = client.get(f"/api/partner-launch/{seat}", headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "not_your_enrollment")
    assert partner.asked == []


def test_what_is_not_active_is_explained(client: FlaskClient, partner: FakePartner) -> None:
    reasons = {
        "pending": "under a minute",
        "failed": "need not pay again",
        "suspended": "dispute",
        "revoked": "returned",
    }
    seat, headers = make_enrollment("pending", failure_reason="canary: the partner said 422"), bearer()
    for status, says in reasons.items():
        run("UPDATE partner_lms_enrollments SET status = :status", status=status)
        answer = client.get(f"/api/partner-launch/{seat}", headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (409, f"enrollment_{status}")
        page = client.get(f"/api/partner-launch/{seat}", headers={**headers, **HTML})
        assert page.mimetype == "text/html"
        for body in (answer.get_data(as_text=True), page.get_data(as_text=True)):
            assert says in body
            assert "canary" not in body
            assert (failure_reference(seat) in body) == (status == "failed")
    assert partner.asked == []


def test_an_active_enrolment_without_a_seat_is_treated_as_pending(
    client: FlaskClient, partner: FakePartner
) -> None:
    seat = make_enrollment("active", external_enrollment_id=None)
    answer = client.get(f"/api/partner-launch/{seat}", headers=bearer())
    assert (answer.status_code, answer.get_json()["code"]) == (409, "enrollment_pending")


def test_a_partner_that_cannot_open_it_is_answered_with_what_to_do(
    client: FlaskClient, partner: FakePartner, logs: Logs
) -> None:
    errors: list[tuple[PartnerError, str | None]] = [
        (RetryLater("busy"), "30"),
        (RateLimited("slow down", status=429, after=2.2), "3"),
        (RetryLater("long", after=1e9), "3600"),
        (OutcomeUnknown("lost"), None),
        (CredentialsWrong("401", status=401), None),
        (Refused("no", status=422), None),
    ]
    seat, headers = make_enrollment(), bearer()
    for partner.outcome, retry_after in errors:
        answer = client.get(f"/api/partner-launch/{seat}", headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (502, "partner_unavailable")
        assert answer.headers.get("Retry-After") == retry_after, partner.outcome
        page = client.get(f"/api/partner-launch/{seat}", headers={**headers, **HTML})
        assert (page.status_code, page.mimetype) == (502, "text/html")
        assert "Try again" in page.get_data(as_text=True)
        assert logs.named("[PartnerLaunch] failed")[-1]["error"] == partner.outcome.code


def test_the_sandbox_is_asked_over_http_at_each_click(
    client: FlaskClient, tiny_sandbox: list[tuple[str, str, str]]
) -> None:
    seat, headers = make_enrollment("active", external_enrollment_id="seat-9"), bearer()
    answers = [client.get(f"/api/partner-launch/{seat}", headers=headers) for _ in range(2)]
    assert [answer.headers["Location"] for answer in answers] == [
        "https://partner.example/launch/1",
        "https://partner.example/launch/2",
    ]
    assert [(path, body) for path, _, body in tiny_sandbox] == [
        ("/enrollments/seat-9/launch", "http://testserver/dashboard")
    ] * 2
    assert tiny_sandbox[0][1] != tiny_sandbox[1][1]


def test_a_partner_that_is_not_there_is_a_502(client: FlaskClient) -> None:
    get_partner.cache_clear()
    seat, headers = make_enrollment(), bearer()
    assert (
        client.get(f"/api/partner-launch/{seat}", headers=headers).get_json()["code"] == "partner_unavailable"
    )
    run("UPDATE partner_lms_providers SET provider_type = 'unheard-of'")
    assert client.get(f"/api/partner-launch/{seat}", headers=headers).status_code == 502


def test_the_launch_address_is_in_no_log_line(client: FlaskClient, partner: FakePartner, logs: Logs) -> None:
    client.get(f"/api/partner-launch/{make_enrollment()}", headers=bearer())
    assert logs.named("[PartnerLaunch] launched")
    assert "canary-launch-key" not in str(logs.events)
    assert "partner.example" not in str(logs.events)
