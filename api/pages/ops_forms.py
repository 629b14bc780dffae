"""Forms of the console with fields of their own: what was typed wrong comes back beside its field, with the rest kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from flask import Response, request
from flask_babel import gettext as _
from sqlalchemy.orm import Session

from api.auth import current_identity
from api.errors import Problem
from api.pages import forms
from domain.errors import DomainError, NotFound

REASON_MAX = 500
Value = TypeVar("Value")


class Wrong(Exception):
    """What was typed cannot be taken; `errors` maps each field's name to what is wrong with it."""

    def __init__(self, **errors: str) -> None:
        self.errors = errors
        super().__init__(", ".join(errors))


class Fields:
    """Reads a form; mistakes are gathered, so that all of them are told at once."""

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}

    def text(self, name: str, *, most: int = 200, needed: str | None = None, lines: bool = False) -> str:
        """Return a text without white space around it; `needed` is what to say where it is empty."""
        typed = request.form.get(name, "").strip().replace("\r\n", "\n")
        allowed = "\n\t" if lines else ""
        if any(not letter.isprintable() and letter not in allowed for letter in typed) or len(typed) > most:
            self.errors[name] = _("Write text of at most %(most)s characters.", most=most)
        elif not typed and needed is not None:
            self.errors[name] = needed
        return typed

    def reason(self) -> str:
        """Return why; nothing is done without."""
        return self.text("reason", most=REASON_MAX, needed=_("Say why; the reason is kept with your name."))

    def whole(self, name: str, low: int, high: int) -> int:
        """Return a whole number between two, both included."""
        try:
            number = int(request.form.get(name, "").strip())
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            self.errors[name] = _("Write a whole number from %(low)s to %(high)s.", low=low, high=high)
        return number

    def points(self, name: str, most: int) -> Decimal:
        """Return points with two decimal places at most; a decimal comma is one, too."""
        try:
            number = Decimal(request.form.get(name, "").strip().replace(",", "."))
        except InvalidOperation:
            number = Decimal(-1)
        exponent = number.as_tuple().exponent
        if (
            not number.is_finite()
            or not 0 <= number <= most
            or not isinstance(exponent, int)
            or exponent < -2
        ):
            self.errors[name] = _("Write points from 0 to %(most)s, with two decimals at most.", most=most)
            return Decimal(0)
        return number

    def day(self, name: str, *, needed: bool = False) -> date | None:
        """Return a date, None where the field is empty."""
        typed = request.form.get(name, "").strip()
        if not typed and not needed:
            return None
        try:
            return date.fromisoformat(typed)
        except ValueError:
            self.errors[name] = _("Choose a date.")
            return None

    def check(self) -> None:
        """Raise what was gathered."""
        if self.errors:
            raise Wrong(**self.errors)


def submit(
    form: str,
    read: Callable[[Fields], Value],
    work: Callable[[Session, Value], str],
    page: Callable[[dict[str, str], int], Response],
    refusals: Callable[[DomainError], Wrong | None] = lambda error: None,
) -> Response:
    """Do once what a form asks for, and lead to the address that `work` returns (303).

    Mistakes come back as the page (422), and so does what the rules refuse (409), beside the field that `refusals`
    names, else at the reason. Ids of fields are `{form}-{name}`.
    """
    fields = Fields()
    try:
        values = read(fields)
        fields.check()
        return forms.go_once(lambda session: work(session, values))
    except Wrong as wrong:
        return page(_named(form, wrong), 422)
    except NotFound as error:
        found = refusals(error)
        if found is None:
            raise Problem("not_found") from None
        return page(_named(form, found), 422)
    except DomainError as error:
        words = str(error)
        found = refusals(error) or Wrong(reason=f"{words[:1].upper()}{words[1:].rstrip('.')}.")
        return page(_named(form, found), 409)


def actor() -> str:
    """Return who is signed in, for the audit."""
    return current_identity().subject


def _named(form: str, wrong: Wrong) -> dict[str, str]:
    return {f"{form}-{name}": words for name, words in wrong.errors.items()}
