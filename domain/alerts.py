"""What staff have to hear about at once, and once."""

from __future__ import annotations

import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs

TELL_STAFF = "mail.staff"

WORDS = {
    "partner_paused": (
        "{0} is paused",
        (
            "The partner {0} refused our credentials, so nothing is asked of it until they work again:\n\n{reason}\n\n"
            "Paid students of this partner wait and lose nothing. Correct the credentials, then: usher partner resume {0} --actor YOUR-ADDRESS\n"
        ),
    ),
}


def tell_staff(session: Session, what: str) -> None:
    """Ask for a mail to staff about `kind:name`. The same thing is told again only when it happened anew."""
    key = f"{what}:{uuid.uuid4()}"
    jobs.enqueue(session, jobs.Enqueue(TELL_STAFF, key, queue="mail", subject_id=str(uuid.uuid4())))


def compose(session: Session, key: str) -> tuple[str, str]:
    """Return subject and text of a mail to staff."""
    kind, name, _ = key.split(":", 2)
    subject, body = WORDS[kind]
    reason = session.scalar(text("SELECT paused_reason FROM partner_states WHERE partner = :p"), {"p": name})
    return subject.format(name), body.format(name, reason=reason or "(resumed meanwhile)")
