"""The sandbox as a partner: its protocol to the letter, its faults, and its life as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from partners.sandbox import state as state_module
from partners.sandbox.state import State
from tests.partners.conftest import RunningSandbox

ANN = {"reference": "usher-ann", "email": "ann@school.test", "name": "Ann"}


def make_account(sandbox: RunningSandbox, reference: str = "usher-ann") -> str:
    return str(sandbox.request("POST", "/accounts", {**ANN, "reference": reference}).json()["id"])


def make_seat(sandbox: RunningSandbox, course: str = "PY-1", reference: str = "e1") -> str:
    account = make_account(sandbox, f"of-{reference}")
    body = {"account_id": account, "course_code": course, "reference": reference}
    return str(sandbox.request("POST", "/enrollments", body).json()["id"])


def test_answers_look_as_the_protocol_says(sandbox: RunningSandbox) -> None:
    made = sandbox.request("POST", "/accounts", ANN)
    assert (made.status_code, list(made.json())) == (201, ["id"])
    account = made.json()["id"]
    found = sandbox.request("GET", "/accounts?reference=usher-ann").json()
    assert found == {"data": [{"id": account, "reference": "usher-ann", "email": "ann@school.test"}]}
    body = {"account_id": account, "course_code": "C 1&2", "reference": "e1"}
    made = sandbox.request("POST", "/enrollments", body)
    assert (made.status_code, list(made.json())) == (201, ["id"])
    seat = made.json()["id"]
    found = sandbox.request(
        "GET", "/enrollments", params={"account_id": account, "course_code": "C 1&2"}
    ).json()
    assert found == {"data": [{"id": seat, "status": "active"}]}
    progress = sandbox.request("GET", f"/enrollments/{seat}/progress").json()
    assert list(progress) == ["percentage", "status", "updated_at", "completed_at"]
    [item] = sandbox.request("GET", "/progress?limit=5").json()["data"]
    assert item == {"enrollment_id": seat, **progress}
    launch = sandbox.request("POST", f"/enrollments/{seat}/launch", {"return_url": "https://s.test/x"})
    assert (launch.status_code, list(launch.json())) == (201, ["url", "expires_at"])
    sandbox.move(seat, 100)
    certificate = sandbox.request("GET", f"/enrollments/{seat}/certificate").json()
    assert list(certificate) == ["number", "url", "verification_url", "issued_at", "expires_at"]
    assert sandbox.request("DELETE", f"/enrollments/{seat}").status_code == 204
    assert sandbox.request("DELETE", f"/enrollments/{seat}").status_code == 204


@pytest.mark.parametrize(
    "authorization", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer é"}]
)
def test_without_the_key_nothing_is_done(sandbox: RunningSandbox, authorization: dict[str, str]) -> None:
    encoded = {name: value.encode() for name, value in authorization.items()}
    answered = requests.post(f"{sandbox.url}/accounts", json=ANN, headers=encoded, timeout=5)
    assert answered.status_code == 401
    assert sandbox.state()["accounts"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/accounts", {}, 422, "reference is missing"),
        ("POST", "/accounts", {**ANN, "email": "ann"}, 422, "email is not an e-mail address"),
        ("POST", "/accounts", {**ANN, "name": None}, 422, "name is missing"),
        ("POST", "/accounts", [], 422, "reference is missing"),
        ("POST", "/accounts", ANN, 409, "reference exists"),
        ("GET", "/accounts", None, 422, "reference is missing"),
        (
            "POST",
            "/enrollments",
            {"account_id": "x", "course_code": "C", "reference": "r"},
            422,
            "unknown account",
        ),
        ("GET", "/enrollments/x/progress", None, 404, "unknown enrollment"),
        ("GET", "/enrollments/x/certificate", None, 404, "unknown enrollment"),
        ("POST", "/enrollments/x/launch", {"return_url": "http://s.test"}, 404, "unknown enrollment"),
        ("DELETE", "/enrollments/x", None, 404, "unknown enrollment"),
        ("GET", "/progress?limit=0", None, 422, "limit is a number from 1 to 1000"),
        ("GET", "/progress?since=x", None, 422, "since is not a cursor of this partner"),
        ("PATCH", "/accounts", None, 404, "no such call"),
        ("GET", "/enrollments/x/y/z", None, 404, "no such call"),
        ("GET", "/_nothing", None, 404, "no such call"),
        ("GET", "/", None, 404, "no such call"),
    ],
)
def test_what_is_wrong_is_answered_readably(
    sandbox: RunningSandbox, method: str, path: str, body: Any, status: int, message: str
) -> None:
    make_account(sandbox)
    answered = sandbox.request(method, path, body)
    assert (answered.status_code, answered.json()["message"]) == (status, message)


def test_a_body_that_is_not_json_is_refused(sandbox: RunningSandbox) -> None:
    assert sandbox.request("POST", "/accounts", data=b"{").status_code == 422


def test_a_return_url_that_is_no_web_address_is_refused(sandbox: RunningSandbox) -> None:
    seat = make_seat(sandbox)
    for url in ("javascript:alert(1)", "x", "http://", "http://[", 3, None):
        assert sandbox.request("POST", f"/enrollments/{seat}/launch", {"return_url": url}).status_code == 422


def test_the_same_key_gives_the_first_answer_and_another_body_is_refused(sandbox: RunningSandbox) -> None:
    key = {"Idempotency-Key": "k1"}
    first = sandbox.request("POST", "/accounts", ANN, headers=key)
    turned = dict(reversed(ANN.items()))
    again = sandbox.request("POST", "/accounts", turned, headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    other = sandbox.request("POST", "/accounts", {**ANN, "name": "Bob"}, headers=key)
    assert other.status_code == 422
    assert sandbox.request("POST", "/accounts", ANN, headers={"Idempotency-Key": "k2"}).status_code == 409


def test_a_key_whose_call_failed_is_not_used_up(sandbox: RunningSandbox) -> None:
    key = {"Idempotency-Key": "k1"}
    sandbox.fault("POST /accounts", status=500, times=1)
    assert sandbox.request("POST", "/accounts", ANN, headers=key).status_code == 500
    assert sandbox.request("POST", "/accounts", ANN, headers=key).status_code == 201


def test_old_keys_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "KEYS_KEPT", 2)
    state = State()
    for number in range(3):
        state.keep_answer(f"k{number}", "d", {})
    assert state.answer_for("k0", "d") is None
    assert state.answer_for("k2", "d") == {}


def test_a_launch_page_is_safe_and_ends(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"reference": "r", "email": "a@b.test", "name": "<script>x</script>"}
    account = sandbox.request("POST", "/accounts", body).json()["id"]
    seat = sandbox.request(
        "POST", "/enrollments", {"account_id": account, "course_code": "<b>", "reference": "e"}
    ).json()["id"]
    url = sandbox.request(
        "POST", f"/enrollments/{seat}/launch", {"return_url": 'http://s.test/"><i>'}
    ).json()["url"]
    page = requests.get(url, timeout=5).text
    for raw in ("<script>x", "<b>", '"><i>'):
        assert raw not in page
    later = time.time() + 121
    monkeypatch.setattr("partners.sandbox.server.time.time", lambda: later)
    assert requests.get(url, timeout=5).status_code == 410


# Control


def test_faults_strike_in_order_where_they_match_and_as_often_as_told(sandbox: RunningSandbox) -> None:
    sandbox.fault("POST /accounts", status=500, times=1, after=1, match={"reference": "a"})
    sandbox.fault("*", status=503, times=2, match={"reference": "b"})
    statuses = [make_status(sandbox, reference) for reference in ("a", "b", "c", "a", "b", "b")]
    assert statuses == [201, 503, 201, 500, 503, 201]
    faults = sandbox.request("GET", "/_faults").json()["data"]
    assert [fault["times"] for fault in faults] == [0, 0]
    sandbox.fault("*", status=503)
    assert make_status(sandbox, "d") == 503
    assert sandbox.request("DELETE", "/_faults").status_code == 200
    assert make_status(sandbox, "d") == 201


def make_status(sandbox: RunningSandbox, reference: str) -> int:
    return sandbox.request("POST", "/accounts", {**ANN, "reference": reference}).status_code


def test_a_fault_can_be_aimed_at_a_seat_by_what_is_known_of_it(sandbox: RunningSandbox) -> None:
    hit, other = make_seat(sandbox, "PY-1", "e1"), make_seat(sandbox, "PY-2", "e2")
    for match in ({"course_code": "PY-1"}, {"enrollment_id": hit}, {"reference": "e1"}):
        sandbox.fault("GET /enrollments/{id}/progress", status=500, times=1, match=match)
        assert sandbox.request("GET", f"/enrollments/{other}/progress").status_code == 200
        assert sandbox.request("GET", f"/enrollments/{hit}/progress").status_code == 500


def test_a_fault_can_answer_wrongly_after_the_work_is_done(sandbox: RunningSandbox) -> None:
    sandbox.fault("POST /accounts", lose_answer=True, status=500, times=1)
    assert make_status(sandbox, "a") == 500
    assert len(sandbox.state()["accounts"]) == 1


def test_latency_delays_and_does_nothing_else(sandbox: RunningSandbox) -> None:
    sandbox.fault("POST /accounts", latency=0.1)
    started = time.monotonic()
    assert make_status(sandbox, "a") == 201
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize(
    "fault",
    [
        [],
        {},
        {"status": 500},
        {"call": "POST /acounts", "status": 500},
        {"call": [], "status": 500},
        {"call": "*"},
        {"call": "*", "status": "500"},
        {"call": "*", "status": 500, "tiems": 1},
        {"call": "*", "status": 500, "times": -1},
        {"call": "*", "hang": True},
        {"call": "*", "reset": True, "match": {"email": "x"}},
    ],
)
def test_a_fault_with_a_typing_error_is_refused(sandbox: RunningSandbox, fault: Any) -> None:
    assert sandbox.request("POST", "/_faults", fault).status_code == 422


def test_progress_can_be_moved_by_either_name_and_all_or_nothing(sandbox: RunningSandbox) -> None:
    first, second = make_seat(sandbox, "A", "e1"), make_seat(sandbox, "B", "e2")
    both = [{"enrollment_id": first, "percentage": 40}, {"reference": "e2", "percentage": 100}]
    assert sandbox.request("POST", "/_progress", both).json() == {"moved": 2}
    wrong = [{"enrollment_id": first, "percentage": 50}, {"reference": "e3", "percentage": 1}]
    assert sandbox.request("POST", "/_progress", wrong).status_code == 404
    seats = {seat["id"]: seat for seat in sandbox.state()["enrollments"]}
    assert (seats[first]["percentage"], seats[second]["status"]) == (40, "completed")
    sandbox.move(second, 30)
    assert sandbox.request("GET", f"/enrollments/{second}/certificate").status_code == 404


@pytest.mark.parametrize(
    "item",
    [
        3,
        {"reference": "e1"},
        {"reference": "e1", "percentage": True},
        {"percentage": 1, "reference": "e1", "updated_at": "2026-01-01"},
    ],
)
def test_a_move_that_cannot_be_read_is_refused(sandbox: RunningSandbox, item: Any) -> None:
    make_seat(sandbox, "A", "e1")
    assert sandbox.request("POST", "/_progress", item).status_code == 422


def test_it_tells_what_it_holds_and_what_it_was_asked(sandbox: RunningSandbox) -> None:
    seat, gone = make_seat(sandbox, "A", "e1"), make_seat(sandbox, "B", "e2")
    sandbox.request("DELETE", f"/enrollments/{gone}")
    sandbox.fault("GET /enrollments/{id}/progress", reset=True)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{sandbox.url}/enrollments/{seat}/progress", timeout=5)
    state = sandbox.state()
    assert state["counts"] == {"accounts": 2, "enrollments": 1}
    account = state["accounts"][0]["id"]
    assert state["enrollments"] == [
        {
            "id": seat,
            "account_id": account,
            "course_code": "A",
            "reference": "e1",
            "status": "active",
            "percentage": 0,
        }
    ]
    assert [item["id"] for item in state["deleted"]] == [gone]
    assert state["calls"]["POST /enrollments"] == 2
    calls = sandbox.calls()
    assert [call["call"] for call in calls[-2:]] == [
        "DELETE /enrollments/{id}",
        "GET /enrollments/{id}/progress",
    ]
    assert [call["status"] for call in calls[-2:]] == [204, None]
    assert calls[-1]["enrollment_id"] == seat
    assert calls[1]["reference"] == "e1"
    assert 0 <= time.time() - calls[-1]["at"] < 5
    assert len(sandbox.request("GET", "/_calls?limit=2").json()["data"]) == 2
    assert set(sandbox.request("GET", "/_state?summary=1").json()) == {"counts", "calls"}


def test_a_call_is_counted_while_it_hangs(sandbox: RunningSandbox) -> None:
    sandbox.fault("GET /accounts", hang=0.3)
    with pytest.raises(requests.Timeout):
        requests.get(f"{sandbox.url}/accounts?reference=x", timeout=0.1)
    assert [(call["call"], call["status"]) for call in sandbox.calls()] == [("GET /accounts", None)]


def test_after_a_reset_old_cursors_start_at_the_beginning(sandbox: RunningSandbox) -> None:
    for number in range(3):
        make_seat(sandbox, "A", f"e{number}")
    cursor = sandbox.request("GET", "/progress?limit=2").json()["next_cursor"]
    assert len(sandbox.request("GET", f"/progress?since={cursor}").json()["data"]) == 1
    sandbox.request("POST", "/_reset")
    make_seat(sandbox, "A", "e9")
    assert len(sandbox.request("GET", f"/progress?since={cursor}").json()["data"]) == 1


def test_a_reset_empties_the_journal_too(tmp_path: Path) -> None:
    state = State(tmp_path / "journal")
    state.add_account("r", "a@b.test", "A")
    state.reset()
    state.add_account("s", "a@b.test", "A")
    state.close()
    assert list(State(tmp_path / "journal").accounts_by_reference) == ["s"]


# As a process


class Process:
    """`python -m partners.sandbox` with a journal, which can be killed and started again."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "partners.sandbox", "--port", "0", "--state", str(self._journal)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "SANDBOX_API_KEY": "k"}, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[-1]

    def end(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        code = self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> requests.Response:
        headers = {"Authorization": "Bearer k"} | ({"Idempotency-Key": key} if key else {})
        return requests.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=5)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    running = Process(tmp_path / "sandbox.jsonl")
    yield running
    running.end(signal.SIGTERM)


def test_what_was_answered_survives_a_kill_and_a_torn_line(process: Process, tmp_path: Path) -> None:
    account = process.call("POST", "/accounts", ANN, "k1").json()["id"]
    seats = [
        process.call(
            "POST", "/enrollments", {"account_id": account, "course_code": c, "reference": c}
        ).json()["id"]
        for c in "ABC"
    ]
    process.call("DELETE", f"/enrollments/{seats[0]}")
    process.call("POST", "/_progress", {"enrollment_id": seats[1], "percentage": 100})
    before = process.call("GET", "/_state").json()
    page = process.call("GET", "/progress?limit=1").json()
    process.end(signal.SIGKILL)
    with (tmp_path / "sandbox.jsonl").open("a") as journal:
        journal.write('{"op":"delete","id":"' + seats[1])

    process.start()
    after = process.call("GET", "/_state").json()
    assert {**after, "calls": 0} == {**before, "calls": 0}
    assert process.call("POST", "/accounts", ANN, "k1").json()["id"] == account
    assert process.call("GET", f"/enrollments/{seats[1]}/certificate").status_code == 200
    rest = process.call("GET", f"/progress?since={page['next_cursor']}").json()["data"]
    assert [item["enrollment_id"] for item in rest] == [seats[1]]
    new = process.call("POST", "/accounts", {**ANN, "reference": "new"}).json()["id"]
    assert new not in {account, *seats}

    process.end(signal.SIGKILL)
    process.start()
    assert process.call("GET", "/_state?summary=1").json()["counts"] == {"accounts": 2, "enrollments": 2}


def test_it_ends_politely_even_with_a_caller_on_the_line(process: Process) -> None:
    process.call("POST", "/_faults", {"call": "*", "hang": 60})
    with pytest.raises(requests.Timeout):
        requests.get(f"{process.url}/accounts?reference=x", timeout=0.1)
    started = time.monotonic()
    assert process.end(signal.SIGTERM) == 0
    assert time.monotonic() - started < 5


def run(*options: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "SANDBOX_API_KEY"}
    return subprocess.run(
        [sys.executable, "-m", "partners.sandbox", *options],
        env=clean | env,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_it_says_why_it_does_not_start(process: Process, tmp_path: Path) -> None:
    told = run("--port", "0")
    assert (told.returncode, told.stderr) == (
        2,
        "SANDBOX_API_KEY is not set: it holds the key that callers have to send\n",
    )
    told = run("--port", process.url.rpartition(":")[2], "--api-key-env", "OTHER", OTHER="k")
    assert told.returncode == 1
    assert told.stderr.startswith("cannot listen on 127.0.0.1")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"op":"born","epoch":"x"}\nnot json\n')
    told = run("--port", "0", "--state", str(broken), SANDBOX_API_KEY="k")
    assert (told.returncode, told.stderr) == (
        1,
        f"the state cannot be read: line 2 of {broken} is not readable\n",
    )
