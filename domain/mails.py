"""What the mails say: subject, plain text and HTML of each, from what is in the database."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from sqlalchemy import text
from sqlalchemy.orm import Session

from domain.errors import NoLongerWanted, NotFound

TEMPLATES = Path(__file__).parent / "mail_templates"

# In which statuses of the enrolment each mail says the truth.
TRUE_WHILE = {
    "welcome": ("active", "completed"),
    "restored": ("active", "completed"),
    "revoked": ("revoked",),
}

LOAD = text(
    """
    SELECT e.id, e.status, e.generation, u.email, u.name, c.course_name, c.hours, p.provider_name, p.support_email
    FROM partner_lms_enrollments e
    JOIN users u ON u.id = e.student_id
    JOIN partner_courses c ON c.id = e.course_id
    JOIN partner_lms_providers p ON p.id = e.provider_id
    WHERE e.id = :id
    """
)
CERTIFICATE = "certificate"
LOAD_CERTIFICATE = text(
    """
    SELECT k.status, k.name, k.course_title, k.certificate_url, u.email
    FROM certificates k JOIN users u ON u.id = k.user_id WHERE k.id = :id
    """
)


@dataclass(frozen=True)
class Mail:
    """A mail that is ready to be sent to one person."""

    to: str
    subject: str
    text: str
    html: str


def compose(
    session: Session, key: str, enrollment_id: str, *, app_url: str, support_email: str | None
) -> Mail:
    """Return the mail that a key asks for (`welcome:{enrollment}:{generation}`, `certificate:{id}`).

    Raises `NotFound` for an unknown key, `NoLongerWanted` when what it would say is not true any more.
    """
    template, _, rest = key.partition(":")
    if template == CERTIFICATE:
        return _compose_certificate(session, rest, app_url=app_url, support_email=support_email)
    row = session.execute(LOAD, {"id": enrollment_id}).one_or_none()
    if row is None or template not in TRUE_WHILE:
        raise NotFound(f"there is no mail {template!r} for enrolment {enrollment_id}")
    if row.status not in TRUE_WHILE[template] or rest != f"{enrollment_id}:{row.generation}":
        raise NoLongerWanted(f"the enrolment is {row.status}, so the mail {template} would not be true")
    values = {
        "name": row.name or row.email,
        "course_name": row.course_name,
        "provider_name": row.provider_name,
        "hours": row.hours,
        "launch_url": f"{app_url}/api/partner-launch/{enrollment_id}",
        "dashboard_url": f"{app_url}/dashboard",
        "support_email": support_email or row.support_email,
    }
    return _render(template, row.email, values)


def _compose_certificate(session: Session, id: str, *, app_url: str, support_email: str | None) -> Mail:
    row = session.execute(LOAD_CERTIFICATE, {"id": id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no certificate {id}")
    if row.status != "valid":
        raise NoLongerWanted(f"the certificate is {row.status}")
    values = {
        "name": row.name,
        "course_name": row.course_title,
        "pdf_url": f"{app_url}/api/certificates/{id}/pdf",
        "verify_url": f"{app_url}{row.certificate_url}",
        "support_email": support_email,
    }
    return _render(CERTIFICATE, row.email, values)


def _render(template: str, to: str, values: dict[str, Any]) -> Mail:
    subject, _, body = _environment().get_template(f"{template}.txt").render(values).partition("\n")
    html = _environment().get_template(f"{template}.html").render(values, subject=subject)
    return Mail(to, subject.removeprefix("Subject: ").strip(), body.strip() + "\n", html)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
