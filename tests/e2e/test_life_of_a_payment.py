"""Refunds and disputes, in any order and at any moment, end like the true order: here and at the partner."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import settings as settings_module
from db import inbox
from db.session import transaction
from domain import progress, student_view
from partners.registry import get_partner
from tests.stack import Stack, checkout_event, make_course, order, rows, scalar
from workers.job import run_due

pytestmark = pytest.mark.e2e


@pytest.fixture
def partner(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A sandbox; the jobs are worked in this process."""
    import tasks.enrollment
    import tasks.payments  # noqa: F401 - registers the kinds

    stack.start_sandbox()
    for name in ("SANDBOX_URL", "SANDBOX_API_KEY"):
        monkeypatch.setenv(name, stack.env[name])
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    yield stack
    get_partner.cache_clear()


class Purchase:
    """One student's payment for some courses, and the events that tell of it."""

    def __init__(self, courses: Sequence[tuple[str, str]], amounts: str | None = None) -> None:
        [self.student] = [
            str(scalar("INSERT INTO users (email) VALUES (:e) RETURNING id", e=f"{uuid.uuid4()}@example.com"))
        ]
        self.metadata = order(self.student, ",".join(p for p, _ in courses), ",".join(c for _, c in courses))
        if amounts:
            self.metadata["amounts"] = amounts
        self.session, self.intent = f"cs_{uuid.uuid4().hex}", f"pi_{uuid.uuid4().hex}"
        self.total = 19900

    def checkout(self, type: str = "completed", status: str = "paid") -> bytes:
        body = json.loads(
            checkout_event(
                self.metadata, type=f"checkout.session.{type}", payment_status=status, session_id=self.session
            )
        )
        body["data"]["object"] |= {"payment_intent": self.intent, "amount_total": self.total}
        return json.dumps(body).encode()

    def tell(self, type: str, **fields: Any) -> bytes:
        found = {"id": f"x_{self.intent}", "payment_intent": self.intent, **fields}
        return json.dumps(
            {"id": f"evt_{uuid.uuid4().hex}", "object": "event", "type": type, "data": {"object": found}}
        ).encode()

    def refund(
        self, amount: int | None = None, status: str = "succeeded", id: str = "re", **more: Any
    ) -> bytes:
        return self.tell(
            "refund.updated", id=f"{id}_{self.intent}", amount=amount or self.total, status=status, **more
        )

    def dispute(self, status: str) -> bytes:
        return self.tell("charge.dispute.updated", id=f"dp_{self.intent}", status=status)

    def statuses(self) -> list[str]:
        return [
            row[0]
            for row in rows(
                "SELECT status FROM partner_lms_enrollments WHERE student_id = :s ORDER BY course_id",
                s=self.student,
            )
        ]


def arrive(*bodies: bytes) -> None:
    """Store events as the webhook does."""
    for body in bodies:
        event = json.loads(body)
        with transaction() as session:
            inbox.store(
                session,
                source="stripe",
                external_id=event["id"],
                type=event["type"],
                payload=body,
                kind="payments.process",
                queue="payments",
            )


def work() -> None:
    """Do everything that is due."""
    while run_due(["payments.process", "enrollment.walk"]):
        pass


def seats(stack: Stack, student: str) -> int:
    state = stack.sandbox_state()
    mine = {account["id"] for account in state["accounts"] if account["reference"] == f"usher-{student}"}
    return sum(1 for seat in state["enrollments"] if seat["account_id"] in mine)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    # An example is a dozen real transactions and calls: a failing one is short enough as it was found.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(data=st.data())
def test_any_order_with_duplicates_ends_like_the_true_order(partner: Stack, data: st.DataObject) -> None:
    """Of {completed(unpaid), async_succeeded, refund, dispute opened, dispute won | lost}, any subset that pays."""
    if not rows("SELECT 1 FROM partner_courses"):
        make_course()
    [course] = rows("SELECT provider_id, id FROM partner_courses")
    purchase = Purchase([course])
    outcome = data.draw(st.sampled_from(["won", "lost"]))
    told = {
        "unpaid": purchase.checkout(status="unpaid"),
        "paid": purchase.checkout("async_payment_succeeded"),
        "refund": purchase.refund(),
        "opened": purchase.dispute("needs_response"),
        "closed": purchase.dispute(outcome),
    }
    optional = data.draw(st.sets(st.sampled_from(["refund", "opened", "closed"])))
    chosen = ["unpaid", "paid", *sorted(optional)]
    deliveries = data.draw(st.permutations(chosen * 2))
    for name in deliveries:
        body = json.loads(told[name])
        # Stripe may also make two events of one change: the copy has an id of its own.
        body["id"] = f"evt_{uuid.uuid4().hex}"
        arrive(json.dumps(body).encode())
        if data.draw(st.booleans()):
            work()
    work()
    if "refund" in optional or ("closed" in optional and outcome == "lost"):
        expected = "revoked"
    elif "opened" in optional and "closed" not in optional:
        expected = "suspended"
    else:
        expected = "active"
    assert purchase.statuses() == [expected]
    if expected == "active":
        assert seats(partner, purchase.student) == 1
    elif expected == "revoked":
        assert seats(partner, purchase.student) == 0
    assert (
        scalar(
            "SELECT count(*) FROM jobs WHERE state <> 'done' AND kind IN ('payments.process', 'enrollment.walk')"
        )
        == 0
    )


@pytest.mark.parametrize("method", ["create_account", "enroll_in_course", "launch"])
def test_a_refund_in_the_middle_of_the_walk_ends_revoked_and_seatless(
    partner: Stack, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The refund is processed while the partner is being asked."""
    purchase = Purchase([make_course()])
    adapter = get_partner("sandbox")
    real = getattr(adapter, method)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(adapter, method, real)
        arrive(purchase.refund())
        assert run_due(["payments.process"])
        return real(*args, **kwargs)

    monkeypatch.setattr(adapter, method, interrupted)
    arrive(purchase.checkout())
    work()
    assert purchase.statuses() == ["revoked"]
    assert seats(partner, purchase.student) == 0


def test_a_failed_refund_restores_the_seat(partner: Stack) -> None:
    purchase = Purchase([make_course()])
    arrive(purchase.checkout())
    work()
    arrive(purchase.refund(status="pending"))
    work()
    assert (purchase.statuses(), seats(partner, purchase.student)) == (["revoked"], 0)
    arrive(purchase.refund(status="failed"))
    work()
    assert (purchase.statuses(), seats(partner, purchase.student)) == (["active"], 1)
    arrive(purchase.refund(status="succeeded"))
    work()
    assert purchase.statuses() == ["active"], "a status that is behind is old news"


def test_a_refund_of_one_line_revokes_that_course_only(partner: Stack) -> None:
    provider, first = make_course()
    _, second = (
        provider,
        str(
            scalar(
                "INSERT INTO partner_courses (provider_id, course_name, course_code) VALUES (:p, 'Two', 'COURSE-2') RETURNING id",
                p=provider,
            )
        ),
    )
    purchase = Purchase([(provider, first), (provider, second)], amounts="9900,10000")
    arrive(purchase.checkout())
    work()
    assert purchase.statuses() == ["active", "active"]
    assert seats(partner, purchase.student) == 2
    arrive(purchase.refund(5000))
    work()
    assert purchase.statuses() == ["active", "active"]
    [(event_id, reason)] = rows("SELECT id, reason FROM inbox_events WHERE state = 'waiting'")
    assert "say for which" in reason
    from domain import events

    with transaction() as session:
        events.complete(session, event_id, {"courseId": second}, actor="ops@example.com")
    work()
    assert dict(rows("SELECT course_id, status FROM partner_lms_enrollments")) == {
        first: "active",
        second: "revoked",
    }
    assert seats(partner, purchase.student) == 1


def test_refunding_the_second_of_two_payments_for_a_seat_leaves_it(partner: Stack) -> None:
    course = make_course()
    first, second = Purchase([course]), Purchase([course])
    second.metadata["studentId"] = first.student
    arrive(first.checkout(), second.checkout())
    work()
    assert rows("SELECT count(*) FROM inbox_events WHERE reason LIKE 'already enrolled%'") == [(1,)]
    arrive(second.refund())
    work()
    assert (first.statuses(), seats(partner, first.student)) == (["active"], 1)
    arrive(first.refund())
    work()
    assert (first.statuses(), seats(partner, first.student)) == (["revoked"], 0)


def test_buying_again_after_a_refund_opens_a_new_seat(partner: Stack) -> None:
    course = make_course()
    first, second = Purchase([course]), Purchase([course])
    second.metadata["studentId"] = first.student
    arrive(first.checkout())
    work()
    arrive(first.refund())
    work()
    arrive(second.checkout())
    work()
    assert (first.statuses(), seats(partner, first.student)) == (["active"], 1)
    assert len(partner.sandbox_state()["deleted"]) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (("charge.dispute.updated", {"status": "haunted"}), "which we do not know"),
        (("refund.updated", {"status": "haunted", "amount": 1}), "which we do not know"),
        (
            ("charge.refunded", {"payment_intent": None, "amount": 1, "amount_refunded": 1}),
            "no payment_intent",
        ),
    ],
)
def test_what_we_do_not_know_waits_for_a_person(
    partner: Stack, body: tuple[str, dict[str, Any]], reason: str
) -> None:
    purchase = Purchase([make_course()])
    arrive(purchase.checkout(), purchase.tell(body[0], **body[1]))
    work()
    assert purchase.statuses() == ["active"]
    assert reason in str(scalar("SELECT reason FROM inbox_events WHERE state = 'waiting'"))


def test_money_of_other_products_changes_nothing(partner: Stack) -> None:
    other = Purchase([make_course()])
    arrive(other.refund(), other.dispute("lost"))
    work()
    assert rows("SELECT DISTINCT state, reason FROM inbox_events") == [("done", "no checkout of ours (yet)")]


def test_a_certificate_does_not_stand_while_its_seat_is_not_paid_for(partner: Stack) -> None:
    purchase = Purchase([make_course()])
    arrive(purchase.checkout())
    work()
    [(seat,)] = rows("SELECT id FROM partner_lms_enrollments")
    with transaction() as session:
        session.execute(
            progress.text("UPDATE partner_lms_enrollments SET status = 'completed', completed_at = now()")
        )
        progress.save_certificate(
            session, seat, number="C-1", url=None, verification_url=None, issued_at=None, expires_at=None
        )

    def shown() -> list[bool]:
        with transaction() as session:
            page = student_view.list_enrollments(session, purchase.student, limit=10, cursor=None)
        return [item.certificate is not None for item in page.items]

    assert shown() == [True]
    arrive(purchase.dispute("needs_response"))
    work()
    assert (purchase.statuses(), shown()) == (["suspended"], [True])
    arrive(purchase.dispute("lost"))
    work()
    assert (purchase.statuses(), shown()) == (["revoked"], [False])
    arrive(purchase.dispute("won"))
    work()
    assert (purchase.statuses(), shown()) == (["active"], [True])
