"""What tools send and are told: line items, scores and results (AGS 2.0), members (NRPS 2.0). Names are the standards'.

Tools are read leniently: numbers may come as texts (Moodle's "88.00000"), times with Z or +0000, and what a standard may
add one day is left unread.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    RootModel,
    model_validator,
)

from domain.lti_scores import ACTIVITY, GRADING

LINE_ITEM = "application/vnd.ims.lis.v2.lineitem+json"
LINE_ITEM_LIST = "application/vnd.ims.lis.v2.lineitemcontainer+json"
SCORE = "application/vnd.ims.lis.v1.score+json"
RESULT_LIST = "application/vnd.ims.lis.v2.resultcontainer+json"
MEMBER_LIST = "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"

# Points are kept with five places.
PLACES, LEAST, MOST = Decimal("0.00001"), Decimal("0.00001"), Decimal(10**8)
TEXT_MAX, COMMENT_MAX = 1000, 10_000
# Entries of a page where the tool names no limit, and the most that it gets.
PAGE, PAGE_MAX = 100, 1000


def _read_number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value.strip() if isinstance(value, str) else value


def _read_time(value: Any) -> Any:
    """Return a time in UTC. ISO 8601 as tools write it; without an offset nobody could say which moment it is."""
    if not isinstance(value, str):
        raise ValueError("must be a time in a text")
    try:
        moment = datetime.fromisoformat(value.strip())
        if not 1970 <= moment.year <= 9000:
            raise ValueError
    except ValueError:
        raise ValueError("must be a time such as 2026-11-21T14:45:30.123Z") from None
    if moment.tzinfo is None:
        raise ValueError("must be a time with its offset, such as Z or +01:00")
    return moment.astimezone(UTC)


def _read_text(value: Any) -> Any:
    """Return a text; some tools send numbers as ids, or an empty text for nothing."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None if value == "" else value


def _uuid(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ValueError("must be an id that we gave out") from None


def _places(value: Decimal) -> Decimal:
    try:
        return value.quantize(PLACES)
    except InvalidOperation:
        raise ValueError("has too many digits") from None


NumberText = Annotated[str, Field(pattern=r"^ *[0-9]+(\.[0-9]+)? *$")]
Points = Annotated[
    Decimal,
    BeforeValidator(_read_number, json_schema_input_type=float | NumberText),
    AfterValidator(_places),
]
Moment = Annotated[datetime, BeforeValidator(_read_time, json_schema_input_type=datetime)]
Text = Annotated[Annotated[str, Field(max_length=TEXT_MAX)] | None, BeforeValidator(_read_text)]
Id = Annotated[str, AfterValidator(_uuid), Field(json_schema_extra={"format": "uuid"})]
# JSON numbers, because that is what tools calculate with.
Number = Annotated[Decimal, PlainSerializer(float, return_type=float)]


class LineItemInput(BaseModel):
    """A line item as a tool sends it."""

    label: str = Field(min_length=1, max_length=TEXT_MAX, pattern=r"\S")
    scoreMaximum: Points = Field(ge=LEAST, le=MOST)
    resourceLinkId: Annotated[Id | None, BeforeValidator(_read_text)] = None
    resourceId: Text = None
    tag: Text = None
    startDateTime: Moment | None = None
    endDateTime: Moment | None = None

    def fields(self) -> dict[str, Any]:
        """Return what `domain.lti_services` takes."""
        return {
            "label": self.label,
            "maximum": self.scoreMaximum,
            "link": self.resourceLinkId,
            "resource": self.resourceId,
            "tag": self.tag,
            "start": self.startDateTime,
            "end": self.endDateTime,
        }


class ScoreInput(BaseModel):
    """A score as a tool sends it. Without `scoreGiven` the student has no score (any more)."""

    userId: str = Field(min_length=1, max_length=TEXT_MAX)
    timestamp: Moment
    activityProgress: Literal[ACTIVITY]  # type: ignore[valid-type]
    gradingProgress: Literal[GRADING]  # type: ignore[valid-type]
    scoreGiven: Points | None = Field(None, ge=0, le=MOST)
    scoreMaximum: Points | None = Field(None, ge=LEAST, le=MOST)
    comment: str | None = Field(None, max_length=COMMENT_MAX)

    @model_validator(mode="after")
    def _need_maximum(self) -> ScoreInput:
        if self.scoreGiven is not None and self.scoreMaximum is None:
            raise ValueError("scoreMaximum must come with scoreGiven")
        return self


class PageQuery(BaseModel):
    """A page of a list: at most `limit` entries, after the one that the Link header of the page before names."""

    limit: int = Field(PAGE, ge=1, description=f"at most {PAGE_MAX} are answered")
    after: Id | None = None

    @property
    def size(self) -> int:
        return min(self.limit, PAGE_MAX)


class LineItemsQuery(PageQuery):
    """Which line items."""

    resource_link_id: str | None = None
    lti_link_id: str | None = Field(None, description="an older name of resource_link_id")
    resource_id: str | None = None
    tag: str | None = None


class ResultsQuery(PageQuery):
    """Whose results."""

    user_id: str | None = None


class MembersQuery(PageQuery):
    """Which members. `role` is a role's URI or its last word; `rlid` a resource link of the course."""

    role: str | None = None
    rlid: str | None = None


class LineItem(BaseModel):
    """A line item. `id` is its address; a course without a chosen link is its own resource link."""

    id: str
    label: str
    scoreMaximum: Number
    resourceLinkId: str
    resourceId: str | None = None
    tag: str | None = None
    startDateTime: datetime | None = None
    endDateTime: datetime | None = None


class LineItems(RootModel[list[LineItem]]):
    """A page of line items."""


class Result(BaseModel):
    """A student's current score, in points of the line item."""

    id: str
    scoreOf: str
    userId: str
    resultScore: Number
    resultMaximum: Number
    comment: str | None = None


class Results(RootModel[list[Result]]):
    """A page of results."""


class Context(BaseModel):
    """The course."""

    id: str
    label: str
    title: str


class Member(BaseModel):
    """A student. Of one whose place was taken away nothing but the id is told."""

    user_id: str
    status: Literal["Active", "Inactive", "Deleted"]
    roles: list[str]
    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    email: str | None = None


class Members(BaseModel):
    """A page of members."""

    id: str
    context: Context
    members: list[Member]
