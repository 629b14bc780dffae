"""What is mailed to students: who gets which mail, in their language, and only while it says the truth.

A mail's key says which it is: `welcome:{enrollment}:{generation}` (also restored, revoked, completed, failed),
`certificate:{id}`, `streak:{user}:{date}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from db import lean
from domain import mail_consent, mail_languages, mail_words, streak_store, users
from domain.errors import NoLongerWanted, NotFound
from domain.student_view import failure_reference, web_address

# In which statuses of the enrolment each mail says the truth.
TRUE_WHILE = {
    "welcome": ("active", "completed"),
    "restored": ("active", "completed"),
    "revoked": ("revoked",),
    "completed": ("completed",),
    "failed": ("failed",),
}
CERTIFICATE, STREAK = "certificate", "streak"

LOAD = lean.Statement(
    "load_mails",
    """
    SELECT e.id AS enrollment_id, e.status, e.generation, u.id AS user_id, u.email, u.name, u.locale, u.wants_progress_mail, c.course_name,
        p.provider_name, p.support_email, k.certificate_number, k.certificate_url
    FROM partner_lms_enrollments e
    JOIN users u ON u.id = e.student_id
    JOIN partner_courses c ON c.id = e.course_id
    JOIN partner_lms_providers p ON p.id = e.provider_id
    LEFT JOIN partner_certificates k ON k.enrollment_id = e.id AND k.revoked_at IS NULL
    WHERE e.id = ANY({ids})
    """,
    ids="uuid[]",
)
LOAD_CERTIFICATE = text(
    """
    SELECT k.status, k.name, k.course_title, k.certificate_url, u.id AS user_id, u.email, u.locale, u.wants_progress_mail
    FROM certificates k JOIN users u ON u.id = k.user_id WHERE k.id = :id
    """
)
LOAD_LEARNER = text(
    "SELECT id AS user_id, email, name, locale, wants_streak_mail FROM users WHERE id = CAST(:id AS uuid)"
)


@dataclass(frozen=True)
class Mail:
    """A mail that is ready to be sent to one person. `stop_url` ends mails of its kind, None where none may be ended."""

    to: str
    subject: str
    text: str
    html: str
    language: str = "en"
    stop_url: str | None = None


def compose(session: Session, key: str, subject_id: str, *, app_url: str, support_email: str | None) -> Mail:
    """Return the mail that a key asks for; `subject_id` is the enrolment's, the certificate's or the user's id.

    Raises `NotFound` for an unknown key, `NoLongerWanted` when what it would say is not true any more, or its reader
    does not want mails of its kind.
    """
    kind, _, rest = key.partition(":")
    if kind == CERTIFICATE:
        row, values = _certificate(session, rest, app_url)
    elif kind == STREAK:
        row, values = _streak(session, rest)
    else:
        seat = load_seats(session, [subject_id]).get(subject_id)
        return compose_for_seat(key, subject_id, seat, app_url=app_url, support_email=support_email)
    return _write(kind, row, values, app_url, support_email)


def load_seats(session: Session, enrollment_ids: Sequence[str]) -> dict[str, Any]:
    """Return what mails about these enrolments say, by their ids, as far as they exist."""
    return {row.enrollment_id: row for row in lean.execute(session, LOAD, {"ids": list(enrollment_ids)})}


def compose_for_seat(
    key: str, enrollment_id: str, row: Any, *, app_url: str, support_email: str | None
) -> Mail:
    """Return a mail about an enrolment, from what `load_seats` found; raises as `compose` does."""
    kind = key.partition(":")[0]
    if row is None or kind not in TRUE_WHILE:
        raise NotFound(f"there is no mail {kind!r} for enrolment {enrollment_id}")
    if not _is_true(key, row):
        raise NoLongerWanted(f"the enrolment is {row.status}, so the mail {kind} would not be true")
    values = {
        "name": row.name or row.email,
        "course": row.course_name,
        "provider": row.provider_name,
        "launch_url": f"{app_url}/api/partner-launch/{enrollment_id}",
        "support_email": row.support_email,
        "reference": failure_reference(enrollment_id),
        "certificate_number": row.certificate_number,
        "certificate_url": web_address(row.certificate_url),
    }
    return _write(kind, row, values, app_url, support_email)


def is_wanted(key: str, row: Any) -> bool:
    """Say whether the mail that a key asks for about an enrolment is to be sent, as far as is known just now."""
    return _is_true(key, row) and _reason_against(key.partition(":")[0], row) is None


def _is_true(key: str, row: Any) -> bool:
    kind, _, rest = key.partition(":")
    return row.status in TRUE_WHILE.get(kind, ()) and rest == f"{row.enrollment_id}:{row.generation}"


def _reason_against(kind: str, row: Any) -> str | None:
    """Return why the reader is to get no mails of this kind."""
    if users.is_erased(row.email):
        return "the person was erased"
    topic = mail_consent.TOPICS.get(kind)
    if topic is None or getattr(row, mail_consent.COLUMNS[topic]):
        return None
    return f"mails about {topic} are not wanted"


def _write(kind: str, row: Any, values: dict[str, Any], app_url: str, support_email: str | None) -> Mail:
    if (reason := _reason_against(kind, row)) is not None:
        raise NoLongerWanted(reason)
    values["dashboard_url"] = f"{app_url}/dashboard"
    if support_email or values.get("support_email"):
        values["support_email"] = support_email or values["support_email"]
    topic = mail_consent.TOPICS.get(kind)
    if topic is None:
        return render(kind, row.locale, row.email, values)
    token = mail_consent.make_token(str(row.user_id), topic)
    return render(kind, row.locale, row.email, values, stop_url=f"{app_url}/mail/unsubscribe/{token}")


def render(
    kind: str, locale: str | None, to: str, values: dict[str, Any], *, stop_url: str | None = None
) -> Mail:
    """Return a mail of a kind in a language."""
    language = mail_languages.pick(locale)
    letter = mail_words.write(
        kind, language, {name: str(value) for name, value in values.items() if value is not None}
    )
    stop = None if stop_url is None else mail_words.Link(mail_words.stop_words(kind, language), stop_url)
    plain, html = lay_out(letter, language.name, stop)
    # A header is one line, whatever a course's name holds.
    return Mail(to, " ".join(letter.subject.split()), plain, html, language.name, stop_url)


def lay_out(
    letter: mail_words.Letter, language: str = "en", stop: mail_words.Link | None = None
) -> tuple[str, str]:
    """Return a letter as plain text and as HTML."""
    names = {"letter": letter, "language": language, "stop": stop}
    plain, html = (_environment().get_template(f"layout.{form}").render(names) for form in ("txt", "html"))
    return plain, html


def _certificate(session: Session, id: str, app_url: str) -> tuple[Row[Any], dict[str, Any]]:
    row = session.execute(LOAD_CERTIFICATE, {"id": id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no certificate {id}")
    if row.status != "valid":
        raise NoLongerWanted(f"the certificate is {row.status}")
    return row, {
        "name": row.name,
        "course": row.course_title,
        "pdf_url": f"{app_url}/api/certificates/{id}/pdf",
        "verify_url": f"{app_url}{row.certificate_url}",
    }


def _streak(session: Session, rest: str) -> tuple[Row[Any], dict[str, Any]]:
    user_id, _, day = rest.partition(":")
    row = session.execute(LOAD_LEARNER, {"id": user_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no user {user_id}")
    standing = streak_store.look(session, user_id)
    if not standing.state.at_risk or str(standing.today) != day:
        raise NoLongerWanted("the streak is not at risk any more, or the day is over")
    freezes = standing.state.freezes_available
    return row, {"name": row.name or row.email, "days": standing.state.current, "freezes": freezes}


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(mail_languages.CATALOGS),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
