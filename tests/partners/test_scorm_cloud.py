"""The adapter of SCORM Cloud against the fake that the vendor's SDK drives as well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests

from partners import configuration
from partners.base import Capability, Click, ProgressPage, Seat, Student, iter_progress
from partners.errors import CredentialsWrong, NotFound, OutcomeUnknown, Refused
from partners.scorm_cloud import registrations
from partners.scorm_cloud.adapter import ScormCloudPartner
from partners.scorm_cloud.registrations import read_registration, registration_id
from tests.conformance.scorm_cloud import connect
from tests.fakes.scorm_cloud import SECRET_KEY, FakeScormCloud

ANN = Student("usher-ann", "ann@school.test", "Ann Lee")
POSTBACKS = {"postback_user": "usher", "postback_password": "postback-password-0123"}
POSTBACK_URL = "https://school.test/api/partners/3fa85f64/webhook"


@pytest.fixture
def cloud() -> Iterator[FakeScormCloud]:
    with FakeScormCloud() as fake:
        yield fake


@pytest.fixture
def partner(cloud: FakeScormCloud) -> ScormCloudPartner:
    return connect(cloud)


def enroll(partner: ScormCloudPartner, course: str = "course-1", student: Student = ANN) -> Seat:
    return partner.enroll_in_course(student.reference, course, student=student, reference="e", key="k")


def methods(cloud: FakeScormCloud) -> list[str]:
    return [call.method for call in cloud.calls]


def read_all(partner: ScormCloudPartner, cursor: str | None) -> tuple[list[str], str]:
    """Return the ids that a sync is told, and the cursor that it keeps: the last one that it asked with."""
    pages: list[tuple[str | None, ProgressPage]] = list(iter_progress(partner, cursor, 100))
    kept = [asked for asked, _ in pages if asked is not None]
    return [item.external_enrollment_id for _, page in pages for item in page.items], kept[-1]


def an_hour_on(cursor: str) -> str:
    """Return a cursor as if it had been given out an hour earlier, by our clock."""
    found = json.loads(cursor)
    return json.dumps(found | {"at": found["at"] - 3600})


def test_nothing_is_posted_that_was_not_looked_for(cloud: FakeScormCloud, partner: ScormCloudPartner) -> None:
    assert not enroll(partner).adopted
    assert methods(cloud) == ["HEAD", "POST"]
    assert enroll(partner).adopted
    assert methods(cloud) == ["HEAD", "POST", "HEAD"]


def test_four_at_once_are_one_registration_and_one_post(
    cloud: FakeScormCloud, partner: ScormCloudPartner
) -> None:
    with ThreadPoolExecutor(4) as pool:
        seats = list(pool.map(lambda _: enroll(partner), range(4)))
    assert len({seat.id for seat in seats}) == 1
    assert sorted(seat.adopted for seat in seats) == [False, True, True, True]
    assert methods(cloud).count("POST") == 1
    assert cloud.billed == [seats[0].id]


def test_a_lost_answer_is_looked_up_and_not_billed_twice(
    cloud: FakeScormCloud, partner: ScormCloudPartner
) -> None:
    cloud.fault("lose", on="write")
    with pytest.raises(OutcomeUnknown):
        enroll(partner)
    assert enroll(partner).adopted
    assert len(cloud.billed) == 1


def test_a_course_that_is_not_there_needs_a_person(cloud: FakeScormCloud, partner: ScormCloudPartner) -> None:
    with pytest.raises(NotFound, match="Could not find course"):
        enroll(partner, "no-such-course")
    assert cloud.registrations == {}


def test_ids_are_made_of_student_and_course() -> None:
    long = registration_id("usher-3fa85f64-5717-4562-b3fc-2c963f66afa6", "ä/ ?#" * 100)
    assert len(long) <= 255
    assert long.replace("-", "").isalnum()
    ids = {registration_id(who, what) for who in ("usher-a", "usher-b") for what in ("c", "C", "c/1")}
    assert len(ids) == 6
    assert registration_id("usher-a", "c") == registration_id("usher-a", "c")
    with pytest.raises(Refused):
        registration_id("", "course-1")


def test_a_launch_link_lives_as_long_as_it_says(cloud: FakeScormCloud) -> None:
    partner = connect(cloud, launch_seconds=60)
    seat = enroll(partner)
    before = datetime.now(UTC)
    launch = partner.launch(seat.id, Click("e", ANN, "course-1", "https://school.test/back", "k"))
    assert launch.expires_at is not None
    assert launch.expires_at >= before + timedelta(seconds=60)
    assert requests.get(launch.url, timeout=5).text == f"playing {seat.id}, then https://school.test/back"
    with pytest.raises(NotFound):
        partner.launch("usher-nobody", Click("e", ANN, "course-1", "https://school.test/back", "k"))


@pytest.mark.parametrize(
    ("completion", "success", "amount", "percentage", "completed"),
    [
        ("UNKNOWN", "UNKNOWN", None, "0", False),
        ("INCOMPLETE", "UNKNOWN", 0.333333, "33.33", False),
        ("INCOMPLETE", "UNKNOWN", 1, "100", False),
        ("COMPLETED", "UNKNOWN", 0.5, "100", True),
        ("COMPLETED", "PASSED", 1.0, "100", True),
        ("COMPLETED", "FAILED", 0.9, "90", False),
    ],
)
def test_progress_is_read(
    completion: str, success: str, amount: float | None, percentage: str, completed: bool
) -> None:
    item = {
        "id": "r1",
        "registrationCompletion": completion,
        "registrationSuccess": success,
        "registrationCompletionAmount": amount,
        "updated": "2026-11-20T10:00:00.000Z",
        "completedDate": "2026-11-20T09:00:00",
    }
    told = read_registration(item)
    assert (told.percentage, told.completed) == (Decimal(percentage), completed)
    assert told.updated_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert told.completed_at == (datetime(2026, 11, 20, 9, tzinfo=UTC) if completed else None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"registrationCompletion": "DONE"},
        {"registrationSuccess": "MAYBE"},
        {"registrationCompletionAmount": 40},
        {"registrationCompletionAmount": "0.4"},
        {"registrationCompletionAmount": True},
        {"updated": "yesterday"},
        {"id": None},
    ],
)
def test_progress_that_makes_no_sense_is_not_believed(wrong: dict[str, Any]) -> None:
    item = {"id": "r1", "registrationCompletion": "INCOMPLETE", "registrationCompletionAmount": 0.4}
    assert read_registration(item).percentage == 40
    with pytest.raises(ValueError, match=r"."):
        read_registration(item | wrong)


def test_a_sync_goes_on_where_the_last_one_stopped(cloud: FakeScormCloud, partner: ScormCloudPartner) -> None:
    cloud.page_size, cloud.skew = 2, timedelta(hours=-1)
    seats = [
        enroll(partner, course, student=Student(f"usher-{name}", "", name)).id
        for name in ("a", "b", "c")
        for course in ("course-1", "course-2")
    ]
    cloud.skew = timedelta(0)
    ids, cursor = read_all(partner, None)
    assert sorted(ids) == sorted(seats)
    # What is kept is a time and no token, so it is still good in an hour.
    assert "more" not in cursor

    cloud.skew = timedelta(minutes=10)
    for id in seats[:3]:
        cloud.learn(id, 0.5)
    cloud.skew = timedelta(minutes=12)
    ids, later = read_all(partner, an_hour_on(cursor))
    assert set(ids) == set(seats[:3])
    assert "more" not in later

    cloud.skew = timedelta(minutes=20)
    assert read_all(partner, an_hour_on(later))[0] == []


def test_a_list_that_was_just_read_is_not_asked_for_again(
    cloud: FakeScormCloud, partner: ScormCloudPartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrations, "REST", 1800.0)
    cloud.page_size = 1
    enroll(partner)
    enroll(partner, "course-2")
    _, cursor = read_all(partner, None)
    before = len(cloud.calls)
    assert read_all(partner, cursor) == ([], cursor)
    assert len(cloud.calls) == before


def test_a_token_that_outlived_its_list_begins_the_list_anew(
    cloud: FakeScormCloud, partner: ScormCloudPartner
) -> None:
    cloud.page_size = 1
    seats = {enroll(partner, course).id for course in ("course-1", "course-2")}
    cursor = partner.progress_page(None, 100).next_cursor
    assert cursor is not None
    assert "more" in cursor
    cloud.forgets = True
    cloud.page_size = 10
    page = partner.progress_page(cursor, 100)
    assert {item.external_enrollment_id for item in page.items} == seats


@pytest.mark.parametrize("cursor", ["nonsense", "[]", '{"since": 7}', '{"since": "yesterday"}', "null"])
def test_a_cursor_of_somebody_else_begins_anew(
    cloud: FakeScormCloud, partner: ScormCloudPartner, cursor: str
) -> None:
    seat = enroll(partner)
    assert [item.external_enrollment_id for item in partner.progress_page(cursor, 100).items] == [seat.id]


def test_one_unreadable_registration_does_not_stop_the_others(
    cloud: FakeScormCloud, partner: ScormCloudPartner
) -> None:
    good, odd = enroll(partner), enroll(partner, "course-2")
    cloud.registrations[odd.id].completion = "HALFWAY"
    page = partner.progress_page(None, 100)
    assert [item.external_enrollment_id for item in page.items] == [good.id]
    assert [id for id, _ in page.rejected] == [odd.id]


def test_the_learners_address_is_not_sent(cloud: FakeScormCloud, partner: ScormCloudPartner) -> None:
    enroll(partner)
    enroll(partner, student=Student("usher-cher", "cher@school.test", "Cher"))
    learners = [item.learner for item in cloud.registrations.values()]
    assert learners == [
        {"id": "usher-ann", "firstName": "Ann", "lastName": "Lee"},
        {"id": "usher-cher", "firstName": "Cher", "lastName": ""},
    ]


def test_registrations_report_to_us_where_that_is_configured(cloud: FakeScormCloud) -> None:
    partner = connect(cloud, **POSTBACKS, postback_url=POSTBACK_URL)
    told = cloud.registrations[enroll(partner).id].post_back
    assert told is not None
    assert (told["url"], told["authType"]) == (POSTBACK_URL, "HTTPBASIC")
    assert (told["userName"], told["password"]) == tuple(POSTBACKS.values())


@pytest.mark.parametrize("form", [False, True])
def test_a_postback_names_the_registration_to_read_again(cloud: FakeScormCloud, form: bool) -> None:
    partner = connect(cloud, **POSTBACKS)
    assert Capability.WEBHOOK_IN in partner.capabilities
    seat = enroll(partner)
    user, password = POSTBACKS.values()
    headers, body = cloud.postback(seat.id, form=form, user=user, password=password)
    before = len(cloud.calls)
    assert partner.parse_webhook(headers, body) == [seat.id]
    assert partner.parse_webhook({name.lower(): value for name, value in headers.items()}, body) == [seat.id]
    for wrong in ({"user": "other", "password": password}, {"user": user, "password": "x"}, {}):
        with pytest.raises(Refused, match="user or password is wrong") as caught:
            partner.parse_webhook(*cloud.postback(seat.id, form=form, **wrong))
        assert password not in str(caught.value)
    assert len(cloud.calls) == before


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'{"id": null}', b'{"id": ""}', b"\xff", b"x" * 99]
)
def test_a_postback_that_names_none_is_refused(cloud: FakeScormCloud, body: bytes) -> None:
    partner = connect(cloud, **POSTBACKS)
    enroll(partner)
    id = next(iter(cloud.registrations))
    user, password = POSTBACKS.values()
    headers, _ = cloud.postback(id, user=user, password=password)
    with pytest.raises(Refused):
        partner.parse_webhook(headers, body)
    for broken in (
        {},
        {"Authorization": "Basic"},
        {"Authorization": "Basic ?"},
        {"Authorization": "Basic w6Q="},
    ):
        with pytest.raises(Refused):
            partner.parse_webhook(broken, body)


def test_without_credentials_no_postback_is_taken(cloud: FakeScormCloud, partner: ScormCloudPartner) -> None:
    assert Capability.WEBHOOK_IN not in partner.capabilities
    headers, body = cloud.postback(enroll(partner).id)
    with pytest.raises(Refused, match="no user and password"):
        partner.parse_webhook(headers, body)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"launch_seconds": 5}, "options.launch_seconds: 5 is less than the minimum of 10"),
        ({"launch_seconds": 301}, "launch_seconds"),
        ({"lauch_seconds": 60}, "lauch_seconds: is not known here; known are launch_seconds, postback_url"),
        ({"postback_url": "school.test"}, "postback_url"),
        ({"postback_url": POSTBACK_URL}, "both postback_user and postback_password"),
        ({"postback_user": "usher"}, "both postback_user and postback_password"),
    ],
)
def test_wrong_options_are_named(cloud: FakeScormCloud, options: dict[str, Any], said: str) -> None:
    with pytest.raises(CredentialsWrong, match=said):
        connect(cloud, **options)


def test_no_message_tells_the_secrets(cloud: FakeScormCloud) -> None:
    partner = connect(cloud, **POSTBACKS)
    password = POSTBACKS["postback_password"]
    said = {"message": f"no: {SECRET_KEY} {password} {ANN.email}"}
    cloud.fault("error", times=5, body=json.dumps(said).encode())
    for call in (partner.check, lambda: enroll(partner), lambda: partner.progress_page(None, 10)):
        with pytest.raises(Exception, match="500") as caught:
            call()
        assert not any(word in str(caught.value) for word in (SECRET_KEY, password, ANN.email))


def test_the_shipped_configuration_can_be_read() -> None:
    found = configuration.read(configuration.SHIPPED / "scorm_cloud.yaml")
    assert (found.adapter, found.verified.level) == ("scorm_cloud", "vendor-sdk")
    assert set(found.secrets) == {"app_id", "secret_key"}
    assert set(found.optional_secrets) == set(POSTBACKS)
