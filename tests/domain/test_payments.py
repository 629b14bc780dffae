"""What stored Stripe events do to payments and enrolments."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from db import inbox
from db.session import transaction
from domain import enrollments, events, payments
from domain.errors import NotPossible
from tests.stack import checkout_event, make_course, make_students, order, rows, scalar

pytestmark = pytest.mark.usefixtures("database")

TYPES = ("sandbox",)


def arrive(body: bytes) -> str:
    """Store an event as the webhook does and act on it once; return its state."""
    event = json.loads(body)
    with transaction() as session:
        event_id = inbox.store(
            session,
            source="stripe",
            external_id=event["id"],
            type=event["type"],
            payload=body,
            kind="payments.process",
            queue="payments",
        )
    assert event_id
    return look_at(event_id)


def look_at(event_id: str) -> str:
    with transaction() as session:
        return payments.process(session, event_id, TYPES)


def waiting_reason() -> str:
    return str(scalar("SELECT reason FROM inbox_events WHERE state = 'waiting'"))


def test_a_paid_session_opens_an_enrolment_and_its_walk() -> None:
    provider, course = make_course()
    [student] = make_students(1)
    assert arrive(checkout_event(order(student, provider, course))) == "done"
    assert rows("SELECT status FROM partner_lms_enrollments") == [("pending",)]
    assert rows("SELECT kind, queue FROM jobs WHERE kind <> 'payments.process'") == [
        ("enrollment.walk", "enroll.sandbox")
    ]
    assert rows(
        "SELECT state, l.enrollment_id IS NOT NULL FROM payments LEFT JOIN payment_lines l ON l.payment_id = id"
    ) == [("paid", True)]


def test_a_free_session_enrols_too() -> None:
    provider, course = make_course()
    [student] = make_students(1)
    arrive(checkout_event(order(student, provider, course), payment_status="no_payment_required"))
    assert rows("SELECT status FROM partner_lms_enrollments") == [("pending",)]


def test_an_unpaid_session_waits_for_the_payment_and_enrols_once() -> None:
    provider, course = make_course()
    [student] = make_students(1)
    wanted = order(student, provider, course)
    arrive(checkout_event(wanted, payment_status="unpaid", session_id="cs_1"))
    assert rows("SELECT state FROM payments") == [("awaiting",)]
    assert scalar("SELECT count(*) FROM partner_lms_enrollments") == 0
    arrive(checkout_event(wanted, type="checkout.session.async_payment_succeeded", session_id="cs_1"))
    assert rows("SELECT state FROM payments") == [("paid",)]
    assert scalar("SELECT count(*) FROM partner_lms_enrollments") == 1


@pytest.mark.parametrize("type", ["checkout.session.async_payment_failed", "checkout.session.expired"])
def test_a_failed_or_expired_session_never_enrols_and_never_unpays(type: str) -> None:
    provider, course = make_course()
    [student] = make_students(1)
    wanted = order(student, provider, course)
    arrive(checkout_event(wanted, type=type, payment_status="unpaid", session_id="cs_1"))
    assert scalar("SELECT count(*) FROM partner_lms_enrollments") == 0
    arrive(checkout_event(wanted, session_id="cs_1"))
    arrive(checkout_event(wanted, type=type, payment_status="unpaid", session_id="cs_1"))
    assert rows("SELECT state FROM payments") == [("paid",)]


def drop(key: str) -> Callable[[dict[str, str]], None]:
    return lambda metadata: metadata.pop(key) and None


def put(key: str, value: str) -> Callable[[dict[str, str]], None]:
    return lambda metadata: metadata.update({key: value})


UNKNOWN = "2f1c1e9e-6a43-4f0e-9a53-0d9c9f4f5b11"


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (drop("studentId"), "metadata.studentId is missing: expected the uuid of a row in users"),
        (
            drop("partnerId"),
            "metadata.partnerId is missing: expected the uuid of a row in partner_lms_providers",
        ),
        (
            put("courseId", "COURSE-1"),
            "metadata.courseId is not a uuid: expected the uuid of a row in partner_courses",
        ),
        (put("programId", "x"), "metadata.programId is not a uuid: leave it out or give the program's uuid"),
        (put("studentId", UNKNOWN), f"metadata.studentId {UNKNOWN} is not in users"),
        (put("partnerId", UNKNOWN), f"metadata.partnerId {UNKNOWN} is not in partner_lms_providers"),
        (put("courseId", UNKNOWN), f"metadata.courseId {UNKNOWN} is not in partner_courses"),
    ],
)
def test_metadata_that_cannot_be_placed_waits_with_a_readable_reason(
    spoil: Callable[[dict[str, str]], None], expected: str
) -> None:
    provider, course = make_course()
    [student] = make_students(1)
    metadata = order(student, provider, course)
    spoil(metadata)
    assert arrive(checkout_event(metadata)) == "waiting"
    assert waiting_reason() == expected
    assert rows(
        "SELECT state, l.enrollment_id FROM payments LEFT JOIN payment_lines l ON l.payment_id = id"
    ) == [("paid", None)]
    assert rows("SELECT error_message, final FROM partner_lms_enrollment_failures") == [(expected, True)]
    look_at(str(scalar("SELECT id FROM inbox_events")))
    assert scalar("SELECT count(*) FROM partner_lms_enrollment_failures") == 1


@pytest.mark.parametrize("metadata", [None, {}, {"studentId": ""}])
def test_a_session_without_metadata_waits(metadata: dict[str, str] | None) -> None:
    assert arrive(checkout_event(metadata)) == "waiting"
    assert "studentId is missing" in waiting_reason()


def test_an_object_that_is_no_session_waits() -> None:
    body = json.dumps({"id": "evt_1", "type": "checkout.session.completed", "data": {"object": [1]}}).encode()
    assert arrive(body) == "waiting"


def test_a_course_of_another_partner_waits() -> None:
    provider, _ = make_course()
    _, other_course = make_course(code="OTHER")
    [student] = make_students(1)
    assert arrive(checkout_event(order(student, provider, other_course))) == "waiting"
    assert "belongs to partner" in waiting_reason()


def test_staff_complete_a_waiting_event_and_it_goes_on() -> None:
    provider, course = make_course()
    [student] = make_students(1)
    arrive(checkout_event({"partnerId": provider, "courseId": course}))
    event_id = str(scalar("SELECT id FROM inbox_events"))
    with transaction() as session, pytest.raises(NotPossible):
        events.complete(session, event_id, {"colour": "red"}, actor="ops@example.com")
    with transaction() as session:
        events.complete(session, event_id, {"studentId": student}, actor="ops@example.com")
    assert look_at(event_id) == "done"
    assert rows("SELECT status FROM partner_lms_enrollments") == [("pending",)]
    assert rows("SELECT resolved_at IS NOT NULL FROM partner_lms_enrollment_failures") == [(True,)]
    assert rows("SELECT completed_by FROM inbox_events") == [("ops@example.com",)]


def test_a_student_who_is_created_after_paying_is_enrolled_without_help() -> None:
    provider, course = make_course()
    arrive(checkout_event(order(UNKNOWN, provider, course)))
    with transaction() as session:
        session.execute(payments.text("UPDATE jobs SET state = 'done'"))
        session.execute(
            payments.text("INSERT INTO users (id, email) VALUES (:id, 'late@example.com')"), {"id": UNKNOWN}
        )
    with transaction() as session:
        assert payments.reconsider_waiting(session) == 1
    assert look_at(str(scalar("SELECT id FROM inbox_events"))) == "done"
    with transaction() as session:
        assert payments.reconsider_waiting(session) == 0


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        ("UPDATE partner_courses SET active = false", "course Course COURSE-1 (COURSE-1) is not active"),
        ("UPDATE partner_lms_providers SET active = false", "partner Provider sandbox is not active"),
        ("UPDATE partner_lms_providers SET provider_type = 'acme'", "no adapter speaks provider_type 'acme'"),
    ],
)
def test_where_nobody_can_be_enrolled_it_fails_readably_and_can_be_replayed(
    spoil: str, expected: str
) -> None:
    provider, course = make_course()
    [student] = make_students(1)
    with transaction() as session:
        session.execute(payments.text(spoil))
    assert arrive(checkout_event(order(student, provider, course))) == "done"
    [(enrollment_id, status, reason)] = rows("SELECT id, status, failure_reason FROM partner_lms_enrollments")
    assert status == "failed"
    assert reason.startswith(expected)
    assert rows("SELECT final, retry_count FROM partner_lms_enrollment_failures") == [(True, 0)]
    with transaction() as session, pytest.raises(NotPossible, match="nothing would change"):
        enrollments.replay(session, str(enrollment_id), partner_types=TYPES)
    with transaction() as session:
        session.execute(payments.text("UPDATE partner_courses SET active = true"))
        session.execute(
            payments.text("UPDATE partner_lms_providers SET active = true, provider_type = 'sandbox'")
        )
    with transaction() as session:
        enrollments.replay(session, str(enrollment_id), partner_types=TYPES)
    assert rows("SELECT status FROM partner_lms_enrollments") == [("pending",)]
    assert scalar("SELECT count(*) FROM jobs WHERE kind = 'enrollment.walk'") == 1


def test_a_second_payment_for_the_same_seat_adopts_it_and_says_so() -> None:
    provider, course = make_course()
    [student] = make_students(1)
    arrive(checkout_event(order(student, provider, course)))
    arrive(checkout_event(order(student, provider, course)))
    assert scalar("SELECT count(*) FROM partner_lms_enrollments") == 1
    assert scalar("SELECT count(*) FROM jobs WHERE kind = 'enrollment.walk'") == 1
    assert scalar("SELECT count(DISTINCT enrollment_id) FROM payment_lines") == 1
    assert rows("SELECT reason FROM inbox_events WHERE reason IS NOT NULL") == [
        ("already enrolled: this is a second payment for the same seat",)
    ]


def test_the_same_session_told_twice_is_no_second_payment() -> None:
    provider, course = make_course()
    [student] = make_students(1)
    arrive(checkout_event(order(student, provider, course), session_id="cs_1"))
    arrive(checkout_event(order(student, provider, course), session_id="cs_1"))
    assert scalar("SELECT count(*) FROM payments") == 1
    assert rows("SELECT reason FROM inbox_events WHERE reason IS NOT NULL") == []
