"""Staff choose content of a tool for a course, with two real tools; answers that are not the tool's are refused."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
import requests
from joserfc.jwk import RSAKey
from sqlalchemy import text

from api import lti_deep_linking
from db.models import LtiTool
from db.session import transaction
from domain import demo
from partners.lti.content_items import MOST, read_items
from partners.lti.vocabulary import CLAIM, DEEP_LINKING
from settings import get_settings
from tests.api.conftest import OTHER, count
from tests.lti.conftest import COURSE, STAFF, Browser, Forms, Ltijs, Platform
from tests.lti.pylti_tool import PyltiTool


def links() -> list[dict[str, Any]]:
    """Return the links as they were chosen."""
    with transaction() as session:
        query = text("SELECT * FROM lti_links ORDER BY created_at, position")
        return [dict(row) for row in session.execute(query).mappings()]


def choose(platform: Platform, client_id: str) -> tuple[requests.Response, Browser]:
    """Go to the tool and choose; return the tool's page with the form that comes back."""
    browser = platform.staff()
    page = browser.submit(platform.choose(browser, client_id))
    assert page.status_code == 200, page.text
    return page, browser


def test_content_is_chosen_in_ltijs_and_opened_by_students(platform: Platform, ltijs: Ltijs) -> None:
    tool = ltijs.register(platform)
    page, _ = choose(platform, tool.client_id)
    # The form comes from another site: no cookie comes with it.
    answer = Browser().submit(page)
    assert answer.status_code == 200, answer.text
    assert "Chapter 1" in answer.text
    assert "The tool says: Two chapters" in answer.text
    first, second = links()
    assert (first["course_id"], first["title"], first["custom"]) == (COURSE, "Chapter 1", {"chapter": "1"})
    assert (second["url"], second["position"]) == (None, 1)
    with transaction() as session:
        item = session.execute(text("SELECT label, score_maximum, tag, link_id FROM lti_line_items")).one()
        actor = session.execute(
            text("SELECT actor FROM staff_actions WHERE action = 'lti.link'")
        ).scalar_one()
    assert (item.label, item.score_maximum, item.tag, item.link_id) == (
        "Chapter 1",
        20,
        "chapter",
        first["id"],
    )
    assert actor == STAFF
    context = platform.launch(platform.browser(), platform.enroll()).json()["token"]["platformContext"]
    assert context["resource"] == {"id": first["id"], "title": "Chapter 1"}
    assert context["custom"]["chapter"] == "1"
    # Chosen anew, the new choice is what students open; its line item is its own.
    Browser().submit(choose(platform, tool.client_id)[0])
    context = platform.launch(platform.browser("ben@example.com"), _other(platform)).json()["token"]
    assert context["platformContext"]["resource"]["id"] == links()[2]["id"]


def _other(platform: Platform) -> str:
    return platform.enroll(OTHER)


def test_content_is_chosen_in_pylti1p3(platform: Platform, pylti: PyltiTool) -> None:
    page, _ = choose(platform, pylti.registered.client_id)
    answer = Browser().submit(page)
    assert answer.status_code == 200, answer.text
    (link,) = links()
    assert (link["title"], link["url"], link["custom"]) == (
        "Quiz on welding",
        f"{pylti.url}/launch",
        {"quiz": "7"},
    )
    launch = pylti.launches[0]
    assert launch.is_deep_link_launch()
    assert launch.check_teacher_access()
    claims = platform.launch(platform.browser(), platform.enroll()).json()
    assert claims[f"{CLAIM}resource_link"]["title"] == "Quiz on welding"
    assert claims[f"{CLAIM}custom"]["quiz"] == "7"


def test_an_answer_is_taken_once(platform: Platform, pylti: PyltiTool) -> None:
    page, _ = choose(platform, pylti.registered.client_id)
    assert Browser().submit(page).status_code == 200
    again = Browser().submit(page)
    assert (again.status_code, again.json()["code"]) == (400, "lti_response_invalid")
    assert "used before" in again.json()["detail"]
    assert len(links()) == 1


def test_only_staff_begin_and_only_for_the_tools_own_courses(platform: Platform, pylti: PyltiTool) -> None:
    client_id = pylti.registered.client_id
    refused = platform.choose(platform.browser(), client_id)
    assert (refused.status_code, refused.json()["code"]) == (403, "wrong_role")
    browser, address = platform.staff(), f"{platform.url}/ops/lti/choose"
    for query in (
        {"tool": client_id, "course": demo.course_id("SBX-101")},
        {"tool": "nobody", "course": COURSE},
    ):
        answer = browser.get(address, params=query, timeout=10)
        assert (answer.status_code, answer.json()["code"]) == (404, "lti_tool_not_found")
    assert browser.get(address, params={"tool": client_id}, timeout=10).status_code == 422


def test_somebody_elses_request_to_choose_opens_nothing(platform: Platform, pylti: PyltiTool) -> None:
    browser = platform.staff()
    begun = browser.get(
        f"{platform.url}/ops/lti/choose",
        params={"tool": pylti.registered.client_id, "course": COURSE},
        allow_redirects=False,
        timeout=10,
    )
    for other in (platform.browser("other@example.com", "ops"), platform.browser()):
        page = other.get(begun.headers["Location"], timeout=10)
        assert Forms(page.text).fields["error"] == "login_required"


# A tool's answer, signed by its own key, with one thing wrong.


def answer_of(pylti: PyltiTool, page: requests.Response) -> tuple[str, dict[str, Any]]:
    """Return where the tool's answer goes and what it says."""
    form = Forms(page.text)
    token = form.fields["JWT"]
    return form.action, jwt.decode(token, options={"verify_signature": False})


def sign(
    pylti: PyltiTool, claims: dict[str, Any], key: RSAKey | None = None, algorithm: str = "RS256"
) -> str:
    kid = jwt.PyJWK(pylti._config().get_jwks()["keys"][0]).key_id
    secret: Any = (key or pylti.key).as_pem(private=True)
    if algorithm == "HS256":  # What a verifier that believes the header would check with the public key.
        secret = b"0123456789abcdef0123456789abcdef"
    return jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": kid})


def test_an_answer_with_one_thing_wrong_is_refused(platform: Platform, pylti: PyltiTool) -> None:
    page, _ = choose(platform, pylti.registered.client_id)
    action, good = answer_of(pylti, page)
    now = int(time.time())
    wrong = [
        sign(pylti, good, RSAKey.generate_key(2048)),
        sign(pylti, good, algorithm="HS256"),
        sign(pylti, {**good, "aud": "https://other.example"}),
        sign(pylti, {**good, "iss": "somebody"}),
        sign(pylti, {**good, "exp": now - 3600}),
        sign(pylti, {**good, f"{CLAIM}message_type": "LtiResourceLinkRequest"}),
        sign(pylti, {**good, f"{CLAIM}version": "1.1"}),
        sign(pylti, {**good, f"{CLAIM}deployment_id": "8"}),
        sign(pylti, {**good, f"{DEEP_LINKING}data": "made up"}),
        sign(pylti, {name: value for name, value in good.items() if name != "nonce"}),
        "nonsense",
        "",
    ]
    for token in wrong:
        answer = requests.post(action, data={"JWT": token}, timeout=10)
        assert (answer.status_code, answer.json()["code"]) == (400, "lti_response_invalid"), answer.text
    # Nothing was used up, and the right one still goes through, but only where it belongs.
    elsewhere = action.rpartition("/")[0] + "/7b1de9de-0000-4000-8000-00000000000f"
    good_token = sign(pylti, good)
    assert requests.post(elsewhere, data={"JWT": good_token}, timeout=10).status_code == 400
    assert count("lti_links") == 0
    assert requests.post(action, data={"JWT": good_token}, timeout=10).status_code == 200
    assert count("lti_links") == 1


def test_a_tool_that_changed_its_key_is_asked_for_the_new_one(platform: Platform, pylti: PyltiTool) -> None:
    client_id = pylti.registered.client_id
    assert Browser().submit(choose(platform, client_id)[0]).status_code == 200
    pylti.key = RSAKey.generate_key(2048)
    pylti.add_platform(platform.url, client_id, "7")
    assert Browser().submit(choose(platform, client_id)[0]).status_code == 200


def test_keys_that_cannot_be_had_are_waited_for_and_never_looked_for_inside(
    platform: Platform, pylti: PyltiTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, _ = choose(platform, pylti.registered.client_id)
    # The tool's keys are at 127.0.0.1, where no tool may be in production.
    monkeypatch.setenv("PARTNER_PRIVATE_ADDRESSES", "false")
    get_settings.cache_clear()
    answer = Browser().submit(page)
    assert (answer.status_code, answer.json()["code"]) == (503, "lti_unavailable")
    assert answer.headers["Retry-After"] == "10"
    monkeypatch.setenv("PARTNER_PRIVATE_ADDRESSES", "true")
    get_settings.cache_clear()
    assert Browser().submit(page).status_code == 200


@pytest.mark.parametrize("kind", ["public_jwks", "public_key"])
def test_a_tool_that_publishes_no_keys_gives_them(platform: Platform, pylti: PyltiTool, kind: str) -> None:
    given: dict[str, Any] = {
        "public_jwks": pylti._config().get_jwks(),
        "public_key": pylti.key.as_pem(private=False).decode(),
    }
    with transaction() as session:
        tool = session.get_one(LtiTool, pylti.registered.id)
        tool.jwks_url = None
        setattr(tool, kind, given[kind])
    page, _ = choose(platform, pylti.registered.client_id)
    action, good = answer_of(pylti, page)
    forged = sign(pylti, good, RSAKey.generate_key(2048))
    assert requests.post(action, data={"JWT": forged}, timeout=10).status_code == 400
    assert Browser().submit(page).status_code == 200


def test_an_answer_that_is_too_large_is_refused(
    platform: Platform, pylti: PyltiTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lti_deep_linking, "MAX_RESPONSE", 1000)
    page, _ = choose(platform, pylti.registered.client_id)
    answer = Browser().submit(page)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_bad_items_are_left_out_with_the_reason() -> None:
    good = {"type": "ltiResourceLink", "title": " ", "url": "https://tool.example/1"}
    items: list[Any] = [
        good,
        {"type": "html", "html": "<b>"},
        {**good, "url": "javascript:alert(1)"},
        {**good, "custom": {"a": {"b": 1}}},
        {**good, "lineItem": {"scoreMaximum": "NaN"}},
        {**good, "lineItem": {"label": "no maximum"}},
        "text",
    ]
    chosen = read_items({f"{DEEP_LINKING}content_items": items}, "The course")
    assert [item.title for item in chosen.items] == ["The course"]
    assert [reason.split(":")[0] for reason in chosen.rejected] == [f"item {n}" for n in range(2, 8)]
    assert read_items({f"{DEEP_LINKING}content_items": "x"}, "c").rejected == ["content_items is no list"]
    many = read_items({f"{DEEP_LINKING}content_items": [good] * (MOST + 3)}, "c")
    assert (len(many.items), many.rejected) == (MOST, [f"3 items beyond {MOST}"])
    assert read_items({}, "c").items == []
