"""What holders and strangers get: the public check, the PDF, and the badge, verified by another library."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
import segno
from flask.testing import FlaskClient
from pypdf import PdfReader

from domain import badge_keys
from domain.badge_keys import KeyRing
from domain.certificate_codes import show_code
from settings import ConfigurationError, get_settings, load_settings
from tests.api.conftest import HTML, STUDENT, bearer, run
from tests.certificates.test_certificates import COURSE, code, finish
from tests.stack import rows

KEY, OLD_KEY = badge_keys.make_keys(), badge_keys.make_keys()


@pytest.fixture
def earned(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """Ana has earned a certificate, and badges are signed."""
    set_keys(monkeypatch, KEY)
    finish()
    return client


def set_keys(monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    monkeypatch.setenv("BADGE_SIGNING_KEYS", keys)
    get_settings.cache_clear()


def mine(client: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/me/certificates", headers=bearer()).get_json()["data"][0]
    return found


def path(url: str) -> str:
    return url.removeprefix("http://testserver")


def fetch_badge(client: FlaskClient) -> str:
    answer = client.get(path(mine(client)["badgeUrl"]), headers=bearer())
    assert (answer.status_code, answer.mimetype) == (200, "application/jwt")
    return str(answer.text)


def check_badge(client: FlaskClient, badge: str) -> dict[str, Any]:
    """Verify a badge as a stranger does: the key from where `kid` leads, the signature by PyJWT."""
    header = jwt.get_unverified_header(badge)
    assert (header["alg"], header["typ"]) == ("RS256", "JWT")
    key = client.get(path(header["kid"])).get_json()
    published = client.get("/.well-known/jwks.json").get_json()["keys"]
    assert key in published
    assert key["kid"] == header["kid"]
    assert "d" not in key
    claims: dict[str, Any] = jwt.decode(
        badge, jwt.PyJWK(key).key, algorithms=["RS256"], options={"require": ["iss", "sub", "jti", "nbf"]}
    )
    return claims


def test_anybody_can_check_a_certificate_however_the_code_is_typed(earned: FlaskClient) -> None:
    [(stored,)] = rows("SELECT verification_code FROM certificates")
    typed = show_code(stored).lower().replace("0", "o").replace("1", "l")
    for spelling in (stored, show_code(stored), typed):
        answer = earned.get(f"/verify/{spelling}")
        body = answer.get_json()
        assert set(body) == {"status", "name", "course", "issuedAt", "expiresAt", "revokedAt"}
        assert (body["status"], body["name"], body["course"]) == ("valid", "Ana Silva", "Learning to Learn")
        assert "noindex" in answer.headers["X-Robots-Tag"]
    page = earned.get(f"/verify/{stored}", headers=HTML)
    assert (page.status_code, "This certificate is valid" in page.text) == (200, True)
    assert '<meta name="robots" content="noindex' in page.text
    assert "noindex" in page.headers["X-Robots-Tag"]
    assert "ana@example.com" not in page.text + answer.text
    assert STUDENT not in page.text + answer.text


def test_a_code_that_was_never_given_is_not_found(client: FlaskClient) -> None:
    for typed in ("0" * 24, "nothing", "a%00b", "x" * 500):
        answer = client.get(f"/verify/{typed}")
        assert code(answer) == (404, "certificate_not_found")
        assert "noindex" in answer.headers["X-Robots-Tag"]
        page = client.get(f"/verify/{typed}", headers=HTML)
        assert (page.status_code, "No such certificate" in page.text) == (404, True)
    assert client.get("/verify/../etc").status_code == 404


def test_an_expired_certificate_says_so_and_a_revoked_one_stays_revoked(earned: FlaskClient) -> None:
    address = path(mine(earned)["certificateUrl"])
    run(
        "UPDATE certificates SET issued_at = now() - interval '2 days', expires_at = now() - interval '1 day'"
    )
    assert earned.get(address).get_json()["status"] == "expired"
    assert "has expired" in earned.get(address, headers=HTML).text
    assert mine(earned)["status"] == "expired"
    run("UPDATE certificates SET status = 'revoked', revoked_at = now()")
    assert earned.get(address).get_json()["status"] == "revoked"
    assert "was revoked" in earned.get(address, headers=HTML).text


def test_an_imported_code_is_found_as_it_is(earned: FlaskClient) -> None:
    run("UPDATE certificates SET verification_code = 'CERT-2024-abc'")
    assert earned.get("/verify/CERT-2024-abc").get_json()["status"] == "valid"


def test_checking_is_limited_for_each_address(earned: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFY_RATE_LIMIT", "2")
    get_settings.cache_clear()
    answers = [earned.get("/verify/nothing") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert answers[-1].get_json()["code"] == "rate_limited"
    assert earned.get("/healthz").status_code == 200


def test_the_pdf_says_what_the_certificate_says(earned: FlaskClient) -> None:
    run("UPDATE certificates SET name = 'Łucja Ünsal Ιωάννα Иванова', expires_at = '2100-01-31'")
    found = mine(earned)
    answer = earned.get(path(found["pdfUrl"]), headers=bearer())
    assert (answer.status_code, answer.mimetype) == (200, "application/pdf")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    [page] = PdfReader(io.BytesIO(answer.data)).pages
    words = page.extract_text()
    for expected in (
        "Łucja Ünsal Ιωάννα Иванова",
        "Learning to Learn",
        "3 hours",
        f"issued on {datetime.now(UTC).day} ",
        "31 January 2100",
        found["certificateUrl"],
    ):
        assert expected in words, words
    links = [note.get_object()["/A"]["/URI"] for note in page["/Annots"]]
    assert links == [found["certificateUrl"]] * 2
    # Every dark square of the code that holds the address is drawn, and no other.
    drawn = re.findall(rb"[\d.]+ [\d.]+ [\d.]+ -?[\d.]+ re f", page.get_contents().get_data())
    dark = sum(sum(row) for row in segno.make_qr(found["certificateUrl"], error="m").matrix)
    assert len(drawn) == dark


def test_a_long_name_still_fits(earned: FlaskClient) -> None:
    run("UPDATE certificates SET name = repeat('Wilhelmina ', 30), course_title = repeat('Course ', 60)")
    answer = earned.get(path(mine(earned)["pdfUrl"]), headers=bearer())
    assert len(PdfReader(io.BytesIO(answer.data)).pages) == 1


def test_documents_are_the_holders_alone_and_only_while_it_is_valid(earned: FlaskClient) -> None:
    found = mine(earned)
    for url in (found["pdfUrl"], found["badgeUrl"]):
        stranger = earned.get(path(url), headers=bearer(subject="ben@example.com"))
        assert code(stranger) == (404, "certificate_not_found")
        assert code(earned.get(path(url))) == (401, "not_signed_in")
    run("UPDATE certificates SET status = 'superseded'")
    for url in (found["pdfUrl"], found["badgeUrl"]):
        assert code(earned.get(path(url), headers=bearer())) == (409, "certificate_not_valid")
    assert (mine(earned)["pdfUrl"], mine(earned)["badgeUrl"]) == (None, None)


def test_a_badge_is_an_open_badge_that_another_library_verifies(earned: FlaskClient) -> None:
    run("UPDATE certificates SET expires_at = '2100-01-31'")
    claims = check_badge(earned, fetch_badge(earned))
    [(id, issued)] = rows("SELECT id, issued_at FROM certificates")
    assert claims["@context"] == [
        "https://www.w3.org/ns/credentials/v2",
        "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json",
    ]
    assert claims["type"] == ["VerifiableCredential", "OpenBadgeCredential"]
    subject, achievement = claims["credentialSubject"], claims["credentialSubject"]["achievement"]
    assert claims["iss"] == claims["issuer"]["id"] == "http://testserver/badges/issuer"
    assert claims["sub"] == subject["id"] == f"urn:uuid:{STUDENT}"
    assert claims["jti"] == claims["id"] == f"urn:uuid:{id}"
    assert claims["nbf"] == int(issued.timestamp()) == moment(claims["validFrom"])
    assert claims["exp"] == moment(claims["validUntil"]) == int(datetime(2100, 1, 31, tzinfo=UTC).timestamp())
    assert (subject["type"], achievement["type"]) == (["AchievementSubject"], ["Achievement"])
    assert achievement["id"] == f"urn:uuid:{COURSE}"
    assert achievement["name"] == "Learning to Learn"
    assert achievement["description"]
    assert achievement["criteria"]["narrative"]
    [identity] = subject["identifier"]
    assert {"type", "hashed", "identityHash", "identityType"} == set(identity)
    assert identity["identityHash"] == "Ana Silva"
    assert "ana@example.com" not in json.dumps(claims)
    profile = earned.get(path(claims["iss"]))
    assert profile.get_json() == claims["issuer"]
    assert profile.headers["Access-Control-Allow-Origin"] == "*"
    assert earned.get(path(claims["evidence"][0]["id"])).get_json()["status"] == "valid"


def moment(written: str) -> int:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", written)
    return int(datetime.fromisoformat(written).timestamp())


def test_a_badge_without_an_end_names_none_and_a_forged_one_fails(earned: FlaskClient) -> None:
    badge = fetch_badge(earned)
    claims = check_badge(earned, badge)
    assert "exp" not in claims
    assert "validUntil" not in claims
    head, body, signature = badge.split(".")
    with pytest.raises(jwt.InvalidSignatureError):
        check_badge(earned, f"{head}.{body[:-4]}AAAA.{signature}")
    with pytest.raises(jwt.InvalidSignatureError):
        check_badge(earned, f"{head}.{body}.{signature[:-8]}AAAAAAAA")


def test_after_a_rotation_old_and_new_badges_are_verified(
    earned: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fetch_badge(earned)
    public_half = KeyRing(KEY).keys[0].as_pem(private=False).decode()
    set_keys(monkeypatch, f"{OLD_KEY}\n{public_half}")
    new = fetch_badge(earned)
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    assert check_badge(earned, old)["jti"] == check_badge(earned, new)["jti"]
    set_keys(monkeypatch, OLD_KEY)
    assert earned.get(path(jwt.get_unverified_header(old)["kid"])).status_code == 404


def test_without_a_key_there_are_no_badges(earned: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    badge = path(mine(earned)["badgeUrl"])
    monkeypatch.delenv("BADGE_SIGNING_KEYS")
    get_settings.cache_clear()
    assert code(earned.get(badge, headers=bearer())) == (404, "badges_off")
    assert mine(earned)["badgeUrl"] is None
    assert earned.get("/.well-known/jwks.json").get_json() == {"keys": []}


def test_keys_that_cannot_be_used_are_named_at_the_start_without_quoting_them(
    usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    public_half = KeyRing(KEY).keys[0].as_pem(private=False).decode()
    damaged = KEY.replace("MII", "XXX")
    for wrong, said in (("key", "no key in PEM"), (public_half, "private key"), (damaged, "damaged")):
        monkeypatch.setenv("BADGE_SIGNING_KEYS", wrong)
        with pytest.raises(ConfigurationError) as caught:
            load_settings()
        assert said in str(caught.value)
        assert "MIIE" not in str(caught.value)
