"""How a test steers the sandbox and asks what it holds: `/_faults`, `/_progress`, `/_webhooks`, `/_state`, `/_calls`,
`/_reset`.

These need no key and answer only to callers on this machine.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from datetime import datetime
from itertools import islice
from typing import Any

from partners.sandbox.faults import Fault, read_fault
from partners.sandbox.hints import Address, Hints
from partners.sandbox.protocol import Call, Json, Problem, Protocol, account_json, is_http
from partners.sandbox.state import Enrollment, State

CALLS_KEPT = 100_000


class Control:
    """Faults, the log of calls, and a view of the state."""

    def __init__(self, state: State, protocol: Protocol) -> None:
        self.state, self.protocol = state, protocol
        self._forget()

    def _forget(self) -> None:
        self.faults: list[Fault] = []
        self.hints = Hints()
        self.calls: Counter[str] = Counter()
        self.log: deque[Call] = deque(maxlen=CALLS_KEPT)
        self._last_fault = 0

    def note(self, call: Call) -> None:
        """Log a call that has arrived."""
        self.calls[call.name] += 1
        self.log.append(call)

    def fault_for(self, call: Call) -> Fault | None:
        """Return the first fault that strikes this call, counting it down; None for a call that goes well."""
        if not self.faults:
            return None
        facts = self._facts(call)
        return next((fault for fault in self.faults if fault.takes(call.name, facts)), None)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Json]:
        """Answer a control call; raise `Problem` for what is not one."""
        match method, path:
            case "GET", "/_health":
                return 200, {"status": "ok"}
            case "POST", "/_faults":
                return self._add_fault(body)
            case "GET", "/_faults":
                return 200, {"data": [vars(fault) for fault in self.faults]}
            case "DELETE", "/_faults":
                self.faults.clear()
                return 200, {}
            case "POST", "/_progress":
                return self._move(body)
            case "POST", "/_webhooks":
                return self._register(body)
            case "GET", "/_webhooks":
                return 200, {"data": [address.told() for address in self.hints.addresses]}
            case "DELETE", "/_webhooks":
                self.hints.addresses.clear()
                return 200, {}
            case "GET", "/_state":
                return self._state(summary=query.get("summary", "0") not in ("", "0"))
            case "GET", "/_calls":
                return self._calls(query.get("limit", "1000"))
            case "POST", "/_reset":
                self.state.reset()
                self.protocol.launches.clear()
                self._forget()
                return 200, {}
        raise Problem(404, "no such call")

    def _facts(self, call: Call) -> Json:
        facts = {**call.query, **call.body}
        if call.id:
            facts["enrollment_id"] = call.id
            if (enrollment := self.state.enrollments.get(call.id)) is not None:
                facts |= _enrollment_facts(enrollment)
        return facts

    def _add_fault(self, body: Any) -> tuple[int, Json]:
        try:
            fault = read_fault(body, set(self.protocol.handlers))
        except ValueError as error:
            raise Problem(422, str(error)) from None
        self._last_fault += 1
        fault.id = self._last_fault
        self.faults.append(fault)
        return 201, {"id": fault.id}

    def _move(self, body: Any) -> tuple[int, Json]:
        # All are checked before the first is moved: a wrong item leaves nothing half done.
        moves = [self._read_move(item) for item in (body if isinstance(body, list) else [body])]
        for move in moves:
            self.state.move(*move)
        self.hints.send(list(dict.fromkeys(move[0].id for move in moves)))
        return 200, {"moved": len(moves)}

    def _register(self, body: Any) -> tuple[int, Json]:
        given = body if isinstance(body, dict) else {}
        url, secret = given.get("url"), given.get("secret")
        if not isinstance(url, str) or not is_http(url):
            raise Problem(422, "url is not an http(s) address")
        if not isinstance(secret, str) or not secret:
            raise Problem(422, "secret is missing")
        self.hints.addresses.append(Address(url, secret))
        return 201, {"url": url}

    def _read_move(self, item: Any) -> tuple[Enrollment, float, float, float | None]:
        if not isinstance(item, dict):
            raise Problem(422, "an item is a JSON object")
        percentage = item.get("percentage")
        if isinstance(percentage, bool) or not isinstance(percentage, int | float):
            raise Problem(422, "percentage is a number")
        enrollment = self._named(item)
        at = _unix(item.get("updated_at"))
        completed = item.get("completed", percentage >= 100)
        return enrollment, percentage, at, (enrollment.completed_at or at) if completed else None

    def _named(self, item: Json) -> Enrollment:
        if "enrollment_id" in item:
            enrollment = self.state.enrollments.get(str(item["enrollment_id"]))
        else:
            enrollment = self.state.enrollments_by_reference.get(str(item.get("reference")))
        if enrollment is None or enrollment.deleted:
            raise Problem(404, "unknown enrollment")
        return enrollment

    def _state(self, *, summary: bool) -> tuple[int, Json]:
        answer: Json = {
            "counts": {"accounts": len(self.state.accounts), "enrollments": self.state.live_enrollments},
            "calls": dict(self.calls),
        }
        if not summary:
            seats = [_seat_json(item) for item in self.state.enrollments.values()]
            answer["accounts"] = [account_json(item) for item in self.state.accounts.values()]
            answer["enrollments"] = [seat for seat in seats if seat["status"] != "deleted"]
            answer["deleted"] = [seat for seat in seats if seat["status"] == "deleted"]
        return 200, answer

    def _calls(self, limit: str) -> tuple[int, Json]:
        if not limit.isdecimal():
            raise Problem(422, "limit is a number")
        newest = islice(reversed(self.log), int(limit))
        data = [{"call": call.name, "at": call.at, "status": call.status, **_ids(call)} for call in newest]
        return 200, {"data": data[::-1]}


def _enrollment_facts(enrollment: Enrollment) -> Json:
    return {
        "account_id": enrollment.account.id,
        "course_code": enrollment.course_code,
        "reference": enrollment.reference,
    }


def _seat_json(enrollment: Enrollment) -> Json:
    return {
        "id": enrollment.id,
        **_enrollment_facts(enrollment),
        "status": enrollment.status,
        "percentage": enrollment.percentage,
    }


def _ids(call: Call) -> Json:
    given = {**call.query, **call.body}
    ids: Json = {name: given[name] for name in ("reference", "account_id", "course_code") if name in given}
    return {**ids, "enrollment_id": call.id} if call.id else ids


def _unix(value: Any) -> float:
    if value is None:
        return time.time()
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Problem(422, "updated_at is ISO 8601") from None
    if at.tzinfo is None:
        raise Problem(422, "updated_at has no offset from UTC")
    return at.timestamp()
