"""Canvas as a subject."""

from __future__ import annotations

from partners.base import Partner, Seat, Student
from partners.canvas.adapter import CanvasPartner
from partners.configuration import Verified
from partners.connection import Connection
from partners.kit.conformance import FakeSubject
from tests.fakes.canvas import TOKEN, FakeCanvas, User


def connect(fake: FakeCanvas, token: str = TOKEN, **options: object) -> CanvasPartner:
    """Return an adapter that calls a fake."""
    return CanvasPartner.from_connection(
        Connection(
            "canvas",
            "canvas",
            Verified("vendor-sdk", "a fake"),
            fake.url,
            {"token": token},
            options,
            connect_timeout=1.0,
            timeout=5.0,
        )
    )


class CanvasSubject(FakeSubject):
    """One course goes by its SIS id, the other by its number."""

    course_code = "sis_course_id:course-1"
    other_course_code = "102"
    secrets = (TOKEN,)

    def __init__(self) -> None:
        super().__init__()
        self.fake = self.canvas = FakeCanvas()
        self._partner = connect(self.canvas)

    @property
    def partner(self) -> Partner:
        return self._partner

    def with_wrong_credentials(self) -> Partner:
        return connect(self.canvas, "canvas~another-token-0123456789")

    def accounts(self, student: Student) -> int:
        return len(self._users(student))

    def seats(self, student: Student) -> int:
        ids = {user.id for user in self._users(student)}
        return sum(
            item.user_id in ids and item.state != "deleted" for item in self.canvas.enrollments.values()
        )

    def move(self, seat: Seat, percentage: int) -> None:
        course, user = map(int, seat.id.split(":"))
        self.canvas.learn(course, user, percentage)

    def add_stranger(self, reference: str) -> None:
        id = len(self.canvas.users) + 1001
        self.canvas.users[id] = User(id, "Someone Else", reference, reference, "someone@example.org")

    def unknown_seat(self) -> str:
        return "101:999999999"

    def _users(self, student: Student) -> list[User]:
        held = self.canvas.users.values()
        return [user for user in held if user.email == student.email and not user.deleted]
