"""One partner hangs on every call with hundreds of students waiting: what does another partner's student notice?"""

from __future__ import annotations

import time

import requests
from sqlalchemy import text

from bench.cohort import clear
from bench.lab import Lab
from bench.report import SUBJECT, Figure, Plan
from db.session import transaction
from domain import enrollments
from partners.registry import provider_types

UNDISTURBED = "undisturbed"
# Students per second at the healthy partner.
OFFERED = 10.0
SEATS = text(
    """
    WITH partner AS (
        INSERT INTO partner_lms_providers (provider_name, provider_type) VALUES (:type, :type) RETURNING id
    ), course AS (
        INSERT INTO partner_courses (provider_id, course_name, course_code) SELECT id, :code, :code FROM partner
        RETURNING id, provider_id
    ), people AS (
        INSERT INTO users (email) SELECT :type || n || '@example.com' FROM generate_series(1, :count) n RETURNING id
    )
    INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id)
    SELECT course.provider_id, people.id, course.id FROM people CROSS JOIN course RETURNING id
    """
)
# Milliseconds from the moment a student was asked for to the moment the course was open.
TIMES = text(
    """
    SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
        ORDER BY extract(epoch FROM e.launch_checked_at - j.created_at) * 1000)
    FROM partner_lms_enrollments e JOIN jobs j ON j.subject_id = e.id JOIN partner_lms_providers p ON p.id = e.provider_id
    WHERE p.provider_type = 'milady' AND j.kind = 'enrollment.walk' AND e.status = 'active'
    """
)


def run(lab: Lab, plan: Plan) -> None:
    """Measure the healthy partner's students alone, and beside a partner that hangs."""
    lab.start_sandbox()
    lab.start_relay()
    lab.start_worker("worker", "workers", "--without-gossip", "--without-mingle")
    figure = Figure("bulkhead", "payment to active while another partner hangs", "ms")
    for _ in range(plan.rounds):
        for who, waiting in ((UNDISTURBED, 0), (SUBJECT, 100 if plan.quick else 500)):
            clear()
            with transaction() as session:
                session.execute(text("DELETE FROM partner_states"))
            requests.delete(f"{lab.sandbox_url}/_faults", timeout=5)
            p50, p95 = measure(lab, waiting, 50 if plan.quick else 100)
            figure.add(who, p50, p95=p95)
    figure.print()


def measure(lab: Lab, waiting: int, students: int) -> tuple[float, float]:
    """Return the median and the 95th percentile in milliseconds."""
    if waiting:
        fault = {"call": "*", "hang": 60, "times": None, "match": {"course_code": "HANGS"}}
        requests.post(f"{lab.sandbox_url}/_faults", json=fault, timeout=5)
        for seat in open_seats("hsi", "HANGS", waiting):
            start(seat)
        time.sleep(2.0)
    for seat in open_seats("milady", "WORKS", students):
        start(seat)
        time.sleep(1 / OFFERED)
    deadline = time.monotonic() + 60
    while active() < students:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {active()} of {students} students of the healthy partner are active")
        time.sleep(0.1)
    with transaction() as session:
        p50, p95 = session.execute(TIMES).scalar_one()
    return float(p50), float(p95)


def open_seats(partner: str, code: str, count: int) -> list[str]:
    """Insert pending enrolments at a partner; return their ids."""
    with transaction() as session:
        found = session.scalars(SEATS, {"type": partner, "code": code, "count": count})
        return [str(seat) for seat in found]


def start(seat: str) -> None:
    """Ask for an enrolment's walk, as its payment does."""
    with transaction() as session:
        enrollments.begin(session, enrollments.load(session, seat), provider_types())


def active() -> int:
    """Return how many students are active."""
    with transaction() as session:
        count = session.scalar(text("SELECT count(*) FROM partner_lms_enrollments WHERE status = 'active'"))
    return int(count or 0)
