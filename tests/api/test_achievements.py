"""Streaks and achievements over HTTP: what students see, what staff may do, and what is refused."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import text

from db.session import transaction
from domain import achievements, counters, demo, flags
from domain.conditions import DEEPEST
from domain.levels import SQRT
from tests.api.conftest import OTHER, STUDENT, bearer, count

STAFF = "staff@example.com"
COURSE = demo.course_id("OWN-101")
PATH = "/api/ops/achievements"
LESSONS = {"v": 1, "when": {"counter": "lessons.completed", "gte": 2}}


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def definition(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Lessons",
        "category": "learning",
        "condition": LESSONS,
        "xpReward": 25,
        "tiers": [
            {"condition": {"v": 1, "when": {"counter": "lessons.completed", "gte": 3}}, "xpReward": 50}
        ],
        "reason": "a good cause",
        **changes,
    }


def create(client: FlaskClient, key: str | None = None, **changes: Any) -> Any:
    headers = {**bearer("ops", STAFF), **({} if key is None else {"Idempotency-Key": key})}
    return client.post(PATH, json={"code": "lessons", **definition(**changes)}, headers=headers)


def staff(client: FlaskClient, path: str, body: Any, key: str | None = None) -> Any:
    headers = {**bearer("ops", STAFF), **({} if key is None else {"Idempotency-Key": key})}
    return client.post(path, json=body, headers=headers)


def get(client: FlaskClient, path: str) -> Any:
    return client.get(path, headers=bearer())


def learn(client: FlaskClient, *lessons: int) -> None:
    """Complete lessons as a student does, and settle what follows."""
    client.post("/api/enrollments", json={"userId": STUDENT, "courseId": COURSE}, headers=bearer())
    for number in lessons:
        lesson = demo.lesson_id("OWN-101", number)
        body = {"userId": STUDENT, "courseId": COURSE, "lessonId": lesson, "xpAmount": 50}
        assert client.post("/api/xp/award", json=body, headers=bearer()).status_code == 200
    with transaction() as session:
        for entry in list(session.scalars(text("SELECT id FROM xp_transactions WHERE kind = 'award'"))):
            achievements.follow_award(session, SQRT, str(entry), xp_per_day=0)


def audited(action: str) -> list[tuple[str, str]]:
    with transaction() as session:
        found = session.execute(
            text("SELECT actor, reason FROM staff_actions WHERE action = :action"), {"action": action}
        )
        return [tuple(row) for row in found]


def test_a_streak_is_told_as_it_stands_today(client: FlaskClient) -> None:
    assert get(client, "/api/me/streak").get_json()["currentStreak"] == 0
    with transaction() as session:
        for days in (0, 1, 3):
            counters.changed(session, STUDENT, active_at=datetime.now(UTC) - timedelta(days=days))
    found = get(client, "/api/me/streak").get_json()
    missed = str(date.fromisoformat(found["today"]) - timedelta(days=2))
    assert found == {
        "currentStreak": 3,
        "longestStreak": 3,
        "lastActivityDate": found["today"],
        "freezesAvailable": 2,
        "freezesUsed": 1,
        "frozenDates": [missed],
        "activeToday": True,
        "atRisk": False,
        "today": found["today"],
        "timeZone": "UTC",
    }
    answer = client.get("/api/me/streak", headers=bearer(subject="ben@example.com")).get_json()
    assert answer["currentStreak"] == 0


def test_progress_is_exact_and_one_s_own(client: FlaskClient) -> None:
    create(client)
    learn(client, 1)
    [found] = get(client, "/api/achievements").get_json()["data"]
    assert [(tier["tier"], tier["percentage"], tier["unlockedAt"]) for tier in found["tiers"]] == [
        (1, 50, None),
        (2, 33, None),
    ]
    assert found["tiers"][1]["counters"] == [
        {"counter": "lessons.completed", "value": 1, "target": 3, "scope": None, "window": None}
    ]
    learn(client, 2)
    [found] = get(client, "/api/achievements").get_json()["data"]
    assert [tier["percentage"] for tier in found["tiers"]] == [100, 66]
    assert found["tiers"][0]["unlockedAt"] is not None
    [mine] = get(client, "/api/me/achievements").get_json()["data"]
    assert (mine["code"], mine["tier"], mine["xpReward"]) == ("lessons", 1, 25)
    other = client.get("/api/me/achievements", headers=bearer(subject="ben@example.com")).get_json()
    assert other == {"data": [], "has_more": False, "next_cursor": None}


def test_lists_go_page_by_page(client: FlaskClient) -> None:
    for number in range(3):
        condition = {"v": 1, "when": {"counter": "lessons.completed", "gte": 1}}
        assert create(client, code=f"a-{number}", condition=condition, tiers=[]).status_code == 201
    learn(client, 1)
    for path, headers in (
        ("/api/achievements", bearer()),
        ("/api/me/achievements", bearer()),
        (PATH, bearer("ops", STAFF)),
    ):
        codes, cursor = [], None
        while True:
            query = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
            page = client.get(path, query_string=query, headers=headers).get_json()
            codes += [item["code"] for item in page["data"]]
            cursor = page["next_cursor"]
            assert page["has_more"] is (cursor is not None)
            if cursor is None:
                break
        assert sorted(codes) == ["a-0", "a-1", "a-2"]
        assert code(client.get(path, query_string={"cursor": "x" * 7}, headers=headers)) == (
            400,
            "invalid_cursor",
        )


def test_staff_make_an_achievement_once_and_leave_why(client: FlaskClient) -> None:
    first = create(client, key="k1")
    assert (first.status_code, first.headers["ETag"]) == (201, '"1"')
    again = create(client, key="k1")
    assert (again.get_json(), again.headers["Idempotency-Replayed"]) == (first.get_json(), "true")
    assert code(create(client)) == (409, "achievement_code_taken")
    assert audited("achievement.create") == [(STAFF, "a good cause")]
    assert client.get(first.headers["Location"], headers=bearer("ops", STAFF)).get_json() == first.get_json()
    assert count("achievements") == count("achievement_versions") == 1


def test_an_edit_is_made_on_the_version_that_was_read(client: FlaskClient) -> None:
    path = create(client).headers["Location"]

    def edit(version: str | None, **changes: Any) -> Any:
        headers = {**bearer("ops", STAFF), **({} if version is None else {"If-Match": version})}
        return client.put(path, json=definition(**changes), headers=headers)

    assert code(edit(None)) == (428, "version_required")
    changed = edit('"1"', name="More lessons")
    assert (changed.status_code, changed.headers["ETag"], changed.get_json()["version"]) == (200, '"2"', 2)
    stale = edit('"1"', name="Even more")
    assert (code(stale), stale.headers["ETag"]) == ((412, "stale_version"), '"2"')
    same = edit('"2"', name="More lessons")
    assert same.headers["ETag"] == '"2"'
    assert audited("achievement.edit") == [(STAFF, "a good cause")]
    path = f"{PATH}/{uuid.uuid4()}"
    assert code(edit('"1"')) == (404, "achievement_not_found")
    path = f"{PATH}/first"
    assert code(edit('"1"')) == (404, "achievement_not_found")


def test_a_dry_run_counts_and_changes_nothing(client: FlaskClient) -> None:
    learn(client, 1, 2)
    answer = staff(
        client, f"{PATH}/dry-run", {key: value for key, value in definition().items() if key != "reason"}
    )
    users = count("users")
    assert answer.get_json() == {
        "users": users,
        "checked": users,
        "tiers": [{"tier": 1, "users": 1}, {"tier": 2, "users": 0}],
    }
    assert count("achievements") == count("staff_actions") == 0


def test_conditions_that_cannot_be_are_refused_at_their_place(client: FlaskClient) -> None:
    def refused(condition: Any) -> list[tuple[str, str]]:
        answer = create(client, condition=condition)
        assert code(answer) == (422, "validation_failed")
        return [(error["pointer"], error["detail"]) for error in answer.get_json()["errors"]]

    [(pointer, detail)] = refused({"v": 1, "when": {"all": [{"counter": "lessons.begun", "gte": 1}]}})
    assert (pointer, detail[:12]) == ("/condition/when/all/0/counter", "must be one ")
    deep: Any = LESSONS["when"]
    for _ in range(399):
        deep = {"all": [deep]}
    assert refused({"v": 1, "when": deep}) == [("/condition", f"must not be more than {DEEPEST} nodes deep")]
    # Deeper than a parser bears: 60 kB of brackets.
    body = '{"condition":' + "[" * 30_000 + "]" * 30_000 + "}"
    headers = {**bearer("ops", STAFF), "Content-Type": "application/json"}
    assert code(client.post(PATH, data=body, headers=headers)) == (422, "validation_failed")
    for body in ("{", '{"name": "\\ud800"}'):
        assert code(client.post(PATH, data=body, headers=headers)) == (400, "malformed_json")
    assert code(client.post(PATH, data="{}", headers=bearer("ops", STAFF))) == (415, "unsupported_media_type")
    assert count("achievements") == 0


def test_staff_give_a_freeze_and_leave_why(client: FlaskClient) -> None:
    path, today = "/api/ops/streaks/freezes", datetime.now(UTC).date()
    wanted = {"userId": "ana@example.com", "reason": "the site was down"}
    assert code(staff(client, path, wanted)) == (409, "freezes_full")
    with transaction() as session:
        for days in (6, 0):
            counters.changed(session, STUDENT, active_at=datetime.now(UTC) - timedelta(days=days))
    # Five days were missed, three of them covered: two freezes of that time bridge the rest.
    assert get(client, "/api/me/streak").get_json()["currentStreak"] == 1
    for number, key in enumerate(("k1", "k1", "k2")):
        day = str(today - timedelta(days=2 if key == "k1" else 1))
        answer = staff(client, path, {**wanted, "date": day}, key=key)
        assert answer.status_code == 200, number
    found = get(client, "/api/me/streak").get_json()
    assert (found["currentStreak"], found["freezesUsed"], found["freezesAvailable"]) == (2, 5, 0)
    assert count("streak_freeze_grants") == 2
    assert audited("streak.freeze") == [(STAFF, "the site was down")] * 2
    early = staff(client, path, {**wanted, "date": str(today - timedelta(days=8))})
    assert (code(early), early.get_json()["errors"][0]["pointer"]) == ((422, "validation_failed"), "/date")
    assert code(staff(client, path, {**wanted, "userId": str(uuid.uuid4())})) == (404, "user_not_found")


def test_rest_days_begin_tomorrow_for_everybody_and_end(client: FlaskClient) -> None:
    path, today = "/api/ops/streaks/rest-days", datetime.now(UTC).date()
    sundays = {"weekday": 7, "firstDate": str(today + timedelta(days=2)), "reason": "Sundays"}
    late = staff(client, path, {**sundays, "firstDate": str(today)})
    assert (code(late), late.get_json()["errors"][0]["pointer"]) == ((422, "validation_failed"), "/firstDate")
    endless = staff(client, path, {**sundays, "weekday": None})
    assert endless.get_json()["errors"][0]["pointer"] == "/lastDate"
    made = staff(client, path, sundays)
    assert made.status_code == 201
    with transaction() as session:
        counters.changed(session, OTHER, active_at=datetime.now(UTC) - timedelta(days=2))
        counters.changed(session, OTHER, active_at=datetime.now(UTC))
    sick = {
        "userId": OTHER,
        "firstDate": str(today - timedelta(days=3)),
        "lastDate": str(today),
        "reason": "ill",
    }
    ill = staff(client, path, sick)
    assert ill.status_code == 201
    found = client.get("/api/me/streak", headers=bearer(subject="ben@example.com")).get_json()
    assert (found["currentStreak"], found["freezesAvailable"]) == (2, 3)
    listed = client.get(path, headers=bearer("ops", STAFF)).get_json()["data"]
    assert [item["id"] for item in listed] == [ill.get_json()["id"], made.get_json()["id"]]
    ended = staff(client, f"{path}/{made.get_json()['id']}/end", {"reason": "enough"})
    assert (ended.status_code, count("streak_rest_days")) == (200, 1)
    over = staff(client, f"{path}/{ill.get_json()['id']}/end", {"reason": "enough"})
    assert code(over) == (409, "rest_days_over")
    assert code(staff(client, f"{path}/nothing/end", {"reason": "enough"})) == (404, "rest_days_not_found")
    assert [len(audited(action)) for action in ("streak.rest", "streak.rest.end")] == [2, 1]


def test_students_do_nothing_of_it(client: FlaskClient) -> None:
    for path in (PATH, f"{PATH}/dry-run", "/api/ops/streaks/freezes", "/api/ops/streaks/rest-days"):
        assert code(client.post(path, json={}, headers=bearer())) == (403, "wrong_role")
    assert code(client.get("/api/achievements")) == (401, "not_signed_in")


def test_what_is_switched_off_is_not_there(client: FlaskClient) -> None:
    with transaction() as session:
        flags.switch(session, "streaks", on=False, actor="test")
        flags.switch(session, "achievements", on=False, actor="test")
    for path in ("/api/me/streak", "/api/achievements", "/api/me/achievements"):
        assert code(get(client, path)) == (404, "feature_off")
    assert code(create(client)) == (404, "feature_off")
