"""What may stand in the fields of the catalogue; the same over HTTP and in a file."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

SLUG = r"^[a-z0-9]+(-[a-z0-9]+)*$"
SLUG_MAX = 100
# One line, with something to see in it.
LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\s\x00-\x1f\x7f-\x9f\u2028\u2029][^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
LINE_MAX = 200
# PostgreSQL's text holds every character but NUL.
TEXT = r"^[^\x00]*$"
DESCRIPTION_MAX = 10_000
# Characters of a lesson's text.
BODY_MAX = 50_000
# What a page may link to; `javascript:` and the like it must not.
ADDRESS = r"^https?://[^\x00-\x20/?#\[\]\x7f-\x9f]+([/?#][^\x00-\x20\x7f-\x9f]*)?$"
ADDRESS_MAX = 2_000
HOURS_MAX = 100_000
# Rows of one course.
LESSONS_MAX = 500
LIST_MAX = 50


def check_slug(raw: str) -> str:
    """Return the slug; raise `ValueError` for anything but lower-case words joined by hyphens."""
    if len(raw) > SLUG_MAX or re.fullmatch(SLUG[1:-1], raw) is None:
        raise ValueError(
            f"must be lower-case letters and digits joined by single hyphens, at most {SLUG_MAX} characters"
        )
    return raw


def make_slug(title: str) -> str:
    """Return a slug made from a title; `course` where nothing of it can be used."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    # Room is left for the number of a second one.
    return "-".join(re.findall(r"[a-z0-9]+", plain))[: SLUG_MAX - 8].strip("-") or "course"


def clean_line(raw: str) -> str:
    """Return one line of text without surrounding white space; raise `ValueError` for none, or for more than a line."""
    if len(raw) > LINE_MAX or re.fullmatch(LINE[1:-1], raw) is None:
        raise ValueError(f"must be one line of 1 to {LINE_MAX} characters")
    return raw.strip()


def check_text(raw: str) -> str:
    """Return a text of any lines; raise `ValueError` for one that PostgreSQL cannot keep."""
    if "\x00" in raw:
        raise ValueError("must not contain the character NUL")
    return raw


def check_address(raw: str) -> str:
    """Return a web address; raise `ValueError` for anything that a page should not link to."""
    if len(raw) > ADDRESS_MAX or re.fullmatch(ADDRESS[1:-1], raw) is None:
        raise ValueError("must be a web address, https://...")
    return raw


def round_hours(raw: Decimal) -> Decimal:
    """Return hours as they are kept, to a hundredth."""
    return raw.quantize(Decimal("0.01"))


def _schema(pattern: str, most: int) -> Any:
    return Field(json_schema_extra={"minLength": 1, "maxLength": most, "pattern": pattern})


Slug = Annotated[str, AfterValidator(check_slug), _schema(SLUG, SLUG_MAX)]
Line = Annotated[str, AfterValidator(clean_line), _schema(LINE, LINE_MAX)]
Description = Annotated[str, Field(max_length=DESCRIPTION_MAX, pattern=TEXT)]
Markdown = Annotated[str, Field(max_length=BODY_MAX, pattern=TEXT)]
WebAddress = Annotated[str, AfterValidator(check_address), _schema(ADDRESS, ADDRESS_MAX)]
Difficulty = Literal["beginner", "intermediate", "advanced"]
Hours = Annotated[
    Decimal,
    Field(ge=0, le=HOURS_MAX, allow_inf_nan=False),
    AfterValidator(round_hours),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": HOURS_MAX}),
]
XpReward = Annotated[int, Field(ge=0, le=1_000_000)]
