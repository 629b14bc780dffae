"""The fake Canvas, driven by canvasapi 3.6 (a community SDK): that it speaks Canvas's protocol."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from canvasapi import Canvas
from canvasapi import exceptions as errors
from canvasapi.canvas_object import CanvasObject
from canvasapi.paginated_list import PaginatedList
from canvasapi.requester import Requester
from canvasapi.user import User

from partners.base import Account, Student
from tests.conformance.canvas import connect
from tests.fakes.canvas import TOKEN, FakeCanvas

ANN = Student("usher-ann", "ann@school.test", "Ann Lee")


@pytest.fixture
def fake() -> Iterator[FakeCanvas]:
    with FakeCanvas() as running:
        yield running


def sdk_of(fake: FakeCanvas, token: str = TOKEN) -> Canvas:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It would rather have https.
        return Canvas(fake.url, token)


@pytest.fixture
def sdk(fake: FakeCanvas) -> Canvas:
    return sdk_of(fake)


def create(sdk: Canvas, reference: str, **more: Any) -> User:
    login = {"unique_id": reference, "sis_user_id": reference, "send_confirmation": False}
    user = {"name": "Ann Lee", "skip_registration": True}
    return sdk.get_account(1).create_user(login, user=user, **more)


def enroll(sdk: Canvas, user: User, course: int = 101) -> Any:
    wanted = {"type": "StudentEnrollment", "enrollment_state": "active", "notify": False}
    return sdk.get_course(course).enroll_user(user, enrollment=wanted)


def test_the_sdk_makes_users_and_finds_them_by_their_sis_id(fake: FakeCanvas, sdk: Canvas) -> None:
    with pytest.raises(errors.ResourceDoesNotExist):
        sdk.get_user("usher-ann", "sis_user_id")
    user = create(sdk, "usher-ann")
    assert sdk.get_user("usher-ann", "sis_user_id").id == user.id
    assert sdk.get_user("usher-ann", "sis_login_id").id == user.id
    assert (user.sis_user_id, user.login_id) == ("usher-ann", "usher-ann")
    assert fake.mailed == []
    with pytest.raises(errors.BadRequest, match="already in use"):
        create(sdk, "usher-ann")
    sdk.get_account(1).delete_user(user)
    with pytest.raises(errors.ResourceDoesNotExist):
        sdk.get_user("usher-ann", "sis_user_id")
    assert create(sdk, "usher-ann", enable_sis_reactivation=True).id == user.id


def test_the_sdk_enrols_locks_and_gives_back(fake: FakeCanvas, sdk: Canvas) -> None:
    user, course = create(sdk, "usher-ann"), sdk.get_course(101)
    invited = course.enroll_user(user, enrollment={"type": "TaEnrollment", "notify": True})
    assert invited.enrollment_state == "invited"
    assert fake.mailed == [user.id]
    seat = enroll(sdk, user)
    assert (seat.enrollment_state, seat.course_id, seat.user_id) == ("active", 101, user.id)
    assert enroll(sdk, user).id == seat.id
    assert fake.mailed == [user.id]

    def states(**wanted: Any) -> list[str]:
        found = course.get_enrollments(user_id=user.id, type=["StudentEnrollment"], **wanted)
        return [item.enrollment_state for item in found]

    assert states() == ["active"]
    assert seat.deactivate("inactivate").enrollment_state == "inactive"
    assert states() == []
    assert states(state=["active", "inactive", "completed"]) == ["inactive"]
    assert seat.reactivate().enrollment_state == "active"
    with pytest.raises(errors.BadRequest, match="not inactive"):
        seat.reactivate()
    assert seat.deactivate("conclude").enrollment_state == "completed"
    assert seat.deactivate("delete").enrollment_state == "deleted"
    with pytest.raises(errors.ResourceDoesNotExist):
        seat.deactivate("delete")


def test_the_sdk_reads_all_pages(fake: FakeCanvas, sdk: Canvas) -> None:
    users = [create(sdk, f"usher-{number}") for number in range(23)]
    for user in users:
        enroll(sdk, user)
    before = len(fake.calls)
    found = list(sdk.get_course(101).get_enrollments(per_page=10))
    assert [item.user_id for item in found] == [user.id for user in users]
    assert len(fake.calls) - before == 1 + 3
    assert [course.id for course in sdk.get_account(1).get_courses(per_page=1)] == [101, 102]


def test_the_sdk_reads_progress(fake: FakeCanvas, sdk: Canvas) -> None:
    """canvasapi has no methods for it: its requester and its paged list are used by hand."""
    requester = Requester(fake.url, TOKEN)
    users = [create(sdk, f"usher-{number}") for number in range(3)]
    for user in users:
        enroll(sdk, user)
    fake.learn(101, users[0].id, 40)
    fake.learn(101, users[1].id, 100)
    one = requester.request("GET", f"courses/101/users/{users[0].id}/progress").json()
    assert (one["requirement_count"], one["requirement_completed_count"]) == (100, 40)
    assert one["completed_at"] is None
    found = PaginatedList(CanvasObject, requester, "GET", "courses/101/bulk_user_progress", per_page=2)
    told = [item.progress for item in found]
    assert [item["requirement_completed_count"] for item in told] == [40, 100, 0]
    assert [item["completed_at"] is not None for item in told] == [False, True, False]

    fake.courses[101].requirements = None
    assert "error" in requester.request("GET", f"courses/101/users/{users[0].id}/progress").json()
    with pytest.raises(errors.BadRequest, match="not module based"):
        requester.request("GET", "courses/101/bulk_user_progress")


def test_the_sdk_sees_what_is_refused(fake: FakeCanvas, sdk: Canvas) -> None:
    with pytest.raises(errors.InvalidAccessToken):
        sdk_of(fake, "wrong").get_account(1)
    fake.closed.add(101)
    with pytest.raises(errors.Unauthorized):
        sdk.get_course(101)
    fake.fault("throttle")
    with pytest.raises(errors.Forbidden, match="Rate Limit Exceeded"):
        sdk.get_account(1)
    fake.throttle_status = 429
    fake.fault("throttle")
    with pytest.raises(errors.RateLimitExceeded, match=r"X-Rate-Limit-Remaining: 0\.0"):
        sdk.get_account(1)


def test_the_sdk_and_the_adapter_see_the_same(fake: FakeCanvas, sdk: Canvas) -> None:
    partner = connect(fake)
    account = partner.create_account(ANN, key="k")
    user = sdk.get_user(ANN.reference, "sis_user_id")
    assert str(user.id) == account.id
    assert partner.find_enrollment(account.id, "101") is None
    mine = enroll(sdk, user)
    seat = partner.enroll_in_course(account.id, "101", student=ANN, reference="e", key="k")
    assert seat.adopted
    partner.suspend(seat.id, suspended=True)
    course = sdk.get_course(101)
    assert [item.id for item in course.get_enrollments(state=["inactive"])] == [mine.id]
    partner.unenroll(seat.id)
    assert list(course.get_enrollments(state=["active", "invited", "inactive", "completed"])) == []
    made = create(sdk, "usher-ben")
    ben = Student("usher-ben", "ben@school.test", "Ben")
    assert partner.find_account(ben) == Account(str(made.id))
