"""Pools of vouchers: one code to one enrolment, whatever happens, and told to nobody else."""

from __future__ import annotations

import signal

import pytest
from flask.testing import FlaskClient

from db import jobs
from db.jobs import LeaseLost
from db.session import transaction
from domain import alerts as domain_alerts
from domain import enrollments, manual_work, resealing, secrets, vouchers
from domain.errors import NotPossible
from domain.manual_work import Way
from settings import get_settings
from tests.api.conftest import HTML, bearer, tap_logs
from tests.cli.conftest import Usher
from tests.e2e.test_canaries import found_in_database
from tests.faults.crasher import work_off as work_off_elsewhere
from tests.manual.conftest import (
    PAY,
    WALK,
    Shop,
    alerts,
    enrollment_of,
    items,
    open_item,
    status_of,
    student_of,
    work_off,
)
from tests.stack import make_students, rows, scalar, statuses
from workers.job import JobRun

CODES = [f"CODE-{number:04}" for number in range(200)]
POINTS = ("before begin seat", "before call seat", "after call seat", "before complete")
OPS = "ops@example.com"


def held() -> list[tuple[str, str]]:
    """Return (enrolment, code) of every voucher that is somebody's."""
    found = rows("SELECT enrollment_id, sealed_code FROM vouchers WHERE enrollment_id IS NOT NULL")
    return [(str(enrollment), secrets.unseal(sealed)) for enrollment, sealed in found]


def code_of(enrollment: str) -> str:
    """Return the code that an enrolment holds."""
    [code] = [code for owner, code in held() if owner == enrollment]
    return code


def launch(client: FlaskClient, enrollment: str, student: str | None = None) -> str:
    """Open the launch of an enrolment as its student, or as another; return the page."""
    email = scalar("SELECT email FROM users WHERE id = :id", id=student or student_of(enrollment))
    answer = client.get(f"/api/partner-launch/{enrollment}", headers={**bearer(subject=email), **HTML})
    return answer.get_data(as_text=True)


def test_two_hundred_payments_at_once_on_a_pool_of_one_hundred_and_fifty(pool: Shop) -> None:
    pool.add(*CODES[:150])
    students = make_students(200)
    pool.buy(students)
    work_off(PAY, WALK, threads=12)

    assert statuses() == {"active": 150, "pending": 50}
    assert len({enrollment for enrollment, _ in held()}) == 150
    assert {code for _, code in held()} == set(CODES[:150])
    # Low once, then empty once, however many found it so.
    assert sorted(alerts()) == ["vouchers_empty", "vouchers_low"]
    assert (
        scalar("SELECT count(*) FROM jobs WHERE kind = 'mail.send' AND business_key LIKE 'welcome:%'") == 150
    )
    # Those who wait failed at nothing: their jobs are done, and no attempt was counted.
    assert rows("SELECT DISTINCT state, attempts FROM jobs WHERE kind = 'enrollment.walk'") == [("done", 0)]
    assert scalar("SELECT count(*) FROM partner_lms_enrollment_failures") == 0
    waiting = rows(
        "SELECT i.kind, i.cause, e.status FROM manual_work_items i JOIN partner_lms_enrollments e ON e.id = i.enrollment_id"
        " WHERE i.state = 'open'"
    )
    assert waiting == [("set_up", "no_voucher", "pending")] * 50

    assert pool.add(*CODES[150:]) == (50, 50)
    work_off(WALK, threads=12)
    assert statuses() == {"active": 200}
    assert len(held()) == len({code for _, code in held()}) == 200
    assert scalar("SELECT count(*) FROM manual_work_items WHERE state = 'open'") == 0
    assert rows(
        "SELECT count(*) FROM partner_lms_enrollments e JOIN vouchers v ON v.enrollment_id = e.id"
        " AND v.id::text = e.external_enrollment_id"
    ) == [(200,)]
    assert (
        scalar("SELECT count(*) FROM jobs WHERE kind = 'mail.send' AND business_key LIKE 'welcome:%'") == 200
    )
    assert sorted(alerts()) == ["vouchers_empty", "vouchers_low"]


def test_a_worker_that_is_killed_with_a_voucher_in_hand_takes_no_second_one(
    pool: Shop, by_hand: dict[str, str]
) -> None:
    pool.add(*CODES[: len(POINTS) + 3])
    students = make_students(len(POINTS))
    for student, point in zip(students, POINTS, strict=True):
        pool.buy([student])
        work_off(PAY)
        assert work_off_elsewhere([WALK], {**by_hand, "CRASH_AT": point}, 5) == -signal.SIGKILL, point
    assert len(held()) == len(POINTS)
    assert statuses() == {"pending": len(POINTS)}

    # The leases of the dead end.
    rows("UPDATE jobs SET next_run_at = now() WHERE state = 'running' RETURNING 1")
    work_off(WALK)
    assert statuses() == {"active": len(POINTS)}
    assert len({code for _, code in held()}) == len(held()) == len(POINTS)
    assert scalar("SELECT count(*) FROM vouchers WHERE enrollment_id IS NULL") == 3


def test_a_worker_that_was_frozen_takes_nothing_after_its_claim_was_lost(pool: Shop) -> None:
    pool.add(*CODES[:3])
    [student] = make_students(1)
    pool.buy([student])
    work_off(PAY)

    def claim() -> jobs.Claim:
        with transaction() as session:
            found = jobs.claim_due(session, [WALK], owner="test", lease=0.0)
        assert found is not None
        return found

    frozen, _other = claim(), claim()
    run = JobRun(frozen, {}, get_settings())
    enrollment = run.read(lambda session: enrollments.load(session, frozen.subject_id))
    with pytest.raises(LeaseLost):
        run.checkpoint(lambda session: manual_work.set_up(session, enrollment, Way(True, 24)))
    assert held() == []


def test_a_voucher_that_nobody_saw_goes_back_and_to_who_waits(pool: Shop) -> None:
    pool.add("ONLY-ONE")
    first = pool.buy_one()
    second = pool.buy_one()
    assert (status_of(first), status_of(second)) == ("active", "pending")
    pool.refund(first)
    work_off()
    assert (status_of(first), status_of(second)) == ("revoked", "active")
    assert held() == [(second, "ONLY-ONE")]
    assert items(first) == []
    assert rows("SELECT released_at IS NOT NULL FROM partner_lms_enrollments WHERE id = :id", id=first) == [
        (True,)
    ]


def test_a_voucher_that_was_seen_stays_used_and_staff_are_asked(pool: Shop, client: FlaskClient) -> None:
    pool.add("SEEN-ONE")
    seat = pool.buy_one()
    assert "SEEN-ONE" in launch(client, seat)
    pool.refund(seat)
    assert items(seat) == [("give_back", "voucher", "open")]
    assert held() == [(seat, "SEEN-ONE")]
    # Nobody sees it while the money is back, not even its student.
    assert "SEEN-ONE" not in launch(client, seat)
    with transaction() as session:
        manual_work.complete(session, open_item(seat), manual_work.Done("blocked at the partner"), actor=OPS)
    # Bought again, it is another seat with another code.
    pool.add("FRESH-TWO")
    pool.buy([student_of(seat)])
    pool.arrive(repaid(seat))
    work_off()
    assert status_of(seat) == "active"
    assert sorted(held()) == sorted([(seat, "SEEN-ONE"), (seat, "FRESH-TWO")])
    assert "FRESH-TWO" in launch(client, seat)
    assert rows("SELECT count(*) FROM vouchers WHERE spent_at IS NOT NULL") == [(1,)]


def repaid(seat: str) -> bytes:
    """Return a second payment of the same student, whose first one went back."""
    from tests.stack import checkout_event, order

    student = student_of(seat)
    provider, course = rows(
        "SELECT provider_id, course_id FROM partner_lms_enrollments WHERE id = :id", id=seat
    )[0]
    return checkout_event(order(student, str(provider), str(course)), payment_intent=f"pi_again_{student}")


def test_a_seat_that_is_restored_before_anybody_acted_keeps_its_code(pool: Shop, client: FlaskClient) -> None:
    pool.add("MINE-1", "OTHER-2")
    seat = pool.buy_one()
    mine = code_of(seat)
    assert mine in launch(client, seat)
    pool.refund(seat)
    pool.arrive(repaid(seat))
    work_off()
    assert status_of(seat) == "active"
    assert held() == [(seat, mine)]
    assert items(seat) == [("give_back", "voucher", "cancelled")]


def test_a_dispute_closes_the_page_and_winning_it_opens_the_same_code_again(
    pool: Shop, client: FlaskClient
) -> None:
    pool.add("MINE-1", "OTHER-2")
    seat = pool.buy_one()
    mine = code_of(seat)
    assert mine in launch(client, seat)
    pool.dispute(seat, "needs_response")
    assert status_of(seat) == "suspended"
    assert mine not in launch(client, seat)
    pool.dispute(seat, "won")
    assert status_of(seat) == "active"
    assert mine in launch(client, seat)
    assert held() == [(seat, mine)]


def test_a_code_is_its_students_alone(pool: Shop, client: FlaskClient) -> None:
    pool.add("FIRST-CODE", "SECOND-CODE")
    mine, theirs = pool.buy_one(), pool.buy_one()
    assert code_of(mine) in launch(client, mine)
    assert code_of(theirs) in launch(client, theirs)
    other = launch(client, theirs, student_of(mine))
    assert code_of(theirs) not in other
    assert "not_your_enrollment" in other
    assert client.get(f"/api/partner-launch/{mine}").status_code == 401
    with transaction() as session:
        assert vouchers.show(session, theirs, student_of(mine)) is None
    mail = {"Authorization": bearer(subject="nobody@example.com")["Authorization"]}
    assert client.get(f"/api/partner-launch/{mine}", headers=mail).status_code == 403


def test_the_page_has_code_instructions_and_an_end_and_is_kept_nowhere(
    pool: Shop, client: FlaskClient
) -> None:
    pool.add("<b>CODE</b>")
    seat = pool.buy_one()
    email = scalar("SELECT email FROM users WHERE id = :id", id=student_of(seat))
    answer = client.get(f"/api/partner-launch/{seat}", headers={**bearer(subject=email), **HTML})
    page = answer.get_data(as_text=True)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert "&lt;b&gt;CODE&lt;/b&gt;" in page
    assert "enter the code" in page
    assert "Use it by" in page
    assert 'href="https://careersafe.example"' in page


def test_staff_see_a_code_only_with_a_reason_that_is_kept(pool: Shop, client: FlaskClient) -> None:
    pool.add("SECRET-1", "SECRET-2")
    pool.buy_one()
    taken = str(scalar("SELECT id FROM vouchers WHERE enrollment_id IS NOT NULL"))
    free = str(scalar("SELECT id FROM vouchers WHERE enrollment_id IS NULL"))
    ops, student = bearer("ops", OPS), bearer(subject="student@example.com")
    path = "/api/ops/vouchers/{}/reveal"
    assert client.post(path.format(taken), json={}, headers=ops).status_code == 422
    assert client.post(path.format(taken), json={"reason": "x"}, headers=student).status_code == 403
    answer = client.post(
        path.format(taken), json={"reason": "lost the mail"}, headers={**ops, "Idempotency-Key": "k"}
    )
    assert answer.get_json()["code"] == held()[0][1]
    assert (
        client.post(path.format(free), json={"reason": "x"}, headers=ops).get_json()["code"]
        == "voucher_not_held"
    )
    assert client.post(path.format("nothing"), json={"reason": "x"}, headers=ops).status_code == 404
    assert rows("SELECT actor, action, reason FROM staff_actions WHERE action = 'voucher.reveal'") == [
        (OPS, "voucher.reveal", "lost the mail")
    ]
    # Somebody saw it, so it does not go back.
    pool.refund(enrollment_of(str(scalar("SELECT student_id FROM partner_lms_enrollments"))))
    assert scalar("SELECT count(*) FROM vouchers WHERE enrollment_id IS NULL") == 1


def test_codes_stand_in_no_log_no_audit_no_list_and_no_column(
    pool: Shop, client: FlaskClient, usher: Usher
) -> None:
    logs = tap_logs()
    canary = "CANARY-4711-SECRET"
    ops = bearer("ops", OPS)
    body = {"courseId": pool.course, "codes": [canary, "CANARY-0815"], "reason": "order 7"}
    for _ in range(2):
        answer = client.post("/api/ops/vouchers", json=body, headers={**ops, "Idempotency-Key": "add-1"})
        assert answer.get_json() == {"added": 2, "served": 0}
    assert client.post("/api/ops/vouchers", json=body, headers=ops).get_json() == {"added": 0, "served": 0}
    wrong = client.post("/api/ops/vouchers", json={**body, "codes": [f"{canary}\n"]}, headers=ops)
    assert wrong.status_code == 422
    seat = pool.buy_one()
    assert canary in launch(client, seat) or "CANARY-0815" in launch(client, seat)
    pool.refund(seat)
    listed = [
        client.get("/api/ops/voucher-pools", headers=ops),
        client.get(f"/api/ops/vouchers?courseId={pool.course}", headers=ops),
        client.get("/api/ops/manual/items", headers=ops),
        client.get("/ops", headers={**ops, **HTML}),
        wrong,
    ]
    assert [answer.status_code for answer in listed] == [200, 200, 200, 200, 422]
    [found] = listed[0].get_json()["data"]
    assert (found["free"], found["held"], found["level"]) == (1, 1, "low")
    assert {item["state"] for item in listed[1].get_json()["data"]} == {"free", "shown"}
    told = [answer.get_data(as_text=True) for answer in listed]
    told += [usher("vouchers", "list", "--json").out]
    told += [usher("vouchers", "list", "--partner", "careersafe", "--course", "CAREERSAFE-1").out]
    told += [usher("enrollments", "show", seat).out, logs.text, str(logs.events)]
    assert logs.events
    assert [text for text in told if "CANARY" in text] == []
    assert found_in_database([canary, "CANARY-0815"]) == []


def test_a_pool_is_filled_from_the_command_line_and_a_voucher_taken_out(
    pool: Shop, usher: Usher, tmp_path: object
) -> None:
    file = f"{tmp_path}/codes.csv"
    with open(file, "w") as out:
        out.write("course_code;code;expires_at\nCAREERSAFE-1;A-1;2099-01-01\nCAREERSAFE-1;A-2;\n")
    who = ("--partner", "careersafe", "--actor", OPS)
    assert "2 added, 0 known" in usher("vouchers", "import", file, *who).out
    assert "0 added, 2 known" in usher("vouchers", "import", file, *who).out
    with open(file, "a") as out:
        out.write("CAREERSAFE-1;B-1;tomorrow\n;B-2;\n")
    refused = usher("vouchers", "import", file, *who)
    assert refused.code == 1
    assert "codes.csv:4: expires_at" in refused.err
    assert "codes.csv:5: has no course_code" in refused.err
    assert scalar("SELECT count(*) FROM vouchers") == 2
    plain = f"{tmp_path}/plain.txt"
    with open(plain, "w") as out:
        out.write("A-1\n\nC-1\n")
    added = usher(
        *("vouchers", "add", "--course", "CAREERSAFE-1", "--codes", plain, "--low-water", "3"), *who
    )
    assert "1 added, 1 known" in added.out
    assert alerts() == ["vouchers_low"]
    free = str(scalar("SELECT id FROM vouchers WHERE expires_at IS NULL LIMIT 1"))
    assert usher("vouchers", "retire", free, "--reason", "misprint", "--actor", OPS).code == 0
    assert usher("vouchers", "retire", free, "--reason", "again", "--actor", OPS).code == 1
    [listed] = usher("vouchers", "list", "--json").json()
    assert (listed["free"], listed["retired"], listed["level"]) == (2, 1, "low")
    # What expires first goes first; what was retired goes to nobody.
    assert code_of(pool.buy_one()) == "A-1"


def test_what_expired_is_not_handed_out_and_the_sweep_tells_of_it(pool: Shop) -> None:
    from tasks.manual import sweep

    pool.add(*CODES[:12])
    scalar("UPDATE vouchers SET expires_at = now() - interval '1 second' RETURNING 1")
    assert alerts() == []
    sweep()
    assert alerts() == ["vouchers_empty"]
    seat = pool.buy_one()
    assert items(seat) == [("set_up", "no_voucher", "open")]
    # A voucher that became free while somebody waited, and whose giver died before it was given.
    scalar("UPDATE vouchers SET expires_at = NULL WHERE id = (SELECT id FROM vouchers LIMIT 1) RETURNING 1")
    scalar("DELETE FROM scheduled_runs WHERE job = 'manual.sweep' RETURNING 1")
    sweep()
    work_off()
    assert status_of(seat) == "active"
    with transaction() as session:
        key = scalar("SELECT business_key FROM jobs WHERE kind = 'mail.staff' LIMIT 1")
        subject, body = domain_alerts.compose(session, key)
    assert subject == "no vouchers are left"
    assert "0 free now, 0 students waiting" in body


def test_a_code_is_known_again_after_the_keys_were_rotated(
    pool: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.add(*CODES[:3])
    old = get_settings().credentials_keys[0].get_secret_value()
    new = secrets.new_key()
    place = next(place for place in resealing.PLACES if place.table == "vouchers")
    for keys in (f"{new},{old}", new):
        monkeypatch.setenv("CREDENTIALS_KEYS", keys)
        get_settings.cache_clear()
        with transaction() as session:
            resealing.reseal_batch(session, place, None, resealing.Count())
    assert pool.add(*CODES[:4]) == (1, 0)
    assert code_of(pool.buy_one()) in CODES[:4]
    # A code that no key opens cannot be compared with, so nothing is added.
    monkeypatch.setenv("CREDENTIALS_KEYS", old)
    get_settings.cache_clear()
    with pytest.raises(secrets.NotOurs):
        pool.add("CODE-NEW")


def test_without_keys_nothing_is_added_and_the_page_says_so(
    pool: Shop, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.add("CODE-1")
    seat = pool.buy_one()
    monkeypatch.setenv("CREDENTIALS_KEYS", "")
    get_settings.cache_clear()
    with pytest.raises(secrets.NoKeys):
        pool.add("CODE-2")
    assert "code_unreadable" in launch(client, seat)
    # It was not seen, so it can still go back.
    assert scalar("SELECT count(*) FROM vouchers WHERE revealed_at IS NOT NULL") == 0


def test_only_a_free_voucher_is_retired(pool: Shop) -> None:
    pool.add("CODE-1")
    pool.buy_one()
    with transaction() as session, pytest.raises(NotPossible):
        vouchers.retire(session, str(scalar("SELECT id FROM vouchers")), actor=OPS, reason="x")
