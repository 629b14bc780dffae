"""One operation of a declarative partner: how it is asked, and what its answers mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from partners.errors import (
    Conflict,
    CredentialsWrong,
    NotFound,
    NotReadyYet,
    OutcomeUnknown,
    PartnerError,
    RateLimited,
    Refused,
    RetryLater,
)
from partners.http import MAX_PAUSE, Answer, parse_retry_after
from partners.rest.answers import TEXT_LENGTH, Expression, Unreadable, compiled
from partners.rest.templates import Template, Values, as_text, compile_tree, fill_tree

HEADER_LENGTH = 2000
_EPOCH = re.compile(r"\d{1,12}(\.\d{1,6})?")
ANY_BODY = frozenset({200, 201, 202})


class LookUp(Conflict):
    """It may be there already: look it up. `refusal` is what it was, if it is not."""

    def __init__(self, message: str, refusal: PartnerError) -> None:
        self.refusal = refusal
        super().__init__(message, status=refusal.status)


@dataclass(frozen=True)
class Rule:
    """What an answer means. Without a status it is about successful ones."""

    status: int | None
    when: Expression | None
    means: str

    def holds(self, status: int, told: Any) -> bool:
        """Return whether the rule is about this answer."""
        right = 200 <= status < 300 if self.status is None else self.status == status
        return right and (self.when is None or self.when.holds(told))


@dataclass(frozen=True)
class Reset:
    """Where a throttled answer says when to come back."""

    header: str = "Retry-After"
    is_epoch: bool = False

    def seconds(self, headers: Any) -> float | None:
        """Return the pause in seconds, None where the answer names none. The partner's own clock counts, if it tells it."""
        value = headers.get(self.header)
        if value is None or not self.is_epoch:
            return parse_retry_after(value if value is not None else headers.get("Retry-After"))
        if not _EPOCH.fullmatch(value.strip()):
            return None
        return min(max(float(value) - _clock(headers), 0.0), MAX_PAUSE)


class Request:
    """A request as it is about to go out."""

    def __init__(self, operation: Operation, values: Values) -> None:
        self.path, self.path_args = operation.path.path(values)
        self.query = {name: as_text(item) for name, item in fill_tree(operation.query, values).items()}
        self.headers = {name: template.text(values) for name, template in operation.headers.items()}
        self.json = fill_tree(operation.json, values)
        self.form = (
            None
            if operation.form is None
            else {name: as_text(item) for name, item in fill_tree(operation.form, values).items()}
        )
        for name, value in self.headers.items():
            if len(value) > HEADER_LENGTH or not (value.isascii() and (value.isprintable() or not value)):
                raise Refused(f"{operation.call}: the header {name} cannot carry this value")


class Operation:
    """An operation, with everything compiled."""

    def __init__(self, name: str, options: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
        limits = options.get("limits", {})
        self.name = name
        self.method: str = spec["method"]
        self.path = Template(spec["path"])
        self.call = f"{self.method} {spec['path']}"
        self.query = compile_tree(spec.get("query", {}))
        self.headers = {name: Template(text) for name, text in spec.get("headers", {}).items()}
        self.json, self.form = compile_tree(spec.get("json")), compile_tree(spec.get("form"))
        self.idempotent: bool = spec.get("idempotent", self.method not in ("POST", "PATCH"))
        self.success_when = _expression(spec.get("success_when", options.get("success_when")))
        throttled = [{**item, "means": "rate_limited"} for item in limits.get("throttled", [])]
        rules = [*throttled, *spec.get("errors", []), *options.get("errors", [])]
        self.rules = [
            Rule(item.get("status"), _expression(item.get("when")), item["means"])
            for item in [*rules, {"status": 429, "means": "rate_limited"}]
        ]
        # Statuses that the door is to hand over, because a rule may be about them.
        told = frozenset(rule.status for rule in self.rules if rule.status is not None)
        self.accept = told | (ANY_BODY if spec.get("any_body") else frozenset())
        reset = limits.get("reset", {})
        self.reset = Reset(reset.get("header", "Retry-After"), reset.get("is") == "epoch")
        self.items, self.live_when = _expression(spec.get("items")), _expression(spec.get("live_when"))
        self.match = [(Expression(pair["where"]), Template(pair["equals"])) for pair in spec.get("match", [])]
        self.paging: Mapping[str, Any] | None = spec.get("paging")
        self.next = _expression((self.paging or {}).get("next"))
        self.result = compiled(spec.get("result", {}))
        self.full: float = spec.get("result", {}).get("full", 100)

    def judge(self, answer: Answer, usual: Callable[[], PartnerError]) -> None:
        """Raise what an answer means; return where it is what was asked for. `usual` gives what the status alone means."""
        told = answer.json
        if told is None and answer.body:
            told = {"text": answer.body[:TEXT_LENGTH].decode("utf-8", "replace")}
        try:
            for rule in self.rules:
                if rule.holds(answer.status, told):
                    raise self._error(rule.means, answer, usual())
            if not 200 <= answer.status < 300:
                raise usual()
            if self.success_when is not None and not self.success_when.holds(told):
                raise Refused(f"{usual()} (and is no success)", status=answer.status)
        except Unreadable as error:
            raise self.unclear(str(error), answer.status) from None

    def unclear(self, message: str, status: int | None = None) -> PartnerError:
        """Return the error of an answer that cannot be read."""
        kind = RetryLater if self.idempotent else OutcomeUnknown
        return kind(f"{self.call}: {message}", status=status)

    def list_of(self, answer: Answer) -> list[Any]:
        """Return the items of an answer; without an expression for them the answer is the only one."""
        if self.items is None:
            return [] if answer.json is None else [answer.json]
        try:
            found = self.items.find(answer.json)
        except Unreadable as error:
            raise self.unclear(str(error), answer.status) from None
        if not isinstance(found, list):
            raise self.unclear("answered no list", answer.status)
        return found

    def ours(self, items: list[Any], values: Values) -> Iterator[Any]:
        """Yield the items that are exactly ours and not given up."""
        for item in items:
            try:
                told = [(where.find(item), equals.text(values)) for where, equals in self.match]
                if any(value is None for value, _ in told):
                    raise Unreadable("answered an item that lacks what is compared")
                if all(_is_equal(value, wanted) for value, wanted in told) and (
                    self.live_when is None or self.live_when.holds(item)
                ):
                    yield item
            except Unreadable as error:
                raise self.unclear(str(error)) from None

    def _error(self, means: str, answer: Answer, usual: PartnerError) -> PartnerError:
        message, status = str(usual), answer.status
        if means == "look_up":
            return LookUp(message, Refused(message, status=status))
        if means in ("retry", "rate_limited"):
            kind = RetryLater if means == "retry" else RateLimited
            return kind(message, status=status, after=self.reset.seconds(answer.headers))
        if means == "outcome_unknown" and self.idempotent:
            return RetryLater(message, status=status)
        return _MEANINGS[means](message, status=status)


_MEANINGS: dict[str, type[PartnerError]] = {
    "duplicate": Conflict,
    "credentials": CredentialsWrong,
    "refused": Refused,
    "not_found": NotFound,
    "not_ready": NotReadyYet,
    "outcome_unknown": OutcomeUnknown,
}


def _expression(text: str | None) -> Expression | None:
    return None if text is None else Expression(text)


def _is_equal(value: Any, wanted: str) -> bool:
    """Return whether what the partner has is exactly ours; of numbers, whole ones are compared by their digits."""
    return not isinstance(value, bool | float | list | dict) and str(value) == wanted


def _clock(headers: Any) -> float:
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        return datetime.now(UTC).timestamp()
