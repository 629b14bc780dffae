"""Session cookies that the real packages minted: which are accepted, and as whom; which are refused, and why."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

import settings as settings_module
from api.sessions import LEEWAY, Refused
from api.sessions_cookies import read_session
from db.session import transaction
from domain import users
from tests.api.conftest import OTHER, STUDENT, Logs, count, make_enrollment, run
from tests.conftest import AUTH_SECRET

OWN = "/api/student/partner-enrollments"
MINTED: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures/cookies.json").read_text())
V4, V5 = "next-auth.session-token", "authjs.session-token"
ANA_V4, ANA_V5 = MINTED["accepted"]["v4_plain"][V4], MINTED["accepted"]["v5_plain"][V5]
LONG_V5 = MINTED["accepted"]["v5_chunked"]


def call(app: Flask, cookies: dict[str, str], path: str = OWN) -> Any:
    """Return the answer to somebody who brings exactly these cookies."""
    client = app.test_client()
    for name, value in cookies.items():
        client.set_cookie(name, value)
    return client.get(path)


def reason(cookies: dict[str, str], secrets: list[str] | None = None, now: float | None = None) -> str:
    """Return why the cookies are refused."""
    with pytest.raises(Refused) as refused:
        read_session(cookies, secrets or [AUTH_SECRET], time.time() if now is None else now, None)
    return refused.value.reason


def assert_refused(answer: Any) -> None:
    assert (answer.status_code, answer.get_json()["code"]) == (401, "not_signed_in")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="usher", error="invalid_token"'


def set_env(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings_module.get_settings.cache_clear()


def flip(value: str, at: int) -> str:
    """Return the text with another base64 letter at a place."""
    return value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :]


@pytest.mark.parametrize("kind", MINTED["accepted"])
def test_a_minted_cookie_opens_its_persons_own_rows(app: Flask, kind: str) -> None:
    mine, _ = make_enrollment(), make_enrollment(student=OTHER)
    answer = call(app, MINTED["accepted"][kind])
    assert answer.status_code == 200
    assert [item["id"] for item in answer.get_json()["data"]] == [mine]


def test_the_long_cookies_really_come_in_pieces() -> None:
    pieces = {kind: len(cookies) for kind, cookies in MINTED["accepted"].items()}
    assert all((number > 1) == ("chunked" in kind) for kind, number in pieces.items())


@pytest.mark.parametrize("kind", MINTED["rotated"])
def test_every_secret_of_a_rotation_is_accepted(
    app: Flask, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    secrets = MINTED["secrets"]
    if kind != "v5_current":
        assert_refused(call(app, MINTED["rotated"][kind]))
    set_env(
        monkeypatch, AUTH_SECRET=secrets["OLD"], AUTH_SECRET_1=secrets["SECRET"], AUTH_SECRET_3=secrets["NEW"]
    )
    assert call(app, MINTED["rotated"][kind]).status_code == 200


def test_next_auths_own_name_for_the_secret_counts_alone_and_beside(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_env(monkeypatch, AUTH_SECRET=MINTED["secrets"]["OTHER"], NEXTAUTH_SECRET=AUTH_SECRET)
    assert call(app, {V4: ANA_V4}).status_code == 200
    monkeypatch.delenv("AUTH_SECRET")
    settings_module.get_settings.cache_clear()
    assert call(app, {V5: ANA_V5}).status_code == 200


def test_the_newest_secret_is_tried_first(usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("AUTH_SECRET_3", "AUTH_SECRET_2", "AUTH_SECRET_1", "AUTH_SECRET", "NEXTAUTH_SECRET")
    set_env(monkeypatch, **{name: f"a-secret-of-{name}" for name in names})
    expected = [f"a-secret-of-{name}" for name in names]
    assert settings_module.get_settings().session_secrets() == expected


@pytest.mark.parametrize(
    ("group", "kind", "why"),
    [
        ("wrong_secret", "v4", "wrong_secret"),
        ("wrong_secret", "v5", "wrong_secret"),
        ("wrong_salt", "v4", "wrong_secret"),
        ("wrong_salt", "v5", "wrong_secret"),
        ("wrong_salt", "v5_secure_value_under_the_plain_name", "wrong_secret"),
        ("wrong_family", "v4_value_under_v5_name", "wrong_secret"),
        ("wrong_family", "v5_value_under_v4_name", "algorithm"),
        ("expired", "v4", "expired"),
        ("expired", "v5", "expired"),
        ("no_subject", "v5", "no_subject"),
    ],
)
def test_a_minted_cookie_that_does_not_fit_is_refused(
    app: Flask, logs: Logs, group: str, kind: str, why: str
) -> None:
    cookies = MINTED[group][kind]
    assert_refused(call(app, cookies))
    assert reason(cookies) == why
    assert next(iter(cookies.values())) not in str(logs.events)


def test_a_cookie_that_was_changed_is_refused(app: Flask) -> None:
    for name, value in ((V4, ANA_V4), (V5, ANA_V5)):
        header, _, vector, text_, tag = value.split(".")
        for start in (0, len(header) + 2, len(header) + len(vector) + 3, len(value) - len(tag)):
            assert_refused(call(app, {name: flip(value, start + 1)}))
        assert_refused(call(app, {name: value[:-1]}))
        assert_refused(call(app, {name: value.replace(text_, "")}))
    assert reason({V5: flip(ANA_V5, len(ANA_V5) - 5)}) == "tampered"
    assert reason({V4: flip(ANA_V4, len(ANA_V4) - 5)}) == "wrong_secret"


def test_a_chunk_that_was_changed_swapped_or_lost_is_refused(app: Flask) -> None:
    names = sorted(LONG_V5)
    assert len(names) >= 3
    changed = {**LONG_V5, names[1]: flip(LONG_V5[names[1]], 100)}
    assert_refused(call(app, changed))
    assert reason(changed) == "tampered"
    swapped = {**LONG_V5, names[0]: LONG_V5[names[1]], names[1]: LONG_V5[names[0]]}
    assert_refused(call(app, swapped))
    for name in names:
        lost = {key: value for key, value in LONG_V5.items() if key != name}
        assert_refused(call(app, lost))
        assert reason(lost) == "chunk_missing"


def test_chunks_are_joined_by_number_not_by_letter() -> None:
    pieces = {f"{V5}.{at}": ANA_V5[at * 40 : (at + 1) * 40] for at in reversed(range(len(ANA_V5) // 40 + 1))}
    assert len(pieces) > 10
    person = read_session(pieces, [AUTH_SECRET], time.time(), None)
    assert person is not None
    assert person.subject == "ana-at-the-provider"
    assert read_session({f"{V5}.x": ANA_V5, f"x{V5}": ANA_V5}, [AUTH_SECRET], time.time(), None) is None


def test_a_token_that_is_not_encrypted_is_no_session(app: Flask) -> None:
    none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEifQ."
    zipped = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwiemlwIjoiREVGIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA"
    wrapped = "eyJhbGciOiJBMjU2S1ciLCJlbmMiOiJBMjU2R0NNIn0.AAAA.AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA"
    expected = {
        none: "algorithm",
        zipped: "malformed",
        wrapped: "algorithm",
        "9b1deb4d-3b7d": "opaque",
        "....": "malformed",
    }
    for value, why in expected.items():
        for name in (V4, V5):
            assert_refused(call(app, {name: value}))
            assert reason({name: value}) == why


def test_an_end_is_forgiven_for_fifteen_seconds(usher_env: dict[str, str]) -> None:
    cookies = MINTED["expired"]["v5"]
    end = int(time.time())
    while True:  # The fixture's exp is not in it: find the second from which it is refused.
        try:
            read_session(cookies, [AUTH_SECRET], end, None)
            break
        except Refused:
            end -= 3600
    step = 3600
    while step := step // 2:
        try:
            read_session(cookies, [AUTH_SECRET], end + step, None)
            end += step
        except Refused:
            pass
    assert LEEWAY == 15
    assert read_session(cookies, [AUTH_SECRET], end - 1, None) is not None
    assert reason(cookies, now=end + LEEWAY + 2) == "expired"


def test_one_good_cookie_is_enough_beside_a_stale_one(app: Flask) -> None:
    assert call(app, {V5: "stale", V4: ANA_V4}).status_code == 200
    assert call(app, {**MINTED["expired"]["v5"], V4: ANA_V4}).status_code == 200
    lost = {f"{V5}.1": LONG_V5[f"{V5}.1"]}
    assert call(app, {**lost, V4: ANA_V4}).status_code == 200


def test_the_first_sign_in_links_by_address_and_the_link_outlives_it(app: Flask) -> None:
    call(app, {V5: ANA_V5})
    call(app, {V4: ANA_V4})
    call(app, MINTED["people"]["ben"])
    with transaction() as session:
        rows = session.execute(text("SELECT issuer, subject, user_id FROM identities ORDER BY subject")).all()
    assert [tuple(row) for row in rows] == [
        ("auth.js", "ana-at-the-provider", STUDENT),
        ("auth.js", "ben-at-the-provider", OTHER),
    ]
    run("UPDATE users SET email = 'ana.new@example.com' WHERE id = :id", id=STUDENT)
    mine, before = make_enrollment(), count("users")
    assert [item["id"] for item in call(app, {V5: ANA_V5}).get_json()["data"]] == [mine]
    assert count("users") == before


def test_somebody_new_becomes_a_user_with_the_subject_as_id_where_it_can_be_one(app: Flask) -> None:
    before = count("users")
    for _ in range(2):
        assert call(app, MINTED["people"]["new_with_uuid"]).get_json()["data"] == []
    assert count("users") == before + 1
    with transaction() as session:
        user = users.find_by_email(session, "newcomer@example.com")
    assert user is not None
    assert (user.id, user.name) == ("6a0c3e5e-3f0e-4f0e-9b54-0e6d7a1c2b3d", "New Comer")


def test_a_subject_that_is_another_users_id_opens_nothing_of_theirs(app: Flask) -> None:
    run("UPDATE users SET id = '6a0c3e5e-3f0e-4f0e-9b54-0e6d7a1c2b3d' WHERE id = :id", id=OTHER)
    theirs = make_enrollment(student="6a0c3e5e-3f0e-4f0e-9b54-0e6d7a1c2b3d")
    answer = call(app, MINTED["people"]["new_with_uuid"])
    assert answer.get_json()["data"] == []
    assert call(app, MINTED["people"]["new_with_uuid"], f"/api/partner-launch/{theirs}").status_code == 403


def test_without_an_address_there_is_no_student(app: Flask) -> None:
    answer = call(app, MINTED["people"]["nameless_address"])
    assert (answer.status_code, answer.get_json()["code"]) == (403, "no_student")
    assert "confirms" in answer.get_json()["detail"]
    assert count("identities") == 0


def test_a_role_in_the_cookie_counts_only_where_the_setting_names_it(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    staff = MINTED["people"]["staff"]
    assert call(app, staff, "/ops").get_json()["code"] == "wrong_role"
    set_env(monkeypatch, AUTH_ROLE_CLAIM="role")
    assert call(app, staff, "/ops").status_code == 200
    assert call(app, {V5: ANA_V5}, "/ops").get_json()["code"] == "wrong_role"


def test_no_log_line_holds_a_session(app: Flask, client: FlaskClient, logs: Logs) -> None:
    call(app, {V5: ANA_V5})
    for secret in (ANA_V5, ANA_V5.split(".")[3], "ana@", "ana-at"):
        assert secret not in str(logs.events) + logs.text
