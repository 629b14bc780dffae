"""The adapter of Canvas against the fake that canvasapi drives as well."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from werkzeug.wrappers import Request, Response

from partners import configuration
from partners.base import Account, Click, Progress, ProgressPage, Seat, Student, iter_progress
from partners.canvas import api, pages
from partners.canvas.adapter import CanvasPartner
from partners.canvas.answers import NO_PROGRESS, read_progress
from partners.errors import (
    Ambiguous,
    CredentialsWrong,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RetryLater,
    Throttled,
)
from tests.conformance.canvas import connect
from tests.fakes.canvas import TOKEN, Course, Enrollment, FakeCanvas, User

ANN = Student("usher-ann", "ann@school.test", "Ann Lee")


@pytest.fixture
def canvas() -> Iterator[FakeCanvas]:
    with FakeCanvas() as fake:
        yield fake


@pytest.fixture
def partner(canvas: FakeCanvas) -> CanvasPartner:
    return connect(canvas)


def click(course: str = "101") -> Click:
    return Click("e", ANN, course, "https://school.test/back", "k")


def take(partner: CanvasPartner, student: Student = ANN, course: str = "101") -> Seat:
    account = partner.find_account(student) or partner.create_account(student, key="k")
    return partner.enroll_in_course(account.id, course, student=student, reference="e", key="k")


def only(canvas: FakeCanvas) -> Enrollment:
    (found,) = canvas.enrollments.values()
    return found


def read_all(
    partner: CanvasPartner, cursor: str | None = None, limit: int = 100
) -> tuple[list[Progress], list[tuple[str, str]], str]:
    """Return what a sync is told, what it could not read, and the cursor that it keeps: the last it asked with."""
    pages: list[tuple[str | None, ProgressPage]] = list(iter_progress(partner, cursor, limit))
    kept = [asked for asked, _ in pages if asked is not None]
    items = [item for _, page in pages for item in page.items]
    return items, [wrong for _, page in pages for wrong in page.rejected], kept[-1]


def test_a_user_is_made_without_a_mail(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    account = partner.create_account(ANN, key="k")
    user = canvas.users[int(account.id)]
    assert (user.unique_id, user.sis_user_id, user.email, user.name) == (
        "usher-ann",
        "usher-ann",
        "ann@school.test",
        "Ann Lee",
    )
    assert canvas.mailed == []


def test_users_of_another_service_sign_in_as_it_calls_them(canvas: FakeCanvas) -> None:
    partner = connect(canvas, login="email", login_provider=7)
    user = canvas.users[int(partner.create_account(ANN, key="k").id)]
    assert (user.unique_id, user.provider, user.sis_user_id) == ("ann@school.test", "7", "usher-ann")
    seat = take(partner)
    assert partner.launch(seat.id, click()).url == f"{canvas.url}/courses/101?authentication_provider=7"


def test_a_deleted_user_comes_back(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    account = partner.create_account(ANN, key="k")
    canvas.users[int(account.id)].deleted = True
    assert partner.find_account(ANN) is None
    assert partner.create_account(ANN, key="k2") == account
    assert len(canvas.users) == 1


def test_a_login_that_is_somebody_elses_is_a_persons_business(
    canvas: FakeCanvas, partner: CanvasPartner
) -> None:
    canvas.users[1] = User(1, "Other", ANN.reference, None, "other@school.test")
    with pytest.raises(Refused, match="400"):
        partner.create_account(ANN, key="k")
    assert list(canvas.users) == [1]


def test_a_user_who_goes_by_another_sis_id_is_never_adopted(
    canvas: FakeCanvas, partner: CanvasPartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner.create_account(ANN, key="k")
    told = canvas._user_json
    monkeypatch.setattr(canvas, "_user_json", lambda user: told(user) | {"sis_user_id": "merged"})
    with pytest.raises(Ambiguous, match="merged"):
        partner.find_account(ANN)
    monkeypatch.setattr(canvas, "_user_json", lambda user: {"id": user.id})
    with pytest.raises(CredentialsWrong, match="may not read SIS ids"):
        partner.find_account(ANN)


def test_a_seat_is_active_at_once_and_nobody_is_mailed(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    seat = take(partner, course="sis_course_id:course-1")
    assert (only(canvas).state, canvas.mailed) == ("active", [])
    assert seat.id == f"101:{only(canvas).user_id}"
    assert take(partner, course="101") == Seat(seat.id, adopted=True)
    assert partner.launch(seat.id, click()).url == f"{canvas.url}/courses/101"


def test_a_locked_seat_is_found_but_leads_nowhere(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    seat = take(partner)
    partner.suspend(seat.id, suspended=True)
    assert only(canvas).state == "inactive"
    assert partner.find_enrollment(str(only(canvas).user_id), "101") == Seat(seat.id)
    with pytest.raises(Refused, match="not open"):
        partner.launch(seat.id, click())
    partner.suspend(seat.id, suspended=False)
    assert only(canvas).state == "active"
    partner.launch(seat.id, click())


def test_a_concluded_seat_is_opened_again_by_enrolling(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    seat = take(partner)
    only(canvas).state = "completed"
    assert partner.find_enrollment(str(only(canvas).user_id), "101") is None
    assert take(partner) == seat
    assert only(canvas).state == "active"


def test_all_sections_are_given_back_and_nothing_else(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    seat = take(partner)
    user = only(canvas).user_id
    canvas.enrollments[1] = Enrollment(1, 101, user, "StudentEnrollment", "completed")
    canvas.enrollments[2] = Enrollment(2, 101, user, "TeacherEnrollment", "active")
    canvas.enrollments[3] = Enrollment(3, 102, user, "StudentEnrollment", "active")
    partner.unenroll(seat.id)
    states = [(item.id, item.state) for item in canvas.enrollments.values()]
    assert states == [(5001, "deleted"), (1, "deleted"), (2, "active"), (3, "active")]
    del canvas.courses[101]
    partner.unenroll(seat.id)
    with pytest.raises(NotFound):
        partner.suspend(seat.id, suspended=True)


@pytest.mark.parametrize("id", ["", "7", "101:", ":7", "101:7:1", "101:../7", "١:٧"])
def test_an_id_of_somebody_elses_seats_is_not_called_with(
    canvas: FakeCanvas, partner: CanvasPartner, id: str
) -> None:
    for call in (partner.unenroll, partner.get_progress, lambda id: partner.launch(id, click())):
        with pytest.raises(NotFound):
            call(id)
    assert canvas.calls == []


def test_a_canvas_that_ignores_the_filter_gives_no_strangers_seat(
    canvas: FakeCanvas, partner: CanvasPartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(partner, Student("usher-ben", "ben@school.test", "Ben"))
    account = partner.create_account(ANN, key="k")
    told = canvas._enrollment_json
    monkeypatch.setattr(
        canvas, "_listed", lambda request, course: [told(item) for item in canvas.enrollments.values()]
    )
    assert partner.find_enrollment(account.id, "101") is None


def test_an_answer_about_another_user_is_no_seat(
    canvas: FakeCanvas, partner: CanvasPartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = partner.create_account(ANN, key="k")
    monkeypatch.setattr(canvas, "_enroll", lambda request, course: {"id": 1, "course_id": 101, "user_id": 99})
    with pytest.raises(OutcomeUnknown, match="another user"):
        partner.enroll_in_course(account.id, "101", student=ANN, reference="e", key="k")


def test_progress_counts_requirements(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    seat = take(partner)
    canvas.courses[101].requirements = 3
    for done, percentage in ((0, "0"), (1, "33.33"), (2, "66.67"), (3, "100")):
        canvas.learn(101, only(canvas).user_id, done)
        told = partner.get_progress(seat.id)
        assert (told.percentage, told.completed) == (Decimal(percentage), done == 3)
        assert (told.completed_at is not None) == (done == 3)


def test_a_course_without_modules_has_no_progress_to_tell(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    seat = take(partner)
    canvas.courses[101].requirements = None
    with pytest.raises(Refused, match="no modules with requirements"):
        partner.get_progress(seat.id)
    partner.unenroll(seat.id)
    with pytest.raises(NotFound, match="not enrolled"):
        partner.get_progress(seat.id)


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        {},
        {"error": {"message": "no"}},
        {"requirement_count": 0, "requirement_completed_count": 0},
        {"requirement_count": "3", "requirement_completed_count": 1},
        {"requirement_count": 3, "requirement_completed_count": -1},
        {"requirement_count": True, "requirement_completed_count": True},
        {"requirement_count": 1, "requirement_completed_count": 1, "completed_at": "soon"},
        {"requirement_count": 1, "requirement_completed_count": 1, "completed_at": "2026-11-20T10:00:00"},
    ],
)
def test_progress_that_makes_no_sense_is_not_believed(item: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_progress(item, "101:7")


def test_all_courses_are_read_page_by_page(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    canvas.courses[103] = Course(103, "course-3", None)
    canvas.courses[104] = Course(104, "course-4")
    students = [Student(f"usher-{name}", f"{name}@school.test", name) for name in "abc"]
    seats = {course: [take(partner, student, course).id for student in students] for course in ("101", "102")}
    plain = [take(partner, student, "103").id for student in students]
    canvas.learn(102, int(seats["102"][1].partition(":")[2]), 100)

    items, rejected, _ = read_all(partner, limit=2)
    assert [item.external_enrollment_id for item in items] == [*seats["101"], *seats["102"]]
    assert [item.external_enrollment_id for item in items if item.completed] == [seats["102"][1]]
    # A course without modules: its seats are there, and nothing is known of them.
    assert rejected == [(seat, NO_PROGRESS) for seat in plain]


def test_a_sync_reads_all_courses_again_an_hour_later(
    canvas: FakeCanvas, partner: CanvasPartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "REST", 1800.0)
    seat = take(partner)
    take(partner, course="102")
    items, _, cursor = read_all(partner)
    assert len(items) == 2
    before = len(canvas.calls)
    assert read_all(partner, cursor) == ([], [], cursor)
    assert len(canvas.calls) == before

    canvas.learn(101, only_user(seat), 50)
    hour_old = json.dumps({"done": time.time() - 3600})
    items, _, _ = read_all(partner, hour_old)
    assert {item.external_enrollment_id: item.percentage for item in items}[seat.id] == 50
    assert len(items) == 2


def only_user(seat: Seat) -> int:
    return int(seat.id.partition(":")[2])


def test_a_killed_sync_goes_on_in_the_middle(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    for course in ("101", "102"):
        take(partner, course=course)
    first = partner.progress_page(None, 100)
    assert [item.external_enrollment_id[:3] for item in first.items] == ["101"]
    items, _, _ = read_all(partner, first.next_cursor)
    assert [item.external_enrollment_id[:3] for item in items] == ["102"]


def test_a_course_that_was_deleted_meanwhile_is_passed_by(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    for course in ("101", "102"):
        take(partner, course=course)
    cursor = json.dumps({"courses": ["999", "102"]})
    items, rejected, _ = read_all(partner, cursor)
    assert [item.external_enrollment_id[:3] for item in items] == ["102"]
    assert rejected == []


def test_an_empty_canvas_is_read_through(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    canvas.courses.clear()
    assert read_all(partner)[:2] == ([], [])


@pytest.mark.parametrize("cursor", ["nonsense", "[]", '{"courses": 7}', '{"else": 1}', "null"])
def test_a_cursor_of_somebody_else_begins_anew(
    canvas: FakeCanvas, partner: CanvasPartner, cursor: str
) -> None:
    seat = take(partner)
    assert [item.external_enrollment_id for item in partner.progress_page(cursor, 100).items] == [seat.id]


def test_a_link_to_elsewhere_is_not_followed(
    canvas: FakeCanvas, partner: CanvasPartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the next page's address only the query is used: our token goes nowhere else."""
    for name in "abc":
        take(partner, Student(f"usher-{name}", f"{name}@school.test", name))
    with FakeCanvas() as elsewhere:
        handle = canvas.handle

        def point_elsewhere(request: Request) -> Response:
            response = handle(request)
            if "Link" in response.headers:
                response.headers["Link"] = response.headers["Link"].replace(canvas.url, elsewhere.url)
            return response

        monkeypatch.setattr(canvas, "handle", point_elsewhere)
        assert len(read_all(partner, limit=1)[0]) == 3
        assert elsewhere.calls == []


@pytest.mark.parametrize(("status", "after"), [(403, 10.0), (429, None)])
def test_both_ways_to_throttle_are_heeded(
    canvas: FakeCanvas, partner: CanvasPartner, status: int, after: float | None
) -> None:
    canvas.throttle_status = status
    canvas.fault("throttle")
    with pytest.raises(RateLimited) as caught:
        partner.check()
    assert (caught.value.status, caught.value.after) == (status, after)
    assert not isinstance(caught.value, Throttled)


def test_progress_waits_while_the_budget_is_low_and_purchases_do_not(
    canvas: FakeCanvas, partner: CanvasPartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = take(partner)
    monkeypatch.setattr(api, "REFILL", 0.01)  # A pause that no slow machine outlasts.
    canvas.remaining = 40.0
    partner.check()
    before = len(canvas.calls)
    for call in (lambda: partner.get_progress(seat.id), lambda: partner.progress_page(None, 10)):
        with pytest.raises(Throttled) as caught:
            call()
        assert caught.value.after is not None
        assert 5000 < caught.value.after <= 6000
    assert len(canvas.calls) == before
    assert partner.find_account(ANN) == Account(str(only(canvas).user_id))
    assert take(partner, course="102").id
    partner.launch(seat.id, click())


def test_a_refusal_in_one_course_does_not_pause_the_partner(
    canvas: FakeCanvas, partner: CanvasPartner
) -> None:
    account = partner.create_account(ANN, key="k")
    canvas.closed.add(101)
    with pytest.raises(Refused, match="401, the token may not do this in this course"):
        partner.find_enrollment(account.id, "101")
    assert partner.find_enrollment(account.id, "102") is None
    wrong = connect(canvas, "another")
    for call in (
        wrong.check,
        lambda: wrong.find_enrollment(account.id, "102"),
        lambda: wrong.find_account(ANN),
    ):
        with pytest.raises(CredentialsWrong):
            call()
    with pytest.raises(CredentialsWrong, match="no such account"):
        connect(canvas, account=99).check()


@pytest.mark.parametrize("body", [b"Forbidden", b'{"status": "unauthorized"}', b""])
def test_a_403_that_is_no_throttle_concerns_the_credentials(
    canvas: FakeCanvas, partner: CanvasPartner, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    seat = take(partner)
    monkeypatch.setattr(canvas, "handle", lambda request: Response(body, 403))
    with pytest.raises(CredentialsWrong):
        partner.check()
    with pytest.raises(Refused):
        partner.launch(seat.id, click())


@pytest.mark.parametrize("told", ["", "lots", "-5", "nan"])
def test_a_budget_that_cannot_be_read_stops_nothing_for_good(
    canvas: FakeCanvas, partner: CanvasPartner, told: str
) -> None:
    canvas.remaining = told  # type: ignore[assignment]
    partner.check()
    assert partner.find_account(ANN) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"account": "root"}, "options.account"),
        ({"account": 0}, "options.account"),
        ({"login": "name"}, "options.login: 'name' is not one of"),
        ({"login_provider": "a b"}, "options.login_provider"),
        ({"acount": 1}, "options.acount: is not known here; known are account, login, login_provider"),
    ],
)
def test_wrong_options_are_named(canvas: FakeCanvas, options: dict[str, Any], said: str) -> None:
    with pytest.raises(CredentialsWrong, match=said):
        connect(canvas, **options)


def test_no_message_tells_the_token_or_an_address(canvas: FakeCanvas, partner: CanvasPartner) -> None:
    said = json.dumps({"errors": [{"message": f"no: {TOKEN} {ANN.email}"}]}).encode()
    canvas.fault("error", times=5, body=said)
    calls = (partner.check, lambda: partner.find_account(ANN), lambda: partner.create_account(ANN, key="k"))
    for call in calls:
        with pytest.raises((RetryLater, OutcomeUnknown), match="500") as caught:
            call()
        assert not any(word in str(caught.value) for word in (TOKEN, ANN.email))


def test_the_shipped_configuration_can_be_read() -> None:
    found = configuration.read(configuration.SHIPPED / "canvas.yaml")
    assert (found.adapter, found.verified.level) == ("canvas", "vendor-sdk")
    assert found.environment_names() == ["CANVAS_URL", "CANVAS_TOKEN"]
