"""Two partners without an API, as an operator configures them, and payments for their courses."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

import settings as settings_module
import tasks.enrollment
import tasks.mail
import tasks.manual
import tasks.payments
import tasks.progress
import tasks.xp  # noqa: F401 - registers the kinds
from api.app import create_app
from db import inbox
from db.session import transaction
from domain import manual_work
from domain.vouchers import Code
from partners.registry import get_partner
from tests.api.conftest import restored_logging
from tests.cli.conftest import usher
from tests.conftest import Database
from tests.stack import checkout_event, make_course, make_students, order, rows, scalar
from workers.job import run_due

__all__ = ["restored_logging", "usher"]

# careersafe hands out vouchers; at cima people set seats up, and its bulk upload has columns of its own.
VOUCHERS = """
adapter: manual
name: CareerSafe
website: https://careersafe.example
verified: {level: manual, against: "nothing to call"}
options:
  mode: vouchers
  instructions: "Register at the website and enter the code."
  expires_days: 365
"""
BY_HAND = """
adapter: manual
name: CIMA
website: https://cima.example/login
verified: {level: manual, against: "nothing to call"}
options:
  mode: work_items
  usual_hours: 48
  export_columns: {"Learner ID": reference, "Given name": first_name, "Surname": last_name, "E-mail": email, "Title": course_code}
"""
WALK, PAY, XP = "enrollment.walk", "payments.process", "xp.award"


@pytest.fixture
def by_hand(
    database: Database, usher_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """A database, and the two partners configured in a folder of the operator's; gives the environment."""
    folder = tmp_path / "partners"
    folder.mkdir()
    (folder / "careersafe.yaml").write_text(VOUCHERS)
    (folder / "cima.yaml").write_text(BY_HAND)
    usher_env["PARTNERS_DIR"] = str(folder)
    monkeypatch.setenv("PARTNERS_DIR", str(folder))
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    yield usher_env
    get_partner.cache_clear()


@pytest.fixture
def app(by_hand: dict[str, str], restored_logging: None) -> Flask:
    """The app on that database."""
    return create_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Somebody who is not signed in."""
    return app.test_client()


class Shop:
    """One partner with one course, and what happens to its payments."""

    def __init__(self, partner: str) -> None:
        self.partner = partner
        self.provider, self.course = make_course(partner, f"{partner.upper()}-1")

    def buy(self, students: list[str]) -> None:
        """Store a paid checkout of each student, as the webhook does."""
        for student in students:
            self.arrive(
                checkout_event(order(student, self.provider, self.course), payment_intent=intent_of(student))
            )

    def buy_one(self) -> str:
        """Have a fresh student buy the course; return the enrolment's id once its walk is over."""
        [student] = make_students(1, prefix=uuid.uuid4().hex)
        self.buy([student])
        work_off()
        return enrollment_of(student)

    def refund(self, enrollment: str) -> None:
        """Have all of the money go back."""
        intent = intent_of(student_of(enrollment))
        charge = {"id": f"ch_{intent}", "payment_intent": intent, "amount": 19900, "amount_refunded": 19900}
        self.arrive(event("charge.refunded", charge))
        work_off()

    def dispute(self, enrollment: str, status: str) -> None:
        """Have the payment's dispute take this status."""
        intent = intent_of(student_of(enrollment))
        dispute = {"id": f"dp_{intent}", "payment_intent": intent, "amount": 19900, "status": status}
        self.arrive(event(f"charge.dispute.{'created' if status == 'needs_response' else 'closed'}", dispute))
        work_off()

    def add(self, *codes: str) -> tuple[int, int]:
        """Add codes to the pool."""
        with transaction() as session:
            return manual_work.stock(
                session,
                self.course,
                [Code(code) for code in codes],
                actor="ops@example.com",
                reason="order 7",
            )

    @staticmethod
    def arrive(body: bytes) -> None:
        """Store an event of Stripe's and its job."""
        found = json.loads(body)
        with transaction() as session:
            inbox.store(
                session,
                source="stripe",
                external_id=found["id"],
                type=found["type"],
                payload=body,
                kind=PAY,
                queue="payments",
            )


@pytest.fixture
def pool(by_hand: dict[str, str]) -> Shop:
    """The partner with vouchers."""
    return Shop("careersafe")


@pytest.fixture
def office(by_hand: dict[str, str]) -> Shop:
    """The partner where people set seats up."""
    return Shop("cima")


def work_off(*kinds: str, threads: int = 1) -> None:
    """Do all jobs of these kinds that are due, as workers do."""
    wanted = list(kinds or (PAY, WALK, XP))

    def work() -> None:
        while run_due(wanted):
            pass

    with ThreadPoolExecutor(threads) as crew:
        for done in [crew.submit(work) for _ in range(threads)]:
            done.result()


def event(type: str, thing: dict[str, object]) -> bytes:
    """Return an event about a charge or a dispute."""
    body = {
        "id": f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "type": type,
        "created": 1,
        "data": {"object": thing},
    }
    return json.dumps(body).encode()


def intent_of(student: str) -> str:
    """Return the payment of a student."""
    return f"pi_{student}"


def student_of(enrollment: str) -> str:
    """Return whose enrolment it is."""
    return str(scalar("SELECT student_id FROM partner_lms_enrollments WHERE id = :id", id=enrollment))


def enrollment_of(student: str) -> str:
    """Return a student's only enrolment."""
    return str(scalar("SELECT id FROM partner_lms_enrollments WHERE student_id = :id", id=student))


def status_of(enrollment: str) -> str:
    """Return an enrolment's status."""
    return str(scalar("SELECT status FROM partner_lms_enrollments WHERE id = :id", id=enrollment))


def items(enrollment: str) -> list[tuple[str, str, str]]:
    """Return (kind, cause, state) of an enrolment's work items, the oldest first."""
    return rows(
        "SELECT kind, cause, state FROM manual_work_items WHERE enrollment_id = :id ORDER BY created_at",
        id=enrollment,
    )


def open_item(enrollment: str) -> str:
    """Return the enrolment's open work item."""
    return str(
        scalar("SELECT id FROM manual_work_items WHERE enrollment_id = :id AND state = 'open'", id=enrollment)
    )


def alerts() -> list[str]:
    """Return what staff were told of, without its occasion."""
    found = rows(
        "SELECT split_part(business_key, ':', 1) FROM jobs WHERE kind = 'mail.staff' ORDER BY created_at"
    )
    return [kind for (kind,) in found]
