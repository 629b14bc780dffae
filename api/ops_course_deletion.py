"""Deleting one of our own courses, and a look at what goes with it before."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from api.auth import current_identity, requires
from api.enrollments import InputModel, check_uuid
from api.errors import Problem, read_body
from api.ops_xp import Reason
from api.student import CamelModel, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import courses, staff
from domain.errors import NotFound

blueprint = Blueprint("ops_course_deletion", __name__)


class DeletionInput(InputModel):
    """Why the course goes."""

    reason: Reason


class DeletionPreview(CamelModel):
    """What goes with the course: enrolments (`learners`), awards that are reversed, whose they are, and their XP."""

    title: str
    learners: int
    awards: int
    users: int
    xp: int


class DeletionAsked(DeletionPreview):
    """The course is closed. The job takes back what it gave and then removes it."""

    status: Literal["accepted"]
    job_id: Uuid


@blueprint.get("/api/ops/courses/<course_id>/deletion")
@requires("ops")
def preview(course_id: str) -> Response:
    """Return what deleting a course would take with it; nothing changes."""
    with transaction() as session:
        return answer_json(DeletionPreview.model_validate(_preview(session, course_id)))


@blueprint.delete("/api/ops/courses/<course_id>")
@requires("ops")
def delete(course_id: str) -> Response:
    """Close a course and have a job delete it: 202. Asked again before it is gone, the same job goes on."""
    values = read_body(DeletionInput)
    with transaction() as session:
        found = _preview(session, course_id)
        try:
            job_id = courses.ask_deletion(session, course_id)
        except NotFound:
            raise _no_course() from None
        staff.record(
            session,
            actor=current_identity().subject,
            action="courses.delete",
            subject=("course", course_id),
            reason=values.reason,
            detail={**vars(found), "job": job_id},
        )
    return answer_json(DeletionAsked(**vars(found), status="accepted", job_id=job_id), 202)


def _preview(session: Session, course_id: str) -> courses.Deletion:
    try:
        return courses.preview(session, check_uuid(course_id))
    except (NotFound, ValueError):
        raise _no_course() from None


def _no_course() -> Problem:
    return Problem("course_not_found", "There is no course with this id.")
