"""Declarative partners as subjects: a configuration file, and a fake that speaks what it describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from partners import configuration
from partners.base import Partner, Seat, Student
from partners.connection import Connection
from partners.kit.conformance import FakeSubject
from partners.rest.adapter import RestPartner
from tests.fakes import brightpath, own_protocol, talentlms, thinkific

PARTNERS = Path(__file__).parents[1] / "rest/partners"

Break = Callable[[dict[str, Any]], None]


def connection_of(
    path: Path,
    base_url: str,
    secrets: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    change: Break | None = None,
) -> Connection:
    """Return the connection that a configuration makes; `change` may break its options on purpose."""
    found = configuration.read(path)
    options = configuration.fill_in(dict(found.options), environment or {})
    if change is not None:
        change(options)
    sources = {**found.secrets, **found.optional_secrets}
    return Connection(
        found.provider_type,
        found.adapter,
        found.verified,
        base_url,
        secrets,
        options,
        connect_timeout=1.0,
        timeout=5.0,
        sources=sources,
    )


class RestSubject(FakeSubject):
    """`change` breaks the configuration, to show that the suite finds it."""

    path: Path
    secret = ""

    def __init__(self, change: Break | None = None) -> None:
        super().__init__()
        self.secrets = (self.secret,)
        self._connection = connection_of(
            self.path, self.fake.url, self.credentials(), self.environment(), change
        )
        self._partner = RestPartner.from_connection(self._connection)

    def environment(self) -> Mapping[str, str]:
        """Return the settings that the configuration refers to."""
        return {}

    def credentials(self) -> dict[str, str]:
        """Return the credentials by the configuration's names."""
        return {"api_key": self.secret}

    @property
    def partner(self) -> Partner:
        return self._partner

    def with_wrong_credentials(self) -> Partner:
        wrong = replace(self._connection, secrets=dict.fromkeys(self.credentials(), "another-key-0123456789"))
        return RestPartner.from_connection(wrong)


class OwnProtocolSubject(RestSubject):
    """The sandbox's protocol through YAML."""

    path, secret = PARTNERS / "own_protocol.yaml", own_protocol.API_KEY

    def __init__(self, change: Break | None = None) -> None:
        self.fake: own_protocol.OwnProtocol = own_protocol.OwnProtocol()  # type: ignore[mutable-override]
        super().__init__(change)

    def accounts(self, student: Student) -> int:
        return sum(account.email == student.email for account in self.fake.state.accounts.values())

    def seats(self, student: Student) -> int:
        held = [item for item in self.fake.state.accounts.values() if item.email == student.email]
        return sum(len(account.seats) for account in held)

    def move(self, seat: Seat, percentage: int) -> None:
        at = self.fake.now().timestamp()
        with self.fake.lock:
            moved = self.fake.state.enrollments[seat.id]
            self.fake.state.move(moved, percentage, at, at if percentage == 100 else None)

    def add_stranger(self, reference: str) -> None:
        self.fake.state.add_account(reference, "someone@example.org", "Someone Else")


class TalentLmsSubject(RestSubject):
    """TalentLMS's published API."""

    path, secret = configuration.SHIPPED / "talentlms.yaml", talentlms.API_KEY
    course_code, other_course_code = "101", "102"

    def __init__(self, change: Break | None = None) -> None:
        self.fake: talentlms.TalentLms = talentlms.TalentLms()  # type: ignore[mutable-override]
        super().__init__(change)

    def accounts(self, student: Student) -> int:
        return sum(user["email"] == student.email for user in self.fake.users.values())

    def seats(self, student: Student) -> int:
        return sum(self.fake.users[user]["email"] == student.email for user, _ in self.fake.progress)

    def move(self, seat: Seat, percentage: int) -> None:
        user, _, course = seat.id.partition(":")
        self.fake.move(int(user), int(course), percentage)

    def add_stranger(self, reference: str) -> None:
        self.fake.add(reference, f"{reference}@example.org")

    def unknown_seat(self) -> str:
        return "999999:101"


class ThinkificSubject(RestSubject):
    """Thinkific's published API."""

    path, secret = configuration.SHIPPED / "thinkific.yaml", thinkific.API_KEY
    course_code, other_course_code = "11", "12"

    def __init__(self, change: Break | None = None) -> None:
        self.fake: thinkific.Thinkific = thinkific.Thinkific()  # type: ignore[mutable-override]
        super().__init__(change)

    def environment(self) -> Mapping[str, str]:
        return {
            "THINKIFIC_SUBDOMAIN": thinkific.SUBDOMAIN,
            "THINKIFIC_SITE_URL": "https://school.thinkific.example",
        }

    def accounts(self, student: Student) -> int:
        return sum(user["email"] == student.email for user in self.fake.users.values())

    def seats(self, student: Student) -> int:
        return sum(item["user_email"] == student.email for item in self.fake.enrollments.values())

    def move(self, seat: Seat, percentage: int) -> None:
        self.fake.move(int(seat.id), percentage / 100)

    def add_stranger(self, reference: str) -> None:
        self.fake.add(reference, f"{reference}@example.org")


class BrightpathSubject(RestSubject):
    """A protocol that was made up, known by a configuration alone."""

    path, secret = PARTNERS / "brightpath.yaml", brightpath.PASSWORD

    def __init__(self, change: Break | None = None) -> None:
        self.fake: brightpath.Brightpath = brightpath.Brightpath()  # type: ignore[mutable-override]
        super().__init__(change)

    def credentials(self) -> dict[str, str]:
        return {"user": brightpath.USER, "password": self.secret}

    def accounts(self, student: Student) -> int:
        return sum(person["mail"] == student.email for person in self.fake.people.values())

    def seats(self, student: Student) -> int:
        ours = {no for no, person in self.fake.people.items() if person["mail"] == student.email}
        return sum(item["person"] in ours and item["state"] != "void" for item in self.fake.places.values())

    def move(self, seat: Seat, percentage: int) -> None:
        self.fake.move(int(seat.id), percentage)

    def add_stranger(self, reference: str) -> None:
        self.fake.add(reference, f"{reference}@example.org")
