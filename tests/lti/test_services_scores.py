"""Scores: which of them count, and how they become progress and completion of the enrolment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from pylti1p3.exception import LtiServiceException
from pylti1p3.grade import Grade
from pylti1p3.lineitem import LineItem

from db.session import transaction
from domain import lti, lti_launches
from domain.lti_scores import Mark, threshold, weigh
from partners.lti import vocabulary
from tests.api.conftest import (  # noqa: F401
    OTHER,
    STUDENT,
    app,
    client,
    count,
    make_enrollment,
    restored_logging,
    run,
)
from tests.lti.services import COURSE_ID, ToolSide, register_tool, serving
from tests.lti.test_services import ITEMS, add_item, grant, make_link, score
from tests.stack import rows, scalar

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DONE = {"activityProgress": "Completed", "gradingProgress": "FullyGraded"}


@pytest.fixture
def tool(app: Flask) -> ToolSide:  # noqa: F811
    return register_tool()


@pytest.fixture
def served(app: Flask, tool: ToolSide, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:  # noqa: F811
    with serving(app, monkeypatch) as url:
        yield url


def at(minutes: float) -> str:
    """Return a time that many minutes after noon, as tools write it."""
    return (NOON + timedelta(minutes=minutes)).isoformat(timespec="milliseconds")


def progress() -> tuple[str, float]:
    """Return status and percentage of the one enrolment."""
    [(status, percentage)] = rows("SELECT status, progress_percentage FROM partner_lms_enrollments")
    return status, float(percentage)


def send(client: FlaskClient, headers: dict[str, str], item: str, **changes: Any) -> int:  # noqa: F811
    """Send a score and return the answer's status."""
    return client.post(f"{item}/scores", json=score(**changes), headers=headers).status_code


def make_ours(tool: ToolSide) -> str:
    """Have the line item made that a launch makes; return its id."""
    with transaction() as session:
        registered = lti.find_tool(session, tool.client_id)
        assert registered is not None
        return lti_launches.line_item_for(session, registered, COURSE_ID, "Working Safely", None)


# The rules, alone


def mark(
    given: float | None, maximum: float | None = 100, *, done: bool = False, completion: str | None = None
) -> Mark:
    return Mark(
        None if given is None else Decimal(str(given)),
        None if maximum is None else Decimal(str(maximum)),
        "Completed" if done else "InProgress",
        "FullyGraded" if done else "Pending",
        NOON,
        completion,
    )


NOTHING = Mark(None, None, None, None, None, None)


@pytest.mark.parametrize(
    ("marks", "percentage", "completed"),
    [
        ([mark(40)], "40.00", False),
        ([mark(88, done=True)], "88.00", True),
        ([mark(2, 3)], "66.66", False),  # Never more than there is.
        ([mark(120, 100)], "100.00", False),  # Extra credit; 100 % alone is no completion.
        ([mark(None, None, done=True)], "100.00", True),  # Done, and nothing was scored.
        ([mark(None, None)], "0.00", False),
        ([NOTHING], "0.00", False),
        ([mark(80, done=True), mark(40)], "60.00", False),
        ([mark(80, done=True), NOTHING], "40.00", False),
        ([mark(80, done=True), mark(6, 10, done=True)], "70.00", True),
        ([mark(69, completion="score>=70", done=True)], "69.00", False),
        ([mark(70, completion="score>=70")], "70.00", True),
        ([mark(7, 10, completion=" score >= 70% ")], "70.00", True),
        ([mark(None, None, completion="score>=0", done=True)], "0.00", False),
        ([mark(50, completion="when it pleases", done=True)], "50.00", True),
        ([Mark(Decimal(90), Decimal(100), "Completed", "Failed", NOON, None)], "0.00", False),
        ([Mark(Decimal(90), Decimal(100), "Completed", "PendingManual", NOON, None)], "90.00", False),
        ([Mark(Decimal(90), Decimal(100), "Submitted", "FullyGraded", NOON, None)], "90.00", False),
    ],
)
def test_what_scores_make_of_a_course(marks: list[Mark], percentage: str, completed: bool) -> None:
    assert weigh(marks) == (Decimal(percentage), completed)


def test_a_threshold_is_read_or_it_is_none() -> None:
    assert threshold("score>=70.5") == Decimal("70.5")
    assert threshold("score>=999") == 100
    for other in (None, "", "score>70", "score>=-1", "score>=1e3", 70, "x score>=70"):
        assert threshold(other) is None, other


# From the tool to the enrolment


def test_scores_of_the_real_pylti1p3_become_progress_and_completion(served: str, tool: ToolSide) -> None:
    make_enrollment()
    item = tool.grades().find_or_create_lineitem(
        LineItem().set_label("Final").set_tag("final").set_score_maximum(50)
    )
    grades = tool.grades(item.get_id())
    grade = Grade().set_user_id(f"usher-{STUDENT}").set_score_given(20).set_score_maximum(50)
    grade.set_activity_progress("InProgress").set_grading_progress("Pending").set_timestamp(at(0))
    grades.put_grade(grade)
    assert progress() == ("active", 40)
    assert rows("SELECT kind FROM jobs") == []
    grade.set_score_given(44).set_activity_progress("Completed").set_grading_progress("FullyGraded")
    grade.set_timestamp(at(5)).set_comment("Well done")
    grades.put_grade(grade)
    assert progress() == ("completed", 88)
    assert scalar("SELECT completed_at FROM partner_lms_enrollments") == NOON + timedelta(minutes=5)
    assert rows("SELECT kind, queue FROM jobs ORDER BY kind") == [
        ("progress.certificate", "sync.sandbox"),
        ("xp.award", "xp"),
    ]
    [result] = grades.get_grades()
    assert (result["userId"], result["resultScore"], result["resultMaximum"], result["comment"]) == (
        f"usher-{STUDENT}",
        44,
        50,
        "Well done",
    )
    assert result["scoreOf"] == item.get_id()
    with pytest.raises(LtiServiceException) as caught:
        grades.put_grade(grade.set_timestamp(at(1)))
    assert (caught.value.response.status_code, caught.value.response.json()["code"]) == (
        409,
        "lti_score_stale",
    )


def test_a_score_as_moodle_writes_it_is_read(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    make_enrollment()
    headers = grant(client, tool)
    item = add_item(client, headers)
    body = {
        "timestamp": "2026-11-20T13:00:00+0100",
        "userId": f"usher-{STUDENT}",
        "scoreGiven": "88.00000",
        "scoreMaximum": "100.00000",
        "comment": None,
        "activityProgress": "Completed",
        "gradingProgress": "FullyGraded",
        "https://vendor.test/more": {"nested": [1]},
    }
    answer = client.post(
        f"{item}/scores",
        json=body,
        headers={**headers, "Content-Type": "application/vnd.ims.lis.v1.score+json"},
    )
    assert (answer.status_code, answer.data) == (204, b"")
    assert progress() == ("completed", 88)
    assert scalar("SELECT scored_at FROM lti_scores") == NOON


def test_times_are_read_as_tools_write_them(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    make_enrollment()
    headers = grant(client, tool)
    item = add_item(client, headers)
    for written in (
        "2026-11-20T12:00:00Z",
        "2026-11-20T12:00:00.000Z",
        "2026-11-20T12:00:00.0000000Z",
        "2026-11-20T12:00:00+00:00",
        "2026-11-20T12:00:00+0000",
        "2026-11-20T07:00:00-0500",
        "2026-11-20T17:30:00.000+05:30",
        "20261120T120000Z",
        " 2026-11-20 12:00:00Z ",
    ):
        assert send(client, headers, item, timestamp=written) == 204, written
        assert rows("DELETE FROM lti_scores RETURNING scored_at") == [(NOON,)], written


def test_only_a_later_score_counts(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    make_enrollment()
    headers = grant(client, tool)
    item = add_item(client, headers)
    for given, minutes, status, after in (
        (50, 10, 204, 50),
        (90, 5, 409, 50),  # behind what is stored, though it says more
        (50, 10, 204, 50),  # the same again: an answer was lost
        (60, 10, 409, 50),  # another one of the same moment
        (70, 10.001, 204, 70),
        (65, 20, 204, 65),  # the tool took points back, and says that this is newer
        ("65.000001", 20, 204, 65),  # the same, in as many places as are kept
    ):
        assert send(client, headers, item, scoreGiven=given, timestamp=at(minutes)) == status, (
            given,
            minutes,
        )
        assert progress() == ("active", after)
    assert count("lti_scores") == 1


def test_a_score_that_is_taken_back_leaves_none(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    make_enrollment()
    headers = grant(client, tool)
    item = add_item(client, headers)
    assert send(client, headers, item, scoreGiven=50, timestamp=at(0)) == 204
    assert len(client.get(f"{item}/results", headers=headers).get_json()) == 1
    assert send(client, headers, item, scoreGiven=None, scoreMaximum=None, timestamp=at(1)) == 204
    assert client.get(f"{item}/results", headers=headers).get_json() == []
    assert progress() == ("active", 0)


def test_of_fifty_scores_at_once_the_latest_stands(served: str, tool: ToolSide) -> None:
    make_enrollment()
    grades = tool.grades()
    item = grades.find_or_create_lineitem(
        LineItem().set_label("Final").set_tag("final").set_score_maximum(100)
    ).get_id()
    token = tool.connector().get_access_token([vocabulary.SCORE])
    numbers = random.Random(7).sample(range(50), 50)

    def post(number: int) -> int:
        body = score(scoreGiven=90 - number, timestamp=at(number))
        headers = {"Authorization": f"Bearer {token}"}
        return requests.post(f"{item}/scores", json=body, headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(post, numbers))
    assert set(statuses) <= {204, 409}
    assert statuses[numbers.index(49)] == 204
    [(given, scored_at)] = rows("SELECT score_given, scored_at FROM lti_scores")
    assert (given, scored_at) == (41, NOON + timedelta(minutes=49))
    assert progress() == ("active", 41)
    assert scalar("SELECT progress_updated_at FROM partner_lms_enrollments") == scored_at


def test_scores_of_several_line_items_at_once_all_count(served: str, tool: ToolSide) -> None:
    make_enrollment()
    grades = tool.grades()
    items = [
        grades.find_or_create_lineitem(
            LineItem().set_label(f"Unit {n}").set_tag(f"{n}").set_score_maximum(10)
        )
        for n in range(8)
    ]
    token = tool.connector().get_access_token([vocabulary.SCORE])

    def post(number: int) -> int:
        body = score(scoreGiven=number, scoreMaximum=10, timestamp=at(number), **DONE)
        url = f"{items[number].get_id()}/scores"
        return requests.post(
            url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=30
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, range(8))) == {204}
    assert progress() == ("completed", 35)
    assert scalar("SELECT count(*) FROM jobs WHERE kind = 'xp.award'") == 1


def test_several_line_items_are_weighed_and_each_has_to_be_done(
    client: FlaskClient,  # noqa: F811
    tool: ToolSide,
) -> None:
    make_enrollment()
    headers = grant(client, tool)
    first, second = add_item(client, headers), add_item(client, headers)
    assert send(client, headers, first, scoreGiven=80, timestamp=at(0), **DONE) == 204
    assert progress() == ("active", 40)
    # Scored before the first one, and told later: it counts all the same.
    assert send(client, headers, second, scoreGiven=50, timestamp=at(-60), **DONE) == 204
    assert progress() == ("completed", 65)


def test_a_line_item_of_ours_that_the_tool_never_uses_holds_nothing_up(
    client: FlaskClient,  # noqa: F811
    tool: ToolSide,
) -> None:
    make_enrollment()
    headers = grant(client, tool)
    make_ours(tool)
    own = add_item(client, headers)
    assert send(client, headers, own, scoreGiven=70, timestamp=at(0), **DONE) == 204
    assert progress() == ("completed", 70)


def test_a_line_item_of_ours_counts_once_the_tool_uses_it(
    client: FlaskClient,  # noqa: F811
    tool: ToolSide,
) -> None:
    make_enrollment()
    make_enrollment(student=OTHER)
    headers = grant(client, tool)
    ours = make_ours(tool)
    own = add_item(client, headers)
    # Another student's score there shows that it is in use.
    assert send(client, headers, f"{ITEMS}/{ours}", userId=f"usher-{OTHER}", timestamp=at(0), **DONE) == 204
    assert send(client, headers, own, scoreGiven=70, timestamp=at(0), **DONE) == 204
    found = rows(
        "SELECT status, progress_percentage FROM partner_lms_enrollments WHERE student_id = :id", id=STUDENT
    )
    assert found == [("active", 35)]


def test_from_which_score_a_course_is_completed_may_be_set(app: Flask, client: FlaskClient) -> None:  # noqa: F811
    make_enrollment()
    tool = register_tool("passing", custom={"completion": "score>=70"})
    headers = grant(client, tool)
    item = add_item(client, headers)
    assert send(client, headers, item, scoreGiven=69, timestamp=at(0), **DONE) == 204
    assert progress() == ("active", 69)
    # The link's own rule goes before the tool's.
    link = make_link(tool)
    run('UPDATE lti_links SET custom = \'{"completion": "score>=95"}\'')
    body = {"label": "Final", "scoreMaximum": 100, "resourceLinkId": link}
    assert client.put(item, json=body, headers=headers).status_code == 200
    assert send(client, headers, item, scoreGiven=94, timestamp=at(1)) == 204
    assert progress() == ("active", 94)
    assert send(client, headers, item, scoreGiven=95, timestamp=at(2)) == 204
    assert progress() == ("completed", 95)


def test_completion_is_final(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    make_enrollment()
    headers = grant(client, tool)
    item = add_item(client, headers)
    assert send(client, headers, item, scoreGiven=80, timestamp=at(0), **DONE) == 204
    assert send(client, headers, item, scoreGiven=10, timestamp=at(1)) == 204
    assert progress() == ("completed", 80)
    assert scalar("SELECT score_given FROM lti_scores") == 10


@pytest.mark.parametrize(
    ("status", "answer", "stored"),
    [("suspended", 204, 1), ("pending", 404, 0), ("failed", 404, 0), ("revoked", 404, 0)],
)
def test_a_place_that_is_not_open_is_left_as_it_is(
    client: FlaskClient,  # noqa: F811
    tool: ToolSide,
    status: str,
    answer: int,
    stored: int,
) -> None:
    make_enrollment(status, external_enrollment_id="seat-1")
    headers = grant(client, tool)
    assert send(client, headers, add_item(client, headers), timestamp=at(0), **DONE) == answer
    assert progress() == (status, 0)
    assert (count("lti_scores"), count("jobs")) == (stored, 0)


def test_a_score_for_nobody_in_the_course_is_refused(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    make_enrollment(student=OTHER, course="SBX-201")
    headers = grant(client, tool)
    item = add_item(client, headers)
    for user in (f"usher-{STUDENT}", f"usher-{OTHER}", OTHER, "usher-x", "usher-", "ana@example.com", "7"):
        answer = client.post(f"{item}/scores", json=score(userId=user), headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "lti_member_not_found"), user
        query = {"user_id": user}
        found = client.get(f"{item}/results", query_string=query, headers=headers)
        assert found.status_code in (200, 404)
        assert found.status_code == 404 or found.get_json() == []
    assert count("lti_scores") == 0


WRONG_SCORES: list[tuple[dict[str, Any], str]] = [
    ({"userId": None}, "/userId"),
    ({"userId": ""}, "/userId"),
    ({"userId": 7}, "/userId"),
    ({"timestamp": None}, "/timestamp"),
    ({"timestamp": 1_700_000_000}, "/timestamp"),
    ({"timestamp": "yesterday"}, "/timestamp"),
    ({"timestamp": "2026-11-20"}, "/timestamp"),
    ({"timestamp": "2026-11-20T12:00:00"}, "/timestamp"),
    ({"timestamp": "0001-01-01T00:00:00+23:59"}, "/timestamp"),
    ({"timestamp": "9999-12-31T23:59:59-23:59"}, "/timestamp"),
    ({"timestamp": (datetime.now(UTC) + timedelta(days=3)).isoformat()}, "/timestamp"),
    ({"scoreGiven": -1}, "/scoreGiven"),
    ({"scoreGiven": "many"}, "/scoreGiven"),
    ({"scoreGiven": "NaN"}, "/scoreGiven"),
    ({"scoreGiven": "1e400"}, "/scoreGiven"),
    ({"scoreGiven": True}, "/scoreGiven"),
    ({"scoreGiven": [50]}, "/scoreGiven"),
    ({"scoreMaximum": 0}, "/scoreMaximum"),
    ({"scoreMaximum": -100}, "/scoreMaximum"),
    ({"scoreMaximum": None}, "/"),
    ({"activityProgress": "Finished"}, "/activityProgress"),
    ({"activityProgress": None}, "/activityProgress"),
    ({"gradingProgress": "fullygraded"}, "/gradingProgress"),
    ({"comment": "x" * 10_001}, "/comment"),
    ({"comment": "a\0b"}, "/comment"),
]


def test_a_score_that_is_wrong_is_refused(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    make_enrollment()
    headers = grant(client, tool)
    item = add_item(client, headers)
    for change, pointer in WRONG_SCORES:
        answer = client.post(f"{item}/scores", json=score(**change), headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (422, "validation_failed"), answer.text
        assert [error["pointer"] for error in answer.get_json()["errors"]] == [pointer], change
    assert (count("lti_scores"), progress()) == (0, ("active", 0))


def test_results_are_paged_and_filtered(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    make_enrollment()
    make_enrollment(student=OTHER)
    headers = grant(client, tool)
    item = add_item(client, headers, scoreMaximum=10)
    for user, given in ((STUDENT, 50), (OTHER, 75)):
        assert send(client, headers, item, userId=f"usher-{user}", scoreGiven=given) == 204
    first = client.get(f"{item}/results?limit=1", headers=headers)
    assert first.mimetype == "application/vnd.ims.lis.v2.resultcontainer+json"
    rest = client.get(
        first.headers["Link"].partition(">")[0].removeprefix("<http://testserver"), headers=headers
    )
    assert "Link" not in rest.headers
    found = {result["userId"]: result for result in (*first.get_json(), *rest.get_json())}
    # In points of the line item, whatever the tool counted in.
    assert {user: result["resultScore"] for user, result in found.items()} == {
        f"usher-{STUDENT}": 5,
        f"usher-{OTHER}": 7.5,
    }
    [one] = client.get(
        found[f"usher-{OTHER}"]["id"].removeprefix("http://testserver"), headers=headers
    ).get_json()
    assert one == found[f"usher-{OTHER}"]


def test_a_line_item_takes_its_scores_along_and_leaves_the_progress(
    client: FlaskClient,  # noqa: F811
    tool: ToolSide,
) -> None:
    make_enrollment()
    headers = grant(client, tool)
    item = add_item(client, headers)
    assert send(client, headers, item, scoreGiven=60, timestamp=at(0)) == 204
    assert client.delete(item, headers=headers).status_code == 204
    assert (count("lti_scores"), progress()) == (0, ("active", 60))
