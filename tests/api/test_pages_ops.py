"""The console's first half on real rows: overview, inbox, failures, one enrolment, partners, and who may do what."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, text

from db.session import get_engine, transaction
from domain import demo, enrollments, ops_enrollment, ops_failures, ops_inbox, ops_overview, ops_partners
from domain.ops_inbox import HIDDEN, mask
from tests.api.conftest import COURSE, HTML, STUDENT, bearer, count, make_enrollment, run
from tests.stack import rows

ACTOR = "staff@example.com"
PAGES = (
    "/ops",
    "/ops?range=7d",
    "/ops?range=30d",
    "/ops/inbox",
    "/ops/failures",
    "/ops/failures/jobs",
    "/ops/failures/replays",
    "/ops/enrollments",
    "/ops/partners",
    "/ops/partners/sandbox",
)
MINE = ("ops_overview", "ops_inbox", "ops_failures", "ops_enrollment", "ops_partners")


@pytest.fixture
def staff(client: FlaskClient) -> dict[str, str]:
    """Headers of a signed-in staff member's browser."""
    return {**bearer("ops", ACTOR), **HTML}


@contextmanager
def counting() -> Iterator[list[str]]:
    """Collect the statements that are sent meanwhile."""
    asked: list[str] = []

    def note(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        # Flags are read anew every few seconds, whichever page is looked at.
        if "feature_flags" not in statement:
            asked.append(statement)

    event.listen(get_engine(), "before_cursor_execute", note)
    yield asked
    event.remove(get_engine(), "before_cursor_execute", note)


def fields(page: str, action: str) -> dict[str, str]:
    """Return the hidden fields of the form that leads to `action`."""
    form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page, re.DOTALL)
    assert form is not None, f"no form leads to {action}"
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[0]))


def send(
    client: FlaskClient, staff: dict[str, str], page: str, action: str, reason: str = "because", **more: str
) -> Any:
    """Open a page and send one of its forms."""
    shown = client.get(page, headers=staff).get_data(as_text=True)
    return client.post(action, headers=staff, data={**fields(shown, action), "reason": reason, **more})


def actions() -> list[tuple[str, str, str, str]]:
    """Return the audit of what was done, looks at people left out: actor, action, subject, reason."""
    return rows(
        "SELECT actor, action, subject_id, reason FROM staff_actions WHERE action <> 'privacy.look_up'"
        " ORDER BY created_at, id"
    )


def fail_seat(course: str = COURSE, code: str = "refused", student: str = STUDENT) -> str:
    """Make an enrolment whose walk was given up at the seat, as the walk does it."""
    seat = make_enrollment("pending", student=student, course=course)
    with transaction() as session:
        found = enrollments.load(session, seat)
        enrollments.start_walk(session, found)
        job = session.scalar(
            text(
                "UPDATE jobs SET state = 'failed', token = 1, last_error = 'refused' WHERE business_key = :id RETURNING id"
            ),
            {"id": seat},
        )
        enrollments.fail(
            session, found, step="seat", code=code, message="Course is full", retry_count=0, job_id=str(job)
        )
    return seat


def add_event(payload: dict[str, Any], kind: str = "checkout.session.completed", state: str = "done") -> str:
    event_id = str(uuid.uuid4())
    run(
        "INSERT INTO inbox_events (id, source, external_id, type, payload, state)"
        " VALUES (:id, 'stripe', :external, :type, :payload, :state)",
        id=event_id,
        external=f"evt_{event_id[:8]}",
        type=kind,
        payload=json.dumps(payload).encode(),
        state=state,
    )
    return event_id


# Who may


def test_a_student_gets_403_on_every_page_and_action_and_a_stranger_401(
    app: Flask, client: FlaskClient
) -> None:
    student, walked = {**bearer(), **HTML}, 0
    for rule in app.url_map.iter_rules():
        if rule.endpoint.partition(".")[0] not in MINE:
            continue
        path = "".join(str(uuid.uuid4()) if dynamic else part for dynamic, part in rule._trace).removeprefix(
            "|"
        )
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert client.open(path, method=method, headers=student).status_code == 403, rule.rule
            assert client.open(path, method=method, headers=HTML).status_code == 401, rule.rule
            walked += 1
    assert walked == 24
    assert count("staff_actions") == 0


def test_what_is_not_there_is_404_and_a_wrong_filter_is_refused(
    client: FlaskClient, staff: dict[str, str]
) -> None:
    nobody = uuid.uuid4()
    for path in (
        "/ops/inbox/x",
        f"/ops/inbox/{nobody}",
        f"/ops/enrollments/{nobody}",
        "/ops/partners/nobody",
        "/ops/failures/0123456789",
        "/ops/failures/0123456789/replay",
        f"/ops/failures/replays/{nobody}",
    ):
        assert client.get(path, headers=staff).status_code == 404, path
    for path in ("/ops?range=1y", "/ops/inbox?state=lost", "/ops/enrollments?status=gone"):
        assert client.get(path, headers=staff).status_code == 422, path
    seat = make_enrollment()
    for path in (
        "/ops/inbox",
        "/ops/failures",
        "/ops/enrollments",
        f"/ops/enrollments/{seat}",
        "/ops/partners/sandbox",
    ):
        for cursor in ("x", "%00", "MTIz"):
            answer = client.get(f"{path}?cursor={cursor}", headers=staff)
            assert answer.status_code == 400, (path, cursor)


# What is shown


def test_the_overview_says_who_waits_and_what_is_wrong(client: FlaskClient, staff: dict[str, str]) -> None:
    page = client.get("/ops", headers=staff).get_data(as_text=True)
    assert "Nobody works on" not in page
    seat = fail_seat()
    pending = make_enrollment("pending", course="SBX-201", created_at="2026-01-01T00:00:00Z")
    with transaction() as session:
        enrollments.begin(session, enrollments.load(session, pending), ["sandbox"])
    run(
        "INSERT INTO partner_states (partner, paused_at, paused_by, paused_reason) VALUES ('hsi', now(), 'ana', 'moving')"
    )
    page = client.get("/ops", headers=staff).get_data(as_text=True)
    assert "1 on the way, 1 failed" in page
    assert f"/ops/enrollments/{pending}" in page
    assert "Nobody works on the queue enroll.sandbox." in page
    assert "moving" in page
    assert "The schedule is silent." in page
    assert seat not in page


def test_queues_count_listening_workers_and_a_lost_broker_is_unknown(
    client: FlaskClient, staff: dict[str, str]
) -> None:
    queue = "enroll.sandbox"
    with transaction() as session:
        assert {found.consumers for found in ops_overview.list_queues(session, [queue])} == {0}
    run(
        f"INSERT INTO worker_nodes (node, queues, connected) VALUES ('a', '{{{queue}}}', true), ('b', '{{{queue}}}', false)"
    )
    with transaction() as session:
        assert [found.consumers for found in ops_overview.list_queues(session, [queue])] == [1]
    run("UPDATE worker_nodes SET connected = false")
    with transaction() as session:
        assert [found.consumers for found in ops_overview.list_queues(session, [queue])] == [None]
    assert "The workers do not reach the broker." in client.get("/ops", headers=staff).get_data(as_text=True)
    run("UPDATE worker_nodes SET seen_at = now() - interval '1 hour'")
    with transaction() as session:
        assert [found.consumers for found in ops_overview.list_queues(session, [queue])] == [0]


def test_queues_tell_ready_rung_running_later_and_held(client: FlaskClient) -> None:
    made = (
        ("payments", "ready", -5, None, None),
        ("payments", "ready", -9, None, "now()"),
        ("payments", "ready", 60, None, None),
        ("payments", "running", 60, None, None),
        ("payments", "running", -1, None, None),
        ("enroll.hsi", "ready", -5, "hsi", None),
        ("payments", "done", -5, None, None),
    )
    for queue, state, due, partner, rung in made:
        run(
            "INSERT INTO jobs (kind, business_key, queue, partner, subject_id, state, next_run_at, rung_at) VALUES ('k',"
            f" gen_random_uuid()::text, :queue, :partner, gen_random_uuid(), :state, now() + :due * interval '1 second', {rung or 'NULL'})",
            queue=queue,
            state=state,
            due=due,
            partner=partner,
        )
    run("INSERT INTO partner_states (partner, open_until) VALUES ('hsi', now() + interval '1 minute')")
    with transaction() as session:
        found = {queue.name: queue for queue in ops_overview.list_queues(session, ["payments", "mail"])}
    payments = found["payments"]
    assert (payments.ready, payments.rung, payments.running, payments.left_behind, payments.later) == (
        1,
        1,
        1,
        1,
        1,
    )
    assert payments.oldest is not None
    assert 8 < payments.oldest < 60
    assert (found["enroll.hsi"].held, found["enroll.hsi"].ready, found["mail"].open) == (1, 0, 0)


def test_the_flow_has_every_bar_success_and_time_to_ready(client: FlaskClient) -> None:
    for course, seconds in (("SBX-101", 2), ("SBX-201", 10)):
        seat = make_enrollment("active", course=course)
        run(
            "UPDATE partner_lms_enrollments SET launch_checked_at = created_at + :s * interval '1 second' WHERE id = :id",
            s=seconds,
            id=seat,
        )
        run(
            "WITH y AS (INSERT INTO payments (checkout_session_id, state, paid_at) SELECT :cs, 'paid', created_at"
            " FROM partner_lms_enrollments WHERE id = :id RETURNING id)"
            " INSERT INTO payment_lines (payment_id, enrollment_id) SELECT id, :id FROM y",
            cs=f"cs_{course}",
            id=seat,
        )
    fail_seat(demo.FULL_COURSE)
    with transaction() as session:
        now = session.scalar(text("SELECT now()"))
        for name, bars in (("24h", 24), ("7d", 28), ("30d", 30)):
            flow = ops_overview.flow(session, name, now)
            assert len(flow.bars) == bars
            assert (sum(row["opened"] for row in flow.bars), sum(row["failures"] for row in flow.bars)) == (
                3,
                1,
            )
            assert flow.success == pytest.approx(2 / 3)
            assert (flow.total["p50"], round(float(flow.total["p95"]), 1)) == (6, 9.6)
            assert [(row["partner"], row["opened"], row["failed"]) for row in flow.partners] == [
                ("sandbox", 3, 1)
            ]


def test_an_event_is_shown_without_personal_data(client: FlaskClient, staff: dict[str, str]) -> None:
    seat = make_enrollment()
    run("INSERT INTO payments (checkout_session_id, state) VALUES ('cs_test_1', 'paid')")
    run("INSERT INTO payment_lines (payment_id, enrollment_id) SELECT id, :id FROM payments", id=seat)
    told = {
        "id": "cs_test_1",
        "object": "checkout.session",
        "amount_total": 4900,
        "customer_details": {
            "email": "ana@example.com",
            "name": "Ana Silva",
            "address": {"line1": "Elm 5"},
            "phone": "+1 555",
        },
        "customer_email": "ana@example.com",
        "metadata": {"studentId": "ana@example.com", "courseId": demo.course_id(COURSE)},
        "ana@example.com": 1,
    }
    event_id = add_event({"id": "evt_1", "type": "checkout.session.completed", "data": {"object": told}})
    page = client.get(f"/ops/inbox/{event_id}", headers=staff).get_data(as_text=True)
    for personal in ("ana@example.com", "Ana Silva", "Elm 5", "555"):
        assert personal not in page
    for shown in ("cs_test_1", "4900", demo.course_id(COURSE), f"/ops/enrollments/{seat}", HIDDEN):
        assert shown in page
    assert mask({"email": None, "status": "paid", "name": 5}) == {
        "email": None,
        "status": "paid",
        "name": HIDDEN,
    }
    broken = str(uuid.uuid4())
    run(
        "INSERT INTO inbox_events (id, source, external_id, type, payload) VALUES (:id, 'stripe', 'b', 't', :p)",
        id=broken,
        p=b"\xff{",
    )
    assert "no JSON" in client.get(f"/ops/inbox/{broken}", headers=staff).get_data(as_text=True)


def test_the_inbox_is_filtered_by_type_state_and_id(client: FlaskClient, staff: dict[str, str]) -> None:
    one = add_event({}, "charge.refunded", "ignored")
    two = add_event({}, "invoice.paid", "waiting")

    def listed(query: str) -> set[str]:
        page = client.get(f"/ops/inbox?{query}", headers=staff).get_data(as_text=True)
        return set(re.findall(r"/ops/inbox/([0-9a-f-]{36})", page))

    assert listed("state=&type=&id=") == {one, two}
    assert listed("state=waiting") == {two}
    assert listed("state=ignored&type=charge.refunded") == {one}
    assert listed("type=charge.refunded&state=waiting") == set()
    assert listed(f"id=evt_{two[:8]}") == listed(f"id={two}") == {two}


def test_an_enrolment_tells_everything_and_its_summary_nothing_personal(
    client: FlaskClient, staff: dict[str, str]
) -> None:
    seat = fail_seat()
    run(
        "INSERT INTO partner_calls (partner, method, path_template, status, outcome, duration_ms, attempt, subject_id)"
        " VALUES ('sandbox', 'POST', '/enrollments', 422, 'refused', 12, 1, :id)",
        id=seat,
    )
    run("UPDATE partner_lms_enrollment_failures SET error_message = 'ana@example.com (Ana Silva) is unknown'")
    send(client, staff, f"/ops/enrollments/{seat}", f"/ops/enrollments/{seat}/replay", "Ana called: 555-1234")
    page = client.get(f"/ops/enrollments/{seat}?done=replayed", headers=staff).get_data(as_text=True)
    for told in (
        "call POST /enrollments",
        "staff failures.retry",
        "refused",
        "is on its way again",
        seat[:8],
    ):
        assert told in page
    summary = page.split("<textarea", 1)[1].split("</textarea>", 1)[0]
    for told in (seat, "status: pending", "POST /enrollments", "SBX-101", "is unknown"):
        assert told in summary
    for personal in ("ana@", "Ana", "555", STUDENT):
        assert personal not in summary


def test_enrolments_are_found_by_address_id_reference_and_seat(
    client: FlaskClient, staff: dict[str, str]
) -> None:
    seat, other = make_enrollment(), make_enrollment(student=demo.fixed_id("student", "ben@example.com"))
    theirs = rows("SELECT external_enrollment_id FROM partner_lms_enrollments WHERE id = :id", id=seat)[0][0]
    for find in ("ANA@example.com", seat, STUDENT, seat[:8], theirs):
        page = client.get("/ops/enrollments", headers=staff, query_string={"find": find}).get_data(
            as_text=True
        )
        assert (seat in page, other in page) == (True, False), find
    query = {"status": "active", "partner": demo.provider_id("sandbox")}
    page = client.get("/ops/enrollments", headers=staff, query_string=query).get_data(as_text=True)
    assert (seat in page, other in page) == (True, True)
    page = client.get(
        "/ops/enrollments", headers=staff, query_string={"partner": demo.provider_id("hsi")}
    ).get_data(as_text=True)
    assert (seat in page, other in page) == (False, False)


# What is done


def test_a_partner_is_paused_resumed_and_limited_with_a_reason(
    client: FlaskClient, staff: dict[str, str]
) -> None:
    page = "/ops/partners/sandbox"
    answer = send(client, staff, page, f"{page}/pause", "they move house")
    assert (answer.status_code, answer.location) == (303, f"{page}?done=paused")
    assert rows("SELECT paused_by, paused_reason FROM partner_states") == [(ACTOR, "they move house")]
    assert "Paused by staff@example.com" in client.get(answer.location, headers=staff).get_data(as_text=True)
    assert send(client, staff, page, f"{page}/resume", "done moving").status_code == 303
    assert rows("SELECT paused_at FROM partner_states") == [(None,)]
    answer = send(
        client, staff, page, f"{page}/limits", "they asked", concurrency="4", rate_per_second="2.5", burst=""
    )
    assert answer.location == f"{page}?done=limited"
    assert [
        tuple(map(str, row)) for row in rows("SELECT concurrency, rate_per_second, burst FROM partner_states")
    ] == [("4", "2.500", "1")]
    assert actions() == [
        (ACTOR, "partner.pause", "sandbox", "they move house"),
        (ACTOR, "partner.resume", "sandbox", "done moving"),
        (ACTOR, "partner.policy", "sandbox", "they asked"),
    ]


def test_what_is_wrong_comes_back_with_what_was_typed_and_changes_nothing(
    client: FlaskClient, staff: dict[str, str]
) -> None:
    page = "/ops/partners/sandbox"
    answer = send(client, staff, page, f"{page}/pause", "   ")
    shown = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert 'role="alert"' in shown
    assert 'aria-invalid="true" aria-describedby="pause-reason-hint pause-reason-mistake"' in shown
    for reason in ("x" * 501, "a\0b"):
        assert send(client, staff, page, f"{page}/pause", reason).status_code == 422
    for wrong in (
        {"concurrency": "0"},
        {"concurrency": "many"},
        {"rate_per_second": "nan"},
        {"burst": "1e9"},
    ):
        answer = send(client, staff, page, f"{page}/limits", "slow", **wrong)
        assert answer.status_code == 422, wrong
        assert next(iter(wrong.values())) in answer.get_data(as_text=True)
    assert actions() == []
    assert rows("SELECT 1 FROM partner_states") == []


def test_two_who_act_at_once_do_not_act_on_stale_pages(client: FlaskClient, staff: dict[str, str]) -> None:
    page = "/ops/partners/sandbox"
    shown = client.get(page, headers=staff).get_data(as_text=True)
    stale = fields(shown, f"{page}/limits")
    assert send(client, staff, page, f"{page}/pause").status_code == 303
    answer = client.post(
        f"{page}/limits", headers=staff, data={**stale, "reason": "late", "concurrency": "3"}
    )
    assert answer.status_code == 409
    assert "changed since you opened the page" in answer.get_data(as_text=True)
    seat = fail_seat()
    page = f"/ops/enrollments/{seat}"
    stale = fields(client.get(page, headers=staff).get_data(as_text=True), f"{page}/revoke")
    assert send(client, staff, page, f"{page}/replay").status_code == 303
    assert client.post(f"{page}/revoke", headers=staff, data={**stale, "reason": "late"}).status_code == 409
    assert rows("SELECT status FROM partner_lms_enrollments") == [("pending",)]
    assert [action for _, action, _, _ in actions()] == ["partner.pause", "failures.retry"]


def test_a_form_that_is_sent_twice_is_done_once(client: FlaskClient, staff: dict[str, str]) -> None:
    seat = make_enrollment("suspended")
    page = f"/ops/enrollments/{seat}"
    data = {
        **fields(client.get(page, headers=staff).get_data(as_text=True), f"{page}/restore"),
        "reason": "won",
    }
    first, second = (client.post(f"{page}/restore", headers=staff, data=data) for _ in range(2))
    assert first.location == second.location == f"{page}?done=restored"
    assert rows("SELECT status, generation FROM partner_lms_enrollments") == [("pending", 2)]
    assert len(actions()) == 1


def test_a_seat_is_revoked_and_restored_by_hand(client: FlaskClient, staff: dict[str, str]) -> None:
    seat = make_enrollment("active")
    page = f"/ops/enrollments/{seat}"
    assert send(client, staff, page, f"{page}/revoke", "bought by mistake").location == f"{page}?done=revoked"
    assert rows("SELECT status FROM partner_lms_enrollments") == [("revoked",)]
    assert rows("SELECT count(*) FROM jobs WHERE kind = 'enrollment.walk' AND state = 'ready'") == [(1,)]
    shown = client.get(page, headers=staff).get_data(as_text=True)
    assert f"{page}/revoke" not in shown
    assert send(client, staff, page, f"{page}/restore", "asked back").status_code == 303
    assert rows("SELECT status FROM partner_lms_enrollments") == [("pending",)]
    assert actions() == [
        (ACTOR, "enrollment.revoke", seat, "bought by mistake"),
        (ACTOR, "enrollment.restore", seat, "asked back"),
    ]


def test_a_step_is_skipped_with_evidence(client: FlaskClient, staff: dict[str, str]) -> None:
    seat = fail_seat()
    page = f"/ops/enrollments/{seat}"
    answer = send(client, staff, page, f"{page}/skip", "seen in their console", step="seat")
    assert (answer.status_code, "needs the id" in answer.get_data(as_text=True)) == (409, True)
    assert send(client, staff, page, f"{page}/skip", "x", step="nothing", partner_id="1").status_code == 409
    assert rows("SELECT status FROM partner_lms_enrollments") == [("failed",)]
    taken = make_enrollment("active", course="SBX-201", external_enrollment_id="seat-9")
    answer = send(client, staff, page, f"{page}/skip", "x", step="seat", partner_id="seat-9")
    assert (answer.status_code, "another enrolment" in answer.get_data(as_text=True).lower()) == (409, True)
    assert taken
    assert rows("SELECT count(*) FROM job_steps") == [(0,)]
    answer = send(
        client, staff, page, f"{page}/skip", "seen in their console", step="seat", partner_id="seat-10"
    )
    assert answer.location == f"{page}?done=skipped"
    assert rows(
        "SELECT status, external_enrollment_id FROM partner_lms_enrollments WHERE id = :id", id=seat
    ) == [("pending", "seat-10")]
    assert rows("SELECT step, state, result ->> 'id' FROM job_steps") == [("seat", "done", "seat-10")]
    assert actions() == [(ACTOR, "enrollment.skip", seat, "seen in their console")]


def test_an_event_is_looked_at_again(client: FlaskClient, staff: dict[str, str]) -> None:
    event_id = add_event({}, "checkout.session.completed", "failed")
    page = f"/ops/inbox/{event_id}"
    assert (
        send(client, staff, page, f"{page}/replay", "the course exists now").location
        == f"{page}?done=event-replayed"
    )
    assert rows("SELECT state FROM inbox_events") == [("received",)]
    assert rows("SELECT kind, subject_id FROM jobs") == [("payments.process", event_id)]
    assert actions() == [(ACTOR, "events.replay", event_id, "the course exists now")]
    unheard = add_event({}, "customer.created", "ignored")
    answer = send(client, staff, f"/ops/inbox/{unheard}", f"/ops/inbox/{unheard}/replay")
    assert (answer.status_code, "othing listens to customer.created" in answer.get_data(as_text=True)) == (
        409,
        True,
    )


def test_a_bulk_replay_does_what_its_dry_run_said(client: FlaskClient, staff: dict[str, str]) -> None:
    seats = sorted(fail_seat(course) for course in ("SBX-101", "SBX-201"))
    run("UPDATE partner_courses SET active = false WHERE course_code = 'SBX-FULL'")
    obstructed = fail_seat(demo.FULL_COURSE)
    [(fingerprint, number)] = re.findall(
        r'href="/ops/failures/([0-9a-f]{10})">.*?<td class="number"[^>]*>(\d+)</td>',
        client.get("/ops/failures", headers=staff).get_data(as_text=True),
        re.DOTALL,
    )
    assert number == "3"
    path = f"/ops/failures/{fingerprint}/replay"
    shown = client.get(path, headers=staff).get_data(as_text=True)
    assert "Replay 2 enrolments" in shown
    assert obstructed in shown
    assert count("replay_batches") == 0
    # One more fails meanwhile: what was looked at is not what would be done.
    stale = fields(shown, path)
    fail_seat(student=demo.fixed_id("student", "ben@example.com"))
    assert client.post(path, headers=staff, data={**stale, "reason": "room"}).status_code == 409
    for rate in ("0", "6001", "-1", "fast", "٣"):
        assert send(client, staff, path, path, "room", rate=rate).status_code == 422, rate
    assert count("replay_batches") == 0
    answer = send(client, staff, path, path, "room again", rate="600")
    assert answer.location.startswith("/ops/failures/replays/")
    [(batch, reason, rate)] = rows("SELECT id, reason, rate_per_minute FROM replay_batches")
    assert (reason, rate, count("replay_items")) == ("room again", 600, 3)
    assert actions() == [(ACTOR, "failures.replay", batch, "room again")]
    page = client.get(answer.location, headers=staff).get_data(as_text=True)
    assert "0 of 3" in page
    assert seats[0] not in page


def test_work_that_was_given_up_is_tried_again(client: FlaskClient, staff: dict[str, str]) -> None:
    run(
        "INSERT INTO jobs (kind, business_key, queue, subject_id, state, last_error)"
        " VALUES ('mail.send', 'a', 'mail', gen_random_uuid(), 'parked', 'ZeroDivisionError')"
    )
    [(job,)] = rows("SELECT id FROM jobs")
    page, path = "/ops/failures/jobs", f"/ops/failures/jobs/{job}/retry"
    assert "ZeroDivisionError" in client.get(page, headers=staff).get_data(as_text=True)
    assert send(client, staff, page, path, "fixed").location == f"{page}?done=job-revived"
    assert rows("SELECT state FROM jobs") == [("ready",)]
    assert actions() == [(ACTOR, "jobs.retry", job, "fixed")]


def test_a_check_of_a_partner_that_is_away_says_so(client: FlaskClient, staff: dict[str, str]) -> None:
    page = "/ops/partners/sandbox"
    assert send(client, staff, page, f"{page}/check", "is it back?").location == f"{page}?done=checked"
    [(outcome,)] = rows("SELECT detail ->> 'outcome' FROM staff_actions WHERE action = 'partner.check'")
    assert outcome == "retry_later"
    assert "retry_later" in client.get(page, headers=staff).get_data(as_text=True)


# How much is read

FILL = (
    """
    INSERT INTO users (email, name) SELECT 's' || n || '@example.com', 'S ' || n FROM generate_series(1, 2000) AS n
    """,
    """
    INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status, created_at, generation, launch_checked_at,
        external_enrollment_id)
    SELECT c.provider_id, u.id, c.id,
        CASE row_number() OVER () % 50 WHEN 0 THEN 'failed' WHEN 1 THEN 'pending' ELSE 'active' END,
        now() - random() * interval '60 days', 1, now(), gen_random_uuid()::text
    FROM (SELECT * FROM users WHERE email LIKE 's%') AS u CROSS JOIN partner_courses AS c
    """,
    """
    INSERT INTO partner_lms_enrollment_failures (enrollment_id, student_id, provider_id, course_id, error_message, error_code, step,
        final, created_at, resolved_at)
    SELECT id, student_id, provider_id, course_id, 'no', 'refused', 'seat', true, created_at,
        CASE WHEN status <> 'failed' THEN now() END FROM partner_lms_enrollments
    """,
    """
    INSERT INTO inbox_events (source, external_id, type, payload, state, received_at)
    SELECT 'stripe', 'evt_' || n, (ARRAY['charge.refunded', 'invoice.paid', 'checkout.session.completed'])[1 + n % 3], '{}',
        CASE WHEN n % 500 = 0 THEN 'waiting' WHEN n % 700 = 0 THEN 'received' WHEN n % 50 = 0 THEN 'ignored' ELSE 'done' END,
        now() - n * interval '10 seconds'
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO partner_calls (partner, method, path_template, status, outcome, duration_ms, attempt, at)
    SELECT (ARRAY['sandbox', 'hsi'])[1 + n % 2], 'GET', '/enrollments', 200, 'ok', 5, 1, now() - n * interval '1 second'
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO jobs (kind, business_key, queue, subject_id, state, updated_at)
    SELECT 'mail.send', n::text, 'mail', gen_random_uuid(), CASE WHEN n % 100 = 0 THEN 'parked' ELSE 'done' END,
        now() - n * interval '1 second' FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO replay_batches (fingerprint, actor, reason, rate_per_minute, created_at)
    SELECT 'x', 'a', 'b', 60, now() - n * interval '1 hour' FROM generate_series(1, 3000) AS n
    """,
    """
    INSERT INTO scheduled_runs (job, slot)
    SELECT 'j' || n % 10, now() - n * interval '15 seconds' FROM generate_series(1, 5000) AS n
    """,
    "ANALYZE",
)


def test_the_number_of_queries_does_not_grow_and_every_list_is_paged(
    client: FlaskClient, staff: dict[str, str]
) -> None:
    seat, event_id = fail_seat(), add_event({}, state="failed")
    [(fingerprint,)] = [(found["fingerprint"],) for found in _groups()]
    paths = (
        *PAGES,
        f"/ops/enrollments/{seat}",
        f"/ops/inbox/{event_id}",
        f"/ops/failures/{fingerprint}",
        f"/ops/failures/{fingerprint}/replay",
    )

    def queries(path: str) -> int:
        with counting() as asked:
            assert client.get(path, headers=staff).status_code == 200, path
        return len(asked)

    for path in paths:
        queries(path)
    few = {path: queries(path) for path in paths}
    for statement in FILL:
        run(statement)
    many = {path: queries(path) for path in paths}
    assert many == few
    assert max(few.values()) <= 28, few
    for path in (
        "/ops/inbox",
        "/ops/enrollments",
        "/ops/partners/sandbox",
        f"/ops/failures/{fingerprint}",
        "/ops/failures/jobs",
        "/ops/failures/replays",
    ):
        _walk(client, staff, path)


def _groups() -> list[dict[str, Any]]:
    with transaction() as session:
        return ops_failures.list_groups(session, count=None, last=None, limit=10)


def _walk(client: FlaskClient, staff: dict[str, str], path: str) -> None:
    """Turn two pages on: no row twice."""
    seen: list[str] = []
    for _ in range(2):
        page = client.get(path, headers=staff).get_data(as_text=True)
        found = re.findall(r'<th scope="row".*?</tr>|<li class="card">.*?</li>', page, re.DOTALL)
        assert len(found) == 50, path
        seen += found
        older = re.search(r'<nav class="pager"[^>]*><a class="button plain" href="([^"]+)"', page)
        assert older is not None, path
        path = older[1].replace("&amp;", "&")
    if "partners" not in path:  # Calls of one kind look alike.
        assert len(set(seen)) == 100, path


def test_every_list_is_read_by_an_index(client: FlaskClient) -> None:
    for statement in FILL:
        run(statement)
    provider = demo.provider_id("sandbox")
    at = rows("SELECT now() - interval '1 day'")[0][0]
    place = {"at": at, "last": str(uuid.uuid4()), "limit": 51}
    start = {"at": None, "last": None, "limit": 51}
    asked: list[tuple[str, Any]] = []
    with transaction() as session, planning(asked):
        for where in (start, place):
            for find in (
                {},
                {"state": "waiting"},
                {"state": "received"},
                {"state": "ignored"},
                {"state": "done"},
                {"type": "invoice.paid"},
                {"id": "evt_5"},
            ):
                ops_inbox.list_events(session, **{"state": None, "type": None, "id": None, **find, **where})
            for find in (
                {},
                {"status": "failed"},
                {"provider_id": provider},
                {"find": "s7@example.com"},
                {"find": "abcdef12"},
                {"find": str(uuid.uuid4())},
            ):
                ops_enrollment.list_enrollments(
                    session, **{"status": None, "provider_id": None, "find": None, **find, **where}
                )
            ops_failures.list_jobs(session, **where)
            ops_failures.list_batches(session, **where)
        ops_failures.list_members(session, "0123456789", **place)
        ops_partners.list_calls(session, "sandbox", at=at, last=5, limit=51)
        ops_partners.list_calls(session, "sandbox", at=None, last=None, limit=51)
        ops_overview.not_ready(session)
        ops_overview.webhooks(session)
        ops_overview.list_turns(session, {"relay": 20.0})
        ops_inbox.list_types(session)
    assert len(asked) > 30
    big = "inbox_events|partner_lms_enrollments|partner_lms_enrollment_failures|partner_calls|jobs|replay_batches|scheduled_runs"
    with transaction() as session:
        for statement, values in asked:
            plan = "\n".join(session.connection().exec_driver_sql(f"EXPLAIN {statement}", values).scalars())
            assert re.search(rf"Seq Scan on ({big})\b", plan) is None, f"{statement}\n{plan}"


@contextmanager
def planning(asked: list[tuple[str, Any]]) -> Iterator[None]:
    """Collect the statements that are sent meanwhile with their values, to be explained."""

    def note(_c: Any, _k: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            asked.append((statement, values))

    event.listen(get_engine(), "before_cursor_execute", note)
    yield
    event.remove(get_engine(), "before_cursor_execute", note)


def test_what_partners_and_staff_wrote_is_shown_as_text(client: FlaskClient, staff: dict[str, str]) -> None:
    seat = fail_seat()
    run("UPDATE partner_lms_enrollment_failures SET error_message = '<b>no</b>'")
    run("UPDATE partner_lms_enrollments SET failure_reason = '<b>no</b>'")
    for path in ("/ops/failures", f"/ops/failures/{_groups()[0]['fingerprint']}", f"/ops/enrollments/{seat}"):
        page = client.get(path, headers=staff).get_data(as_text=True)
        assert "&lt;b&gt;no&lt;/b&gt;" in page, path
        assert "<b>no</b>" not in page, path
