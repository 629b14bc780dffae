"""The Moodle adapter, case by case: what Moodle's errors mean, whom it adopts, what it tells."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import capture_logs

from partners import configuration, registry
from partners.base import Account, Capability, Click, Redirect, Seat, Student
from partners.configuration import Verified
from partners.connection import Connection
from partners.errors import (
    Ambiguous,
    CredentialsWrong,
    NotFound,
    OutcomeUnknown,
    PartnerError,
    Refused,
    RetryLater,
)
from partners.moodle.adapter import MoodlePartner
from partners.moodle.service import Service, flatten
from tests.conformance.moodle import connect
from tests.fakes.moodle import CUSTOMCERT, SERVICE, TOKEN, FakeMoodle

ANN = Student("usher-0B44EC04", "ann@example.com", "Ann Mary Lee")
CODE = "EXT-HSI-101"


@pytest.fixture
def moodle() -> Iterator[FakeMoodle]:
    """A site with one course that tracks completion and one that does not."""
    with FakeMoodle() as fake:
        assert isinstance(fake, FakeMoodle)
        fake.add_course(4, CODE, "HSI101", "Safety 101")
        fake.add_course(5, "PLAIN", "PLAIN", "Without completion", completion=False)
        yield fake


@pytest.fixture
def partner(moodle: FakeMoodle) -> MoodlePartner:
    return connect(moodle)


def enroll(partner: MoodlePartner, account: str = "17", course: str = CODE) -> Seat:
    return partner.enroll_in_course(account, course, student=ANN, reference="r", key="k")


def seat_of(partner: MoodlePartner, course: str = CODE) -> str:
    return enroll(partner, partner.create_account(ANN, key="k").id, course).id


def click() -> Click:
    return Click("3fa85f64-5717-4562-b3fc-2c963f66afa6", ANN, CODE, "https://school.example/", "k")


def says(
    moodle: FakeMoodle, errorcode: str, message: str = "No", exception: str = "moodle_exception"
) -> None:
    """Have the next call answer an error as Moodle does: with 200."""
    error = {"exception": exception, "errorcode": errorcode, "message": message}
    moodle.fault("garbage", body=json.dumps(error).encode())


def at_once(calls: list[Callable[[], Account | Seat]]) -> list[Account | Seat | PartnerError]:
    def tried(call: Callable[[], Account | Seat]) -> Account | Seat | PartnerError:
        try:
            return call()
        except PartnerError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(tried, calls))


def test_a_student_goes_all_the_way(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    partner.check()
    account = partner.create_account(ANN, key="k")
    user = moodle.users[int(account.id)]
    assert {name: user[name] for name in ("username", "idnumber", "auth", "firstname", "lastname")} == {
        "username": "usher-0b44ec04",
        "idnumber": "usher-0b44ec04",
        "auth": "userkey",
        "firstname": "Ann",
        "lastname": "Mary Lee",
    }
    seat = enroll(partner, account.id)
    assert seat == Seat("17:4")
    assert partner.find_enrollment(account.id, CODE) == seat

    launch = partner.launch(seat.id, click())
    assert isinstance(launch, Redirect)
    assert urlsplit(launch.url).path == "/auth/userkey/login.php"
    query = parse_qs(urlsplit(launch.url).query)
    assert query["wantsurl"] == [f"{moodle.url}/course/view.php?id=4"]

    moodle.progress[17, 4] = 33.333
    assert partner.get_progress(seat.id).percentage == Decimal("33.333")
    moodle.progress[17, 4] = 100
    assert partner.get_progress(seat.id).completed
    partner.unenroll(seat.id)
    assert not moodle.enrolments
    with pytest.raises(NotFound):
        partner.get_progress(seat.id)


def test_the_token_is_in_no_address_and_in_no_log(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    with capture_logs() as logs:
        partner.check()
        partner.launch(seat_of(partner), click())
        says(moodle, "whatever", f"the token {TOKEN} of ann@example.com")
        with pytest.raises(Refused) as refused:
            partner.check()
    assert moodle.paths
    assert not any(TOKEN in path for path in moodle.paths)
    assert all(TOKEN in body for body in moodle.bodies)
    assert "core_user_create_users" in str(logs)
    for text in (str(logs), str(refused.value)):
        assert TOKEN not in text
        assert "ann@" not in text


# The error table


@pytest.mark.parametrize(
    ("errorcode", "meaning"),
    [
        ("invalidtoken", CredentialsWrong),
        ("invalidtimedtoken", CredentialsWrong),
        ("accessexception", CredentialsWrong),
        ("wsaccessusersuspended", CredentialsWrong),
        ("invalidrecord", NotFound),
        ("usernotenroled", NotFound),
        ("wsusercannotassign", Refused),
        ("codingerror", Refused),
        ("nopermissions", Refused),
        ("invalidparameter", Refused),
        ("sitemaintenance", RetryLater),
        ("dmlreadexception", RetryLater),
        ("dmlwriteexception", RetryLater),
    ],
)
def test_an_error_of_a_call_that_changes_nothing(
    moodle: FakeMoodle, partner: MoodlePartner, errorcode: str, meaning: type[PartnerError]
) -> None:
    says(moodle, errorcode)
    with pytest.raises(meaning) as error:
        partner.check()
    assert type(error.value) is meaning
    assert errorcode in str(error.value)


@pytest.mark.parametrize(
    ("errorcode", "meaning"),
    [
        ("invalidtoken", CredentialsWrong),
        ("dmlwriteexception", OutcomeUnknown),
        ("invalidparameter", Refused),
    ],
)
def test_an_error_of_a_create(
    moodle: FakeMoodle, partner: MoodlePartner, errorcode: str, meaning: type[PartnerError]
) -> None:
    says(moodle, errorcode)
    with pytest.raises(meaning) as error:
        partner.create_account(ANN, key="k")
    assert type(error.value) is meaning


def test_a_function_that_the_site_does_not_have_is_told_apart(moodle: FakeMoodle) -> None:
    words = "Can't find data record in database table external_functions."
    says(moodle, "invalidrecord", words, "dml_missing_record_exception")
    with pytest.raises(CredentialsWrong, match="no such function"):
        connect(moodle).check()


def test_a_duplicate_username_is_adopted(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    made = partner.create_account(ANN, key="k")
    assert partner.create_account(ANN, key="k2") == Account(made.id, adopted=True)
    assert len(moodle.users) == 2


def test_a_duplicate_email_is_a_persons_business(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    moodle.add_user(9, "ann", "Ann@example.com", "Ann", "Lee")
    moodle.users[9]["email"] = ANN.email
    with pytest.raises(Refused, match="adopt_by_email"):
        partner.create_account(ANN, key="k")
    assert partner.find_account(ANN) is None


def test_the_only_account_with_the_email_is_adopted_where_that_is_wanted(moodle: FakeMoodle) -> None:
    moodle.add_user(9, "ann", ANN.email, "Ann", "Lee")
    partner = connect(moodle, adopt_by_email=True)
    assert partner.find_account(ANN) == Account("9", adopted=True)
    assert partner.create_account(ANN, key="k") == Account("9", adopted=True)
    assert len(moodle.users) == 2


def test_two_accounts_with_the_email_are_ambiguous(moodle: FakeMoodle) -> None:
    for id in (8, 9):
        moodle.add_user(id, f"ann{id}", ANN.email, "Ann", "Lee")
    partner = connect(moodle, adopt_by_email=True)
    for call in (lambda: partner.find_account(ANN), lambda: partner.create_account(ANN, key="k")):
        with pytest.raises(Ambiguous):
            call()


def test_creates_in_a_race_make_one_account(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    barrier = threading.Barrier(4)
    moodle.before_insert = lambda function: void(barrier.wait(10))
    found = at_once([lambda: partner.create_account(ANN, key="k")] * 4)
    assert [item for item in found if isinstance(item, Account)] == [Account("17")]
    assert [type(item) for item in found].count(OutcomeUnknown) == 3
    assert partner.find_account(ANN) == Account("17")
    assert len(moodle.users) == 2


def test_four_creates_with_one_email_make_four_accounts_of_which_none_is_taken_by_email(
    moodle: FakeMoodle, partner: MoodlePartner
) -> None:
    barrier = threading.Barrier(4)
    moodle.before_insert = lambda function: void(barrier.wait(10))
    students = [Student(f"usher-{number}", ANN.email, "Ann Lee") for number in range(4)]
    found = at_once([lambda one=one: partner.create_account(one, key="k") for one in students])
    assert len({item.id for item in found if isinstance(item, Account)}) == 4
    with pytest.raises(Ambiguous):
        connect(moodle, adopt_by_email=True).find_account(ANN)


def test_enrolments_in_a_race_make_one_seat(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    account = partner.create_account(ANN, key="k").id
    barrier = threading.Barrier(4)
    moodle.before_insert = lambda function: void(barrier.wait(10))
    found = at_once([lambda: enroll(partner, account)] * 4)
    assert [item for item in found if isinstance(item, Seat)] == [Seat("17:4")]
    assert [type(item) for item in found].count(OutcomeUnknown) == 3
    assert partner.find_enrollment(account, CODE) == Seat("17:4")


def test_markup_inside_an_errorcode_is_taken_out(moodle: FakeMoodle) -> None:
    verified = Verified("recorded-exchanges", "tests")
    service = Service(Connection("moodle", "moodle", verified, moodle.url, {"token": TOKEN}))
    user = {"username": "x", "email": "x@example.com", "firstname": "X", "lastname": "Y", "password": "abc"}
    with pytest.raises(Refused, match="Passwords must have at least 8 characters") as refused:
        service.call("core_user_create_users", {"users": [user]}, idempotent=False)
    assert "<" not in str(refused.value)


def test_a_refusal_of_a_create_is_looked_up_first(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    made = partner.create_account(ANN, key="k")
    says(moodle, "<div>Passwords must have at least 1 digit</div>")
    assert partner.create_account(ANN, key="k2") == Account(made.id, adopted=True)


def test_maintenance_is_waited_out(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    moodle.fault("unavailable", times=2)
    with pytest.raises(RetryLater):
        partner.find_account(ANN)
    with pytest.raises(OutcomeUnknown):
        partner.create_account(ANN, key="k")
    assert partner.find_account(ANN) is None
    assert partner.create_account(ANN, key="k") == Account("17")


def test_a_suspended_account_gets_no_login_link(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    seat = seat_of(partner)
    moodle.users[17]["suspended"] = True
    with pytest.raises(Refused, match="suspended"):
        partner.launch(seat, click())
    assert not any("request_login_url" in path for path in moodle.paths)


def test_a_role_that_may_not_be_given_is_refused(moodle: FakeMoodle) -> None:
    partner = connect(moodle, role_id=77)
    with pytest.raises(Refused, match="wsusercannotassign"):
        seat_of(partner)


def test_an_account_or_a_course_that_is_not_there(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    with pytest.raises(Refused, match="codingerror"):
        enroll(partner, "99999")
    with pytest.raises(NotFound, match="no course"):
        enroll(partner, course="nope")
    with pytest.raises(NotFound):
        partner.suspend("17:99999", suspended=True)
    with pytest.raises(NotFound):
        partner.launch("99999:4", click())
    with pytest.raises(NotFound):
        partner.get_progress("99999")


def test_an_enrolment_whose_outcome_is_unknown_is_found_again(
    moodle: FakeMoodle, partner: MoodlePartner
) -> None:
    account = partner.create_account(ANN, key="k").id
    moodle.fault("cut", on="write")
    with pytest.raises(OutcomeUnknown):
        enroll(partner, account)
    assert enroll(partner, account) == Seat("17:4", adopted=True)


def test_an_answer_that_is_empty_is_no_success(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    account = partner.create_account(ANN, key="k").id
    moodle.fault("garbage", on="write", body=b"")
    with pytest.raises(OutcomeUnknown, match="nothing"):
        enroll(partner, account)
    assert not moodle.enrolments


# Seats


def test_a_seat_that_is_gone_is_given_back_already(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    seat = seat_of(partner)
    partner.unenroll(seat)
    says(moodle, "usernotenroled")
    partner.unenroll(seat)
    partner.unenroll("99999:4")


def test_a_seat_that_another_method_holds_is_told(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    seat = seat_of(partner)
    moodle.others.add((17, 4))
    with pytest.raises(Refused, match="still enrolled"):
        partner.unenroll(seat)


def test_a_seat_is_locked_and_opened_again(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    seat = seat_of(partner)
    for suspended in (True, True, False):
        partner.suspend(seat, suspended=suspended)
        assert moodle.enrolments[17, 4] is suspended
    partner.suspend(seat, suspended=True)
    assert partner.find_enrollment("17", CODE) is None
    assert enroll(partner) == Seat(seat)
    assert moodle.enrolments[17, 4] is False


def test_a_write_error_of_a_lock_is_tried_again(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    seat = seat_of(partner)
    says(moodle, "dmlwriteexception")
    with pytest.raises(RetryLater):
        partner.suspend(seat, suspended=True)


def test_a_course_without_completion_tells_nothing(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    progress = partner.get_progress(seat_of(partner, "PLAIN"))
    assert (progress.percentage, progress.completed) == (Decimal(0), False)
    assert not any("completion_status" in path for path in moodle.paths)


def test_two_courses_with_one_code_are_ambiguous(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    account = partner.create_account(ANN, key="k").id
    moodle.add_course(6, CODE, "COPY", "A copy")
    with pytest.raises(Ambiguous):
        enroll(partner, account)


@pytest.mark.parametrize(("field", "code"), [("shortname", "HSI101"), ("id", "4")])
def test_a_course_is_found_by_another_field(moodle: FakeMoodle, field: str, code: str) -> None:
    partner = connect(moodle, course_field=field)
    assert seat_of(partner, code) == "17:4"
    assert partner.find_enrollment("17", code) == Seat("17:4")


@pytest.mark.parametrize("field", ["username", "email", "id"])
def test_a_login_link_is_asked_for_by_the_plug_ins_field(moodle: FakeMoodle, field: str) -> None:
    moodle.mapping_field = field
    seat = seat_of(connect(moodle))
    assert isinstance(connect(moodle, sso_field=field).launch(seat, click()), Redirect)
    with pytest.raises(Refused, match="sso_field"):
        connect(moodle).launch(seat, click())


# Certificates


def test_the_badge_of_the_course_that_was_issued_last_is_the_certificate(
    moodle: FakeMoodle, partner: MoodlePartner
) -> None:
    seat = seat_of(partner)
    assert partner.get_certificate(seat) is None
    moodle.issue(17, 5)
    assert partner.get_certificate(seat) is None
    moodle.issue(17, 4, "Halfway there", at=1_795_190_000)
    moodle.issue(17, 4, "Safety 101 passed", at=1_795_180_000)
    halfway, passed = moodle.badges[1:]
    found = partner.get_certificate(seat)
    assert found is not None
    assert found.number == halfway["uniquehash"]
    named = connect(moodle, badge_name="passed").get_certificate(seat)
    assert named is not None
    assert named.number == passed["uniquehash"]
    assert named.verification_url == f"{moodle.url}/badges/badge.php?hash={named.number}"
    assert named.issued_at == datetime.fromtimestamp(1_795_180_000, UTC)


def test_certificates_of_mod_customcert(moodle: FakeMoodle) -> None:
    moodle.service += CUSTOMCERT
    partner = connect(moodle, certificates="customcert")
    partner.check()
    seat = seat_of(partner)
    assert partner.get_certificate(seat) is None
    moodle.issue(17, 5)
    assert partner.get_certificate(seat) is None
    moodle.issue(17, 4)
    found = partner.get_certificate(seat)
    assert found is not None
    assert found.number == moodle.issues[1]["issue"]["code"]
    assert found.verification_url == f"{moodle.url}/mod/customcert/verify_certificate.php?code={found.number}"


def test_without_certificates_the_capability_is_not_declared(moodle: FakeMoodle) -> None:
    assert Capability.CERTIFICATE not in connect(moodle, certificates="none").capabilities
    assert Capability.CERTIFICATE in connect(moodle).capabilities


# Set-up


def test_the_check_names_the_functions_that_are_missing(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    for name in ("auth_userkey_request_login_url", "core_badges_get_user_badges"):
        moodle.service.remove(name)
    with pytest.raises(CredentialsWrong, match="auth_userkey_request_login_url, core_badges_get_user_badges"):
        partner.check()
    with pytest.raises(CredentialsWrong, match="mod_customcert_list_issues"):
        connect(moodle, certificates="customcert").check()
    moodle.service = [name for name in SERVICE if name != "enrol_manual_enrol_users"]
    with pytest.raises(CredentialsWrong, match="accessexception"):
        seat_of(partner)


def test_the_shipped_configuration_makes_an_adapter_that_works(moodle: FakeMoodle) -> None:
    found = configuration.read(configuration.SHIPPED / "moodle.yaml")
    given = dict.fromkeys(found.secrets, TOKEN)
    registry.build(
        Connection("moodle", found.adapter, found.verified, moodle.url, given, found.options)
    ).check()


def test_a_token_that_may_not_see_usernames_is_told(moodle: FakeMoodle, partner: MoodlePartner) -> None:
    moodle.fault("garbage", body=b'[{"id": 17, "fullname": "Ann Lee"}]')
    with pytest.raises(CredentialsWrong, match="viewalldetails"):
        partner.find_account(ANN)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"course_feild": "id"}, "course_feild: is not known here; known are adopt_by_email"),
        ({"adopt_by_email": "yes"}, "adopt_by_email"),
        ({"role_id": 0}, "role_id"),
        ({"certificates": "pdf"}, "certificates"),
    ],
)
def test_options_that_are_wrong_are_told(moodle: FakeMoodle, options: dict[str, object], words: str) -> None:
    with pytest.raises(CredentialsWrong, match=words):
        connect(moodle, **options)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Ann", ("Ann", "-")),
        ("ann@example.com", ("ann", "-")),
        ("<b>Ann</b> Lee", ("b", "Ann /b Lee")),
        (" ", ("-", "-")),
    ],
)
def test_every_name_becomes_two(
    moodle: FakeMoodle, partner: MoodlePartner, name: str, kept: tuple[str, str]
) -> None:
    account = partner.create_account(Student(ANN.reference, ANN.email, name), key="k")
    user = moodle.users[int(account.id)]
    assert (user["firstname"], user["lastname"]) == kept


def test_a_form_is_written_as_php_reads_it() -> None:
    value = {"users": [{"username": "a", "tags": [1, True]}], "field": "id"}
    assert list(flatten(value)) == [
        ("users[0][username]", "a"),
        ("users[0][tags][0]", "1"),
        ("users[0][tags][1]", "1"),
        ("field", "id"),
    ]


def void(_: object) -> None:
    """Drop what a call gives."""
