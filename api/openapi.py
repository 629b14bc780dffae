"""The API's description, made from the models that validate: `/openapi.json`, `/docs`, and a page for each problem."""

from __future__ import annotations

import re
from typing import Any, Literal

from flask import Blueprint, Response, jsonify, make_response, render_template
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.achievement_operations import ACHIEVEMENT_OPERATIONS
from api.assignment_operations import ASSIGNMENT_OPERATIONS
from api.auth import COOKIE, public
from api.certificate_operations import CERTIFICATE_OPERATIONS
from api.course_operations import COURSE_OPERATIONS
from api.errors import PROBLEM_JSON, Problem, ProblemDocument
from api.limits import EXEMPT
from api.lti_operations import LTI_OPERATIONS
from api.lti_service_operations import LTI_SERVICE_OPERATIONS
from api.manual_operations import MANUAL_OPERATIONS
from api.operations import SIGNED_IN, Answer, Operation
from api.partner_operations import PARTNER_OPERATIONS
from api.privacy_operations import PRIVACY_OPERATIONS
from api.problems import PROBLEMS
from api.profile_operations import PROFILE_OPERATIONS
from api.quiz_operations import QUIZ_OPERATIONS
from api.student import PageQuery, PartnerEnrollments
from api.users import UserAnswer, UserInput
from api.xp_operations import XP_OPERATIONS
from settings import get_settings

REF = "#/components/schemas/{model}"
# What may stand in a header, where it is not any text.
HEADERS = {
    "Idempotency-Key": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[!-~]+$",
        "description": "A fresh uuid for each thing that is to be done. The same again gets the same answer.",
    },
    "If-Match": {"type": "string", "pattern": '^"[0-9]{1,9}"$', "description": "The ETag of what was edited"},
}

blueprint = Blueprint("openapi", __name__)


class Received(BaseModel):
    """The event is stored."""

    received: bool


class Health(BaseModel):
    """The process answers."""

    status: str


class Check(BaseModel):
    """One dependency. `current` and `head` are schema revisions."""

    status: str
    reason: str | None = None
    current: str | None = None
    head: str | None = None


class Readiness(BaseModel):
    """Each dependency by name."""

    status: str
    checks: dict[str, Check]


OPERATIONS = (
    Operation(
        "post",
        "/api/stripe/webhook",
        "receiveStripeEvent",
        "Take a Stripe event",
        "payments",
        {200: Answer("The event is stored, now or before", Received)},
        ("stripe_signature_invalid", "stripe_event_invalid", "too_large", "database_unavailable"),
        description="The body is the event exactly as Stripe signed it. Events of every type are taken; a repeat "
        "answers the same. Up to 512 KiB.",
        headers=("Stripe-Signature",),
    ),
    Operation(
        "get",
        "/api/partner-launch/{enrollmentId}",
        "launchPartnerCourse",
        "Open a partner's course",
        "courses",
        {
            302: Answer("To the partner's course; the address works once and for seconds"),
            200: Answer(
                "A page with one button, where the partner wants a form; or with the student's own code and what to do",
                media_type="text/html",
            ),
        },
        (
            "not_signed_in",
            "no_student",
            "not_your_enrollment",
            "enrollment_not_found",
            "enrollment_pending",
            "enrollment_failed",
            "enrollment_suspended",
            "enrollment_revoked",
            "partner_unavailable",
            "code_unreadable",
        ),
        description="Meant to be followed by the student's browser, at the click. Never store where it leads.",
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/student/partner-enrollments",
        "listPartnerEnrollments",
        "List one's own partner enrolments",
        "courses",
        {200: Answer("A page, newest first", PartnerEnrollments)},
        ("not_signed_in", "no_student", "invalid_cursor", "validation_failed"),
        query=PageQuery,
        security=SIGNED_IN,
    ),
    Operation(
        "put",
        "/api/users/{id}",
        "putUser",
        "Make or update a user",
        "users",
        {200: Answer("Updated", UserAnswer), 201: Answer("Made", UserAnswer)},
        (
            "malformed_json",
            "not_signed_in",
            "wrong_role",
            "cross_site",
            "email_taken",
            "user_erased",
            "unsupported_media_type",
            "validation_failed",
        ),
        description="For service and ops tokens. The id is the one that a checkout's metadata carries as studentId.",
        body=UserInput,
        security=SIGNED_IN,
    ),
    Operation("get", "/healthz", "healthz", "Is it alive", "operations", {200: Answer("Alive", Health)}),
    Operation(
        "get",
        "/readyz",
        "readyz",
        "Is it ready",
        "operations",
        {200: Answer("Ready", Readiness), 503: Answer("Not ready", Readiness)},
    ),
    Operation(
        "get",
        "/metrics",
        "metrics",
        "Prometheus metrics",
        "operations",
        {200: Answer("Gauges", media_type="text/plain")},
        ("database_unavailable",),
    ),
    *XP_OPERATIONS,
    *ACHIEVEMENT_OPERATIONS,
    *ASSIGNMENT_OPERATIONS,
    *CERTIFICATE_OPERATIONS,
    *COURSE_OPERATIONS,
    *MANUAL_OPERATIONS,
    *PRIVACY_OPERATIONS,
    *LTI_OPERATIONS,
    *LTI_SERVICE_OPERATIONS,
    *PARTNER_OPERATIONS,
    *PROFILE_OPERATIONS,
    *QUIZ_OPERATIONS,
)


@blueprint.get("/openapi.json")
@public
def specification() -> Response:
    """Return the API's description, OpenAPI 3.1."""
    return jsonify(make_spec())


@blueprint.get("/docs")
@public
def docs() -> Response:
    """Show the operations as a page."""
    return make_response(render_template("docs.html", spec=make_spec(), problems=PROBLEMS))


@blueprint.get("/problems/<code>")
@public
def problem_page(code: str) -> Response:
    """Explain one problem code, the page that `type` of an error leads to."""
    if code not in PROBLEMS:
        raise Problem("not_found", "There is no problem with this code.")
    return make_response(render_template("problem_kind.html", code=code, kind=PROBLEMS[code]))


def make_spec() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Usher", "version": "1", "description": "From payment to seat."},
        "servers": [{"url": get_settings().app_url}],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _security()},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": {**_answers(operation), **_problems(operation)},
        "security": operation.security,
    }
    if operation.description:
        spec["description"] = operation.description
    if operation.body is not None:
        spec["requestBody"] = {
            "required": True,
            "content": _content(Answer("", operation.body, operation.body_type)),
        }
    elif operation.raw_body:
        schema = {"type": "string", "contentMediaType": "application/octet-stream"}
        spec["requestBody"] = {
            "required": True,
            "content": {"application/octet-stream": {"schema": schema}},
        }
    elif operation.headers:
        spec["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    return spec


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    uuid, other = {"type": "string", "format": "uuid"}, {"type": "string"}
    names = re.findall(r"{(\w+)}", operation.path)
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": uuid if name.lower().endswith("id") else other,
        }
        for name in names
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    model = operation.query.model_json_schema()
    required = model.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in model["properties"].items()
    ]


def _headers(operation: Operation) -> list[dict[str, Any]]:
    named = [
        *((name, True) for name in operation.headers),
        *((name, False) for name in operation.optional_headers),
    ]
    return [
        {"name": name, "in": "header", "required": must, "schema": HEADERS.get(name, {"type": "string"})}
        for name, must in named
    ]


def _answers(operation: Operation) -> dict[str, Any]:
    return {
        str(status): {"description": answer.description, "content": _content(answer)}
        for status, answer in operation.answers.items()
    }


def _content(answer: Answer) -> dict[str, Any]:
    content: dict[str, Any] = {media_type: {} for media_type in answer.also}
    if answer.model is not None:
        content[answer.media_type] = {"schema": {"$ref": REF.format(model=answer.model.__name__)}}
    elif answer.media_type != "application/json":
        content[answer.media_type] = {"schema": {"type": "string"}}
    return content


def _problems(operation: Operation) -> dict[str, Any]:
    """Return the error answers by status; codes that share one are listed in its description."""
    by_status: dict[int, list[str]] = {}
    everywhere = ["internal_error"]
    if operation.path not in EXEMPT:
        everywhere.append("rate_limited")
    if "not_signed_in" in operation.problems:
        everywhere.append("identity_provider_unavailable")
    for code in (*operation.problems, *everywhere):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    content = _content(Answer("", ProblemDocument, PROBLEM_JSON))
    return {
        str(status): {"description": ", ".join(codes), "content": content}
        for status, codes in sorted(by_status.items())
    }


def _schemas() -> dict[str, Any]:
    bodies: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        (ProblemDocument, "serialization")
    ]
    for operation in OPERATIONS:
        if operation.body is not None:
            bodies.append((operation.body, "validation"))
        bodies.extend(
            (answer.model, "serialization") for answer in operation.answers.values() if answer.model
        )
    _, definitions = models_json_schema(bodies, by_alias=True, ref_template=REF)
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _security() -> dict[str, Any]:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API token: usher_..."},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "A signed-in browser"},
        "tool": {"type": "http", "scheme": "bearer", "description": "An LTI tool's access token"},
    }
