"""What a call through the door can end in, against servers that do what no library would let them."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from partners import wire
from partners.errors import (
    Conflict,
    CredentialsWrong,
    NotFound,
    OutcomeUnknown,
    PartnerError,
    RateLimited,
    Refused,
    RetryLater,
)
from partners.http import CallRecord, HttpDoor, parse_retry_after
from tests.partners.conftest import RawServer, RunningSandbox, Script, answer

Serve = Callable[[Script], RawServer]
KEY = "very-secret-key-0123456789"


def door(url: str, timeout: float = 2.0, **options: Any) -> HttpDoor:
    headers = {"Authorization": f"Bearer {KEY}"}
    return HttpDoor("fake", url, connect_timeout=0.3, timeout=timeout, headers=headers, **options)


def ask(url: str, method: str = "GET", **options: Any) -> Any:
    return door(url).call(method, "/things", idempotent=method != "POST", **options)


def failure(url: str, method: str = "GET", timeout: float = 2.0, **options: Any) -> PartnerError:
    with pytest.raises(PartnerError) as caught:
        door(url, timeout).call(method, "/things", idempotent=method != "POST", **options)
    assert KEY not in str(caught.value)
    return caught.value


SAME = {
    "401 Unauthorized": CredentialsWrong,
    "403 Forbidden": CredentialsWrong,
    "404 Not Found": NotFound,
    "408 Request Timeout": RetryLater,
    "409 Conflict": Conflict,
    "425 Too Early": RetryLater,
    "429 Too Many Requests": RateLimited,
    "400 Bad Request": Refused,
    "405 Method Not Allowed": Refused,
    "422 Unprocessable Entity": Refused,
    "451 Unavailable For Legal Reasons": Refused,
}
UNCLEAR = [
    "500 Oops",
    "502 Bad Gateway",
    "503 Busy",
    "504 Late",
    "302 Found",
    "304 Not Modified",
    "101 Switch",
]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("status", SAME)
def test_a_status_that_is_clear_means_the_same_for_every_method(
    serve: Serve, status: str, method: str
) -> None:
    error = failure(serve(answer(status)).url, method)
    assert type(error) is SAME[status]
    assert error.status == int(status[:3])
    assert str(error).startswith(f"{method} /things: {status[:3]}")


@pytest.mark.parametrize("status", UNCLEAR)
def test_a_status_that_leaves_open_what_happened_is_harmless_only_where_repeating_is(
    serve: Serve, status: str
) -> None:
    url = serve(answer(status, b"", "Location: http://elsewhere.test/")).url
    assert type(failure(url, "GET")) is RetryLater
    assert type(failure(url, "DELETE")) is RetryLater
    assert type(failure(url, "POST")) is OutcomeUnknown


def test_a_503_that_names_a_pause_is_believed_for_a_post_too(serve: Serve) -> None:
    error = failure(serve(answer("503 Busy", b"", "Retry-After: 7")).url, "POST")
    assert isinstance(error, RetryLater)
    assert error.after == 7.0


def test_a_redirect_is_not_followed(serve: Serve) -> None:
    other = serve(answer("200 OK", b"{}"))
    failure(serve(answer("302 Found", b"", f"Location: {other.url}/")).url)
    assert other.requests == []


def test_a_status_that_the_adapter_accepts_is_an_answer(serve: Serve) -> None:
    assert ask(serve(answer("404 Not Found", b"<html>")).url, accept={404}).json is None
    assert ask(serve(answer("404 Not Found", b'{"a": 1}')).url, accept={404}).json == {"a": 1}


GARBAGE = {
    "html": b"<html></html>",
    "cut": b'{"id": ',
    "latin": b'{"id": "\xff"}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_2xx_that_is_not_json_is_garbage(serve: Serve, kind: str) -> None:
    url = serve(answer("200 OK", GARBAGE[kind])).url
    assert type(failure(url, "GET")) is RetryLater
    assert type(failure(url, "POST")) is OutcomeUnknown


def test_an_empty_2xx_is_an_answer_without_json(serve: Serve) -> None:
    assert ask(serve(answer("200 OK")).url).json is None
    assert ask(serve(answer("204 No Content")).url, "DELETE").status == 204


def sends(raw: bytes) -> Script:
    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_RDWR)

    return script


BROKEN = {
    "nothing": b"",
    "not http": b"hello there\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "half a body": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id": 1}',
    "half a chunk": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"id": 1}',
    "bad chunk": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{"id": 1}',
    "negative chunk": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{"id": 1}',
    "endless header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000,
    "too large, told": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    "too large, untold": b"HTTP/1.1 200 OK\r\n\r\n" + b"1" * (wire.MAX_BODY + 1),
    "too large a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffff\r\n"
    + b"1" * 3_000_000,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_answer_that_is_broken_leaves_a_post_unknown(serve: Serve, kind: str) -> None:
    url = serve(sends(BROKEN[kind])).url
    assert type(failure(url, "GET")) is RetryLater
    assert type(failure(url, "POST")) is OutcomeUnknown


def test_the_largest_answer_that_is_allowed_is_read_whole(serve: Serve) -> None:
    body = b'"' + b"x" * (wire.MAX_BODY - 2) + b'"'
    assert len(ask(serve(answer("200 OK", body)).url).json) == wire.MAX_BODY - 2


def test_a_chunked_answer_is_read_and_its_connection_used_again(serve: Serve) -> None:
    raw = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n4\r\n: 1}\r\n0\r\n\r\n'
    server = serve(lambda connection, _: connection.sendall(raw))
    shared = door(server.url)
    for _ in range(3):
        assert shared.call("GET", "/things", idempotent=True).json == {"a": 1}
    assert server.connections == 1


def test_an_interim_answer_does_not_shift_the_answers_by_one(serve: Serve) -> None:
    def hints_then_answers(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        time.sleep(0.05)
        body = request.split()[1]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    server = serve(hints_then_answers)
    shared = door(server.url)
    for _ in range(2):
        with pytest.raises(RetryLater):
            shared.call("GET", "/1", idempotent=True)
        time.sleep(0.02)
    assert server.connections == 2


def trickles(head: bytes) -> Script:
    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        for _i in range(200):
            connection.sendall(b"x")
            time.sleep(0.02)

    return script


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
    ],
)
def test_a_partner_that_trickles_bytes_is_cut_off_at_the_deadline(serve: Serve, head: bytes) -> None:
    url = serve(trickles(head)).url
    started = time.monotonic()
    assert type(failure(url, "POST", timeout=0.2)) is OutcomeUnknown
    assert 0.15 < time.monotonic() - started < 2.0


def test_a_partner_that_never_answers_is_left_at_the_deadline(serve: Serve) -> None:
    url = serve(lambda *_: time.sleep(2)).url
    started = time.monotonic()
    assert type(failure(url, "GET", timeout=0.2)) is RetryLater
    assert type(failure(url, "POST", timeout=0.2)) is OutcomeUnknown
    assert time.monotonic() - started < 1.9


def test_a_reset_after_sending_leaves_a_post_unknown(serve: Serve) -> None:
    def resets(connection: socket.socket, _: bytes) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    server = serve(resets)
    assert type(failure(server.url, "GET")) is RetryLater
    assert type(failure(server.url, "POST")) is OutcomeUnknown
    assert server.connections == 2


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_a_refused_connection_is_tried_three_times_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    dials: list[float] = []
    new_connection = wire.Wire._new_connection

    def count(*args: Any) -> Any:
        dials.append(time.monotonic())
        return new_connection(*args)

    monkeypatch.setattr(wire.Wire, "_new_connection", count)
    error = failure(f"http://127.0.0.1:{closed_port()}", "POST")
    assert type(error) is RetryLater
    assert str(error) == "POST /things: the partner cannot be reached, connection refused"
    assert len(dials) == 3
    assert dials[-1] - dials[0] < 1.5


def test_a_partner_that_comes_up_in_between_is_reached(serve: Serve) -> None:
    port = closed_port()

    def late() -> None:
        time.sleep(0.05)
        with socket.create_server(("127.0.0.1", port)) as listener, listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")

    threading.Thread(target=late, daemon=True).start()
    assert ask(f"http://127.0.0.1:{port}", "POST").status == 201


def test_a_name_that_nobody_knows_is_unreachable() -> None:
    assert type(failure("http://partner.invalid", "POST")) is RetryLater


def test_an_address_that_swallows_connections_is_left_after_the_connect_timeout() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # The queue of a listener that never accepts holds one connection: the next ones get no answer.
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        started = time.monotonic()
        error = failure(f"http://127.0.0.1:{full.getsockname()[1]}", "POST", timeout=0.6)
        for filler in fillers:
            filler.close()
    assert type(error) is RetryLater
    assert 0.25 < time.monotonic() - started < 4.0


def test_a_refused_connection_does_not_outlast_the_deadline() -> None:
    started = time.monotonic()
    assert type(failure(f"http://127.0.0.1:{closed_port()}", "POST", timeout=0.3)) is RetryLater
    assert time.monotonic() - started < 0.3


def closes_after(answers: int) -> Script:
    """Answer some requests on a connection, then close it on the next without a word."""
    served: Counter[Any] = Counter()

    def script(connection: socket.socket, _: bytes) -> None:
        caller = connection.getpeername()
        served[caller] += 1
        if served[caller] > answers:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    return script


def test_a_kept_connection_that_closes_on_us_is_replaced_for_a_get_and_unknown_for_a_post(
    serve: Serve,
) -> None:
    server = serve(closes_after(1))
    shared = door(server.url)
    shared.call("GET", "/things", idempotent=True)
    shared.call("GET", "/things", idempotent=True)
    assert len(server.requests) == 3
    with pytest.raises(OutcomeUnknown):
        shared.call("POST", "/things", idempotent=False)
    assert len(server.requests) == 4


def test_a_connection_that_the_server_closed_while_it_was_idle_is_not_used_even_for_a_post(
    serve: Serve,
) -> None:
    def once(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        connection.shutdown(socket.SHUT_RDWR)

    shared = door(serve(once).url)
    for _ in range(3):
        shared.call("POST", "/things", idempotent=False)
        [(kept, _)] = shared._wire._idle
        while kept.is_connected:
            time.sleep(0.001)


def test_a_connection_that_was_idle_for_long_is_not_trusted(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answer("200 OK", b"{}"))
    shared = door(server.url)
    shared.call("GET", "/things", idempotent=True)
    monkeypatch.setattr(wire, "IDLE_SECONDS", 0.0)
    shared.call("GET", "/things", idempotent=True)
    assert server.connections == 2


def test_a_fork_does_not_answer_on_its_parents_connections(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answer("200 OK", b"{}"))
    shared = door(server.url)
    shared.call("GET", "/things", idempotent=True)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    shared.call("GET", "/things", idempotent=True)
    assert server.connections == 2


def test_sixty_four_threads_share_a_door_and_its_connections(sandbox: RunningSandbox) -> None:
    shared = HttpDoor(
        "fake",
        sandbox.url,
        connect_timeout=5,
        timeout=10,
        headers={"Authorization": "Bearer sandbox-key-0123456789"},
    )
    wrong: list[Any] = []

    def work(number: int) -> None:
        for turn in range(10):
            reference = f"r-{number}-{turn}"
            body = {"reference": reference, "email": "a@b.test", "name": ""}
            made = shared.call("POST", "/accounts", json=body, idempotent=False).json
            found = shared.call("GET", "/accounts", params={"reference": reference}, idempotent=True).json[
                "data"
            ]
            if [item["id"] for item in found] != [made["id"]]:
                wrong.append((made, found))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(sandbox.state()["accounts"]) == 640


NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 2.5 ", 2.5),
        ("0", 0.0),
        ("999999999", 86_400.0),
        ("Fri, 20 Nov 2026 12:01:00 GMT", 60.0),
        ("Fri, 20 Nov 2026 13:01:00 +0100", 60.0),
        ("Fri, 20 Nov 2026 12:01:00 -0000", 60.0),
        ("Fri, 20 Nov 2020 12:00:00 GMT", 0.0),
        ("Fri, 20 Nov 2099 12:00:00 GMT", 86_400.0),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Fri, 99 Nov 2026 12:00:00 GMT", None),
        ("9" * 400, 86_400.0),
    ],
)
def test_a_pause_is_read_in_both_forms_and_believed_for_a_day_at_most(
    header: str | None, seconds: float | None
) -> None:
    assert parse_retry_after(header, now=NOW) == seconds


def test_a_rate_limit_carries_its_pause(serve: Serve) -> None:
    error = failure(serve(answer("429 Slow Down", b"", "Retry-After: 3")).url, "POST")
    assert isinstance(error, RateLimited)
    assert error.after == 3.0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"message": "Course is full"}', ", Course is full"),
        (b'{"error": {"code": 3, "message": "no such course"}}', ", no such course"),
        (b'{"errors": ["first", "second"]}', ", first"),
        (b'{"errors": {"email": ["is taken"]}}', ', {"email": ["is taken"]}'),
        (b'{"detail": [{"loc": ["x"], "msg": "field required"}]}', ", field required"),
        (b'{"detail": "name\\nis missing"}', ", name is missing"),
        (b'{"error": "invalid_grant", "error_description": "expired"}', ", expired"),
        (b"<html>sorry</html>", ""),
        (b"[]", ""),
        (b'{"message": 3}', ""),
    ],
)
def test_a_refusal_says_what_the_partner_said(serve: Serve, body: bytes, words: str) -> None:
    assert str(failure(serve(answer("422 No", body)).url)) == f"GET /things: 422{words}"


def test_what_a_partner_repeats_of_a_request_does_not_leak(serve: Serve) -> None:
    said = (
        f'{{"message": "no ann.lee@school.test, key {KEY}, Bearer {KEY}, '
        'http://p.test/launch?token=abc1 %s"}' % ("x " * 300)
    )
    text = str(failure(serve(answer("422 No", said.encode())).url, params={"email": "ann.lee@school.test"}))
    for secret in ("ann", "school.test", KEY, "abc1"):
        assert secret not in text
    assert len(text) < 230


def test_errors_logs_and_records_name_the_template_and_nothing_else(serve: Serve) -> None:
    records: list[CallRecord] = []
    shared = door(serve(answer("404 Not Found")).url, on_call=records.append)
    with structlog.testing.capture_logs() as logs, pytest.raises(NotFound) as caught:
        shared.call(
            "GET", "/people/{id}", path_args={"id": "ann@x.test"}, params={"q": "secret"}, idempotent=True
        )
    assert str(caught.value) == "GET /people/{id}: 404"
    [line] = logs
    assert line.pop("duration_ms") >= 0
    assert line == {
        "event": "partner call",
        "log_level": "warning",
        "partner": "fake",
        "method": "GET",
        "path_template": "/people/{id}",
        "status": 404,
        "outcome": "not_found",
    }
    assert records[0][:4] == ("fake", "GET", "/people/{id}", 404)


def test_a_call_without_an_answer_is_recorded_as_well(serve: Serve) -> None:
    records: list[CallRecord] = []
    shared = door(serve(sends(b"")).url, on_call=records.append)
    with pytest.raises(OutcomeUnknown):
        shared.call("POST", "/things", idempotent=False)
    assert records[0].status is None
    assert records[0].outcome == "outcome_unknown"


def test_what_goes_into_an_address_cannot_change_its_meaning(serve: Serve) -> None:
    server = serve(answer("200 OK", b"{}"))
    shared = door(f"{server.url}/api/v2/")
    for id in ("a/../b?c#d é", "..%2f"):
        shared.call("GET", "/people/{id}/x", path_args={"id": id}, params={"q": "a&b=c\r\n"}, idempotent=True)
    lines = [request.split(b"\r\n")[0] for request in server.requests]
    assert lines == [
        b"GET /api/v2/people/a%2F..%2Fb%3Fc%23d%20%C3%A9/x?q=a%26b%3Dc%0D%0A HTTP/1.1",
        b"GET /api/v2/people/..%252f/x?q=a%26b%3Dc%0D%0A HTTP/1.1",
    ]
    for id in ("", " ", ".", ".."):
        with pytest.raises(Refused):
            shared.call("GET", "/people/{id}/x", path_args={"id": id}, idempotent=True)
    with pytest.raises(ValueError, match="control character"):
        shared.call("GET", "/x", headers={"Idempotency-Key": "a\r\nX: y"}, idempotent=True)


def test_the_request_carries_its_key_its_body_and_its_length(serve: Serve) -> None:
    server = serve(answer("200 OK", b"{}"))
    door(server.url).call(
        "POST", "/x", json={"name": "Zoë"}, headers={"Idempotency-Key": "k1"}, idempotent=False
    )
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert body == b'{"name":"Zo\\u00eb"}'
    for line in (
        b"Authorization: Bearer ",
        b"Idempotency-Key: k1",
        b"Content-Length: 19",
        b"Host: 127.0.0.1:",
    ):
        assert line in head


def test_the_environments_proxy_is_not_asked(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(answer("200 OK", b"{}"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    ask(serve(answer("200 OK", b"{}")).url)
    assert proxy.requests == []


@pytest.mark.parametrize("url", ["ftp://host/x", "host.test", "http://", "https:///x", ""])
def test_an_address_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="base address"):
        door(url)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, in one file with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here to make a certificate")
    subprocess.run(
        [*command.split(), "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", f"{path}.crt"],
        capture_output=True,
        check=True,
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def tls_port(certificate: Path) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve_tls() -> None:
        while True:
            try:
                with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                    while connection.recv(65536):
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            except OSError:
                continue

    threading.Thread(target=serve_tls, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(tls_port: int) -> None:
    error = failure(f"https://localhost:{tls_port}", "POST")
    assert type(error) is RetryLater
    assert "its certificate is not valid" in str(error)


def test_a_certificate_that_the_system_trusts_is_accepted_for_its_own_name_only(
    tls_port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    shared = door(f"https://localhost:{tls_port}")
    for _ in range(3):
        assert shared.call("POST", "/things", idempotent=False).json == {}
        [(kept, _)] = shared._wire._idle
        assert kept.is_connected
    kept.close()
    assert "certificate is not valid" in str(failure(f"https://127.0.0.1:{tls_port}"))
