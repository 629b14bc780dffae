"""What staff have to hear about at once, and once."""

from __future__ import annotations

import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs
from domain import xp_checks

TELL_STAFF = "mail.staff"
# Seconds for which a run goes on before its mail counts what it found.
RUN_GATHERS = 300.0

WORDS = {
    "partner_paused": (
        "{0} is paused",
        (
            "The partner {0} refused our credentials, so nothing is asked of it until they work again:\n\n{reason}\n\n"
            "Paid students of this partner wait and lose nothing. Correct the credentials, then: usher partner resume {0} --actor YOUR-ADDRESS\n"
        ),
    ),
    "xp_drift": (
        "XP totals differed from the ledger",
        (
            "The nightly proof found users whose XP total or level was not what their ledger says. The ledger counts, "
            "and the totals follow it again. {reason}\n\n"
            "Nothing in Usher does this by itself: look for somebody who wrote to the database by hand, or for a "
            "trigger that was switched off. Each repair is in staff_actions (xp.repair); usher xp verify looks again.\n"
        ),
    ),
}


def tell_staff(session: Session, what: str) -> None:
    """Ask for a mail to staff about `kind:name`. The same thing is told again only when it happened anew."""
    key = f"{what}:{uuid.uuid4()}"
    jobs.enqueue(session, jobs.Enqueue(TELL_STAFF, key, queue="mail", subject_id=str(uuid.uuid4())))


def tell_of_drift(session: Session, run: str) -> None:
    """Ask for one mail about what a run of the XP proof repairs, in the transaction of a repair."""
    wanted = jobs.Enqueue(
        TELL_STAFF, f"xp_drift:nightly:{run}", queue="mail", subject_id=run, delay=RUN_GATHERS
    )
    jobs.enqueue(session, wanted, once=True)


def compose(session: Session, key: str) -> tuple[str, str]:
    """Return subject and text of a mail to staff."""
    kind, name, occasion = key.split(":", 2)
    subject, body = WORDS[kind]
    if kind == "xp_drift":
        reason = xp_checks.describe_run(session, occasion)
    else:
        paused = text("SELECT paused_reason FROM partner_states WHERE partner = :p")
        reason = session.scalar(paused, {"p": name}) or "(resumed meanwhile)"
    return subject.format(name), body.format(name, reason=reason)
