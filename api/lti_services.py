"""What a tool's server may ask of us: line items, scores and results (AGS 2.0), and who is in a course (NRPS 2.0).

The access token of `api/lti_token.py` opens these routes and no others, and of these only what is the tool's own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import TypeVar
from urllib.parse import urlencode

import structlog
from flask import Blueprint, Response, g, request
from pydantic import BaseModel
from sqlalchemy.orm import Session

import api.lti_service_problems  # noqa: F401 - registers the codes
from api import lti_service_models as models
from api.auth import public
from api.errors import Detail, Problem, read_body, read_query
from api.lti_service_models import LineItemInput, LineItemsQuery, MembersQuery, ResultsQuery, ScoreInput
from db.models import LtiTool
from db.session import transaction
from domain import lti_access, lti_scores, lti_services
from domain.enrollments import account_reference
from domain.errors import NotFound
from domain.lti_services import LineItem
from partners.lti import vocabulary as lti
from settings import get_settings

CHALLENGE = 'Bearer realm="usher-lti"'
# A tool's clock may be off, also by a time zone; a score from further ahead would shut out all later ones.
AHEAD = timedelta(days=1)
CONTAINER = "/api/lti/contexts/<course_id>/line-items"
ONE = f"{CONTAINER}/<line_item_id>"

View = TypeVar("View", bound=Callable[..., Response])
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
blueprint = Blueprint("lti_services", __name__)


def requires_scope(*scopes: str) -> Callable[[View], View]:
    """Let a tool's token call the view that was granted one of these scopes. Nobody is signed in here."""

    def mark(view: View) -> View:
        @wraps(view)
        def checked(**given: str) -> Response:
            g.lti_tool = _identify(scopes)
            return view(**{name: _id(name, value) for name, value in given.items()})

        return public(checked)  # type: ignore[return-value]

    return mark


@contextmanager
def answering() -> Iterator[Session]:
    """Open a transaction; what the tool does not have, or comes too late, becomes its problem."""
    try:
        with transaction() as session:
            yield session
    except (NotFound, lti_scores.StaleScore) as error:
        raise Problem(error.code) from None


@blueprint.get(CONTAINER)
@requires_scope(lti.LINE_ITEM, lti.LINE_ITEM_READ)
def list_line_items(course_id: str) -> Response:
    """Return a page of the tool's line items of a course."""
    query = read_query(LineItemsQuery)
    named = query.resource_link_id or query.lti_link_id
    link = None if named is None else _id("link_id", named)
    with answering() as session:
        found = lti_services.list_line_items(
            session,
            g.lti_tool,
            course_id,
            limit=query.size + 1,
            after=query.after,
            link_id=link,
            resource_id=query.resource_id,
            tag=query.tag,
        )
    page = found[: query.size]
    after = page[-1].id if len(found) > query.size else None
    return _answer(models.LineItems([_line_item(item) for item in page]), models.LINE_ITEM_LIST, after=after)


@blueprint.post(CONTAINER)
@requires_scope(lti.LINE_ITEM)
def add_line_item(course_id: str) -> Response:
    """Make a line item."""
    given = read_body(LineItemInput)
    with answering() as session:
        item = lti_services.add_line_item(session, g.lti_tool, course_id, given.fields())
    response = _answer(_line_item(item), models.LINE_ITEM, status=201)
    response.headers["Location"] = _address(item)
    return response


@blueprint.get(ONE)
@requires_scope(lti.LINE_ITEM, lti.LINE_ITEM_READ)
def read_line_item(course_id: str, line_item_id: str) -> Response:
    """Return a line item."""
    with answering() as session:
        item = lti_services.find_line_item(session, g.lti_tool, course_id, line_item_id)
    return _answer(_line_item(item), models.LINE_ITEM)


@blueprint.put(ONE)
@requires_scope(lti.LINE_ITEM)
def change_line_item(course_id: str, line_item_id: str) -> Response:
    """Replace a line item's fields."""
    given = read_body(LineItemInput)
    with answering() as session:
        item = lti_services.change_line_item(session, g.lti_tool, course_id, line_item_id, given.fields())
    return _answer(_line_item(item), models.LINE_ITEM)


@blueprint.delete(ONE)
@requires_scope(lti.LINE_ITEM)
def delete_line_item(course_id: str, line_item_id: str) -> Response:
    """Delete a line item with its scores. The progress that came of them stays."""
    with answering() as session:
        lti_services.delete_line_item(session, g.lti_tool, course_id, line_item_id)
    return Response(status=204)


@blueprint.post(f"{ONE}/scores")
@requires_scope(lti.SCORE)
def post_score(course_id: str, line_item_id: str) -> Response:
    """Store a score, which is progress of the student's enrolment."""
    given, now = read_body(ScoreInput), datetime.now(UTC)
    if given.timestamp > now + AHEAD:
        detail = Detail(pointer="/timestamp", detail="is more than a day ahead of our clock")
        raise Problem("validation_failed", errors=[detail])
    score = lti_scores.Score(
        given.scoreGiven,
        given.scoreMaximum,
        given.activityProgress,
        given.gradingProgress,
        given.comment,
        given.timestamp,
    )
    with answering() as session:
        item = lti_services.find_line_item(session, g.lti_tool, course_id, line_item_id)
        lti_scores.record(session, g.lti_tool, item, _student(given.userId), score, now)
    log.info("[Lti] score", tool=g.lti_tool.id, line_item=item.id, activity=score.activity)
    return Response(status=204)


@blueprint.get(f"{ONE}/results")
@requires_scope(lti.RESULT_READ)
def list_results(course_id: str, line_item_id: str) -> Response:
    """Return a page of the students' current scores."""
    query = read_query(ResultsQuery)
    student = None if query.user_id is None else _student(query.user_id)
    with answering() as session:
        item = lti_services.find_line_item(session, g.lti_tool, course_id, line_item_id)
        found = lti_scores.list_results(
            session, item, limit=query.size + 1, after=query.after, student_id=student
        )
    page = found[: query.size]
    after = page[-1].user_id if len(found) > query.size else None
    return _answer(
        models.Results([_result(item, result) for result in page]), models.RESULT_LIST, after=after
    )


@blueprint.get("/api/lti/contexts/<course_id>/memberships")
@requires_scope(lti.MEMBERS_READ)
def list_members(course_id: str) -> Response:
    """Return a page of the students with an enrolment of the course."""
    query = read_query(MembersQuery)
    link = None if query.rlid is None else _id("link_id", query.rlid)
    with answering() as session:
        context = lti_services.find_context(session, g.lti_tool, course_id)
        lti_services.find_link(session, g.lti_tool, course_id, link)
        found: Sequence[lti_services.Member] = ()
        if query.role is None or _is_learner(query.role):
            found = lti_services.list_members(
                session, g.lti_tool, course_id, limit=query.size + 1, after=query.after
            )
    page = found[: query.size]
    answer = models.Members(
        id=get_settings().app_url + lti.memberships_path(course_id),
        context=models.Context(id=context.id, label=context.label, title=context.title),
        members=[_member(member) for member in page],
    )
    after = page[-1].id if len(found) > query.size else None
    return _answer(answer, models.MEMBER_LIST, after=after)


def _identify(scopes: Sequence[str]) -> LtiTool:
    """Return whose token this is; raise the 401 or 403 that says why it does not do."""
    header = request.authorization
    token = header.token if header is not None and header.type == "bearer" else None
    with transaction() as session:
        found = None if token is None else lti_access.open_token(session, token)
    if found is None:
        challenge = CHALLENGE if token is None else f'{CHALLENGE}, error="invalid_token"'
        raise Problem("lti_token_invalid", headers={"WWW-Authenticate": challenge})
    tool, granted = found
    if not granted.intersection(scopes):
        challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{scopes[0]}"'
        raise Problem(
            "lti_scope_missing", f"This needs {scopes[0]}.", headers={"WWW-Authenticate": challenge}
        )
    return tool


def _id(name: str, value: str) -> str:
    """Return an id of an address in its one form; what is no id names nothing."""
    if not _is_uuid(value):
        raise Problem(f"lti_{name.removesuffix('_id').replace('course', 'context')}_not_found")
    return str(uuid.UUID(value))


def _is_uuid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


def _student(reference: str) -> str:
    """Return the id of the student whom launches call so; raise the 404 where it is none of our names."""
    value = reference.removeprefix(account_reference(""))
    if not _is_uuid(value) or account_reference(value) != reference:
        raise Problem("lti_member_not_found")
    return value


def _is_learner(role: str) -> bool:
    # Some clients write addresses in small letters.
    return role.lower() in (lti.LEARNER.lower(), "learner")


def _address(item: LineItem) -> str:
    return get_settings().app_url + lti.line_item_path(item.course_id, item.id)


def _line_item(item: LineItem) -> models.LineItem:
    return models.LineItem(
        id=_address(item),
        label=item.label,
        scoreMaximum=item.score_maximum,
        resourceLinkId=item.link_id or item.course_id,
        resourceId=item.resource_id,
        tag=item.tag,
        startDateTime=item.start_at,
        endDateTime=item.end_at,
    )


def _result(item: LineItem, result: lti_scores.Result) -> models.Result:
    address = _address(item)
    return models.Result(
        id=f"{address}/results?{urlencode({'user_id': result.reference})}",
        scoreOf=address,
        userId=result.reference,
        resultScore=result.score,
        resultMaximum=result.maximum,
        comment=result.comment,
    )


def _member(member: lti_services.Member) -> models.Member:
    if member.status == "Deleted":
        return models.Member(user_id=member.reference, status="Deleted", roles=[lti.LEARNER])
    name = member.name or member.email
    given, _, family = name.rpartition(" ")
    return models.Member(
        user_id=member.reference,
        status=member.status,
        roles=[lti.LEARNER],
        name=name,
        given_name=given or family,
        family_name=family,
        email=member.email,
    )


def _answer(body: BaseModel, media_type: str, *, status: int = 200, after: str | None = None) -> Response:
    """Return an answer. With `after` there is more, and the Link header says where: the same address, further on."""
    raw = body.model_dump_json(exclude_none=True)
    response = Response(raw, status, mimetype=media_type)
    if after is not None:
        query = urlencode(
            [*((name, value) for name, value in request.args.items() if name != "after"), ("after", after)]
        )
        response.headers["Link"] = f'<{get_settings().app_url}{request.path}?{query}>; rel="next"'
    return response
