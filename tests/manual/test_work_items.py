"""What people do by hand: from the payment to the certificate, and back."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from db.session import transaction
from domain import alerts as domain_alerts
from domain import enrollments, manual_progress, manual_work, ops_view, progress
from domain.errors import NotPossible
from domain.manual_work import Done
from tests.api.conftest import HTML, bearer
from tests.cli.conftest import Usher
from tests.manual.conftest import Shop, alerts, items, open_item, status_of, student_of, work_off
from tests.manual.test_vouchers import OPS, launch, repaid
from tests.stack import rows, scalar

ITEMS = "/api/ops/manual/items"


def finish(seat: str, **done: str) -> None:
    """Complete the open item of an enrolment, and let its walk go on."""
    with transaction() as session:
        manual_work.complete(session, open_item(seat), Done("order 4711", **done), actor=OPS)
    work_off()


def own(client: FlaskClient, seat: str) -> dict[str, object]:
    """Return what the student reads of the enrolment."""
    email = scalar("SELECT email FROM users WHERE id = :id", id=student_of(seat))
    [found] = client.get("/api/student/partner-enrollments", headers=bearer(subject=email)).get_json()["data"]
    return dict(found)


def test_from_the_payment_to_the_certificate(
    office: Shop, client: FlaskClient, usher: Usher, tmp_path: object
) -> None:
    seat = office.buy_one()
    assert (status_of(seat), items(seat)) == ("pending", [("set_up", "by_hand", "open")])
    assert rows("SELECT state, attempts, last_error FROM jobs WHERE kind = 'enrollment.walk'") == [
        ("done", 0, None)
    ]
    ops = bearer("ops", OPS)
    [listed] = client.get(ITEMS, headers=ops).get_json()["data"]
    path = f"{ITEMS}/{listed['id']}/complete"
    body = {"note": "order 4711", "accountId": "acc-1", "enrollmentId": "seat-1", "accessCode": "PIN-99"}
    headers = {**ops, "If-Match": '"1"', "Idempotency-Key": "done-1"}
    answers = [client.post(path, json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].get_json()["state"] == "done"
    work_off()
    assert rows(
        "SELECT status, external_account_id, external_enrollment_id FROM partner_lms_enrollments"
    ) == [("active", "acc-1", "seat-1")]
    assert scalar("SELECT count(*) FROM jobs WHERE business_key LIKE 'welcome:%'") == 1
    assert "PIN-99" in launch(client, seat)

    file = f"{tmp_path}/progress.csv"
    with open(file, "w") as out:
        out.write(
            "enrollment_id,percentage,completed_at,certificate_number,certificate_url,certificate_expires\n"
            f"{seat},100,2026-11-01,CERT-7,https://cima.example/c/7,2028-11-01\n"
        )
    call = ("manual", "import", file, "--partner", "cima", "--actor", OPS, "--json")
    assert usher(*call).json()["written"] is False
    # There is nothing to pull, and nobody says that there was.
    with transaction() as session:
        progress.ask_sync(session, office.provider, "cima")
    work_off("progress.sync")
    assert own(client, seat)["lastSyncedAt"] is None
    assert status_of(seat) == "active"
    assert usher(*call, "--go").json() == {
        "rows": 1,
        "left_out": 0,
        "written": True,
        "changed": 1,
        "certificates": 1,
    }
    work_off()
    assert status_of(seat) == "completed"
    assert rows("SELECT certificate_number, certificate_url FROM partner_certificates") == [
        ("CERT-7", "https://cima.example/c/7")
    ]
    assert rows("SELECT kind, amount, source_type FROM xp_transactions") == [
        ("award", 200, "PARTNER_ENROLLMENT")
    ]
    shown = own(client, seat)
    assert shown["lastSyncedAt"] is not None
    assert (shown["status"], shown["certificate"]["number"]) == ("completed", "CERT-7")  # type: ignore[index]
    # The same file again changes nothing.
    assert usher(*call, "--go").json()["changed"] == 0
    work_off()
    assert scalar("SELECT count(*) FROM xp_transactions") == 1
    assert rows("SELECT action, actor FROM staff_actions ORDER BY created_at") == [
        ("manual.complete", OPS),
        ("manual.import", OPS),
        ("manual.import", OPS),
    ]
    assert "PIN-99" not in str(rows("SELECT * FROM staff_actions")) + str(
        rows("SELECT * FROM manual_work_items")
    )
    assert "PIN-99" not in str(rows("SELECT * FROM idempotency_keys"))


def test_the_student_is_told_that_a_person_does_it(office: Shop, client: FlaskClient) -> None:
    seat = office.buy_one()
    shown = own(client, seat)
    assert (shown["status"], shown["launchUrl"]) == ("pending", None)
    assert shown["manualSetup"]["usualHours"] == 48  # type: ignore[index]
    email = scalar("SELECT email FROM users WHERE id = :id", id=student_of(seat))
    page = client.get("/dashboard", headers={**bearer(subject=email), **HTML}).get_data(as_text=True)
    assert "A person at our office is setting your place up" in page
    assert "up to 2 days" in page
    answer = client.get(f"/api/partner-launch/{seat}", headers=bearer(subject=email))
    assert (answer.status_code, answer.get_json()["code"]) == (409, "enrollment_pending")
    assert "a person is setting your place up" in answer.get_json()["detail"]
    for told in (page, answer.get_data(as_text=True)):
        assert "minute" not in told
    finish(seat)
    assert own(client, seat)["manualSetup"] is None
    # Nothing was given beside the website: a redirect.
    answer = client.get(f"/api/partner-launch/{seat}", headers=bearer(subject=email))
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://cima.example/login")
    assert scalar("SELECT external_enrollment_id FROM partner_lms_enrollments") == f"usher-{seat}"


def test_staff_hear_of_work_once_while_some_is_open(office: Shop) -> None:
    seats = [office.buy_one() for _ in range(3)]
    assert alerts() == ["manual_work"]
    with transaction() as session:
        key = scalar("SELECT business_key FROM jobs WHERE kind = 'mail.staff'")
        subject, body = domain_alerts.compose(session, key)
    assert subject == "cima has work for a person"
    assert "Open at this partner now: 3." in body
    for seat in seats:
        finish(seat)
    office.buy_one()
    assert alerts() == ["manual_work"] * 2


def test_a_walk_that_comes_again_opens_no_second_item(office: Shop) -> None:
    seat = office.buy_one()
    for _ in range(3):
        with transaction() as session:
            enrollments.start_walk(session, enrollments.load(session, seat))
        work_off()
    assert items(seat) == [("set_up", "by_hand", "open")]


def test_a_refund_before_anybody_acted_cancels_the_item(office: Shop) -> None:
    seat = office.buy_one()
    item = open_item(seat)
    office.refund(seat)
    assert (status_of(seat), items(seat)) == ("revoked", [("set_up", "by_hand", "cancelled")])
    with transaction() as session, pytest.raises(NotPossible):
        manual_work.complete(session, item, Done("too late"), actor=OPS)
    # Paid again, it is work again.
    office.arrive(repaid(seat))
    work_off()
    assert (status_of(seat), items(seat)) == (
        "pending",
        [("set_up", "by_hand", "cancelled"), ("set_up", "by_hand", "open")],
    )


def test_a_refund_that_staff_are_faster_than_is_not_overtaken(office: Shop) -> None:
    """The money is back and the walk has not looked yet: completing must not open the seat."""
    seat = office.buy_one()
    with transaction() as session:
        enrollments.revoke(session, enrollments.lock(session, seat))
    with transaction() as session, pytest.raises(NotPossible):
        manual_work.complete(session, open_item(seat), Done("done"), actor=OPS)
    work_off()
    assert (status_of(seat), items(seat)) == ("revoked", [("set_up", "by_hand", "cancelled")])


def test_a_refund_of_a_seat_that_was_set_up_has_it_given_back(office: Shop) -> None:
    seat = office.buy_one()
    finish(seat, enrollment_id="seat-9")
    office.refund(seat)
    assert items(seat) == [("set_up", "by_hand", "done"), ("give_back", "seat", "open")]
    assert rows("SELECT status, released_at FROM partner_lms_enrollments") == [("revoked", None)]
    assert rows("SELECT state, last_error FROM jobs WHERE kind = 'enrollment.walk'") == [("done", None)]
    finish(seat)
    with transaction() as session:
        timeline = [(row["what"], row["state"]) for row in ops_view.timeline(session, seat)]
    assert [found for found in timeline if found[0].startswith("work item")] == [
        ("work item set_up", "done"),
        ("work item give_back", "done"),
    ]
    assert scalar("SELECT released_at IS NOT NULL FROM partner_lms_enrollments")
    assert items(seat)[1] == ("give_back", "seat", "done")


def test_a_seat_that_is_paid_again_before_it_was_given_back_stays(office: Shop) -> None:
    seat = office.buy_one()
    finish(seat, enrollment_id="seat-9")
    office.refund(seat)
    office.arrive(repaid(seat))
    work_off()
    assert items(seat) == [("set_up", "by_hand", "done"), ("give_back", "seat", "cancelled")]
    assert rows("SELECT status, external_enrollment_id FROM partner_lms_enrollments") == [
        ("active", "seat-9")
    ]


def test_a_dispute_stops_the_work_and_winning_it_starts_it_again(office: Shop) -> None:
    seat = office.buy_one()
    office.dispute(seat, "needs_response")
    assert (status_of(seat), items(seat)) == ("suspended", [("set_up", "by_hand", "cancelled")])
    office.dispute(seat, "won")
    assert status_of(seat) == "pending"
    assert items(seat)[1:] == [("set_up", "by_hand", "open")]


def test_a_refusal_fails_the_enrolment_and_a_retry_opens_the_item_again(office: Shop, usher: Usher) -> None:
    seat = office.buy_one()
    item = open_item(seat)
    assert usher("manual", "refuse", item, "--reason", "the class is full", "--actor", OPS).code == 0
    assert rows("SELECT status, failure_reason FROM partner_lms_enrollments") == [
        ("failed", "the class is full")
    ]
    assert rows("SELECT error_code, final FROM partner_lms_enrollment_failures") == [
        ("refused_by_staff", True)
    ]
    assert usher("manual", "refuse", item, "--reason", "again", "--actor", OPS).code == 1
    assert usher("failures", "retry", seat).code == 0
    work_off()
    assert (status_of(seat), open_item(seat)) == ("pending", item)
    done = ("--note", "found a place", "--enrollment-id", "seat-1", "--actor", OPS)
    assert usher("manual", "complete", item, *done).code == 0
    work_off()
    assert status_of(seat) == "active"
    assert scalar("SELECT count(*) FROM partner_lms_enrollment_failures WHERE resolved_at IS NULL") == 0


def test_the_routes_keep_to_versions_roles_and_ids(office: Shop, client: FlaskClient) -> None:
    first, second = office.buy_one(), office.buy_one()
    ops, student = bearer("ops", OPS), bearer(subject="somebody@example.com")
    path = f"{ITEMS}/{open_item(first)}"
    assert client.get(path, headers=ops).headers["ETag"] == '"1"'
    body = {"note": "done", "enrollmentId": "seat-1"}
    for headers, code in (
        ({}, 428),
        ({"If-Match": '"7"'}, 412),
        ({"If-Match": '"1"'}, 200),
        ({"If-Match": '"2"'}, 409),
    ):
        assert client.post(f"{path}/complete", json=body, headers={**ops, **headers}).status_code == code, (
            headers
        )
    taken = client.post(
        f"{ITEMS}/{open_item(second)}/complete", json=body, headers={**ops, "If-Match": '"1"'}
    )
    assert (taken.status_code, taken.get_json()["code"]) == (409, "seat_id_taken")
    assert (status_of(second), items(second)) == ("pending", [("set_up", "by_hand", "open")])
    refused = client.post(
        f"{ITEMS}/{open_item(second)}/refuse", json={"reason": "no"}, headers={**ops, "If-Match": '"1"'}
    )
    assert refused.get_json()["state"] == "refused"
    assert client.get(f"{ITEMS}/nothing", headers=ops).get_json()["code"] == "work_item_not_found"
    page = client.get(f"{ITEMS}?limit=1&partner=cima&kind=set_up", headers=ops).get_json()
    rest = client.get(f"{ITEMS}?limit=1&cursor={page['next_cursor']}", headers=ops).get_json()
    assert [item["enrollmentId"] for item in (*page["data"], *rest["data"])] == [second, first]
    assert (page["has_more"], rest["has_more"]) == (True, False)
    assert client.get(f"{ITEMS}?state=open", headers=ops).get_json()["data"] == []
    for method, where in (
        ("get", ITEMS),
        ("get", path),
        ("post", f"{path}/complete"),
        ("post", f"{path}/refuse"),
        ("post", "/api/ops/manual/exports"),
        ("post", "/api/ops/manual/progress"),
        ("get", "/api/ops/voucher-pools"),
        ("get", "/api/ops/vouchers"),
        ("post", "/api/ops/vouchers"),
        ("post", "/api/ops/vouchers/x/retire"),
    ):
        answer = client.open(where, method=method, headers=student, json={} if method == "post" else None)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "wrong_role"), where


def test_progress_that_was_imported_is_taken_back_with_the_money(office: Shop) -> None:
    seat = office.buy_one()
    finish(seat)
    with transaction() as session:
        file = f"enrollment_id,completed_at\n{seat},2026-11-01"
        planned = manual_progress.plan(session, "cima", file, scalar("SELECT now()"))
        manual_progress.write(session, "cima", planned.entries)
    work_off()
    office.refund(seat)
    work_off()
    assert status_of(seat) == "revoked"
    assert scalar("SELECT sum(amount) FROM xp_transactions") == 0
