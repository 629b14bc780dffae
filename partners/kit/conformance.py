"""What every adapter must stand, whatever it speaks to: the same questions to each of them.

A `Subject` is an adapter together with the world that it calls: a fake that speaks the vendor's protocol, or the
sandbox. `CHECKS` are the questions; each takes a fresh subject, raises `Violation` where the adapter breaks the
interface, and `NotApplicable` where the adapter does not declare what it is about.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar
from urllib.parse import urlsplit

from partners.base import Account, Capability, Click, FormPost, Launch, Partner, Redirect, Seat, Student
from partners.errors import (
    CredentialsWrong,
    NeedsPerson,
    NotFound,
    OutcomeUnknown,
    PartnerError,
    RateLimited,
    RetryLater,
)
from partners.kit.fake import Fake, Kind, On

T = TypeVar("T")
AT_ONCE = 4
# Bodies that no vendor should send with 200, and that some day one does.
GARBAGE = (
    b"<html>down</html>",
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"7",
    b'{"data": null}',
    b'[{"id": null}]',
)
OUTAGES: tuple[tuple[Kind, On], ...] = (
    ("error", "read"),
    ("error", "write"),
    ("unavailable", "read"),
    ("unavailable", "write"),
)
CANARY = "canary.person@example.org"


class Violation(AssertionError):
    """An adapter does not do what the interface promises."""


class NotApplicable(Exception):
    """The adapter does not declare the capability that a check is about."""


class Subject(ABC):
    """An adapter and its world. Every check gets a fresh one."""

    # A course that exists at the partner, and another one.
    course_code = "course-1"
    other_course_code = "course-2"
    # What must never be seen in a message.
    secrets: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.student = Student(f"usher-{uuid.uuid4()}", CANARY, "Ann Lee")

    @property
    @abstractmethod
    def partner(self) -> Partner:
        """The adapter, the same at each call."""

    @abstractmethod
    def with_wrong_credentials(self) -> Partner | None:
        """Return another adapter whose credentials the partner refuses; None where there are none."""

    @abstractmethod
    def accounts(self, student: Student) -> int:
        """Return how many accounts the partner really has for a student."""

    @abstractmethod
    def seats(self, student: Student) -> int:
        """Return how many live seats the partner really has for a student, in all courses."""

    @abstractmethod
    def move(self, seat: Seat, percentage: int) -> None:
        """Have the student learn: at 100 the partner calls it completed."""

    @abstractmethod
    def fault(self, kind: Kind, on: On = "any", times: int = 1, body: bytes | None = None) -> None:
        """Have the next calls fail; see `partners.kit.fake.Fault`."""

    @abstractmethod
    def heal(self) -> None:
        """Take all faults back."""

    def skew(self, by: timedelta) -> None:  # noqa: B027 -- not every world has one
        """Set the partner's clock off; where the world has no clock of its own, nothing happens."""

    def add_stranger(self, reference: str) -> None:  # noqa: B027
        """Give somebody else an account under a reference that resembles a student's. Does nothing without accounts."""

    def unknown_seat(self) -> str:
        """Return the id of a seat that does not exist, in the form that the partner's ids have."""
        return "999999999"

    def close(self) -> None:  # noqa: B027
        """Let go of everything."""


class FakeSubject(Subject):
    """A subject whose world is a `Fake`; `fake` is set by the subclass."""

    fake: Fake

    def fault(self, kind: Kind, on: On = "any", times: int = 1, body: bytes | None = None) -> None:
        """Have the next calls fail."""
        self.fake.fault(kind, on, times, **({} if body is None else {"body": body}))

    def heal(self) -> None:
        """Take all faults back."""
        self.fake.heal()

    def skew(self, by: timedelta) -> None:
        """Set the vendor's clock off."""
        self.fake.skew = by

    def close(self) -> None:
        """Stop the server."""
        self.fake.stop()


def has(partner: Partner, *wanted: Capability) -> None:
    """Raise `NotApplicable` where the partner lacks one of these."""
    if not set(wanted) <= partner.capabilities:
        raise NotApplicable


def expect(holds: bool, message: str) -> None:
    """Raise `Violation` with the message unless it holds."""
    if not holds:
        raise Violation(message)


def only_partner_errors(call: Callable[[], T]) -> T | PartnerError:
    """Return what a call gives or the `PartnerError` it raises; any other exception is a `Violation`."""
    try:
        return call()
    except PartnerError as error:
        return error
    except Exception as error:
        raise Violation(f"raised {type(error).__name__} instead of a PartnerError: {error}") from error


def take_account(subject: Subject) -> str:
    """Look up, make where there is none: as the pipeline does. Return the account's id, our reference without accounts."""
    partner = subject.partner
    if Capability.ACCOUNTS not in partner.capabilities:
        return subject.student.reference
    found = partner.find_account(subject.student)
    return (found or partner.create_account(subject.student, key="account")).id


def take_seat(
    subject: Subject, account_id: str | None = None, course: str | None = None, key: str = "seat"
) -> Seat:
    """Look up, enrol where there is none: as the pipeline does."""
    partner, course = subject.partner, course or subject.course_code
    if account_id is None:
        account_id = take_account(subject)
    if Capability.ENROLL not in partner.capabilities:
        return Seat(reference_of(subject))
    return partner.find_enrollment(account_id, course) or enroll(subject, account_id, course, key)


def enroll(subject: Subject, account_id: str, course: str | None = None, key: str = "seat") -> Seat:
    """Take a seat without looking first. As ever, one key stands for one intended seat."""
    return subject.partner.enroll_in_course(
        account_id,
        course or subject.course_code,
        student=subject.student,
        reference=reference_of(subject),
        key=key,
    )


def reference_of(subject: Subject) -> str:
    """Return our reference of the student's seat."""
    return f"{subject.student.reference}-seat"


def at_once(call: Callable[[int], T]) -> list[T | PartnerError]:
    """Run a call in several threads."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda number: only_partner_errors(lambda: call(number)), range(AT_ONCE)))


def try_until_done(call: Callable[[], T], attempts: int = 5) -> T:
    """Try as the pipeline does: again after what may pass, never after what needs a person."""
    for _ in range(attempts):
        found = only_partner_errors(call)
        if not isinstance(found, PartnerError):
            return found
        expect(isinstance(found, RetryLater | OutcomeUnknown), f"is not tried again: {found.code}, {found}")
    raise Violation(f"did not come to an end in {attempts} attempts: {found}")


def check_credentials_are_told_apart(subject: Subject) -> None:
    """Good credentials pass `check`, wrong ones raise `CredentialsWrong` there and in other calls."""
    subject.partner.check()
    wrong = subject.with_wrong_credentials()
    if wrong is None:
        raise NotApplicable
    expect(
        isinstance(only_partner_errors(wrong.check), CredentialsWrong),
        "check() passes with wrong credentials",
    )
    if Capability.ACCOUNTS in wrong.capabilities:
        found = only_partner_errors(lambda: wrong.find_account(subject.student))
        expect(isinstance(found, CredentialsWrong), f"wrong credentials end in {found!r}")


def check_an_account_is_made_once(subject: Subject) -> None:
    """What is not there is None; what was made is found; making it again adopts it."""
    has(subject.partner, Capability.ACCOUNTS)
    partner = subject.partner
    expect(partner.find_account(subject.student) is None, "finds an account before there is one")
    made = partner.create_account(subject.student, key="one")
    expect(not made.adopted, "a new account is called adopted")
    found = partner.find_account(subject.student)
    expect(found is not None and found.id == made.id, f"made {made.id}, then found {found}")
    again = partner.create_account(subject.student, key="two")
    expect(
        again == Account(made.id, adopted=True), f"the second call answered {again}, not {made.id} as adopted"
    )
    expect(
        subject.accounts(subject.student) == 1,
        f"the partner has {subject.accounts(subject.student)} accounts",
    )


def check_four_accounts_at_once_are_one(subject: Subject) -> None:
    """Four workers at once end in one account."""
    has(subject.partner, Capability.ACCOUNTS)
    partner = subject.partner
    found = at_once(lambda number: partner.create_account(subject.student, key=f"k{number}"))
    _judge_race(found)
    ids = {item.id for item in found if isinstance(item, Account)} | {take_account(subject)}
    expect(len(ids) == 1, f"gave several accounts: {sorted(ids)}")
    expect(
        subject.accounts(subject.student) == 1,
        f"the partner has {subject.accounts(subject.student)} accounts",
    )


def check_a_lost_answer_makes_no_second_account(subject: Subject) -> None:
    """The account was made and the answer lost: the next attempt finds it."""
    has(subject.partner, Capability.ACCOUNTS)
    subject.fault("lose", on="write")
    first = only_partner_errors(lambda: subject.partner.create_account(subject.student, key="one"))
    if isinstance(first, PartnerError):
        expect(isinstance(first, OutcomeUnknown | RetryLater), f"a lost answer is {first.code}")
    try_until_done(lambda: take_account(subject))
    expect(
        subject.accounts(subject.student) == 1,
        f"the partner has {subject.accounts(subject.student)} accounts",
    )


def check_a_stranger_is_never_adopted(subject: Subject) -> None:
    """An account under a reference that merely resembles ours is somebody else's."""
    has(subject.partner, Capability.ACCOUNTS)
    for other in (
        subject.student.reference + "0",
        subject.student.reference[:-1],
        f"x{subject.student.reference}",
    ):
        subject.add_stranger(other)
    found = subject.partner.find_account(subject.student)
    expect(found is None, f"found {found}, which is a stranger's")


def check_a_seat_is_taken_once(subject: Subject) -> None:
    """What is not there is None; what was taken is found; taking it again adopts it; another course is another seat."""
    has(subject.partner, Capability.ENROLL)
    partner, account = subject.partner, take_account(subject)
    expect(partner.find_enrollment(account, subject.course_code) is None, "finds a seat before there is one")
    taken = enroll(subject, account)
    expect(not taken.adopted, "a new seat is called adopted")
    found = partner.find_enrollment(account, subject.course_code)
    expect(found is not None and found.id == taken.id, f"took {taken.id}, then found {found}")
    again = enroll(subject, account, key="another")
    expect(again.id == taken.id, f"the second call took {again.id} beside {taken.id}")
    expect(subject.seats(subject.student) == 1, f"the partner has {subject.seats(subject.student)} seats")
    other = take_seat(subject, account, subject.other_course_code, "other")
    expect(other.id != taken.id, "two courses have one seat id")
    expect(subject.seats(subject.student) == 2, "the seat in the second course is not there")


def check_four_seats_at_once_are_one(subject: Subject) -> None:
    """Four workers at once end in one seat."""
    has(subject.partner, Capability.ENROLL)
    account = take_account(subject)
    found = at_once(lambda number: enroll(subject, account, key=f"k{number}"))
    _judge_race(found)
    ids = {item.id for item in found if isinstance(item, Seat)} | {take_seat(subject, account).id}
    expect(len(ids) == 1, f"gave several seats: {sorted(ids)}")
    expect(subject.seats(subject.student) == 1, f"the partner has {subject.seats(subject.student)} seats")


def check_a_lost_answer_takes_no_second_seat(subject: Subject) -> None:
    """The seat was taken and the answer lost: the next attempt finds it."""
    has(subject.partner, Capability.ENROLL)
    account = take_account(subject)
    kinds: tuple[Kind, ...] = ("lose", "cut")
    for kind in kinds:
        subject.fault(kind, on="write")
        first = only_partner_errors(lambda: enroll(subject, account))
        if isinstance(first, PartnerError):
            expect(isinstance(first, OutcomeUnknown | RetryLater), f"a lost answer is {first.code}")
        subject.heal()
    try_until_done(lambda: take_seat(subject, account))
    expect(subject.seats(subject.student) == 1, f"the partner has {subject.seats(subject.student)} seats")


def check_a_throttle_is_heeded(subject: Subject) -> None:
    """Too many calls: `RateLimited`, with the pause where the partner names one; nothing was done."""
    calls: list[Callable[[], object]] = [subject.partner.check]
    if Capability.ACCOUNTS in subject.partner.capabilities:
        calls.append(lambda: subject.partner.find_account(subject.student))
        calls.append(lambda: subject.partner.create_account(subject.student, key="k"))
    if subject.with_wrong_credentials() is None:
        raise NotApplicable
    for call in calls:
        subject.fault("throttle", times=20)
        found = only_partner_errors(call)
        subject.heal()
        expect(isinstance(found, RateLimited), f"a throttle is {found!r}")
    if Capability.ACCOUNTS in subject.partner.capabilities:
        expect(
            subject.accounts(subject.student) == 0, "something was done although the partner was throttling"
        )


def check_an_outage_is_waited_out(subject: Subject) -> None:
    """A server error or maintenance is never a person's business, and after it everything is done once."""
    if subject.with_wrong_credentials() is None:
        raise NotApplicable
    for kind, on in OUTAGES:
        subject.fault(kind, on=on)
        try_until_done(lambda: take_seat(subject))
        subject.heal()
    if Capability.ENROLL in subject.partner.capabilities:
        expect(subject.seats(subject.student) == 1, f"the partner has {subject.seats(subject.student)} seats")


def check_garbage_is_survived(subject: Subject) -> None:
    """An answer that is none ends in a `PartnerError` or in nothing found; never in a made-up id, never in a crash."""
    if subject.with_wrong_credentials() is None:
        raise NotApplicable
    partner, account = subject.partner, take_account(subject)
    calls: dict[str, Callable[[], object]] = {}
    if Capability.ACCOUNTS in partner.capabilities:
        calls["find_account"] = lambda: partner.find_account(subject.student)
        calls["create_account"] = lambda: partner.create_account(subject.student, key="k")
    seat = take_seat(subject, account)
    if Capability.ENROLL in partner.capabilities:
        calls["find_enrollment"] = lambda: partner.find_enrollment(account, subject.course_code)
        calls["enroll_in_course"] = lambda: enroll(subject, account)
    if Capability.PROGRESS in partner.capabilities:
        calls["get_progress"] = lambda: partner.get_progress(seat.id)
    if Capability.CERTIFICATE in partner.capabilities:
        calls["get_certificate"] = lambda: partner.get_certificate(seat.id)
    if Capability.BULK_PROGRESS in partner.capabilities:
        calls["progress_page"] = lambda: partner.progress_page(None, 10)
    if Capability.SSO in partner.capabilities:
        calls["launch"] = lambda: partner.launch(seat.id, click(subject))
    for body in GARBAGE:
        for name, call in calls.items():
            subject.fault("garbage", times=20, body=body)
            found = only_partner_errors(call)
            subject.heal()
            if isinstance(found, Account | Seat):
                known = account if isinstance(found, Account) else seat.id
                expect(found.id == known, f"{name}: made the id {found.id!r} out of {body!r}")
            if name == "launch" and not isinstance(found, PartnerError):
                _judge_launch(found)  # type: ignore[arg-type]


def check_a_skewed_clock_does_no_harm(subject: Subject) -> None:
    """A partner whose clock is an hour off gives seats, progress and launches all the same."""
    partner = subject.partner
    for by in (timedelta(hours=1), timedelta(hours=-1)):
        subject.skew(by)
        seat = take_seat(subject)
        if Capability.PROGRESS in partner.capabilities:
            subject.move(seat, 30)
            told = partner.get_progress(seat.id)
            expect(told.percentage == Decimal(30), f"progress is {told.percentage}, not 30")
        if Capability.SSO in partner.capabilities:
            _judge_launch(partner.launch(seat.id, click(subject)))


def check_progress_is_told(subject: Subject) -> None:
    """A new seat is at 0; what is learned is told; 100 is completed; the bulk call tells the same."""
    has(subject.partner, Capability.PROGRESS)
    partner, seat = subject.partner, take_seat(subject)
    told = try_until_done(lambda: _fresh_progress(subject, seat))
    expect(told == 0, f"a seat that nobody opened is at {told}")
    for percentage in (40, 100):
        subject.move(seat, percentage)
        now = partner.get_progress(seat.id)
        expect(now.percentage == percentage, f"is at {now.percentage}, not {percentage}")
        expect(now.completed == (percentage == 100), f"completed is {now.completed} at {percentage}")
        expect(now.external_enrollment_id == seat.id, f"tells of {now.external_enrollment_id}")
        for moment in (now.updated_at, now.completed_at):
            expect(moment is None or moment.tzinfo is not None, "a time has no zone")
    if Capability.BULK_PROGRESS in partner.capabilities:
        items = [item for page in _pages(partner) for item in page if item.external_enrollment_id == seat.id]
        expect(bool(items) and items[-1].completed, "the bulk call does not tell of the completion")


def check_a_certificate_is_told(subject: Subject) -> None:
    """There is none before the course is completed; afterwards it has a number."""
    has(subject.partner, Capability.CERTIFICATE, Capability.PROGRESS)
    partner, seat = subject.partner, take_seat(subject)
    expect(partner.get_certificate(seat.id) is None, "a certificate before anything was learned")
    subject.move(seat, 100)
    found = partner.get_certificate(seat.id)
    expect(found is not None and bool(found.number), f"the certificate is {found}")


def check_a_seat_is_given_back(subject: Subject) -> None:
    """Twice is no error, an unknown seat neither; afterwards it is gone and can be taken anew."""
    has(subject.partner, Capability.ENROLL, Capability.UNENROLL)
    partner, account = subject.partner, take_account(subject)
    seat = take_seat(subject, account)
    for _ in range(2):
        partner.unenroll(seat.id)
    expect(subject.seats(subject.student) == 0, "the seat is still there")
    expect(
        partner.find_enrollment(account, subject.course_code) is None, "a seat that was given back is found"
    )
    partner.unenroll(subject.unknown_seat())
    take_seat(subject, account, key="anew")
    expect(subject.seats(subject.student) == 1, "the seat cannot be taken anew")


def check_a_seat_is_locked(subject: Subject) -> None:
    """Locking twice and opening twice are no errors, and the seat stays the same one."""
    has(subject.partner, Capability.ENROLL, Capability.SUSPEND)
    partner, seat = subject.partner, take_seat(subject)
    for suspended in (True, True, False, False):
        partner.suspend(seat.id, suspended=suspended)
    again = take_seat(subject)
    expect(again.id == seat.id, f"the seat became {again.id}")


def check_what_is_unknown_is_said(subject: Subject) -> None:
    """Asking about a seat that does not exist needs a person, and is never taken for no progress."""
    has(subject.partner, Capability.PROGRESS)
    take_seat(subject)
    found = only_partner_errors(lambda: subject.partner.get_progress(subject.unknown_seat()))
    expect(isinstance(found, NotFound | NeedsPerson), f"progress of a seat that does not exist: {found!r}")
    if Capability.CERTIFICATE in subject.partner.capabilities:
        got = only_partner_errors(lambda: subject.partner.get_certificate(subject.unknown_seat()))
        expect(got is None or isinstance(got, NeedsPerson), f"a certificate for no seat: {got!r}")


def check_a_launch_is_minted(subject: Subject) -> None:
    """Each click gets a launch that leads to a web address; two clicks get two, and neither holds our credentials."""
    has(subject.partner, Capability.SSO)
    seat = take_seat(subject)
    for number in range(2):
        launch = subject.partner.launch(seat.id, click(subject, f"k{number}"))
        _judge_launch(launch)
        shown = repr(launch)
        for secret in subject.secrets:
            expect(secret not in shown, "a credential of ours is part of the launch")


def check_messages_tell_no_secrets(subject: Subject) -> None:
    """What the partner echoes back never reaches a message: credentials, e-mail addresses."""
    if subject.with_wrong_credentials() is None:
        raise NotApplicable
    echo = f'{{"message": "no: {CANARY} {" ".join(subject.secrets)}", "error": "{CANARY}"}}'.encode()
    partner = subject.partner
    calls: list[Callable[[], object]] = [partner.check, lambda: take_seat(subject)]
    kinds: tuple[Kind, ...] = ("error", "garbage")
    for kind in kinds:
        for call in calls:
            subject.fault(kind, times=20, body=echo)
            found = only_partner_errors(call)
            subject.heal()
            for secret in (CANARY, *subject.secrets):
                expect(secret not in str(found), f"a message tells {secret!r}")


def click(subject: Subject, key: str = "launch") -> Click:
    """Return a student's click."""
    id = str(uuid.uuid5(uuid.NAMESPACE_URL, subject.student.reference))
    return Click(id, subject.student, subject.course_code, "https://school.example/dashboard", key)


def _fresh_progress(subject: Subject, seat: Seat) -> Decimal:
    """Return how far an unopened seat is; partners that have nothing to tell of one yet are not asked further."""
    try:
        return subject.partner.get_progress(seat.id).percentage
    except NotFound:
        raise Violation("a seat that nobody opened is not found") from None


def _pages(partner: Partner) -> Iterator[list]:  # type: ignore[type-arg]
    from partners.base import iter_progress

    for _, page in iter_progress(partner, None, 100):
        yield page.items


def _judge_race(found: list[T | PartnerError]) -> None:
    for item in found:
        if isinstance(item, PartnerError):
            expect(isinstance(item, RetryLater | OutcomeUnknown), f"one of four at once ended in {item.code}")


def _judge_launch(launch: Launch) -> None:
    url = launch.url if isinstance(launch, Redirect) else launch.action
    parts = urlsplit(url)
    expect(parts.scheme in ("http", "https") and bool(parts.hostname), "a launch leads to no web address")
    if isinstance(launch, FormPost):
        values = launch.fields.values()
        expect(all(isinstance(value, str) for value in values), "a field of a launch is no text")


@contextmanager
def opened(make: Callable[[], Subject]) -> Iterator[Subject]:
    """Make a subject for one check, and close it."""
    subject = make()
    try:
        yield subject
    finally:
        subject.close()


CHECKS: dict[str, Callable[[Subject], None]] = {
    name.removeprefix("check_"): value for name, value in list(globals().items()) if name.startswith("check_")
}
