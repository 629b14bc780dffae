"""Mails, each once for its key. The Message-ID is made from the key, so a mail that had to be sent again is the same mail."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parseaddr
from functools import lru_cache
from urllib.parse import unquote, urlsplit

import structlog
from sqlalchemy.orm import Session

from db.session import transaction
from domain import alerts, mail_turns, mail_words, mails
from domain.counters import FIRST
from settings import Settings, get_settings
from workers.job import JobRun, StepResult, job, periodic
from workers.verdict import GiveUp, Later

log = structlog.get_logger("tasks.mail")

# Seconds for connecting and for each answer of the mail server.
SMTP_TIMEOUT = 10.0
# The port of message submission (RFC 6409), where the address names none.
SUBMISSION_PORT = 587


@job("mail.send")
def send(run: JobRun) -> None:
    """Compose and send the mail that the job's key names."""
    send_once(run)


@job("mail.notice")
def send_notice(run: JobRun) -> None:
    """Compose and send a mail that older versions do not know: completed, failed, streak."""
    send_once(run)


def send_once(run: JobRun) -> None:
    """Send what the job's key names; nothing where it is not true any more, or not wanted."""
    settings = get_settings()
    mail = run.read(
        lambda session: mails.compose(
            session,
            run.held.business_key,
            run.subject_id,
            app_url=settings.app_url,
            support_email=settings.support_email,
        )
    )
    run.step("send", lambda: deliver(make_message(mail, run.held.id, settings), settings))
    log.info("mail sent", template=run.held.business_key.partition(":")[0])


@job("mail.staff")
def send_to_staff(run: JobRun) -> None:
    """Tell staff what needs somebody; without STAFF_EMAIL the log and the console have to do."""
    settings = get_settings()
    if settings.staff_email is None:
        return
    subject, body = run.read(lambda session: alerts.compose(session, run.held.business_key))
    mail = for_staff(settings.staff_email, subject, body)
    run.step("send", lambda: deliver(make_message(mail, run.held.id, settings), settings))


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


def deliver(message: EmailMessage, settings: Settings) -> StepResult:
    """Hand a message to the mail server. Raises `Later` when it may work later, `GiveUp` when it never will."""
    try:
        with connect(settings.smtp_url.get_secret_value()) as server:
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code = min(code for code, _ in error.recipients.values())
        raise (GiveUp if code >= 500 else Later)(f"the mail server refused the recipient ({code})") from None
    except smtplib.SMTPAuthenticationError as error:
        raise Later(f"the mail server refused our credentials ({error.smtp_code})", after=60.0) from None
    except smtplib.SMTPResponseException as error:
        raise (GiveUp if error.smtp_code in (552, 554) else Later)(
            f"the mail server answered {error.smtp_code}"
        ) from None
    except (OSError, smtplib.SMTPException) as error:
        raise Later(f"the mail server cannot be reached ({type(error).__name__})") from None
    return {}


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Return what mail servers' certificates are checked with; reading the system's takes longer than a whole mail."""
    return ssl.create_default_context()


def connect(url: str) -> smtplib.SMTP:
    """Open a session with the mail server: TLS from the start for smtps, STARTTLS where it is offered."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, parts.port or 465, timeout=SMTP_TIMEOUT, context=tls_context())
    else:
        server = smtplib.SMTP(host, parts.port or SUBMISSION_PORT, timeout=SMTP_TIMEOUT)
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=tls_context())
            server.ehlo()
    if parts.username:
        server.login(unquote(parts.username), unquote(parts.password or ""))
    return server
