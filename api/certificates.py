"""Certificates: one's own as PDF and as badge, the public check, and the keys by which badges are verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

from flask import Blueprint, Response, make_response, render_template
from pydantic import BaseModel

import api.learning_problems  # noqa: F401 - registers the codes
from api import flags
from api.assignments import file_address
from api.auth import current_user_id, public, requires_user
from api.courses import path_id
from api.errors import Problem, read_query, wants_html
from api.limits import charge_address
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import badges, certificate_pdf, certificates
from domain.badge_keys import KeyRing, open_ring
from domain.certificate_codes import show_code
from domain.errors import NotFound
from domain.student_view import InvalidCursor, encode_moment
from settings import get_settings

blueprint = Blueprint("certificates", __name__)

Status = Literal["valid", "expired", "revoked", "superseded"]
# No search engine keeps people's certificates.
UNSEEN = {"X-Robots-Tag": "noindex, nofollow"}
# Seconds for which public keys may be kept.
KEYS_MAX_AGE = 3600


class CertificateAnswer(CamelModel):
    """One's own certificate. `certificateUrl` is where anybody can check it; `badgeUrl` null where none are signed."""

    id: Uuid
    course_id: Uuid | None
    status: Status
    name: str
    course_title: str
    hours: float | None
    issued_at: datetime
    expires_at: datetime | None
    verification_code: str
    certificate_url: str
    pdf_url: str | None
    badge_url: str | None


class Certificates(BaseModel):
    """A page, newest first."""

    data: list[CertificateAnswer]
    has_more: bool
    next_cursor: str | None


class VerifiedCertificate(CamelModel):
    """What anybody who has the code may know."""

    status: Status
    name: str
    course: str
    issued_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class BadgeKey(BaseModel):
    """A public key (RFC 7517)."""

    kty: str
    n: str
    e: str
    kid: str
    use: str
    alg: str


class BadgeKeys(BaseModel):
    """The public keys of badges, earlier ones too."""

    keys: list[BadgeKey]


class BadgeIssuer(BaseModel):
    """Who issues the badges (Open Badges 3.0)."""

    id: str
    type: list[str]
    name: str
    url: str


@blueprint.get("/api/me/certificates")
@requires_user
@flags.requires("certificates")
def list_certificates() -> Response:
    """Return a page of the caller's own certificates."""
    query = read_query(PageQuery)
    with transaction() as session, refusals():
        found = certificates.list_for(session, current_user_id(), limit=query.limit, cursor=query.cursor)
    return answer_json(Certificates(**page_of(found, query.limit)))


@blueprint.get("/api/certificates/<certificate_id>/pdf")
@requires_user
@flags.requires("certificates")
def pdf(certificate_id: str) -> Response:
    """Send one's own certificate."""
    found, settings = _own(certificate_id), get_settings()
    body = certificate_pdf.render(
        found,
        verify_url=file_address(found.certificate_url),
        issuer=settings.certificate_issuer,
        font=settings.certificate_font,
    )
    response = Response(body, mimetype="application/pdf")
    response.headers["Content-Disposition"] = f'attachment; filename="certificate-{found.id[:8]}.pdf"'
    return response


@blueprint.get("/api/certificates/<certificate_id>/badge")
@requires_user
@flags.requires("certificates")
def badge(certificate_id: str) -> Response:
    """Send one's own certificate as a signed badge."""
    signed = badges.sign(_own(certificate_id), _issuer(), _ring())
    response = Response(signed, mimetype="application/jwt")
    response.headers["Content-Disposition"] = 'attachment; filename="badge.jwt"'
    return response


@blueprint.get("/verify/<code>")
@public
def verify(code: str) -> Response:
    """Say what a certificate is worth; a page for people, JSON for programs. For ever, whatever is switched off."""
    charge_address("verify", get_settings().verify_rate_limit)
    with transaction() as session:
        found = certificates.verify(session, code)
    if found is None and not wants_html():
        raise Problem("certificate_not_found", headers=UNSEEN)
    answer = None if found is None else _verified(found)
    if wants_html():
        shown = show_code(found.verification_code) if found is not None else None
        page = render_template(
            "verify.html", found=answer, code=shown, issuer=get_settings().certificate_issuer
        )
        response = make_response(page, 404 if answer is None else 200)
    else:
        assert answer is not None  # noqa: S101 - refused above
        response = answer_json(answer)
    response.headers.update(UNSEEN)
    response.vary.add("Accept")
    return response


@blueprint.get("/.well-known/jwks.json")
@public
def key_set() -> Response:
    """Return the public keys of badges; none where none are signed."""
    return _kept(answer_json(BadgeKeys(keys=_public_keys())))


@blueprint.get("/badges/keys/<thumbprint>")
@public
def key(thumbprint: str) -> Response:
    """Return one public key: where the `kid` of a badge leads."""
    wanted = badges.key_url(_issuer(), thumbprint)
    found = next((key for key in _public_keys() if key.kid == wanted), None)
    if found is None:
        raise Problem("not_found")
    return _kept(answer_json(found))


@blueprint.get("/badges/issuer")
@public
def issuer() -> Response:
    """Return who issues: where the `iss` of a badge leads."""
    return _kept(answer_json(BadgeIssuer(**_issuer().profile())))


def page_of(found: list[certificates.Certificate], limit: int) -> dict[str, object]:
    """Return a page of what was found, which is one more where there is more."""
    page, more = found[:limit], len(found) > limit
    cursor = encode_moment(page[-1].issued_at, page[-1].id) if more else None
    return {"data": [view(item) for item in page], "has_more": more, "next_cursor": cursor}


def view(found: certificates.Certificate) -> CertificateAnswer:
    """Return a certificate as its holder and staff see it."""
    base, signs = f"{get_settings().app_url}/api/certificates/{found.id}", get_settings().badge_signing_keys
    values = {
        **vars(found),
        "status": found.status_at(datetime.now(UTC)),
        "verification_code": show_code(found.verification_code),
        "certificate_url": file_address(found.certificate_url),
        "pdf_url": f"{base}/pdf" if found.status == "valid" else None,
        "badge_url": f"{base}/badge" if found.status == "valid" and signs is not None else None,
    }
    return CertificateAnswer.model_validate(values)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the rules of certificates refuse into problems."""
    try:
        yield
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    except NotFound:
        raise Problem("certificate_not_found") from None
    except certificates.NotValid as refusal:
        raise Problem(refusal.code) from None


def _own(certificate_id: str) -> certificates.Certificate:
    """Return one of the caller's own valid certificates; raise the 404 or 409."""
    wanted = path_id(certificate_id, "certificate_not_found")
    with transaction() as session, refusals():
        found = certificates.find(session, wanted, current_user_id())
    if found.status != "valid":
        raise Problem("certificate_not_valid")
    return found


def _verified(found: certificates.Certificate) -> VerifiedCertificate:
    return VerifiedCertificate(
        status=found.status_at(datetime.now(UTC)),
        name=found.name,
        course=found.course_title,
        issued_at=found.issued_at,
        expires_at=found.expires_at,
        revoked_at=found.revoked_at,
    )


def _issuer() -> badges.Issuer:
    return badges.Issuer(get_settings().certificate_issuer, get_settings().app_url)


def _ring() -> KeyRing:
    keys = get_settings().badge_signing_keys
    if keys is None:
        raise Problem("badges_off")
    return open_ring(keys.get_secret_value())


def _public_keys() -> list[BadgeKey]:
    if get_settings().badge_signing_keys is None:
        return []
    issuer = _issuer()
    return [BadgeKey(**{**key, "kid": badges.key_url(issuer, key["kid"])}) for key in _ring().public()]


def _kept(response: Response) -> Response:
    """Let whoever asks keep a public answer for a while, from pages of any site."""
    response.headers["Cache-Control"] = f"public, max-age={KEYS_MAX_AGE}"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
