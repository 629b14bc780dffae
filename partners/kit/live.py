"""A partner's real test account, walked once: what the pipeline does, with a made-up student who is given back.

Every step says what it did, so that a person can compare it with what the partner's own screens show.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from partners.base import Capability, Click, FormPost, Partner, Redirect, Student
from partners.errors import NotReadyYet, PartnerError


@dataclass(frozen=True)
class Step:
    """What came of one step. `outcome` is "ok", "skipped", an error's code, or "wrong" where an answer is not as promised."""

    name: str
    outcome: str
    detail: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Say whether nothing is wrong with it."""
        return self.outcome in ("ok", "skipped")


class Wrong(Exception):
    """An answer is not what the interface promises."""


def made_up_student(email: str) -> Student:
    """Return a student whom the partner cannot know. Mail to the address must reach you: some partners write to it."""
    return Student(f"usher-{uuid.uuid4()}", email, "Usher Check")


def walk(partner: Partner, student: Student, course_code: str) -> Iterator[Step]:
    """Yield each step as it is done. What was taken is given back at the end where the partner can; errors end nothing."""
    walker = _Walker(partner, student, course_code)
    for name, needs, call in walker.steps():
        started = time.monotonic()
        if not needs <= partner.capabilities:
            yield Step(name, "skipped", "the adapter does not declare it", 0.0)
            continue
        try:
            outcome, detail = "ok", call()
        except PartnerError as error:
            outcome, detail = error.code, str(error)
        except Wrong as error:
            outcome, detail = "wrong", str(error)
        except Exception as error:  # noqa: BLE001 -- an adapter that is being written may raise anything
            outcome, detail = "wrong", f"raised {type(error).__name__} instead of a PartnerError: {error}"
        yield Step(name, outcome, detail, round(time.monotonic() - started, 3))


class _Walker:
    def __init__(self, partner: Partner, student: Student, course_code: str) -> None:
        self.partner, self.student, self.course_code = partner, student, course_code
        self.account = ""
        self.seat = f"{student.reference}-seat"

    def steps(self) -> list[tuple[str, set[Capability], Callable[[], str]]]:
        accounts, enroll = {Capability.ACCOUNTS}, {Capability.ENROLL}
        return [
            ("credentials", set(), self.check),
            ("nobody is found", accounts, self.find_nobody),
            ("account", accounts, self.create),
            ("account again", accounts, self.create_again),
            ("no seat is found", enroll, self.find_no_seat),
            ("seat", enroll, self.enroll),
            ("seat again", enroll, self.enroll_again),
            ("launch", {Capability.SSO}, self.launch),
            ("progress", {Capability.PROGRESS}, self.progress),
            ("certificate", {Capability.CERTIFICATE}, self.certificate),
            ("lock", {Capability.SUSPEND}, lambda: self.lock(suspended=True)),
            ("unlock", {Capability.SUSPEND}, lambda: self.lock(suspended=False)),
            ("give back", {Capability.UNENROLL}, self.give_back),
            ("give back again", {Capability.UNENROLL}, self.give_back),
        ]

    def check(self) -> str:
        self.partner.check()
        return "accepted"

    def find_nobody(self) -> str:
        found = self.partner.find_account(self.student)
        if found is not None:
            raise Wrong(f"found {found.id}, although nobody has the reference {self.student.reference}")
        return "None"

    def create(self) -> str:
        self.account = self.partner.create_account(self.student, key=f"{self.student.reference}:account").id
        found = self.partner.find_account(self.student)
        if found is None or found.id != self.account:
            raise Wrong(f"made {self.account}, then found {found}")
        return self.account

    def create_again(self) -> str:
        again = self.partner.create_account(self.student, key=f"{self.student.reference}:account-2")
        if again.id != self.account or not again.adopted:
            raise Wrong(f"answered {again} instead of adopting {self.account}")
        return "adopted"

    def find_no_seat(self) -> str:
        found = self.partner.find_enrollment(self.account, self.course_code)
        if found is not None:
            raise Wrong(f"found {found.id} before there was one")
        return "None"

    def enroll(self) -> str:
        self.seat = self._enroll("seat").id
        found = self.partner.find_enrollment(self.account, self.course_code)
        if found is None or found.id != self.seat:
            raise Wrong(f"took {self.seat}, then found {found}")
        return self.seat

    def enroll_again(self) -> str:
        again = self._enroll("seat-2")
        if again.id != self.seat:
            raise Wrong(f"took {again.id} beside {self.seat}")
        return "adopted" if again.adopted else "the same seat"

    def launch(self) -> str:
        click = Click(
            str(uuid.uuid4()), self.student, self.course_code, "https://example.org/back", str(uuid.uuid4())
        )
        launch = self.partner.launch(self.seat, click)
        if isinstance(launch, Redirect):
            return f"redirect to {launch.url.partition('?')[0]}, good until {launch.expires_at or 'unknown'}"
        assert isinstance(launch, FormPost)  # noqa: S101
        return f"form to {launch.action.partition('?')[0]} with {', '.join(launch.fields)}"

    def progress(self) -> str:
        told = self.partner.get_progress(self.seat)
        return f"{told.percentage} %, {'completed' if told.completed else 'not completed'}"

    def certificate(self) -> str:
        try:
            found = self.partner.get_certificate(self.seat)
        except NotReadyYet:
            found = None
        return "None" if found is None else found.number

    def lock(self, *, suspended: bool) -> str:
        self.partner.suspend(self.seat, suspended=suspended)
        return "done"

    def give_back(self) -> str:
        self.partner.unenroll(self.seat)
        found = self.partner.find_enrollment(self.account, self.course_code)
        if found is not None:
            raise Wrong(f"{found.id} is still found")
        return "done"

    def _enroll(self, key: str) -> Any:
        return self.partner.enroll_in_course(
            self.account,
            self.course_code,
            student=self.student,
            reference=f"{self.student.reference}-seat",
            key=f"{self.student.reference}:{key}",
        )
