"""How a route is described, for the OpenAPI document and the pages made from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel

SIGNED_IN: list[dict[str, list[str]]] = [{"bearer": []}, {"session": []}]
# The access token of an LTI tool.
TOOL: list[dict[str, list[str]]] = [{"tool": []}]


@dataclass(frozen=True)
class Answer:
    """An answer that is no error: a JSON body of a model, or only a description. `also` are text media types beside it."""

    description: str
    model: type[BaseModel] | None = None
    media_type: str = "application/json"
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One route. `problems` are the codes that it answers, besides those that every route may answer.

    With `raw_body` the body is taken as it is, whatever it is.
    """

    method: str
    path: str
    id: str
    summary: str
    tag: str
    answers: dict[int, Answer]
    problems: tuple[str, ...] = ()
    description: str = ""
    body: type[BaseModel] | None = None
    body_type: str = "application/json"
    raw_body: bool = False
    query: type[BaseModel] | None = None
    headers: tuple[str, ...] = ()
    optional_headers: tuple[str, ...] = ()
    security: list[dict[str, list[str]]] = field(default_factory=list)
