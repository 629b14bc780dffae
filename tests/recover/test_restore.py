"""Drills: a database of two hours ago, a day of webhooks that never came, a broker that is gone. Who judges is outside:
Stripe for what was paid, the partner for who has a seat, the mail server for who was told."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

import settings as settings_module
from api.app import create_app
from db.session import transaction
from domain.users import upsert_user
from partners.registry import get_partner
from tasks.housekeeping import reconsider_waiting
from tests.cli.conftest import Usher
from tests.conftest import Database
from tests.partners.conftest import API_KEY, RunningSandbox
from tests.reconcile.fake_stripe import FakeStripe, Object
from tests.recover.clock import pass_time
from tests.stack import make_course, make_students, order, rows, sign, steady_port
from workers.job import run_due

HOUR = 1 / 24
SEATS = """
    SELECT e.student_id, c.course_code, e.status, e.external_enrollment_id
    FROM partner_lms_enrollments e JOIN partner_courses c ON c.id = e.course_id
"""
LATE_ID = "5f0c6e52-0000-4000-8000-00000000c0de"


class Mailbox:
    """A mail server: counts what it took, by addressee and subject."""

    def __init__(self) -> None:
        self.taken: Counter[tuple[str, str]] = Counter()
        self.server = Controller(self, hostname="127.0.0.1", port=steady_port())
        self.server.start()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await asyncio.sleep(0)
        head = envelope.content.decode().partition("\r\n\r\n")[0]
        [subject] = [line[9:] for line in head.split("\r\n") if line.startswith("Subject: ")]
        self.taken[envelope.rcpt_tos[0], subject] += 1
        return "250 OK"


class School:
    """An installation between a Stripe, a partner and a mail server that remember everything."""

    def __init__(self, fake: FakeStripe, sandbox: RunningSandbox, mailbox: Mailbox) -> None:
        self.fake, self.sandbox, self.mailbox = fake, sandbox, mailbox
        self.http = create_app().test_client()
        self.students = make_students(12)
        self.provider, self.course = make_course()

    def sell(self, student: str, *, hours_ago: float, delivered: bool = True) -> Object:
        """Have a student pay; return the checkout session."""
        asked = order(student, self.provider, self.course)
        body = self.fake.sell(asked, days_ago=hours_ago * HOUR, delivered=delivered)
        if delivered:
            self.deliver(body)
        return self.fake.sessions[-1]

    def pay_back(self, session: Object, *, hours_ago: float, delivered: bool = True) -> None:
        self.fake.refund(session, days_ago=hours_ago * HOUR)
        if delivered:
            self.deliver(json.dumps(self.fake.events[-1]).encode())

    def deliver(self, body: bytes) -> None:
        headers = {"Stripe-Signature": sign(body)}
        assert self.http.post("/api/stripe/webhook", data=body, headers=headers).status_code == 200

    def work(self, kinds: list[str] | None = None) -> None:
        while run_due(kinds):
            pass

    def at_the_partner(self) -> list[tuple[str, str, str]]:
        """Return who has which seat, as the partner tells."""
        state = self.sandbox.state()
        students = {account["id"]: account["reference"] for account in state["accounts"]}
        return sorted(
            (students[seat["account_id"]], seat["course_code"], seat["id"]) for seat in state["enrollments"]
        )

    def at_ours(self) -> list[tuple[Any, ...]]:
        """Return who has which seat, as we tell; of seats that were given back, only that they were."""
        return sorted(
            (student, course, status, seat if status != "revoked" else None)
            for student, course, status, seat in rows(SEATS)
        )


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    yield made
    made.server.stop()


@pytest.fixture
def school(
    fake: FakeStripe,
    running_sandbox: RunningSandbox,
    mailbox: Mailbox,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[School]:
    running_sandbox.request("POST", "/_reset")
    monkeypatch.setenv("SANDBOX_URL", running_sandbox.url)
    monkeypatch.setenv("SANDBOX_API_KEY", API_KEY)
    monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{mailbox.server.port}")
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    from cli.draining import load_kinds  # It makes the Celery app, for which there have to be settings.

    load_kinds()
    yield School(fake, running_sandbox, mailbox)
    get_partner.cache_clear()


def test_a_database_of_two_hours_ago_ends_in_the_same_seats(
    school: School, usher: Usher, tmp_path: Path
) -> None:
    one, two, three, four, five, six, seven, eight = school.students[:8]
    # What the copy knows: six seats, and a payment that nobody has walked yet.
    first = {student: school.sell(student, hours_ago=4) for student in (one, two, three, four, five)}
    school.work()
    school.sell(six, hours_ago=3)
    school.work(["payments.process"])
    file = tmp_path / "usher.dump"
    assert usher("db", "backup", str(file)).code == 0

    told_before = Counter(school.mailbox.taken)
    # What it does not know: two hours with payments, refunds, both, a lost dispute, progress, and a new student.
    school.work()
    school.sell(seven, hours_ago=1.5)
    school.work()
    paid_and_back = school.sell(eight, hours_ago=1.4)
    school.work()
    school.pay_back(paid_and_back, hours_ago=1.3)
    school.pay_back(first[one], hours_ago=1.2)
    school.work()
    school.sell(two, hours_ago=1.15)  # A second payment for the same seat, of which one goes back.
    school.pay_back(first[two], hours_ago=1.1)
    school.pay_back(first[three], hours_ago=1.0)
    school.work()
    school.sell(three, hours_ago=0.9)  # Given back, and bought again: another seat than the copy knows.
    school.work()
    school.fake.dispute(first[four], "lost", days_ago=0.8 * HOUR)
    event = school.fake._happened("charge.dispute.closed", school.fake.disputes[-1], 0.8 * HOUR, True)
    school.deliver(event)
    with transaction() as session:
        upsert_user(session, LATE_ID, "late@example.com", "Late", None)
    school.sell(LATE_ID, hours_ago=0.7)
    school.work()
    ours, theirs = school.at_ours(), school.at_the_partner()
    told_after = school.mailbox.taken - told_before
    assert [status for _, _, status, _ in ours].count("active") == len(theirs) == 6
    given_back = len(school.sandbox.state()["deleted"])

    # The loss, and the order of docs/recovery.md.
    assert usher("db", "restore", str(file), "--force").code == 0
    pass_time(hours=2)
    assert usher("db", "upgrade").code == 0
    assert school.at_ours() != ours
    school.work()
    assert usher("stripe", "reconcile", "--since", "4h").code == 0
    school.work()
    assert len(rows("SELECT id FROM inbox_events WHERE state = 'waiting'")) == 1
    with transaction() as session:
        upsert_user(session, LATE_ID, "late@example.com", "Late", None)
    reconsider_waiting()
    school.work()
    compared = usher("partner", "reconcile", "sandbox", "--json")
    assert compared.code == 0
    school.work()

    # The same seats, by their ids, on both sides; nothing was taken anew, and what was given back stays so.
    assert school.at_the_partner() == theirs
    assert school.at_ours() == ours
    assert len(school.sandbox.state()["deleted"]) == given_back
    assert rows("SELECT kind, last_error FROM jobs WHERE state <> 'done'") == []
    again = usher("partner", "reconcile", "sandbox", "--json").json()
    assert (again["repaired"], again["needs_person"]) == ([], [])
    assert usher("stripe", "reconcile", "--json").json()["repaired"] == []
    # Told a second time: only who was told something after the copy was made, and nobody a third time.
    twice = {mail for mail, count in school.mailbox.taken.items() if count > 1}
    assert max(school.mailbox.taken.values()) <= 2
    assert twice <= set(told_after)


def test_a_seat_that_was_given_back_and_bought_again_after_the_copy_is_found_in_either_order(
    school: School, usher: Usher, tmp_path: Path
) -> None:
    [student] = school.students[:1]
    first = school.sell(student, hours_ago=4)
    school.work()
    file = tmp_path / "usher.dump"
    assert usher("db", "backup", str(file)).code == 0
    school.pay_back(first, hours_ago=1)
    school.work()
    school.sell(student, hours_ago=0.5)
    school.work()
    ours, theirs = school.at_ours(), school.at_the_partner()
    assert usher("db", "restore", str(file), "--force").code == 0
    pass_time(hours=2)
    # Stripe sends the later event first: to the copy the seat was bought twice and paid back once, and never given back.
    for event in school.fake.events[:0:-1]:
        school.deliver(json.dumps(event).encode())
        school.work()
    assert school.at_the_partner() == theirs
    assert school.at_ours() != ours
    found = usher("partner", "reconcile", "sandbox", "--json").json()
    assert [one["kind"] for one in found["repaired"]] == ["seat_moved"]
    assert found["needs_person"] == []
    assert (school.at_ours(), school.at_the_partner()) == (ours, theirs)


def test_a_day_of_webhooks_that_never_came_is_made_up_for_by_the_schedule_alone(school: School) -> None:
    from tasks.reconcile import schedule

    known, *others = school.students[:6]
    session = school.sell(known, hours_ago=30)
    school.work()
    schedule()  # The first comparison, while all is well.
    school.work()
    for number, student in enumerate(others):
        sold = school.sell(student, hours_ago=23 - 4 * number, delivered=False)
        if number == 0:
            school.pay_back(sold, hours_ago=2, delivered=False)
    school.pay_back(session, hours_ago=3, delivered=False)
    assert len(school.at_the_partner()) == 1
    pass_time(hours=1.1)
    schedule()
    school.work()
    seats = school.at_the_partner()
    assert len(seats) == len({student for student, *_ in seats}) == len(others) - 1
    assert Counter(status for _, _, status, _ in school.at_ours()) == {"active": 4, "revoked": 2}
    welcomed = [to for (to, subject), count in school.mailbox.taken.items() if "is ready" in subject]
    assert len(welcomed) == len(set(welcomed)) == len(others)
    assert max(school.mailbox.taken.values()) == 1
