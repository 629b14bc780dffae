"""The demo purchases of `usher run`: one that becomes an active enrolment, one that is refused and waits for staff.

Each goes through the real HTTP endpoint, signed as Stripe signs, and every step is printed when the database shows it.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from sqlalchemy import Row, text

from db.session import transaction
from domain import demo, tokens
from settings import Settings, data_dir
from workers.embedded.console import GREEN, RED, YELLOW, Console
from workers.embedded.demo_checkout import Checkout, make_event, sign
from workers.embedded.env import usher_command
from workers.embedded.supervisor import Supervisor
from workers.services import tail

# Seconds until a purchase has to be an active enrolment, and for the mail after that.
TIME_ALLOWED = 60.0
MAIL_ALLOWED = 10.0
HTTP_TIMEOUT = 10.0

# What is to be seen of a purchase so far. Times are seconds since its event was stored, by PostgreSQL's clock.
STANDING = text(
    """
    SELECT event.id AS event_id, event.state AS event_state, event.reason,
        payment.state AS payment, extract(epoch FROM event.processed_at - event.received_at) AS payment_at,
        e.id AS enrollment_id, e.status, e.failure_reason,
        extract(epoch FROM e.launch_checked_at - event.received_at) AS active_at,
        mail.state AS mail, mail.last_error AS mail_error,
        extract(epoch FROM mail.finished_at - event.received_at) AS mail_at
    FROM inbox_events event
    LEFT JOIN payments payment ON payment.checkout_session_id = :session_id
    LEFT JOIN partner_lms_enrollments e ON e.student_id = :student_id AND e.course_id = :course_id
    LEFT JOIN jobs mail ON mail.kind = 'mail.send' AND mail.business_key = 'welcome:' || e.id || ':' || e.generation
    WHERE event.source = 'stripe' AND event.external_id = :event_id
    """
)
STEPS = text(
    """
    SELECT step, attempt, duration_ms, extract(epoch FROM job_steps.finished_at - event.received_at) AS at
    FROM jobs JOIN job_steps ON job_steps.job_id = jobs.id
    JOIN inbox_events event ON event.source = 'stripe' AND event.external_id = :event_id
    WHERE jobs.kind = 'enrollment.walk' AND jobs.business_key = :enrollment_id AND job_steps.state = 'done'
    """
)
FAILURE = text(
    "SELECT id FROM partner_lms_enrollment_failures WHERE enrollment_id = :id ORDER BY created_at DESC LIMIT 1"
)
LAST_ERROR = text(
    """
    SELECT kind, last_error FROM jobs
    WHERE subject_id = ANY(CAST(:ids AS uuid[])) AND last_error IS NOT NULL ORDER BY updated_at DESC LIMIT 1
    """
)
MILESTONES = ("event stored", "payment", "account", "seat", "launch check", "active")


@dataclass
class Purchase:
    """A checkout, and what was seen so far of what became of it."""

    checkout: Checkout
    seen: set[str] = field(default_factory=set)
    standing: Row[Any] | None = None


def drive(supervisor: Supervisor, settings: Settings) -> bool:
    """Drive both purchases; return whether the first became an active enrolment that can be launched."""
    supervisor.console.head("A purchase")
    purchase = _make_purchase("SBX-101")
    worked = _buy(supervisor, settings, purchase, "active") and _try_launch(
        supervisor.console, settings, purchase
    )
    if worked:
        _await_mail(supervisor, purchase)
    supervisor.console.head("A purchase that the partner refuses")
    if os.environ.get("SANDBOX_URL") != f"http://127.0.0.1:{settings.sandbox_port}":
        supervisor.console.say("  Left out: the sandbox that SANDBOX_URL names is not ours to break.")
    else:
        _show_refusal(supervisor, settings)
    return worked


def _make_purchase(course: str) -> Purchase:
    with transaction() as session:
        return Purchase(Checkout(*demo.make_buyer(session), course))


def _buy(supervisor: Supervisor, settings: Settings, purchase: Purchase, wanted: str) -> bool:
    """Post the webhook and show each step until the enrolment has the wanted status; say why where it has not."""
    console = supervisor.console
    if not _post(console, settings, purchase):
        return False

    def settled() -> bool:
        _look(console, purchase)
        standing = purchase.standing
        return standing is not None and (
            standing.status in ("active", "failed") or standing.event_state in ("waiting", "failed")
        )

    supervisor.wait(settled, TIME_ALLOWED)
    if purchase.standing is not None and purchase.standing.status == wanted:
        return True
    _explain(console, purchase)
    return False


def _post(console: Console, settings: Settings, purchase: Purchase) -> bool:
    at = int(time.time())
    payload = json.dumps(make_event(purchase.checkout, at), indent=2).encode()
    secret = settings.stripe_webhook_secret[0].get_secret_value()
    headers = {
        "Stripe-Signature": sign(payload, secret, at),
        "Content-Type": "application/json; charset=utf-8",
    }
    started = time.monotonic()
    try:
        answer = requests.post(
            f"http://127.0.0.1:{settings.port}/api/stripe/webhook",
            payload,
            headers=headers,
            timeout=HTTP_TIMEOUT,
        )
    except requests.RequestException as error:
        console.item("webhook", f"got no answer: {type(error).__name__}", RED)
        return False
    took = (time.monotonic() - started) * 1000
    console.item("webhook", f"answered {answer.status_code} in {took:.0f} ms", GREEN if answer.ok else RED)
    return answer.ok


def _look(console: Console, purchase: Purchase) -> None:
    """Read where the purchase stands and print what is new."""
    checkout = purchase.checkout
    keys = {
        "event_id": checkout.event_id,
        "session_id": checkout.session_id,
        "student_id": checkout.student_id,
        "course_id": demo.course_id(checkout.course),
    }
    with transaction() as session:
        row = session.execute(STANDING, keys).one_or_none()
        found = {
            "event_id": purchase.checkout.event_id,
            "enrollment_id": None if row is None else str(row.enrollment_id),
        }
        steps = {} if row is None else {step.step: step for step in session.execute(STEPS, found)}
    purchase.standing = row
    if row is None:
        return
    _once(console, purchase, "event stored", 0.0, f"as {checkout.event_id}")
    if row.payment is not None and row.payment_at is not None:
        _once(console, purchase, "payment", row.payment_at, f"decided: {row.payment}")
    for name in ("account", "seat", "launch_check"):
        if name in steps:
            step = steps[name]
            note = f"{step.duration_ms} ms at the partner" + (
                f", attempt {step.attempt}" if step.attempt > 1 else ""
            )
            _once(console, purchase, name.replace("_", " "), step.at, note)
    if row.status == "active":
        # The transaction that says so began before the step that it closes.
        at = max(row.active_at, *(step.at for step in steps.values()))
        _once(console, purchase, "active", at, f"enrolment {row.enrollment_id}")


def _once(console: Console, purchase: Purchase, label: str, at: float, note: str) -> None:
    if label not in purchase.seen:
        purchase.seen.add(label)
        console.item(label, f"{float(at):6.2f} s  {note}")


def _try_launch(console: Console, settings: Settings, purchase: Purchase) -> bool:
    """Click the launch link as the student; say where it leads, never the whole address, which is a credential."""
    assert purchase.standing is not None  # noqa: S101
    with transaction() as session:
        token, token_id = tokens.mint(session, "student", purchase.checkout.email, 1)
    try:
        answer = requests.get(
            f"http://127.0.0.1:{settings.port}/api/partner-launch/{purchase.standing.enrollment_id}",
            headers={"Authorization": f"Bearer {token}"},
            allow_redirects=False,
            timeout=HTTP_TIMEOUT,
        )
    except requests.RequestException as error:
        console.item("launch link", f"got no answer: {type(error).__name__}", RED)
        return False
    finally:
        with transaction() as session:
            tokens.revoke(session, token_id)
    host = urlsplit(answer.headers.get("Location", "")).netloc
    if answer.status_code == 302 and host:
        console.item("launch link", f"answers a redirect to {host}")
        return True
    console.item("launch link", f"answered {answer.status_code} instead of a redirect; see api.log", RED)
    return False


def _await_mail(supervisor: Supervisor, purchase: Purchase) -> None:
    console = supervisor.console

    def sent() -> bool:
        _look(console, purchase)
        return purchase.standing is not None and purchase.standing.mail in ("done", "failed", "parked")

    supervisor.wait(sent, MAIL_ALLOWED)
    standing = purchase.standing
    if standing is not None and standing.mail == "done":
        _once(console, purchase, "welcome mail", standing.mail_at, f"to {purchase.checkout.email}")
    else:
        error = standing.mail_error if standing is not None else None
        console.item(
            "welcome mail", f"not sent yet, and will be tried again: {error or 'no attempt so far'}", YELLOW
        )


def _show_refusal(supervisor: Supervisor, settings: Settings) -> None:
    console = supervisor.console
    fault = {
        "call": "POST /enrollments",
        "status": 422,
        "message": "Course is full (demo)",
        "times": 1,
        "match": {"course_code": demo.FULL_COURSE},
    }
    try:
        told = requests.post(f"{settings.sandbox_url}/_faults", json=fault, timeout=HTTP_TIMEOUT)
        told.raise_for_status()
    except requests.RequestException as error:
        console.warn(f"left out: the sandbox did not take the fault ({type(error).__name__})")
        return
    purchase = _make_purchase(demo.FULL_COURSE)
    if not _buy(supervisor, settings, purchase, "failed") or purchase.standing is None:
        return
    console.item("refused", f"waits for staff: {purchase.standing.failure_reason}", YELLOW)
    with transaction() as session:
        failure = session.execute(FAILURE, {"id": purchase.standing.enrollment_id}).scalar()
    console.item("see it", f"{usher_command()} failures list", YELLOW)
    if failure is not None:
        console.item("replay it", f"{usher_command()} failures retry {failure}", YELLOW)


def _explain(console: Console, purchase: Purchase) -> None:
    """Say which step is missing, what went wrong last, and what the process that should have done it said."""
    missing = next((name for name in MILESTONES if name not in purchase.seen), "active")
    standing = purchase.standing
    state = "unknown" if standing is None else standing.status or standing.event_state
    console.item("failed", f"the step '{missing}' is missing; the purchase is {state}", RED)
    reason = _last_error(purchase)
    if reason:
        console.item("last error", reason, RED)
    for name in ("api",) if missing == "event stored" else ("relay", "worker"):
        console.say(f"  {name}.log ends:")
        console.quote(tail(data_dir() / "logs" / f"{name}.log", 6))


def _last_error(purchase: Purchase) -> str | None:
    standing = purchase.standing
    if standing is None:
        return None
    ids = [str(id) for id in (standing.event_id, standing.enrollment_id) if id is not None]
    with transaction() as session:
        row = session.execute(LAST_ERROR, {"ids": ids}).one_or_none()
    return standing.reason if row is None else f"{row.kind}: {row.last_error}"
