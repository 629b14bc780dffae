"""Open edX as a subject, with accounts that are registered."""

from __future__ import annotations

from typing import Any

from partners.base import Partner, Seat, Student
from partners.configuration import Verified
from partners.connection import Connection
from partners.kit.conformance import FakeSubject
from partners.open_edx.adapter import OpenEdxPartner, username_of
from tests.fakes.open_edx import CLIENT_ID, CLIENT_SECRET, FakeOpenEdx


def connect(fake: FakeOpenEdx, secret: str = CLIENT_SECRET, **options: Any) -> OpenEdxPartner:
    """Return the adapter of a fake site."""
    keys = {"client_id": CLIENT_ID, "client_secret": secret}
    verified = Verified("published-spec", "tests")
    found = Connection("open_edx", "open_edx", verified, fake.url, keys, options, timeout=5.0)
    return OpenEdxPartner.from_connection(found)


class OpenEdxSubject(FakeSubject):
    """A site with two courses; `enroll_with` is the adapter's option."""

    course_code = "course-v1:Usher+S101+2026"
    other_course_code = "course-v1:Usher+S102+2026"
    secrets = (CLIENT_SECRET,)
    enroll_with = "enrollment"

    def __init__(self) -> None:
        super().__init__()
        self.fake: FakeOpenEdx = FakeOpenEdx()
        self.fake.courses = {self.course_code, self.other_course_code}
        self._partner = connect(self.fake, accounts="register", enroll_with=self.enroll_with)

    @property
    def partner(self) -> Partner:
        return self._partner

    def with_wrong_credentials(self) -> Partner:
        return connect(self.fake, "another-secret-0123456789", accounts="register")

    def accounts(self, student: Student) -> int:
        return len(self._names(student))

    def seats(self, student: Student) -> int:
        names = self._names(student)
        return sum(user in names and seat["is_active"] for (user, _), seat in self.fake.enrollments.items())

    def move(self, seat: Seat, percentage: int) -> None:
        user, _, course = seat.id.partition(",")
        self.fake.grades[user, course] = (percentage / 100, percentage == 100)
        if percentage == 100:
            self.fake.certify(user, course)

    def add_stranger(self, reference: str) -> None:
        stranger = Student(reference, f"{len(self.fake.users)}@example.org", "Someone Else")
        self.fake.users[username_of(stranger)] = stranger.email

    def unknown_seat(self) -> str:
        return f"nobody,{self.course_code}"

    def _names(self, student: Student) -> list[str]:
        return [user for user, email in self.fake.users.items() if email == student.email]


class OpenEdxInBulk(OpenEdxSubject):
    """The same, with seats taken by bulk_enroll."""

    enroll_with = "bulk_enroll"
