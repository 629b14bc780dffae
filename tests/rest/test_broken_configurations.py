"""The conformance suite finds configurations that were broken on purpose: each is broken in one way."""

from __future__ import annotations

from typing import Any

import pytest

from partners.errors import CredentialsWrong, PartnerError
from partners.kit.conformance import CHECKS, Violation, opened
from tests.conformance.rest import BrightpathSubject, OwnProtocolSubject, RestSubject, ThinkificSubject


def never_adopts(options: dict[str, Any]) -> None:
    options["operations"]["create_account"]["errors"] = [{"status": 409, "means": "refused"}]


def is_refused_by_a_busy_partner(options: dict[str, Any]) -> None:
    options["limits"] = {}
    options["errors"].append({"status": 403, "means": "refused"})


def believes_every_200(options: dict[str, Any]) -> None:
    del options["success_when"]
    options["errors"] = [{"status": 409, "means": "duplicate"}]


def finds_a_seat_in_any_course(options: dict[str, Any]) -> None:
    options["operations"]["find_enrollment"]["query"] = {
        "account_id": "{account_id}",
        "course_code": "course-1",
        "asked": "{course_code}",
    }
    options["operations"]["find_enrollment"]["addressed"] = True


def finds_what_was_given_back(options: dict[str, Any]) -> None:
    del options["operations"]["find_enrollment"]["live_when"]


def takes_shares_for_per_cent(options: dict[str, Any]) -> None:
    del options["operations"]["progress"]["result"]["full"]


def asks_for_something_else(options: dict[str, Any]) -> None:
    options["operations"]["create_account"]["result"] = {"id": "person.tag"}


def launches_nowhere(options: dict[str, Any]) -> None:
    options["operations"]["launch"]["result"] = {"url": "ticket.until"}


BROKEN: list[tuple[type[RestSubject], Any, str]] = [
    (OwnProtocolSubject, never_adopts, "an_account_is_made_once"),
    (OwnProtocolSubject, never_adopts, "four_accounts_at_once_are_one"),
    (BrightpathSubject, is_refused_by_a_busy_partner, "a_throttle_is_heeded"),
    (BrightpathSubject, believes_every_200, "an_account_is_made_once"),
    (OwnProtocolSubject, finds_a_seat_in_any_course, "a_seat_is_taken_once"),
    (BrightpathSubject, finds_what_was_given_back, "a_seat_is_given_back"),
    (ThinkificSubject, takes_shares_for_per_cent, "progress_is_told"),
    (BrightpathSubject, asks_for_something_else, "an_account_is_made_once"),
    (BrightpathSubject, launches_nowhere, "a_launch_is_minted"),
]


@pytest.mark.parametrize(("subject", "broken", "check"), BROKEN)
def test_a_broken_configuration_fails(subject: type[RestSubject], broken: Any, check: str) -> None:
    with opened(lambda: subject(broken)) as world, pytest.raises((Violation, PartnerError)):
        CHECKS[check](world)


def finds_by_email(options: dict[str, Any]) -> None:
    options["operations"]["find_account"]["match"] = [{"where": "mail", "equals": "{student.email}"}]


def finds_whoever(options: dict[str, Any]) -> None:
    del options["operations"]["find_account"]["match"]


def forgets_the_reference(options: dict[str, Any]) -> None:
    del options["operations"]["create_account"]["form"]["tag"]


def finds_seats_of_everybody(options: dict[str, Any]) -> None:
    options["operations"]["find_enrollment"]["path"] = "/people/1/places"


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (finds_by_email, "operations.find_account.match: must name {student.reference}"),
        (finds_whoever, "operations.find_account: needs match, or addressed: true"),
        (forgets_the_reference, "operations.create_account: must send {student.reference}"),
        (finds_seats_of_everybody, "operations.find_enrollment: must name {account_id}"),
    ],
)
def test_a_configuration_that_could_find_somebody_else_is_not_even_connected(
    broken: Any, problem: str
) -> None:
    with pytest.raises(CredentialsWrong) as caught:
        BrightpathSubject(broken)
    assert problem in str(caught.value)
