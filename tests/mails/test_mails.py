"""Each mail as it arrives: both parts, its headers, its language, once for its key, and only while it is true and wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po
from flask.testing import FlaskClient

from db import jobs
from db.session import transaction
from domain import alerts, demo, enrollments, mail_consent, mail_languages, mail_turns, mail_words, progress
from tests.api.conftest import HTML, OTHER, STUDENT, make_enrollment, run
from tests.mails.conftest import Sent
from tests.stack import rows, scalar
from workers import job as job_module

Deliver = Callable[[], Sent]
FIRST = "00000000-0000-0000-0000-000000000000"
LONG = "Occupational Safety for Everybody Who Works Near Machines, Ladders and Chemicals " * 3
ARABIC = "عائشة بنت عبد الرحمن"
# What the subject of each mail about an enrolment says, in both languages.
ABOUT_SEATS = {
    "welcome": ("active", "Your course is ready", "Tu curso está listo"),
    "restored": ("active", "Your course is open again", "Tu curso está abierto de nuevo"),
    "revoked": ("revoked", "Your payment was returned", "Se devolvió tu pago"),
    "completed": ("completed", "Completed", "Completado"),
    "failed": ("failed", "Your course takes longer than usual", "Tu curso tarda más de lo habitual"),
}


def ask(template: str, enrollment: str) -> None:
    """Ask for a mail as the rules do."""
    with transaction() as session:
        if template == "completed":
            progress.tell_completed(session, enrollment)
        elif template == "failed":
            key = f"failed:{enrollment}:1"
            jobs.enqueue(session, jobs.Enqueue("mail.notice", key, "mail", enrollment), once=True)
        else:
            enrollments.tell(session, enrollments.load(session, enrollment), template)


def speak(locale: str | None, student: str = STUDENT) -> None:
    run("UPDATE users SET locale = :locale WHERE id = :id", locale=locale, id=student)


def check(mail: dict[str, Any], language: str, *, stops: bool) -> None:
    """Say what holds for every mail."""
    headers, text, html = mail["headers"], mail["text"], mail["html"]
    assert headers["content-language"] == language
    assert headers["auto-submitted"] == "auto-generated"
    assert headers["from"] == "Usher <no-reply@school.test>"
    assert re.fullmatch(r"<usher-[0-9a-f-]{36}@school\.test>", headers["message-id"])
    assert f'<html lang="{language}">' in html
    assert "prefers-color-scheme: dark" in html
    assert re.search(r"<img|<script|src=|url\(|@import", html) is None, (
        "nothing is loaded, nothing tells of it"
    )
    assert {link for link in re.findall(r'href="([^"]+)"', html) if not link.startswith(("https://school.test/", "mailto:help@", "https://partner.test/"))} == set()  # fmt: skip
    assert "%(" not in text + html
    for link in re.findall(r"https://school\.test/\S+", text):
        assert link in html, "both parts lead to the same"
    assert ("list-unsubscribe" in headers) == ("list-unsubscribe-post" in headers) == stops
    if stops:
        assert headers["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
        stop = headers["list-unsubscribe"].strip("<>")
        assert stop.startswith("https://school.test/mail/unsubscribe/")
        assert stop in text
        assert stop in html


@pytest.mark.parametrize("template", ABOUT_SEATS)
def test_each_mail_about_a_seat_arrives_in_both_languages_once(deliver: Deliver, template: str) -> None:
    status, english, spanish = ABOUT_SEATS[template]
    seats = [make_enrollment(status), make_enrollment(status, student=OTHER)]
    run(
        "INSERT INTO partner_certificates (enrollment_id, student_id, partner_id, certificate_number, certificate_url)"
        " SELECT id, student_id, provider_id, 'N-1', 'https://partner.test/c/1' FROM partner_lms_enrollments"
    )
    speak("es", OTHER)
    for seat in seats * 2:
        ask(template, seat)
    sent = deliver()
    assert deliver() == []
    ana, ben = sorted(sent, key=lambda mail: mail["to"])
    assert (ana["to"], ben["to"]) == (["ana@example.com"], ["ben@example.com"])
    assert ana["subject"].startswith(f"{english}: ")
    assert ben["subject"].startswith(f"{spanish}: ")
    for mail, language in ((ana, "en"), (ben, "es")):
        check(mail, language, stops=template == "completed")
        assert "help@school.test" in mail["text"]
    assert "Hello Ana" in ana["text"]
    assert "Hola, Ben" in ben["text"]
    if template == "completed":
        assert "N-1" in ana["text"]
        assert "https://partner.test/c/1" in ana["html"]
    if template == "failed":
        assert seats[0][:8] in ana["text"], "the reference that staff ask for"
    if template in ("welcome", "restored"):
        assert f"https://school.test/api/partner-launch/{seats[0]}" in ana["text"]


def test_a_certificate_of_our_own_is_mailed_with_a_way_to_stop(deliver: Deliver) -> None:
    certificate = scalar(
        "INSERT INTO certificates (user_id, course_id, certificate_url, verification_code, name, course_title)"
        " VALUES (:u, :c, '/verify/AB', 'AB', 'Ana Silva', 'Learning') RETURNING id",
        u=STUDENT,
        c=demo.course_id("OWN-101"),
    )
    with transaction() as session:
        wanted = jobs.Enqueue("mail.send", f"certificate:{certificate}", "mail", str(certificate))
        jobs.enqueue(session, wanted)
    [mail] = deliver()
    assert mail["subject"] == "Your certificate: Learning"
    assert f"https://school.test/api/certificates/{certificate}/pdf" in mail["text"]
    assert "https://school.test/verify/AB" in mail["html"]
    check(mail, "en", stops=True)


def test_progress_mails_are_not_sent_to_whoever_ended_them_and_purchases_are(deliver: Deliver) -> None:
    seat = make_enrollment("completed")
    run("UPDATE users SET wants_progress_mail = false")
    ask("completed", seat)
    ask("welcome", seat)
    assert [mail["subject"].partition(":")[0] for mail in deliver()] == ["Your course is ready"]
    assert rows("SELECT DISTINCT state FROM jobs WHERE queue = 'mail'") == [("done",)]


def test_a_mail_that_is_not_true_any_more_is_not_sent(deliver: Deliver) -> None:
    seat = make_enrollment("failed")
    ask("failed", seat)
    run("UPDATE partner_lms_enrollments SET status = 'active'")
    assert deliver() == []
    assert rows("SELECT step FROM job_steps") == []


def test_a_mail_that_its_reader_does_not_want_never_begins(deliver: Deliver) -> None:
    seat = make_enrollment("completed")
    ask("completed", seat)
    run("UPDATE users SET wants_progress_mail = false")
    assert deliver() == []
    assert rows("SELECT step FROM job_steps") == []


def test_a_mail_that_is_true_begins_with_its_claim_and_is_sent_anew_after_a_crash(deliver: Deliver) -> None:
    seat = make_enrollment("active")
    ask("welcome", seat)
    [taken] = job_module._claim([[scalar("SELECT id::text FROM jobs")]])[0]
    assert taken.opened == "send"
    assert rows("SELECT step, state FROM job_steps") == [("send", "started")]
    # Whoever claimed it is gone; its lease ends.
    run("UPDATE jobs SET next_run_at = now()")
    assert len(deliver()) == 1
    assert rows("SELECT step, state FROM job_steps") == [("send", "done")]


def test_long_and_right_to_left_names_keep_headers_and_words_in_order(deliver: Deliver) -> None:
    run("UPDATE users SET name = :name WHERE id = :id", name=ARABIC, id=STUDENT)
    run("UPDATE partner_courses SET course_name = :name", name=f"{LONG}<b>&\n 🎓")
    ask("welcome", make_enrollment())
    [mail] = deliver()
    assert mail["subject"] == " ".join(f"Your course is ready: {LONG}<b>& 🎓".split())
    assert f"Hello \u2068{ARABIC}\u2069," in mail["text"]
    assert "<b>" not in mail["html"]
    assert "&lt;b&gt;&amp;" in mail["html"]
    assert "\n" not in mail["headers"]["subject"]


def test_an_address_or_name_never_becomes_a_header(deliver: Deliver) -> None:
    run("UPDATE users SET name = :name WHERE id = :id", name="Ana\r\nBcc: all@example.com", id=STUDENT)
    run("UPDATE partner_courses SET course_name = :name", name="A\r\nBcc: all@example.com")
    ask("welcome", make_enrollment())
    [mail] = deliver()
    assert mail["to"] == ["ana@example.com"]
    assert "bcc" not in mail["headers"]


def test_staff_hear_of_failures_once_for_each_partner_and_the_student_only_after_a_while(
    deliver: Deliver,
) -> None:
    seats = [make_enrollment("failed"), make_enrollment("failed", student=OTHER)]
    for seat in seats:
        run(
            "INSERT INTO partner_lms_enrollment_failures (enrollment_id, student_id, provider_id, step, error_code,"
            " error_message, final) SELECT id, student_id, provider_id, 'seat', 'refused', 'ana@example.com is known', true"
            " FROM partner_lms_enrollments WHERE id = :id",
            id=seat,
        )

    def take_turn() -> None:
        with transaction() as session:
            now = scalar("SELECT now()")
            mail_turns.tell_staff_of_failures(session)
            after: str | None = FIRST
            while after is not None:
                after = mail_turns.tell_of_failures(session, now, after, limit=1)

    take_turn()
    take_turn()
    [mail] = deliver()
    assert mail["to"] == ["office@school.test"]
    assert mail["subject"] == "[Usher] paid students of sandbox have no seat"
    assert "2 at seat (refused)" in mail["text"]
    assert "ana@example.com" not in mail["text"] + mail["html"]
    run("UPDATE partner_lms_enrollment_failures SET created_at = created_at - interval '61 minutes'")
    run("UPDATE partner_lms_enrollments SET status = 'active' WHERE id = :id", id=seats[0])
    take_turn()
    take_turn()
    assert [mail["to"] for mail in deliver()] == [["ben@example.com"]]
    run("UPDATE partner_lms_enrollment_failures SET resolved_at = now()")
    take_turn()
    assert deliver() == []


def test_a_completed_seat_is_told_with_its_certificate_once(deliver: Deliver) -> None:
    seat = make_enrollment("completed")
    for number in ("N-7", "N-8"):
        with transaction() as session:
            progress.save_certificate(
                session, seat, number=number, url=None, verification_url=None, issued_at=None, expires_at=None
            )
    [mail] = deliver()
    assert "N-8" in mail["text"]
    assert deliver() == []


# -- ending mails


def stop_path(mail: dict[str, Any]) -> str:
    return str(mail["headers"]["list-unsubscribe"].strip("<>").removeprefix("https://school.test"))


def test_one_post_ends_them_without_a_sign_in_and_a_look_does_not(
    deliver: Deliver, client: FlaskClient
) -> None:
    ask("completed", make_enrollment("completed"))
    [mail] = deliver()
    path = stop_path(mail)
    assert "End mails about your progress?" in client.get(path, headers=HTML).get_data(as_text=True)
    assert scalar("SELECT wants_progress_mail FROM users WHERE id = :id", id=STUDENT)
    click = client.post(
        path, data={"List-Unsubscribe": "One-Click"}, headers={"Origin": "https://mail.example"}
    )
    assert click.status_code == 200, "a mail program follows no redirect"
    assert rows(
        "SELECT wants_progress_mail FROM users WHERE id IN (:a, :b) ORDER BY email", a=STUDENT, b=OTHER
    ) == [
        (False,),
        (True,),
    ]
    again = client.post(path, headers=HTML)
    assert (again.status_code, again.location) == (303, f"{path}?done")
    assert "have ended" in client.get(again.location, headers=HTML).get_data(as_text=True)


def test_a_link_cannot_be_forged_and_survives_a_new_secret(
    deliver: Deliver, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("completed", make_enrollment("completed"))
    [mail] = deliver()
    path = stop_path(mail)
    token = path.rpartition("/")[2]
    payload, signature = token.rsplit(".", 1)
    theirs = mail_consent.make_token(OTHER, "progress").rsplit(".", 1)[0]
    for forged in (f"{theirs}.{signature}", f"{payload}.{signature[::-1]}", payload, "x", f"{token}x"):
        assert client.post(f"/mail/unsubscribe/{forged}").get_json()["code"] == "mail_link_invalid", forged
        assert client.get(f"/mail/unsubscribe/{forged}").status_code == 404
    assert scalar("SELECT bool_and(wants_progress_mail) FROM users")
    import settings as settings_module

    monkeypatch.setenv("AUTH_SECRET_1", "a-newer-secret-of-the-application")
    settings_module.get_settings.cache_clear()
    assert mail_consent.make_token(STUDENT, "progress") != token
    assert client.post(path).status_code == 303


# -- words


def test_every_text_has_its_spanish_with_the_same_values() -> None:
    keywords = {"_": None, "some": (1, 2)}
    found = {
        message if isinstance(message, tuple) else (message,)
        for _, message, _, _ in extract_from_file("python", mail_words.__file__, keywords=keywords)
    }
    with (mail_languages.CATALOGS / "es.po").open("rb") as file:
        catalog = read_po(file, locale="es", abort_invalid=True)
    kept = {
        (entry.id if isinstance(entry.id, tuple | list) else (entry.id,)): entry
        for entry in catalog
        if entry.id
    }
    assert {tuple(key) for key in kept} == found
    for key, entry in kept.items():
        said = entry.string if isinstance(entry.string, tuple) else (entry.string,)
        for one, other in zip(key, said, strict=True):
            assert other
            assert sorted(re.findall(r"%\(\w+\)s", one)) == sorted(re.findall(r"%\(\w+\)s", other)), key


def test_the_previews_show_every_mail_where_development_is_on(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = client.get("/dev/mails", headers=HTML).get_data(as_text=True)
    links = re.findall(r'href="(/dev/mails/\w+/\w+)"', page)
    assert len(links) == len(mail_words.LETTERS) * 2
    for link in links:
        answer = client.get(link)
        assert answer.status_code == 200
        assert "script-src" not in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert client.get("/dev/mails/nothing/en").status_code == 404
    import settings as settings_module

    monkeypatch.setenv("DEV_SIGN_IN", "false")
    settings_module.get_settings.cache_clear()
    assert client.get("/dev/mails").status_code == 404
    assert client.get(links[0]).status_code == 404


def test_a_mail_to_staff_has_both_parts(deliver: Deliver) -> None:
    with transaction() as session:
        alerts.tell_staff(session, "partner_paused:sandbox")
    [mail] = deliver()
    assert mail["subject"] == "[Usher] sandbox is paused"
    check(mail, "en", stops=False)
    assert "usher partner resume sandbox" in mail["text"]
    assert "usher partner resume sandbox" in mail["html"]
