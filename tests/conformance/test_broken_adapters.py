"""The suite finds what it is there for: each of these adapters is broken in one way, and fails the check named."""

from __future__ import annotations

import pytest

from partners.base import Account, Progress, Redirect, Seat, Student
from partners.base import Click as Click_
from partners.errors import Conflict, NotFound, OutcomeUnknown, PartnerError, RateLimited, Refused
from partners.kit.conformance import CHECKS, Violation, opened
from partners.sandbox.adapter import SandboxPartner
from tests.conformance.sandbox import SandboxSubject
from tests.partners.conftest import RunningSandbox


class TakesAnyMatch(SandboxPartner):
    """Takes the first account whose reference begins like ours."""

    def find_account(self, student: Student) -> Account | None:
        answer = self._door.call("GET", "/accounts", params={"reference": ""}, idempotent=True)
        listed = self._door.call(
            "GET", "/accounts", params={"reference": student.reference + "0"}, idempotent=True
        )
        found = [*answer.json["data"], *listed.json["data"]]
        return Account(found[0]["id"]) if found else None


class NeverAdopts(SandboxPartner):
    """Passes "exists already" on instead of looking it up."""

    def create_account(self, student: Student, *, key: str) -> Account:
        body = {"reference": student.reference, "email": student.email, "name": student.name}
        try:
            return Account(self._create("/accounts", body, key))
        except Conflict:
            raise Refused("exists already") from None


class GivesUpOnALostAnswer(SandboxPartner):
    """Takes an unknown outcome for a refusal."""

    def create_account(self, student: Student, *, key: str) -> Account:
        try:
            return super().create_account(student, key=key)
        except OutcomeUnknown as error:
            raise Refused(str(error)) from None


class TriesBlindlyAgain(SandboxPartner):
    """Makes a second account with another reference where the first call did not answer."""

    def create_account(self, student: Student, *, key: str) -> Account:
        try:
            return super().create_account(student, key=key)
        except OutcomeUnknown:
            again = Student(f"{student.reference}-2", student.email, student.name)
            return super().create_account(again, key=f"{key}-2")

    def find_account(self, student: Student) -> Account | None:
        second = Student(f"{student.reference}-2", student.email, student.name)
        return super().find_account(second) or super().find_account(student)


class CrashesOnGarbage(SandboxPartner):
    """Believes every answer."""

    def get_progress(self, external_enrollment_id: str) -> Progress:
        path = {"id": external_enrollment_id}
        told = self._door.call("GET", "/enrollments/{id}/progress", path_args=path, idempotent=True).json
        return Progress(external_enrollment_id, told["percentage"], told["status"] == "completed", None, None)


class InventsProgress(SandboxPartner):
    """Says 0 of a seat that does not exist."""

    def get_progress(self, external_enrollment_id: str) -> Progress:
        try:
            return super().get_progress(external_enrollment_id)
        except NotFound:
            from decimal import Decimal

            return Progress(external_enrollment_id, Decimal(0), False, None, None)


class IgnoresThePause(SandboxPartner):
    """Takes a throttle for a refusal."""

    def check(self) -> None:
        try:
            super().check()
        except RateLimited as error:
            raise Refused(str(error)) from None


class GivesBackOnce(SandboxPartner):
    """Is surprised by a seat that is gone."""

    def unenroll(self, external_enrollment_id: str) -> None:
        self.get_progress(external_enrollment_id)
        super().unenroll(external_enrollment_id)


class TellsEverything(SandboxPartner):
    """Puts whatever came back into its messages."""

    def check(self) -> None:
        try:
            super().check()
        except PartnerError as error:
            raise Refused(f"{error} for canary.person@example.org") from None


class LaunchesNowhere(SandboxPartner):
    """Does not look at the address that it is given."""

    def launch(self, external_enrollment_id: str, click: Click_) -> Redirect:
        answer = self._door.call(
            "POST",
            "/enrollments/{id}/launch",
            path_args={"id": external_enrollment_id},
            json={"return_url": click.return_url},
            headers={"Idempotency-Key": click.key},
            idempotent=False,
        )
        return Redirect(str(answer.json), None)


class SharesOneSeat(SandboxPartner):
    """Finds a seat whatever the course."""

    def find_enrollment(self, account_id: str, course_code: str) -> Seat | None:
        found = self._list("/enrollments", {"account_id": account_id, "course_code": "course-1"})
        return Seat(found[0]["id"]) if found else None


BROKEN: list[tuple[type[SandboxPartner], str]] = [
    (TakesAnyMatch, "a_stranger_is_never_adopted"),
    (NeverAdopts, "an_account_is_made_once"),
    (NeverAdopts, "four_accounts_at_once_are_one"),
    (GivesUpOnALostAnswer, "a_lost_answer_makes_no_second_account"),
    (TriesBlindlyAgain, "a_lost_answer_makes_no_second_account"),
    (CrashesOnGarbage, "garbage_is_survived"),
    (InventsProgress, "what_is_unknown_is_said"),
    (IgnoresThePause, "a_throttle_is_heeded"),
    (GivesBackOnce, "a_seat_is_given_back"),
    (TellsEverything, "messages_tell_no_secrets"),
    (LaunchesNowhere, "a_launch_is_minted"),
    (SharesOneSeat, "a_seat_is_taken_once"),
]


@pytest.mark.parametrize(("adapter", "check"), BROKEN)
def test_a_broken_adapter_fails(
    running_sandbox: RunningSandbox, adapter: type[SandboxPartner], check: str
) -> None:
    with (
        opened(lambda: SandboxSubject(running_sandbox, adapter)) as subject,
        pytest.raises((Violation, PartnerError)),
    ):
        CHECKS[check](subject)
