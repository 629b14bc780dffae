"""A tool's scores (AGS 2.0): the latest of each student in each line item, and the progress that follows from them.

A line item stands at `scoreGiven / scoreMaximum`, and is done when the tool says Completed and FullyGraded. A course is
at the mean of the tool's line items in it (one without a score counts as 0), and completed when all of them are done.
`completion: score>=N` among the custom values of the link, else of the tool, says otherwise when a line item is done:
from N percent on, whatever the tool calls it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.models import LtiTool
from domain import progress
from domain.enrollments import account_reference
from domain.errors import DomainError, NotFound
from domain.lti_services import LineItem
from domain.progress import Report

ACTIVITY = ("Initialized", "Started", "InProgress", "Submitted", "Completed")
GRADING = ("FullyGraded", "Pending", "PendingManual", "Failed", "NotReady")
THRESHOLD = re.compile(r"\s*score\s*>=\s*([0-9]{1,3}(?:\.[0-9]{1,5})?)\s*%?\s*")
HUNDRED, CENT = Decimal(100), Decimal("0.01")

# Locked, so that of two scores of one student the second sees what the first one wrote.
LOCK_SEAT = text(
    """
    SELECT e.id, e.external_enrollment_id, p.provider_type
    FROM partner_lms_enrollments e JOIN partner_lms_providers p ON p.id = e.provider_id
    WHERE e.student_id = :student AND e.course_id = :course AND e.provider_id = :provider
        AND e.status IN ('active', 'completed', 'suspended') FOR NO KEY UPDATE OF e
    """
)
STORE = text(
    """
    INSERT INTO lti_scores AS s (line_item_id, user_id, enrollment_id, score_given, score_maximum, activity_progress,
        grading_progress, comment, scored_at)
    VALUES (:line_item, :student, :enrollment, :given, :maximum, :activity, :grading, :comment, :at)
    ON CONFLICT (line_item_id, user_id) DO UPDATE SET enrollment_id = excluded.enrollment_id,
        score_given = excluded.score_given, score_maximum = excluded.score_maximum,
        activity_progress = excluded.activity_progress, grading_progress = excluded.grading_progress,
        comment = excluded.comment, scored_at = excluded.scored_at, received_at = now()
    WHERE excluded.scored_at > s.scored_at
    RETURNING id
    """
)
SAME = text(
    """
    SELECT 1 FROM lti_scores WHERE line_item_id = :line_item AND user_id = :student AND scored_at = :at
        AND score_given IS NOT DISTINCT FROM :given AND score_maximum IS NOT DISTINCT FROM :maximum
        AND activity_progress = :activity AND grading_progress = :grading
    """
)
# One that we made counts from its first score on, whoever's: a tool may use line items of its own instead.
MARKS = text(
    """
    SELECT s.score_given AS given, s.score_maximum AS maximum, s.activity_progress AS activity,
        s.grading_progress AS grading, s.scored_at AS at, coalesce(k.custom ->> 'completion', :completion) AS completion
    FROM lti_line_items i
    LEFT JOIN lti_links k ON k.id = i.link_id
    LEFT JOIN lti_scores s ON s.line_item_id = i.id AND s.user_id = :student
    WHERE i.tool_id = :tool AND i.course_id = :course
        AND (NOT i.ours OR EXISTS (SELECT 1 FROM lti_scores o WHERE o.line_item_id = i.id))
    """
)
RESULTS = text(
    """
    SELECT s.user_id, s.score_given, s.score_maximum, s.comment FROM lti_scores s
    WHERE s.line_item_id = :line_item AND s.score_given IS NOT NULL
        AND (CAST(:student AS uuid) IS NULL OR s.user_id = CAST(:student AS uuid))
        AND (CAST(:after AS uuid) IS NULL OR s.user_id > CAST(:after AS uuid))
    ORDER BY s.user_id LIMIT :limit
    """
)


class NotAMember(NotFound):
    """The user has no enrolment in the line item's course that a score could be for."""

    code = "lti_member_not_found"


class StaleScore(DomainError):
    """A later score of the same student is stored already, or another one of the same moment."""

    code = "lti_score_stale"


@dataclass(frozen=True)
class Score:
    """A score as the tool sent it. `at` is by the tool's clock; without `given` the student has none (any more)."""

    given: Decimal | None
    maximum: Decimal | None
    activity: str
    grading: str
    comment: str | None
    at: datetime


@dataclass(frozen=True)
class Mark:
    """Where a student stands in one line item: all None but `completion` while there is no score."""

    given: Decimal | None
    maximum: Decimal | None
    activity: str | None
    grading: str | None
    at: datetime | None
    completion: str | None


@dataclass(frozen=True)
class Result:
    """A student's current score, in points of the line item. `user_id` orders the list."""

    user_id: str
    reference: str
    score: Decimal
    maximum: Decimal
    comment: str | None


def record(
    session: Session, tool: LtiTool, item: LineItem, student_id: str, score: Score, now: datetime
) -> None:
    """Store a score and bring the enrolment's progress up to it. The same score again changes nothing.

    Raises `NotAMember`; `StaleScore` for one that is behind what is stored, which then changes nothing.
    """
    seat = session.execute(
        LOCK_SEAT, {"student": student_id, "course": item.course_id, "provider": tool.provider_id}
    ).one_or_none()
    if seat is None:
        raise NotAMember(f"nobody called {account_reference(student_id)} has an enrolment in this course")
    values = {"line_item": item.id, "student": student_id, "enrollment": seat.id, **vars(score)}
    if session.execute(STORE, values).one_or_none() is None:
        if session.execute(SAME, values).one_or_none() is None:
            raise StaleScore("a later score of this student is stored already")
        return
    if seat.external_enrollment_id is not None:
        report = _report(session, tool, item.course_id, student_id, seat.external_enrollment_id, now)
        progress.apply(session, tool.provider_id, seat.provider_type, [report])


def list_results(
    session: Session, item: LineItem, *, limit: int, after: str | None = None, student_id: str | None = None
) -> list[Result]:
    """Return up to `limit` students' current scores in a line item, in the order of their ids."""
    values = {"line_item": item.id, "after": after, "student": student_id, "limit": limit}
    return [
        Result(
            row.user_id,
            account_reference(row.user_id),
            row.score_given / row.score_maximum * item.score_maximum,
            item.score_maximum,
            row.comment,
        )
        for row in session.execute(RESULTS, values)
    ]


def weigh(marks: Sequence[Mark]) -> tuple[Decimal, bool]:
    """Return how far a student is, in percent, and whether the course is completed. There is at least one mark."""
    total = sum((percentage_of(mark) for mark in marks), Decimal(0))
    percentage = (total / len(marks)).quantize(CENT, ROUND_DOWN)
    return percentage, all(is_done(mark) for mark in marks)


def percentage_of(mark: Mark) -> Decimal:
    """Return where a line item stands, 0 to 100. What was completed without any score stands at 100."""
    if mark.grading == "Failed":
        return Decimal(0)
    if mark.given is None or not mark.maximum:
        return HUNDRED if threshold(mark.completion) is None and _is_finished(mark) else Decimal(0)
    return min(mark.given / mark.maximum * HUNDRED, HUNDRED)


def is_done(mark: Mark) -> bool:
    """Say whether a line item is done: Completed and FullyGraded, or at the percentage that is asked for."""
    wanted = threshold(mark.completion)
    if wanted is None:
        return _is_finished(mark)
    return mark.given is not None and percentage_of(mark) >= wanted


def threshold(completion: Any) -> Decimal | None:
    """Return the percentage of `score>=N`, None where nothing (or nothing readable) is asked for."""
    found = THRESHOLD.fullmatch(completion) if isinstance(completion, str) else None
    return None if found is None else min(Decimal(found[1]), HUNDRED)


def _is_finished(mark: Mark) -> bool:
    return (mark.activity, mark.grading) == ("Completed", "FullyGraded")


def _report(
    session: Session, tool: LtiTool, course_id: str, student_id: str, seat_id: str, now: datetime
) -> Report:
    """Return what the student's scores say of the seat. It is as new as the latest of them, by the tool's clock."""
    values = {"tool": tool.id, "course": course_id, "student": student_id}
    asked = {"completion": tool.custom.get("completion")}
    marks = [Mark(**row._mapping) for row in session.execute(MARKS, values | asked)]
    percentage, completed = weigh(marks)
    latest = max(mark.at for mark in marks if mark.at is not None)
    return Report(seat_id, percentage, completed, latest, min(latest, now) if completed else None)
