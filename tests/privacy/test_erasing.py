"""An erasure that is stopped goes on; who is erased stays so; what staff look up is written down."""

from __future__ import annotations

import io
import uuid
import zipfile
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.session import transaction
from domain import identities, mails, privacy_accounts, privacy_erase, privacy_stages
from domain.errors import NoLongerWanted
from domain.identities import Person
from domain.privacy_words import MARK, mask_payload, pattern, replace
from tests.api.conftest import make_enrollment, run
from tests.cli.conftest import Usher
from tests.privacy.conftest import (
    Somebody,
    find,
    learn,
    make_course,
    paid,
    places,
    post_event,
    staff,
    state_of,
    talk,
)
from tests.stack import rows, scalar
from tests.xp.conftest import assert_proven

FOLLOWED = ("payments.process", "xp.after_award", "gamification.settle", "certificates.issue")


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def erasure(client: FlaskClient, who: Somebody, **body: Any) -> Any:
    path = f"/api/ops/users/{who.id}/erasure"
    return client.post(path, json={"reason": "asked", **body}, headers=staff())


def test_one_that_is_stopped_goes_on(
    client: FlaskClient, erika: Somebody, work_off: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(client, erika, *make_course(client))
    talk(client, erika)
    work_off(*FOLLOWED)
    assert erasure(client, erika).status_code == 202
    monkeypatch.setattr(privacy_stages, "BATCH", 1)
    wanted, calls = privacy_stages.change_batch, []

    def stop_after_some(*arguments: Any) -> int:
        calls.append(arguments)
        if len(calls) > 4:
            raise ConnectionResetError("stopped in the middle of a batch")
        return wanted(*arguments)

    monkeypatch.setattr(privacy_stages, "change_batch", stop_after_some)
    work_off("privacy.erase")
    assert state_of(erika) is None
    came = scalar("SELECT stage FROM erasures")
    assert came not in ("", "done")
    assert scalar("SELECT email FROM users WHERE id = :i", i=erika.id).startswith("erased-"), "at once"
    monkeypatch.setattr(privacy_stages, "change_batch", wanted)
    run("UPDATE jobs SET next_run_at = now() WHERE kind = 'privacy.erase'")
    work_off("privacy.erase")
    assert state_of(erika) is not None
    assert places(erika.canaries) == set()
    assert_proven()


def test_a_course_that_is_paid_for_is_in_the_way(client: FlaskClient, erika: Somebody) -> None:
    seat = make_enrollment("active", erika.id)
    assert code(erasure(client, erika)) == (409, "erasure_blocked")
    assert scalar("SELECT email FROM users WHERE id = :i", i=erika.id) == erika.email
    run("UPDATE partner_lms_enrollments SET status = 'completed' WHERE id = :id", id=seat)
    shown = client.get(f"/api/ops/users/{erika.id}/erasure", headers=staff()).get_json()
    assert (shown["blocks"], shown["finishedAt"], shown["askedAt"]) == ([], None, None)
    assert {"table": "users", "rows": 1, "fate": "masked"}.items() <= shown["lines"][0].items()
    assert erasure(client, erika).status_code == 202


def test_a_payment_that_waits_is_in_the_way(client: FlaskClient, erika: Somebody, jerika: Somebody) -> None:
    run(
        "INSERT INTO inbox_events (source, external_id, type, payload, state)"
        " VALUES ('stripe', 'evt_w', 'checkout.session.completed', :payload, 'waiting')",
        payload=b'{"data": {"object": {"customer_email": "' + jerika.email.encode() + b'"}}}',
    )
    with transaction() as session:
        assert privacy_erase.find_blocks(session, find(erika)) == [], "her address only ends the other's"
        [block] = privacy_erase.find_blocks(session, find(jerika))
    assert "evt_w waits" in block


def test_force_revokes_the_seat_and_nobody_takes_it_again(
    client: FlaskClient, erika: Somebody, work_off: Any
) -> None:
    post_event(client, paid(erika))
    work_off("payments.process")
    seat = str(scalar("SELECT id FROM partner_lms_enrollments WHERE student_id = :i", i=erika.id))
    assert erasure(client, erika, force=True).status_code == 202
    work_off("privacy.erase")
    assert scalar("SELECT status FROM partner_lms_enrollments") == "revoked"
    post_event(client, paid(erika))
    work_off("payments.process")
    assert rows("SELECT status, failure_reason IS NULL FROM partner_lms_enrollments") == [("failed", False)]
    assert scalar(
        "SELECT error_code FROM partner_lms_enrollment_failures ORDER BY created_at DESC LIMIT 1"
    ) == ("student_erased")
    with transaction() as session, pytest.raises(NoLongerWanted, match="erased"):
        mails.compose(session, f"failed:{seat}:2", seat, app_url="http://x", support_email=None)


def test_who_is_erased_is_nobody_to_sign_in_as(client: FlaskClient, erika: Somebody, work_off: Any) -> None:
    headers = erika.headers
    assert client.get("/api/me", headers=headers).status_code == 200
    assert erasure(client, erika).status_code == 202
    assert code(client.get("/api/me", headers=headers)) == (401, "not_signed_in")
    answer = client.put(f"/api/users/{erika.id}", json={"email": erika.email}, headers=staff())
    assert code(answer) == (409, "user_erased")
    # Supabase's subjects are users' ids.
    with transaction() as session:
        again = identities.sign_in(session, Person("supabase", erika.id, erika.email, True, erika.name))
    assert again not in (None, erika.id)
    work_off("privacy.erase")
    assert scalar("SELECT email FROM users WHERE id = :i", i=again) == erika.email


def test_certificates_stay_without_a_name_or_are_revoked(
    client: FlaskClient, erika: Somebody, jerika: Somebody, work_off: Any
) -> None:
    quiz = make_course(client)
    for who in (erika, jerika):
        learn(client, who, *quiz)
    work_off("xp.after_award", "certificates.issue")
    assert scalar("SELECT count(*) FROM certificates WHERE status = 'valid'") == 2
    assert erasure(client, erika).status_code == 202
    assert erasure(client, jerika, revokeCertificates=True).status_code == 202
    work_off("privacy.erase")
    told = rows("SELECT user_id::text, status, name FROM certificates")
    assert sorted(told) == sorted([(erika.id, "valid", ""), (jerika.id, "revoked", "")])
    number = scalar("SELECT verification_code FROM certificates WHERE user_id = :i", i=erika.id)
    assert client.get(f"/verify/{number}").status_code == 200


def test_a_partner_that_cannot_erase_is_for_a_person(
    client: FlaskClient, erika: Somebody, usher: Usher, work_off: Any
) -> None:
    make_enrollment("completed", erika.id, external_account_id="acc-1")
    run("UPDATE partner_lms_providers SET provider_type = 'nobody'")
    assert erasure(client, erika).status_code == 202
    work_off("privacy.erase")
    [account] = usher("privacy", "accounts", "--json").json()
    assert (account["state"], account["account_id"]) == ("by_hand", "acc-1")
    done = ("--actor", "a@b.example", "--reason", "their mail of today")
    assert usher("privacy", "account-gone", account["id"], *done).code == 0
    assert usher("privacy", "account-gone", account["id"], *done).code == 1
    assert rows("SELECT state, account_id, closed_by FROM erasure_accounts") == [
        ("gone", None, "a@b.example")
    ]
    with transaction() as session:
        assert privacy_accounts.list_open(session) == []


def test_the_command_line(client: FlaskClient, erika: Somebody, usher: Usher, tmp_path: Any) -> None:
    into = tmp_path / "erika.zip"
    actor = ("--actor", "boss@example.com")
    assert usher("privacy", "export", erika.email, "--into", str(into), *actor).code == 0
    assert (into.stat().st_mode & 0o777) == 0o600
    assert "tables/users.json" in zipfile.ZipFile(into).namelist()
    assert usher("privacy", "export", erika.email, "--into", str(into), *actor).code == 2, "it exists"
    assert usher("privacy", "export", "nobody@example.com", "--into", f"{into}2", *actor).code == 1
    assert usher("privacy", "erase", erika.email, "--go").code == 2
    assert usher("privacy", "status", erika.id).code == 1
    assert usher("privacy", "register").out.startswith("| table |")
    assert scalar("SELECT detail ->> 'where' FROM staff_actions WHERE subject_id = :i", i=erika.id) == (
        "usher privacy export"
    )


def test_one_exports_oneself_and_staff_anybody(
    client: FlaskClient, erika: Somebody, jerika: Somebody
) -> None:
    for path, headers in (("/api/me/export", erika.headers), (f"/api/ops/users/{erika.id}/export", staff())):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.mimetype) == (200, "application/zip")
        told = zipfile.ZipFile(io.BytesIO(answer.data)).read("tables/users.json").decode()
        assert erika.email in told
        assert jerika.email not in told
    assert client.get(f"/api/ops/users/{erika.id}/export", headers=jerika.headers).status_code == 403
    assert code(client.get(f"/api/ops/users/{uuid.uuid4()}/export", headers=staff())) == (
        404,
        "user_not_found",
    )


def test_what_staff_look_up_is_written_down(client: FlaskClient, erika: Somebody, jerika: Somebody) -> None:
    seat = make_enrollment("active", erika.id)
    quiz, assignment = make_course(client)
    for who in (erika, jerika):
        learn(client, who, quiz, assignment)
    run("DELETE FROM staff_actions")
    submission = scalar("SELECT id FROM assignment_submissions WHERE user_id = :i", i=erika.id)
    paths = {
        f"/api/ops/submissions/{submission}": "/api/ops/submissions/<submission_id>",
        f"/ops/enrollments/{seat}": "/ops/enrollments/<enrollment_id>",
        "/api/ops/submissions?state=graded": "/api/ops/submissions",
    }
    for path, route in paths.items():
        run("DELETE FROM staff_actions")
        answer = client.get(path, headers=staff())
        assert answer.status_code == 200, path
        found = rows("SELECT actor, action, subject_type, subject_id, detail ->> 'where' FROM staff_actions")
        expected = ("staff@example.com", "privacy.look_up", "user", erika.id, f"GET {route}")
        assert expected in found
        assert {row[3] for row in found} == ({erika.id, jerika.id} if "?" in path else {erika.id})
    run("DELETE FROM staff_actions")
    client.get("/api/me", headers=erika.headers)
    client.get(f"/api/ops/submissions/{uuid.uuid4()}", headers=staff())
    assert rows("SELECT 1 FROM staff_actions") == [], "one's own data, and what does not exist"


def test_words_are_taken_out_where_they_stand_alone() -> None:
    words = pattern(["ana@example.com"], ["Ana Silva"])
    given = {"a": ["to ana@example.com.", "joana@example.com", "Ana%20 ana%40example.com"], "Ana Silva": 1}
    assert replace(given, words) == {
        "a": [f"to {MARK}.", "joana@example.com", f"Ana%20 {MARK}"],
        MARK: 1,
    }


def test_a_masked_event_keeps_ids_amounts_and_times() -> None:
    payload = (
        b'{"id": "evt_1", "created": 17, "data": {"object": {"id": "cs_test_1", "amount_total": 5, "currency": "usd",'
        b' "customer": "cus_1", "customer_details": {"email": "a@b.example"}, "metadata": {"studentId":'
        b' "3f0c8a52-1111-4222-8333-944445555666", "note": "for Ana", "a@b.example": "x_y"}, "client_reference_id": "Ana"}}}'
    )
    masked = mask_payload(payload)
    assert mask_payload(masked) == masked
    assert masked == (
        b'{"id": "evt_1", "created": 17, "data": {"object": {"id": "cs_test_1", "amount_total": 5, "currency": "usd",'
        b' "customer": "cus_1", "customer_details": null, "metadata": {"studentId":'
        b' "3f0c8a52-1111-4222-8333-944445555666", "note": null}, "client_reference_id": null}}}'
    )
    assert mask_payload(b"\xff") == b"{}"
