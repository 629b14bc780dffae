"""The adapter against the real sandbox server, and against answers that the sandbox would never give."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import requests

from partners.base import Account, Click, Seat, Student, iter_progress
from partners.errors import (
    Ambiguous,
    CredentialsWrong,
    NotFound,
    OutcomeUnknown,
    PartnerError,
    RateLimited,
    Refused,
    RetryLater,
)
from partners.sandbox.adapter import SandboxPartner
from tests.partners.conftest import RawServer, RunningSandbox, Script, answer

Serve = Callable[[Script], RawServer]
ANN = Student("usher-ann", "ann@school.test", "Ann Lee")


def click(return_url: str = "https://school.test/back", key: str = "k") -> Click:
    return Click("3fa85f64-5717-4562-b3fc-2c963f66afa6", ANN, "PY-1", return_url, key)


def take_seat(partner: SandboxPartner, reference: str = "usher-ann", course: str = "PY-1") -> str:
    account = partner.create_account(Student(reference, "a@b.test", "A"), key=f"account-{reference}")
    return partner.enroll_in_course(
        account.id, course, student=ANN, reference=f"e-{reference}", key=f"seat-{reference}"
    ).id


def test_a_student_goes_all_the_way(sandbox: RunningSandbox, partner: SandboxPartner) -> None:
    partner.check()
    assert partner.find_account(ANN) is None
    account = partner.create_account(ANN, key="k1")
    assert partner.find_account(ANN) == account
    assert partner.find_enrollment(account.id, "PY-1") is None
    seat = partner.enroll_in_course(account.id, "PY-1", student=ANN, reference="e1", key="k2")
    assert partner.find_enrollment(account.id, "PY-1") == seat

    launch = partner.launch(seat.id, click("https://school.test/back", "k3"))
    page = requests.get(launch.url, timeout=5)
    assert page.status_code == 200
    assert "Ann Lee" in page.text
    assert "PY-1" in page.text
    assert launch.expires_at is not None
    assert 115 < (launch.expires_at - datetime.now(UTC)).total_seconds() <= 120

    progress = partner.get_progress(seat.id)
    assert (progress.percentage, progress.completed, progress.completed_at) == (Decimal(0), False, None)
    assert partner.get_certificate(seat.id) is None
    sandbox.move(seat.id, 100, updated_at="2026-11-20T13:00:00+01:00")
    progress = partner.get_progress(seat.id)
    assert progress.completed
    assert progress.updated_at == progress.completed_at == datetime(2026, 11, 20, 12, tzinfo=UTC)
    certificate = partner.get_certificate(seat.id)
    assert certificate is not None
    assert certificate.issued_at == progress.completed_at
    assert certificate.url is not None
    assert "Ann Lee" in requests.get(certificate.url, timeout=5).text

    partner.unenroll(seat.id)
    partner.unenroll(seat.id)
    partner.unenroll("enr_of_nobody")
    assert partner.find_enrollment(account.id, "PY-1") is None
    with pytest.raises(NotFound):
        partner.get_progress(seat.id)


def test_what_exists_already_is_adopted(partner: SandboxPartner) -> None:
    account = partner.create_account(ANN, key="k1")
    seat = partner.enroll_in_course(account.id, "PY-1", student=ANN, reference="e1", key="k2")
    assert partner.create_account(ANN, key="another") == Account(account.id, adopted=True)
    assert partner.enroll_in_course(account.id, "PY-1", student=ANN, reference="e2", key="other") == Seat(
        seat.id, adopted=True
    )


def test_a_seat_that_was_given_back_can_be_taken_again(partner: SandboxPartner) -> None:
    account = partner.create_account(ANN, key="k1")
    first = partner.enroll_in_course(account.id, "PY-1", student=ANN, reference="e1", key="k2")
    partner.unenroll(first.id)
    second = partner.enroll_in_course(account.id, "PY-1", student=ANN, reference="e1", key="k3")
    assert second.id != first.id
    assert not second.adopted


@pytest.mark.parametrize("turn", range(5))
def test_four_at_once_give_one_account_and_one_seat(sandbox: RunningSandbox, turn: int) -> None:
    partner = sandbox.partner()
    with ThreadPoolExecutor(4) as pool:
        accounts = list(pool.map(lambda n: partner.create_account(ANN, key=f"k{n}"), range(4)))
        seats = list(
            pool.map(
                lambda n: partner.enroll_in_course(
                    accounts[n].id, "PY-1", student=ANN, reference="e", key=f"s{n}"
                ),
                range(4),
            )
        )
    assert len({account.id for account in accounts}) == len({seat.id for seat in seats}) == 1
    assert [account.adopted for account in accounts].count(False) == 1
    assert sandbox.state()["counts"] == {"accounts": 1, "enrollments": 1}


# Faults


def test_an_account_whose_answer_was_lost_is_found_and_adopted(
    sandbox: RunningSandbox, partner: SandboxPartner
) -> None:
    sandbox.fault("POST /accounts", lose_answer=True, times=1)
    with pytest.raises(OutcomeUnknown):
        partner.create_account(ANN, key="k1")
    found = partner.find_account(ANN)
    assert found is not None
    assert partner.create_account(ANN, key="k1").id == found.id
    assert partner.create_account(ANN, key="k2") == Account(found.id, adopted=True)
    assert len(sandbox.state()["accounts"]) == 1


def test_a_seat_whose_answer_was_lost_is_found_and_adopted(
    sandbox: RunningSandbox, partner: SandboxPartner
) -> None:
    account = partner.create_account(ANN, key="k1")
    sandbox.fault("POST /enrollments", lose_answer=True, times=1)
    with pytest.raises(OutcomeUnknown):
        partner.enroll_in_course(account.id, "PY-1", student=ANN, reference="e1", key="k2")
    found = partner.find_enrollment(account.id, "PY-1")
    assert found is not None
    again = partner.enroll_in_course(account.id, "PY-1", student=ANN, reference="e1", key="k3")
    assert again == Seat(found.id, adopted=True)
    assert len(sandbox.state()["enrollments"]) == 1


CALLS: dict[str, Callable[[SandboxPartner, str], object]] = {
    "POST /accounts": lambda partner, _: partner.create_account(ANN, key="a"),
    "GET /accounts": lambda partner, _: partner.find_account(ANN),
    "POST /enrollments": lambda partner, _: partner.enroll_in_course(
        "acc", "C", student=ANN, reference="r", key="k"
    ),
    "GET /enrollments": lambda partner, _: partner.find_enrollment("acc", "C"),
    "DELETE /enrollments/{id}": lambda partner, seat: partner.unenroll(seat),
    "GET /enrollments/{id}/progress": lambda partner, seat: partner.get_progress(seat),
    "GET /progress": lambda partner, _: partner.progress_page(None, 10),
    "GET /enrollments/{id}/certificate": lambda partner, seat: partner.get_certificate(seat),
    "POST /enrollments/{id}/launch": lambda partner, seat: partner.launch(seat, click("http://s.test", "l")),
}
# What each fault means to a GET or DELETE, and to a POST.
FAULTS: list[tuple[dict[str, Any], type[PartnerError], type[PartnerError]]] = [
    ({"status": 401}, CredentialsWrong, CredentialsWrong),
    ({"status": 422, "message": "Course is full"}, Refused, Refused),
    ({"retry_after": 3}, RateLimited, RateLimited),
    ({"status": 503, "retry_after": 3}, RetryLater, RetryLater),
    ({"status": 500}, RetryLater, OutcomeUnknown),
    ({"reset": True}, RetryLater, OutcomeUnknown),
    ({"lose_answer": True}, RetryLater, OutcomeUnknown),
    ({"hang": 0.3}, RetryLater, OutcomeUnknown),
    ({"latency": 0.3}, RetryLater, OutcomeUnknown),
]


@pytest.mark.parametrize("call", CALLS)
def test_every_fault_of_every_call_is_classed(sandbox: RunningSandbox, call: str) -> None:
    seat = take_seat(sandbox.partner())
    patient, hasty = sandbox.partner(), sandbox.partner(timeout=0.1)
    for fault, harmless, unclear in FAULTS:
        sandbox.fault(call, **fault)
        with pytest.raises(PartnerError) as caught:
            CALLS[call](hasty if fault.keys() & {"hang", "latency"} else patient, seat)
        assert type(caught.value) is (unclear if call.startswith("POST") else harmless), fault
        assert getattr(caught.value, "after", None) in (3.0, None)
        assert "partner" not in str(caught.value)
        assert str(caught.value).startswith(call)
        sandbox.request("DELETE", "/_faults")


@pytest.mark.parametrize("call", CALLS)
def test_garbage_is_an_answer_to_nothing(sandbox: RunningSandbox, call: str) -> None:
    seat = take_seat(sandbox.partner())
    sandbox.fault(call, times=1, garbage=True)
    with pytest.raises(OutcomeUnknown if call.startswith("POST") else RetryLater):
        CALLS[call](sandbox.partner(), seat)


def test_work_that_a_hanging_partner_does_late_is_found_by_the_look_up(sandbox: RunningSandbox) -> None:
    partner = sandbox.partner(timeout=0.1)
    sandbox.fault("POST /accounts", latency=0.3, times=1)
    with pytest.raises(OutcomeUnknown):
        partner.create_account(ANN, key="k1")
    assert partner.find_account(ANN) is None
    time.sleep(0.4)
    assert partner.find_account(ANN) is not None
    assert partner.create_account(ANN, key="k2").adopted
    assert len(sandbox.state()["accounts"]) == 1


def test_a_wrong_key_is_told_apart_from_everything_else(sandbox: RunningSandbox) -> None:
    with pytest.raises(CredentialsWrong):
        sandbox.partner(api_key="wrong-key-0123456789").check()


def test_a_course_that_is_refused_says_why(partner: SandboxPartner) -> None:
    account = partner.create_account(ANN, key="k1")
    with pytest.raises(Refused, match="POST /enrollments: 422, this course cannot be booked"):
        partner.enroll_in_course(account.id, "REFUSE-1", student=ANN, reference="e1", key="k2")


# Progress in bulk


def test_everything_that_changed_comes_once_over_many_pages(
    sandbox: RunningSandbox, partner: SandboxPartner
) -> None:
    state = sandbox.sandbox.state
    account = state.add_account("r", "a@b.test", "A")
    ids = [state.add_enrollment(account, f"C-{n}", f"e-{n}", 1_700_000_000.0).id for n in range(2500)]
    for id in ids[:3]:
        sandbox.move(id, 50)
    pages = list(iter_progress(partner, None, 400))
    assert [len(page.items) for _, page in pages] == [400] * 6 + [100]
    seen = [item.external_enrollment_id for _, page in pages for item in page.items]
    assert seen == ids[3:] + ids[:3]

    last_asked = pages[-1][0]
    sandbox.move(ids[7], 60)
    [(_, page)] = iter_progress(partner, last_asked, 400)
    assert page.items[-1].external_enrollment_id == ids[7]
    assert page.items[-1].percentage == 60


def test_seats_that_were_given_back_are_not_in_the_bulk(partner: SandboxPartner) -> None:
    seat = take_seat(partner)
    partner.unenroll(seat)
    assert partner.progress_page(None, 10).items == []


@pytest.mark.parametrize("status", ["404 Not Found", "405 Method Not Allowed", "501 Not Implemented"])
def test_a_partner_without_bulk_progress_is_told_apart(serve: Serve, status: str) -> None:
    with pytest.raises(NotFound):
        at(serve(answer(status))).progress_page(None, 10)


# Answers that the sandbox would never give


def at(server: RawServer) -> SandboxPartner:
    return SandboxPartner(server.url, "key-0123456789", connect_timeout=1, timeout=2, provider_type="hsi")


def says(serve: Serve, body: Any) -> SandboxPartner:
    return at(serve(answer("200 OK", json.dumps(body).encode())))


def test_two_matches_are_never_guessed_between(serve: Serve) -> None:
    double = [{"id": "1", "reference": ANN.reference}, {"id": "2", "reference": ANN.reference}]
    with pytest.raises(Ambiguous):
        says(serve, {"data": double}).find_account(ANN)
    with pytest.raises(Ambiguous):
        says(serve, {"data": [{"id": "1", "status": "active"}, {"id": "2"}]}).find_enrollment("a", "c")


def test_what_is_given_up_or_somebody_elses_is_no_match(serve: Serve) -> None:
    found = [{"id": "9", "reference": "usher-ann2"}, {"id": 7, "reference": ANN.reference}]
    assert says(serve, {"data": found}).find_account(ANN) == Account("7")
    seats = [
        {"id": str(n), "status": status}
        for n, status in enumerate(["deleted", "Cancelled", "revoked", "active"])
    ]
    assert says(serve, {"data": seats}).find_enrollment("a", "c") == Seat("3")
    assert says(serve, {"data": seats[:3]}).find_enrollment("a", "c") is None


@pytest.mark.parametrize("id", [None, "", " ", [], {}, True, 1.5, "x" * 256])
def test_an_id_that_is_none_is_not_taken_for_one(serve: Serve, id: Any) -> None:
    with pytest.raises(OutcomeUnknown):
        says(serve, {"id": id}).create_account(ANN, key="k")
    with pytest.raises(RetryLater):
        says(serve, {"data": [{"id": id, "status": "active"}]}).find_enrollment("a", "c")


@pytest.mark.parametrize(
    "body", [None, [], "x", {"data": None}, {"data": {}}, {"data": [1]}, {"data": [{"id": "1"}]}]
)
def test_a_list_of_something_else_is_not_taken_for_nobody(serve: Serve, body: Any) -> None:
    with pytest.raises(RetryLater):
        says(serve, body).find_account(ANN)


def test_a_conflict_that_the_look_up_does_not_confirm_is_unknown(serve: Serve) -> None:
    def script(connection: Any, request: bytes) -> None:
        one = answer("409 Conflict") if request.startswith(b"POST") else answer("200 OK", b'{"data": []}')
        one(connection, request)

    partner = at(serve(script))
    with pytest.raises(OutcomeUnknown):
        partner.create_account(ANN, key="k")
    with pytest.raises(OutcomeUnknown):
        partner.enroll_in_course("a", "c", student=ANN, reference="r", key="k")


GOOD = {"enrollment_id": "e1", "percentage": 50, "status": "active", "updated_at": None, "completed_at": None}
BAD: list[tuple[Any, tuple[str, str]]] = [
    ("x", ("?", "not an object")),
    ({}, ("?", "status is neither active nor completed")),
    ({**GOOD, "enrollment_id": None}, ("?", "the answer has no usable id")),
    ({**GOOD, "percentage": 101}, ("e1", "percentage is not from 0 to 100")),
    ({**GOOD, "percentage": -0.1}, ("e1", "percentage is not from 0 to 100")),
    ({**GOOD, "percentage": float("nan")}, ("e1", "percentage is not from 0 to 100")),
    ({**GOOD, "percentage": "1e999"}, ("e1", "percentage is not from 0 to 100")),
    ({**GOOD, "percentage": "half"}, ("e1", "percentage is not a number")),
    ({**GOOD, "percentage": True}, ("e1", "percentage is not a number")),
    ({**GOOD, "percentage": None}, ("e1", "percentage is not a number")),
    ({**GOOD, "status": ["active"]}, ("e1", "status is neither active nor completed")),
    ({**GOOD, "updated_at": "2026-11-20T12:00:00"}, ("e1", "a time has no offset from UTC")),
    ({**GOOD, "updated_at": "yesterday"}, ("e1", "a time is not ISO 8601")),
    ({**GOOD, "completed_at": 1700000000}, ("e1", "a time is not ISO 8601")),
    ({**GOOD, "updated_at": "0001-01-01T00:00:00+14:00"}, ("e1", "a time is not ISO 8601")),
]


def test_an_item_that_cannot_be_believed_does_not_stop_the_others(serve: Serve) -> None:
    body = {"data": [GOOD, *(item for item, _ in BAD), {**GOOD, "enrollment_id": 7}], "next_cursor": "c2"}
    page = says(serve, body).progress_page("c1", 10)
    assert [item.external_enrollment_id for item in page.items] == ["e1", "7"]
    assert page.rejected == [reason for _, reason in BAD]
    assert page.next_cursor == "c2"


@pytest.mark.parametrize("percentage", [42.5, "42.5", " 42.50 "])
def test_a_percentage_may_be_a_number_or_its_digits(serve: Serve, percentage: Any) -> None:
    progress = says(
        serve, {**GOOD, "percentage": percentage, "updated_at": "2026-11-20T12:00:00Z"}
    ).get_progress("e")
    assert progress.percentage == Decimal("42.5")
    assert progress.updated_at == datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_single_progress_that_cannot_be_believed_is_asked_for_again(serve: Serve) -> None:
    with pytest.raises(RetryLater, match="percentage"):
        says(serve, {**GOOD, "percentage": 200}).get_progress("e")


@pytest.mark.parametrize("cursor", ["", 3, [], True])
def test_a_cursor_that_is_none_is_not_followed(serve: Serve, cursor: Any) -> None:
    with pytest.raises(RetryLater):
        says(serve, {"data": [], "next_cursor": cursor}).progress_page(None, 10)


@pytest.mark.parametrize(
    "url",
    [
        None,
        3,
        "",
        "launch",
        "javascript:alert(1)",
        "ftp://h/x",
        "http://",
        "https:///x",
        "http://h/\r\nX: y",
        "http://h/ x",
        "http://[h",
    ],
)
def test_a_launch_leads_to_a_web_address_or_nowhere(serve: Serve, url: Any) -> None:
    with pytest.raises(Refused):
        says(serve, {"url": url}).launch("e", click("http://s.test", "k"))


def test_a_launch_without_a_readable_end_is_a_launch(serve: Serve) -> None:
    launch = says(serve, {"url": "https://h.test/x", "expires_at": "soon"}).launch("e", click("r", "k"))
    assert (launch.url, launch.expires_at) == ("https://h.test/x", None)


def test_a_certificate_links_only_to_web_addresses(serve: Serve) -> None:
    body = {
        "number": 12,
        "url": "javascript:alert(1)",
        "verification_url": "https://v.test/12",
        "issued_at": "x",
    }
    certificate = says(serve, body).get_certificate("e")
    assert certificate is not None
    assert (certificate.number, certificate.url, certificate.verification_url) == (
        "12",
        None,
        "https://v.test/12",
    )
    assert certificate.issued_at is None
    with pytest.raises(RetryLater):
        says(serve, {"number": None}).get_certificate("e")
