"""What the XP ledger refuses, and the outcomes by which the database's functions say so."""

from __future__ import annotations

from domain.errors import DomainError, NotFound, NotPossible


class NotEnrolled(DomainError):
    """The student is not enrolled in this course."""

    code = "not_enrolled"


class NoLesson(DomainError):
    """The course has no such published lesson."""

    code = "no_lesson"


class WrongAmount(DomainError):
    """The amount that was claimed is not the lesson's."""

    code = "wrong_amount"


class CompletedBefore(DomainError):
    """The lesson was completed before; its XP are given once."""

    code = "completed_before"


class BelowZero(DomainError):
    """A manual deduction would take the total below zero."""

    code = "below_zero"


class KeyReused(DomainError):
    """The key was used for another adjustment of this user."""

    code = "key_reused"


class ReversedBefore(NotPossible):
    """The award was reversed before."""

    code = "reversed_before"


REFUSALS: dict[str, type[DomainError]] = {
    "not_enrolled": NotEnrolled,
    "no_lesson": NoLesson,
    "wrong_amount": WrongAmount,
    "completed_before": CompletedBefore,
    "not_found": NotFound,
    "not_an_award": NotPossible,
    "reversed_before": ReversedBefore,
}
