"""A reference: the lesson's award that one writes first, on the models with the ORM's session, behind the same gunicorn.

It leaves the same rows behind, in one transaction, with the same look-up of the token. The ledger's triggers move the
total. What it leaves out: prices by rule, the course's own XP, idempotency keys, refusals that say why, log lines.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from math import isqrt
from typing import Any

from flask import Flask, abort, jsonify, request
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

from db.models import ApiToken, Course, Enrollment, Job, Lesson, LessonProgress, User, XpTransaction
from domain import xp
from domain.tokens import PREFIX
from settings import get_settings

settings = get_settings()
engine = create_engine(settings.sqlalchemy_url(), pool_size=20)
app = Flask(__name__)


@app.post("/api/xp/award")
def award() -> Any:
    """Complete a lesson for the caller and give its XP."""
    body = request.get_json()
    with Session(engine) as session:
        user = find_caller(session)
        if user is None or user.id != body["userId"]:
            abort(401)
        course = session.get(Course, body["courseId"])
        lesson = session.get(Lesson, body["lessonId"])
        if course is None or course.deleted_at or lesson is None or not lesson.published:
            abort(404)
        enrollment = session.scalar(select(Enrollment).filter_by(user_id=user.id, course_id=course.id))
        if enrollment is None or lesson.course_id != course.id:
            abort(403)
        if body["xpAmount"] != lesson.xp_reward:
            abort(422)
        if session.scalar(select(LessonProgress).filter_by(user_id=user.id, lesson_id=lesson.id)):
            abort(409)
        entry = complete(session, user, lesson, enrollment)
        session.commit()
        return jsonify(
            success=True, xpAwarded=entry.amount, totalXp=user.total_xp, level=isqrt(user.total_xp // 100)
        )


@app.get("/healthz")
def health() -> str:
    """Say that the process answers."""
    return "ok"


def find_caller(session: Session) -> User | None:
    """Return whose token the request carries, None where it is not good."""
    plain = request.headers["Authorization"].removeprefix(f"Bearer {PREFIX}")
    token = session.scalar(
        select(ApiToken).filter_by(token_hash=hashlib.sha256(plain.encode()).hexdigest(), revoked_at=None)
    )
    if token is None or (token.expires_at is not None and token.expires_at <= datetime.now(UTC)):
        return None
    return session.scalar(select(User).where(func.lower(User.email) == token.subject.lower()))


def complete(session: Session, user: User, lesson: Lesson, enrollment: Enrollment) -> XpTransaction:
    """Add progress and ledger entry, bring enrolment and total up to date, and ask for what follows."""
    entry = XpTransaction(
        user_id=user.id,
        kind="award",
        amount=lesson.xp_reward,
        base=lesson.xp_reward,
        source_type="LESSON",
        source_id=lesson.id,
        category="LESSON",
        reason="lesson_completed",
        description="Lesson completed",
        business_key=f"lesson:{lesson.id}",
    )
    session.add_all([LessonProgress(user_id=user.id, lesson_id=lesson.id, course_id=lesson.course_id), entry])
    session.flush()
    session.refresh(user)
    of_course = {"course_id": lesson.course_id}
    done = session.scalar(
        select(func.count()).select_from(LessonProgress).filter_by(user_id=user.id, **of_course)
    )
    lessons = session.scalar(select(func.count()).select_from(Lesson).filter_by(published=True, **of_course))
    enrollment.started_at = enrollment.started_at or datetime.now(UTC)
    enrollment.xp_earned += entry.amount
    enrollment.completion_percentage = (done or 0) * 100 // (lessons or 1)
    session.add(Job(kind=xp.AFTER_AWARD, business_key=entry.id, queue=xp.QUEUE, subject_id=entry.id))
    return entry
