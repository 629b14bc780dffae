"""Mails, each once for its key. The Message-ID is made from the key, so a mail that had to be sent again is the same mail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import structlog
from sqlalchemy.orm import Session

from db.jobs import Claim
from db.session import transaction
from domain import alerts, mail_turns, mail_words, mails
from domain.counters import FIRST
from settings import Settings, get_settings
from tasks import smtp
from workers.job import JobRun, StepResult, job, periodic

log = structlog.get_logger("tasks.mail")


def opening(held: Claim, row: Any) -> str | None:
    """Return the step that a mail begins with, where it is known to be wanted."""
    return "send" if mails.is_wanted(held.business_key, row) else None


@job("mail.send", load=mails.load_seats, opening=opening)
def send(run: JobRun) -> None:
    """Compose and send the mail that the job's key names."""
    send_once(run)


@job("mail.notice", load=mails.load_seats, opening=opening)
def send_notice(run: JobRun) -> None:
    """Compose and send a mail that older versions do not know: completed, failed, streak."""
    send_once(run)


def send_once(run: JobRun) -> None:
    """Send what the job's key names; nothing where it is not true any more, or not wanted."""
    settings, key, about = get_settings(), run.held.business_key, run.subject_id
    app_url, support_email = settings.app_url, settings.support_email
    # One that was begun before may have waited since its claim, to work alone: it is read anew.
    if run.subject is not None and not run.has_begun:
        mail = mails.compose_for_seat(key, about, run.subject, app_url=app_url, support_email=support_email)
    else:
        mail = run.read(
            lambda session: mails.compose(session, key, about, app_url=app_url, support_email=support_email)
        )
    run.step("send", lambda: _deliver(mail, run.held.id, settings))
    log.info("mail sent", template=run.held.business_key.partition(":")[0])


@job("mail.staff")
def send_to_staff(run: JobRun) -> None:
    """Tell staff what needs somebody; without STAFF_EMAIL the log and the console have to do."""
    settings = get_settings()
    if settings.staff_email is None:
        return
    subject, body = run.read(lambda session: alerts.compose(session, run.held.business_key))
    mail = for_staff(settings.staff_email, subject, body)
    run.step("send", lambda: _deliver(mail, run.held.id, settings))


@periodic("mail.turn")
def ask_due() -> None:
    """Ask for the mails that nothing asks for at once: streaks at risk, seats that stay failed."""
    now = datetime.now(UTC)
    with transaction() as session:
        calendar = mail_turns.evenings(session, now)
        mail_turns.tell_staff_of_failures(session)
    _in_batches(lambda session, after: mail_turns.remind(session, calendar, after))
    _in_batches(lambda session, after: mail_turns.tell_of_failures(session, now, after))


def _in_batches(turn: Callable[[Session, str], str | None]) -> None:
    """Take turns, each in a transaction of its own, until nobody is left."""
    after: str | None = FIRST
    while after is not None:
        with transaction() as session:
            after = turn(session, after)


def for_staff(to: str, subject: str, body: str) -> mails.Mail:
    """Return a mail to staff."""
    lines = body.strip().split("\n\n")
    letter = mail_words.Letter(subject, subject, lines, "Usher tells staff what needs somebody.")
    plain, html = mails.lay_out(letter)
    return mails.Mail(to, f"[Usher] {' '.join(subject.split())}", plain, html)


def _deliver(mail: mails.Mail, job_id: str, settings: Settings) -> StepResult:
    smtp.deliver(make_message(mail, job_id, settings), settings.smtp_url.get_secret_value())
    return {}


def make_message(mail: mails.Mail, job_id: str, settings: Settings) -> EmailMessage:
    """Return the message with text and HTML."""
    message = EmailMessage()
    domain = parseaddr(settings.mail_from)[1].rpartition("@")[2] or "localhost"
    message["From"] = settings.mail_from
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Message-ID"] = f"<usher-{job_id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    if mail.stop_url is not None:
        # RFC 8058: one POST to the address ends these mails, without a sign-in.
        message["List-Unsubscribe"] = f"<{mail.stop_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    # Said of both parts, so it has to come last: what is set before them moves into the first one.
    message["Content-Language"] = mail.language
    return message
