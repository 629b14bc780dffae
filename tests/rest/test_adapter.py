"""What a declarative partner sends, and what it makes of answers: against a server that answers by a script."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from werkzeug.wrappers import Request, Response

from partners.addresses import AddressRules
from partners.base import Capability, Click, Student
from partners.configuration import Verified
from partners.connection import Connection
from partners.errors import (
    Ambiguous,
    CredentialsWrong,
    NotFound,
    NotReadyYet,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RetryLater,
)
from partners.kit.fake import Fake
from partners.rest.adapter import RestPartner
from partners.rest.operations import Reset

SECRETS = {"id": "client-id-0123", "key": "a-signing-key-0123456789", "password": "pässword: 0123456789"}
STUDENT = Student("usher-1", "ann@example.org", "Ann Marie Lee")
SEAT = {"method": "GET", "path": "/seats/{seat_id}"}
Script = Callable[[Request], Any]
Make = Callable[..., RestPartner]


class Scripted(Fake):
    """Answers as the script says; a body or (status, body) or (status, body, headers). `requests` are what came in."""

    def __init__(self) -> None:
        self.script: Script = lambda request: {}
        self.requests: list[Request] = []
        super().__init__()

    def handle(self, request: Request) -> Response:
        self.requests.append(request)
        told = self.script(request)
        status, body, headers = (*told, {})[:3] if isinstance(told, tuple) else (200, told, {})
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Response(text, status, headers, content_type="application/json")


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as fake:
        assert isinstance(fake, Scripted)
        yield fake


@pytest.fixture
def make(server: Scripted) -> Make:
    """Make a partner of operations and other options."""

    def call(
        *, auth: dict[str, Any] | None = None, rules: AddressRules | None = None, **more: Any
    ) -> RestPartner:
        operations = {"check": {"method": "GET", "path": "/"}, **more.pop("operations", {})}
        base_url = more.pop("base_url", server.url)
        options = {"auth": auth or {"kind": "none"}, "operations": operations, **more}
        verified = Verified("own-protocol", "a test")
        connection = Connection(
            "acme",
            "rest",
            verified,
            base_url,
            SECRETS,
            options,
            rules or AddressRules(private=True),
            timeout=5.0,
        )
        return RestPartner.from_connection(connection)

    return call


# Who we are


def test_basic_takes_any_letters(server: Scripted, make: Make) -> None:
    make(auth={"kind": "basic", "user": "{secret.id}", "password": "{secret.password}"}).check()
    sent = b64decode(server.requests[0].headers["Authorization"].removeprefix("Basic ")).decode()
    assert sent == f"{SECRETS['id']}:{SECRETS['password']}"


@pytest.mark.parametrize("client", ["basic", "body"])
def test_an_oauth_token_is_fetched_once_and_again_when_it_is_refused(
    server: Scripted, make: Make, client: str
) -> None:
    good = ["token-0001"]

    def script(request: Request) -> Any:
        if request.path == "/oauth/token":
            return {"access_token": good[0], "expires_in": 3600}
        return (
            {} if request.headers.get("Authorization") == f"Bearer {good[0]}" else (401, {"message": good[0]})
        )

    server.script = script
    auth = {"kind": "oauth2_client_credentials", "path": "/oauth/token", "client": client}
    auth |= {
        "client_id": "{secret.id}",
        "client_secret": "{secret.key}",
        "fields": {"api_key": "{secret.key}"},
    }
    partner = make(auth=auth)
    partner.check()
    partner.check()
    [login] = [request for request in server.requests if request.path == "/oauth/token"]
    form = parse_qs(login.get_data(as_text=True))
    assert form["grant_type"] == ["client_credentials"]
    assert form["api_key"] == [SECRETS["key"]]
    assert ("client_secret" in form) == (client == "body")
    assert ("Authorization" in login.headers) == (client == "basic")
    good[0] = "token-0002"
    partner.check()
    assert sum(request.path == "/oauth/token" for request in server.requests) == 2


def test_a_token_may_come_from_another_address_where_that_is_allowed(server: Scripted, make: Make) -> None:
    auth = {"kind": "login_token", "path": "/login", "json": {}, "token": "token", "lifetime": 60}
    with Scripted() as elsewhere:
        assert isinstance(elsewhere, Scripted)
        elsewhere.script = lambda request: {"token": "tok-12345678"}
        make(auth={**auth, "base_url": f"{elsewhere.url}/auth"}).check()
        assert [request.path for request in elsewhere.requests] == ["/auth/login"]
        assert server.requests[0].headers["Authorization"] == "Bearer tok-12345678"
    rules = AddressRules(("127.0.0.1",), private=True)
    with pytest.raises(CredentialsWrong, match="PARTNER_HOSTS does not name"):
        make(auth={**auth, "base_url": "https://evil.example"}, rules=rules)


@pytest.mark.parametrize(
    "url", ["http://sso.example/in", "https://evil.example/in", "https://sso.example/in?x=1"]
)
def test_a_signed_launch_leads_only_where_a_partner_may_be(make: Make, url: str) -> None:
    spec = {"url": url, "param": "jwt", "key": "{secret.key}", "claims": {}}
    with pytest.raises(CredentialsWrong):
        make(
            launch_jwt=spec, rules=AddressRules(("127.0.0.1", "sso.example")), base_url="https://sso.example"
        )


def test_a_login_that_is_refused_is_wrong_credentials_whatever_its_status(
    server: Scripted, make: Make
) -> None:
    auth = {
        "kind": "login_token",
        "path": "/login",
        "json": {"k": "{secret.key}"},
        "token": "@",
        "lifetime": 60,
    }
    for status in (400, 401, 403, 422):
        server.script = lambda request, status=status: (status, {"message": f"no {SECRETS['key']}"})  # type: ignore[misc]
        with pytest.raises(CredentialsWrong) as caught:
            make(auth=auth).check()
        assert SECRETS["key"] not in str(caught.value)


def test_a_token_that_is_none_is_not_sent(server: Scripted, make: Make) -> None:
    auth = {"kind": "login_token", "path": "/login", "json": {}, "token": "@", "lifetime": 60}
    for token in ("a\r\nX-Evil: 1", "", None, "two words"):
        server.script = lambda request, token=token: token  # type: ignore[misc]
        with pytest.raises(RetryLater, match="holds no token"):
            make(auth=auth).check()


def test_an_echoed_token_reaches_no_message(server: Scripted, make: Make) -> None:
    server.script = lambda request: (
        "tok-12345678" if request.path == "/login" else (422, {"message": "tok-12345678"})
    )
    auth = {"kind": "login_token", "path": "/login", "json": {}, "token": "@", "lifetime": 60}
    with pytest.raises(Refused) as caught:
        make(auth=auth).check()
    assert "tok-12345678" not in str(caught.value)


def test_a_key_goes_into_the_body_or_the_query(server: Scripted, make: Make) -> None:
    server.script = lambda request: [] if request.method == "GET" else {"id": 1}
    partner = make(auth={"kind": "body_key", "fields": {"api_key": "{secret.key}"}}, operations=ACCOUNTS)
    partner.find_account(STUDENT)
    partner.create_account(STUDENT, key="k")
    assert server.requests[0].args["api_key"] == SECRETS["key"]
    assert json.loads(server.requests[1].data)["api_key"] == SECRETS["key"]


def test_a_signed_token_goes_with_each_call(server: Scripted, make: Make) -> None:
    make(auth={"kind": "hs256_jwt", "key": "{secret.key}", "claims": {"iss": "{secret.id}"}}).check()
    token = server.requests[0].headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, OctKey.import_key(SECRETS["key"]), algorithms=["HS256"]).claims
    assert claims["iss"] == SECRETS["id"]
    assert claims["exp"] - claims["iat"] == 60


# What is sent

ACCOUNTS: dict[str, Any] = {
    "find_account": {
        "method": "GET",
        "path": "/users",
        "query": {"ref": "{student.reference}", "deep": True},
        "items": "@",
        "match": [{"where": "ref", "equals": "{student.reference}"}],
        "result": {"id": "id"},
    },
    "create_account": {
        "method": "POST",
        "path": "/users",
        "headers": {"Idempotency-Key": "{key}"},
        "json": {
            "ref": "{student.reference}",
            "names": ["{student.first_name}", "{student.last_name}"],
            "text": "for {student.email}",
            "active": True,
            "level": 3,
            "nothing": None,
        },
        "result": {"id": "id"},
    },
}
SEATS: dict[str, Any] = {
    "find_enrollment": {
        "method": "GET",
        "path": "/users/{account_id}/seats",
        "items": "seats",
        "match": [{"where": "course", "equals": "{course_code}"}],
        "result": {"id": "id"},
    },
    "enroll": {
        "method": "POST",
        "path": "/seats",
        "json": {"user": "{account_id|int}", "course": "{course_code}", "ref": "{reference}"},
        "result": {"id": "id"},
    },
}


def test_values_keep_their_types_and_are_never_read_as_templates(server: Scripted, make: Make) -> None:
    server.script = lambda request: {"id": 7}
    sly = Student("usher-1", "{secret.key}@example.org", "{student.reference} {key}")
    assert make(operations=ACCOUNTS).create_account(sly, key="k").id == "7"
    assert json.loads(server.requests[0].data) == {
        "ref": "usher-1",
        "names": ["{student.reference}", "{key}"],
        "text": "for {secret.key}@example.org",
        "active": True,
        "level": 3,
        "nothing": None,
    }


def test_numbers_are_numbers_or_a_persons_business(server: Scripted, make: Make) -> None:
    server.script = lambda request: {"id": 7}
    partner = make(operations=SEATS)
    partner.enroll_in_course("12", "c", student=STUDENT, reference="r", key="k")
    assert json.loads(server.requests[0].data)["user"] == 12
    with pytest.raises(Refused, match="a number is wanted"):
        partner.enroll_in_course("x", "c", student=STUDENT, reference="r", key="k")
    assert len(server.requests) == 1


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "a\nb", "é", "x" * 3000])
def test_nothing_gets_out_of_a_header(server: Scripted, make: Make, key: str) -> None:
    with pytest.raises(Refused, match="header Idempotency-Key"):
        make(operations=ACCOUNTS).create_account(STUDENT, key=key)
    assert server.requests == []


@pytest.mark.parametrize("account", ["../admin", "a/b?c#d", "%2e%2e", "a\r\nHost: evil"])
def test_nothing_gets_out_of_its_segment_of_a_path(server: Scripted, make: Make, account: str) -> None:
    server.script = lambda request: {"seats": []}
    assert make(operations=SEATS).find_enrollment(account, "c") is None
    assert server.requests[0].path == f"/users/{account}/seats"
    assert server.requests[0].args.to_dict() == {}
    for dots in ("..", ".", ""):
        with pytest.raises(Refused):
            make(operations=SEATS).find_enrollment(dots, "c")
    assert len(server.requests) == 1


@pytest.mark.parametrize("secret", ["a\r\nX-Evil: 1", "käse-0123456789"])
def test_a_credential_that_no_header_can_carry_is_told_at_once(
    make: Make, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECRETS, "key", secret)
    with pytest.raises(CredentialsWrong, match="header X-Key cannot carry") as caught:
        make(auth={"kind": "headers", "headers": {"X-Key": "{secret.key}"}})
    assert secret not in str(caught.value)


# What answers mean


def test_a_conflict_of_what_makes_nothing_is_a_refusal(server: Scripted, make: Make) -> None:
    server.script = lambda request: (409, {"message": "in use"})
    unenroll = {"method": "DELETE", "path": "/seats/{seat_id}"}
    with pytest.raises(Refused, match="in use"):
        make(operations={**SEATS, "unenroll": unenroll}).unenroll("5")
    with pytest.raises(Refused, match="in use"):
        make().check()


@pytest.mark.parametrize(
    ("means", "error"),
    [
        ("retry", RetryLater),
        ("not_ready", NotReadyYet),
        ("rate_limited", RateLimited),
        ("credentials", CredentialsWrong),
        ("refused", Refused),
        ("not_found", NotFound),
        ("outcome_unknown", OutcomeUnknown),
        ("look_up", Refused),
        ("duplicate", OutcomeUnknown),
    ],
)
def test_each_meaning_is_the_error_that_the_pipeline_knows(
    server: Scripted, make: Make, means: str, error: type[Exception]
) -> None:
    server.script = lambda request: [] if request.method == "GET" else (418, {"message": "teapot", "code": 9})
    partner = make(operations=ACCOUNTS, errors=[{"status": 418, "when": "code == `9`", "means": means}])
    with pytest.raises(error) as caught:
        partner.create_account(STUDENT, key="k")
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (418, Refused),
        (400, Refused),
        (404, NotFound),
        (403, CredentialsWrong),
        (302, OutcomeUnknown),
        (500, OutcomeUnknown),
    ],
)
def test_a_status_that_nobody_mapped_fails_closed(
    server: Scripted, make: Make, status: int, error: type[Exception]
) -> None:
    server.script = lambda request: (status, {"code": 1}, {"Location": "http://127.0.0.1:1/"})
    rules = [{"status": status, "when": "code == `2`", "means": "retry"}] if status >= 400 else []
    with pytest.raises(error) as caught:
        make(operations=ACCOUNTS, errors=rules).create_account(STUDENT, key="k")
    assert type(caught.value) is error
    assert len(server.requests) == 1


def test_two_matches_are_ambiguous_and_an_item_without_an_id_needs_a_person(
    server: Scripted, make: Make
) -> None:
    partner = make(operations=ACCOUNTS)
    ours = {"ref": "usher-1", "id": 1}
    server.script = lambda request: [ours, {"ref": "usher-10", "id": 2}, {"ref": "USHER-1", "id": 3}]
    assert partner.find_account(STUDENT) is not None
    server.script = lambda request: [ours, {**ours, "id": 2}]
    with pytest.raises(Ambiguous, match="2 matches"):
        partner.find_account(STUDENT)
    server.script = lambda request: [{"ref": "usher-1", "id": None}]
    with pytest.raises(Refused, match="no usable id"):
        partner.find_account(STUDENT)
    server.script = lambda request: [{"id": 1}]
    with pytest.raises(RetryLater, match="lacks what is compared"):
        partner.find_account(STUDENT)


def test_what_was_made_without_an_id_in_the_answer_is_looked_up(server: Scripted, make: Make) -> None:
    silent = {**SEATS, "enroll": {name: item for name, item in SEATS["enroll"].items() if name != "result"}}
    seats: list[dict[str, Any]] = []

    def script(request: Request) -> Any:
        if request.method == "GET":
            return {"seats": seats}
        seats.append({"id": 5, "course": "c"})
        return (204, b"")

    server.script = script
    partner = make(operations=silent)
    seat = partner.enroll_in_course("1", "c", student=STUDENT, reference="r", key="k")
    assert (seat.id, seat.adopted) == ("5", False)


def test_a_vendors_own_word_for_too_many_calls_is_heeded_with_its_pause(server: Scripted, make: Make) -> None:
    server.script = lambda request: (403, {"error": "quota"}, {"Retry-After": "17"})
    limits = {"throttled": [{"status": 403, "when": "error == 'quota'"}]}
    with pytest.raises(RateLimited) as caught:
        make(limits=limits).check()
    assert caught.value.after == 17
    server.script = lambda request: (403, {"error": "no"})
    with pytest.raises(CredentialsWrong):
        make(limits=limits).check()


@pytest.mark.parametrize("clock_off", [0, 3600, -3600])
def test_a_reset_as_an_epoch_is_read_by_the_partners_clock(clock_off: int) -> None:
    now = datetime.now(UTC) + timedelta(seconds=clock_off)
    headers = {"RateLimit-Reset": str(int(now.timestamp()) + 40), "Date": f"{now:%a, %d %b %Y %H:%M:%S} GMT"}
    assert Reset("RateLimit-Reset", is_epoch=True).seconds(headers) == 40


@pytest.mark.parametrize("reset", ["soon", "-5", "nan", "1e400", "99999999999999"])
def test_a_reset_that_is_none_is_survived(server: Scripted, make: Make, reset: str) -> None:
    server.script = lambda request: (429, {}, {"RateLimit-Reset": reset})
    with pytest.raises(RateLimited) as caught:
        make(limits={"reset": {"header": "RateLimit-Reset", "is": "epoch"}}).check()
    assert caught.value.after is None or 0 <= caught.value.after <= 86_400


@pytest.mark.parametrize("body", [b"no content", b'"no content"', b""])
def test_a_success_without_json_is_one_where_that_is_said(server: Scripted, make: Make, body: bytes) -> None:
    server.script = lambda request: (200, body)
    unenroll = {"method": "DELETE", "path": "/seats/{seat_id}", "any_body": True}
    make(operations={**SEATS, "unenroll": unenroll}).unenroll("5")


# Pages


def _paged(paging: dict[str, Any]) -> dict[str, Any]:
    return {**ACCOUNTS, "find_account": {**ACCOUNTS["find_account"], "items": "users", "paging": paging}}


def _page_of(server: Scripted, items: list[Any], request: Request) -> Any:
    size = 2
    start = int(request.args.get("offset", (int(request.args.get("page", 1)) - 1) * size))
    if "cursor" in request.args:
        start = int(request.args["cursor"].removeprefix("c"))
    more = start + size < len(items)
    link = (
        f'<{server.url}/users?page={start // size + 2}>; rel="next", <{server.url}/users?page=1>; rel="first"'
    )
    body = {"users": items[start : start + size], "next": f"c{start + size}" if more else None}
    return (200, body, {"Link": link if more else '<x>; rel="prev"'})


@pytest.mark.parametrize(
    "paging",
    [
        {"kind": "link"},
        {"kind": "page", "param": "page", "size": 2},
        {"kind": "offset", "param": "offset", "size": 2, "size_param": "n"},
        {"kind": "cursor", "param": "cursor", "next": "next"},
        # It gives less than is asked for: the partner's own word counts, not how full the page is.
        {"kind": "page", "param": "page", "size": 50, "next": "next"},
    ],
)
def test_all_pages_are_read_and_more_than_the_bound_are_refused(
    server: Scripted, make: Make, paging: dict[str, Any]
) -> None:
    items = [{"ref": f"other-{number}", "id": number} for number in range(4)] + [{"ref": "usher-1", "id": 9}]
    server.script = lambda request: _page_of(server, items, request)
    found = make(operations=_paged(paging)).find_account(STUDENT)
    assert found is not None
    assert found.id == "9"
    assert len(server.requests) == 3
    with pytest.raises(Refused, match="more than 2 pages"):
        make(operations=_paged({**paging, "max_pages": 2})).find_account(STUDENT)


def test_a_next_page_at_another_host_is_refused(server: Scripted, make: Make) -> None:
    server.script = lambda request: (200, {"users": []}, {"Link": '<https://evil.example/users>; rel="next"'})
    with pytest.raises(Refused, match="another host"):
        make(operations=_paged({"kind": "link"})).find_account(STUDENT)
    assert len(server.requests) == 1


# Progress, launches, events


@pytest.mark.parametrize(
    ("times", "value", "expected"),
    [
        ("iso", "2026-11-01T10:00:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("iso_utc", "2026-11-01 10:00:00", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("epoch", 1793527200, datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("epoch_ms", 1793527200000, datetime(2026, 11, 1, 10, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_they_are_written(
    server: Scripted, make: Make, times: str, value: Any, expected: datetime
) -> None:
    server.script = lambda request: {"done": 1, "at": value, "share": "0.5"}
    result = {"percentage": "share", "full": 1, "completed": "done == `1`", "updated_at": "at"}
    told = make(operations={"progress": {**SEAT, "result": result}}, times=times).get_progress("s")
    assert told.updated_at == expected
    assert told.percentage == Decimal(50)
    assert told.completed


@pytest.mark.parametrize(
    "body",
    [
        {"done": True, "share": 2},
        {"done": True, "share": True},
        {"done": True, "share": None},
        {"done": None, "share": 1},
        {"done": "yes", "share": 1},
        {"done": True, "share": 1, "at": "yesterday"},
        {"done": True, "share": 1, "at": "2026-11-01T10:00:00"},
        {"done": True, "share": "nan"},
    ],
)
def test_progress_that_cannot_be_read_is_not_guessed(server: Scripted, make: Make, body: Any) -> None:
    server.script = lambda request: body
    result = {"percentage": "share", "full": 1, "completed": "done", "updated_at": "at"}
    with pytest.raises(RetryLater):
        make(operations={"progress": {**SEAT, "result": result}}).get_progress("s")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//evil", "https://x y", None, 7, f"https://x.example/?k={SECRETS['key']}"]
)
def test_a_launch_that_leads_nowhere_or_tells_our_key_is_refused(
    server: Scripted, make: Make, url: Any
) -> None:
    server.script = lambda request: {"url": url}
    launch = {"method": "POST", "path": "/launch", "json": {"back": "{return_url}"}, "result": {"url": "url"}}
    click = Click("e", STUDENT, "c", "https://school.example/", "k")
    with pytest.raises(Refused):
        make(operations={"launch": launch}).launch("s", click)


def test_a_signed_launch_says_who_comes_and_makes_the_seat_at_the_click(make: Make) -> None:
    spec = {
        "url": "http://127.0.0.1/sso",
        "param": "token",
        "key": "{secret.key}",
        "claims": {"email": "{student.email}", "ext": "{student.reference}"},
        "query": {"to": "/courses/{course_code}"},
        "lifetime": 60,
    }
    partner = make(launch_jwt=spec)
    assert partner.capabilities == {Capability.SSO, Capability.JIT_ON_LAUNCH}
    launch = partner.launch("ours", Click("e", STUDENT, "a&b=c", "https://school.example/", "k"))
    query = parse_qs(urlsplit(launch.url).query)
    claims = jwt.decode(query["token"][0], OctKey.import_key(SECRETS["key"]), algorithms=["HS256"]).claims
    assert claims["email"] == "ann@example.org"
    assert query["to"] == ["/courses/a&b=c"]
    assert launch.expires_at is not None


@pytest.mark.parametrize("kind", ["hmac_sha256", "header", "basic"])
def test_an_event_counts_when_it_is_the_partners(make: Make, kind: str) -> None:
    body = b'{"seats": [{"id": 5}, {"id": "x"}, {"id": 5}]}'
    signature = "sha256=" + hmac.new(SECRETS["key"].encode(), body, hashlib.sha256).hexdigest()
    verify, header = {
        "hmac_sha256": (
            {"header": "X-Sign", "key": "{secret.key}", "prefix": "sha256="},
            {"x-sign": signature},
        ),
        "header": ({"header": "X-Key", "value": "{secret.key}"}, {"X-KEY": SECRETS["key"]}),
        "basic": (
            {"user": "{secret.id}", "password": "{secret.key}"},
            {"Authorization": "Basic Y2xpZW50LWlkLTAxMjM6YS1zaWduaW5nLWtleS0wMTIzNDU2Nzg5"},
        ),
    }[kind]
    partner = make(webhook={"verify": {"kind": kind, **verify}, "seats": "seats[].id"})
    assert Capability.WEBHOOK_IN in partner.capabilities
    assert partner.parse_webhook(header, body) == ["5", "x"]
    for wrong in ({}, {name: f"{value}0" for name, value in header.items()}, dict.fromkeys(header, "")):
        with pytest.raises(Refused):
            partner.parse_webhook(wrong, body)
    if kind == "hmac_sha256":
        with pytest.raises(Refused):
            partner.parse_webhook(header, body + b" ")


def test_a_credential_that_is_not_set_is_named(make: Make) -> None:
    webhook = {"verify": {"kind": "header", "header": "X-Key", "value": "{secret.key}"}, "seats": "id"}
    launch = {"url": "https://x.example", "param": "jwt", "key": "{secret.key}", "claims": {}}
    partner = make(webhook=webhook, launch_jwt=launch)
    partner._secrets.clear()
    with pytest.raises(Refused, match="key of the credentials is not set"):
        partner.parse_webhook({"X-Key": "x"}, b"{}")
    with pytest.raises(CredentialsWrong, match="key of the credentials is not set"):
        partner.launch("s", Click("e", STUDENT, "c", "https://school.example/", "k"))


def test_what_is_configured_is_what_it_can_do(make: Make) -> None:
    assert make().capabilities == frozenset()
    progress = {**SEAT, "result": {"completed": "done"}}
    partner = make(operations={**ACCOUNTS, **SEATS, "progress": progress})
    assert partner.capabilities == {Capability.ACCOUNTS, Capability.ENROLL, Capability.PROGRESS}
