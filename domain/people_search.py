"""Finding people for staff: by address, by what Stripe or a partner calls them, by our own ids."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

Row = dict[str, Any]

# Characters of what is looked for.
WANTED_MAX = 254
# Stripe's customers are in the stored events only; the newest are looked through.
EVENTS = 5000
# The largest code point: where a range of everything with one beginning ends.
END = chr(0x10FFFF)

SEATS_OF = "(SELECT count(*) FROM partner_lms_enrollments s WHERE s.student_id = u.id)"
# The range walks the index; whatever the collation lets through beyond it, the comparison of letters leaves out.
BY_EMAIL = """
    SELECT u.id FROM users u
    WHERE lower(u.email) >= lower(:wanted) AND lower(u.email) < lower(:wanted) || :end
        AND starts_with(lower(u.email), lower(:wanted)) AND lower(u.email) > :after
    ORDER BY lower(u.email) LIMIT :limit
"""
OF_PAYMENT = """
    SELECT e.student_id AS id FROM payments y JOIN payment_lines l ON l.payment_id = y.id
    JOIN partner_lms_enrollments e ON e.id = l.enrollment_id WHERE {condition}
"""
OF_CUSTOMER = f"""
    SELECT DISTINCT e.student_id AS id
    FROM (SELECT id, payload FROM inbox_events WHERE source = 'stripe' ORDER BY received_at DESC LIMIT {EVENTS}) AS v
    JOIN payments y ON y.event_id = v.id JOIN payment_lines l ON l.payment_id = y.id
    JOIN partner_lms_enrollments e ON e.id = l.enrollment_id
    WHERE position(convert_to('"' || :wanted || '"', 'UTF8') IN v.payload) > 0
"""  # noqa: S608
BY_PARTNER = """
    SELECT s.student_id AS id FROM partner_lms_providers q JOIN partner_lms_enrollments s
        ON s.provider_id = q.id AND s.external_enrollment_id = :wanted
    UNION SELECT s.student_id FROM partner_lms_enrollments s WHERE s.external_account_id = :wanted
"""
BY_OWN_ID = """
    SELECT id FROM users WHERE id = CAST(:wanted AS uuid)
    UNION SELECT student_id FROM partner_lms_enrollments WHERE id = CAST(:wanted AS uuid)
    UNION SELECT user_id FROM enrollments WHERE id = CAST(:wanted AS uuid)
    UNION SELECT user_id FROM certificates WHERE id = CAST(:wanted AS uuid)
    UNION SELECT user_id FROM xp_transactions WHERE id = CAST(:wanted AS uuid)
"""
BY_STRIPE = {
    "cs_": OF_PAYMENT.format(condition="y.checkout_session_id = :wanted"),
    "pi_": OF_PAYMENT.format(condition="y.payment_intent_id = :wanted"),
    "cus_": OF_CUSTOMER,
}
PEOPLE = """
    SELECT u.id, u.email, u.name, u.created_at, u.total_xp, u.level, {seats} AS seats
    FROM users u WHERE u.id IN ({found}) ORDER BY lower(u.email) LIMIT :limit
"""


def find(session: Session, wanted: str, *, limit: int, after: str = "") -> tuple[str, list[Row]]:
    """Return (by what it was looked for, up to `limit` people in the order of their addresses after `after`)."""
    by, query = _choose(wanted)
    ids = f"SELECT DISTINCT f.id FROM ({query}) AS f"  # noqa: S608
    if by != "email":
        ids += " JOIN users u ON u.id = f.id WHERE lower(u.email) > :after"
    values = {"wanted": wanted, "after": after, "limit": limit, "end": END}
    rows = session.execute(text(PEOPLE.format(seats=SEATS_OF, found=ids)), values)
    found = [dict(row._mapping) for row in rows]
    return by, found


def _choose(wanted: str) -> tuple[str, str]:
    """Return by what this is to be looked for, and the query."""
    for prefix, query in BY_STRIPE.items():
        if wanted.startswith(prefix):
            return "stripe", query
    try:
        uuid.UUID(wanted)
    except ValueError:
        pass
    else:
        # A partner's id may be a uuid, too.
        return "id", f"{BY_OWN_ID} UNION {BY_PARTNER}"
    # An id of a partner may look like the beginning of an address.
    return ("email", BY_EMAIL) if "@" in wanted else ("any", f"({BY_EMAIL}) UNION {BY_PARTNER}")
