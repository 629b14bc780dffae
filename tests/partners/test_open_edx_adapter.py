"""The Open edX adapter: its token, accounts in both ways, both ways to enrol, grades and certificates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import capture_logs

from partners import configuration, registry
from partners.base import Account, Click, Redirect, Seat, Student
from partners.connection import Connection
from partners.errors import (
    Ambiguous,
    CredentialsWrong,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RetryLater,
)
from partners.open_edx.adapter import OpenEdxPartner, username_of
from tests.conformance.open_edx import connect
from tests.fakes.open_edx import CLIENT_ID, CLIENT_SECRET, TOKEN_PATH, USERNAME, FakeOpenEdx

ANN = Student("usher-0b44ec04-09d9-429f-a7ef-281529f4a327", "ann@example.com", "Ann Lee")
COURSE = "course-v1:Usher+S101+2026"
OURS = username_of(ANN)


@pytest.fixture
def edx() -> Iterator[FakeOpenEdx]:
    with FakeOpenEdx() as fake:
        assert isinstance(fake, FakeOpenEdx)
        fake.courses = {COURSE}
        yield fake


@pytest.fixture
def partner(edx: FakeOpenEdx) -> OpenEdxPartner:
    return connect(edx)


def enroll(partner: OpenEdxPartner, account: str = "ann", course: str = COURSE) -> Seat:
    return partner.enroll_in_course(account, course, student=ANN, reference="r", key="k")


def click() -> Click:
    return Click("3fa85f64-5717-4562-b3fc-2c963f66afa6", ANN, COURSE, "https://school.example/", "k")


def paths(edx: FakeOpenEdx) -> list[str]:
    return [call.path for call in edx.calls]


# The token


def test_one_token_serves_all_threads(edx: FakeOpenEdx, partner: OpenEdxPartner) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: partner.check(), range(8)))
    assert edx.tokens_made == 1
    assert all(header.startswith("JWT ") for header in edx.headers)


def test_a_token_is_left_before_its_end(
    edx: FakeOpenEdx, partner: OpenEdxPartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("partners.open_edx.session.time.monotonic", lambda: now[0])
    partner.check()
    now[0] += 3600 - 61
    partner.check()
    assert edx.tokens_made == 1
    now[0] += 2
    partner.check()
    assert edx.tokens_made == 2


@pytest.mark.parametrize("lifetime", [1, 0, None, "soon", True])
def test_a_short_or_strange_lifetime_is_survived(edx: FakeOpenEdx, lifetime: object) -> None:
    edx.lifetime = lifetime
    connect(edx).check()


def test_a_token_that_is_refused_is_asked_for_anew_once(edx: FakeOpenEdx, partner: OpenEdxPartner) -> None:
    edx.users["ann"] = ANN.email
    partner.check()
    edx.tokens.clear()
    assert enroll(partner) == Seat(f"ann,{COURSE}")
    assert edx.tokens_made == 2
    # A site that accepts none of its own tokens is not asked for ever.
    edx.tokens = Refusing()
    with pytest.raises(CredentialsWrong):
        partner.check()
    assert edx.tokens_made == 3


class Refusing(set[str]):
    """Keeps nothing."""

    def add(self, item: str) -> None:
        return


def test_a_token_may_be_a_bearer(edx: FakeOpenEdx) -> None:
    connect(edx, token_type="bearer").check()
    assert edx.headers[0].startswith("Bearer ")


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"access_token": ""}', b'{"access_token": "a\\r\\nX: y"}'])
def test_a_token_endpoint_that_answers_nonsense_is_tried_again(
    edx: FakeOpenEdx, partner: OpenEdxPartner, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr(edx, "spared", lambda request: request.path != TOKEN_PATH)
    edx.fault("garbage", body=body)
    with pytest.raises(RetryLater):
        partner.check()


def test_neither_secret_nor_token_is_told(edx: FakeOpenEdx, partner: OpenEdxPartner) -> None:
    partner.check()
    (token,) = edx.tokens
    edx.fault("error", body=json.dumps({"detail": f"{token} {CLIENT_SECRET} {ANN.email}"}).encode())
    with capture_logs() as logs, pytest.raises(RetryLater) as error:
        partner.check()
    for text in (str(logs), str(error.value)):
        assert not any(word in text for word in (token, CLIENT_SECRET, ANN.email))


def test_an_application_whose_user_is_no_staff_is_told(edx: FakeOpenEdx, partner: OpenEdxPartner) -> None:
    edx.staff = False
    edx.users["ann"] = ANN.email
    with pytest.raises(CredentialsWrong, match="not staff"):
        partner.check()
    with pytest.raises(CredentialsWrong, match="may not see email"):
        partner.find_account(ANN)


# Accounts


def test_an_account_that_exists_is_found_by_its_email(edx: FakeOpenEdx, partner: OpenEdxPartner) -> None:
    assert partner.find_account(ANN) is None
    with pytest.raises(Refused, match="accounts: register"):
        partner.create_account(ANN, key="k")
    edx.users["ann"] = ANN.email
    assert partner.find_account(ANN) == Account("ann", adopted=True)
    assert partner.create_account(ANN, key="k") == Account("ann", adopted=True)
    assert edx.forms == []


def test_an_account_is_registered_where_that_is_wanted(edx: FakeOpenEdx) -> None:
    partner = connect(edx, accounts="register", registration_fields={"country": "DE"})
    assert partner.find_account(ANN) is None
    assert partner.create_account(ANN, key="k") == Account(OURS)
    assert partner.find_account(ANN) == Account(OURS)
    form = edx.forms[0]
    assert form["country"] == "DE"
    assert form["honor_code"] == "true"
    assert len(form["password"]) >= 32
    other = Student("usher-another", "other@example.com", "Other")
    partner.create_account(other, key="k")
    assert edx.forms[1]["password"] != form["password"]


def test_our_username_is_short_enough_and_constant() -> None:
    assert USERNAME.match(OURS)
    assert len(OURS) == 30
    assert username_of(Student(ANN.reference, "new@example.com", "New Name")) == OURS
    assert username_of(Student(f"{ANN.reference}0", ANN.email, ANN.name)) != OURS


def test_an_email_of_another_account_is_a_persons_business(edx: FakeOpenEdx) -> None:
    edx.users["ann"] = ANN.email
    with pytest.raises(Refused, match="another account") as refused:
        connect(edx, accounts="register").create_account(ANN, key="k")
    assert ANN.email not in str(refused.value)


def test_an_email_of_another_account_is_adopted_where_that_is_wanted(edx: FakeOpenEdx) -> None:
    partner = connect(edx, accounts="register", adopt_by_email=True)
    assert partner.find_account(ANN) is None
    edx.users["ann"] = ANN.email
    assert partner.create_account(ANN, key="k") == Account("ann", adopted=True)
    assert partner.find_account(ANN) == Account("ann", adopted=True)
    edx.users |= {"ann": "new@example.com", OURS: ANN.email}
    assert partner.find_account(ANN) == Account(OURS)


def test_a_registration_that_is_refused_says_why(edx: FakeOpenEdx) -> None:
    partner = connect(edx, accounts="register")
    with pytest.raises(Refused, match="wrong or missing: name") as refused:
        partner.create_account(Student(ANN.reference, ANN.email, ""), key="k")
    assert ANN.email not in str(refused.value)
    edx.registers = False
    with pytest.raises(Refused, match="registers nobody"):
        partner.create_account(ANN, key="k")
    edx.registrations_left = 0
    with pytest.raises(RateLimited, match="REGISTRATION_RATELIMIT"):
        partner.create_account(ANN, key="k")
    assert edx.users == {}


def test_a_registration_that_does_not_say_that_it_worked_is_unknown(edx: FakeOpenEdx) -> None:
    edx.fault("garbage", on="write", body=b"{}")
    with pytest.raises(OutcomeUnknown):
        connect(edx, accounts="register").create_account(ANN, key="k")


def test_two_accounts_for_one_email_are_ambiguous(edx: FakeOpenEdx, partner: OpenEdxPartner) -> None:
    edx.users |= {"ann": ANN.email, "ann2": ANN.email}
    with pytest.raises(Ambiguous):
        partner.find_account(ANN)


# Seats


@pytest.mark.parametrize("api", ["enrollment", "bulk_enroll"])
def test_a_seat_is_taken_and_given_back(edx: FakeOpenEdx, api: str) -> None:
    partner = connect(edx, enroll_with=api)
    edx.users["ann"] = ANN.email
    assert partner.find_enrollment("ann", COURSE) is None
    seat = enroll(partner)
    assert edx.enrollments["ann", COURSE]["is_active"]
    assert enroll(partner) == Seat(seat.id, adopted=True)
    partner.unenroll(seat.id)
    partner.unenroll(seat.id)
    assert not edx.enrollments["ann", COURSE]["is_active"]
    assert partner.find_enrollment("ann", COURSE) is None
    assert enroll(partner) == seat
    assert any("bulk_enroll" in path for path in paths(edx)) is (api == "bulk_enroll")


def test_a_seat_that_never_was_is_not_made_by_giving_it_back(
    edx: FakeOpenEdx, partner: OpenEdxPartner
) -> None:
    partner.unenroll(f"nobody,{COURSE}")
    assert edx.enrollments == {}
    assert "POST" not in [call.method for call in edx.calls if call.path != TOKEN_PATH]


def test_a_seat_has_the_mode_that_is_wanted_and_is_closed_whatever_it_has(edx: FakeOpenEdx) -> None:
    partner = connect(edx, mode="verified")
    edx.users["ann"] = ANN.email
    seat = enroll(partner)
    assert edx.enrollments["ann", COURSE]["mode"] == "verified"
    edx.enrollments["ann", COURSE]["mode"] = "honor"
    partner.unenroll(seat.id)
    assert not edx.enrollments["ann", COURSE]["is_active"]


def test_a_closed_course_is_refused_by_one_api_and_opened_by_the_other(edx: FakeOpenEdx) -> None:
    edx.users["ann"] = ANN.email
    edx.closed.add(COURSE)
    with pytest.raises(Refused):
        enroll(connect(edx))
    assert enroll(connect(edx, enroll_with="bulk_enroll")) == Seat(f"ann,{COURSE}")


def test_results_of_bulk_enroll_are_looked_at(edx: FakeOpenEdx) -> None:
    partner = connect(edx, enroll_with="bulk_enroll")
    with pytest.raises(NotFound, match="no such account"):
        enroll(partner, "nobody")
    edx.users["ann"] = ANN.email
    edx.broken.add(COURSE)
    with pytest.raises(Refused, match="could not do it"):
        enroll(partner)
    assert edx.enrollments == {}


@pytest.mark.parametrize("result", [[], [{"identifier": "bob", "after": {"enrollment": True}}], [{}], None])
def test_a_bulk_result_without_our_learner_is_unknown(edx: FakeOpenEdx, result: object) -> None:
    edx.users["ann"] = ANN.email
    body = {"action": "enroll", "courses": {COURSE: {"results": result}}}
    edx.fault("garbage", on="write", body=json.dumps(body).encode())
    with pytest.raises(OutcomeUnknown):
        enroll(connect(edx, enroll_with="bulk_enroll"))


def test_a_learner_who_stays_unenrolled_is_refused(edx: FakeOpenEdx) -> None:
    edx.users["ann"] = ANN.email
    item = {"identifier": "ann", "after": {"enrollment": False, "allowed": True}}
    body = {"courses": {COURSE: {"results": [item]}}}
    edx.fault("garbage", on="write", body=json.dumps(body).encode())
    with pytest.raises(Refused, match="not opened"):
        enroll(connect(edx, enroll_with="bulk_enroll"))


def test_an_answer_without_a_body_is_no_success(edx: FakeOpenEdx, partner: OpenEdxPartner) -> None:
    edx.users["ann"] = ANN.email
    edx.fault("garbage", on="write", body=b"")
    with pytest.raises(OutcomeUnknown):
        enroll(partner)


def test_a_seat_of_somebody_else_is_not_taken_for_ours(edx: FakeOpenEdx, partner: OpenEdxPartner) -> None:
    body = {"user": "bob", "is_active": True, "course_details": {"course_id": COURSE}}
    edx.fault("garbage", body=json.dumps(body).encode())
    with pytest.raises(RetryLater):
        partner.find_enrollment("ann", COURSE)


def test_who_or_what_is_not_there_is_refused(edx: FakeOpenEdx, partner: OpenEdxPartner) -> None:
    with pytest.raises(Refused, match="406"):
        enroll(partner, "nobody")
    edx.users["ann"] = ANN.email
    with pytest.raises(Refused, match="No course"):
        enroll(partner, course="course-v1:Usher+Nope+2026")
    for seat in ("ann", ",", "ann,", f",{COURSE}"):
        with pytest.raises(NotFound):
            partner.get_progress(seat)


# Progress, certificates, launches


@pytest.mark.parametrize(
    ("percent", "passed", "told"), [(0.19, False, "19.00"), (0.83, True, "100"), (1.2, False, "100")]
)
def test_a_grade_becomes_progress(
    edx: FakeOpenEdx, partner: OpenEdxPartner, percent: float, passed: bool, told: str
) -> None:
    edx.users["ann"] = ANN.email
    seat = enroll(partner)
    edx.grades["ann", COURSE] = (percent, passed)
    progress = partner.get_progress(seat.id)
    assert (progress.percentage, progress.completed) == (Decimal(told), passed)


def test_a_certificate_counts_once_it_can_be_downloaded(edx: FakeOpenEdx, partner: OpenEdxPartner) -> None:
    seat = f"ann,{COURSE}"
    assert partner.get_certificate(seat) is None
    for status in ("generating", "notpassing", "unavailable"):
        edx.certify("ann", COURSE, status)
        assert partner.get_certificate(seat) is None
    edx.certify("ann", COURSE)
    found = partner.get_certificate(seat)
    assert found is not None
    assert found.url == found.verification_url == f"{edx.url}/certificates/{found.number}"
    assert found.issued_at == datetime(2026, 11, 20, 12, tzinfo=UTC)
    edx.certificates["ann", COURSE]["download_url"] = "https://files.example/cert.pdf"
    as_file = partner.get_certificate(seat)
    assert as_file is not None
    assert (as_file.number, as_file.url) == (seat, "https://files.example/cert.pdf")


def test_a_launch_leads_to_the_course(edx: FakeOpenEdx, partner: OpenEdxPartner) -> None:
    course = "course-v1:Usher%2BS101%2B2026"
    launch = partner.launch(f"ann,{COURSE}", click())
    assert launch == Redirect(f"{edx.url}/courses/{course}/course/", None)
    path = "/auth/login/tpa-saml/?auth_entry=login&idp=school&next=/courses/{course}/course/"
    launch = connect(edx, launch_path=path).launch(f"ann,{COURSE}", click())
    assert isinstance(launch, Redirect)
    assert parse_qs(urlsplit(launch.url).query)["next"] == [f"/courses/{COURSE}/course/"]
    assert paths(edx) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"account": "register"}, "account: is not known here; known are accounts"),
        ({"accounts": "create"}, "accounts"),
        ({"adopt_by_email": False}, "accounts: register"),
        ({"launch_path": "https://elsewhere.example/"}, "launch_path"),
        ({"registration_fields": {"country": 1}}, "registration_fields.country"),
    ],
)
def test_options_that_are_wrong_are_told(edx: FakeOpenEdx, options: dict[str, object], words: str) -> None:
    with pytest.raises(CredentialsWrong, match=words):
        connect(edx, **options)


def test_the_shipped_configuration_makes_an_adapter_that_works(edx: FakeOpenEdx) -> None:
    found = configuration.read(configuration.SHIPPED / "open_edx.yaml")
    given = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    assert found.secrets.keys() == given.keys()
    registry.build(
        Connection("open_edx", found.adapter, found.verified, edx.url, given, found.options)
    ).check()


def test_wrong_client_credentials_are_told(edx: FakeOpenEdx) -> None:
    with pytest.raises(CredentialsWrong):
        connect(edx, "another-secret-0123456789").check()
    assert paths(edx) == [TOKEN_PATH]
