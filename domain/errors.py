"""What the rules refuse. An error is a named fact; its message is for people."""

from __future__ import annotations


class DomainError(Exception):
    """A rule was not met. `code` is stable."""

    code = "refused"


class NotFound(DomainError):
    """There is no such row."""

    code = "not_found"


class NotPossible(DomainError):
    """The row is in a state in which this cannot be done."""

    code = "not_possible"


class NoLongerWanted(DomainError):
    """What a task was working on is not wanted any more: it was revoked, suspended or finished meanwhile."""

    code = "no_longer_wanted"
