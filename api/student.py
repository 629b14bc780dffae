"""What a signed-in student reads about their own partner enrolments (seed C's shape, camelCase)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from api.auth import current_user_id, requires_user
from api.errors import Problem, read_query
from db.session import transaction
from domain.student_view import EnrollmentView, InvalidCursor, list_enrollments
from settings import get_settings

Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
blueprint = Blueprint("student", __name__)


class CamelModel(BaseModel):
    """An answer: snake_case here, camelCase outside, read from the domain's views."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class Provider(CamelModel):
    """The partner that gives the course."""

    id: Uuid
    name: str
    type: str
    support_email: str | None


class Course(CamelModel):
    """The partner's course."""

    id: Uuid
    name: str
    code: str
    hours: float | None
    level: str | None
    credential_type: str | None
    description: str | None


class Certificate(CamelModel):
    """The partner's certificate."""

    number: str
    url: str | None
    verification_url: str | None
    issued_at: datetime | None
    expires_at: datetime | None


class ManualSetup(CamelModel):
    """A person is making the place ready at the partner: since when, and how many hours that usually takes."""

    since: datetime
    usual_hours: int


class PartnerEnrollment(CamelModel):
    """One enrolment. `launchUrl` is null unless the course can be opened now; `failureReference` is for support."""

    id: Uuid
    status: str = Field(
        json_schema_extra={"enum": ["pending", "active", "completed", "failed", "suspended", "revoked"]}
    )
    progress_percentage: float = Field(ge=0, le=100)
    enrolled_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    launch_url: str | None = None
    failure_reference: str | None
    provider: Provider
    course: Course
    program_id: Uuid | None
    last_synced_at: datetime | None
    certificate: Certificate | None
    manual_setup: ManualSetup | None


class PartnerEnrollments(BaseModel):
    """A page, newest first."""

    data: list[PartnerEnrollment]
    has_more: bool
    next_cursor: str | None


class PageQuery(BaseModel):
    """Which page of a list: `cursor` is the `next_cursor` of the page before."""

    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = None


@blueprint.get("/api/student/partner-enrollments")
@requires_user
def partner_enrollments() -> Response:
    """Return a page of the caller's own enrolments."""
    query = read_query(PageQuery)
    try:
        with transaction() as session:
            page = list_enrollments(session, current_user_id(), limit=query.limit, cursor=query.cursor)
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    found = PartnerEnrollments(
        data=[_answer(item) for item in page.items],
        has_more=page.next_cursor is not None,
        next_cursor=page.next_cursor,
    )
    return Response(found.model_dump_json(by_alias=True), mimetype="application/json")


def _answer(item: EnrollmentView) -> PartnerEnrollment:
    answer = PartnerEnrollment.model_validate(item)
    if item.launchable:
        answer.launch_url = f"{get_settings().app_url}/api/partner-launch/{item.id}"
    return answer
