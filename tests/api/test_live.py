"""Live updates in one process: what is told, to whom, from where on; and how many may listen."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session

import settings as settings_module
from api import live as live_module
from api.live import EXTENSION, MOST_OF_ONE_USER
from db import session as db_session
from db.session import get_engine, transaction
from domain import courses, levels, live, retention, xp_corrections
from tests.api.conftest import HTML, OTHER, STUDENT, bearer, make_enrollment, run
from tests.api.test_profile import learn
from tests.stack import scalar

# Nothing listens there.
GONE = "postgresql+psycopg2://nobody:nothing@127.0.0.1:1/none"
EVENTS, POLL = "/api/me/events", "/api/me/events?poll=1"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that look often and end at once, so that a test client can read them to their end."""
    for name, value in {"LIVE_POLL": "0.01", "LIVE_SECONDS": "0.001"}.items():
        monkeypatch.setenv(name, value)
    settings_module.get_settings.cache_clear()


class Reader:
    """Somebody who polls and keeps the last id."""

    def __init__(self, client: FlaskClient, subject: str = "ana@example.com") -> None:
        self.client, self.headers, self.last = client, bearer(subject=subject), ""
        self.poll()

    def poll(self) -> list[tuple[str, dict[str, Any]]]:
        """Return (type, data) of what is new."""
        headers = {**self.headers, **({"Last-Event-ID": self.last} if self.last else {})}
        found = self.client.get(POLL, headers=headers).get_json()
        self.last = found["lastEventId"]
        return [(item["event"], item["data"]) for item in found["data"]]


def give(amount: int, student: str = STUDENT) -> str:
    """Adjust a student's XP and return the entry's id."""
    with transaction() as session:
        key = str(uuid.uuid4())
        return xp_corrections.adjust(session, levels.SQRT, student, amount, transport_key=key).entry_id


def move(enrollment: str, status: str) -> None:
    """Give a partner enrolment another status."""
    run("UPDATE partner_lms_enrollments SET status = :status WHERE id = :id", status=status, id=enrollment)


def parse(stream: str) -> list[dict[str, str]]:
    """Return the events of a stream: id, event, data."""
    blocks = [block.splitlines() for block in stream.split("\n\n") if "event:" in block]
    return [dict(line.split(": ", 1) for line in block) for block in blocks]


def test_who_comes_without_a_cursor_is_told_where_they_stand(client: FlaskClient) -> None:
    learn()
    headers = bearer()
    first = client.get(POLL, headers=headers).get_json()
    [state] = first["data"]
    assert (state["event"], state["id"]) == ("state", first["lastEventId"])
    assert state["data"] == client.get("/api/me/stats", headers=headers).get_json()
    again = client.get(POLL, headers={**headers, "Last-Event-ID": first["lastEventId"]})
    assert again.get_json() == {"data": [], "lastEventId": first["lastEventId"]}
    tagged = {"Last-Event-ID": first["lastEventId"], "If-None-Match": again.headers["ETag"]}
    assert client.get(POLL, headers={**headers, **tagged}).status_code == 304
    by_query = client.get(EVENTS, headers=headers, query_string={"poll": 1, "lastEventId": state["id"]})
    assert by_query.get_json()["data"] == []


def test_an_entry_is_told_with_each_level_that_it_reached(client: FlaskClient) -> None:
    reader = Reader(client)
    entry = give(950)
    found = reader.poll()
    assert [(event, data["level"]) for event, data in found] == [
        ("level", 1),
        ("level", 2),
        ("level", 3),
        ("xp", 3),
    ]
    assert found[-1][1].pop("at")
    assert found[-1][1] == {
        "entryId": entry,
        "kind": "adjustment",
        "category": "MANUAL",
        "amount": 950,
        "totalXp": 950,
        "level": 3,
        "previousLevel": 0,
        "levelCurve": "sqrt",
        "currentLevelXp": 50,
        "nextLevelXp": 700,
    }
    give(-900)
    [(event, data)] = reader.poll()
    assert (event, data["totalXp"], data["level"], data["previousLevel"]) == ("xp", 50, 0, 3)
    give(100_000_000)
    assert len([event for event, _ in reader.poll() if event == "level"]) == live.MOST_LEVELS
    assert reader.poll() == []


def test_every_status_of_every_enrolment_is_told(client: FlaskClient) -> None:
    reader = Reader(client)
    seat = make_enrollment("pending")
    for status in ("active", "active", "completed", "suspended", "revoked"):
        move(seat, status)
    run("UPDATE partner_lms_enrollments SET progress_percentage = 50 WHERE id = :id", id=seat)
    found = reader.poll()
    assert {event for event, _ in found} == {"enrollment"}
    assert [(data["previousStatus"], data["status"]) for _, data in found] == [
        (None, "pending"),
        ("pending", "active"),
        ("active", "completed"),
        ("completed", "suspended"),
        ("suspended", "revoked"),
    ]
    assert {(data["kind"], data["enrollmentId"]) for _, data in found} == {("partner", seat)}
    course = learn()
    own = [data for event, data in reader.poll() if event == "enrollment"]
    with transaction() as session:
        while courses.delete_batch(session, levels.SQRT, course):
            pass
    own += [data for event, data in reader.poll() if event == "enrollment"]
    assert [(data["previousStatus"], data["status"]) for data in own] == [
        (None, "active"),
        ("active", "completed"),
        ("completed", "active"),
        ("active", "removed"),
    ]
    assert {(data["kind"], data["courseId"]) for data in own} == {("own", course)}
    assert reader.poll() == []


def test_what_commits_late_is_told_late_and_nothing_twice(client: FlaskClient) -> None:
    reader = Reader(client)
    first, second = make_enrollment("pending"), make_enrollment("pending", course="HSI-BBP")
    reader.poll()
    with Session(get_engine()) as slow:
        # This transaction writes first and commits last; a reader that only knew a highest id would pass it by.
        slow.execute(
            text("UPDATE partner_lms_enrollments SET status = 'active' WHERE id = :id"), {"id": first}
        )
        late = Reader(client)
        move(second, "active")
        assert [data["enrollmentId"] for _, data in reader.poll()] == [second]
        assert [data["enrollmentId"] for _, data in late.poll()] == [second]
        assert reader.poll() == late.poll() == []
        slow.commit()
    assert [data["enrollmentId"] for _, data in reader.poll()] == [first]
    assert [data["enrollmentId"] for _, data in late.poll()] == [first]
    assert reader.poll() == late.poll() == []


def test_a_stream_that_is_cut_anywhere_goes_on_without_a_gap(client: FlaskClient, quick: None) -> None:
    reader = Reader(client)
    seat = make_enrollment("pending")
    give(950)
    with transaction() as session:
        for status in ("active", "completed"):
            session.execute(
                text("UPDATE partner_lms_enrollments SET status = :s WHERE id = :id"),
                {"s": status, "id": seat},
            )
    headers = {**reader.headers, "Last-Event-ID": reader.last}
    answer = client.get(EVENTS, headers=headers, buffered=True)
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-store"
    whole = answer.get_data(as_text=True)
    assert whole.startswith("retry: 2000\n\n")
    told = parse(whole)
    assert [item["event"] for item in told] == ["level"] * 3 + ["xp"] + ["enrollment"] * 3
    for cut in range(len(told)):
        again = {**reader.headers, "Last-Event-ID": told[cut]["id"]}
        stream = client.get(EVENTS, headers=again, buffered=True).get_data(as_text=True)
        rest = [item["data"] for item in parse(stream)]
        # What belongs together may come again as a whole; what was not told comes in any case, and in its order.
        missing = [item["data"] for item in told[cut + 1 :]]
        assert rest[len(rest) - len(missing) :] == missing, cut


def test_a_student_never_hears_of_another(client: FlaskClient, quick: None) -> None:
    ana, ben = Reader(client), Reader(client, "ben@example.com")
    seat = make_enrollment("pending", student=OTHER)
    move(seat, "active")
    give(500, OTHER)
    learn(OTHER)
    assert ana.poll() == []
    assert len(ben.poll()) > 5
    # Not even with the other's cursor: it only says how far somebody has read of their own.
    stolen = {**ana.headers, "Last-Event-ID": "1790000000.0.1:1:"}
    for path in (POLL, EVENTS):
        answer = client.get(path, headers=stolen, buffered=True).get_data(as_text=True)
        assert seat not in answer
        assert '"totalXp":500' not in answer


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "1",
        "1.2.3",
        "-1.0.1:1:",
        "1790000000.0.9:5:1,,2",
        "1790000000.99999999999999999999.1:1:",
        "1" * 5000,
        "\u0661.0.1:1:",
    ],
)
def test_a_cursor_that_is_none_starts_anew(client: FlaskClient, cursor: str) -> None:
    answer = client.get(EVENTS, headers=bearer(), query_string={"poll": "1", "lastEventId": cursor})
    assert [item["event"] for item in answer.get_json()["data"]] == ["state"]


def test_who_cannot_be_told_one_by_one_is_told_where_they_stand(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(client)
    at, seq, snapshot = reader.last.split(".")
    assert reader.poll() == []
    long_ago = f"{int(at) - live.KEPT_DAYS * 86_400 - 60}.{seq}.{snapshot}"
    another_life = f"{at}.{seq}.{10**15}:{10**15}:"
    for cursor in (long_ago, another_life):
        reader.last = cursor
        assert [event for event, _ in reader.poll()] == ["state"]
    monkeypatch.setattr(live, "MOST", 3)
    for _ in range(4):
        give(1)
    assert [event for event, _ in reader.poll()] == ["state"]
    for _ in range(3):
        give(1)
    assert [event for event, _ in reader.poll()] == ["xp"] * 3


def test_what_a_restored_database_brought_along_is_not_told_for_ever(client: FlaskClient) -> None:
    reader = Reader(client)
    run(
        "INSERT INTO enrollment_changes (user_id, xid, kind, enrollment_id, course_id, status)"
        " VALUES (:id, 1000000000000000, 'own', :id, :id, 'active')",
        id=STUDENT,
    )
    assert reader.poll() == []


def test_changes_are_forgotten_after_a_week(client: FlaskClient) -> None:
    move(make_enrollment("pending"), "active")
    run("UPDATE enrollment_changes SET changed_at = now() - interval '8 days' WHERE status = 'pending'")
    for rule in retention.rules(inbox=180, jobs=90, failures=365, partner_calls=30):
        with transaction() as session:
            retention.forget_batch(session, rule)
    assert scalar("SELECT string_agg(status, ',') FROM enrollment_changes") == "active"


def test_a_look_is_along_indexes(client: FlaskClient) -> None:
    values = {"user": STUDENT, "limit": 5, "seq": 0, "xmin": 1, "xmax": 1, "running": []}
    with transaction() as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        for statement, index in (
            (live.CHANGES, "pk_enrollment_changes"),
            (live.ENTRIES, "uq_xp_transactions_user_id_seq"),
            (live.START, "uq_xp_transactions_user_id_seq"),
        ):
            plan = "\n".join(session.scalars(text(f"EXPLAIN {statement.text}"), values))
            assert index in plan
            assert "Seq Scan" not in plan


def test_there_are_only_so_many_streams(
    app: Flask, client: FlaskClient, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVE_STREAMS", "3")
    settings_module.get_settings.cache_clear()
    ana, ben = bearer(), bearer(subject="ben@example.com")
    held = [client.get(EVENTS, headers=ana) for _ in range(MOST_OF_ONE_USER)]
    held.append(client.get(EVENTS, headers=ben))
    assert [answer.status_code for answer in held] == [200] * 3
    for headers in (ana, ben):
        refused = client.get(EVENTS, headers=headers)
        assert (refused.status_code, refused.get_json()["code"]) == (503, "too_many_streams")
        assert int(refused.headers["Retry-After"]) > 0
        assert client.get(EVENTS, headers={**headers, "Accept": "text/event-stream"}).status_code == 204
        assert client.get(POLL, headers=headers).status_code == 200
    held.pop().close()  # Never read: its place is free all the same.
    assert client.head(EVENTS, headers=ben, buffered=True).status_code == 200
    freed = client.get(EVENTS, headers=ben, buffered=True)
    assert parse(freed.get_data(as_text=True))[0]["event"] == "state"
    for answer in held:
        answer.close()
    assert app.extensions[EXTENSION].take(STUDENT, 1)


def test_a_stream_ends_when_the_sign_in_does(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVE_POLL", "0.01")
    settings_module.get_settings.cache_clear()
    monkeypatch.setattr(live_module, "RECHECK", 0.0)
    answer = client.get(EVENTS, headers=bearer())
    chunks = (chunk for chunk in answer.response if chunk != b":\n\n")
    assert b"retry" in next(chunks)
    assert b"event: state" in next(chunks)
    give(50)
    assert b"event: xp" in next(chunks)
    run("UPDATE api_tokens SET revoked_at = now()")
    assert list(chunks) == []


def test_a_stream_outlives_an_outage_of_the_database(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction() as session:
        cursor, _ = live_module.look(session, STUDENT, None)
    with monkeypatch.context() as outage:
        outage.setattr(db_session, "get_engine", lambda: db_session.make_engine(GONE))
        assert live_module._look_again(STUDENT, cursor) == (cursor, [])
    give(50)
    with client.application.app_context():
        assert [item.event for item in live_module._look_again(STUDENT, cursor)[1]] == ["xp"]


def test_the_dashboard_keeps_itself_up_to_date_and_works_without(client: FlaskClient) -> None:
    make_enrollment("pending")
    answer = client.get("/dashboard", headers={**bearer(), **HTML})
    page = answer.get_data(as_text=True)
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    sources = [part.split('"')[0] for part in page.split('<script src="')[1:]]
    [source] = [source for source in sources if "/live.js" in source]
    script = client.get(source)
    assert (script.status_code, script.mimetype) == (200, "text/javascript")
    assert EVENTS in script.get_data(as_text=True)
    assert '<noscript><meta http-equiv="refresh"' in page
