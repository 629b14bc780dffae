"""SCORM Cloud as a subject."""

from __future__ import annotations

from partners.base import Partner, Seat, Student
from partners.configuration import Verified
from partners.connection import Connection
from partners.kit.conformance import FakeSubject
from partners.scorm_cloud.adapter import ScormCloudPartner
from tests.fakes.scorm_cloud import APP_ID, BASE, SECRET_KEY, FakeScormCloud


def connect(fake: FakeScormCloud, secret_key: str = SECRET_KEY, **more: object) -> ScormCloudPartner:
    """Return an adapter that calls a fake. `more` are options; those with `postback_` that hold no URL are credentials."""
    secrets = {"app_id": APP_ID, "secret_key": secret_key}
    for name in ("postback_user", "postback_password"):
        if name in more:
            secrets[name] = str(more.pop(name))
    return ScormCloudPartner.from_connection(
        Connection(
            "scorm_cloud",
            "scorm_cloud",
            Verified("vendor-sdk", "a fake"),
            f"{fake.url}{BASE}",
            secrets,
            more,
            connect_timeout=1.0,
            timeout=5.0,
        )
    )


class ScormCloudSubject(FakeSubject):
    """What is billed counts as a seat as well: a registration that was made twice is two."""

    secrets = (SECRET_KEY,)

    def __init__(self) -> None:
        super().__init__()
        self.fake = self.cloud = FakeScormCloud()
        self._partner = connect(self.cloud)

    @property
    def partner(self) -> Partner:
        return self._partner

    def with_wrong_credentials(self) -> Partner:
        return connect(self.cloud, "another-key-0123456789")

    def accounts(self, student: Student) -> int:
        return 0

    def seats(self, student: Student) -> int:
        held = [item for item in self.cloud.registrations.values() if item.learner["id"] == student.reference]
        return sum(max(1, self.cloud.billed.count(item.id) - self._given_back(item.id)) for item in held)

    def move(self, seat: Seat, percentage: int) -> None:
        self.cloud.learn(seat.id, percentage / 100)

    def unknown_seat(self) -> str:
        return "usher-nobody-0123456789"

    def _given_back(self, id: str) -> int:
        return sum(
            call.method == "DELETE" and call.path.endswith(id) and call.status == 204
            for call in self.cloud.calls
        )
