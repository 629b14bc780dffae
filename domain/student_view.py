"""What a student sees of their own partner enrolments: a page of them, and the one that a launch is asked for."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Select, and_, exists, select, tuple_
from sqlalchemy.orm import Session

from db.models import (
    ManualWorkItem,
    PartnerCertificate,
    PartnerCourse,
    PartnerEnrollment,
    PartnerProvider,
    PartnerSyncState,
    PaymentLine,
    User,
)
from domain.enrollments import account_reference

# The statuses in which a course can be opened.
LAUNCHABLE = frozenset({"active", "completed"})
# The work item of a place that a person is making ready; there is one at most.
SET_UP_BY_HAND = and_(
    ManualWorkItem.enrollment_id == PartnerEnrollment.id,
    ManualWorkItem.generation == PartnerEnrollment.generation,
    ManualWorkItem.kind == "set_up",
    ManualWorkItem.state == "open",
    PartnerEnrollment.status == "pending",
)


class InvalidCursor(ValueError):
    """The cursor is not one that we gave out."""


@dataclass(frozen=True)
class ProviderView:
    """The partner, as a student sees it."""

    id: str
    name: str
    type: str
    support_email: str | None


@dataclass(frozen=True)
class CourseView:
    """The course, as a student sees it."""

    id: str
    name: str
    code: str
    hours: Decimal | None
    level: str | None
    credential_type: str | None
    description: str | None


@dataclass(frozen=True)
class CertificateView:
    """The partner's certificate. Addresses are http(s) or None, whatever the partner sent."""

    number: str
    url: str | None
    verification_url: str | None
    issued_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True)
class ManualSetup:
    """A person is making the place ready at the partner, since when, and how many hours that usually takes."""

    since: datetime
    usual_hours: int

    @property
    def usually(self) -> str:
        """How long it usually takes, in words."""
        if self.usual_hours < 48:
            return "an hour" if self.usual_hours == 1 else f"{self.usual_hours} hours"
        return f"{-(-self.usual_hours // 24)} days"


@dataclass(frozen=True)
class EnrollmentView:
    """One enrolment. Why it failed is for staff; the student gets a reference to name."""

    id: str
    status: str
    progress_percentage: Decimal
    enrolled_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    program_id: str | None
    last_synced_at: datetime | None
    provider: ProviderView
    course: CourseView
    certificate: CertificateView | None
    manual_setup: ManualSetup | None
    # How far the place is being made: since when it is as it is, and what there is of it.
    since: datetime
    paid: bool
    has_account: bool
    has_seat: bool

    @property
    def launchable(self) -> bool:
        return self.status in LAUNCHABLE

    @property
    def failure_reference(self) -> str | None:
        return failure_reference(self.id) if self.status == "failed" else None


@dataclass(frozen=True)
class Page:
    """Enrolments, newest first. `next_cursor` is None on the last page."""

    items: list[EnrollmentView]
    next_cursor: str | None


@dataclass(frozen=True)
class LaunchSeat:
    """What a launch needs to know."""

    id: str
    student_id: str
    status: str
    provider_type: str
    external_enrollment_id: str | None
    course_code: str
    email: str
    name: str
    manual_setup: ManualSetup | None = None

    @property
    def account_reference(self) -> str:
        """Our name for the student at the partner."""
        return account_reference(self.student_id)


def list_enrollments(session: Session, student_id: str, *, limit: int, cursor: str | None = None) -> Page:
    """Return a page of the student's enrolments in one query; raise `InvalidCursor` for a cursor that is not ours."""
    query = _query().where(PartnerEnrollment.student_id == student_id).limit(limit + 1)
    if cursor is not None:
        query = query.where(
            tuple_(PartnerEnrollment.created_at, PartnerEnrollment.id) < decode_cursor(cursor)
        )
    items = [_view(*row) for row in session.execute(query)]
    more = len(items) > limit
    return Page(items[:limit], encode_cursor(items[limit - 1]) if more else None)


def find_seat(session: Session, enrollment_id: str) -> LaunchSeat | None:
    """Return the enrolment with this id, None where there is none (or where it is not even an id)."""
    try:
        wanted = str(uuid.UUID(enrollment_id))
    except ValueError:
        return None
    row = session.execute(
        select(PartnerEnrollment, PartnerProvider.provider_type, PartnerCourse, User, ManualWorkItem)
        .join(PartnerProvider, PartnerProvider.id == PartnerEnrollment.provider_id)
        .join(PartnerCourse, PartnerCourse.id == PartnerEnrollment.course_id)
        .join(User, User.id == PartnerEnrollment.student_id)
        .outerjoin(ManualWorkItem, SET_UP_BY_HAND)
        .where(PartnerEnrollment.id == wanted)
    ).one_or_none()
    if row is None:
        return None
    seat, provider_type, course, user, item = row
    return LaunchSeat(
        seat.id,
        seat.student_id,
        seat.status,
        provider_type,
        seat.external_enrollment_id,
        course.external_course_code or course.course_code,
        user.email,
        user.name,
        _manual_setup(item),
    )


def failure_reference(enrollment_id: str) -> str:
    """Return what a student names to staff: the first eight characters of the enrolment's id."""
    return enrollment_id[:8]


def encode_cursor(last: EnrollmentView) -> str:
    """Return the opaque cursor of the page after this item."""
    return encode_moment(last.created_at, last.id)


def encode_moment(moment: datetime, id: str) -> str:
    """Return the opaque cursor of the page after a row, in a list that is ordered by a time and an id."""
    return base64.urlsafe_b64encode(f"{moment.isoformat()}|{id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[datetime, str]:
    """Return the creation time and id that a page starts after; raise `InvalidCursor`."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        moment, _, item = base64.b64decode(padded, b"-_", validate=True).decode().partition("|")
        created_at, item = datetime.fromisoformat(moment), str(uuid.UUID(item))
    except ValueError:
        raise InvalidCursor from None
    if created_at.tzinfo is None:
        raise InvalidCursor
    return created_at, item


def _query() -> Select[
    PartnerEnrollment,
    PartnerProvider,
    PartnerCourse,
    PartnerCertificate,
    datetime | None,
    ManualWorkItem,
    bool,
]:
    enrollment, sync = PartnerEnrollment, PartnerSyncState
    return (
        select(
            enrollment,
            PartnerProvider,
            PartnerCourse,
            PartnerCertificate,
            sync.finished_at,
            ManualWorkItem,
            exists().where(PaymentLine.enrollment_id == enrollment.id),
        )
        .join(PartnerProvider, PartnerProvider.id == enrollment.provider_id)
        .join(PartnerCourse, PartnerCourse.id == enrollment.course_id)
        .outerjoin(
            PartnerCertificate,
            # A certificate does not stand while the seat that it was earned in is not paid for.
            and_(PartnerCertificate.enrollment_id == enrollment.id, PartnerCertificate.revoked_at.is_(None)),
        )
        .outerjoin(sync, sync.provider_id == enrollment.provider_id)
        .outerjoin(ManualWorkItem, SET_UP_BY_HAND)
        .order_by(enrollment.created_at.desc(), enrollment.id.desc())
    )


def _view(
    seat: PartnerEnrollment,
    provider: PartnerProvider,
    course: PartnerCourse,
    certificate: PartnerCertificate | None,
    last_synced_at: datetime | None,
    item: ManualWorkItem | None,
    paid: bool,
) -> EnrollmentView:
    return EnrollmentView(
        id=seat.id,
        status=seat.status,
        progress_percentage=seat.progress_percentage,
        enrolled_at=seat.enrolled_at,
        completed_at=seat.completed_at,
        created_at=seat.created_at,
        program_id=seat.program_id,
        last_synced_at=last_synced_at,
        provider=ProviderView(
            provider.id, provider.provider_name, provider.provider_type, provider.support_email
        ),
        course=_course(course),
        certificate=None if certificate is None else _certificate(certificate),
        manual_setup=_manual_setup(item),
        since=seat.updated_at,
        paid=paid,
        # A partner without accounts of its own has none when there is a seat.
        has_account=seat.external_account_id is not None or seat.external_enrollment_id is not None,
        has_seat=seat.external_enrollment_id is not None,
    )


def _course(course: PartnerCourse) -> CourseView:
    return CourseView(
        id=course.id,
        name=course.course_name,
        code=course.course_code,
        hours=course.hours,
        level=course.level,
        credential_type=course.credential_type,
        description=course.description,
    )


def _manual_setup(item: ManualWorkItem | None) -> ManualSetup | None:
    return None if item is None else ManualSetup(item.created_at, item.usual_hours)


def _certificate(certificate: PartnerCertificate) -> CertificateView:
    return CertificateView(
        number=certificate.certificate_number,
        url=web_address(certificate.certificate_url),
        verification_url=web_address(certificate.verification_url),
        issued_at=certificate.issued_date,
        expires_at=certificate.expiration_date,
    )


def web_address(url: str | None) -> str | None:
    # A partner's text ends up in links: `javascript:` and the like must not.
    return url if url is not None and url.startswith(("https://", "http://")) else None
