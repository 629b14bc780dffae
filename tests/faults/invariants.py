"""What must hold after every fault: payments are seats, or rightly none; nothing is lost, double or stuck.

Nothing here believes Usher's own word alone: seats are counted at the partner, mails in the mail sink.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DBAPIError

from tests.faults.payments import Payments
from tests.stack import Stack, rows, wait_until
from workers.services import tail

UNSETTLED = """
    SELECT kind, state, next_run_at - now() AS due_in, attempts, claims, lease_owner, last_error FROM jobs
    WHERE state <> 'done' ORDER BY next_run_at
"""
SEATS = """
    SELECT e.student_id, e.status, y.state, e.external_account_id, e.external_enrollment_id
    FROM partner_lms_enrollments e JOIN payment_lines l ON l.enrollment_id = e.id JOIN payments y ON y.id = l.payment_id
"""
MAILS = """
    SELECT j.id, split_part(j.business_key, ':', 1), e.student_id, s.state FROM jobs j
    JOIN partner_lms_enrollments e ON e.id = j.subject_id LEFT JOIN job_steps s ON s.job_id = j.id
    WHERE j.kind = 'mail.send'
"""
CREATES = {
    "POST /accounts": ("GET /accounts", ("reference",)),
    "POST /enrollments": ("GET /enrollments", ("account_id", "course_code")),
}


@dataclass(frozen=True)
class Outcome:
    """What a scenario came to. Repeats are absorbed, so they are counted and not forbidden."""

    scenario: str
    payments: int
    # From the last acknowledgement, or the end of the fault where that was later, until nothing was left to do.
    settled: float
    # Mails that came again under the same Message-ID, and calls that would create something made again.
    mails_again: int
    calls_again: int
    # Of those, the ones without a look-up since the last attempt: a partner without idempotency keys may double them.
    blind: int
    # Processes that ended by themselves and were started again, as whatever runs them for real does.
    restarts: int


OUTCOMES: list[Outcome] = []


def check_invariants(
    stack: Stack,
    *sets: Payments,
    within: float,
    parked: Collection[str] = (),
    dead: Collection[str] = (),
    supervised: Collection[str] = (),
) -> Outcome:
    """Wait until all is settled, at most `within` seconds, and check everything.

    `parked` are the students whose enrolment had to be set aside; `dead` the processes that had to end; `supervised`
    those that may end and are then started again.
    """
    restarts = 0

    def supervise() -> None:
        nonlocal restarts
        for name in supervised:
            if stack.processes[name].poll() is not None:
                stack.restart(name, wait=False)
                restarts += 1

    settled = wait_until_settled(len(parked), within, supervise)
    students = [student for payments in sets for student in payments.students]
    refunded = {student for payments in sets for student in payments.refunded}
    expected = {s: "failed" if s in parked else "revoked" if s in refunded else "active" for s in students}
    check_events(sets)
    seats = check_database(expected)
    check_partner(stack, expected, seats)
    again = check_mails(stack, expected)
    alive = {name for name, process in stack.processes.items() if process.poll() is None}
    assert alive == set(stack.processes) - set(dead), _last_words(stack, set(stack.processes) - alive)
    repeats, blind = count_repeats(stack.sandbox_calls())
    outcome = Outcome(_scenario(), len(students), settled, again, repeats, blind, restarts)
    OUTCOMES.append(outcome)
    return outcome


def wait_until_settled(parked: int, within: float, meanwhile: Callable[[], None] = lambda: None) -> float:
    """Return the seconds until every job was done, but for those that had to be parked."""
    started = time.monotonic()
    left: list[Any] = []

    def settled() -> bool:
        meanwhile()
        try:
            left[:] = rows(UNSETTLED)
        except DBAPIError:
            return False
        set_aside = [job for job in left if job[1] in ("parked", "failed")]
        assert len(set_aside) <= parked, f"{len(set_aside)} jobs were set aside: {set_aside[:8]}"
        return len(left) == len(set_aside) == parked

    wait_until(settled, within, lambda: f"{len(left)} jobs are not done: {left[:8]}")
    return time.monotonic() - started


def check_events(sets: Collection[Payments]) -> None:
    """Every event was stored once, and acted on."""
    posted = {event for payments in sets for event in payments.events}
    stored = Counter(rows("SELECT external_id, state FROM inbox_events"))
    assert stored == {(event, "done"): 1 for event in posted}


def check_database(expected: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Every paid student has the one seat that is due, nobody else has one, and no step is left open.

    Returns the partner's (account id, seat id) by student.
    """
    found = {str(row[0]): row for row in rows(SEATS)}
    assert {student: row[1] for student, row in found.items()} == expected
    assert {row[2] for row in found.values()} <= {"paid"}
    open_steps = rows(
        "SELECT e.id, s.step FROM job_steps s JOIN jobs j ON j.id = s.job_id"
        " JOIN partner_lms_enrollments e ON e.id = j.subject_id WHERE s.state <> 'done' AND e.status = 'active'"
    )
    assert open_steps == []
    open_failures = rows(
        "SELECT e.id, f.error_code FROM partner_lms_enrollment_failures f"
        " JOIN partner_lms_enrollments e ON e.id = f.enrollment_id WHERE f.resolved_at IS NULL AND e.status = 'active'"
    )
    assert open_failures == []
    return {student: (row[3], row[4]) for student, row in found.items()}


def check_partner(stack: Stack, expected: dict[str, str], ours: dict[str, tuple[str, str]]) -> None:
    """The partner holds one account for each student at most, one live seat for each active one, none for others."""
    state = stack.sandbox_state()
    accounts = Counter(account["reference"] for account in state["accounts"])
    assert all(count == 1 for count in accounts.values())
    assert set(accounts) <= {f"usher-{student}" for student in expected}
    student_of = {item["id"]: item["reference"].removeprefix("usher-") for item in state["accounts"]}
    live = Counter(student_of[seat["account_id"]] for seat in state["enrollments"])
    assert live == {student: 1 for student, status in expected.items() if status == "active"}
    theirs = {
        student_of[seat["account_id"]]: (seat["account_id"], seat["id"]) for seat in state["enrollments"]
    }
    assert theirs == {student: ours[student] for student in theirs}
    given_back = Counter(student_of[seat["account_id"]] for seat in state["deleted"])
    assert all(count == 1 and expected[student] == "revoked" for student, count in given_back.items())


def check_mails(stack: Stack, expected: dict[str, str]) -> int:
    """Each student was told once what is true; return how many mails came again under their Message-ID."""
    sent = Counter(mail["message_id"].split("@")[0].removeprefix("<usher-") for mail in stack.mails())
    asked = {
        str(job): (template, str(student), state == "done") for job, template, student, state in rows(MAILS)
    }
    assert set(sent) <= set(asked)
    assert {job for job, (*_, done) in asked.items() if done} <= set(sent)
    told = Counter(asked[job][:2] for job in sent)
    assert all(count == 1 for count in told.values())
    due = {"active": "welcome", "revoked": "revoked"}
    must = {(due[status], student) for student, status in expected.items() if status in due}
    may = {("welcome", student) for student, status in expected.items() if status == "revoked"}
    assert must <= set(told) <= must | may
    return sum(sent.values()) - len(sent)


def count_repeats(calls: list[dict[str, Any]]) -> tuple[int, int]:
    """Return how many creating calls were made again, and how many of them without a look-up since the last attempt."""
    looked: set[tuple[Any, ...]] = set()
    made: Counter[tuple[Any, ...]] = Counter()
    blind = 0
    for call in calls:
        for create, (look, names) in CREATES.items():
            key = (create, *(call.get(name) for name in names))
            if call["call"] == look:
                looked.add(key)
            elif call["call"] == create:
                blind += made[key] > 0 and key not in looked
                looked.discard(key)
                made[key] += 1
    return sum(made.values()) - len(made), blind


def _scenario() -> str:
    """Return the name of the running test, without its path."""
    return (
        os.environ.get("PYTEST_CURRENT_TEST", "?").split("::")[-1].rpartition(" (")[0].removeprefix("test_")
    )


def _last_words(stack: Stack, names: Collection[str]) -> str:
    return "\n".join(f"{name} ended; {tail(stack.log(name))}" for name in names)
