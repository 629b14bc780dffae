"""Exports and erasures: of oneself, and of anybody by staff. Each leaves who did it and why."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any, Literal

from flask import Blueprint, Response
from sqlalchemy.orm import Session

import api.privacy_problems  # noqa: F401 - registers the codes
from api.auth import current_identity, current_user_id, requires, requires_user
from api.enrollments import InputModel
from api.errors import Problem, read_body
from api.idempotency import answer_once
from api.ops_xp import Reason
from api.student import CamelModel, Uuid
from api.users import parse_id
from api.xp import answer_json
from db.session import transaction
from domain import privacy_erase, privacy_export
from domain.errors import NotFound
from domain.files import StoreUnavailable
from domain.privacy_erase import Blocked
from domain.privacy_stages import Person
from settings import get_settings

blueprint = Blueprint("ops_privacy", __name__)

# Bytes of an export that are held in memory; the rest goes to a temporary file.
IN_MEMORY = 2_000_000
PIECE = 65_536


class ErasureInput(InputModel):
    """Why; whether open seats are revoked with it, and own certificates."""

    reason: Reason
    force: bool = False
    revoke_certificates: bool = False


class ErasureLine(CamelModel):
    """What becomes of a table's rows: `deleted`, `masked` in these columns, or `kept`, and why the rest stays."""

    table: str
    rows: int
    fate: Literal["deleted", "masked", "kept"]
    columns: str
    why: str


class ErasureAnswer(CamelModel):
    """What an erasure does, what stands in its way, and when it was asked for and done."""

    user_id: Uuid
    lines: list[ErasureLine]
    partners: list[str]
    blocks: list[str]
    asked_at: datetime | None
    finished_at: datetime | None


class ErasureAsked(CamelModel):
    """Every way in is closed; the job does the rest."""

    user_id: Uuid
    status: Literal["accepted"]
    job_id: Uuid


@blueprint.get("/api/me/export")
@requires_user
def export_own() -> Response:
    """Send everything that is stored about the caller."""
    with transaction() as session:
        person = _find(session, current_user_id())
    return _send(person)


@blueprint.get("/api/ops/users/<user_id>/export")
@requires("ops")
def export(user_id: str) -> Response:
    """Send everything that is stored about somebody; the access log has it."""
    with transaction() as session:
        person = _find(session, parse_id(user_id))
    return _send(person)


@blueprint.get("/api/ops/users/<user_id>/erasure")
@requires("ops")
def show(user_id: str) -> Response:
    """Return what an erasure would do, or how far it came; nothing changes."""
    with transaction() as session:
        person = _find(session, parse_id(user_id))
        found: dict[str, Any] = vars(privacy_erase.plan(session, person))
        try:
            state = privacy_erase.status(session, person.id)
        except NotFound:
            state = {"created_at": None, "finished_at": None}
    lines = [vars(line) for line in found["lines"]]
    times = {"asked_at": state["created_at"], "finished_at": state["finished_at"]}
    return answer_json(ErasureAnswer.model_validate({**found, "lines": lines, **times}))


@blueprint.post("/api/ops/users/<user_id>/erasure")
@requires("ops")
def erase(user_id: str) -> Response:
    """Have somebody erased: 202. It cannot be undone."""
    user_id, values = parse_id(user_id), read_body(ErasureInput)
    return answer_once(values, lambda session, _key: _ask(session, _find(session, user_id), values))


def _ask(session: Session, person: Person, values: ErasureInput) -> Response:
    try:
        job_id = privacy_erase.ask(
            session,
            person,
            actor=current_identity().subject,
            reason=values.reason,
            force=values.force,
            revoke_certificates=values.revoke_certificates,
        )
    except Blocked as error:
        raise Problem("erasure_blocked", str(error)) from None
    return answer_json(ErasureAsked(user_id=person.id, status="accepted", job_id=job_id), 202)


def _find(session: Session, user_id: str) -> Person:
    try:
        return privacy_erase.find(session, user_id)
    except NotFound:
        raise Problem("user_not_found") from None


def _send(person: Person) -> Response:
    target = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed when the answer was sent
    try:
        privacy_export.write(transaction, person, get_settings().file_store(), target)
    except BaseException as error:
        target.close()
        if isinstance(error, StoreUnavailable):
            raise Problem("file_store_unavailable") from None
        raise
    size = target.tell()
    target.seek(0)
    response = Response(_pieces(target), mimetype="application/zip")
    response.call_on_close(target.close)
    response.content_length = size
    response.headers["Content-Disposition"] = f'attachment; filename="export-{person.id[:8]}.zip"'
    return response


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    while piece := source.read(PIECE):
        yield piece
