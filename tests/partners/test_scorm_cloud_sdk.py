"""The fake SCORM Cloud, driven by the vendor's own SDK (rustici_software_cloud_v2 5.0.0): that it speaks their protocol."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import rustici_software_cloud_v2 as sdk
from rustici_software_cloud_v2.rest import ApiException

from partners.base import Click, Student
from tests.conformance.scorm_cloud import connect
from tests.fakes.scorm_cloud import APP_ID, BASE, SECRET_KEY, FakeScormCloud

ANN = Student("usher-ann", "ann@school.test", "Ann Mary Lee")


@pytest.fixture
def cloud() -> Iterator[FakeScormCloud]:
    with FakeScormCloud() as fake:
        yield fake


def client(cloud: FakeScormCloud, secret_key: str = SECRET_KEY) -> sdk.ApiClient:
    configuration = sdk.Configuration()
    configuration.host = f"{cloud.url}{BASE}"
    configuration.username, configuration.password = APP_ID, secret_key
    return sdk.ApiClient(configuration)


@pytest.fixture
def registrations(cloud: FakeScormCloud) -> sdk.RegistrationApi:
    return sdk.RegistrationApi(client(cloud))


def create(
    registrations: sdk.RegistrationApi, id: str, course: str = "course-1", learner: str = "l1"
) -> None:
    learned_by = sdk.LearnerSchema(id=learner, first_name="Ann", last_name="Lee")
    registrations.create_registration(
        sdk.CreateRegistrationSchema(course_id=course, learner=learned_by, registration_id=id)
    )


def status_of(call: Any, *args: Any, **kwargs: Any) -> int:
    with pytest.raises(ApiException) as caught:
        call(*args, **kwargs)
    return int(caught.value.status)


def test_the_sdk_takes_a_registration_through_its_life(
    cloud: FakeScormCloud, registrations: sdk.RegistrationApi
) -> None:
    assert status_of(registrations.get_registration, "r1") == 404
    create(registrations, "r1")
    _, status, _ = registrations.get_registration_with_http_info("r1")
    assert status == 200
    assert {call.method for call in cloud.calls} == {"HEAD", "POST"}

    link = registrations.build_registration_launch_link(
        "r1", sdk.LaunchLinkRequestSchema(expiry=60, redirect_on_exit_url="https://school.test/back")
    ).launch_link
    assert requests.get(link, timeout=5).text == "playing r1, then https://school.test/back"

    cloud.learn("r1", 1.0, success="PASSED", score=0.88)
    told = registrations.get_registration_progress("r1")
    assert (told.registration_completion, told.registration_success) == ("COMPLETED", "PASSED")
    assert (told.registration_completion_amount, told.score.scaled) == (1.0, 0.88)
    assert told.completed_date.tzinfo is not None

    registrations.delete_registration("r1")
    assert status_of(registrations.get_registration, "r1") == 404
    assert status_of(registrations.delete_registration, "r1") == 404


def test_the_sdk_lists_page_by_page(cloud: FakeScormCloud, registrations: sdk.RegistrationApi) -> None:
    cloud.page_size = 2
    for number in range(5):
        create(registrations, f"r{number}", f"course-{number % 2 + 1}", f"l{number}")
    found, page = [], registrations.get_registrations()
    found.extend(item.id for item in page.registrations)
    while page.more:
        page = registrations.get_registrations(more=page.more)
        found.extend(item.id for item in page.registrations)
    assert sorted(found) == [f"r{number}" for number in range(5)]
    assert [item.id for item in registrations.get_registrations(learner_id="l3").registrations] == ["r3"]
    assert len(registrations.get_registrations(course_id="course-2").registrations) == 2


def test_the_sdk_lists_by_time(cloud: FakeScormCloud, registrations: sdk.RegistrationApi) -> None:
    now = datetime.now(UTC)
    for id, hours in (("old", -2), ("new", 0)):
        cloud.skew = timedelta(hours=hours)
        create(registrations, id)
    hour_ago = now - timedelta(hours=1)
    assert [item.id for item in registrations.get_registrations(since=hour_ago).registrations] == ["new"]
    assert [item.id for item in registrations.get_registrations(until=hour_ago).registrations] == ["old"]
    cloud.page_size = 1
    token = registrations.get_registrations().more
    assert status_of(registrations.get_registrations, more=token, since=hour_ago) == 400
    assert status_of(registrations.get_registrations, more="nonsense") == 400


def test_the_sdk_sees_what_is_refused(cloud: FakeScormCloud, registrations: sdk.RegistrationApi) -> None:
    assert sdk.PingApi(client(cloud)).ping_app_id().api_message == "API: Up"
    assert status_of(sdk.PingApi(client(cloud, "wrong")).ping_app_id) == 401
    assert status_of(create, registrations, "r1", course="no-such-course") == 404
    assert status_of(create, registrations, "r" * 256) == 400


def test_the_sdk_and_the_adapter_see_the_same(
    cloud: FakeScormCloud, registrations: sdk.RegistrationApi
) -> None:
    partner = connect(cloud)
    seat = partner.enroll_in_course(ANN.reference, "course-1", student=ANN, reference="e", key="k")
    told = registrations.get_registration_progress(seat.id)
    assert (told.id, told.course.id) == (seat.id, "course-1")
    assert (told.learner.id, told.learner.first_name, told.learner.last_name) == (
        ANN.reference,
        "Ann Mary",
        "Lee",
    )
    assert told.learner.email is None
    cloud.learn(seat.id, 0.45)
    assert partner.get_progress(seat.id).percentage == 45
    assert registrations.get_registration_progress(seat.id).registration_completion_amount == 0.45

    launch = partner.launch(seat.id, Click("e", ANN, "course-1", "https://school.test/back", "k"))
    assert seat.id in requests.get(launch.url, timeout=5).text
    registrations.delete_registration(seat.id)
    assert partner.find_enrollment(ANN.reference, "course-1") is None
    create(registrations, seat.id, learner=ANN.reference)
    again = partner.enroll_in_course(ANN.reference, "course-1", student=ANN, reference="e", key="k2")
    assert again.adopted
    assert again.id == seat.id
    assert cloud.billed == [seat.id, seat.id]
