"""The student's own list, as JSON and as the dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import event, text

from db.models.enrollment import ENROLLMENT_STATUSES
from db.session import get_engine, transaction
from domain import demo
from tests.api.conftest import HTML, OTHER, STUDENT, bearer, count, make_enrollment, run

OWN = "/api/student/partner-enrollments"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
CODES = [course.code for provider in demo.CATALOGUE for course in provider.courses]


def test_an_enrolment_has_the_seeds_shape(client: FlaskClient) -> None:
    seat = make_enrollment(
        "completed", progress_percentage=100, enrolled_at=START, completed_at=START, created_at=START
    )
    certify(seat, "https://partner.example/c/1")
    run(
        "INSERT INTO partner_sync_states (provider_id, finished_at) VALUES (:id, :at)",
        id=demo.provider_id("sandbox"),
        at=START,
    )
    (item,) = client.get(OWN, headers=bearer()).get_json()["data"]
    assert item == {
        "id": seat,
        "status": "completed",
        "progressPercentage": 100,
        "enrolledAt": "2026-03-01T12:00:00Z",
        "completedAt": "2026-03-01T12:00:00Z",
        "createdAt": "2026-03-01T12:00:00Z",
        "launchUrl": f"http://testserver/api/partner-launch/{seat}",
        "failureReference": None,
        "provider": {
            "id": demo.provider_id("sandbox"),
            "name": "Sandbox Academy",
            "type": "sandbox",
            "supportEmail": "support@example.com",
        },
        "course": {
            "id": demo.course_id("SBX-101"),
            "name": "Working Safely",
            "code": "SBX-101",
            "hours": 8,
            "level": "beginner",
            "credentialType": "certificate",
            "description": None,
        },
        "programId": None,
        "lastSyncedAt": "2026-03-01T12:00:00Z",
        "certificate": {
            "number": "N-1",
            "url": "https://partner.example/c/1",
            "verificationUrl": None,
            "issuedAt": "2026-03-01T12:00:00Z",
            "expiresAt": None,
        },
        "manualSetup": None,
    }


def test_only_what_can_be_opened_has_a_link_and_only_a_failure_a_reference(client: FlaskClient) -> None:
    for status, code in zip(ENROLLMENT_STATUSES, CODES, strict=False):
        make_enrollment(status, course=code, failure_reason="canary: internal")
    answer = client.get(OWN, headers=bearer())
    items = {item["status"]: item for item in answer.get_json()["data"]}
    assert {status for status, item in items.items() if item["launchUrl"]} == {"active", "completed"}
    assert {status for status, item in items.items() if item["failureReference"]} == {"failed"}
    assert items["failed"]["failureReference"] == items["failed"]["id"][:8]
    assert "canary" not in answer.get_data(as_text=True)


def test_pages_hold_every_row_once_newest_first(client: FlaskClient) -> None:
    # Three rows share each moment, so that a page ends between rows of the same time.
    made = [
        make_enrollment("pending", course=code, created_at=START + timedelta(seconds=number // 3))
        for number, code in enumerate(CODES[:10])
    ]
    make_enrollment("active", student=OTHER)
    seen: list[Any] = []
    cursor, pages = None, 0
    headers = bearer()
    while pages == 0 or cursor:
        query = {"limit": "4", **({"cursor": cursor} if cursor else {})}
        page = client.get(OWN, query_string=query, headers=headers).get_json()
        assert page["has_more"] == (page["next_cursor"] is not None)
        seen += page["data"]
        cursor, pages = page["next_cursor"], pages + 1
    assert pages == 3
    assert sorted(item["id"] for item in seen) == sorted(made)
    assert [item["createdAt"] for item in seen] == sorted((item["createdAt"] for item in seen), reverse=True)


def test_a_page_that_is_just_full_is_the_last(client: FlaskClient) -> None:
    for code in CODES[:3]:
        make_enrollment("pending", course=code)
    page = client.get(f"{OWN}?limit=3", headers=bearer()).get_json()
    assert (len(page["data"]), page["has_more"], page["next_cursor"]) == (3, False, None)


def test_a_senseless_limit_is_named(client: FlaskClient) -> None:
    headers = bearer()
    for limit in ("0", "101", "-1", "many", ""):
        answer = client.get(OWN, query_string={"limit": limit}, headers=headers)
        assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "?limit"), limit


def test_a_cursor_that_is_not_ours_is_refused(client: FlaskClient) -> None:
    headers = bearer()
    for cursor in ("x", "é", "MjAyNi0wMy0wMXx4", "\0", "a" * 5000, ""):
        for path in (OWN, "/dashboard"):
            answer = client.get(path, query_string={"cursor": cursor}, headers=headers)
            assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_cursor"), cursor


def test_the_number_of_queries_does_not_grow_with_the_rows(client: FlaskClient) -> None:
    headers = bearer()
    client.get(OWN, headers=headers)
    for code in CODES:
        make_enrollment("active", course=code)
    with counted_queries() as statements:
        assert len(client.get(OWN, headers=headers).get_json()["data"]) == len(CODES)
    assert len([one for one in statements if "partner_lms_enrollments" in one]) == 1
    assert len(statements) <= 3


def test_the_list_is_read_along_an_index(client: FlaskClient) -> None:
    with transaction() as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        session.execute(text("SET LOCAL enable_sort = off"))
        plan = session.execute(
            text(
                "EXPLAIN SELECT id FROM partner_lms_enrollments WHERE student_id = :id"
                " AND (created_at, id) < (now(), :id) ORDER BY created_at DESC, id DESC LIMIT 21"
            ),
            {"id": STUDENT},
        )
        assert "ix_partner_lms_enrollments_student_id_created_at" in str(plan.all())


def test_a_partners_link_that_is_no_web_address_is_left_out(client: FlaskClient) -> None:
    certify(make_enrollment("completed"), "javascript:alert(1)")
    headers = bearer()
    assert client.get(OWN, headers=headers).get_json()["data"][0]["certificate"]["url"] is None
    assert "javascript:" not in client.get("/dashboard", headers=headers).get_data(as_text=True)


def test_the_dashboard_shows_each_state_in_words(client: FlaskClient) -> None:
    active = make_enrollment("active", course="SBX-101", progress_percentage=42.5)
    certify(make_enrollment("completed", course="SBX-201"), "https://partner.example/c/1")
    failed = make_enrollment("failed", course="HSI-BBP", failure_reason="canary: internal")
    headers = {**bearer(), **HTML}
    page = client.get("/dashboard", headers=headers).get_data(as_text=True)
    assert f'href="/api/partner-launch/{active}"' in page
    assert "<span>42.5 %</span>" in page
    assert 'max="100" value="42.5"' in page
    assert "Continue the course" in page
    assert 'href="https://partner.example/c/1"' in page
    assert f"Reference: <strong>{failed[:8]}</strong>" in page
    assert "canary" not in page
    assert 'http-equiv="refresh"' not in page
    make_enrollment("pending", course="HSI-CPR-AED")
    page = client.get("/dashboard", headers=headers).get_data(as_text=True)
    assert "under a minute" in page
    assert 'http-equiv="refresh"' in page


def test_an_empty_dashboard_says_so(client: FlaskClient) -> None:
    page = client.get("/dashboard", headers={**bearer(), **HTML}).get_data(as_text=True)
    assert "No courses yet" in page
    assert client.get("/").location == "/dashboard"


def certify(enrollment_id: str, url: str) -> None:
    run(
        "INSERT INTO partner_certificates (enrollment_id, student_id, partner_id, certificate_number,"
        " certificate_url, issued_date) VALUES (:id, :student, :partner, 'N-1', :url, :at)",
        id=enrollment_id,
        student=STUDENT,
        partner=demo.provider_id("sandbox"),
        url=url,
        at=START,
    )
    assert count("partner_certificates") >= 1


@contextmanager
def counted_queries() -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(get_engine(), "before_cursor_execute", note)
    yield statements
    event.remove(get_engine(), "before_cursor_execute", note)
