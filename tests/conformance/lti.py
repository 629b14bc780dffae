"""LTI in front of the conformance suite. The adapter calls nobody: its world is the tool that is registered."""

from __future__ import annotations

from partners.base import Partner, Seat, Student
from partners.kit.conformance import Subject
from partners.kit.fake import Kind, On
from partners.lti import adapter
from partners.lti.adapter import LtiPartner, Target

SECRET = "a-secret-of-ours-0123456789"
TARGET = Target("t-1", "client-1", "1", "https://tool.example/login?name=x", "https://tool.example/")


class LtiSubject(Subject):
    """A tool that is registered."""

    secrets = (SECRET,)

    def __init__(self) -> None:
        super().__init__()
        self._before = adapter._directory
        adapter.use_directory(lambda _provider_type, _course: TARGET)
        self._partner = LtiPartner("lti", issuer="https://school.example", secret=SECRET)

    @property
    def partner(self) -> Partner:
        return self._partner

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

    def close(self) -> None:
        adapter.use_directory(self._before)
