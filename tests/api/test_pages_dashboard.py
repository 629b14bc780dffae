"""The student's own pages: what they show of each state, how many queries they cost, and that they change what they say."""

from __future__ import annotations

import html
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_babel import Domain

from db.session import transaction
from domain import achievement_seeds, achievements, counters, courses, demo, flags, tokens, xp, xp_corrections
from domain.levels import SQRT
from tests.api.conftest import HTML, OTHER, STUDENT, bearer, make_enrollment, run
from tests.api.test_student import CODES, counted_queries
from tests.stack import rows, scalar

OWN, OTHER_COURSE = demo.course_id("OWN-101"), demo.course_id("OWN-201")
PAGES = ("/dashboard", "/dashboard/xp", "/dashboard/achievements", "/dashboard/settings")
LONG_NAME = "Occupational Safety for Everybody Who Works Near Machines, Ladders, Chemicals and Forklifts " * 3


ADA = "عائشة بنت عبد الرحمن"


def get(client: FlaskClient, path: str, **more: Any) -> str:
    """Return a page as Ana sees it."""
    answer = client.get(path, headers={**bearer(), **HTML}, **more)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_data(as_text=True)


def fill(app: Flask) -> None:
    """Give Ana one of everything that her pages show."""
    now = datetime.now(UTC)
    statuses = ("active", "completed", "pending", "failed", "suspended", "revoked")
    for number, status in enumerate(statuses):
        make_enrollment(
            status,
            course=CODES[number],
            progress_percentage=100 if status == "completed" else 42.5 if status == "active" else 0,
            completed_at=now if status == "completed" else None,
            external_account_id="account-1" if status == "pending" else None,
            created_at=now - timedelta(hours=number),
        )
    seat = scalar("SELECT id FROM partner_lms_enrollments WHERE status = 'completed'")
    run(
        "INSERT INTO partner_certificates (enrollment_id, student_id, partner_id, certificate_number, certificate_url,"
        " verification_url) SELECT id, student_id, provider_id, 'N-1', 'https://partner.example/c/1',"
        " 'https://partner.example/v/1' FROM partner_lms_enrollments WHERE id = :id",
        id=seat,
    )
    with transaction() as session:
        achievement_seeds.seed(session)
        courses.enroll(session, STUDENT, OWN)
    lessons = [
        str(row[0]) for row in rows("SELECT id FROM lessons WHERE course_id = :c ORDER BY position", c=OWN)
    ]
    complete(lessons[0])
    entry = complete(lessons[1])
    with transaction() as session:
        xp_corrections.reverse(session, SQRT, entry, reason="reversed_by_staff")
    settle("lessons.completed")
    run(
        "INSERT INTO assignments (course_id, title, due_date, is_published)"
        " VALUES (:course, 'Write a plan', :due, true)",
        course=OWN,
        due=now + timedelta(days=2),
    )
    with_certificate(OTHER_COURSE)


def with_certificate(course: str) -> str:
    """Have Ana hold a certificate of a course that she completed; return its id."""
    run(
        "INSERT INTO enrollments (user_id, course_id, completion_percentage, completed_at) VALUES (:u, :c, 100, now())",
        u=STUDENT,
        c=course,
    )
    return str(
        scalar(
            "INSERT INTO certificates (user_id, course_id, certificate_url, verification_code, name, course_title)"
            " SELECT :u, id, '/verify/AAAA-BBBB', 'AAAA-BBBB', 'Ana', title FROM courses WHERE id = :c RETURNING id",
            u=STUDENT,
            c=course,
        )
    )


def complete(lesson: str) -> str:
    """Have Ana complete a lesson; return the entry."""
    with transaction() as session:
        return xp.complete_lesson(session, SQRT, xp.Completion(STUDENT, OWN, lesson)).entry_id


def settle(*names: str) -> None:
    """Do what follows when counters of Ana changed."""
    with transaction() as session:
        counters.note(session, STUDENT, names, active_at=datetime.now(UTC))
        achievements.settle(session, SQRT, STUDENT, xp_per_day=10)


def text_of(page: str) -> str:
    """Return what of a page is read, with single spaces."""
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


def test_each_part_of_the_page_says_where_it_stands(app: Flask, client: FlaskClient) -> None:
    fill(app)
    page = get(client, "/dashboard")
    text = text_of(page)
    assert "Level 0 70 XP To level 1 70 / 100" in text
    assert "Streak 1 day" in text
    assert "3 freezes left" in text
    # Started just now, so later than the partner's course.
    next_lesson = demo.lesson_id("OWN-101", 2)
    assert f'href="/courses/{OWN}/lessons/{next_lesson}"' in page
    for words in ("Open", "Completed", "Being prepared", "Being looked after", "Paused", "Ended"):
        assert re.search(rf'<span class="badge [a-z]*"><svg[^>]+><path [^>]+/></svg>{words}</span>', page), (
            words
        )
    for link in ("https://partner.example/c/1", "https://partner.example/v/1"):
        assert f'href="{link}"' in page
    certificate = scalar("SELECT id FROM certificates")
    assert f'href="/api/certificates/{certificate}/pdf"' in page
    assert 'href="http://testserver/verify/AAAA-BBBB"' in page
    assert f'href="/assignments/{scalar("SELECT id FROM assignments")}"' in page
    assert "Taken back: Lesson: Planning a week Our staff took it back. −50 XP" in text
    assert "Lessons completed 1 / 10" in text_of(get(client, "/dashboard/achievements"))


def test_a_pending_place_shows_what_there_is_of_it(client: FlaskClient) -> None:
    seat = make_enrollment("pending")

    def steps() -> list[str]:
        page = get(client, "/dashboard")
        listed = page[page.index('class="steps"') :]
        return re.findall(r'<li class="(\w+)"', listed[: listed.index("</ol>")])

    assert "Order received" in get(client, "/dashboard")
    assert steps() == ["done", "now", "todo", "todo"]
    run("INSERT INTO payments (id, checkout_session_id, state) VALUES (:id, 'cs_1', 'paid')", id=seat)
    run("INSERT INTO payment_lines (payment_id, enrollment_id) VALUES (:id, :id)", id=seat)
    assert "Payment received" in get(client, "/dashboard")
    run("UPDATE partner_lms_enrollments SET external_account_id = 'a'")
    assert steps() == ["done", "done", "now", "todo"]
    run("UPDATE partner_lms_enrollments SET external_enrollment_id = 's'")
    assert steps() == ["done", "done", "done", "now"]
    assert "longer than it should" not in get(client, "/dashboard")
    run("UPDATE partner_lms_enrollments SET updated_at = now() - interval '1 hour'")
    assert "longer than it should" in get(client, "/dashboard")


def test_the_queries_are_as_many_with_500_courses_as_with_one(client: FlaskClient) -> None:
    headers = {**bearer(), **HTML}
    with transaction() as session:
        achievement_seeds.seed(session)
    make_enrollment("pending")
    run("INSERT INTO enrollments (user_id, course_id) VALUES (:u, :c)", u=STUDENT, c=OWN)
    give(3)
    counts = {path: count_queries(client, path, headers) for path in PAGES}
    run(
        "WITH made AS (INSERT INTO partner_courses (provider_id, course_name, course_code)"
        " SELECT :provider, 'Course ' || n, 'MANY-' || n FROM generate_series(1, 500) n RETURNING id, provider_id)"
        " INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status, progress_updated_at)"
        " SELECT provider_id, :student, id, 'active', now() FROM made",
        provider=demo.provider_id("sandbox"),
        student=STUDENT,
    )
    run(
        "WITH made AS (INSERT INTO courses (title, published) SELECT 'Own ' || n, true FROM generate_series(1, 500) n"
        " RETURNING id) INSERT INTO enrollments (user_id, course_id) SELECT :student, id FROM made",
        student=STUDENT,
    )
    run("INSERT INTO assignments (course_id, title, is_published) SELECT id, 'A', true FROM courses")
    give(200)
    assert {path: count_queries(client, path, headers) for path in PAGES} == counts
    assert counts["/dashboard"] <= 16
    assert max(counts[path] for path in PAGES[1:]) <= 8


def give(entries: int) -> None:
    """Give Ana entries of 10 XP."""
    with transaction() as session:
        for _ in range(entries):
            wanted = xp.Award(
                STUDENT, str(uuid.uuid4()), 10, "CHALLENGE", None, "CHALLENGE", "done", "A challenge"
            )
            xp.award(session, SQRT, wanted)


def count_queries(client: FlaskClient, path: str, headers: dict[str, str]) -> int:
    """Return how many statements a page takes when its flags are known already."""
    client.get(path, headers=headers)
    with counted_queries() as statements:
        assert client.get(path, headers=headers).status_code == 200
    return len([one for one in statements if "feature_flags" not in one])


def test_the_pages_of_both_lists_hold_every_course_once(client: FlaskClient) -> None:
    run(
        "WITH made AS (INSERT INTO partner_courses (provider_id, course_name, course_code)"
        " SELECT :provider, 'Theirs ' || n, 'MANY-' || n FROM generate_series(1, 50) n RETURNING id, provider_id)"
        " INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status)"
        " SELECT provider_id, :student, id, 'active' FROM made",
        provider=demo.provider_id("sandbox"),
        student=STUDENT,
    )
    run(
        "WITH made AS (INSERT INTO courses (title, published) SELECT 'Ours ' || n, true FROM generate_series(1, 50) n"
        " RETURNING id) INSERT INTO enrollments (user_id, course_id) SELECT :student, id FROM made",
        student=STUDENT,
    )
    for parameter, name in (("cursor", "Theirs"), ("own", "Ours")):
        seen, path = [], "/dashboard"
        while path:
            page = get(client, path)
            seen += re.findall(rf'<h3 id="c-[^"]+">({name} \d+)</h3>', page)
            found = re.search(rf'href="(/dashboard\?{parameter}=[^"]+)"', page)
            path = found[1] if found else ""
        assert sorted(seen) == sorted(f"{name} {number}" for number in range(1, 51))
    for parameter in ("cursor", "own"):
        answer = client.get(f"/dashboard?{parameter}=x", headers=bearer())
        assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_cursor")


def test_older_entries_of_the_ledger_are_a_page_away(client: FlaskClient) -> None:
    give(60)
    page = get(client, "/dashboard/xp")
    assert page.count("Challenge: A challenge") == 50
    older = re.search(r'href="(/dashboard/xp\?cursor=[^"]+)"', page)
    assert older is not None
    rest = get(client, older[1])
    assert rest.count("Challenge: A challenge") == 10
    assert "Older entries" not in rest


def test_what_is_switched_off_is_not_shown(app: Flask, client: FlaskClient) -> None:
    fill(app)
    for name in flags.FLAGS:
        with transaction() as session:
            flags.switch(session, name, on=False, actor="staff@example.com")
    page = get(client, "/dashboard")
    for words in ("Streak", "within reach", "Write a plan", "/dashboard/achievements", "Certificate (PDF)"):
        assert words not in page, words
    assert "N-1" in page, "a partner's certificate is not ours to hide"
    off = client.get("/dashboard/achievements", headers={**bearer(), **HTML})
    assert off.status_code == 404
    assert "Achievements" not in get(client, "/dashboard/settings")


def test_long_arabic_huge_and_far_away(client: FlaskClient) -> None:
    run(
        "UPDATE users SET name = :name, time_zone = 'Pacific/Kiritimati' WHERE id = :id", name=ADA, id=STUDENT
    )
    run("UPDATE partner_courses SET course_name = :name WHERE course_code = 'SBX-101'", name=LONG_NAME)
    with transaction() as session:
        for number in range(1_000):
            xp_corrections.adjust(session, SQRT, STUDENT, 1_000_000, transport_key=f"key-{number}")
    make_enrollment("active", enrolled_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    page = get(client, "/dashboard")
    assert f"<bdi>{ADA}</bdi>" in page
    assert LONG_NAME.strip() in " ".join(page.split())
    assert "1,000,000,000 XP" in page
    assert "Level 3,162" in page or "Level 3162" in page
    assert "Mar 2, 2026" in page, "there it is the next day already"
    assert f'value="{ADA}"' in get(client, "/dashboard/settings")


def test_an_empty_history_says_what_gives_xp(client: FlaskClient) -> None:
    assert "Lessons, quizzes, assignments and completed courses give XP" in get(client, "/dashboard/xp")
    assert "No achievements yet" in get(client, "/dashboard/achievements")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("enrollment_revoked", "The payment for the course was returned."),
        ("regraded", "The work was graded anew and is not passed any more."),
        ("something new", "What it was given for does not count any more."),
    ],
)
def test_a_reversal_is_explained_in_words(client: FlaskClient, reason: str, words: str) -> None:
    with transaction() as session:
        wanted = xp.Award(STUDENT, "key", 80, "ASSIGNMENT", str(uuid.uuid4()), "ASSIGNMENT", "passed")
        entry = xp.award(session, SQRT, wanted).entry_id
        xp_corrections.reverse(session, SQRT, entry, reason=reason)
    text = text_of(get(client, "/dashboard/xp"))
    assert f"Taken back: Assignment passed {words}" in text
    assert "Assignment passed Taken back later." in text


SETTINGS = {"name": "Ana S.", "time_zone": "Pacific/Kiritimati", "locale": "es", "wants_streak_mail": "1"}
STORED = (
    "SELECT name, time_zone, locale, wants_streak_mail, wants_progress_mail, visible_to_others FROM users"
)


def test_settings_are_saved_whole(client: FlaskClient) -> None:
    answer = client.post("/dashboard/settings", data=SETTINGS, headers=bearer())
    assert (answer.status_code, answer.location) == (303, "/dashboard/settings?saved=1")
    kept = [tuple(row) for row in rows(STORED + " WHERE id = :id", id=STUDENT)]
    assert kept == [("Ana S.", "Pacific/Kiritimati", "es", True, False, False)]
    assert rows(STORED + " WHERE id = :id", id=OTHER)[0][2:] == (None, False, True, False)
    page = get(client, "/dashboard/settings?saved=1")
    assert '<html lang="es">' in page
    assert "Se guardaron tus ajustes." in page
    assert re.search(r'name="wants_streak_mail" value="1" checked', page)
    again = client.post("/dashboard/settings", data=SETTINGS, headers=bearer())
    assert again.status_code == 303
    assert (
        client.post("/dashboard/settings", data={**SETTINGS, "locale": ""}, headers=bearer()).status_code
        == 303
    )
    assert scalar("SELECT locale FROM users WHERE id = :id", id=STUDENT) is None


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "x" * 201}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"locale": "tlh"}, "locale"),
    ],
)
def test_a_mistake_shows_the_form_again_and_saves_nothing(
    client: FlaskClient, wrong: dict[str, str], field: str
) -> None:
    before = rows(STORED)
    answer = client.post("/dashboard/settings", data={**SETTINGS, "name": "Typed", **wrong}, headers=bearer())
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert f'<a href="#{field}">' in page
    assert re.search(
        rf'id="{field}"[^>]* aria-invalid="true" aria-describedby="{field}-hint {field}-mistake"', page
    )
    assert 'role="alert"' in page
    if field != "name":
        assert 'value="Typed"' in page
    assert rows(STORED) == before


def test_only_our_own_pages_change_settings(client: FlaskClient) -> None:
    assert client.post("/dashboard/settings", data=SETTINGS).status_code == 401
    link = tokens.make_dev_link("student", "ana@example.com", STUDENT)
    client.get(link[link.index("/dev") :])
    refused = client.post("/dashboard/settings", data=SETTINGS, headers={"Sec-Fetch-Site": "cross-site"})
    assert (refused.status_code, refused.get_json()["code"]) == (403, "cross_site")
    ours = client.post("/dashboard/settings", data=SETTINGS, headers={"Sec-Fetch-Site": "same-origin"})
    assert ours.status_code == 303


def test_the_language_is_switched_for_strangers_and_for_those_who_are_signed_in(client: FlaskClient) -> None:
    path = "/verify/ABCD-EFGH-JKLM"
    assert '<html lang="en">' in client.get(path, headers=HTML).get_data(as_text=True)
    switched = client.post("/language", data={"locale": "es", "next": path})
    assert (switched.status_code, switched.location) == (303, path)
    assert '<html lang="es">' in client.get(path, headers=HTML).get_data(as_text=True)
    assert client.post("/language", data={"locale": "en", "next": path}, headers=bearer()).status_code == 303
    assert scalar("SELECT locale FROM users WHERE id = :id", id=STUDENT) == "en"
    assert client.post("/language", data={"locale": "xx", "next": path}).status_code == 404
    for elsewhere in ("https://evil.example/", "//evil.example/", "/\\evil.example", "", "/a\nb"):
        assert client.post("/language", data={"locale": "es", "next": elsewhere}).location == "/", elsewhere


def test_the_browsers_language_counts_until_somebody_chooses(client: FlaskClient) -> None:
    headers = {**bearer(), **HTML, "Accept-Language": "es-MX, en;q=0.5"}
    assert '<html lang="es">' in client.get("/dashboard", headers=headers).get_data(as_text=True)
    run("UPDATE users SET locale = 'en'")
    assert '<html lang="en">' in client.get("/dashboard", headers=headers).get_data(as_text=True)


def test_no_text_of_a_page_stands_outside_the_translations(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(app)
    data = written_by_people()
    monkeypatch.setattr(Domain, "get_translations", lambda self: Pseudo())
    for path in PAGES:
        page = get(client, path)
        body = page[page.index("<title>") :]
        body = re.sub(r"<(time|option|svg|code)[ >].*?</\1>", " ", body, flags=re.DOTALL)
        body = re.sub(r'<button class="link".*?</button>', " ", body)
        shown = re.sub(r"<[^>]+>", "|", body) + "|".join(
            re.findall(r'(?:aria-label|data-said|placeholder|title|alt)="([^"]*)"', body)
        )
        while "⟦" in shown:
            shown = re.sub(r"⟦[^⟦⟧]*⟧", " ", shown)
        for words in data:
            shown = shown.replace(words, " ")
        assert set(re.findall(r"[A-Za-z]{2,}", shown)) - {"XP", "Usher"} == set(), path


class Pseudo:
    """A language in which every text stands in brackets, with what is filled in."""

    def ugettext(self, text: str) -> str:
        return f"⟦{text}⟧"

    def ungettext(self, singular: str, plural: str, number: int) -> str:
        return f"⟦{singular if number == 1 else plural}⟧"


def written_by_people() -> list[str]:
    """Return the texts of the database that the pages show, the longest first."""
    found = rows(
        "SELECT course_name FROM partner_courses UNION SELECT credential_type FROM partner_courses"
        " UNION SELECT provider_name FROM partner_lms_providers UNION SELECT support_email FROM partner_lms_providers"
        " UNION SELECT title FROM courses UNION SELECT title FROM lessons UNION SELECT title FROM assignments"
        " UNION SELECT name FROM achievements UNION SELECT description FROM achievements UNION SELECT name FROM users"
        " UNION SELECT email FROM users UNION SELECT left(id::text, 8) FROM partner_lms_enrollments"
    )
    texts = [html.escape(str(row[0]), quote=False).replace("'", "&#39;") for row in found if row[0]]
    return sorted(texts, key=len, reverse=True)
