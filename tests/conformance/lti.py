"""Adapters that call nobody in front of the conformance suite: LTI 1.3, LTI 1.1, partners without an API."""

from __future__ import annotations

from partners.base import Partner, Seat, Student
from partners.configuration import Verified
from partners.connection import Connection
from partners.kit.conformance import Subject
from partners.kit.fake import Kind, On
from partners.lti import adapter
from partners.lti.adapter import LtiPartner, Target
from partners.registry import build

SECRET = "a-secret-of-ours-0123456789"
TARGET = Target("t-1", "client-1", "1", "https://tool.example/login?name=x", "https://tool.example/")
VERIFIED = Verified("template-unverified", "a test")


class CallsNobody(Subject):
    """There is no world: nothing is refused, nothing fails, nothing is held elsewhere."""

    secrets = (SECRET,)
    made: Partner

    @property
    def partner(self) -> Partner:
        return self.made

    def with_wrong_credentials(self) -> None:
        """Nobody is called, so there is nobody to refuse us."""

    def accounts(self, student: Student) -> int:
        raise NotImplementedError

    def seats(self, student: Student) -> int:
        raise NotImplementedError

    def move(self, seat: Seat, percentage: int) -> None:
        raise NotImplementedError

    def fault(self, kind: Kind, on: On = "any", times: int = 1, body: bytes | None = None) -> None:
        """Nothing is called that could fail."""

    def heal(self) -> None:
        """Nothing failed."""


class LtiSubject(CallsNobody):
    """A tool that is registered."""

    def __init__(self) -> None:
        super().__init__()
        self._before = adapter._directory
        adapter.use_directory(lambda _provider_type, _course: TARGET)
        self.made = LtiPartner("lti", issuer="https://school.example", secret=SECRET)

    def close(self) -> None:
        adapter.use_directory(self._before)


class Lti11Subject(CallsNobody):
    """A tool with a key of ours."""

    def __init__(self) -> None:
        super().__init__()
        secrets = {"consumer_key": "key-1", "consumer_secret": SECRET}
        self.made = build(Connection("lti11", "lti11", VERIFIED, "https://tool.example/launch", secrets))


class ManualSubject(CallsNobody):
    """A partner that people look after."""

    def __init__(self) -> None:
        super().__init__()
        self.made = build(Connection("manual", "manual", VERIFIED, website="https://partner.example"))
