"""`Idempotency-Key`: a request that is sent again gets the answer that the first one got, and nothing is done twice.

The answer is stored in the transaction that did the work, so there is no moment at which only one of them is there.
While the first request runs it holds a lock of the transaction, which is gone when its process is: nothing to clean up.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable

from flask import Response, request
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.orm import Session

import api.xp_problems  # noqa: F401 - registers the codes
from api.auth import current_identity
from api.errors import PROBLEM_JSON, Problem
from db.session import transaction

HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,255}")
# Answers about the key itself, and the headers that are worth repeating.
ABOUT_KEYS = frozenset({"idempotency_in_flight", "idempotency_key_reused"})
KEPT_HEADERS = ("ETag", "Location", "Preference-Applied")

LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:caller || ':' || :key, 0))")
WAIT = text("SELECT pg_advisory_xact_lock(hashtextextended(:caller || ':' || :key, 0))")
FIND = text(
    "SELECT fingerprint, status, media_type, headers, body FROM idempotency_keys WHERE caller = :caller AND key = :key"
)
STORE = text(
    """
    INSERT INTO idempotency_keys (caller, key, fingerprint, status, media_type, headers, body)
    VALUES (:caller, :key, :fingerprint, :status, :media_type, CAST(:headers AS jsonb), :body)
    ON CONFLICT DO NOTHING
    """
)

# Does the work in the given transaction; the key is None where none was sent.
Work = Callable[[Session, str | None], Response]


def answer_once(body: BaseModel, work: Work, *, required: bool = False) -> Response:
    """Return what `work` answers, or what it answered before to the same key. Refusals are kept too, outages are not."""
    key = read_key(required=required)
    if key is None:
        with transaction() as session:
            return work(session, None)
    names = {"caller": caller_hash(), "key": key, "fingerprint": _fingerprint(body)}
    try:
        with transaction() as session:
            stored = _begin(session, names)
            if stored is not None:
                return stored
            response = work(session, key)
            _store(session, names, response)
            return response
    except Problem as problem:
        if problem.status < 500 and problem.code not in ABOUT_KEYS:
            with transaction() as session:
                _store(session, names, _as_response(problem))
        raise


def do_once(name: str | None, work: Callable[[Session], Response]) -> Response:
    """Return what `work` answers to a page's form of this name, or what it answered before; None has no name.

    Unlike a program, a person is not told of the first one that is under way: the second waits for it. What is raised is
    not kept.
    """
    with transaction() as session:
        if name is None:
            return work(session)
        names = {"caller": caller_hash(), "key": name, "fingerprint": ""}
        session.execute(WAIT, names)
        stored = _find(session, names)
        if stored is not None:
            return stored
        response = work(session)
        _store(session, names, response)
        return response


def read_key(*, required: bool) -> str | None:
    """Return the request's key, None without one; raise the 400 for one that cannot be used or is missing."""
    key = request.headers.get(HEADER)
    if key is None:
        if required:
            raise Problem("idempotency_key_required")
        return None
    if KEY.fullmatch(key) is None:
        raise Problem("idempotency_key_invalid")
    return key


def caller_hash() -> str:
    """Return a name for who is asking that tells nothing about them."""
    identity = current_identity()
    return hashlib.sha256(f"{identity.role}:{identity.user_id or identity.subject}".encode()).hexdigest()


def _begin(session: Session, names: dict[str, str]) -> Response | None:
    """Return the stored answer, None when this is the first; raise the 409 or 422. Holds the key until the end."""
    if not session.execute(LOCK, names).scalar_one():
        raise Problem("idempotency_in_flight", headers={"Retry-After": "1"})
    return _find(session, names)


def _find(session: Session, names: dict[str, str]) -> Response | None:
    row = session.execute(FIND, names).one_or_none()
    if row is None:
        return None
    if row.fingerprint != names["fingerprint"]:
        raise Problem("idempotency_key_reused")
    response = Response(row.body, status=row.status, mimetype=row.media_type)
    response.headers.update(row.headers)
    response.headers["Idempotency-Replayed"] = "true"
    return response


def _store(session: Session, names: dict[str, str], response: Response) -> None:
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    session.execute(
        STORE,
        {
            **names,
            "status": response.status_code,
            "media_type": response.mimetype,
            "headers": json.dumps(kept),
            "body": response.get_data(as_text=True),
        },
    )


def _as_response(problem: Problem) -> Response:
    document = problem.document().model_dump_json(exclude_none=True)
    return Response(document, status=problem.status, mimetype=PROBLEM_JSON)


def _fingerprint(body: BaseModel) -> str:
    """Return a hash of what is asked: the route and the values, however they were written down."""
    asked = f"{request.method} {request.path}\n{body.model_dump_json()}"
    return hashlib.sha256(asked.encode()).hexdigest()
