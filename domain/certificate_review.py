"""Whether what a certificate stands on is still done: asked whenever an award was reversed."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs

REVIEW = "certificates.review"
QUEUE = "xp"

# The course of what an entry of the ledger is about, whichever kind of source it has.
COURSE_OF = """
    coalesce(
        (SELECT c.id FROM courses c WHERE c.id = CASE {entry}.source_type WHEN 'COURSE' THEN {entry}.source_id::uuid END),
        (SELECT l.course_id FROM lessons l
            WHERE l.id = CASE {entry}.source_type WHEN 'LESSON' THEN {entry}.source_id::uuid END),
        (SELECT q.course_id FROM quizzes q
            WHERE q.id = CASE {entry}.source_type WHEN 'QUIZ' THEN {entry}.source_id::uuid END),
        (SELECT a.course_id FROM assignments a
            WHERE a.id = CASE {entry}.source_type WHEN 'ASSIGNMENT' THEN {entry}.source_id::uuid END)
    )
"""
HOLDS = text("SELECT EXISTS (SELECT 1 FROM certificates WHERE user_id = :user AND status = 'valid')")
# Valid certificates of courses of which something was reversed since, and has not been done again. The minute: a time is
# that of a transaction's beginning, and it may have waited for the one that issued the certificate.
UNDONE = text(
    f"""
    SELECT k.id FROM certificates k
    WHERE k.user_id = :user AND k.status = 'valid' AND k.course_id IS NOT NULL
        AND EXISTS (SELECT 1 FROM courses c WHERE c.id = k.course_id AND c.deleted_at IS NULL)
        AND EXISTS (
            SELECT 1 FROM xp_transactions r JOIN xp_transactions t ON t.id = r.reverses_id
            WHERE r.user_id = k.user_id AND r.kind = 'reversal' AND r.created_at >= k.issued_at - interval '1 minute'
                AND {COURSE_OF.format(entry="t")} = k.course_id
                AND NOT EXISTS (
                    SELECT 1 FROM xp_transactions again WHERE again.user_id = t.user_id
                        AND again.business_key = t.business_key AND again.generation > t.generation
                        AND NOT EXISTS (SELECT 1 FROM xp_transactions u WHERE u.reverses_id = again.id)
                )
        )
    ORDER BY k.id FOR UPDATE OF k
    """  # noqa: S608
)


def ask_review(session: Session, user_id: str) -> None:
    """Ask whether a reversal took away what a certificate stands on; nothing to do for whoever holds none."""
    if session.execute(HOLDS, {"user": user_id}).scalar_one():
        jobs.enqueue(session, jobs.Enqueue(REVIEW, user_id, QUEUE, subject_id=user_id))


def find_undone(session: Session, user_id: str) -> list[str]:
    """Return the valid certificates of somebody whose course was undone by a reversal, locked."""
    return [str(id) for id in session.scalars(UNDONE, {"user": user_id})]
