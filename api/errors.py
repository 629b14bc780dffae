"""Every error answer: RFC 9457 problem+json for programs, a small page for people, one registry of codes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import structlog
from flask import Flask, Response, g, make_response, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException

from api.problems import PROBLEMS
from db import lean

PROBLEM_JSON = "application/problem+json"
# Bytes of a JSON body. A resource that takes more says so itself.
MAX_BODY = 64 * 1024
NO_NUL = "must not contain the character NUL"
# Seconds after which a caller may hope that the database is back.
DATABASE_RETRY_AFTER = 5

Model = TypeVar("Model", bound=BaseModel)
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


CODE_BY_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}


class Detail(BaseModel):
    """One wrong value. `pointer` is a JSON pointer into the body, or `?name` for a query parameter."""

    pointer: str
    detail: str


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 has it. `type` opens a page that explains the code."""

    type: str = Field(examples=["/problems/not_found"])
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    hint: str | None = None
    errors: list[Detail] | None = None


class Problem(Exception):
    """An answer that is an error; `code` is a key of `PROBLEMS`."""

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        hint: str | None = None,
        errors: Sequence[Detail] | None = None,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(code)
        kind = PROBLEMS[code]
        self.code, self.kind = code, kind
        self.status = status or kind.status
        self.detail = detail or kind.meaning
        self.hint = hint or kind.action
        self.errors = list(errors) if errors else None
        self.headers = dict(headers or {})

    def document(self) -> ProblemDocument:
        """Return the body of the answer."""
        return ProblemDocument(
            type=f"/problems/{self.code}",
            title=self.kind.title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            request_id=g.get("request_id", ""),
            hint=self.hint,
            errors=self.errors,
        )


def validation_problem(error: ValidationError, prefix: str = "/") -> Problem:
    """Return the 422 that names each wrong value, never repeating the value itself."""
    items = error.errors(include_url=False, include_context=False, include_input=False)
    details = [
        Detail(
            pointer=prefix + "/".join(_escape(part) for part in item["loc"]),
            detail=item["msg"].removeprefix("Value error, "),
        )
        for item in items
    ]
    return Problem("validation_failed", errors=details)


def read_raw(limit: int) -> bytes:
    """Return the request's body; raise the 413 for more than `limit` bytes, whether or not a length was announced.

    Werkzeug cuts a chunked body off at its limit without a word, so one byte more is asked for and then refused.
    """
    request.max_content_length = limit + 1
    body = request.get_data(cache=False)
    if len(body) > limit:
        raise Problem("too_large", f"The body is larger than {limit} bytes.")
    return body


def read_body(model: type[Model]) -> Model:
    """Return the request's JSON body as a model; raise the 400, 415 or 422 that fits."""
    if not request.is_json:
        raise Problem("unsupported_media_type")
    raw = read_raw(MAX_BODY)
    try:
        values = model.model_validate_json(raw)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise Problem("malformed_json") from None
        raise validation_problem(error) from None
    if b"\\u0000" in raw:  # JSON has no other way to write it.
        _refuse([Detail(pointer=place or "/", detail=NO_NUL) for place in _find_nul(json.loads(raw))])
    return values


def read_query(model: type[Model]) -> Model:
    """Return the query parameters as a model; raise the 422 that names the wrong ones, and those that came twice."""
    known = {field.alias or name for name, field in model.model_fields.items()}
    twice = [name for name, values in request.args.lists() if name in known and len(values) > 1]
    _refuse([Detail(pointer=f"?{name}", detail="is there more than once") for name in twice])
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise validation_problem(error, prefix="?") from None


def _refuse(errors: list[Detail]) -> None:
    if errors:
        raise Problem("validation_failed", errors=errors)


def _find_nul(value: object, pointer: str = "") -> Iterator[str]:
    """Yield where a text has the character NUL, which PostgreSQL cannot keep."""
    if isinstance(value, str) and "\0" in value:
        yield pointer
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _find_nul(item, f"{pointer}/{index}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _find_nul(name, pointer)
            yield from _find_nul(item, f"{pointer}/{_escape(name)}")


def _escape(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def register(app: Flask) -> None:
    """Answer every error of this app as a problem."""
    app.register_error_handler(Problem, answer)
    app.register_error_handler(HTTPException, answer_http)
    app.register_error_handler(DBAPIError, answer_database)
    for away in lean.AWAY:
        app.register_error_handler(away, answer_outage)
    app.register_error_handler(Exception, answer_unexpected)


def answer(problem: Problem) -> Response:
    """Return the problem as a page for a browser, as problem+json for everybody else."""
    g.problem = problem.code
    if wants_html():
        response = make_response(render_template("problem.html", problem=problem))
    else:
        response = Response(problem.document().model_dump_json(exclude_none=True), mimetype=PROBLEM_JSON)
    response.status_code = problem.status
    response.headers.update(problem.headers)
    response.vary.add("Accept")
    return response


def answer_http(error: HTTPException) -> ResponseReturnValue:
    """Return what Flask and Werkzeug raise (404, 405, 413, ...) as a problem; redirects stay redirects."""
    if error.code is None or error.code < 400:
        return error
    if error.code >= 500:
        return answer_unexpected(error)
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return answer(Problem(CODE_BY_STATUS.get(error.code, "http_error"), headers=headers, status=error.code))


def answer_database(error: DBAPIError) -> Response:
    """Tell a database that cannot be used just now from a mistake of ours."""
    return answer_outage(error) if is_outage(error) else answer_unexpected(error)


def is_outage(error: Exception) -> bool:
    """Say whether the database cannot be used just now: it is down, busy or too slow."""
    if isinstance(error, (OperationalError, InterfaceError, *lean.AWAY)):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def answer_outage(error: Exception) -> Response:
    """Return the 503 of a database that is down, busy or too slow."""
    cause = getattr(error, "orig", None) or error
    log.error("database unavailable", error=type(cause).__name__, reason=str(cause).partition("\n")[0])
    return answer(Problem("database_unavailable", headers={"Retry-After": str(DATABASE_RETRY_AFTER)}))


def answer_unexpected(error: Exception) -> Response:
    """Return a 500 that tells nothing of the inside; the log has the traceback."""
    log.error("unexpected error", exc_info=error)
    return answer(Problem("internal_error"))


def wants_html() -> bool:
    """Say whether a person's browser asks, rather than a program."""
    accept = request.accept_mimetypes
    return accept["text/html"] > max(accept["application/json"], accept[PROBLEM_JSON])
