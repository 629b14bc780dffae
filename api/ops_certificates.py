"""Certificates for staff: finding, issuing, replacing and revoking them. Each change leaves who did it and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Blueprint, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api import certificates as own
from api import flags
from api.auth import current_identity, requires
from api.courses import path_id
from api.enrollments import InputModel, UuidInput
from api.errors import Problem, read_body, read_query
from api.idempotency import answer_once
from api.ops_xp import Reason
from api.student import PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import certificates, staff
from domain.errors import NotFound, NotPossible

blueprint = Blueprint("ops_certificates", __name__)


class IssueInput(InputModel):
    """Whose certificate of which course, and why by hand."""

    user_id: UuidInput
    course_id: UuidInput
    reason: Reason


class WhyInput(InputModel):
    """Why. It goes to the audit, not to the public page."""

    reason: Reason


class StaffCertificate(own.CertificateAnswer):
    """A certificate as staff see it."""

    user_id: Uuid


class StaffCertificates(BaseModel):
    """A page, newest first."""

    data: list[StaffCertificate]
    has_more: bool
    next_cursor: str | None


class StaffCertificatesQuery(PageQuery):
    """`user` narrows the list to one user."""

    user: UuidInput | None = None


@blueprint.get("/api/ops/certificates")
@requires("ops")
@flags.requires("certificates")
def list_certificates() -> Response:
    """Return a page of certificates."""
    query = read_query(StaffCertificatesQuery)
    with transaction() as session, _refusals():
        found = certificates.list_for(session, query.user, limit=query.limit, cursor=query.cursor)
    page = own.page_of(found, query.limit)
    return answer_json(StaffCertificates(**{**page, "data": [_view(item) for item in found[: query.limit]]}))


@blueprint.post("/api/ops/certificates")
@requires("ops")
@flags.requires("certificates")
def issue() -> Response:
    """Issue a certificate that was earned: 201."""
    values = read_body(IssueInput)
    return answer_once(values, lambda session, _key: _issue(session, values))


@blueprint.post("/api/ops/certificates/<certificate_id>/revoke")
@requires("ops")
@flags.requires("certificates")
def revoke(certificate_id: str) -> Response:
    """Revoke a certificate; the public page says so from now on."""
    wanted, values = path_id(certificate_id, "certificate_not_found"), read_body(WhyInput)

    def work(session: Session, _key: str | None) -> Response:
        with _refusals():
            return answer_json(
                _view(certificates.revoke(session, wanted, actor=_actor(), reason=values.reason))
            )

    return answer_once(values, work)


@blueprint.post("/api/ops/certificates/<certificate_id>/reissue")
@requires("ops")
@flags.requires("certificates")
def reissue(certificate_id: str) -> Response:
    """Replace a certificate by one with today's name and title: 201."""
    wanted, values = path_id(certificate_id, "certificate_not_found"), read_body(WhyInput)

    def work(session: Session, _key: str | None) -> Response:
        with _refusals():
            made = certificates.reissue(session, wanted, actor=_actor(), reason=values.reason)
        return answer_json(_view(made), 201)

    return answer_once(values, work)


def _issue(session: Session, values: IssueInput) -> Response:
    try:
        made = certificates.issue(session, values.user_id, values.course_id)
    except NotFound:
        raise Problem("user_not_found") from None
    except certificates.NotEligible:
        raise Problem("certificate_not_earned") from None
    except (certificates.NameMissing, certificates.HeldBefore) as refusal:
        raise Problem(refusal.code) from None
    subject = ("certificate", made)
    staff.record(session, actor=_actor(), action="certificate.issue", subject=subject, reason=values.reason)
    return answer_json(_view(certificates.find(session, made)), 201)


def _actor() -> str:
    return current_identity().subject


def _view(found: certificates.Certificate) -> StaffCertificate:
    return StaffCertificate(**vars(own.view(found)), user_id=found.user_id)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        with own.refusals():
            yield
    except certificates.NameMissing as refusal:
        raise Problem(refusal.code) from None
    except NotPossible:
        raise Problem("course_gone") from None
