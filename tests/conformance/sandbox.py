"""The sandbox as a subject: its own adapter, and the real server behind a door that fails as vendors do."""

from __future__ import annotations

from datetime import timedelta

import requests
from werkzeug.wrappers import Request, Response

from partners.base import Partner, Seat, Student
from partners.kit.conformance import FakeSubject
from partners.kit.fake import Fake
from partners.sandbox.adapter import SandboxPartner
from tests.partners.conftest import API_KEY, RunningSandbox

HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "server", "date"}


class Doorway(Fake):
    """Passes calls on to the real sandbox server."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._sandbox = sandbox
        super().__init__()

    def handle(self, request: Request) -> Response:
        given = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "connection")
        }
        answer = requests.request(
            request.method,
            f"{self._sandbox.url}{request.full_path}",
            data=request.data,
            headers=given,
            timeout=10,
        )
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        return Response(answer.content, answer.status_code, kept)


class SandboxSubject(FakeSubject):
    """`adapter` may be another class than the real one: the broken ones are shown to fail with it."""

    secrets = (API_KEY,)

    def __init__(self, sandbox: RunningSandbox, adapter: type[SandboxPartner] = SandboxPartner) -> None:
        super().__init__()
        sandbox.request("POST", "/_reset")
        self.sandbox, self.fake = sandbox, Doorway(sandbox)
        self._adapter = adapter
        self._partner = self._make(API_KEY)

    def _make(self, key: str) -> SandboxPartner:
        return self._adapter(self.fake.url, key, connect_timeout=1.0, timeout=5.0)

    @property
    def partner(self) -> Partner:
        return self._partner

    def with_wrong_credentials(self) -> Partner:
        return self._make("another-key-0123456789")

    def accounts(self, student: Student) -> int:
        return len(self._held(student))

    def seats(self, student: Student) -> int:
        ids = {account["id"] for account in self._held(student)}
        seats = self.sandbox.state()["enrollments"]
        return sum(seat["account_id"] in ids and seat["status"] != "cancelled" for seat in seats)

    def move(self, seat: Seat, percentage: int) -> None:
        self.sandbox.move(seat.id, percentage)

    def skew(self, by: timedelta) -> None:
        return

    def add_stranger(self, reference: str) -> None:
        body = {"reference": reference, "email": "someone@example.org", "name": "Someone Else"}
        assert self.sandbox.request("POST", "/accounts", body, headers={"Idempotency-Key": reference}).ok

    def _held(self, student: Student) -> list[dict[str, str]]:
        return [item for item in self.sandbox.state()["accounts"] if item["email"] == student.email]
