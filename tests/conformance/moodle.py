"""Moodle as a subject."""

from __future__ import annotations

from typing import Any

from partners.base import Partner, Seat, Student
from partners.configuration import Verified
from partners.connection import Connection
from partners.kit.conformance import FakeSubject
from partners.moodle.adapter import MoodlePartner
from tests.fakes.moodle import TOKEN, FakeMoodle


def connect(fake: FakeMoodle, token: str = TOKEN, **options: Any) -> MoodlePartner:
    """Return the adapter of a fake site."""
    verified = Verified("recorded-exchanges", "tests")
    found = Connection("moodle", "moodle", verified, fake.url, {"token": token}, options, timeout=5.0)
    return MoodlePartner.from_connection(found)


class MoodleSubject(FakeSubject):
    """A site with two courses."""

    secrets = (TOKEN,)

    def __init__(self) -> None:
        super().__init__()
        self.fake: FakeMoodle = FakeMoodle()
        self.fake.add_course(4, self.course_code, "C1", "Safety 101")
        self.fake.add_course(6, self.other_course_code, "C2", "Safety 102")
        self._partner = connect(self.fake)

    @property
    def partner(self) -> Partner:
        return self._partner

    def with_wrong_credentials(self) -> Partner:
        return connect(self.fake, "0123456789abcdef0123456789abcdef")

    def accounts(self, student: Student) -> int:
        return len(self._ids(student))

    def seats(self, student: Student) -> int:
        return sum(user in self._ids(student) for user, _ in self.fake.enrolments)

    def move(self, seat: Seat, percentage: int) -> None:
        user, course = map(int, seat.id.split(":"))
        self.fake.progress[user, course] = percentage
        if percentage == 100:
            self.fake.issue(user, course)

    def add_stranger(self, reference: str) -> None:
        id = 1000 + len(self.fake.users)
        self.fake.add_user(id, reference, f"{id}@example.org", "Someone", "Else", idnumber=reference)

    def unknown_seat(self) -> str:
        return "999999999:4"

    def _ids(self, student: Student) -> list[int]:
        return [id for id, user in self.fake.users.items() if user["email"] == student.email]
