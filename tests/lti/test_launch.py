"""A student's click, all the way into two real tools, and what each side refuses."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests
from sqlalchemy import text

import tasks.enrollment  # noqa: F401 - registers the job
from db.session import transaction
from domain import enrollments
from domain.enrollments import account_reference
from partners.lti import hints
from partners.lti.vocabulary import AGS_CLAIM, CLAIM, NRPS_CLAIM
from settings import get_settings
from tests.api.conftest import OTHER, STUDENT, count, run
from tests.lti.conftest import (
    COURSE,
    COURSE_CODE,
    PROVIDER,
    PROVIDER_TYPE,
    STAFF,
    Browser,
    Forms,
    Ltijs,
    Platform,
    first_values,
)
from tests.lti.pylti_tool import PyltiTool
from workers.job import run_due


def test_a_click_opens_the_course_in_ltijs(platform: Platform, ltijs: Ltijs) -> None:
    ltijs.register(platform, custom={"colour": "blue"})
    seat, browser = platform.enroll(), platform.browser()
    answer = platform.launch(browser, seat)
    assert answer.status_code == 200, answer.text
    token = answer.json()["token"]
    context = token["platformContext"]
    assert token["user"] == account_reference(STUDENT)
    assert token["userInfo"] == {
        "name": "Ana Silva",
        "given_name": "Ana",
        "family_name": "Silva",
        "email": "ana@example.com",
    }
    assert token["platformInfo"]["product_family_code"] == "usher"
    assert context["context"]["id"] == context["resource"]["id"] == COURSE
    assert context["custom"] == {"id": COURSE_CODE, "colour": "blue"}
    assert context["endpoint"]["lineitem"].startswith(context["endpoint"]["lineitems"])
    assert context["namesRoles"]["context_memberships_url"].startswith(platform.url)
    # The next click finds the same line item.
    again = platform.launch(browser, seat).json()["token"]["platformContext"]
    assert again["endpoint"]["lineitem"] == context["endpoint"]["lineitem"]
    assert (count("lti_launches"), count("lti_line_items")) == (2, 1)


def test_a_click_opens_the_course_in_pylti1p3(platform: Platform, pylti: PyltiTool) -> None:
    answer = platform.launch(platform.browser(), platform.enroll(status="completed"))
    assert answer.status_code == 200, answer.text
    claims = answer.json()
    assert claims["sub"] == account_reference(STUDENT)
    assert claims[f"{CLAIM}target_link_uri"] == f"{pylti.url}/launch"
    assert claims[f"{CLAIM}launch_presentation"]["return_url"] == f"{platform.url}/dashboard"
    assert claims["azp"] == claims["aud"] == pylti.registered.client_id
    assert 0 < claims["exp"] - claims["iat"] <= 300
    assert claims[AGS_CLAIM]["lineitem"]
    assert claims[NRPS_CLAIM]["service_versions"] == ["2.0"]
    launch = pylti.launches[0]
    assert (launch.has_ags(), launch.has_nrps(), launch.check_student_access()) == (True, True, True)


def test_the_login_is_told_what_the_standard_wants(platform: Platform, pylti: PyltiTool) -> None:
    told = platform.click(platform.browser(), platform.enroll())
    assert told["iss"] == platform.url
    assert told["target_link_uri"] == f"{pylti.url}/launch"
    assert (told["client_id"], told["lti_deployment_id"]) == (pylti.registered.client_id, "7")
    # Moodle's tool reads it as an integer; JavaScript counts exactly to 2^53.
    assert 0 < int(told["login_hint"]) < 2**53
    assert told["login_hint"] == str(int(told["login_hint"]))


def test_a_tampered_token_is_refused_by_both_tools(
    platform: Platform, ltijs: Ltijs, pylti: PyltiTool
) -> None:
    browser, seat = platform.browser(), platform.enroll()
    page = platform.open_form(browser, seat)
    token = tampered(Forms(page.text).fields["id_token"])
    refused = browser.submit(page, id_token=token)
    assert (refused.status_code, "Signature verification failed" in refused.text) == (403, True)
    assert pylti.launches == []
    ltijs.register(platform)  # The newest tool is the one that is launched.
    page = platform.open_form(browser, seat)
    token = tampered(Forms(page.text).fields["id_token"])
    refused = browser.submit(page, id_token=token)
    assert refused.status_code == 401
    assert refused.json()["details"]["message"] == "invalid signature"


def tampered(token: str) -> str:
    """Return a token that names somebody else under the old signature."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = account_reference(OTHER)
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{header}.{changed}.{signature}"


def test_a_token_that_was_used_is_refused_by_the_tool(platform: Platform, ltijs: Ltijs) -> None:
    ltijs.register(platform)
    browser = platform.browser()
    page = platform.open_form(browser, platform.enroll())
    cookies = browser.cookies.copy()
    assert browser.submit(page).status_code == 200
    browser.cookies = cookies
    again = browser.submit(page)
    assert (again.status_code, again.json()["details"]["message"]) == (401, "NONCE_ALREADY_RECEIVED")


def test_a_tool_that_never_asked_refuses_the_token(platform: Platform, pylti: PyltiTool) -> None:
    page = platform.open_form(platform.browser(), platform.enroll())
    refused = Browser().submit(page)
    assert refused.status_code == 403
    assert pylti.launches == []


# What we refuse. A tool's request is made by hand here, with one thing wrong.


def asked(platform: Platform, tool: PyltiTool, browser: Browser, seat: str, **changed: str) -> dict[str, str]:
    """Return a good authentication request for a fresh click, with some values changed."""
    told = platform.click(browser, seat)
    good = {
        "scope": "openid",
        "response_type": "id_token",
        "response_mode": "form_post",
        "prompt": "none",
        "client_id": told["client_id"],
        "redirect_uri": told["target_link_uri"],
        "login_hint": told["login_hint"],
        "lti_message_hint": told["lti_message_hint"],
        "nonce": "a-nonce",
        "state": "a-state",
    }
    return {**good, **changed}


def authorize(platform: Platform, browser: Browser, query: dict[str, str]) -> requests.Response:
    return browser.get(f"{platform.url}/api/lti/authorize", params=query, timeout=10)


def told_to_tool(answer: requests.Response) -> dict[str, str]:
    """Return what the page posts to the tool."""
    assert answer.status_code == 200, answer.text
    return Forms(answer.text).fields


WRONG = (
    ({"response_type": "code"}, "unsupported_response_type"),
    ({"response_mode": "query"}, "invalid_request"),
    ({"prompt": "login"}, "invalid_request"),
    ({"scope": "profile"}, "invalid_scope"),
    ({"nonce": ""}, "invalid_request"),
    ({"login_hint": "4711"}, "invalid_request"),
    ({"lti_message_hint": "made up"}, "invalid_request"),
)


def test_a_wrong_request_is_told_to_the_tool(platform: Platform, pylti: PyltiTool) -> None:
    browser, seat = platform.browser(), platform.enroll()
    for changed, error in WRONG:
        query = asked(platform, pylti, browser, seat, **changed)
        fields = told_to_tool(authorize(platform, browser, query))
        assert (fields["error"], fields["state"]) == (error, "a-state"), changed
        assert "id_token" not in fields
    assert (count("lti_launches"), count("lti_seen_tokens")) == (0, 0)


def test_a_wrong_redirect_uri_or_client_is_answered_nowhere(platform: Platform, pylti: PyltiTool) -> None:
    browser, seat = platform.browser(), platform.enroll()
    for changed, code in (
        ({"redirect_uri": f"{pylti.url}/launch/"}, "lti_redirect_uri_wrong"),
        ({"redirect_uri": "https://evil.example/launch"}, "lti_redirect_uri_wrong"),
        ({"client_id": "nobody"}, "lti_client_unknown"),
    ):
        query = asked(platform, pylti, browser, seat, **changed)
        for answer in (
            authorize(platform, browser, query),
            browser.post(f"{platform.url}/api/lti/authorize", data=query, timeout=10),
        ):
            assert (answer.status_code, answer.json()["code"]) == (400, code)
    run("UPDATE lti_tools SET active = false")
    answer = authorize(platform, browser, {**query, "client_id": pylti.registered.client_id})
    assert answer.json()["code"] == "lti_client_unknown"


def test_a_click_is_good_once_and_a_nonce_is_good_once(platform: Platform, pylti: PyltiTool) -> None:
    browser, seat = platform.browser(), platform.enroll()
    query = asked(platform, pylti, browser, seat)
    assert "id_token" in told_to_tool(authorize(platform, browser, query))
    again = told_to_tool(authorize(platform, browser, {**query, "nonce": "another"}))
    assert (again["error"], again["error_description"]) == (
        "invalid_request",
        "the launch was used before: start it again",
    )
    other = asked(platform, pylti, browser, seat)
    refused = told_to_tool(authorize(platform, browser, other))
    assert refused["error_description"] == "the nonce was used before"
    # The refusal used nothing up: the same click goes through with a fresh nonce.
    assert "id_token" in told_to_tool(authorize(platform, browser, {**other, "nonce": "fresh"}))


def test_another_students_hint_opens_nothing(platform: Platform, pylti: PyltiTool) -> None:
    query = asked(platform, pylti, platform.browser(), platform.enroll())
    for browser in (platform.browser("ben@example.com"), platform.browser(STAFF, "ops"), Browser()):
        fields = told_to_tool(authorize(platform, browser, query))
        assert (fields["error"], "id_token" in fields) == ("login_required", False)
    assert count("lti_launches") == 0


def test_a_hint_of_another_tool_opens_nothing(platform: Platform, pylti: PyltiTool) -> None:
    browser = platform.browser()
    query = asked(platform, pylti, browser, platform.enroll())
    other = platform.register(
        login_url="http://127.0.0.1:1/login",
        target_link_uri="http://127.0.0.1:1/",
        redirect_uris=["http://127.0.0.1:1/"],
    )
    changed = {"client_id": other.client_id, "redirect_uri": "http://127.0.0.1:1/"}
    assert told_to_tool(authorize(platform, browser, {**query, **changed}))["error"] == "invalid_request"


def test_a_course_that_was_closed_meanwhile_stays_closed(platform: Platform, pylti: PyltiTool) -> None:
    browser, seat = platform.browser(), platform.enroll()
    query = asked(platform, pylti, browser, seat)
    for status in ("suspended", "revoked", "failed", "pending"):
        run("UPDATE partner_lms_enrollments SET status = :status WHERE id = :id", status=status, id=seat)
        assert told_to_tool(authorize(platform, browser, query))["error"] == "access_denied", status
    run("UPDATE partner_lms_enrollments SET status = 'active' WHERE id = :id", id=seat)
    assert "id_token" in told_to_tool(authorize(platform, browser, query))


def test_a_hint_that_is_too_old_opens_nothing(
    platform: Platform, pylti: PyltiTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = platform.browser()
    query = asked(platform, pylti, browser, platform.enroll())
    monkeypatch.setattr(hints, "MAX_AGE", -1)
    fields = told_to_tool(authorize(platform, browser, query))
    assert fields["error_description"] == "lti_message_hint is not ours, or too old"


def test_a_posted_request_comes_back_by_get_with_the_cookie(platform: Platform, pylti: PyltiTool) -> None:
    browser = platform.browser()
    query = asked(platform, pylti, browser, platform.enroll(), state="a&b=c/ü")
    # Another site's form: the browser leaves the cookie out.
    posted = requests.post(f"{platform.url}/api/lti/authorize", data=query, allow_redirects=False, timeout=10)
    assert posted.status_code == 303
    target = posted.headers["Location"]
    assert urlsplit(target).path == "/api/lti/authorize"
    assert first_values(target) == query
    # It follows by GET, which the cookie goes with.
    fields = told_to_tool(browser.get(platform.url + target, timeout=10))
    assert fields["state"] == "a&b=c/ü"
    assert "id_token" in fields


def test_the_form_goes_to_the_tool_only_and_works_without_scripts(
    platform: Platform, pylti: PyltiTool
) -> None:
    page = platform.open_form(platform.browser(), platform.enroll())
    assert f"form-action {pylti.url};" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert '<button class="button" type="submit">' in page.text
    assert "<script>" not in page.text


def test_what_is_signed_can_be_checked_with_the_published_keys(platform: Platform, pylti: PyltiTool) -> None:
    page = platform.open_form(platform.browser(), platform.enroll())
    answer = requests.get(f"{platform.url}/api/lti/jwks", timeout=10)
    assert answer.headers["Cache-Control"].startswith("public, max-age=")
    keys: list[dict[str, Any]] = answer.json()["keys"]
    assert all("d" not in key for key in keys)
    token = Forms(page.text).fields["id_token"]
    header = jwt.get_unverified_header(token)
    named = next(key for key in keys if key["kid"] == header["kid"])
    claims = jwt.decode(
        token, jwt.PyJWK(named).key, algorithms=["RS256"], audience=pylti.registered.client_id
    )
    assert claims["iss"] == platform.url
    with transaction() as session:
        stored = session.execute(text("SELECT private_key_encrypted FROM lti_keys")).scalar_one()
    assert "PRIVATE" not in stored


def test_without_a_sealing_key_launches_say_so_and_make_nothing(
    platform: Platform, pylti: PyltiTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = platform.browser()
    query = asked(platform, pylti, browser, platform.enroll())
    monkeypatch.delenv("CREDENTIALS_KEYS")
    get_settings.cache_clear()
    answer = authorize(platform, browser, query)
    assert (answer.status_code, answer.json()["code"]) == (503, "lti_not_set_up")
    assert (count("lti_keys"), count("lti_launches")) == (0, 0)


def test_what_no_database_holds_is_refused_in_words(platform: Platform, pylti: PyltiTool) -> None:
    browser, seat = platform.browser(), platform.enroll()
    query = asked(platform, pylti, browser, seat)
    assert authorize(platform, browser, {**query, "client_id": "\0"}).json()["code"] == "lti_client_unknown"
    for name in ("nonce", "state"):
        for value in ("a\0b", "x" * 9_000):
            fields = told_to_tool(authorize(platform, browser, {**query, name: value}))
            assert fields["error"] == "invalid_request"
    # Long ones are taken, and are still good once.
    long = {**query, "nonce": "ü" * 2_000, "state": "x" * 2_000}
    assert "id_token" in told_to_tool(authorize(platform, browser, long))
    again = asked(platform, pylti, browser, seat, nonce="ü" * 2_000)
    assert (
        told_to_tool(authorize(platform, browser, again))["error_description"] == "the nonce was used before"
    )


def test_a_paid_enrolment_is_active_once_a_tool_is_registered(platform: Platform) -> None:
    def walk() -> list[str]:
        while run_due(["enrollment.walk"]):
            pass
        with transaction() as session:
            return list(
                session.scalars(text("SELECT step FROM job_steps WHERE state = 'done' ORDER BY step"))
            )

    def status() -> str:
        with transaction() as session:
            return str(session.execute(text("SELECT status FROM partner_lms_enrollments")).scalar_one())

    with transaction() as session:
        seat = enrollments.open_enrollment(
            session,
            student_id=STUDENT,
            provider_id=PROVIDER,
            course_id=COURSE,
            program_id=None,
            correlation_id=None,
        )
        enrollments.begin(session, enrollments.load(session, seat), [PROVIDER_TYPE])
    assert walk() == ["seat"]
    assert status() == "pending"
    with transaction() as session:
        paused = session.execute(text("SELECT paused_reason FROM partner_states WHERE partner = 'lti'"))
        assert "usher lti register" in paused.scalar_one()
    platform.register(
        login_url="http://127.0.0.1:1/login",
        target_link_uri="http://127.0.0.1:1/",
        redirect_uris=["http://127.0.0.1:1/"],
    )
    run("UPDATE partner_states SET paused_at = NULL; UPDATE jobs SET next_run_at = now()")
    assert walk() == ["launch_check", "seat"]
    assert status() == "active"


def test_a_partner_without_a_tool_cannot_be_launched(platform: Platform) -> None:
    answer = platform.open_form(platform.browser(), platform.enroll())
    assert (answer.status_code, answer.json()["code"]) == (502, "partner_unavailable")
