"""A tool's access tokens, line items and members: with the real PyLTI1p3 over HTTP, and where it does not go."""

from __future__ import annotations

import base64
import hmac
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from pylti1p3.exception import LtiServiceException
from pylti1p3.lineitem import LineItem
from sqlalchemy import event

import settings as settings_module
from api.lti_services import blueprint
from db.session import get_engine, transaction
from domain import demo, lti, lti_access
from partners.lti import vocabulary
from tests.api.conftest import (  # noqa: F401
    OTHER,
    STUDENT,
    app,
    bearer,
    client,
    count,
    make_enrollment,
    restored_logging,
    run,
)
from tests.lti.services import COURSE_ID, KID, ToolSide, make_key, register_tool, serving, token_url
from tests.stack import make_students, rows, scalar

TOKEN = "/api/lti/token"
ITEMS = vocabulary.line_items_path(COURSE_ID)
MEMBERS = vocabulary.memberships_path(COURSE_ID)
ITEM = {"label": "Final", "scoreMaximum": 100}
JSON = {"Content-Type": "application/vnd.ims.lis.v2.lineitem+json"}


@pytest.fixture
def tool(app: Flask) -> ToolSide:  # noqa: F811
    return register_tool()


@pytest.fixture
def served(app: Flask, tool: ToolSide, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:  # noqa: F811
    """The app over HTTP; the tool is registered with it."""
    with serving(app, monkeypatch) as url:
        yield url


def grant(client: FlaskClient, tool: ToolSide, *scopes: str) -> dict[str, str]:  # noqa: F811
    """Get an access token and return it as a header."""
    answer = client.post(TOKEN, data=tool.form(*scopes))
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.get_json()['access_token']}"}


def add_item(client: FlaskClient, headers: dict[str, str], **fields: Any) -> str:  # noqa: F811
    """Make a line item and return its path."""
    answer = client.post(ITEMS, json={**ITEM, **fields}, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == answer.get_json()["id"]
    return str(answer.get_json()["id"]).removeprefix("http://testserver")


# Access tokens


def test_a_tool_gets_a_token_for_what_it_was_registered_for(
    app: Flask,  # noqa: F811
    client: FlaskClient,  # noqa: F811
) -> None:
    tool = register_tool("narrow", scopes=[vocabulary.SCORE, vocabulary.MEMBERS_READ])
    answer = client.post(TOKEN, data=tool.form(vocabulary.SCORE, vocabulary.LINE_ITEM, vocabulary.SCORE))
    said = answer.get_json()
    assert answer.status_code == 200
    assert (said["token_type"], said["expires_in"], said["scope"]) == ("Bearer", 3600, vocabulary.SCORE)
    assert answer.headers["Cache-Control"] == "no-store"
    refused = client.post(TOKEN, data=tool.form(vocabulary.LINE_ITEM, "openid"))
    assert (refused.status_code, refused.get_json()["error"]) == (400, "invalid_scope")


def test_an_assertion_works_once(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    form = tool.form()
    assert client.post(TOKEN, data=form).status_code == 200
    again = client.post(TOKEN, data=form)
    assert (again.status_code, again.get_json()["error"]) == (401, "invalid_client")
    assert "used before" in again.get_json()["error_description"]
    # The id alone decides, and only among the assertions of one tool.
    jti = str(uuid.uuid4())
    other = register_tool("tool-2")
    for side, status in ((tool, 200), (tool, 401), (other, 200)):
        form = side.form(assertion=side.assertion(jti=jti))
        assert client.post(TOKEN, data=form).status_code == status


def test_an_assertion_that_was_refused_is_not_used_up(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    jti = str(uuid.uuid4())
    forged = tool.assertion(key=make_key("forger"), jti=jti)
    assert client.post(TOKEN, data=tool.form(assertion=forged)).status_code == 401
    assert client.post(TOKEN, data=tool.form(assertion=tool.assertion(jti=jti))).status_code == 200


WRONG_CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"aud": "https://elsewhere.test/token"}, "aud must be"),
    ({"aud": ["http://testserver", "http://testserver/api/lti/token/"]}, "aud must be"),
    ({"aud": None}, "aud must be"),
    ({"sub": "somebody-else"}, "sub must be"),
    ({"sub": None}, "sub must be"),
    ({"iss": "nobody"}, "client id"),
    ({"iss": 7}, "client id"),
    ({"exp": lambda now: now - 60}, "expired"),
    ({"exp": None}, "until when"),
    ({"exp": lambda now: now + 86_400}, "at most 3600 seconds"),
    ({"iat": lambda now: now + 600}, "iat must be"),
    ({"iat": "now"}, "iat must be"),
    ({"nbf": lambda now: now + 600}, "not good yet"),
    ({"jti": None}, "jti must be"),
    ({"jti": ""}, "jti must be"),
    ({"jti": "x" * 256}, "jti must be"),
    ({"jti": "a\0b"}, "jti must be"),
]


def test_claims_that_are_wrong_are_refused(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    now = int(time.time())
    for changes, words in WRONG_CLAIMS:
        given = {name: value(now) if callable(value) else value for name, value in changes.items()}
        answer = client.post(TOKEN, data=tool.form(assertion=tool.assertion(**given)))
        assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client"), changes
        assert words in answer.get_json()["error_description"], changes
    assert count("lti_seen_tokens") == 0


def test_an_audience_may_be_one_of_several(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    assertion = tool.assertion(aud=["https://elsewhere.test", token_url()])
    assert client.post(TOKEN, data=tool.form(assertion=assertion)).status_code == 200


def test_only_the_tools_own_key_signs(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    public = tool.key.as_pem(private=False)
    claims = {"iss": tool.client_id, "sub": tool.client_id, "aud": token_url(), "exp": int(time.time()) + 60}
    head, body, _ = tool.assertion().split(".")
    hs256 = _b64(b'{"alg": "HS256"}') + f".{body}"
    forged = {
        "another key": tool.assertion(key=make_key("forger")),
        "another key under the tool's name": jwt.encode(
            {"alg": "RS256", "kid": KID}, {**claims, "jti": "1"}, make_key("forger")
        ),
        "the public key as a secret": f"{hs256}." + _b64(hmac.digest(public, hs256.encode(), "sha256")),
        "no signature": f"{head}.{body}.",
        "nothing": "x",
        "three parts of nothing": "a.b.c",
    }
    for name, assertion in forged.items():
        answer = client.post(TOKEN, data=tool.form(assertion=assertion))
        assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client"), name


def test_a_form_that_is_not_whole_is_refused(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    for change, error in (
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "invalid_request"),
        ({"client_assertion_type": "x"}, "invalid_request"),
        ({"client_assertion": ""}, "invalid_request"),
        ({"scope": ""}, "invalid_request"),
        ({"scope": ["a", "b"]}, "invalid_request"),
    ):
        answer = client.post(TOKEN, data={**tool.form(), **change})
        assert (answer.status_code, answer.get_json()["error"]) == (400, error), change
    answer = client.post(TOKEN, json=tool.form())
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")
    assert client.post(TOKEN, data={**tool.form(), "more": "x" * 70_000}).status_code == 413


def test_a_tool_that_is_switched_off_has_nothing_any_more(
    client: FlaskClient,  # noqa: F811
    tool: ToolSide,
) -> None:
    headers = grant(client, tool)
    assert client.get(ITEMS, headers=headers).status_code == 200
    with transaction() as session:
        assert lti.set_active(session, tool.client_id, active=False)
    assert client.get(ITEMS, headers=headers).get_json()["code"] == "lti_token_invalid"
    assert client.post(TOKEN, data=tool.form()).status_code == 401


def test_a_scope_that_was_taken_back_is_gone_at_once(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    headers = grant(client, tool)
    run("UPDATE lti_tools SET scopes = ARRAY[:one]", one=vocabulary.SCORE)
    answer = client.get(ITEMS, headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "lti_scope_missing")


def test_each_service_asks_for_its_own_scope(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    item = add_item(client, grant(client, tool))
    fits = {
        ("GET", ITEMS): {vocabulary.LINE_ITEM, vocabulary.LINE_ITEM_READ},
        ("POST", ITEMS): {vocabulary.LINE_ITEM},
        ("GET", item): {vocabulary.LINE_ITEM, vocabulary.LINE_ITEM_READ},
        ("PUT", item): {vocabulary.LINE_ITEM},
        ("DELETE", item): {vocabulary.LINE_ITEM},
        ("POST", f"{item}/scores"): {vocabulary.SCORE},
        ("GET", f"{item}/results"): {vocabulary.RESULT_READ},
        ("GET", MEMBERS): {vocabulary.MEMBERS_READ},
    }
    assert len(fits) == len([rule for rule in client.application.url_map.iter_rules() if _is_service(rule)])
    for scope in vocabulary.SCOPES:
        headers = grant(client, tool, scope)
        for (method, path), good in fits.items():
            if scope not in good:
                answer = client.open(path, method=method, headers=headers)
                assert (answer.status_code, answer.get_json()["code"]) == (403, "lti_scope_missing")
                assert "insufficient_scope" in answer.headers["WWW-Authenticate"]


def test_no_other_token_opens_a_service_and_a_tools_token_opens_nothing_else(
    client: FlaskClient,  # noqa: F811
    tool: ToolSide,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = grant(client, tool)
    strangers: list[dict[str, str]] = [bearer(), bearer("ops", "staff"), bearer("service", "shop"), {}]
    strangers += [{"Authorization": "Bearer a.b.c"}, {"Authorization": "Basic dTpw"}]
    for headers in strangers:
        answer = client.get(MEMBERS, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (401, "lti_token_invalid")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    for path in ("/api/me", "/api/student/partner-enrollments", "/api/ops/courses", "/ops"):
        answer = client.get(path, headers=own)
        assert (answer.status_code, answer.get_json()["code"]) == (401, "not_signed_in"), path
    monkeypatch.setattr(lti_access, "TOKEN_MAX_AGE", -1)
    assert client.get(MEMBERS, headers=own).get_json()["code"] == "lti_token_invalid"


# Line items


def test_line_items_with_the_real_pylti1p3(served: str, tool: ToolSide) -> None:
    grades = tool.grades()
    for number in range(5):
        item = LineItem().set_label(f"Unit {number}").set_score_maximum(10.5).set_tag(f"unit-{number}")
        item.set_resource_id("Quiz").set_start_date_time("2026-11-01T08:00:00Z")
        made = grades.find_or_create_lineitem(item)
        assert made.get_id().startswith(f"{served}{ITEMS}/")
        assert (made.get_score_maximum(), made.get_resource_link_id()) == (10.5, COURSE_ID)
        assert made.get_start_date_time() == "2026-11-01T08:00:00Z"
    assert scalar("SELECT count(*) FROM lti_line_items") == 5
    again = LineItem().set_label("Unit 3").set_score_maximum(10.5).set_tag("unit-3").set_resource_id("Quiz")
    assert grades.find_or_create_lineitem(again).get_tag() == "unit-3"
    assert scalar("SELECT count(*) FROM lti_line_items") == 5
    # Pages of two are followed to the end.
    grades._service_data["lineitems"] += "?limit=2"
    listed = grades.get_lineitems()
    assert sorted(item["label"] for item in listed) == [f"Unit {number}" for number in range(5)]
    assert grades.get_lineitem(listed[0]["id"]).get_label() == listed[0]["label"]
    assert grades.find_lineitem_by_tag("unit-4").get_label() == "Unit 4"


def test_a_page_keeps_its_filters(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    headers = grant(client, tool)
    for number in range(6):
        add_item(client, headers, tag="a b&c" if number % 2 else "other", resourceId=f"r{number}")
    found, url = [], f"{ITEMS}?tag=a+b%26c&limit=2"
    while url:
        answer = client.get(url, headers=headers)
        assert answer.mimetype == "application/vnd.ims.lis.v2.lineitemcontainer+json"
        found += answer.get_json()
        assert len(answer.get_json()) <= 2
        link = answer.headers.get("Link", "")
        url = link.partition(">")[0].removeprefix("<http://testserver")
    assert sorted(item["resourceId"] for item in found) == ["r1", "r3", "r5"]
    [one] = client.get(f"{ITEMS}?resource_id=r4", headers=headers).get_json()
    assert one["tag"] == "other"


def test_a_line_item_may_belong_to_a_link(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    headers = grant(client, tool)
    link, foreign = make_link(tool), make_link(register_tool("tool-2"))
    bound = add_item(client, headers, resourceLinkId=link)
    free = add_item(client, headers, resourceLinkId=COURSE_ID)
    for query, wanted in (
        (f"resource_link_id={link}", [bound]),
        (f"lti_link_id={link}", [bound]),
        (f"resource_link_id={COURSE_ID}", [free]),
        (f"resource_link_id={foreign}", []),
    ):
        listed = client.get(f"{ITEMS}?{query}", headers=headers).get_json()
        assert [item["id"] for item in listed] == [f"http://testserver{path}" for path in wanted], query
    for body in ({**ITEM, "resourceLinkId": foreign}, {**ITEM, "resourceLinkId": str(uuid.uuid4())}):
        for answer in (
            client.post(ITEMS, json=body, headers=headers),
            client.put(free, json=body, headers=headers),
        ):
            assert (answer.status_code, answer.get_json()["code"]) == (404, "lti_link_not_found")
    assert client.put(bound, json=ITEM, headers=headers).get_json()["resourceLinkId"] == link


def test_a_line_item_is_changed_and_deleted(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    headers = grant(client, tool)
    item = add_item(client, headers, tag="old", endDateTime="2026-12-24T18:00:00.000+0100")
    assert client.get(item, headers=headers).get_json()["endDateTime"] == "2026-12-24T17:00:00Z"
    body = {"label": "Final exam", "scoreMaximum": "60.00000", "tag": ""}
    changed = client.put(item, json=body, headers={**headers, **JSON})
    assert changed.status_code == 200
    said = changed.get_json()
    assert (said["label"], said["scoreMaximum"], said.get("tag"), said.get("endDateTime")) == (
        "Final exam",
        60.0,
        None,
        None,
    )
    assert client.delete(item, headers=headers).status_code == 204
    for method in ("GET", "PUT", "DELETE"):
        answer = client.open(item, method=method, json=ITEM, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "lti_line_item_not_found")


WRONG_ITEMS: list[tuple[dict[str, Any], str]] = [
    ({"scoreMaximum": 10}, "/label"),
    ({"label": "  ", "scoreMaximum": 10}, "/label"),
    ({"label": "x" * 1001, "scoreMaximum": 10}, "/label"),
    ({"label": "x"}, "/scoreMaximum"),
    ({"label": "x", "scoreMaximum": 0}, "/scoreMaximum"),
    ({"label": "x", "scoreMaximum": 0.000001}, "/scoreMaximum"),
    ({"label": "x", "scoreMaximum": "NaN"}, "/scoreMaximum"),
    ({"label": "x", "scoreMaximum": "Infinity"}, "/scoreMaximum"),
    ({"label": "x", "scoreMaximum": 1e30}, "/scoreMaximum"),
    ({"label": "x", "scoreMaximum": True}, "/scoreMaximum"),
    ({"label": "x", "scoreMaximum": 10, "resourceLinkId": "7"}, "/resourceLinkId"),
    ({"label": "x", "scoreMaximum": 10, "startDateTime": "soon"}, "/startDateTime"),
    ({"label": "x", "scoreMaximum": 10, "endDateTime": "2026-11-21T10:00:00"}, "/endDateTime"),
    ({"label": "a\0b", "scoreMaximum": 10}, "/label"),
]


def test_a_line_item_that_is_wrong_is_refused(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    headers = grant(client, tool)
    for body, pointer in WRONG_ITEMS:
        answer = client.post(ITEMS, json=body, headers=headers)
        assert answer.status_code == 422, answer.text
        assert [item["pointer"] for item in answer.get_json()["errors"]] == [pointer], body
    assert count("lti_line_items") == 0


def test_a_body_that_is_no_json_is_refused(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    headers = grant(client, tool)
    for data, media_type, code in (
        (b"{", JSON["Content-Type"], "malformed_json"),
        (b"\xff", JSON["Content-Type"], "malformed_json"),
        (b"label=x", "application/x-www-form-urlencoded", "unsupported_media_type"),
        (b'{"label": "' + b"x" * 70_000, JSON["Content-Type"], "too_large"),
        (b"[]", JSON["Content-Type"], "validation_failed"),
    ):
        answer = client.post(ITEMS, data=data, headers={**headers, "Content-Type": media_type})
        assert answer.get_json()["code"] == code


def test_a_tool_reaches_only_what_is_its_own(client: FlaskClient, tool: ToolSide) -> None:  # noqa: F811
    make_enrollment()
    item = add_item(client, grant(client, tool))
    elsewhere = demo.course_id("MIL-BARBER")
    sibling, stranger = register_tool("sibling"), register_tool("stranger", provider_type="milady")
    for other in (sibling, stranger):
        headers = grant(client, other)
        for method, path in (
            ("GET", item),
            ("PUT", item),
            ("DELETE", item),
            ("POST", f"{item}/scores"),
            ("GET", f"{item}/results"),
        ):
            body = score() if path.endswith("scores") else ITEM
            answer = client.open(path, method=method, json=body, headers=headers)
            assert (answer.status_code, answer.get_json()["code"]) == (404, "lti_line_item_not_found"), path
    # The other tool of the same partner has the same course, but its own line items there.
    assert client.get(ITEMS, headers=grant(client, sibling)).get_json() == []
    for method, path in (("GET", ITEMS), ("POST", ITEMS), ("GET", MEMBERS)):
        answer = client.open(path, method=method, json=ITEM, headers=grant(client, stranger))
        assert (answer.status_code, answer.get_json()["code"]) == (404, "lti_context_not_found"), path
    headers = grant(client, tool)
    for course in (elsewhere, str(uuid.uuid4()), "x", "%00"):
        for path in (vocabulary.line_items_path(course), vocabulary.memberships_path(course)):
            assert client.get(path, headers=headers).get_json()["code"] == "lti_context_not_found", path
    # A line item of one's own is not found under another course.
    moved = item.replace(COURSE_ID, demo.course_id("SBX-201"))
    assert client.get(moved, headers=headers).status_code == 404
    assert client.get(f"{ITEMS}/x", headers=headers).get_json()["code"] == "lti_line_item_not_found"
    assert count("lti_scores") == 0
    assert client.get(item, headers=headers).get_json()["label"] == "Final"


# Members


def test_members_with_the_real_pylti1p3(served: str, tool: ToolSide) -> None:
    make_enrollment()
    students = make_students(6)
    statuses = ("active", "completed", "pending", "failed", "suspended", "revoked")
    for student, status in zip(students, statuses, strict=True):
        make_enrollment(status, student)
    make_enrollment(student=OTHER, course="SBX-201")
    names = tool.names("?limit=3")
    found = {member["user_id"]: member for member in names.get_members()}
    assert set(found) == {f"usher-{student}" for student in (STUDENT, *students)}
    told = {found[f"usher-{student}"]["status"] for student in students[:2]}
    assert told == {"Active"}
    assert {found[f"usher-{student}"]["status"] for student in students[2:5]} == {"Inactive"}
    # Of somebody whose place was taken away the tool is told no more than that.
    gone = found[f"usher-{students[5]}"]
    assert gone == {"user_id": gone["user_id"], "status": "Deleted", "roles": [vocabulary.LEARNER]}
    [(name, email)] = rows("SELECT name, email FROM users WHERE id = :id", id=STUDENT)
    ana = found[f"usher-{STUDENT}"]
    assert (ana["name"], ana["email"]) == (name, email)
    assert f"{ana['given_name']} {ana['family_name']}" == name
    assert ana["roles"] == [vocabulary.LEARNER]
    assert names.get_context() == {"id": COURSE_ID, "label": "SBX-101", "title": "Working Safely"}
    # Its own link, and a role, narrow the list as the standard says.
    assert len(tool.names().get_members(resource_link_id=COURSE_ID)) == 7
    with pytest.raises(LtiServiceException) as caught:
        tool.names().get_members(resource_link_id=str(uuid.uuid4()))
    assert caught.value.response.json()["code"] == "lti_link_not_found"
    for role, number in (("Learner", 7), (vocabulary.LEARNER.replace("#", "%23"), 7), ("Instructor", 0)):
        assert len(tool.names(f"?role={role}").get_members()) == number


def test_a_page_of_members_is_one_query_however_many_there_are(
    client: FlaskClient,  # noqa: F811
    tool: ToolSide,
) -> None:
    run(
        "WITH made AS (INSERT INTO users (email, name) SELECT 'm' || n || '@example.com', 'Member ' || n"
        " FROM generate_series(1, 1500) AS n RETURNING id) INSERT INTO partner_lms_enrollments"
        " (provider_id, student_id, course_id, status) SELECT :provider, id, :course, 'active' FROM made",
        provider=demo.provider_id("sandbox"),
        course=COURSE_ID,
    )
    headers = grant(client, tool)
    asked: list[str] = []
    event.listen(get_engine(), "before_cursor_execute", lambda _c, _k, sql, *_: asked.append(sql))
    seen, sizes, url = set(), [], f"{MEMBERS}?limit=100000"
    while url:
        answer = client.get(url, headers=headers)
        members = answer.get_json()["members"]
        seen |= {member["user_id"] for member in members}
        sizes.append(len(members))
        url = answer.headers.get("Link", "").partition(">")[0].removeprefix("<http://testserver")
    assert (len(seen), sizes) == (1500, [1000, 500])
    assert len([sql for sql in asked if "partner_lms_enrollments" in sql or " users " in sql]) == 2
    for query, pointer in (("limit=0", "?limit"), ("limit=x", "?limit"), ("after=x", "?after")):
        answer = client.get(f"{MEMBERS}?{query}", headers=headers)
        assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, pointer)


def test_a_tools_keys_are_fetched_from_its_address(
    app: Flask,  # noqa: F811
    tool: ToolSide,
    client: FlaskClient,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = Flask("tool")
    keys.add_url_rule("/jwks", view_func=lambda: {"keys": [make_key("fetched").as_dict(private=False)]})
    with serving(keys, monkeypatch) as url:
        monkeypatch.setenv("APP_URL", "http://testserver")
        monkeypatch.setenv("PARTNER_PRIVATE_ADDRESSES", "false")
        settings_module.get_settings.cache_clear()
        there = register_tool("there", key=make_key("fetched"), public_jwks=None, jwks_url=f"{url}/jwks")
        refused = client.post(TOKEN, data=there.form())
        assert (refused.status_code, refused.get_json()["error"]) == (401, "invalid_client")
        monkeypatch.setenv("PARTNER_PRIVATE_ADDRESSES", "true")
        settings_module.get_settings.cache_clear()
        assert client.post(TOKEN, data=there.form()).status_code == 200
        forged = there.assertion(key=make_key("forger"))
        assert client.post(TOKEN, data=there.form(assertion=forged)).status_code == 401


def score(**changes: Any) -> dict[str, Any]:
    """Return a score as tools send it."""
    return {
        "userId": f"usher-{STUDENT}",
        "scoreGiven": 50,
        "scoreMaximum": 100,
        "timestamp": "2026-11-20T10:00:00Z",
        "activityProgress": "InProgress",
        "gradingProgress": "Pending",
        **changes,
    }


def make_link(tool: ToolSide) -> str:
    """Insert a resource link of the tool in the course."""
    return str(
        scalar(
            "INSERT INTO lti_links (tool_id, course_id, title, position) VALUES (:tool, :course, 'Link', 0)"
            " RETURNING id",
            tool=tool.id,
            course=COURSE_ID,
        )
    )


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _is_service(rule: Any) -> bool:
    return bool(rule.endpoint.startswith(f"{blueprint.name}."))
